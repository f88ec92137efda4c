"""Both hosts are alike where they must be: PostgreSQL's files and settings, and what the database needs of a host."""

from __future__ import annotations

from collections.abc import Callable

from pgvip.checks.finding import Finding, critical, gathered, warning
from pgvip.checks.subject import Facts

FILES = frozenset({"line", "limit", "setting", "by-hand"})
_COLLATION = (
    "have the same version of the operating system on both; after a change of the version: REINDEX, then "
    "ALTER DATABASE ... REFRESH COLLATION VERSION"
)
HOSTS = {
    "library": (critical, "install it there, or take it out of the setting"),
    "tablespace": (critical, "make the directory there, as PostgreSQL's user"),
    "locale": (critical, "make the locale there: locale-gen, localedef"),
    "collation": (warning, _COLLATION),
    "disk": (warning, "a standby with the smaller disk fills it first"),
}
"""By the kind of a difference (`setup.likeness.Kind`): how bad it is, and what to do."""


def same_files(facts: Facts) -> Finding:
    """pg_hba.conf, pg_ident.conf and settings say the same on both hosts."""
    found = facts.same["differences"]
    hint = "pgvip config diff; pgvip config push copies the primary's to the standby"
    bad = [warning(one["text"], hint) for one in found if one["kind"] in FILES]
    machine = [one["text"] for one in found if one["kind"] == "machine"]
    more = f"; by the machine: {', '.join(machine)}" if machine else ""
    return gathered(f"pg_hba.conf, pg_ident.conf and settings are the same on both hosts{more}", bad)


def same_hosts(facts: Facts) -> Finding:
    """Libraries, directories of tablespaces, locales, versions of collations and sizes of disks are the same."""
    return gathered("libraries, tablespaces, locales, collations and disks fit on both hosts", _bad(facts))


def _bad(facts: Facts) -> list[Finding]:
    found = list[Finding]()
    for one in facts.same["differences"]:
        if one["kind"] in HOSTS:
            level: Callable[..., Finding]
            level, hint = HOSTS[one["kind"]]
            found.append(level(one["text"], hint))
    return found
