"""`pgvip backup`: a base backup of this host's database, verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.archive import basebackup, inventory
from pgvip.cli.archive_clean import require_archive
from pgvip.cli.output import put, put_json, size
from pgvip.cli.progress import Bar, patience
from pgvip.cli.steps import require_root
from pgvip.config.load import load
from pgvip.deadlines import wait_until
from pgvip.errors import ArchiveError, PostgresError, ProbeError, RefusedError
from pgvip.setup import access
from pgvip.state import codec
from pgvip.system import own_directories, pgtools, privileges
from pgvip.system.sql import connect_local

if TYPE_CHECKING:
    import argparse

    from pgvip.archive.backups import Backup
    from pgvip.config.model import Config

HELP = "make a base backup of this host's database, verified"
ANSWER_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `backup`."""
    parser.description = (
        "Copy this host's database into backup.directory by pg_basebackup, and verify the copy by pg_verifybackup. The "
        "standby is the host for it: a primary whose standby streams refuses (exit code 5), unless with --here. "
        "For a timer on both hosts: --auto. Example: pgvip backup"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--here", action="store_true", help="also on a primary whose standby could do it")
    group.add_argument("--auto", action="store_true", help="exit code 0 and no backup where the other host is to do it")
    parser.add_argument("--bandwidth", type=int, metavar="MB/S", help="limit (backup.bandwidth_mb_s; 0: none)")
    parser.add_argument("--spread", action="store_true", help="spread the first checkpoint instead of hurrying it")
    parser.add_argument("-n", "--dry-run", action="store_true", help="check everything, make no backup")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Make one. Returns 0."""
    require_root()
    config = load(args.config, args.host)
    require_archive(config)
    if not args.dry_run:
        own_directories.make(config, config.backup.directory, mode=0o750)
    privileges.become_postgres(config)
    other = better_host(config)
    if other and not args.here:
        if args.auto:
            _print(args, {"made": False, "why": other}, f"no backup here: {other}")
            return 0
        raise RefusedError(f"no backup was made: {other}", hint="Run pgvip backup there, or here with --here.")
    basebackup.refuse_without_verifier(config)
    _let_in(config, dry_run=args.dry_run)
    if args.dry_run:
        where = config.backup.directory
        _print(args, {"made": False, "why": "dry run"}, f"would make a base backup in {where} (--dry-run)")
        return 0
    bandwidth = config.backup.bandwidth_mb_s if args.bandwidth is None else args.bandwidth
    done = _make(args, config, bandwidth)
    at = f"{done.stop.lsn} on timeline {done.stop.timeline}"
    text = f"backup {done.name}: {size(done.size_bytes)}, verified, consistent at {at}"
    _print(args, {"made": True, **codec.encode(done)}, text)
    return 0


def better_host(config: Config) -> str:
    """Why this is the wrong host, in a sentence; "" when it is the right one."""
    server = inventory.ask_server(config)
    if not server.role:
        raise ArchiveError("the local database does not answer", server.doubts[0].what if server.doubts else "")
    if server.role == "standby":
        return ""
    try:
        with connect_local(config) as session:
            rows = session.query("replicas", (config.peer_application_name,), timeout_s=ANSWER_S)
    except ProbeError as failure:
        raise ArchiveError("the local database does not answer", str(failure)) from failure
    if any(row[3] == "streaming" for row in rows):
        return f"{config.me.name} is the primary, and {config.peer.name} is a standby that can do it"
    return ""


def _let_in(config: Config, *, dry_run: bool) -> None:
    """See that pg_hba.conf lets the local backup in; pairs of an earlier version lack the line."""
    why = basebackup.replication_answers(config)
    if why and not dry_run:
        access.write_access(config)
        pgtools.psql(config, "SELECT pg_reload_conf();\n")
        wait_until(
            lambda: not basebackup.replication_answers(config),
            10.0,
            what="pg_hba.conf lets a local backup in",
            error=PostgresError,
        )
    elif why:
        put(f"would write pgvip's block in pg_hba.conf again: {why}")


def _make(args: argparse.Namespace, config: Config, bandwidth_mb_s: int) -> Backup:
    def say(text: str) -> None:
        if not args.json:
            put(f"  {text}", flush=True)

    if args.json:
        with patience("making a base backup"):
            return basebackup.make(config, say, bandwidth_mb_s=bandwidth_mb_s, spread=args.spread)
    with Bar() as bar:
        return basebackup.make(config, say, bar.show, bandwidth_mb_s=bandwidth_mb_s, spread=args.spread)


def _print(args: argparse.Namespace, words: dict[str, object], text: str) -> None:
    if args.json:
        put_json(words, indent=1, flush=True)
    else:
        put(text, flush=True)
