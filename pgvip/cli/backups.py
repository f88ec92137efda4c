"""`pgvip backups`: the base backups of both hosts, and which points in time they can restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.archive import inventory
from pgvip.archive.catalog import position, reach
from pgvip.cli.archive_clean import require_archive
from pgvip.cli.output import columns, duration, put, put_json, size
from pgvip.cli.progress import patience
from pgvip.config.load import load
from pgvip.state import codec
from pgvip.system import privileges
from pgvip.text.writing import moment_of

if TYPE_CHECKING:
    import argparse

    from pgvip.archive.backups import Backup
    from pgvip.archive.inventory import Picture

HELP = "list the base backups of both hosts, and what each can restore"
HEADINGS = ("backup", "host", "age", "size", "timeline", "state", "restores from", "to", "and until")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `backups`."""
    parser.description = (
        "List the base backups of this host, and of the other as far as its archive shows, oldest first: each can be "
        "restored to any point between its own end and the end of the archived WAL that follows it. "
        "Example: pgvip backups"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List them. Returns 0."""
    config = load(args.config, args.host)
    require_archive(config)
    privileges.become_postgres(config)
    with patience("looking at the archives"):
        seen = inventory.take(config)
    found = [words(one, seen) for one in sorted(seen.backups, key=lambda one: one.name)]
    if args.json:
        put_json({"backups": found, "other_why": seen.peer_why}, indent=1)
        return 0
    put("\n".join(columns([HEADINGS, *map(_row, found)]) if found else ["there are no base backups"]))
    if seen.peer_why:
        put(f"the archive of {config.peer.name} cannot be read: {seen.peer_why}")
    return 0


def words(backup: Backup, seen: Picture) -> dict[str, object]:
    """One backup in plain values. `until`: when the last segment that follows it was archived, seconds since 1970."""
    end = reach(seen.holdings, backup.start, seen.segment_bytes)
    last = end.lsn // seen.segment_bytes - 1
    files = [*seen.own.files, *(seen.peer.files if seen.peer else ())]
    times = [file.at for file in files if position(file.name, seen.segment_bytes) == (end.timeline, last)]
    return {
        **codec.encode(backup),
        "age_s": max(0.0, seen.at - (backup.ended_at or backup.begun_at)),
        # Its own WAL brings it to its end in any case.
        "to": str(max(end.lsn, backup.stop.lsn)),
        "to_timeline": end.timeline if end.lsn > backup.stop.lsn else backup.stop.timeline,
        "until": max(times, default=backup.ended_at) if end.lsn > backup.stop.lsn else backup.ended_at,
    }


def _row(one: dict[str, object]) -> tuple[str, ...]:
    good = one["state"] == "good"
    stop, until = one["stop"], one["until"]
    assert isinstance(stop, dict)
    assert isinstance(until, float | int)
    return (
        str(one["name"]),
        str(one["host"]),
        duration(float(str(one["age_s"]))),
        size(float(str(one["size_bytes"]))) if good else "",
        str(stop["timeline"]),
        "good" if good else str(one["state"]),
        str(stop["lsn"]) if good else "",
        str(one["to"]) if good else "",
        moment_of(until) if good else "",
    )
