"""What a host had and its peer did not: counted before its data is rewound, read back later from the saved WAL.

WAL shows which rows of which file changed, not their contents. Files are turned into names by the database as it is
now: what has been rewritten since (VACUUM FULL, TRUNCATE) or never came back keeps its number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgvip.core.values import Lsn
from pgvip.errors import FormatError, PostgresError, ProbeError
from pgvip.state import codec
from pgvip.system.sql import connect_local
from pgvip.system.stopped_wal import RECORD, Piece, waldump

if TYPE_CHECKING:
    from pgvip.config.model import Config

NAMES_S = 5.0
"""For each question to the local database; without an answer the files keep their numbers."""
DEFAULT_TABLESPACE = 1663
"""OID of pg_default (src/include/catalog/pg_tablespace.dat)."""
SEGMENT_BYTES_MIN = 1 << 20
"""Every segment size is a multiple of it (initdb --wal-segsize), so that no file before the stretch is asked for."""
FACTS = "lost.json"
"""In a directory of saved WAL: what it is."""
FACTS_BYTES_MAX = 1 << 24
"""A list of half a million WAL files."""
TRANSACTIONS_MAX = 10_000
"""Transactions that are kept one by one; the totals count all."""

BLOCK = re.compile(r"\brel (?P<tablespace>\d{1,10})/(?P<database>\d{1,10})/(?P<file>\d{1,10})")
HEAP = re.compile(
    r"rmgr: (?P<manager>Heap2?) .*desc: (?P<kind>[A-Z_+]+)(?: (?:ntuples: )?(?P<count>\d{1,10})(?: tuples)?)?"
)
SEQUENCE = re.compile(r"rmgr: Sequence .*desc: LOG ")
COMMIT = re.compile(r"desc: COMMIT(?:_PREPARED)?(?: (?P<prepared>\d{1,10}):)? (?P<at>\d{4}-\d\d-\d\d [0-9:.]+ \S+)")
SUBXACTS = re.compile(r"subxacts: (?P<list>\d{1,10}(?: \d{1,10})*)")
ABORT = re.compile(r"desc: ABORT(?:_PREPARED (?P<prepared>\d{1,10}):)?")
KINDS = {"INSERT": "inserted", "MULTI_INSERT": "inserted", "UPDATE": "updated", "HOT_UPDATE": "updated",
         "DELETE": "deleted", "TRUNCATE": "truncated"}  # fmt: skip
"""Heap records that change rows (src/backend/access/rmgrdesc/heapdesc.c); locks and clean-ups do not."""


class File(NamedTuple):
    """A relation's file, by numbers."""

    tablespace: int
    database: int
    file: int

    def __str__(self) -> str:
        return f"file {self.file} of database {self.database}"


Rows = Counter[tuple[File, str]]
"""How many rows of which file were inserted, updated, deleted."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of WAL, as it is kept."""

    timeline: int
    start: Lsn = field(metadata=codec.key("from"))
    end: Lsn = field(metadata=codec.key("to"))


@dataclass(frozen=True, slots=True)
class SavedFacts:
    """What was saved of a host's WAL, as `lost.json` beside it says. `commits`: None where they could not be counted.

    `heartbeat_files`: "database/file" of pgvip's own sequence. An older one has no `pieces`.
    """

    at: str
    host: str
    followed: str
    timeline: int
    start: Lsn = field(metadata=codec.key("from"))
    end: Lsn = field(metadata=codec.key("to"))
    size_bytes: int = field(metadata=codec.key("bytes"))
    commits: int | None
    heartbeats: int | None
    pieces: tuple[Stretch, ...] = ()
    heartbeat_files: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedSet:
    """One directory of saved WAL."""

    directory: Path
    facts: SavedFacts

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def pieces(self) -> tuple[Piece, ...]:
        facts = self.facts
        whole = Stretch(facts.timeline, facts.start, facts.end)
        return tuple(Piece(one.timeline, one.start, one.end) for one in facts.pieces or (whole,))


@dataclass(frozen=True, slots=True)
class Transaction:
    """One commit that the survivor does not have. `at`: as the server wrote it into the record; `rows`: what it did."""

    xid: int
    at: str
    lsn: Lsn
    rows: Rows


@dataclass(slots=True)
class Tally:
    """What a saved set holds. `transactions`: at most TRANSACTIONS_MAX; `commits` and `rows` count all."""

    commits: int = 0
    heartbeats: int = 0
    rows: Rows = field(default_factory=Counter)
    transactions: list[Transaction] = field(default_factory=list)


