"""The clients of one pair, as a program: each a thread with a session and a log of its own.

    python -m tests.chaos.programs.client SPEC

SPEC is a JSON file, see `tests.chaos.workload`. A log has one JSON array for each event (`tests.chaos.logs`).
Ends in an orderly way on SIGTERM: what was sent has its outcome in the log.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import psycopg2

from tests.chaos.history import Kind, Outcome
from tests.chaos.programs.session import WHO, Session, Unmade, outcome_of, words_of
from tests.lab.client_sql import Late

RETRY_S = 0.05
"""How exactly an outage is measured; many clients trying at once must stay cheap."""
STATEMENT_S = 1.0
COMMIT_S = 3.0
"""Patience of the clients that wait for others: in the register's queue, or with a long transaction."""
COPY_S = 15.0
LONG_S = (1.0, 10.0)
LONG_ROWS = (3, 8)
BULK_PAUSE_S = (15.0, 30.0)
BULK_ROWS = (500, 2500)
PADDING = "x" * 500


class Client:
    """What all kinds share: the loop at a rate, the log."""

    def __init__(self, spec: dict[str, Any], stopped: threading.Event) -> None:
        self.spec, self.stopped = spec, stopped
        self.ident: int = spec["client"]
        self.number: int = spec["first"] - 1
        self.session = Session(spec["dsn"])
        self.chance = random.Random(f"{spec['seed']} {self.ident}")
        self.log: TextIO = Path(spec["log"]).open("a")  # noqa: SIM115 - for the whole life of the program

    def run(self) -> None:
        """Until told to stop: one step after the other, at the kind's rate; soon again after a failure."""
        period_s = 1 / self.spec["rate"]
        due_s = time.monotonic() + self.chance.uniform(0, period_s)
        while not self.stopped.wait(max(0.0, due_s - time.monotonic())):
            self.step()
            pause_s = self.spec.get("retry", RETRY_S) if self.session.failed else period_s
            due_s = max(due_s + pause_s, time.monotonic())
        if self.session.connection is not None:
            self.session.connection.close()
        self.log.close()

    def step(self) -> None:
        raise NotImplementedError

    def write(self, *words: object) -> None:
        """One event."""
        self.log.write(json.dumps(words, separators=(",", ":")) + "\n")
        self.log.flush()

    def told(self, kind: Kind, rows: int, sent_s: float, outcome: Outcome, *, value: int = 0, detail: str = "",
             instance: str = "") -> None:
        """The outcome of a transaction."""
        self.write("write", self.ident, self.number, kind, rows, round(sent_s, 6), round(time.monotonic(), 6), outcome,
                   instance or self.session.instance, value, detail)

    def transact(self, kind: Kind, query: str, deadline_s: float) -> None:
        """A transaction of one statement."""
        self.number += 1
        sent_s = time.monotonic()
        try:
            value = self.session.ask(query, deadline_s)
            self.told(kind, 1, sent_s, Outcome.ACK, value=int(value or 0))
        except (psycopg2.Error, Late, OSError, Unmade) as error:
            self.told(kind, 1, sent_s, outcome_of(error), detail=words_of(error))
            self.session.fail()


class Inserter(Client):
    """One row after the other."""

    def step(self) -> None:
        query = f"insert into chaos_rows (client, number, part) values ({self.ident}, {self.number + 1}, 0)"
        self.transact(Kind.INSERT, query, STATEMENT_S)


class Registrar(Client):
    """Adds one to the register that all share, and leaves a row that says so."""

    def step(self) -> None:
        query = ("with added as (update chaos_register set value = value + 1 returning value) insert into chaos_rows "
                 f"(client, number, part) select {self.ident}, {self.number + 1}, 0 from added "
                 "returning (select value from added)")
        self.transact(Kind.REGISTER, query, COMMIT_S)


class Patient(Client):
    """Long transactions: several rows over seconds, all or nothing."""

    def step(self) -> None:
        self.number += 1
        rows = self.chance.randint(*LONG_ROWS)
        pause_s = self.chance.uniform(*LONG_S) / rows
        sent_s = time.monotonic()
        outcome = Outcome.REFUSED  # until COMMIT is sent, nothing can be committed
        try:
            self.session.ask("begin", STATEMENT_S)
            for part in range(rows):
                query = f"insert into chaos_rows (client, number, part) values ({self.ident}, {self.number}, {part})"
                self.session.ask(query, STATEMENT_S)
                self.stopped.wait(pause_s)
            sent_s, outcome = time.monotonic(), Outcome.UNKNOWN
            self.session.ask("commit", COMMIT_S)
            self.told(Kind.LONG, rows, sent_s, Outcome.ACK)
        except (psycopg2.Error, Late, OSError, Unmade) as error:
            if outcome is Outcome.UNKNOWN:
                outcome = outcome_of(error)
            self.told(Kind.LONG, rows, sent_s, outcome, detail=words_of(error))
            self.session.fail()


