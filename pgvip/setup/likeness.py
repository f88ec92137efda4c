"""What of two hosts that must be alike is not: compares their portraits. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pgvip.setup.own_settings import LIMITS, MACHINE, by_hand, shown
from pgvip.system import libraries
from pgvip.text.writing import printable, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgvip.setup.portrait import Portrait

MARK = "# pgvip: only here"
"""A line of pg_hba.conf or pg_ident.conf that ends so is this host's own, and is not compared."""
SMALLER = 0.9
"""A disk below this part of the other host's is reported."""
SHOWN_MAX = 5
"""Of lines and settings in one warning; `pgvip config diff` shows all."""
TEXT_MAX = 160
_SECRETS = re.compile(r"\b(ldapbindpasswd|radiussecrets)\s*=\s*(\"[^\"]*\"|\S+)")


class Kind(StrEnum):
    """What differs. Those of `PUSHED` are copied by `pgvip config push`."""

    LINE = "line"
    """A line of pg_hba.conf or pg_ident.conf."""
    LIMIT = "limit"
    """A setting that a standby needs as high as its primary."""
    SETTING = "setting"
    MACHINE = "machine"
    """A setting that follows from the machine: no warning."""
    BY_HAND = "by-hand"
    """A setting that makes the server load or run something: it is not copied."""
    LIBRARY = "library"
    TABLESPACE = "tablespace"
    LOCALE = "locale"
    COLLATION = "collation"
    DISK = "disk"


PUSHED = (Kind.LINE, Kind.LIMIT, Kind.SETTING)
ACCESS = (Kind.LINE,)
SETTINGS = (Kind.LIMIT, Kind.SETTING, Kind.BY_HAND)
HOSTS = (Kind.LIBRARY, Kind.TABLESPACE, Kind.LOCALE, Kind.COLLATION)


@dataclass(frozen=True, slots=True)
class Difference:
    """One. `name`: of the file, the setting, the library and so on; `values`: by host, None where there is none.

    `text`: in words. `pending`: on this host the files already say so, and a restart is needed.
    """

    kind: Kind
    name: str
    values: dict[str, str | None]
    text: str
    pending: str = ""


def differences(one: Portrait, other: Portrait) -> list[Difference]:
    """All of them. What one of the two does not know is not compared."""
    return [
        *_lines(one, other),
        *_settings(one, other),
        *_libraries(one, other),
        *_libraries(other, one),
        *_places(one, other),
        *_places(other, one),
        *_locales(one, other),
        *_disks(one, other),
    ]


def in_one_line(found: Iterable[Difference]) -> str:
    """For a warning: the first ones, and how many more."""
    texts = [one.text[:TEXT_MAX] for one in found]
    more = [f"and {len(texts) - SHOWN_MAX} more"] if len(texts) > SHOWN_MAX else []
    return "; ".join([*texts[:SHOWN_MAX], *more])


def meant(lines: Iterable[str]) -> list[str]:
    """What lines say to PostgreSQL, in their order: without comments, empty ones and those of this host alone.

    >>> meant(["# who", "host  all all", "", "host all all ::1/128 trust  # pgvip: only here", 'local "a # b" # x'])
    ['host all all', 'local "a # b"']
    """
    return [said for line in lines if not is_own(line) and (said := _said(line))]


def is_own(line: str) -> bool:
    """The line is marked as this host's own."""
    return line.rstrip().endswith(MARK)


def _said(line: str) -> str:
    quoted, end = False, len(line)
    for at, sign in enumerate(line):
        if sign == '"':
            quoted = not quoted
        elif sign == "#" and not quoted:
            end = at
            break
    return " ".join(line[:end].split())


def masked(line: str) -> str:
    """A line for people, without passwords.

    >>> masked('host all all ::/0 ldap ldapserver=a ldapbindpasswd="x y" ldapport=3')
    'host all all ::/0 ldap ldapserver=a ldapbindpasswd=... ldapport=3'
    """
    return printable(_SECRETS.sub(r"\1=...", line))


def _lines(one: Portrait, other: Portrait) -> Iterator[Difference]:
    """Which lines only one has. The order counts: the first line that fits decides."""
    for name in sorted(one.files.keys() & other.files.keys()):
        mine, theirs = meant(one.files[name]), meant(other.files[name])
        both = {*mine} & {*theirs}
        for sign, said in _apart(mine, theirs) if mine != theirs else ():
            has, lacks = (one, other) if sign == "-" else (other, one)
            values = {has.host: masked(said), lacks.host: None}
            text = f"{name} only on {has.host}: {masked(said)}"
            if said in both:
                text = f"{name} has in another place on {has.host}: {masked(said)}"
            yield Difference(Kind.LINE, name, values, text)