def saved_sets(directory: Path) -> tuple[list[SavedSet], list[str]]:
    """Every set in `directory`, the newest first, and what is there but cannot be read, with the reason."""
    found, unreadable = [], []
    for path in sorted(directory.iterdir(), reverse=True) if directory.is_dir() else []:
        file = path / FACTS
        if path.name.startswith(".") or not file.exists():
            continue
        try:
            found.append(SavedSet(path, codec.from_file(SavedFacts, file, max_bytes=FACTS_BYTES_MAX)))
        except (OSError, FormatError) as failure:
            unreadable.append(f"{file}: {failure}")
    return found, unreadable


def read(config: Config, directory: Path, pieces: Iterable[Piece], heartbeat_files: Sequence[str]) -> Tally:
    """Read stretches of the WAL in `directory`. PostgresError when not all of it can be read.

    `heartbeat_files`: "database/file" of pgvip's own sequence, whose commits nobody misses.
    """
    reader = Reader(heartbeat_files)
    for piece in pieces:
        # What was begun before the stretch and committed in it: as far as the first file tells.
        before = Lsn(piece.start - piece.start % SEGMENT_BYTES_MIN)
        if before < piece.start:
            waldump(config, piece.timeline, before, piece.start, directory=directory, on_line=reader.before)
        said = waldump(config, piece.timeline, piece.start, piece.end, directory=directory, on_line=reader.take)
        if said.returncode != 0:
            raise PostgresError(f'could not read all of the diverged WAL in "{directory}"', said.said)
    return reader.tally


class Reader:
    """Takes pg_waldump's lines one by one; what was not committed does not count."""

    def __init__(self, heartbeat_files: Sequence[str] = ()) -> None:
        self.tally = Tally()
        self._heartbeats = frozenset(heartbeat_files)
        self._open: dict[int, Rows] = {}
        self._beats: set[int] = set()

    def before(self, line: str) -> None:
        """Take one line in from before the stretch: its commits are not lost."""
        self.take(line, counts=False)

    def take(self, line: str, *, counts: bool = True) -> None:
        """Take one line of output in."""
        record = RECORD.search(line)
        if record is None:
            return
        xid = int(record["tx"])
        commit = COMMIT.search(line)
        if commit and counts:
            self._commit(int(commit["prepared"] or xid), commit["at"], Lsn.parse(record["lsn"]), _subxacts(line))
        elif over := commit or ABORT.search(line):
            for one in (int(over["prepared"] or xid), *_subxacts(line)):
                self._open.pop(one, None)
                self._beats.discard(one)
        elif xid:
            self._change(xid, line)

    def _change(self, xid: int, line: str) -> None:
        heap = HEAP.search(line)
        block = BLOCK.search(line)
        if SEQUENCE.search(line) and block and f"{block['database']}/{block['file']}" in self._heartbeats:
            self._beats.add(xid)
        kind = KINDS.get(heap["kind"].removesuffix("+INIT")) if heap else None
        if heap is None or kind is None:
            return
        file = File(*map(int, block.groups())) if block else File(0, 0, 0)
        count = int(heap["count"]) if heap["kind"].startswith("MULTI") and heap["count"] else 1
        self._open.setdefault(xid, Counter())[file, kind] += count

    def _commit(self, xid: int, at: str, lsn: Lsn, subxacts: Sequence[int]) -> None:
        rows: Rows = Counter()
        beats = False
        for one in (xid, *subxacts):
            rows.update(self._open.pop(one, Counter()))
            beats |= one in self._beats
            self._beats.discard(one)
        if beats and not rows:
            self.tally.heartbeats += 1
            return
        self.tally.commits += 1
        self.tally.rows.update(rows)
        if len(self.tally.transactions) < TRANSACTIONS_MAX:
            self.tally.transactions.append(Transaction(xid, at, lsn, rows))


def _subxacts(line: str) -> list[int]:
    listed = SUBXACTS.search(line)
    return [int(word) for word in listed["list"].split()] if listed else []


def names(config: Config, files: Iterable[File]) -> dict[File, str]:
    """Names of files, "database schema.table", as far as the local database knows them now; never fails."""
    wanted: dict[int, list[File]] = {}
    for file in files:
        wanted.setdefault(file.database, []).append(file)
    found: dict[File, str] = {}
    with suppress(ProbeError):
        with connect_local(config) as session:
            databases = {int(oid): str(name) for oid, name in session.query("database_names", timeout_s=NAMES_S)}
        for database, ones in wanted.items():
            if database in databases:
                found.update(_names(config, databases[database], ones))
    return found


def _names(config: Config, database: str, files: Sequence[File]) -> dict[File, str]:
    found = {}
    with suppress(ProbeError), connect_local(config, database=database) as session:
        for file in files:
            tablespace = 0 if file.tablespace == DEFAULT_TABLESPACE else file.tablespace
            rows = session.query("relation_name", (tablespace, file.file), timeout_s=NAMES_S)
            if rows:
                found[file] = f"{database} {rows[0][0]}"
    return found
