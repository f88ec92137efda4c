from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from pgvip.core.values import BootFacts, Durable, Grant, Lsn, Mode, Pause, Record, WalPoint
from pgvip.errors import RecordError
from pgvip.state import files, record
from pgvip.state.record import (
    PairIdentity,
    RecordStore,
    Scheduled,
    forget_boot_facts,
    load_boot_facts,
    load_identity,
    load_scheduled,
    save_boot_facts,
    save_identity,
    save_scheduled,
)

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
    at="2024-05-01T10:00:00Z",
)
PAUSE = Pause(4, True, "r", "t", "u", "ann", "db1")
DURABLE = Durable(RECORD, served=True, complete=True, hold="why", pause=PAUSE, handbacks=2, kept_off=True)
GRANT = Grant(term=9, boot_id="b", postmaster="12:34", echo_s=5.5, expires_s=9.25)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "record.json")


@pytest.mark.parametrize(
    "durable",
    [
        Durable(),
        DURABLE,
        replace(DURABLE, record=replace(RECORD, mode=Mode.PAIR, from_term=None, handover=None)),
        replace(DURABLE, served=False, hold='quote " and ü'),
    ],
)
def test_what_is_saved_comes_back_equal(store: RecordStore, durable: Durable) -> None:
    store.save(durable)
    assert store.load() == durable


def test_nothing_saved_is_none(store: RecordStore) -> None:
    assert store.load() is None


def test_types_survive(store: RecordStore) -> None:
    store.save(DURABLE)
    loaded = store.load()
    assert loaded is not None
    assert loaded.record is not None
    assert isinstance(loaded.record.mode, Mode)
    assert loaded.record.handover is not None
    assert isinstance(loaded.record.handover.lsn, Lsn)


def test_the_file_is_for_root_alone_and_nothing_else_is_left(store: RecordStore) -> None:
    store.save(DURABLE)
    store.save(Durable())
    assert [path.name for path in store.path.parent.iterdir()] == ["record.json"]
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_a_daemon_that_starts_removes_what_killed_ones_left(store: RecordStore) -> None:
    store.save(DURABLE)
    for name in (".record.json.0123abcd.new", "record.json.mine", ".record.json.new"):
        (store.path.parent / name).write_text("torn")
    assert store.settle() == DURABLE
    left = {path.name for path in store.path.parent.iterdir()}
    assert left == {"record.json", "record.json.mine", ".record.json.new"}


def test_every_changed_byte_is_noticed(store: RecordStore) -> None:
    store.save(DURABLE)
    whole = store.path.read_bytes()
    body_at = whole.index(b'"body"')
    for at in range(body_at, len(whole) - 3):
        if chr(whole[at]).isspace():
            continue
        damaged = bytearray(whole)
        damaged[at] ^= 0x01
        store.path.write_bytes(damaged)
        with pytest.raises(RecordError):
            store.load()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_torn_file_is_an_error_and_never_none(store: RecordStore, part: float) -> None:
    store.save(DURABLE)
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(RecordError, match=r"record\.json is damaged"):
        store.load()


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"version": 1, "sha256": "", "body": []}', "\x00" * 100])
def test_foreign_content_is_an_error(store: RecordStore, content: str) -> None:
    store.path.write_text(content)
    with pytest.raises(RecordError):
        store.load()


def test_a_newer_form_is_refused_by_name(store: RecordStore) -> None:
    store.save(DURABLE)
    envelope = json.loads(store.path.read_text())
    store.path.write_text(json.dumps(envelope | {"version": 2}))
    with pytest.raises(RecordError) as caught:
        store.load()
    assert "version is 2" in caught.value.detail


def test_an_unreadable_file_is_an_error(store: RecordStore) -> None:
    store.path.mkdir()
    with pytest.raises(RecordError, match="could not read"):
        store.load()


def test_a_missing_state_directory_is_an_error_on_saving(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="could not write"):
        RecordStore(tmp_path / "gone" / "record.json").save(DURABLE)


