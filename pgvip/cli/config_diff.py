"""`pgvip config diff`: what of PostgreSQL's files, settings and surroundings differs between the two hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json
from pgvip.cli.progress import patience
from pgvip.cli.where import daemon_socket
from pgvip.errors import Exit
from pgvip.link.operator_socket import call, raise_failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "show what of PostgreSQL's files and settings differs between the two hosts"
EXIT_CODES = {0: "both hosts are alike; settings that depend on the machine may differ", 1: "they differ, or it failed"}
ANSWER_S = 40.0
TITLES = {
    "line": "pg_hba.conf and pg_ident.conf, beside pgvip's own lines",
    "limit": "settings that a standby needs as high as its primary",
    "setting": "settings",
    "by-hand": "settings that load or run something (never copied)",
    "machine": "settings that follow from the machine (no warning)",
    "library": "libraries",
    "tablespace": "tablespaces",
    "locale": "locales",
    "collation": "versions of collations",
    "disk": "disks",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `config diff`."""
    parser.description = (
        "Compare both hosts as they are now: lines of pg_hba.conf and pg_ident.conf other than pgvip's own, settings "
        "that a file of either host sets, libraries, directories of tablespaces, locales, versions of collations, "
        "sizes of disks. A line that ends in '# pgvip: only here' is not compared. Example: pgvip config diff"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what differs. Returns 0, or 1 when something does."""
    with patience("both hosts are compared"):
        document = call(daemon_socket(args), {"command": "same"}, ANSWER_S)
    raise_failure(document)
    same = document["same"]
    found = same["differences"]
    differ = any(one["kind"] != "machine" for one in found)
    if args.json:
        put_json({"ok": True, "same": not differ, **same})
    else:
        put("\n".join(lines(same["hosts"], found)))
    return int(Exit.FAILED if differ else Exit.OK)


def lines(hosts: Sequence[str], found: Sequence[dict[str, Any]]) -> list[str]:
    """For people: each kind under its title."""
    if not found:
        return [f"PostgreSQL's files, settings and surroundings are the same on {' and '.join(hosts)}"]
    written = list[str]()
    for kind, title in TITLES.items():
        here = [one for one in found if one["kind"] == kind]
        if here:
            written += ["", f"{title}:", *(f"  {one['text']}{_pending(one)}" for one in here)]
    return written[1:]


def _pending(one: dict[str, Any]) -> str:
    return f"; a restart is pending on {one['pending']}" if one["pending"] else ""
