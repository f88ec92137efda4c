"""One session of a client: made again whenever it fails, every step with a deadline of the client's own."""

from __future__ import annotations

import socket
import time

import psycopg2
import psycopg2.extensions

from tests.chaos.history import Outcome
from tests.lab.client_sql import CONNECT_S, HANDSHAKE_S, Late, wait_for

LATE_MAX, PATIENT_S = 8, 5.0
"""After so many connections that came too late it waits for so long: else, on a machine that is short of CPU, the
server serves nothing but connections that were given up meanwhile."""
WHO = "select extract(epoch from pg_postmaster_start_time()) || ' ' || pg_is_in_recovery()"


class Unmade(Exception):
    """There is no session, and none could be made: nothing was sent."""


class Session:
    """`instance`: the server's postmaster, by its start time. `number`: 1 for the first connection, and so on.

    `in_recovery`: what the server last said of itself; once it is False it stays so for a session's life.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.words = psycopg2.extensions.parse_dsn(dsn)
        self.connection: psycopg2.extensions.connection | None = None
        self.failed = False
        self.number = self.late = 0
        self.instance, self.in_recovery = "", True

    def ready(self) -> psycopg2.extensions.connection:
        """The connection, made when there is none; Unmade when that fails."""
        if self.connection is not None:
            return self.connection
        try:
            if self.failed:  # see first, quickly, that the port can be connected to
                place = (self.words["host"], int(self.words.get("port", "5432")))
                socket.create_connection(place, HANDSHAKE_S).close()
            self.connection = psycopg2.connect(self.dsn, async_=1)
            patience_s = CONNECT_S if self.late < LATE_MAX else PATIENT_S
            wait_for(self.connection, time.monotonic() + patience_s)
            self.number += 1
            self.instance, recovery = self.ask(WHO, CONNECT_S).split(" ")
            self.in_recovery = recovery == "true"
        except (psycopg2.Error, Late, OSError) as error:
            self.late = self.late + 1 if isinstance(error, Late) else 0
            self.fail()
            raise Unmade(words_of(error)) from error
        self.failed, self.late = False, 0
        return self.connection

    def ask(self, query: str, deadline_s: float) -> str:
        """Run one statement; the first value of its answer.

        Late also when the server committed without the standby's word: the client was not promised anything.
        """
        connection = self.ready() if self.connection is None else self.connection
        del connection.notices[:]
        cursor = connection.cursor()
        cursor.execute(query)
        wait_for(connection, time.monotonic() + deadline_s)
        if any("canceling" in notice and "wait" in notice for notice in connection.notices):
            raise Late("committed here, not acknowledged by the standby")
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""

    def fail(self) -> None:
        """Give the connection up."""
        if self.connection is not None:
            self.connection.close()
        self.connection, self.failed = None, True
        self.instance, self.in_recovery = "", True


def outcome_of(error: Exception) -> Outcome:
    """What the failure of a statement that commits says: only an ERROR of the server's own is a refusal.

    A FATAL may follow the commit before its confirmation was sent.
    """
    if isinstance(error, Unmade):
        return Outcome.REFUSED
    severity = error.diag.severity_nonlocalized if isinstance(error, psycopg2.Error) else None
    return Outcome.REFUSED if severity == "ERROR" else Outcome.UNKNOWN


def words_of(error: Exception) -> str:
    """An error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
