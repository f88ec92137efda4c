"""What PostgreSQL, or whoever answers in its place, says: the driver's rows, the first messages, the control file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pgvip.core.observations import Database, PeerDatabase
from pgvip.core.values import Lsn
from pgvip.errors import PostgresError, ProbeError
from pgvip.probes.database import Answers, DatabaseProbe
from pgvip.rejoin.lost_commits import Reader
from pgvip.system import pgping, stopped_wal
from pgvip.system.commands import Completed
from pgvip.system.pgtools import parse_control_data
from pgvip.system.sql import Session
from pgvip.system.sql_shapes import SHAPES, Row, checked
from tests.fuzz.cases import Seeded, fuzz, lists, odd_text, raw, texts
from tests.fuzz.fake_postgres import GREETING, PORT, Answer, FakePostgres, spoken
from tests.unit.configs import make
from tests.unit.fake_server import PASSWORD, error, message
from tests.unit.system.test_pgtools import TEXT as CONTROL

GOOD: dict[str, Row] = {
    "in_recovery": (False,),
    "peer_database": (False, 2, "7300000000000000001"),
    "written": ("00000002", "1/3000028"),
    "slot_status": ("reserved", True, "0/3000028"),
    "replicas": (12, "10.9.0.2", "pgvip_replication", "streaming", "sync", "0/3000028", "2026-01-01"),
    "database": (
        *(True, None, None, "0/3000028", "0/3000028", 2, 2, "streaming", 0.1, False, 0.2, "", "", "reserved", None),
        *(None, None, None, None, None, None, 1 << 24, "2026-01-01 00:00:00+00", None, ""),
    ),
    "source": (False, "7300000000000000001", "00000002", "0/3000028", "1\t0/30000A0\tx\n", ["5/16385"]),
    "rejoin_plan": (True, 50331688, 2, True),
}


def cell(random: Random) -> Any:
    """What the driver might give for a column."""
    return random.choice((
        *(None, True, False, random.randint(-5, 300), 1 << 40, 1 << 70, 0.5, float("nan"), float("inf"), b"x", ()),
        *(memoryview(b"x"), [odd_text(random)], [None], Decimal(3), Decimal("NaN"), datetime.now(tz=UTC), timedelta(1)),
        *(odd_text(random), odd_text(random), odd_text(random)),
    ))  # fmt: skip


def named_rows(random: Random) -> tuple[str, list[Row]]:
    """A query and what the driver might give for it: a right row with a few cells changed, or any rows."""
    name = random.choice(sorted(GOOD))
    if random.random() < 0.2:
        return name, [tuple(cell(random) for _ in range(random.randint(0, 5))) for _ in range(random.randint(0, 3))]
    row = list(GOOD[name])
    for _ in range(random.randint(0, 3)):
        row[random.randrange(len(row))] = cell(random)
    return name, [tuple(row)] * random.choice((1, 1, 1, 0, 2))


def test_the_right_rows_are_right() -> None:
    assert all(checked(name, "x", [row]) == [row] for name, row in GOOD.items())


@fuzz(given=Seeded(named_rows))
def test_rows_of_any_shape(given: tuple[str, list[Row]]) -> None:
    """Checked, or refused; and what is checked makes observations of the right types."""
    name, rows = given
    try:
        [*found] = checked(name, "the database", rows)
    except ProbeError:
        return
    columns = SHAPES[name].columns
    assert all(column.fits(value) for row in found for column, value in zip(columns, row, strict=True))
    for row in found:
        understood(name, row)


def understood(name: str, row: Row) -> None:
    """What probes and actions do with a row goes well."""
    if name == "peer_database":
        seen = PeerDatabase(*row)
        assert isinstance(seen.in_recovery, bool)
    elif name == "written":
        assert int(row[0], 16) >= 0
        assert Lsn.parse(row[1]) >= 0
    elif name == "database":
        with tempfile.TemporaryDirectory() as root, suppress(ProbeError):
            (Path(root) / "data" / "pg_wal").mkdir(parents=True)
            database = DatabaseProbe(make(Path(root)))._database(Answers(*row), "1:2")
            assert isinstance(database, Database)
            assert isinstance(database.in_recovery, bool)


# --- over the wire, through the driver ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[FakePostgres]:
    with tempfile.TemporaryDirectory() as directory:
        made = FakePostgres(Path(directory))
        yield made
        made.close()


OIDS = (16, 17, 20, 21, 23, 25, 26, 700, 701, 1000, 1009, 1016, 1043, 1082, 1114, 1184, 1186, 1231, 1700, 3220, 114, 0)
CELL_TEXTS = (b"t", b"f", b"1", b"0/3000028", b"{1,2}", b"{", b"2026-01-01", b"infinity", b"NaN", b"-1 days", b"", None)


def answers(random: Random) -> Answer:
    """Columns of some types, and rows that need not fit them."""

    def text() -> bytes | None:
        odd = random.choice((odd_text(random).encode(errors="surrogateescape"), random.randbytes(random.randint(0, 9))))
        return random.choice(CELL_TEXTS) if random.random() < 0.5 else odd

    width = random.choice((1, 1, 1, 0, 2, 4))
    widths = [width if random.random() < 0.8 else random.randint(0, 4) for _ in range(random.choice((1, 1, 0, 2)))]
    return [random.choice(OIDS) for _ in range(width)], [[text() for _ in range(one)] for one in widths]


def queries(server: FakePostgres) -> list[Row]:
    """Ask it, as a probe does."""
    parameters: dict[str, Any] = {"host": str(server.directory), "port": PORT, "user": "pgvip", "dbname": "postgres"}
    with Session(parameters | {"client_encoding": "UTF8"}, "the database") as session:
        return session.query("in_recovery", timeout_s=0.3)


RIGHT = spoken(((16,), ((b"t",),)))


def test_a_right_answer_over_the_wire(server: FakePostgres) -> None:
    server.greeting, server.answer = GREETING, RIGHT
    assert queries(server) == [(True,)]


@fuzz(answer=Seeded(answers))
def test_values_that_a_server_sends(server: FakePostgres, answer: Answer) -> None:
    server.greeting, server.answer = GREETING, spoken(answer)
    with suppress(ProbeError):
        [(value,)] = queries(server)
        assert isinstance(value, bool)


@fuzz(answer=raw(RIGHT, RIGHT + RIGHT, error("53300", "sorry"), message(b"N", b"SNOTICE\0\0") + RIGHT))
def test_bytes_that_a_server_sends(server: FakePostgres, answer: bytes) -> None:
    server.greeting, server.answer = GREETING, answer
    with suppress(ProbeError):
        [(value,)] = queries(server)
        assert isinstance(value, bool)


@fuzz(greeting=raw(GREETING, PASSWORD, error("28000", "no pg_hba.conf entry"), error("57P03", "starting up")))
def test_bytes_of_a_login(server: FakePostgres, greeting: bytes) -> None:
    server.greeting, server.answer, server.patience_s = greeting, RIGHT, 0.02
    with suppress(ProbeError):
        assert queries(server) == [(True,)]


@fuzz(greeting=raw(GREETING, PASSWORD, error("28000", "no pg_hba.conf entry"), error("57P03", "starting up")))
def test_bytes_of_a_first_answer(server: FakePostgres, greeting: bytes) -> None:
    """As pgping reads them."""
    server.greeting, server.patience_s = greeting, 0.001
    with suppress(ProbeError):
        assert isinstance(pgping.ping(server.directory, PORT, "pgvip", "postgres", 0.3), pgping.Answer)


# --- its programs ---------------------------------------------------------------------------------------------


@fuzz(text=texts(CONTROL))
def test_what_pg_controldata_prints(text: str) -> None:
    with suppress(PostgresError):
        control = parse_control_data(text)
        assert control.segment_bytes >= 1 << 20
        assert control.page_bytes >= 1 << 10


WALDUMP = (
    ("rmgr: Heap        len (rec/tot):     54/    54, tx:        734, lsn: 0/0300A0B8, prev 0/0300A080, "
     "desc: INSERT off 2, blkref #0: rel 1663/5/16384 blk 0"),
    ("rmgr: Transaction len (rec/tot):     34/    34, tx:        734, lsn: 0/0300A0F0, prev 0/0300A0B8, "
     "desc: COMMIT 2026-11-21 03:38:21.000000 UTC; subxacts: 735 736"),
    "pg_waldump: error: error in WAL record at 0/300A0F0: invalid record length at 0/300A118: wanted 24, got 0",
)


@fuzz(lines=lists(texts(*WALDUMP), 5))
def test_what_pg_waldump_prints(lines: Sequence[str]) -> None:
    reader = Reader(["5/16385"])
    for line in lines:
        reader.take(line)
    control = parse_control_data(CONTROL)
    with suppress(PostgresError):
        said = Completed(0, "\n".join(lines), "")
        assert stopped_wal._end_of(control, said) > 0
