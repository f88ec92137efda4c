"""The local PostgreSQL: does it answer, are its settings what pgvip needs, is its data where the configuration says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pgvip.checks import server_state
from pgvip.checks.finding import Finding, Perf, critical, gathered, judged, ok, unknown, warning
from pgvip.checks.subject import Facts
from pgvip.errors import PostgresError, ProbeError
from pgvip.system import mounts, pgconf, pgtools, server_settings
from pgvip.system.server_settings import COMMIT
from pgvip.system.sql import ServerAnswered, connect_local
from pgvip.system.workers import as_postgres

HEARTBEAT_S = 2.0
"""How long the heartbeat row may be locked by somebody before that is reported."""
LEVELS = {"warning": warning, "critical": critical}
IN_FILES = tuple(setting.name for setting in server_settings.TABLE if setting.refused)
"""What is asked of the files while the server is down: each costs a start of its program."""
RESTART = "set it in postgresql.conf and restart the server: pgvip restart --rolling --pending"


def database(facts: Facts) -> Finding:
    """The local server answers a query; connections are left."""
    try:
        runs = facts.server_runs
    except ServerAnswered as failure:
        text = f"PostgreSQL answers, and refuses pgvip: {failure.reason}"
        return critical(text, server_state.way_out(failure.reason))
    if not runs:
        if facts.identity is None:
            return unknown("PostgreSQL does not run here", "pgvip init starts it or makes it")
        return critical("PostgreSQL does not answer on this host", "see its log, and pgvip status")
    used, most = facts.local("check_connections")[0]
    percent = round(100 * used / max(most, 1), 1)
    limits = facts.limits
    perf = Perf("connections", percent, "%", limits.connections_warning_percent, limits.connections_critical_percent)
    return judged(f"answers; {used} of {most} connections are used", perf, "raise max_connections, or use a pooler")


def heartbeat(facts: Facts) -> Finding:
    """A primary's heartbeat row can be written, by writing it."""
    if facts.in_recovery:
        return ok("a standby writes none")
    with connect_local(facts.config, 1.5 * HEARTBEAT_S, lock_timeout_s=HEARTBEAT_S) as session:
        try:
            session.query("heartbeat", timeout_s=2 * HEARTBEAT_S)
        except ServerAnswered as failure:
            hint = "see that sequence pgvip.heartbeat is there (else: pgvip init), who locks it, and its grants"
            return warning(f"the heartbeat row cannot be written: {failure.reason}", hint)
    return ok("the heartbeat row can be written")


def settings(facts: Facts) -> Finding:
    """The settings that pgvip relies on."""
    found = _settings(facts)
    return gathered("every setting is what pgvip needs", _judged(facts, found))


def _settings(facts: Facts) -> dict[str, str]:
    """From the running server, else from the files."""
    names = [setting.name for setting in server_settings.judged()]
    if facts.server_runs:
        rows = facts.local("check_settings", (names,))
        found: dict[str, str] = {name: value for name, value, _ in rows}
        # Our own sessions set this one for themselves: the files tell what others get.
        return found | {COMMIT: pgtools.server_setting(facts.config, COMMIT)}
    if not pgtools.is_there(facts.config.postgres.data_directory / "PG_VERSION"):
        raise ProbeError(f"there is no database cluster in {facts.config.postgres.data_directory} yet")
    return {name: pgtools.server_setting(facts.config, name) for name in IN_FILES}


