"""Files of an existing pair, as the version before the one codec wrote them: a newer pgvip reads every one of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pgvip.archive.backups import BYTES_MAX, Backup, Index, read_index
from pgvip.core.values import NEVER, BootFacts, Durable, Grant, Lsn, Mode, Pause, Record, WalPoint
from pgvip.drill import result
from pgvip.events.event_table import Event, Level, read
from pgvip.journal import json_lines
from pgvip.link.bundle import Bundle, read_bundle
from pgvip.rejoin.lost_commits import SavedFacts, Stretch
from pgvip.state import codec
from pgvip.state.record import (
    PairIdentity,
    RecordStore,
    Scheduled,
    load_boot_facts,
    load_identity,
    load_scheduled,
    save_boot_facts,
)

KEPT = Path(__file__).parent / "kept"

RECORD = Record(
    pair_id="p1",
    system_id="7300000000000000001",
    term=9,
    primary="berlin",
    mode=Mode.SOLO,
    sync=True,
    from_term=8,
    handover=WalPoint(3, Lsn.parse("1/A0")),
    cause="switchover",
    at="2026-05-01T10:00:00.000+00:00",
)
PAUSE = Pause(
    4, True, "disks", "2026-05-01T09:00:00.000+00:00", until="2026-05-02T09:00:00.000+00:00", by="ann", host="paris"
)
DURABLE = Durable(RECORD, served=True, complete=True, hold="why", pause=PAUSE, handbacks=2, kept_off=True)
FACTS = BootFacts(
    confirmed=True, confirmed_term=9, grant=Grant(9, "boot/1", "12:34"), address_term=9, doubt_s=NEVER, met=True,
    offset_s=1234.5,
)  # fmt: skip
BACKUP = Backup(
    "20261125T223000Z", "berlin", "good", WalPoint(1, Lsn.parse("0/2000028")), WalPoint(1, Lsn.parse("0/2000100")),
    1.5, 2.5, 123, "73", 15, "berlin", 3.0,
)  # fmt: skip


def test_the_record() -> None:
    assert RecordStore(KEPT / "record.json").load() == DURABLE


def test_the_record_is_written_as_before(tmp_path: Path) -> None:
    """An older pgvip, to which somebody goes back, reads it: what came later is more, not other."""
    RecordStore(tmp_path / "record.json").save(DURABLE)
    new, old = (json.loads((place / "record.json").read_text())["body"] for place in (tmp_path, KEPT))
    record = {**old["record"], "witness_id": ""}
    asked = {"claimed_term": -1, "serial": {"witness_id": "", "granted": 0}}
    assert new == {**old, "lacks": False, "record": record, **asked, "removed": ""}


def test_the_facts_of_one_boot(tmp_path: Path) -> None:
    """A daemon that is upgraded stays confirmed."""
    unread: list[str] = []
    assert load_boot_facts(KEPT / "boot.json", "boot/1", unread.append) == FACTS
    save_boot_facts(tmp_path / "boot.json", "boot/1", FACTS)
    assert load_boot_facts(tmp_path / "boot.json", "boot/1", unread.append) == FACTS
    assert unread == []


def test_identity_and_schedule() -> None:
    assert load_identity(KEPT / "identity.json") == PairIdentity("p1", "7300000000000000001", "berlin", "paris")
    scheduled = Scheduled("2026-11-30T02:30:00.000+00:00", "ann", "2026-11-29T22:00:00.000+00:00", "berlin")
    assert load_scheduled(KEPT / "scheduled.json") == scheduled


def test_the_bundle(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    shutil.copy(KEPT / "bundle.json", path)
    path.chmod(0o600)
    expected = Bundle(
        "paris", "berlin", "p1", "7300000000000000001", "config", "key", "cert", "peer", "passwords", {"hba": "x"}
    )
    assert read_bundle(path) == expected


def test_a_backup_and_the_index() -> None:
    assert codec.from_file(Backup, KEPT / "backup.json", max_bytes=BYTES_MAX) == BACKUP
    words = codec.parse_object((KEPT / "index.json").read_bytes())
    directory = Path("/var/lib/pgvip/archive/backups")
    expected = Index("berlin", 1764000000.25, directory, "backups", (BACKUP,), BACKUP.start)
    assert read_index(words, "berlin") == expected
    assert codec.encode(expected) == words


def test_what_a_drill_found() -> None:
    found = result.last(KEPT / "drill.json")
    assert found is not None
    assert (found["ok"], found["switchovers"][0]["outage_s"]) == (True, 0.312)


def test_what_was_lost() -> None:
    stretch = Stretch(2, Lsn.parse("0/2000100"), Lsn.parse("0/2000300"))
    expected = SavedFacts(
        "2026-11-25T22:00:00+00:00", "berlin", "paris", 2, stretch.start, stretch.end, 512, 3, None, (stretch,),
        ("5/16390",), ("000000020000000000000002",),
    )  # fmt: skip
    assert codec.from_file(SavedFacts, KEPT / "lost.json", max_bytes=BYTES_MAX) == expected
    assert codec.to_text(expected) == (KEPT / "lost.json").read_text()


def test_events() -> None:
    event = Event(
        "start", Level.NOTICE, "größe", "2026-11-25T22:00:00.000Z", "berlin", "p1", 9, (("a", "b"),), 1, "0a1b2c3d"
    )
    assert [read(one) for one in json_lines.read(KEPT, "berlin")] == [event]


@pytest.mark.parametrize("name", ["record", "identity", "scheduled", "boot", "backup", "index", "drill", "lost"])
def test_the_sample_is_one(name: str) -> None:
    """None of them is empty by mistake."""
    assert len((KEPT / f"{name}.json").read_text()) > 150
