"""Start, stop and promote the local server; each verifies its own effect and can be repeated.

"Stopped" means that no process of the cluster is left: backends go on committing after a postmaster that was killed.
"Promoted" means that it says itself that it is not in recovery.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.actions import last_words, obstacles, prepare, replication
from pgvip.actions.last_words import end_of_log, log_file
from pgvip.actions.starting import Readiness
from pgvip.deadlines import Deadline, now_s, wait_until
from pgvip.errors import CommandError, PgvipError, PostgresError, ProbeError, PromoteError
from pgvip.probes.database import lsn
from pgvip.system import forks, pgtools, processes, units
from pgvip.system.commands import check, run
from pgvip.system.sql import connect_local
from pgvip.system.stopped_wal import end_of_wal
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.values import Lsn
    from pgvip.system.sql import Session

__all__ = ["checkpoint", "end_of_log", "end_of_wal", "log_file", "promote", "start", "stop"]

START_POLL_S = 0.01
PROMOTE_POLL_S = 0.003
"""How often a promotion is checked: what a client waits on top of PostgreSQL's own time."""

INCONSISTENT_S = 5.0
"""A standby that replays towards consistency for longer than this counts as started: it may need hours."""

ANSWER_S = 2.0
"""Limit of one question to a server that should be there."""

CHECKPOINT_S = 3.0
"""For the checkpoint before a clean stop; what it does not write in this time, the shutdown will."""

KILL_S = 10.0
"""For processes that were killed to be gone; more means D state."""

STAYS_S = 3.0
"""How long a server is watched that ended after its last start; replay comes to the same record again."""


def start(config: Config, *, standby: bool, sync: bool, system_id: str = "") -> None:
    """Start the server as a standby, or read-write, with the settings written afresh.

    `standby=False` only on the core's word: it removes standby.signal. `sync`: with the synchronous names set.
    `system_id`: of the pair's record; another cluster is not started. A server that runs as wanted already is
    a success. Raises PostgresError.
    """
    ended_before = ""
    if processes.postmaster(config.postgres.data_directory) is None:
        prepare.open_directory(config.paths.no_restore.parent)
        config.paths.no_restore.unlink(missing_ok=True)
        prepare.prepare(config, standby=standby, sync=sync, system_id=system_id)
        ended_before = last_words.begin(config)
        _launch(config)
    _await_start(config, standby=standby)
    if ended_before:
        _stays(config)
    with suppress(ProbeError):
        replication.ensure_slot(config)


def stop(config: Config, *, clean: bool, handover: bool = False) -> None:
    """Stop every process of the cluster, and see that none is left.

    `clean`: a fast shutdown, verified by pg_controldata; PostgresError when it does not come to an end within
    `stop_timeout_s`, and nothing is killed then. Else everything is killed at once. `handover`: a clean stop does not
    wait for the archiver once the peer has everything.
    """
    deadline = Deadline.after(config.postgres.stop_timeout_s)
    if clean:
        _stop_cleanly(config, deadline, handover=handover)
    else:
        _kill(config)
    _verify_gone(config)


def promote(config: Config) -> str:
    """Make the standby read-write, with restore_command out of the way; see that it is, and where its timeline forks.

    Returns what was flushed before and is not on the new timeline, in words; "" for nothing. Raises PromoteError. A
    server that is read-write already is a success, if its fork is. The slot for the peer has been there since the start
    as a standby; the daemon sees to it, and to those of others, when clients are served again.
    """
    flag = config.paths.no_restore
    prepare.open_directory(flag.parent)
    flag.touch()
    try:
        obstacles.wake_stopped(config)
        with connect_local(config) as session:
            try:
                flushed = _request_promotion(config, session)
                _await_promotion(config, session)
                timeline = _timeline(config, session)
            except ProbeError as failure:
                raise PromoteError("lost the server while it was promoted", str(failure)) from failure
            except PromoteError:
                raise
            except PostgresError as failure:
                raise PromoteError("could not ask the server for its promotion", str(failure)) from failure
    finally:
        flag.unlink(missing_ok=True)
    try:
        lacks = forks.left_out(config, timeline, flushed)
    except PostgresError as failure:
        raise PromoteError(failure.message, failure.detail, failure.hint) from failure
    forks.forget(config)
    return lacks


