"""What pgvip itself kept and may find damaged: record, boot facts, schedule, journal, samples, bundles, saved WAL."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pgvip.archive import backups, inventory
from pgvip.archive.listing import Survey
from pgvip.core.values import BootFacts, Durable
from pgvip.drill import result
from pgvip.errors import ArchiveError, FormatError, PgvipError, RecordError
from pgvip.journal import json_lines, samples
from pgvip.journal.event_store import EventStore, Wanted, stored
from pgvip.link.bundle import Bundle, read_bundle
from pgvip.rejoin.lost_commits import saved_sets
from pgvip.state.record import (
    PairIdentity,
    RecordStore,
    Scheduled,
    load_boot_facts,
    load_identity,
    load_scheduled,
)
from tests.fuzz.cases import Seeded, documents, fuzz, lists, one_of, raw, texts
from tests.unit.configs import make
from tests.unit.state.test_kept_files import KEPT


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all cases."""
    return tmp_path_factory.mktemp("kept")


def sample(name: str) -> Any:
    return json.loads((KEPT / name).read_text(encoding="utf-8"))


def sealed(text: str) -> str:
    """The same with a checksum that fits, so that what is inside is looked at."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        document = json.loads(text)
        plain = json.dumps(document["body"], sort_keys=True, separators=(",", ":")).encode()
        return json.dumps(document | {"sha256": hashlib.sha256(plain).hexdigest()})
    return text


def envelopes(name: str) -> Seeded:
    plain = documents(sample(name))
    return Seeded(lambda random: sealed(plain.make(random)) if random.random() < 0.8 else plain.make(random))


def written(root: Path, text: str) -> Path:
    file = root / "kept.json"
    file.write_bytes(text.encode(errors="surrogatepass"))
    return file


@fuzz(text=envelopes("record.json"))
def test_the_record(root: Path, text: str) -> None:
    """Damaged is an error, never none."""
    with suppress(RecordError):
        assert isinstance(RecordStore(written(root, text)).load(), Durable)


@fuzz(text=envelopes("boot.json"))
def test_boot_facts(root: Path, text: str) -> None:
    """What cannot be read is not known."""
    facts = load_boot_facts(written(root, text), "boot/1")
    assert isinstance(facts, BootFacts)
    assert type(facts.confirmed) is bool


@fuzz(data=raw((KEPT / "boot.json").read_bytes(), (KEPT / "record.json").read_bytes(), b""))
def test_torn_files(root: Path, data: bytes) -> None:
    file = root / "torn.json"
    file.write_bytes(data)
    load_boot_facts(file, "boot/1")
    for load in (RecordStore(file).load, lambda: load_identity(file), lambda: load_scheduled(file)):
        with suppress(RecordError):
            load()


@fuzz(text=envelopes("scheduled.json"))
def test_the_schedule(root: Path, text: str) -> None:
    with suppress(RecordError):
        assert isinstance(load_scheduled(written(root, text)), Scheduled)


@fuzz(text=envelopes("identity.json"))
def test_the_identity(root: Path, text: str) -> None:
    with suppress(RecordError):
        assert isinstance(load_identity(written(root, text)), PairIdentity)


@fuzz(text=documents(sample("bundle.json")))
def test_a_bundle(root: Path, text: str) -> None:
    file = written(root, text)
    file.chmod(0o600)
    with suppress(PgvipError):
        assert isinstance(read_bundle(file), Bundle)


@fuzz(text=documents(sample("drill.json")))
def test_a_drill(root: Path, text: str) -> None:
    assert isinstance(result.last(written(root, text)), dict | None)


@fuzz(text=documents(sample("lost.json")))
def test_saved_wal(root: Path, text: str) -> None:
    directory = root / "saved" / "one"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "lost.json").write_bytes(text.encode(errors="surrogatepass"))
    found, unreadable = saved_sets(root / "saved")
    assert len(found) + len(unreadable) == 1


# --- the journal and the samples ------------------------------------------------------------------------------

LINES = (KEPT / "berlin.jsonl").read_bytes()


@fuzz(data=raw(LINES, LINES[:-30], b"[" * 30_000))
def test_the_journal(root: Path, data: bytes) -> None:
    directory = root / "events"
    directory.mkdir(exist_ok=True)
    (directory / "berlin.jsonl").write_bytes(data)
    list(json_lines.read(directory, "berlin"))
    known = stored(directory, "berlin")
    store = EventStore(directory, "berlin", "paris", lambda _name, _text: None)
    store.start()
    store.close()
    assert len(store.find(Wanted(5000))) <= len(known)


def checksummed(body: bytes) -> bytes:
    body = (body + bytes(samples.SIZE))[: samples.SIZE - 4]
    return body + struct.pack("<I", zlib.crc32(body))


GOOD_SAMPLE = samples.pack(samples.measured(5.0, 5.0, {"lag_s": 1.0}, role="primary", sync_state="sync", term=4))


@fuzz(parts=lists(raw(GOOD_SAMPLE), 6), fits=one_of(True, False))
def test_samples(parts: list[bytes], fits: bool) -> None:
    data = b"".join(checksummed(part) if fits else part for part in parts)
    found = [one for one in samples.unpack(data) if 0 < one.at <= 100]
    assert len(samples.thin(found, 0, 100, 10)) <= 10


# --- the archive ----------------------------------------------------------------------------------------------

LISTED = (
    {"is": "file", "file": "000000010000000000000002", "size": 16777216, "at": 1.5},
    {"is": "history", "file": "00000002.history", "text": "1\t0/3000000\tx\n"},
    {"is": "failed", "name": "far", "why": "no route", "at": 1.0},
    {"is": "pending", "name": "far", "files": ["000000010000000000000002"]},
    {"is": "index", "text": json.dumps(sample("index.json"))},
    {"is": "end", "free": 12345},
)


@fuzz(lines=lists(documents(*LISTED), 4))
def test_a_listing(lines: list[str]) -> None:
    survey = Survey()
    with suppress(FormatError, ArchiveError):
        for line in lines:
            inventory._take_line(survey, line)
        if survey.index:
            backups.read_index(survey.index, "paris")


@fuzz(text=documents(sample("backup.json")))
def test_a_backup(root: Path, text: str) -> None:
    with suppress(ArchiveError):
        assert isinstance(backups._parse(written(root, text)), backups.Backup)


@fuzz(text=texts(sample("lost.json")["host"]))
def test_a_directory_without_a_backup(root: Path, text: str) -> None:
    directory = root / "archive"
    directory.mkdir(exist_ok=True)
    (directory / "note").write_text(text, encoding="utf-8", errors="replace")
    assert backups.own(make(root)) == []
