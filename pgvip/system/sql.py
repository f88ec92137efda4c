"""The one module that touches the PostgreSQL driver: connections and queries with hard deadlines.

libpq's own `connect_timeout` is never below two seconds and a query has no client-side limit at all, so
connections are asynchronous and waited for with poll(2): a server that is stopped dead costs exactly the
deadline. Queries live in `pgvip/sql/NAME.sql`; `NAME_15.sql` is for servers of version 15 and newer.
"""

from __future__ import annotations

import re
import select
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions as driver

from pgvip.deadlines import Deadline
from pgvip.errors import ProbeError
from pgvip.system import server_tls, session_settings
from pgvip.system.sql_shapes import Row, UnexpectedAnswerError, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from pgvip.config.model import Config

SQL_DIRECTORY = Path(__file__).parent.parent / "sql"

DATABASE_ROLE = "pgvip"
REPLICATION_ROLE = "pgvip_replication"

STATEMENT_TIMEOUT_S = 60.0
"""The server's own limit for our statements, so that none lives on after its client gave up."""

CONNECTION_ENDED = ("57P01", "57P02", "57P05", "25P03", "08")
"""SQLSTATE (or class) of a connection that ended, not of a query that failed (manual, Appendix A)."""

UNREADABLE = (ValueError, ArithmeticError)
"""What the driver raises beside its own errors for a value that is not of the type that the server says it has."""

SEVERITY = re.compile(r"(?:^|failed:)\s*[^\s:]+:  (?P<message>.*)", re.DOTALL)
"""libpq writes a server's message as `SEVERITY:  text`, two spaces after the colon, in any language."""

UNVERIFIED = re.compile(
    r"SSL error: (?!unexpected eof)|does not match host name|could not get server's host name"
    r"|server does not support SSL|authentication method requirement|certificate file|private key file|requirepeer"
)
"""libpq's words for a server that answered and did not prove to be the one that is meant, and for keys missing here."""


class UnverifiedError(ProbeError):
    """Something answered that did not prove to be the server, or to which this host did not prove itself."""


class NoAnswer(ProbeError):
    """Nobody answered: refused, unreachable, silent for too long, or the connection broke."""


class ServerAnswered(ProbeError):
    """A live server answered, with an error (starting up, too many clients, no permission, ...).

    `sqlstate` is "" where the driver does not report it (errors while connecting).
    """

    def __init__(self, message: str, detail: str = "", hint: str = "", sqlstate: str = "") -> None:
        super().__init__(message, detail, hint)
        self.sqlstate = sqlstate

    @property
    def reason(self) -> str:
        """What the server said, in one line."""
        return (self.detail or self.message).partition("\n")[0].strip()


class Session:
    """One connection that is kept; opened by the first query, opened again after it broke.

    For one thread at a time. After any failure the connection is closed, so that nothing half done is
    ever read as the answer to the next query.
    """

    def __init__(self, parameters: Mapping[str, Any], what: str) -> None:
        self._parameters = dict(parameters)
        self._what = what
        self._connection: driver.connection | None = None
        self._slow_s: float | None = None
        self._slow: Callable[[], None] = lambda: None

    def slow_after(self, seconds: float, call: Callable[[], None]) -> None:
        """From now on `call` is called, without ending the wait, when the server says nothing for so long."""
        self._slow_s, self._slow = seconds, call

    @property
    def parameters(self) -> dict[str, Any]:
        """How it connects."""
        return dict(self._parameters)

    @property
    def backend_pid(self) -> int:
        """Process id of the server process at the other end; 0 without a connection."""
        return 0 if self._connection is None else self._connection.info.backend_pid

    @property
    def version(self) -> int:
        """Major version of the server; 0 without a connection."""
        return 0 if self._connection is None else self._connection.server_version // 10000

    def connect(self, timeout_s: float) -> None:
        """Open the connection if there is none.

        Raises NoAnswer, or ServerAnswered when a server refused it in words.
        """
        if self._connection is None:
            self._open(Deadline.after(timeout_s))

    def query(
        self, name: str, params: Sequence[object] = (), *, timeout_s: float, reopen: bool = True
    ) -> list[Row]:
        """Run `sql/NAME.sql` and return its rows, which have the shape that `sql_shapes` says for it.

        A kept connection that turns out to have ended is opened again, once, within the same limit: so a
        query must be repeatable (`reopen`: False if its caller must know). Raises NoAnswer, ServerAnswered, or
        UnexpectedAnswerError for an answer of another shape.
        """
        deadline = Deadline.after(timeout_s)
        kept = self._connection is not None
        try:
            return self._run(name, params, deadline)
        except NoAnswer:
            if not kept or not reopen or deadline.expired:
                raise
        return self._run(name, params, deadline)

    def close(self) -> None:
        """Close the connection; nothing happens without one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, deadline: Deadline) -> None:
        connection = None
        try:
            connection = psycopg2.connect(**self._parameters, async_=True)
            self._wait(connection, deadline)
        except psycopg2.Error as failure:
            if connection is not None:
                connection.close()
            raise self._connect_error(failure) from failure
        except UNREADABLE as failure:  # the driver decodes what a server says, and reads what is no PostgreSQL server
            if connection is not None:
                connection.close()
            raise NoAnswer(f"could not connect to {self._what}", f"Its answer cannot be read: {failure}.") from failure
        except ProbeError:
            if connection is not None:
                connection.close()
            raise
        self._connection = connection

    def _run(self, name: str, params: Sequence[object], deadline: Deadline) -> list[Row]:
        if self._connection is None:
            self._open(deadline)
        connection = self._connection
        assert connection is not None  # _open sets it or raises
        try:
            with connection.cursor() as cursor:
                cursor.execute(load_sql(name, self.version), tuple(params) or None)
                self._wait(connection, deadline)
                rows = cursor.fetchall() if cursor.description else []
        except psycopg2.Error as failure:
            self.close()
            raise self._query_error(name, failure) from failure
        except UNREADABLE as failure:
            self.close()
            raise UnexpectedAnswerError(f"did not understand what {self._what} answered", f"{failure}.") from failure
        except ProbeError:
            self.close()
            raise
        try:
            return checked(name, self._what, rows)
        except UnexpectedAnswerError:
            self.close()
            raise

    def _wait(self, connection: driver.connection, deadline: Deadline) -> None:
        """Drive the driver's state machine until it is through, or raise NoAnswer."""
        while (state := connection.poll()) != driver.POLL_OK:
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN if state == driver.POLL_READ else select.POLLOUT)
            if deadline.expired or not self._ready(poller, deadline):
                raise NoAnswer(f"{self._what} did not answer in time")

    def _ready(self, poller: select.poll, deadline: Deadline) -> bool:
        if self._slow_s is not None:
            if poller.poll(deadline.sooner_s(self._slow_s) * 1000):
                return True
            self._slow()
        return bool(poller.poll(deadline.left_s() * 1000))

    def _connect_error(self, failure: psycopg2.Error) -> ProbeError:
        text = str(failure).strip()
        said = SEVERITY.search(text)
        if UNVERIFIED.search(text):
            return UnverifiedError(f"{self._what} is not verified", text)
        if said is None:
            return NoAnswer(f"could not connect to {self._what}", text)
        return ServerAnswered(f"{self._what} refused the connection", said["message"].strip())

    def _query_error(self, name: str, failure: psycopg2.Error) -> ProbeError:
        text = str(failure).strip()
        if failure.pgcode is None or failure.pgcode.startswith(CONNECTION_ENDED):
            return NoAnswer(f"{self._what} ended the connection", text)
        return ServerAnswered(f'query "{name}" failed on {self._what}', text, sqlstate=failure.pgcode)


