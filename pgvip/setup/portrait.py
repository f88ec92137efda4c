"""What a host has that must be alike on both: lines of pg_hba.conf and pg_ident.conf, settings, libraries, disks.

Each host describes itself (`Portrait`) and gets the other's over the link; `setup.likeness` compares the two. Files are
read by a worker as PostgreSQL's user, and all of it is bounded: it is sent.
"""

from __future__ import annotations

import locale
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import FormatError
from pgvip.setup.access import FILES, without_block
from pgvip.setup.own_settings import LIMITS, canonical, compared
from pgvip.state import files
from pgvip.system import libraries as libs
from pgvip.system import pgconf
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgvip.config.model import Config
    from pgvip.system.sql import Session

ANSWER_S = 5.0
FILE_BYTES_MAX = 256 << 10
LINES_MAX = 4000
LINE_MAX = 4000
NAMES_MAX = 4000
TEXT_MAX = 4000
DIRECTORIES_MAX = 200
ODD = "\N{REPLACEMENT CHARACTER}"
"""In place of what is no text, and of what is too long; a file with it is compared and never copied."""
_ODD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Value:
    """A setting: its value in its base unit, without what pgvip.conf says. `in_file`: some file of this host sets it.

    `pending`: the files say so, and a restart is needed for it. `restart`: each change of it needs one.
    """

    value: str
    unit: str = ""
    in_file: bool = False
    pending: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Portrait:
    """One host.

    `files`: lines of pg_hba.conf and pg_ident.conf beside pgvip's own. `limits`: of `LIMITS`, what is in force.
    `libraries`: what its settings name; `library_files`: what its directory of libraries has, empty for not known.
    `tablespaces`: their directories; `directories`: bytes of the file system of each, 0 where there is no such
    directory. `locales`: of its databases, and whether this host has them. `collations`: versions that this host has;
    `made`: of databases, the version with which they were made.
    """

    host: str
    version: int = 0
    standby: bool = False
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    settings: dict[str, Value] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    library_files: tuple[str, ...] = ()
    tablespaces: tuple[str, ...] = ()
    directories: dict[str, int] = field(default_factory=dict)
    locales: dict[str, bool] = field(default_factory=dict)
    collations: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is on the disks of a host, as PostgreSQL's user sees it; parts of `Portrait`."""

    files: dict[str, tuple[str, ...]]
    library_files: tuple[str, ...]
    directories: dict[str, int]
    locales: dict[str, bool]


def portrait(config: Config, session: Session, also: Sequence[str] = ()) -> Portrait:
    """Describe this host. `also`: directories that the other host has. PgvipError, OSError."""
    hba, ident, data, library_path, standby = session.query("same_places", timeout_s=ANSWER_S)[0]
    tablespaces = tuple(sorted(str(place) for _, place in session.query("tablespaces", timeout_s=ANSWER_S)))
    locales = [str(name) for (name,) in session.query("same_locales", timeout_s=ANSWER_S)]
    directories = [data, f"{data}/pg_wal", *tablespaces, *also][:DIRECTORIES_MAX]
    named = str(library_path) == libs.LIBDIR
    seen = look(config, [str(hba), str(ident)], directories, locales[:NAMES_MAX], named=named)
    rows = session.query("same_settings", timeout_s=ANSWER_S)
    ours = pgconf.owned(config, session.version)
    settings = {
        # A session of pgvip's sets some for itself: what is in force there is not what holds for others.
        str(name): Value(canonical(str(text if in_file else boot), str(unit), str(kind)), str(unit), in_file, *restart)
        for name, in_file, text, _, boot, unit, kind, *restart in rows[:NAMES_MAX]
        if compared(str(name), ours)
    }
    now = {str(row[0]): str(row[3]) for row in rows}
    libraries = {one for name in libs.PRELOADED if name in settings for one in libs.named(settings[name].value)}
    for _, text in session.query("same_libraries", timeout_s=ANSWER_S):
        libraries.update(libs.named(str(text)))
    collations = session.query("same_collations", timeout_s=ANSWER_S)[:NAMES_MAX]
    return Portrait(
        host=config.me.name,
        version=session.version,
        standby=standby,
        files=seen.files,
        settings=settings,
        limits={name: int(now[name]) for name in LIMITS if now.get(name, "").isdecimal()},
        libraries=tuple(sorted(libraries)),
        library_files=seen.library_files,
        tablespaces=tablespaces,
        directories=seen.directories,
        locales=seen.locales,
        collations={str(name): str(have) for name, have, _ in collations if have},
        made={str(name): str(made) for name, _, made in collations if made},
    )


@as_postgres()
def look(
    config: Config, access: Sequence[str], directories: Sequence[str], locales: Sequence[str], *, named: bool
) -> Seen:
    """See what is on the disks. `access`: pg_hba.conf and pg_ident.conf. `named`: libraries are in one directory only.

    OSError.
    """
    return Seen(
        {name: _lines(Path(path)) for name, path in zip(FILES, access, strict=True)},
        libs.installed(config.postgres.bin_directory) if named else (),
        {path: _bytes_of(path) for path in directories},
        {name: _known(name) for name in locales},
    )


def _lines(path: Path) -> tuple[str, ...]:
    """The lines of a file beside pgvip's own, comments included."""
    text = without_block(files.read(path, FILE_BYTES_MAX).decode(errors="replace")).strip("\n")
    lines = [_ODD.sub(ODD, line.rstrip("\r")) for line in text.split("\n")] if text else []
    lines = [line if len(line) <= LINE_MAX else line[: LINE_MAX - 1] + ODD for line in lines]
    return tuple(lines) if len(lines) <= LINES_MAX else (*lines[: LINES_MAX - 1], f"# {ODD}")


def _bytes_of(directory: str) -> int:
    """Of its file system; 0 where it is no directory."""
    if not Path(directory).is_dir():
        return 0
    found = os.statvfs(directory)
    return found.f_frsize * found.f_blocks


def _known(name: str) -> bool:
    """The operating system knows this locale. Only in a worker: it is this process's for a moment."""
    if not name:
        return True
    before = locale.setlocale(locale.LC_COLLATE)
    try:
        locale.setlocale(locale.LC_COLLATE, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_COLLATE, before)
    return True


def checked(found: Portrait) -> Portrait:
    """A portrait that came from the other host. FormatError where it has more or other than such a host sends."""
    lists: dict[str, Sequence[str] | Mapping[str, object]] = {
        **{f"files.{name}": lines for name, lines in found.files.items()},
        "settings": found.settings,
        "libraries": found.libraries,
        "library_files": found.library_files,
        "tablespaces": found.tablespaces,
        "directories": found.directories,
        "locales": found.locales,
        "collations": found.collations,
        "made": found.made,
    }
    if set(found.files) - set(FILES) or set(found.limits) - set(LIMITS):
        raise FormatError("a portrait has other files or limits than there are")
    texts = [found.host, *(value.value for value in found.settings.values()), *found.collations.values()]
    texts += [value.unit for value in found.settings.values()] + list(found.made.values())
    for name, values in lists.items():
        if len(values) > max(LINES_MAX, NAMES_MAX):
            raise FormatError(f"a portrait has {len(values)} {name}")
        texts += list(values)
    for text in texts:
        if len(text) > max(TEXT_MAX, LINE_MAX) or _ODD.search(text):
            raise FormatError("a portrait has a text that no host sends", repr(text[:80]))
    return found
