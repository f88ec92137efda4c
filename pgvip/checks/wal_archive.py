"""The WAL archive, both ways: what waits, what failed, whether the own one takes files and the peer's gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.archive import inventory
from pgvip.checks.finding import Finding, Perf, critical, judged, ok, unknown, warning
from pgvip.checks.subject import Facts, Skipped
from pgvip.errors import ArchiveError, CommandError, ProbeError
from pgvip.probes import archive_mount
from pgvip.system import pgtools
from pgvip.system.commands import run
from pgvip.system.sql import NoAnswer
from pgvip.system.workers import as_postgres
from pgvip.text.writing import duration

if TYPE_CHECKING:
    from pgvip.config.model import Config

WRITE = 'file="$1/.pgvip-check.$$"; echo check >"$file" && sync "$file" && rm -f "$file"'
WRITE_S = 10.0


def _enabled(facts: Facts) -> None:
    if not facts.config.archive.enabled:
        raise Skipped("archive.enabled is false")


def ready(facts: Facts) -> Finding:
    """Few WAL files wait to be archived (as `repmgr node check --archive-ready`)."""
    _enabled(facts)
    count = _ready(facts)
    perf = Perf("ready", count, "", facts.limits.ready_warning, facts.limits.ready_critical)
    return judged(f"{count} WAL files wait to be archived", perf, "see the check archiver, and the disk of the archive")


def _ready(facts: Facts) -> int:
    try:
        return int(facts.local("check_ready")[0][0])
    except NoAnswer:  # down: its files tell
        return marked_ready(facts.config.postgres.data_directory / "pg_wal" / "archive_status")


@as_postgres()
def marked_ready(status: Path) -> int:
    """How many files are marked as waiting. ProbeError."""
    try:
        return sum(path.name.endswith(".ready") for path in status.iterdir())
    except OSError as failure:
        raise ProbeError(f"could not look into {status}", f"{failure}.") from failure


def archiver(facts: Facts) -> Finding:
    """The last attempt to archive worked."""
    _enabled(facts)
    if facts.in_recovery:
        raise Skipped("a standby archives nothing")
    archived, failed, last_failed, failing, age_s = facts.local("check_archiver")[0]
    perf = [Perf("archived", archived, "c"), Perf("archive_failures", failed, "c")]
    if failing:
        hint = "see PostgreSQL's log and the disk of the archive"
        return critical(f"archiving fails: {last_failed}", hint, perf=perf)
    since = "" if age_s is None else f", the last {duration(age_s)} ago"
    return ok(f"{archived} files archived since the statistics began{since}", *perf)


def own(facts: Facts) -> Finding:
    """PostgreSQL's user can write a file to the own archive, and sync it."""
    _enabled(facts)
    directory = facts.config.archive.directory
    if not pgtools.is_there(directory):
        if facts.identity is None:
            return unknown(f"{directory} is not there yet", "pgvip init makes it")
        return critical(f"{directory} is not there", f"install -d -o {facts.config.postgres.user} {directory}")
    words = ["sh", "-c", WRITE, "sh", str(directory)]
    done = run(words, timeout_s=WRITE_S, user=facts.config.postgres.user)
    if done.returncode != 0:
        hint = f"chown {facts.config.postgres.user} {directory}; see that its disk is not full or read-only"
        return critical(f"{facts.config.postgres.user} cannot write to {directory}", hint, done.said)
    return ok(f"{facts.config.postgres.user} writes to {directory}")


def peers(facts: Facts) -> Finding:
    """The peer's archive is mounted, or read over the link, answers in time, and PostgreSQL's user can read it."""
    _enabled(facts)
    config = facts.config
    if config.archive.by_link:
        return _over_link(facts)
    mount = config.archive.peer_mount
    hint = f"see the export on {config.peer.name}: exportfs -v; and here: mount | grep {mount}"
    if not archive_mount.probe(config):
        if facts.identity is None:
            return unknown(f"{mount} is not mounted yet", "the daemon mounts it")
        return warning(f"{mount} is not mounted", hint)
    try:
        done = run(["ls", str(mount)], timeout_s=config.archive.timeout_s, user=config.postgres.user)
    except CommandError as failure:
        return critical(f"{mount} hangs", hint, str(failure))
    if done.returncode != 0:
        return critical(f"{config.postgres.user} cannot read {mount}", hint, done.said)
    return ok(f"{config.peer.name}'s archive is readable, {len(done.stdout.split())} files")


def _over_link(facts: Facts) -> Finding:
    config = facts.config
    port = f"{config.peer.address} port {config.archive.port}"
    hint = f"see that pgvip runs on both hosts, that {port} is open, and the archive's directory on {config.peer.name}"
    if facts.identity is None:
        return unknown("the daemon reads it", "pgvip init or join, then start the daemon")
    try:
        if not archive_mount.probe(config):
            return warning(f"the daemon of {config.peer.name} is not connected", "pgvip check --only peer")
        count = listed(config)
    except (ProbeError, ArchiveError) as failure:
        return critical(f"{config.postgres.user} cannot read the archive of {config.peer.name}", hint, str(failure))
    return ok(f"{config.peer.name}'s archive is readable over the link, {count} files")


@as_postgres()
def listed(config: Config) -> int:
    """How many files the peer's archive has, asked over the link. ArchiveError."""
    return len(inventory.look(config, None).files)
