"""`pgvip restore`: a base backup and the archived WAL, made into a database as it was at a point in time."""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.archive import inventory, restore_points, restoring, targets
from pgvip.archive.catalog import reach
from pgvip.cli.archive_clean import require_archive
from pgvip.cli.output import put, put_json, size
from pgvip.cli.progress import Bar, patience
from pgvip.cli.steps import require_root
from pgvip.config.load import load
from pgvip.errors import RefusedError
from pgvip.state import codec
from pgvip.system import own_directories, pgtools, privileges
from pgvip.system.wal_files import segment_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.archive.inventory import Picture
    from pgvip.archive.restoring import Order
    from pgvip.archive.targets import Target
    from pgvip.config.model import Config
    from pgvip.core.values import WalPoint

HELP = "restore a base backup to a point in time, into an empty directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `restore`."""
    parser.description = (
        "Copy a base backup into an empty directory, verify the copy, and write settings with which PostgreSQL "
        "recovers from the archives to the given point: latest, a time, an LSN or the name of a restore point. The "
        "live database is not touched; the restored one has a port of its own, no network and no archiving. It is not "
        "started. Exit code 5: refused, and nothing was changed. "
        "Example: pgvip restore --to '2026-11-25 22:30:00+01:00' /srv/restored"
    )
    parser.add_argument("directory", type=Path, help="where to: empty, or not there yet")
    to_help = "latest, TIME, LSN or NAME, which time:, lsn: or name: before it makes sure of [latest]"
    parser.add_argument("--to", type=_target, default="latest", metavar="POINT", help=to_help)
    parser.add_argument("--backup", default="", metavar="NAME", help="begin with this one, not with the fitting one")
    parser.add_argument("--timeline", type=_timeline, default="latest", metavar="N", help="follow this one [latest]")
    parser.add_argument("--action", choices=restoring.ACTIONS, default="pause", help="at the point [%(default)s]")
    parser.add_argument("--port", type=int, help="of the restored server [one above the pair's]")
    parser.add_argument(
        "--without-peer", action="store_true",
        help="also when the other host's archive cannot be read; recovery does without it then",
    )  # fmt: skip
    parser.add_argument("-n", "--dry-run", action="store_true", help="check everything, say what would be done")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _target(word: str) -> Target:
    try:
        return targets.parse(word)
    except ValueError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


def _timeline(word: str) -> str:
    if word not in ("latest", "current") and not (word.isdigit() and int(word) > 0):
        raise argparse.ArgumentTypeError(f"{word!r} is no timeline; write latest, current or a number")
    return word


def run(args: argparse.Namespace) -> int:
    """Restore. Returns 0."""
    require_root()
    config = load(args.config, args.host)
    require_archive(config)
    _refuse_future(args.to)
    place = restoring.Place.of(args.directory)
    restoring.refuse_place(config, place)
    if not args.dry_run:
        # Before anything is read: afterwards this is PostgreSQL's user, who can make nothing in a directory of root's.
        for path in place:
            own_directories.make(config, path, mode=0o700)
    privileges.become_postgres(config)
    with patience("looking at the archives"):
        seen = inventory.take(config)
    if seen.index is None and not args.without_peer:
        what = f"the archive of {config.peer.name} cannot be read: {seen.peer_why}"
        raise RefusedError(what, "WAL that is only there would be missing.", "Repair that, or use --without-peer.")
    known = seen.backups if args.backup else seen.reachable
    if config.archive.by_link and not args.backup:  # else the other host's, to say where it can be restored
        known = [one for one in known if one.host == config.me.name] or known
    backup = targets.choose(known, args.to, args.backup)
    files = restoring.source(config, backup, seen)
    port = args.port or config.postgres.port + 1
    # --without-peer allows it: what can be read now is not left out, and must go on being readable
    without_peer = seen.index is None
    order = restoring.Order(backup, files, args.to, place, port, args.action, args.timeline, without_peer)
    restoring.refuse_full_disk(backup, place)
    _refuse_beyond(config, order, seen)
    _refuse_unknown_name(config, order, seen)
    if not args.dry_run:
        _restore(args, config, order)
    _report(args, config, order, seen)
    return 0


def _refuse_beyond(config: Config, order: Order, seen: Picture) -> None:
    """RefusedError for a point that no archived WAL reaches, as far as both archives show.

    A further archive (destinations) may hold what they do not, and another timeline than the latest goes elsewhere.
    """
    target = order.target
    if order.timeline != "latest" or config.archive.destinations:
        return
    end = reach(seen.holdings, order.backup.start, seen.segment_bytes)
    if target.lsn is not None and end.lsn < target.lsn:
        what = f"WAL is archived without a gap up to {end.lsn} only, and {target.lsn} is wanted"
        raise RefusedError(what, hint=_NEWER)
    archived_at = _archived_at(seen, end)
    if target.kind == "time" and archived_at is not None and archived_at < target.at:
        words = f"WAL is archived without a gap up to {targets.moment(archived_at)} only (LSN {end.lsn})"
        raise RefusedError(f"{words}, and {target} is wanted", hint=_NEWER)


