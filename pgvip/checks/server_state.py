"""What of the local PostgreSQL's configuration keeps it, or will keep it, from doing what the pair needs.

A wrong line in a file, a setting that is not in force, a server that answers and lets pgvip in no longer. For the
daemon's standing warnings, for `pgvip check`, and for the pre-checks of a switchover.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.core.settings import StandingWarning
from pgvip.core.values import NEVER
from pgvip.core.warning_row import WarningRow, warned
from pgvip.deadlines import now_s
from pgvip.errors import PgvipError, ProbeError
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.pgping import ping
from pgvip.system.sql import DATABASE_ROLE, ServerAnswered, connect_local, connect_peer_replication
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgvip.config.model import Config
    from pgvip.system.sql import Session
    from pgvip.system.sql_shapes import Row

ANSWER_S = 5.0
NOT_YET_S = 60.0
"""A server that takes no connections for longer than this is not merely starting: a large one says so, and is right."""
LINES_MAX = 5
"""Of wrong lines in one warning; the first ones are where the rest comes from."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What one probe found, each "" for nothing.

    `wrong`: lines of configuration files. `pending`: names of settings that wait for a restart; `overridden`: of those
    that are pgvip's. `refused`: what the server says to pgvip; `waiting`: to everybody; `not_followed`: what the
    primary says to this standby's replication. `way_out`: what to do about these three.
    """

    wrong: str = ""
    pending: str = ""
    overridden: str = ""
    refused: str = ""
    way_out: str = ""
    waiting: str = ""
    not_followed: str = ""


PASSING = "the database system is "
"""starting up, shutting down, in recovery mode, not yet accepting connections (src/backend/tcop/postgres.c)."""

WARNINGS: tuple[WarningRow[Findings], ...] = (
    WarningRow("settings-wrong", lambda v: v.wrong,
               "a configuration file of PostgreSQL is wrong: {it}; it applies no change of any setting while that "
               "is so, and does not start again",
               "correct it, then: select pg_reload_conf()"),
    WarningRow("database-refuses", lambda v: v.refused, "PostgreSQL answers and refuses pgvip: {it}", "{v.way_out}"),
    WarningRow("database-waits", lambda v: v.waiting, "PostgreSQL runs and takes no connections: {it}", "{v.way_out}"),
    WarningRow("replication-refused", lambda v: v.not_followed,
               "the primary refuses the replication of this standby: {it}", "{v.way_out}"),
    WarningRow("settings-pending", lambda v: v.pending, "not in force before PostgreSQL is restarted: {it}",
               "restart it when it suits: pgvip restart --rolling --pending"),
    WarningRow("settings-overridden", lambda v: v.overridden, "ALTER SYSTEM has set what is pgvip's: {it}",
               "ALTER SYSTEM RESET of each, then a restart of PostgreSQL where it is in force"),
)  # fmt: skip


class ServerState:
    """Probes again and again; remembers since when a server has taken no connections."""

    def __init__(self) -> None:
        self._waits_since_s = NEVER
        self._postmaster = ""
        self.pending: tuple[str, ...] = ()

    def warnings(self, config: Config) -> tuple[StandingWarning, ...]:
        """The standing warnings. Never raises: what is not known is not reported here; the core knows who is silent."""
        found = self.probe(config)
        self.pending = tuple(found.pending.split(", ")) if found.pending else ()
        return warned(WARNINGS, found)

    def probe(self, config: Config) -> Findings:
        """Ask the server, if there is one."""
        postmaster = processes.postmaster(config.postgres.data_directory)
        if str(postmaster or "") != self._postmaster:
            self._postmaster, self._waits_since_s = str(postmaster or ""), NEVER
        if postmaster is None:
            return Findings()
        postgres = config.postgres
        try:
            answer = ping(postgres.socket_directory, postgres.port, DATABASE_ROLE, postgres.database, ANSWER_S)
        except ProbeError:
            return Findings()
        if not answer.serving:
            return self._waiting(config, answer.text)
        self._waits_since_s = NEVER
        if not answer.ready:
            said = answer.text or "it asks for a password on its own socket"
            return Findings(refused=said, way_out=way_out(said))
        try:
            with connect_local(config) as session:
                return asked(config, session)
        except ServerAnswered as failure:
            return Findings(refused=failure.reason, way_out=way_out(failure.reason))
        except PgvipError:
            return Findings()

    def _waiting(self, config: Config, said: str) -> Findings:
        at_s = now_s()
        if self._waits_since_s == NEVER:
            self._waits_since_s = at_s
        if at_s - self._waits_since_s < NOT_YET_S:
            return Findings()
        hint = "see its log; a long recovery ends by itself"
        try:
            if pgtools.server_setting(config, "hot_standby") == "off":
                hint = "hot_standby is off: take it out of postgresql.auto.conf and restart PostgreSQL"
        except PgvipError:
            pass  # its log says more
        return Findings(waiting=said, way_out=hint)


def asked(config: Config, session: Session) -> Findings:
    """What the server itself says of its files. ProbeError."""
    ours = pgconf.owned(config, session.version)
    pending = {str(name) for name, _ in session.query("check_pending", timeout_s=ANSWER_S)}
    refused = _replication_refused(config, session)
    overridden = pgconf.auto_conf_keys(config) & ours - {"synchronous_standby_names"}  # the core's, who resets it
    return Findings(
        wrong=wrong_lines(session),
        pending=", ".join(sorted(pending)),
        overridden=", ".join(sorted(overridden)),
        not_followed=refused,
        way_out=f"on {config.peer.name}: {way_out(refused)}" if refused else "",
    )


def _replication_refused(config: Config, session: Session) -> str:
    """What the peer says to the replication role of a standby that does not stream; "" where it lets it in, or is gone.

    The reason of its own WAL receiver is in the log alone.
    """
    if not session.query("in_recovery", timeout_s=ANSWER_S)[0][0]:
        return ""
    rows = session.query("check_receiver", timeout_s=ANSWER_S)
    return "" if rows and rows[0][0] == "streaming" else why_refused(config)


@as_postgres()
def why_refused(config: Config) -> str:
    """What the peer says to the WAL receiver's role, with the keys of PostgreSQL's user: root has none for it.

    A primary that starts or stops refuses everybody, and who does not prove to be the primary (an `UnverifiedError`)
    refuses nothing: "".
    """
    try:
        with connect_peer_replication(config, config.peer.address) as replication:
            replication.connect(ANSWER_S)
    except ServerAnswered as failure:
        return "" if failure.detail.startswith(PASSING) else failure.detail
    except ProbeError:
        return ""
    return ""


def wrong_lines(session: Session) -> str:
    """The wrong lines of the server's files as they are now, in one sentence; "" for none. ProbeError."""
    return described(session.query("file_errors", timeout_s=ANSWER_S))


def described(rows: Iterable[Row]) -> str:
    """The rows of file_errors.sql for people."""
    found = [
        f"{file} line {line}: {f'{name}: ' if name else ''}{error}" if line else f"{file or name}: {error}"
        for file, line, name, error in rows
    ]
    more = [f"and {len(found) - LINES_MAX} more"] if len(found) > LINES_MAX else []
    return "; ".join([*found[:LINES_MAX], *more])


def way_out(said: str) -> str:
    """What to do about a refusal, by what the server says."""
    if "pg_hba.conf" in said or "authentication" in said or "password" in said:
        return (
            "see that both hosts have the same addresses in force (pgvip config apply); put pgvip's lines back at the "
            "top of pg_hba.conf and pg_ident.conf (they are the same on both hosts), then reload"
        )
    if "too many" in said or "connection slots" in said or "reserved" in said:
        return "raise max_connections, or use a pooler"
    if "does not exist" in said or "not permitted to log in" in said:
        return "the role or the database is gone or closed: pgvip init makes pgvip's roles and schema again"
    if "could not access file" in said or "could not load library" in said:
        return "a library that session_preload_libraries names is missing: install it, or take it out and reload"
    return "see PostgreSQL's log and pgvip check"
