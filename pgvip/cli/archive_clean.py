"""`pgvip archive clean`: remove what no base backup, slot or standby needs from this host's archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.archive import cleaning, inventory
from pgvip.cli.output import put, put_json, size
from pgvip.cli.progress import patience
from pgvip.cli.steps import require_root
from pgvip.config.load import load
from pgvip.errors import ConfigError
from pgvip.system import privileges

if TYPE_CHECKING:
    import argparse

    from pgvip.archive.cleaning import Plan
    from pgvip.config.model import Config

HELP = "remove archived WAL and base backups that nobody needs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `archive clean`."""
    parser.description = (
        "Remove from this host's archive the base backups beyond backup.keep and backup.keep_days, then the WAL before "
        "what any backup, replication slot or standby of the pair needs, older than archive.keep_days or beyond "
        "archive.keep_max_mb. Exit code 5, and nothing is removed, while it is in doubt what is needed. "
        "Example: pgvip archive clean --dry-run"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be removed, change nothing")
    parser.add_argument(
        "--without-peer", action="store_true",
        help="also when the other host's archive cannot be read; the WAL that it needed last stays",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Clean. Returns 0."""
    require_root()
    config = load(args.config, args.host)
    require_archive(config)
    privileges.become_postgres(config)
    with patience("looking at the archives"):
        seen = inventory.take(config)
        decided = cleaning.plan(config, seen, without_peer=args.without_peer)
    if not args.dry_run:
        with patience("removing"):
            inventory.remember(config, seen)
            decided = cleaning.carry_out(config, decided, seen)
    if args.json:
        put_json(words(decided, dry_run=args.dry_run), indent=1)
    else:
        put("\n".join(text(decided, dry_run=args.dry_run)))
    return 0


def require_archive(config: Config) -> None:
    """ConfigError where the pair has no archive of pgvip's."""
    if not config.archive.enabled:
        hint = "Another program archives here; ask that one, or set archive.enabled = true."
        raise ConfigError("archive.enabled = false: this pair has no archive of pgvip's", hint=hint)


def words(decided: Plan, *, dry_run: bool) -> dict[str, object]:
    """What goes, in plain values."""
    return {
        "dry_run": dry_run,
        "backups": [one.name for one in (*decided.backups, *decided.interrupted)],
        "files": [file.file for file in decided.wal.files],
        "size_bytes": decided.wal.size_bytes,
        "oldest_need": {"by": decided.wal.oldest.who, "lsn": str(decided.wal.oldest.lsn)},
        "over_mb": decided.wal.over_mb,
    }


def text(decided: Plan, *, dry_run: bool) -> list[str]:
    """What goes, for people."""
    verb = "would remove" if dry_run else "removed"
    lines = [f"{verb} base backup {one.name}" for one in decided.backups]
    lines += [f"{verb} base backup {one.name}, which was interrupted" for one in decided.interrupted]
    files = sorted(file.file for file in decided.wal.files)
    if files:
        span = files[0] if len(files) == 1 else f"{files[0]} to {files[-1]}"
        lines.append(f"{verb} {len(files)} files of WAL, {size(decided.wal.size_bytes)}: {span}")
    lines = lines or ["nothing to remove"]
    lines.append(f"WAL is needed from {decided.wal.oldest.lsn} on, by {decided.wal.oldest.who}")
    if decided.wal.over_mb:
        lines.append(f"what must stay is {decided.wal.over_mb} MB more than archive.keep_max_mb")
    return lines