_NEWER = "If it is newer, let the primary archive it (SELECT pg_switch_wal()); pgvip archive status shows gaps."


def _archived_at(seen: Picture, end: WalPoint) -> float | None:
    """When the last segment before `end` was archived, in either archive: nothing in it is younger. None: unknown."""
    name = segment_name(end.timeline, end.lsn - seen.segment_bytes, seen.segment_bytes)
    surveys = [seen.own, *([seen.peer] if seen.peer else [])]
    return max((file.at for one in surveys for file in one.files if file.name == name), default=None)


def _refuse_unknown_name(config: Config, order: Order, seen: Picture) -> None:
    """RefusedError for the name of a restore point that no archived WAL has, where all of it can be searched."""
    name = order.target.text
    if order.target.kind != "name" or config.archive.destinations:
        return
    with patience(f'searching the archived WAL for restore point "{name}"'):
        found = restore_points.search(config, seen, order.backup.start.lsn, name)
    if name in found.names or found.unread:
        return
    newest = list(found.names.items())[: restore_points.LISTED_MAX]
    listed = ", ".join(f"{one} ({targets.moment(at.timestamp())})" for one, at in newest)
    raise RefusedError(
        f'"{name}" is neither a time nor an LSN, and no archived WAL has a restore point of that name',
        f"Restore points in the WAL since backup {order.backup.name}, newest first: {listed or 'none'}.",
        "Write a time as '2026-11-25 22:30:00+01:00'. One that was just made is archived after SELECT pg_switch_wal().",
    )


def _refuse_future(target: Target) -> None:
    now = time.time()
    if target.kind == "time" and target.at > now:
        said = f"It is {targets.moment(now)} now."
        raise RefusedError(f"{target} is in the future", said, "Correct it, or use --to latest.")


def _restore(args: argparse.Namespace, config: Config, order: Order) -> None:
    def say(text: str) -> None:
        if not args.json:
            put(f"  {text}", flush=True)

    if args.json:
        with patience("restoring"):
            restoring.restore(config, order, say, lambda _done, _total: None)
        return
    with Bar() as bar:
        restoring.restore(config, order, say, bar.show)


def _as_user(user: str, words: Sequence[str]) -> str:
    """A command for the terminal, from any directory, as PostgreSQL's user; every Linux has runuser, for root."""
    become = ["sudo", "-u", user] if shutil.which("sudo") else ["runuser", "-u", user, "--"]
    return f"cd / && {shlex.join([*become, *words])}"


def _report(args: argparse.Namespace, config: Config, order: Order, seen: Picture) -> None:
    data, user = order.place.data, config.postgres.user
    # The log is in the data directory: PostgreSQL's user may not write to the directory that holds it.
    log = str(data / restoring.LOG)
    start = _as_user(user, [str(pgtools.tool(config, "pg_ctl")), "-D", str(data), "-l", log, "start"])
    psql = ["psql", "-h", str(config.postgres.socket_directory), "-p", str(order.port), config.postgres.database]
    look = _as_user(user, psql)
    end = reach(seen.holdings, order.backup.start, seen.segment_bytes)
    if args.json:
        words = {"restored": not args.dry_run, "backup": codec.encode(order.backup), "to": str(order.target),
                 "directory": str(data), "port": order.port, "start": start, "archived_to": str(end.lsn)}  # fmt: skip
        put_json(words, indent=1)
        return
    verb = "would restore" if args.dry_run else "restored"
    lines = [
        f"{verb} backup {order.backup.name} of {order.backup.host} ({size(order.backup.size_bytes)}) into {data},",
        f"to be recovered to {order.target}; WAL is archived without a gap up to {end.lsn} on timeline {end.timeline}",
    ]
    if order.target.kind == "name" and not args.backup:
        lines.append("the oldest backup is used, since nobody knows where a name is; --backup NAME may be faster")
    if args.dry_run:
        lines.append("nothing was changed (--dry-run)")
    else:
        lines += [f"Start it:  {start}", f"Look:      {look}"]
        if order.target.kind != "latest" and order.action == "pause":
            lines.append("It pauses at the point; SELECT pg_wal_replay_resume() makes it read-write.")
    put("\n".join(lines))