def test_a_save_is_synced_before_and_after_the_rename(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        order.append("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().name[:12])
        fsync(descriptor)

    def seen_rename(self: Path, target: Path) -> Path:
        order.append("rename")
        rename(self, target)
        return target

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_rename)
    store.save(DURABLE)
    assert order == ["fsync .record.json", "rename", f"fsync {store.path.parent.name[:12]}"]


@pytest.mark.parametrize("step", range(6))
def test_a_save_that_dies_at_any_step_leaves_the_old_or_the_new(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    store.save(Durable())
    steps = itertools.count()

    def dying(name: str) -> None:
        original = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            if next(steps) == step:
                raise OSError(5, "Input/output error")
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("open", "fchmod", "fsync", "replace"):
        dying(name)
    with contextlib.suppress(RecordError, record.InDoubtError):
        store.save(DURABLE)
    monkeypatch.undo()
    assert store.load() in (Durable(), DURABLE)


def test_boot_facts_live_for_one_boot(tmp_path: Path) -> None:
    path = tmp_path / "boot.json"
    facts = BootFacts(confirmed=True, confirmed_term=9, grant=GRANT, address_term=9, doubt_s=5.5, offset_s=-0.25)
    assert load_boot_facts(path, "boot-1") == BootFacts()
    save_boot_facts(path, "boot-1", facts)
    assert load_boot_facts(path, "boot-1") == facts
    assert load_boot_facts(path, "boot-2") == BootFacts()


def test_a_daemon_starts_on_a_full_disk_with_the_record_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died, and the file system of its state was full: it never came back, beside a healthy PostgreSQL."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True, timeout=10)
    try:
        store = RecordStore(tmp_path / "record.json")
        store.save(DURABLE)
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "filler").write_bytes(bytes(100_000))
        with pytest.raises(RecordError, match="could not write"):
            store.save(Durable())
        assert store.settle() == DURABLE
        assert store.load() == DURABLE
        assert {entry.name for entry in tmp_path.iterdir()} == {"filler", "record.json"}

        def fail(_descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(RecordError, match="could not sync"):
            store.settle()
    finally:
        subprocess.run(["umount", tmp_path], check=True, timeout=10)


def test_facts_that_do_not_fit_on_a_full_disk_leave_no_old_ones(tmp_path: Path) -> None:
    """Old facts would be a right that has ended; to remove them needs no space."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True, timeout=10)
    try:
        path = tmp_path / "boot.json"
        save_boot_facts(path, "boot-1", BootFacts(confirmed=True))
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "filler").write_bytes(bytes(100_000))
        with pytest.raises(RecordError, match="could not write"):
            save_boot_facts(path, "boot-1", BootFacts())
        forget_boot_facts(path)
        assert load_boot_facts(path, "boot-1") == BootFacts()
        assert [entry.name for entry in tmp_path.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", tmp_path], check=True, timeout=10)


@pytest.mark.parametrize("grant", [None, Grant(1, "b", "1:2"), replace(GRANT, expires_s=None)])
def test_grants_come_back_equal(tmp_path: Path, grant: Grant | None) -> None:
    save_boot_facts(tmp_path / "boot.json", "b", BootFacts(grant=grant))
    assert load_boot_facts(tmp_path / "boot.json", "b").grant == grant


@pytest.mark.parametrize(
    "change",
    [
        lambda _whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole.replace(b"true", b"tru3"),
        lambda whole: whole.replace(b'"confirmed_term": 9', b'"confirmed_term": 8'),
        lambda _whole: b"[" * 100_000,
        lambda _whole: b"1" * 5_000,
        lambda _whole: b"x" * (record.BYTES_MAX + 1),
    ],
)
def test_facts_of_a_boot_that_cannot_be_read_are_not_known(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """As after a boot: the daemon starts, says so, and asks its peer."""
    path, told = tmp_path / "boot.json", list[str]()
    save_boot_facts(path, "b", BootFacts(confirmed=True, confirmed_term=9, met=True))
    path.write_bytes(change(path.read_bytes()))
    assert load_boot_facts(path, "b", told.append) == BootFacts()
    assert len(told) == 1
    assert "boot.json" in told[0]


def test_facts_of_a_boot_that_lack_a_value_have_the_cautious_one(tmp_path: Path) -> None:
    path = tmp_path / "boot.json"
    body = {"boot_id": "b", "facts": {"confirmed": True, "grant": None, "doubt_s": None}}
    write_body(path, body)
    assert load_boot_facts(path, "b") == BootFacts(confirmed=True)
    write_body(path, {"boot_id": "b", "facts": {"confirmed": "yes"}})
    assert load_boot_facts(path, "b") == BootFacts()


def test_the_identity_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    identity = PairIdentity("p1", "7300000000000000001", "berlin", "paris")
    assert load_identity(path) is None
    save_identity(path, identity)
    assert load_identity(path) == identity
    assert identity.names == ("berlin", "paris")
    path.write_text("{}")
    with pytest.raises(RecordError):
        load_identity(path)


def test_a_save_in_doubt_is_no_mere_failure_and_is_settled_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordStore(tmp_path / "record.json")
    store.save(Durable(served=False))

    def failing(directory: Path) -> None:
        raise OSError(errno.EIO, "no directory was synced")

    with monkeypatch.context() as broken:
        broken.setattr(files, "sync_directory", failing)
        with pytest.raises(record.InDoubtError):
            store.save(Durable(served=True))
        with pytest.raises(record.InDoubtError):
            store.settle()
    assert store.settle() == Durable(served=True)


def write_body(path: Path, body: object) -> None:
    """A file whose checksum is right, whatever is in it."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps({"version": 1, "sha256": sha256(text.encode()).hexdigest(), "body": body}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"served": "false"}, "Durable.served"),
        ({"served": 0}, "Durable.served"),
        ({"hold": None}, "Durable.hold"),
        ({"handbacks": 1.5}, "Durable.handbacks"),
        ({"pause": {"serial": 1}}, "Durable.pause.active"),
        ({"record": {"term": 9}}, "Durable.record.pair_id"),
        ({"record": []}, "Durable.record"),
    ],
)
def test_a_record_with_a_wrong_value_is_an_error_that_names_it(
    store: RecordStore, change: dict[str, object], named: str
) -> None:
    store.save(DURABLE)
    write_body(store.path, json.loads(store.path.read_text())["body"] | change)
    with pytest.raises(RecordError, match=r"record\.json is damaged") as caught:
        store.load()
    assert named in caught.value.detail
    assert "Do not delete it" in caught.value.hint