def checkpoint(config: Config, limit_s: float) -> float:
    """Let a primary write its dirty pages while it serves, so that a stop is short; the seconds that it took.

    PostgresError when it is not through in time, or the server does not let us.
    """
    begun_s = now_s()
    try:
        with connect_local(config, limit_s) as session:
            if not session.query("in_recovery", timeout_s=ANSWER_S)[0][0]:
                session.query("checkpoint", timeout_s=limit_s)
    except ProbeError as failure:
        text = f"the checkpoint on {config.me.name} did not come to its end within {limit_s:g} s"
        raise PostgresError(text, f"{failure.message}: {failure.detail}".rstrip(": ") + ".") from failure
    return now_s() - begun_s


# --- start -----------------------------------------------------------------------------------------------


def _launch(config: Config) -> None:
    unit = config.postgres.unit
    if unit:
        run(["systemctl", "reset-failed", unit], timeout_s=pgtools.TOOL_TIMEOUT_S)
        check(["systemctl", "start", "--no-block", unit], timeout_s=pgtools.TOOL_TIMEOUT_S)
        return
    log = make_log(config)
    # Not waited for here: pg_ctl polls in steps of 100 ms and knows nothing of a standby's patience.
    done = pgtools.pg_ctl(config, "start", "-W", "-s", "-l", log)
    if done.returncode != 0:
        raise PostgresError("pg_ctl could not start the server", done.said)


def _await_start(config: Config, *, standby: bool) -> None:
    """Wait until the server takes connections in the wanted role."""
    begun_s = now_s()
    seen = False
    starting, readiness = obstacles.Start(config), Readiness(config)

    def started() -> bool:
        nonlocal seen
        starting.clear()
        postmaster = processes.postmaster(config.postgres.data_directory)
        if postmaster is None:
            # pg_ctl and systemctl return before there is a pid file.
            if seen or (now_s() - begun_s > INCONSISTENT_S and not _unit_starts(config)):
                raise PostgresError("the server ended while it started", last_words.why(config))
            return False
        seen = True
        return readiness.serves() or (standby and now_s() - begun_s > INCONSISTENT_S)

    wait_until(
        started,
        config.postgres.start_timeout_s,
        every_s=START_POLL_S,
        what="start of the server",
        error=PostgresError,
    )
    if not readiness.serves():
        return
    if _in_recovery(config) != standby:
        raise PostgresError(
            f"the server runs {'read-write' if standby else 'as a standby'}, which is not what was asked for",
            hint="Stop it first." if standby else "Promote it instead.",
        )


def _unit_starts(config: Config) -> bool:
    """True while systemd still works on the start of the unit."""
    unit = config.postgres.unit
    if not unit:
        return False
    said = run(["systemctl", "is-active", unit], timeout_s=pgtools.TOOL_TIMEOUT_S).stdout.strip()
    return said in ("activating", "reloading", "active")


@as_postgres()
def make_log(config: Config) -> Path:
    """The server's log, made for pg_ctl, which starts the server with its own umask."""
    log = log_file(config)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    pgtools.give(config, log)
    return log


def _in_recovery(config: Config) -> bool:
    """Ask the server; one that lets pgvip in no longer, or not yet (`init`), is known by its control file."""
    try:
        with connect_local(config) as session:
            return bool(session.query("in_recovery", timeout_s=ANSWER_S)[0][0])
    except ProbeError:
        return pgtools.control_data(config).state != "in production"


def _stays(config: Config) -> None:
    """See that a server that ended after its last start lives on: what ended it may come back in a moment."""
    limit_s = now_s() + STAYS_S

    def decided() -> bool:
        if processes.postmaster(config.postgres.data_directory) is None:
            raise PostgresError("the server ended soon after its start", last_words.why(config))
        return now_s() >= limit_s

    wait_until(decided, 2 * STAYS_S, every_s=10 * START_POLL_S, what="a server that stays", error=PostgresError)


# --- stop ------------------------------------------------------------------------------------------------