class Loader(Client):
    """A COPY of up to a few MB now and then, by psql (the client library cannot COPY with a deadline)."""

    def step(self) -> None:
        self.number += 1
        rows = self.chance.randint(*BULK_ROWS)
        data = "".join(f"{self.ident}\t{self.number}\t{part}\t{PADDING}\n" for part in range(rows))
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", f"{self.spec['dsn']} connect_timeout=2", "-c", WHO,
                "-c", "copy chaos_rows (client, number, part, padding) from stdin"]
        sent_s = time.monotonic()
        try:
            done = subprocess.run(argv, input=data, capture_output=True, text=True, timeout=COPY_S, check=False)
            output, errors, code = done.stdout, done.stderr, done.returncode
        except subprocess.TimeoutExpired as error:
            output, errors, code = (error.stdout or b"").decode(), "no answer in time", -1
        self.told(Kind.BULK, rows, sent_s, copied(code, output, errors),
                  detail=" ".join(errors.split())[:200], instance=output.split(" ")[0].strip())
        if code == 0:
            self.stopped.wait(self.chance.uniform(*BULK_PAUSE_S))


def copied(code: int, output: str, errors: str) -> Outcome:
    """The outcome of psql's COPY. Without the server's name in `output` there was no session."""
    if code == 0 and "canceling" not in errors:
        return Outcome.ACK
    if not output.strip() and code > 0:
        return Outcome.REFUSED
    refused = code in (1, 3) and "ERROR:" in errors and "FATAL:" not in errors and "connection" not in errors
    return Outcome.REFUSED if refused else Outcome.UNKNOWN


class Reader(Client):
    """Reads the newest row of each inserting client, and the register."""

    def __init__(self, spec: dict[str, Any], stopped: threading.Event) -> None:
        super().__init__(spec, stopped)
        self.writers: list[int] = spec["writers"]
        newest = [f"(select coalesce(max(number), 0) from chaos_rows where client = {one})" for one in self.writers]
        words = ["pg_is_in_recovery()", *newest, "(select value from chaos_register)"]
        self.query = "select " + " || ' ' || ".join(words)

    def step(self) -> None:
        sent_s = time.monotonic()
        session = self.session
        try:
            session.ready()
            before = session.in_recovery
            words = session.ask(self.query, STATEMENT_S).split(" ")
            session.in_recovery = words[0] == "true"
            told = session.in_recovery if before == session.in_recovery else None  # its snapshot may be from before
            numbers = dict(zip(self.writers, map(int, words[1:-1]), strict=True))
            self.heard(sent_s, True, session.instance, told, list(numbers.items()), int(words[-1]), "")
        except (psycopg2.Error, Late, OSError, Unmade) as error:
            self.heard(sent_s, False, "", True, [], 0, words_of(error))
            session.fail()

    def heard(self, sent_s: float, *words: object) -> None:
        """One answer, or none. `words`: from `ok` to `detail` of `history.Read`, in order."""
        session = self.spec["first"] + self.session.number
        self.write("read", self.ident, self.spec["vip"], session, round(sent_s, 6), round(time.monotonic(), 6), *words)


KINDS: dict[str, Callable[[dict[str, Any], threading.Event], Client]] = {
    "insert": Inserter, "register": Registrar, "long": Patient, "bulk": Loader, "read": Reader,
}


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    threads = [threading.Thread(target=KINDS[one["kind"]](one, stopped).run, name=one["log"]) for one in spec]
    parent = os.getppid()
    for thread in threads:
        thread.start()
    broken: list[str] = []
    while not stopped.wait(0.5):
        broken = [thread.name for thread in threads if not thread.is_alive()]
        if broken or os.getppid() != parent:
            break  # nobody reads what an orphan measures
    early = not stopped.is_set()
    stopped.set()
    for thread in threads:
        thread.join()
    if broken and early:
        sys.exit(f"these clients ended by themselves: {broken}")


if __name__ == "__main__":
    main()
