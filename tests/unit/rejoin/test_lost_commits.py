"""Reading saved WAL back: pg_waldump's own lines of versions 15 and 18, and the list of sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgvip.core.values import Lsn
from pgvip.rejoin.lost_commits import File, Reader, saved_sets
from pgvip.system.stopped_wal import Piece

ORDERS, BEAT = File(1663, 5, 16384), File(1663, 5, 16390)


def heap(xid: int, what: str, file: File = ORDERS, manager: str = "Heap") -> str:
    return (
        f"rmgr: {manager:11} len (rec/tot):     59/    59, tx: {xid:10}, lsn: 0/01529EB0, prev 0/01529E78, "
        f"desc: {what}, blkref #0: rel {file.tablespace}/{file.database}/{file.file} blk 0"
    )


def beat(xid: int, file: File = BEAT) -> str:
    return heap(xid, f"LOG rel {file.tablespace}/{file.database}/{file.file}", file, manager="Sequence")


def end(xid: int, what: str, lsn: str = "0/01529F00") -> str:
    return f"rmgr: Transaction len (rec/tot):     34/    34, tx: {xid:10}, lsn: {lsn}, prev 0/01529EB0, desc: {what}"


COMMITTED = "COMMIT 2026-11-25 22:21:08.123456 UTC"


def read(*lines: str) -> Reader:
    reader = Reader(["5/16390"])
    for line in lines:
        reader.take(line)
    return reader


@pytest.mark.parametrize(
    ("what", "manager", "kind", "count"),
    [
        ("INSERT off 1 flags 0x08", "Heap", "inserted", 1),
        ("INSERT+INIT off 1 flags 0x00", "Heap", "inserted", 1),
        ("INSERT off: 1, flags: 0x08", "Heap", "inserted", 1),
        ("MULTI_INSERT 10 tuples flags 0x02", "Heap2", "inserted", 10),
        ("MULTI_INSERT+INIT ntuples: 61, flags: 0x02", "Heap2", "inserted", 61),
        ("HOT_UPDATE off 1 xmax 735 flags 0x10 ; new off 2 xmax 0", "Heap", "updated", 1),
        ("UPDATE old_xmax: 735, old_off: 1, old_infobits: [], flags: 0x01, new_xmax: 0, new_off: 2", "Heap",
         "updated", 1),
        ("DELETE off 3 flags 0x00 KEYS_UPDATED", "Heap", "deleted", 1),
    ],
)
def test_rows_are_counted_by_what_was_done_to_them(what: str, manager: str, kind: str, count: int) -> None:
    tally = read(heap(735, what, manager=manager), end(735, COMMITTED)).tally
    assert tally.rows == {(ORDERS, kind): count}
    assert (tally.commits, tally.heartbeats) == (1, 0)
    [only] = tally.transactions
    assert (only.xid, only.at, only.lsn) == (735, "2026-11-25 22:21:08.123456 UTC", Lsn.parse("0/01529F00"))


@pytest.mark.parametrize("what", ["LOCK off 1: xid 735: flags 0x00 LOCK_ONLY", "INPLACE off 3", "HEAP_CONFIRM off 1"])
def test_what_changes_no_row_does_not_count(what: str) -> None:
    assert not read(heap(735, what), end(735, COMMITTED)).tally.rows


def test_what_was_not_committed_does_not_count() -> None:
    tally = read(heap(735, "INSERT off 1 flags 0x08"), end(735, "ABORT 2026-11-25 22:21:08 UTC"),
                 heap(736, "INSERT off 2 flags 0x08")).tally  # fmt: skip
    assert (tally.commits, tally.rows) == (0, {})


def test_a_subtransaction_belongs_to_its_transaction() -> None:
    insert = "INSERT off 1 flags 0x08"
    tally = read(heap(735, insert), heap(736, insert), end(735, f"{COMMITTED}; subxacts: 736 737")).tally
    assert tally.commits == 1
    assert tally.rows == {(ORDERS, "inserted"): 2}
    gone = read(heap(735, insert), heap(736, insert), end(735, "ABORT 2026-11-25; subxacts: 736"), end(736, COMMITTED))
    assert not gone.tally.rows


def test_a_prepared_transaction_counts_once_it_is_committed() -> None:
    tally = read(heap(735, "DELETE off 3 flags 0x00"), end(735, "PREPARE gid x: 2026-11-25 22:21:08 UTC"),
                 end(0, "COMMIT_PREPARED 735: 2026-11-25 22:21:08.1 UTC")).tally  # fmt: skip
    assert [one.xid for one in tally.transactions] == [735]
    assert tally.rows == {(ORDERS, "deleted"): 1}


def test_pgvip_s_own_heartbeat_is_missed_by_nobody() -> None:
    assert read(beat(735), end(735, COMMITTED)).tally.heartbeats == 1
    other = read(beat(735, ORDERS), end(735, COMMITTED)).tally
    assert (other.commits, other.heartbeats) == (1, 0), "a sequence of somebody else"
    both = read(beat(735), heap(735, "INSERT off 1 flags 0x08"), end(735, COMMITTED)).tally
    assert (both.commits, both.heartbeats, both.rows) == (1, 0, {(ORDERS, "inserted"): 1})


def test_sets_are_listed_newest_first_and_a_broken_one_is_named(tmp_path: Path) -> None:
    facts = {"at": "2026-11-25T22:00:00+00:00", "host": "db1", "followed": "db2", "timeline": 2, "from": "0/100",
             "to": "0/300", "bytes": 512, "commits": 3, "heartbeats": None, "files": []}  # fmt: skip
    pieces = [{"timeline": 1, "from": "0/100", "to": "0/200"}, {"timeline": 2, "from": "0/200", "to": "0/300"}]
    for name, content in (("20260101-a", facts), ("20260201-b", facts | {"pieces": pieces}), (".x.partial", facts)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lost.json").write_text(json.dumps(content))
    (tmp_path / "20260301-c").mkdir()
    (tmp_path / "20260301-c" / "lost.json").write_text("{")
    found, unreadable = saved_sets(tmp_path)
    assert [one.name for one in found] == ["20260201-b", "20260101-a"]
    assert found[0].pieces == (Piece(1, Lsn(0x100), Lsn(0x200)), Piece(2, Lsn(0x200), Lsn(0x300)))
    assert found[1].pieces == (Piece(2, Lsn(0x100), Lsn(0x300)),)
    assert len(unreadable) == 1
    assert "20260301-c" in unreadable[0]
    assert saved_sets(tmp_path / "nothing") == ([], [])


def test_what_was_begun_before_the_stretch_counts_with_its_commit() -> None:
    reader = Reader(["5/16390"])
    insert = "INSERT off 1 flags 0x08"
    for line in (heap(735, insert), end(735, COMMITTED), heap(736, insert), beat(737)):
        reader.before(line)
    for line in (end(736, COMMITTED), end(737, COMMITTED), end(738, COMMITTED)):
        reader.take(line)
    assert [one.xid for one in reader.tally.transactions] == [736, 738], "what is not known counts as lost"
    assert reader.tally.rows == {(ORDERS, "inserted"): 1}
    assert reader.tally.heartbeats == 1