def _judged(facts: Facts, found: dict[str, str]) -> Iterator[Finding]:
    ours = facts.identity is not None  # before init, what pgvip.conf sets is not set yet
    for setting in server_settings.judged():
        name, value = setting.name, found.get(setting.name)
        if value is None or (name == COMMIT and not facts.config.settings.sync):
            continue
        if name == pgconf.RESTART_AFTER_CRASH and facts.durable is not None and facts.durable.pause.active:
            continue  # nobody else would start it again
        if setting.least and int(value) < setting.least:
            yield critical(f"{name} is {value}, should be at least {setting.least}: {setting.why}", RESTART)
        elif setting.good and value not in setting.good and (ours or setting.pinned is None):
            should = " or ".join(setting.good) or "empty"
            yield LEVELS[setting.level](f"{name} is {value}, should be {should}: {setting.why}", RESTART)
    if ours and facts.server_runs:
        if wrong := server_state.described(facts.local("file_errors")):
            yield critical(f"a configuration file is wrong: {wrong}", "correct it, then: select pg_reload_conf()")
        pending = [name for name, pending in facts.local("check_pending") if pending]
        if pending:
            yield warning(f"a restart is pending for {', '.join(pending)}", "pgvip restart --rolling --pending")
        yield from _overridden(facts)
        for (database,) in facts.local("check_read_only"):
            text = f"default_transaction_read_only is on for {database}: writes of clients fail there"
            yield warning(text, "ALTER DATABASE or ALTER ROLE ALL RESET default_transaction_read_only")


def _overridden(facts: Facts) -> Iterator[Finding]:
    """ALTER SYSTEM wins over pgvip.conf; what is taken away there at the next start is at work until then."""
    config = facts.config
    ours = pgconf.owned(config, pgtools.major_version(config.postgres.data_directory))
    try:
        own = pgconf.auto_conf_keys(config) & ours
    except PostgresError as failure:
        yield unknown(failure.message)
        return
    for name in sorted(own):
        yield warning(f"ALTER SYSTEM has set {name}, which is pgvip's", f"ALTER SYSTEM RESET {name}")


def rewind(facts: Facts) -> Finding:
    """pg_rewind can be used, so that a returned host needs no new copy."""
    control = pgtools.control_data(facts.config)
    if control.checksums:
        return ok("data checksums are on")
    if control.wal_log_hints:
        return ok("wal_log_hints is on")
    text = "neither checksums nor wal_log_hints: a returned host is cloned again"
    return warning(text, f"wal_log_hints = on; {RESTART}")


def data(facts: Facts) -> Finding:
    """The data directory is the configured one, is the pair's cluster, and nobody else may enter it."""
    return gathered(f"{facts.config.postgres.data_directory} is the pair's, and closed to others", _data(facts))


@as_postgres()
def owner_and_mode(directory: Path) -> tuple[int, int]:
    """Whose a directory is, and its permissions. OSError."""
    status = directory.stat()
    return status.st_uid, stat.S_IMODE(status.st_mode)


def _data(facts: Facts) -> Iterator[Finding]:
    config = facts.config
    directory = config.postgres.data_directory
    try:
        owner, mode = owner_and_mode(directory)
    except OSError as failure:
        level = unknown if facts.identity is None else critical
        yield level(f"{directory}: {failure.strerror}", "mount it, or pgvip init or clone")
        return
    if mode & 0o027:
        yield critical(f"{directory} has mode {mode:04o}", f"chmod 0700 {directory}")
    user = config.postgres.user
    if owner != pgtools.account(config).pw_uid:
        yield critical(f"{directory} does not belong to {user}", f"chown -R {user} {directory}")
    for point in mounts.below(Path(os.path.realpath(directory))):
        text = f"{point} in the data directory is a mount point: no clone can replace the data"
        yield warning(text, "mount it elsewhere, and put a symbolic link in its place")
    if facts.server_runs:
        running = str(facts.local("check_data_directory")[0][0])
        if os.path.realpath(running) != os.path.realpath(directory):
            text = f"the server's data are in {running}, not in {directory}"
            yield critical(text, "correct postgresql.data_directory")
    if pgtools.is_there(directory / "PG_VERSION"):
        yield from _cluster(facts)


def _cluster(facts: Facts) -> Iterator[Finding]:
    """The programs are those of the cluster, and the cluster is the pair's."""
    identity = facts.identity
    if wrong := pgtools.version_problem(facts.config):
        yield critical(wrong.message, wrong.hint)
        return  # such programs may read the control data wrongly
    if identity is None:
        return
    found = pgtools.control_data(facts.config).system_id
    if found != identity.system_id:
        text = f"another cluster: system identifier {found}, the pair's is {identity.system_id}"
        hint = "find out which one is right before anything is started; if pg_upgrade has made it: "
        yield critical(text, hint + pgtools.UPGRADE)