def connect_local(
    config: Config, statement_timeout_s: float = STATEMENT_TIMEOUT_S, *, lock_timeout_s: float = 0.0, database: str = ""
) -> Session:
    """Make a session to this host's server, over its Unix socket as role `pgvip` (not yet connected).

    `lock_timeout_s`: the server's limit for a wait for a lock, 0 for none of its own. `database`: another one than that
    of pgvip's own schema.
    """
    return Session(
        {
            "host": str(config.postgres.socket_directory),
            "sslmode": "disable",
            # The directory may be /tmp, where everybody may have a socket.
            "requirepeer": config.postgres.user,
            **_common(config, statement_timeout_s, lock_timeout_s),
            **({"dbname": database} if database else {}),
        },
        "the local database",
    )


def connect_peer(config: Config, address: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> Session:
    """Make a session to the peer's server at `address` (its own, or a VIP), as role `pgvip`."""
    return Session(connect_parameters(config, address, statement_timeout_s), f"the database at {address}")


def connect_parameters(
    config: Config, address: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> dict[str, Any]:
    """What a session over the network has."""
    return {
        **_verified(config, DATABASE_ROLE, address),
        # A kept connection to a host that lost power must not look alive for two hours.
        "tcp_user_timeout": 5000,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        **_common(config, statement_timeout_s),
    }


def _verified(config: Config, role: str, address: str) -> dict[str, str]:
    return server_tls.client_words(config, role, address, libpq_major())


def connect_client(config: Config, address: str) -> Session:
    """Make a session as an application's would be: its commits wait for the standby where the pair is synchronous."""
    parameters = connect_parameters(config, address)
    parameters["options"] = parameters["options"].replace("synchronous_commit=local", "synchronous_commit=on")
    return Session({**parameters, "application_name": "pgvip_drill"}, f"the database at {address}")


def connect_peer_replication(config: Config, address: str) -> Session:
    """Make a session to the peer's WAL sender, as the replication role; it is only connected, never asked."""
    peer = connect_peer(config, address)
    words = {
        **peer.parameters,
        **_verified(config, REPLICATION_ROLE, address),
        "user": REPLICATION_ROLE, "replication": "true", "application_name": "pgvip_check",
        "options": session_settings.options(session_settings.RECEIVER),
    }
    return Session(words, f"the WAL sender at {address}")


def libpq_major() -> int:
    """Major version of the client library."""
    return int(driver.libpq_version()) // 10000


@cache
def load_sql(name: str, version: int) -> str:
    """Read the text of a query: the file with the highest suffix that is not above the server's version."""
    best, best_version = SQL_DIRECTORY / f"{name}.sql", 0
    for path in SQL_DIRECTORY.glob(f"{name}_[0-9][0-9].sql"):
        minimum = int(path.stem[-2:])
        if best_version < minimum <= version:
            best, best_version = path, minimum
    return best.read_text(encoding="utf-8")


def _common(config: Config, statement_timeout_s: float, lock_timeout_s: float = 0.0) -> dict[str, Any]:
    """Settings of every session.

    Its commits are local, so that it never waits for the standby, and nothing that was set for the
    database or the role changes what our queries mean.
    """
    settings = {
        **session_settings.IMMUNE,
        "synchronous_commit": "local",
        "statement_timeout": f"{statement_timeout_s * 1000:.0f}",
        "lock_timeout": f"{lock_timeout_s * 1000:.0f}",
    }
    return {
        "port": config.postgres.port,
        "user": DATABASE_ROLE,
        "dbname": config.postgres.database,
        "application_name": "pgvip",
        "gssencmode": "disable",
        "target_session_attrs": "any",
        "client_encoding": "UTF8",
        "options": session_settings.options(settings),
    }