def _stop_cleanly(config: Config, deadline: Deadline, *, handover: bool) -> None:
    data = config.postgres.data_directory
    if processes.postmaster(data) is None:
        if processes.cluster_processes(data):
            raise PostgresError(
                "the postmaster is gone, but processes of the cluster are left",
                hint="This can only be stopped by killing them.",
            )
        return
    obstacles.wake_stopped(config)
    _checkpoint_first(config)
    shutdown = obstacles.Shutdown(config, handover=handover)
    if config.postgres.unit and not _shutting_down(deadline):
        check(["systemctl", "stop", "--no-block", config.postgres.unit], timeout_s=deadline.sooner_s(KILL_S))
    else:
        # While the machine shuts down, the unit's own stop is queued behind the hand-over that this stop is part of.
        _signal_postmaster(config, signal.SIGINT)

    def ended() -> bool:
        shutdown.clear()
        # Sessions by the hundred are not counted again and again while the postmaster ends them.
        return processes.postmaster(data) is None and not processes.look(data).live

    wait_until(
        ended,
        deadline.left_s(),
        what="clean shutdown of the server",
        error=PostgresError,
    )
    state = pgtools.control_data(config).state
    if state not in ("shut down", "shut down in recovery"):
        raise PostgresError("the server ended, but not by a clean shutdown", f'pg_controldata says "{state}".')


def _shutting_down(deadline: Deadline) -> bool:
    """Whether systemd shuts the machine down; a systemd that does not say so does not."""
    try:
        return units.stopping(deadline.sooner_s(units.TIMEOUT_S))
    except CommandError:
        return False


def _checkpoint_first(config: Config) -> None:
    """Let the server write its dirty pages while it still serves; a stop without it is only slower."""
    with suppress(ProbeError), connect_local(config, CHECKPOINT_S) as session:
        if not session.query("in_recovery", timeout_s=ANSWER_S)[0][0]:
            session.query("checkpoint", timeout_s=CHECKPOINT_S)


def _kill(config: Config) -> None:
    if config.postgres.unit:
        # A pending stop job keeps Restart= from bringing back what is killed now.
        with suppress(PgvipError):
            run(["systemctl", "stop", "--no-block", config.postgres.unit], timeout_s=ANSWER_S)
    processes.kill_cluster(config.postgres.data_directory, KILL_S)


def _verify_gone(config: Config) -> None:
    left = processes.cluster_processes(config.postgres.data_directory)
    if left:
        raise PostgresError(
            "processes of the cluster are left after the stop",
            f"Their pids: {', '.join(str(ref.pid) for ref in left)}.",
        )


def _signal_postmaster(config: Config, number: signal.Signals) -> None:
    ref = processes.postmaster(config.postgres.data_directory)
    if ref is None or not processes.send(ref, number):
        raise PostgresError("there is no postmaster to signal")


# --- promote ---------------------------------------------------------------------------------------------


def _request_promotion(config: Config, session: Session) -> Lsn | None:
    """Ask by SQL; where no connection is to be had (clients took them all), by pg_ctl's file and signal.

    Returns how far the server had flushed; None when that could not be asked, or it was promoted before and nobody
    has kept it.
    """
    flushed: Lsn | None = None
    try:
        if not session.query("in_recovery", timeout_s=ANSWER_S)[0][0]:
            return forks.remembered(config)
        flushed = lsn(session.query("flushed", timeout_s=ANSWER_S)[0][0])
        forks.remember(config, flushed)
        session.query("promote", timeout_s=ANSWER_S)
    except ProbeError:
        write_request(config)
        _signal_postmaster(config, signal.SIGUSR1)
    return flushed


@as_postgres()
def write_request(config: Config) -> None:
    """The file by which a signal means a promotion (src/include/access/xlog.h, PROMOTE_SIGNAL_FILE)."""
    request = config.postgres.data_directory / "promote"
    request.touch(mode=0o600)
    pgtools.give(config, request)


def _timeline(config: Config, session: Session) -> int:
    """The timeline of the read-write server; by its control file, where no connection is to be had."""
    with suppress(ProbeError):
        return int(session.query("written", timeout_s=ANSWER_S)[0][0], 16)
    return pgtools.control_data(config).timeline


def _await_promotion(config: Config, session: Session) -> None:
    promotion = obstacles.Promotion(config, session)

    def read_write() -> bool:
        promotion.clear()
        try:
            return not session.query("in_recovery", timeout_s=ANSWER_S)[0][0]
        except ProbeError:
            if processes.postmaster(config.postgres.data_directory) is None:
                raise
            return pgtools.control_data(config).state == "in production"

    wait_until(
        read_write,
        config.postgres.promote_timeout_s,
        every_s=PROMOTE_POLL_S,
        what="promotion of the server",
        error=PromoteError,
    )
