"""The libraries that a server loads: which ones settings name, and which ones an installation has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PRELOADED = ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries")
LIBDIR = "$libdir"
NAMES_MAX = 4000
_SIGN = "plpgsql.so"


def named(text: str) -> list[str]:
    """The libraries of a setting that lists them, without `$libdir`; those by a path are whole.

    >>> named('pg_stat_statements, "$libdir/plugins/plugin_debugger", /opt/own.so')
    ['pg_stat_statements', 'plugins/plugin_debugger', '/opt/own.so']
    """
    found = [word.strip().strip('"') for word in text.split(",")]
    return [one if one.startswith("/") else one.removeprefix(f"{LIBDIR}/").removesuffix(".so") for one in found if one]


def installed(bin_directory: Path) -> tuple[str, ...]:
    """Names in PostgreSQL's directory of libraries, which is beside that of its programs; () when it is not there."""
    for directory in (bin_directory.parent / "lib", bin_directory.parent / "lib" / "postgresql"):
        if (directory / _SIGN).exists():
            places = ((directory, ""), (directory / "plugins", "plugins/"))
            return tuple(sorted(name for place, prefix in places for name in _names(place, prefix)))[:NAMES_MAX]
    return ()


def _names(directory: Path, prefix: str) -> list[str]:
    with suppress(OSError):
        return [f"{prefix}{path.stem}" for path in directory.iterdir() if path.suffix == ".so"]
    return []


def missing(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    """Which of the libraries are not there. One that is named by a path is not looked for.

    >>> missing(["pg_cron", "auto_explain", "/opt/own"], ("auto_explain",))
    ['pg_cron']
    """
    known = {*there, *(one.removeprefix("plugins/") for one in there)}  # where local_preload_libraries looks
    return [one for one in wanted if not one.startswith("/") and one not in known]
