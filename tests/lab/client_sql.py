"""A client of the pair, as a program: writes numbered rows, reads, or tries whether a host takes writes.

    client_sql.py write|read|probe LOG RATE CONNECTION [FIRST-NUMBER [PATIENCE]]

PATIENCE multiplies the client's own deadlines (1), for servers on slow machines.

Every connection is made without blocking, and every step has a deadline of the client's own, so that the
measured outage is the server's: while no TCP connection can be made, one is tried every 20 ms.
The log has one line for each event, times in CLOCK_MONOTONIC seconds (one clock for all namespaces):

    ok NUMBER SENT ANSWERED DETAIL      error NUMBER SENT FAILED TEXT
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TextIO

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_READ

HANDSHAKE_S = 0.05
"""A TCP connection in a local network that takes longer is tried afresh."""
CONNECT_S = 0.5
STATEMENT_S = 1.0
RETRY_S = 0.02


class Late(Exception):
    """The server did not answer in the client's time."""


def wait_for(connection: psycopg2.extensions.connection, deadline_s: float) -> None:
    """Drive an asynchronous connection until it is ready; Late after the deadline."""
    while (state := connection.poll()) != POLL_OK:
        left_s = deadline_s - time.monotonic()
        handles = [connection.fileno()]
        reading, writing = (handles, []) if state == POLL_READ else ([], handles)
        if left_s <= 0 or not any(select.select(reading, writing, [], left_s)):
            raise Late("no answer in time")


class Client:
    """One session that is made again whenever it fails."""

    def __init__(self, dsn: str, log: TextIO, kind: str, patience: float) -> None:
        self.dsn, self.log, self.kind, self.patience = dsn, log, kind, patience
        self.words = psycopg2.extensions.parse_dsn(dsn)
        self.connection: psycopg2.extensions.connection | None = None
        self.failed = False

    def knock(self) -> None:
        """After a failure: see first that the port can be connected to, quickly."""
        host = self.words["host"]
        if not self.failed or host.startswith("/"):
            return
        try:
            socket.create_connection((host, int(self.words.get("port", "5432"))), HANDSHAKE_S * self.patience).close()
        except TimeoutError as error:
            raise Late("no connection in time") from error

    def session(self) -> psycopg2.extensions.connection:
        """The session, made when there is none."""
        if self.connection is None:
            self.knock()
            connection = psycopg2.connect(self.dsn, async_=1)
            try:
                wait_for(connection, time.monotonic() + CONNECT_S * self.patience)
            except (psycopg2.Error, Late):
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def ask(self, query: str) -> str:
        """Run one statement; the first value of its answer."""
        connection = self.session()
        cursor = connection.cursor()
        cursor.execute(query)
        wait_for(connection, time.monotonic() + STATEMENT_S * self.patience)
        if any("canceling wait" in notice for notice in connection.notices):
            raise Late("committed here, not acknowledged by the standby")
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""

    def step(self, number: int) -> None:
        """One numbered statement, logged."""
        sent_s = time.monotonic()
        try:
            detail = self.ask(statement(self.kind, number))
            self.failed = False
            self.write("ok", number, sent_s, detail)
        except (psycopg2.Error, Late, OSError) as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            if self.connection is not None:
                self.connection.close()
            self.connection, self.failed = None, True
            self.write("error", number, sent_s, text)

    def write(self, word: str, number: int, sent_s: float, detail: str) -> None:
        self.log.write(f"{word} {number} {sent_s:.6f} {time.monotonic():.6f} {detail}\n")
        self.log.flush()


def statement(kind: str, number: int) -> str:
    """What this kind of client asks."""
    if kind == "write":
        return f"insert into lab_rows (n) values ({number})"
    if kind == "read":
        return "select (select coalesce(max(n), 0) from lab_rows) || ' ' || pg_is_in_recovery()"
    # A transaction id cannot be had in recovery: this is a write, and one that waits for no standby.
    # With it the server's name, its postmaster's start: so that two successes can be told to be of one life.
    return ("select case when pg_is_in_recovery() then 'no' else 'yes' || left(txid_current()::text, 0) end "
            "|| ' ' || extract(epoch from pg_postmaster_start_time())")


def main() -> None:
    kind, path, rate, dsn = sys.argv[1:5]
    stopped = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.append(True)

    signal.signal(signal.SIGTERM, stop)
    number = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    patience = float(sys.argv[6]) if len(sys.argv) > 6 else 1.0
    period_s = 1 / float(rate)
    with Path(path).open("a") as log:
        client = Client(dsn, log, kind, patience)
        due_s = time.monotonic()
        parent = os.getppid()
        while not stopped and os.getppid() == parent:  # nobody reads what an orphan measures
            client.step(number)
            number += 1
            pause_s = RETRY_S if client.failed and kind != "probe" else period_s
            due_s = max(due_s + pause_s, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main()
