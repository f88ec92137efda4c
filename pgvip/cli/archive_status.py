"""`pgvip archive status`: what is archived where, what is missing, what waits, what must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.archive import inventory, report
from pgvip.cli.archive_clean import require_archive
from pgvip.cli.output import columns, duration, put, put_json, size
from pgvip.cli.progress import patience
from pgvip.config.load import load
from pgvip.system import privileges

if TYPE_CHECKING:
    import argparse

    from pgvip.archive.report import Document

HELP = "show what is archived where, gaps, backlog, base backups"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `archive status`."""
    parser.description = (
        "Show this host's WAL archive and the other host's (as it is read here): timelines, missing segments, files "
        "that wait, destinations that failed or have files pending, base backups, and from where on WAL is needed. "
        "A dead server costs archive.timeout_s. Exit code 0 also when something is wrong; see problems in --json. "
        "Example: pgvip archive status"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print it. Returns 0."""
    config = load(args.config, args.host)
    require_archive(config)
    privileges.become_postgres(config)
    with patience("looking at the archives"):
        found = report.document(config, inventory.take(config))
    if args.json:
        put_json(found, indent=1)
    else:
        put("\n".join(text(found)))
    return 0


def text(found: Document) -> list[str]:
    """The document for people."""
    rows = [(f"archive of {found['host']}", _archive(found["own"])), *_stretches(found["own"])]
    other = f"cannot be read: {found['other_why']}" if found["other"] is None else _archive(found["other"])
    rows += [(f"archive of {found['peer']}", other), *_stretches(found["other"])]
    rows.append(("archiver here", _archiver(found["archiver"])))
    rows += [(f"destination {one['name']}", _destination(one)) for one in found["destinations"]]
    good = [one for one in found["backups"] if one["state"] == "good"]
    rows.append(("base backups", f"{len(good)} good" + (f", the newest is {good[-1]['name']}" if good else "")))
    if found["needed"]:
        rows.append(("needed from", f"{found['needed']['segment']} on, by {found['needed']['by']}"))
    if found["doubts"]:
        rows.append(("clean", "would refuse: " + "; ".join(doubt["what"] for doubt in found["doubts"])))
    lines = columns(rows)
    return [*lines, *(["", "problems:"] if found["problems"] else []), *(f"  {line}" for line in found["problems"])]


def _stretches(one: Document | None) -> list[tuple[str, str]]:
    return [("", f"{first} to {last}") for first, last in (one or {}).get("stretches", ())]


def _archive(one: Document) -> str:
    if not one["files"]:
        return f"{one['directory']}: empty"
    return (
        f"{one['directory']}: {one['files']} files, {size(one['size_bytes'])}, "
        f"newest {duration(one['newest_ago_s'])} old, {size(one['free_bytes'])} free"
    )


def _archiver(state: Document | None) -> str:
    if state is None:
        return "the database does not answer"
    if state["in_recovery"]:
        return "at rest: this host is the standby"
    waiting = f"{state['waiting_files']} files wait" + (
        f", the oldest for {duration(state['waiting_s'])}" if state["waiting_files"] else ""
    )
    last = "none yet"
    if state["last_archived"]:
        last = f"last {state['last_archived']}, {duration(state['archived_ago_s'])} ago"
    return f"{'failing; ' if state['failing'] else ''}{last}; {waiting}"


def _destination(one: Document) -> str:
    kind = "required" if one["required"] else "optional"
    pending = f", {one['pending_files']} files pending" if one["pending_files"] else ""
    failed = f", failed {duration(one['failed_ago_s'])} ago: {one['failed']}" if one["failed"] else ""
    return f"{kind}{pending}{failed}"