def _apart(mine: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The lines to take out ("-") and to put in ("+"). Lines are alike or not: how alike takes difflib very long."""
    for _, i, until_i, j, until_j in difflib.SequenceMatcher(None, mine, theirs).get_opcodes():
        if mine[i:until_i] != theirs[j:until_j]:
            yield from (("-", line) for line in mine[i:until_i])
            yield from (("+", line) for line in theirs[j:until_j])


def _settings(one: Portrait, other: Portrait) -> Iterator[Difference]:
    """Those that a file of either host sets."""
    for name in sorted(one.settings.keys() | other.settings.keys()):
        mine, theirs = one.settings.get(name), other.settings.get(name)
        if not any(value is not None and value.in_file for value in (mine, theirs)):
            continue
        if one.version != other.version and (mine is None or theirs is None):
            continue  # one of the two versions does not have it
        if mine is not None and theirs is not None and (mine.value, mine.unit) == (theirs.value, theirs.unit):
            continue
        values = {host.host: None if value is None else printable(shown(value.value, value.unit))
                  for host, value in ((one, mine), (other, theirs))}  # fmt: skip
        words = ", ".join(f"{'not known' if value is None else value} on {host}" for host, value in values.items())
        pending = [host.host for host, value in ((one, mine), (other, theirs)) if value is not None and value.pending]
        yield Difference(_kind(name), name, values, f"{name} ({words})", ", ".join(pending))


def _kind(name: str) -> Kind:
    if name in LIMITS:
        return Kind.LIMIT
    if name in MACHINE:
        return Kind.MACHINE
    return Kind.BY_HAND if by_hand(name) else Kind.SETTING


def _libraries(one: Portrait, other: Portrait) -> Iterator[Difference]:
    """What the settings of one host name and the other does not have. One that is named by a path is not looked for."""
    for name in libraries.missing(one.libraries, other.library_files) if other.library_files else ():
        values = {one.host: "named", other.host: None}
        yield Difference(Kind.LIBRARY, name, values, f"library {printable(name)} is not on {other.host}")


def _places(one: Portrait, other: Portrait) -> Iterator[Difference]:
    for place in one.tablespaces:
        if other.directories.get(place) == 0:
            values = {one.host: place, other.host: None}
            text = f"there is no directory {printable(place)} for a tablespace on {other.host}"
            yield Difference(Kind.TABLESPACE, place, values, text)


def _locales(one: Portrait, other: Portrait) -> Iterator[Difference]:
    for name in sorted(one.locales.keys() | other.locales.keys()):
        for host in (one, other):
            if host.locales.get(name) is False:
                text = f"{host.host} does not know the locale {printable(name)}, with which a database was made"
                yield Difference(Kind.LOCALE, name, {host.host: None}, text)
    for name in sorted(one.collations.keys() & other.collations.keys()):
        versions = {host.host: host.collations[name] for host in (one, other)}
        if len(set(versions.values())) > 1:
            words = ", ".join(f"{version} on {host}" for host, version in versions.items())
            text = printable(f"collations of {name} have different versions ({words})")
            yield Difference(Kind.COLLATION, name, {**versions}, text)
        for host in (one, other):
            made = host.made.get(name)
            if made is not None and made != host.collations[name]:
                text = f"{name} was made with collation version {made}, {host.host} has {host.collations[name]}"
                yield Difference(Kind.COLLATION, name, {host.host: host.collations[name]}, printable(text))


def _disks(one: Portrait, other: Portrait) -> Iterator[Difference]:
    """A file system that is smaller by a tenth or more."""
    for place in sorted(one.directories.keys() & other.directories.keys()):
        sizes = {host.host: host.directories[place] for host in (one, other)}
        least, most = min(sizes.values()), max(sizes.values())
        if 0 < least < SMALLER * most:
            words = ", ".join(f"{size(count)} on {host}" for host, count in sizes.items())
            values: dict[str, str | None] = {host: size(count) for host, count in sizes.items()}
            yield Difference(Kind.DISK, place, values, f"the disk of {printable(place)} has {words}")