@pytest.mark.parametrize("name", ["record", "served", "complete", "hold", "pause", "handbacks"])
def test_a_record_that_lacks_a_value_is_an_error(store: RecordStore, name: str) -> None:
    """Nothing of it has a default that would be safe: "served" is a right that was used."""
    store.save(DURABLE)
    body = json.loads(store.path.read_text())["body"]
    del body[name]
    write_body(store.path, body)
    with pytest.raises(RecordError):
        store.load()


@pytest.mark.parametrize("content", ["[" * 100_000, '{"version":' + "1" * 5_000, '{"version": NaN}', '{"\\ud800": 1}'])
def test_content_made_to_break_the_reader_is_an_error_of_ours(store: RecordStore, content: str) -> None:
    store.path.write_text(content)
    with pytest.raises(RecordError, match=r"record\.json is damaged"):
        store.load()


def test_a_record_of_before_pauses_had_an_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    RecordStore(path).save(DURABLE)
    body = json.loads(path.read_text())["body"]
    del body["kept_off"], body["removed"], body["pause"]["until"], body["pause"]["by"], body["pause"]["host"]
    write_body(path, body)
    assert RecordStore(path).load() == replace(DURABLE, kept_off=False, pause=Pause(4, True, "r", "t"))


def test_a_scheduled_switchover_is_kept(tmp_path: Path) -> None:
    path, scheduled = tmp_path / "scheduled.json", Scheduled("2026", "ann", "2025", "db1", force=True)
    assert load_scheduled(path) is None
    save_scheduled(path, scheduled)
    assert load_scheduled(path) == scheduled
    path.write_text("{}")
    with pytest.raises(RecordError):
        load_scheduled(path)
