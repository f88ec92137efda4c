"""Survey, index and clean-up on real directories; the server's word is given."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from pgvip.archive import backups, cleaning, inventory, report
from pgvip.archive.backups import Backup
from pgvip.archive.inventory import Picture, Server
from pgvip.archive.memory import DIRECTORY, INDEX, Memory
from pgvip.archive.retention import Doubt, Need
from pgvip.cli import archive_clean, archive_status
from pgvip.config.model import ArchiveConfig, ArchiveDestination, BackupConfig, Config
from pgvip.core.values import Durable, Lsn, Mode, Record, WalPoint
from pgvip.errors import ArchiveError, MountError, RefusedError
from pgvip.setup import export
from pgvip.state.record import RecordStore
from tests.unit import configs

MB16 = 1 << 24
OLD_S = time.time() - 30 * 86400


@pytest.fixture
def config(tmp_path: Path) -> Config:
    archive = ArchiveConfig(
        directory=tmp_path / "archive",
        peer_mount=tmp_path / "peer",
        mount_type="",
        destinations=(ArchiveDestination("far", tmp_path / "far"),),
        timeout_s=5.0,
    )
    for directory in (archive.directory, archive.peer_mount):
        directory.mkdir()
    backup = BackupConfig(directory=tmp_path / "archive" / "backups", keep=1)
    return configs.make(tmp_path, archive=archive, backup=backup)


def wal(directory: Path, *numbers: int) -> None:
    for number in numbers:
        file = directory / f"0000000100000000{number:08X}.zst"
        file.write_bytes(b"wal")
        os.utime(file, (OLD_S, OLD_S))


def backup(config: Config, number: int, state: str = "good") -> Backup:
    """A backup of this host on disk, beginning in a segment."""
    point = WalPoint(1, Lsn(number * MB16 + 0x28))
    ended = time.time() - 86400 + number
    made = Backup(f"20261125T22300{number}Z", config.me.name, state, point, point, ended, ended)
    path = config.backup.directory / made.name
    (path / backups.DATA).mkdir(parents=True)
    name = backups.DONE if state == "good" else backups.RUNNING
    backups.write(path / name, made, config)
    return made


def numbers(directory: Path) -> list[int]:
    return sorted(int(path.name[16:24], 16) for path in directory.glob("0*.zst"))


def other(config: Config) -> Config:
    """The peer's own view, with its archive where this host has it mounted."""
    archive = dataclasses.replace(config.archive, directory=config.archive.peer_mount)
    return dataclasses.replace(config, me=config.peer, peer=config.me, archive=archive)


def seen(config: Config, *doubts: Doubt) -> Picture:
    """What `picture.take` sees, but for the server, which is at segment 9."""
    own = inventory.look(config, config.archive.directory)
    gone, peer, index, why, last = inventory._peer(config)
    known = [*backups.own(config), *(last.backups if last else ())]
    redo = WalPoint(1, Lsn(9 * MB16))
    server = Server("primary", redo, [Need("the last checkpoint of this host", redo.lsn)], list(doubts))
    return Picture(time.time(), MB16, own, peer, why, index, last, known, server, config.peer.name, gone)


def tell_of_peer(config: Config, number: int | None, *made: Backup) -> None:
    backups.write_index(other(config), made, None if number is None else WalPoint(1, Lsn(number * MB16)))


def clean(config: Config) -> list[int]:
    found = seen(config)
    cleaning.carry_out(config, cleaning.plan(config, found), found)
    return numbers(config.archive.directory)


def test_survey_sees_files_failures_and_debts(config: Config) -> None:
    wal(config.archive.directory, 1, 2)
    (config.archive.directory / "00000002.history").write_text("1\t0/30000A0\tpromoted\n")
    (config.archive.directory / ".0000.tmp").write_text("half")
    memory = Memory(config.archive.directory / DIRECTORY)
    memory.failed("far", "no space left")
    memory.owe("far", "000000010000000000000001")
    found = inventory.look(config, config.archive.directory)
    assert sorted(file.name for file in found.files) == [
        "000000010000000000000001", "000000010000000000000002", "00000002.history",
    ]  # fmt: skip
    assert found.histories == {"00000002.history": "1\t0/30000A0\tpromoted\n"}
    assert found.failed["far"][0] == "no space left"
    assert found.pending == {"far": ["000000010000000000000001"]}
    assert found.free_bytes > 0


def test_name_of_a_strangers_file_that_is_no_text_is_no_obstacle(config: Config) -> None:
    name = os.fsencode(config.archive.directory) + b"/gr\xf6\xdfe"
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    assert "gr??e" in {file.name for file in inventory.look(config, config.archive.directory).files}


def test_archive_that_is_not_there_or_hangs_is_an_error(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="could not read"):
        inventory.look(config, tmp_path / "none")
    notes = config.archive.directory / DIRECTORY
    notes.mkdir()
    os.mkfifo(notes / INDEX)  # reading it waits for a writer that never comes
    quick = dataclasses.replace(config, archive=dataclasses.replace(config.archive, timeout_s=-4.0))
    with pytest.raises(ArchiveError, match="does not answer"):
        inventory.look(quick, config.archive.directory)


def test_backups_standby_and_both_hosts_hold_wal(config: Config) -> None:
    wal(config.archive.directory, *range(1, 10))
    backup(config, 4)
    tell_of_peer(config, 8)
    assert clean(config) == [4, 5, 6, 7, 8, 9]
    tell_of_peer(config, 5)
    backup(config, 7)
    assert clean(config) == [5, 6, 7, 8, 9]
    assert [one.start.lsn // MB16 for one in backups.own(config)] == [7]
    tell_of_peer(config, 9)
    assert clean(config) == [7, 8, 9]


def test_what_a_destination_is_owed_stays_as_long_as_there_is_such_a_destination(config: Config) -> None:
    wal(config.archive.directory, 1, 2, 3)
    backup(config, 9)
    tell_of_peer(config, 9)
    memory = Memory(config.archive.directory / DIRECTORY)
    memory.owe("far", "000000010000000000000002")
    memory.owe("gone", "000000010000000000000003")
    assert clean(config) == [2]


def test_backup_of_the_peer_holds_wal_here(config: Config, tmp_path: Path) -> None:
    wal(config.archive.directory, *range(1, 10))
    theirs = backup(dataclasses.replace(other(config), backup=BackupConfig(tmp_path / "elsewhere")), 3)
    tell_of_peer(config, 8, theirs)
    assert clean(config) == [3, 4, 5, 6, 7, 8, 9]


def test_dry_plan_changes_nothing(config: Config) -> None:
    wal(config.archive.directory, 1, 2)
    backup(config, 9)
    backup(config, 1, state="running")
    tell_of_peer(config, 9)
    decided = cleaning.plan(config, seen(config))
    assert [one.name for one in decided.interrupted] == ["20261125T223001Z"]
    assert archive_clean.text(decided, dry_run=True)[:2] == [
        "would remove base backup 20261125T223001Z, which was interrupted",
        "would remove 2 files of WAL, 6 bytes: 000000010000000000000001.zst to 000000010000000000000002.zst",
    ]
    assert numbers(config.archive.directory) == [1, 2]
    assert len(backups.own(config)) == 2


def test_every_doubt_refuses(config: Config) -> None:
    wal(config.archive.directory, 1, 2)
    found = []
    with pytest.raises(RefusedError, match="in doubt") as refused:
        cleaning.plan(config, seen(config, Doubt("slot x lost WAL")))
    found.append(refused.value.detail)
    assert "slot x lost WAL" in found[0]
    assert "the archive of paris cannot be read: there is no index" in found[0]
    assert "no good base backup" in found[0]
    backup(config, 9)
    tell_of_peer(config, None)
    with pytest.raises(RefusedError) as refused:
        cleaning.plan(config, seen(config))
    assert "paris does not know itself what WAL it needs" in refused.value.detail
    assert numbers(config.archive.directory) == [1, 2]


ROWS = [
    ("slot", "pgvip_paris", "0/5000028", "reserved"),
    ("slot", "unused", None, ""),
    ("standby", "pgvip_paris", "0/6000000", "streaming"),
    ("checkpoint", "3", "0/7000000", ""),
    ("role", "primary", None, ""),
]


def test_what_the_server_says_becomes_needs(config: Config) -> None:
    server = inventory.understand(config, ROWS)
    assert [(need.who, str(need.lsn)) for need in server.needs] == [
        ("slot pgvip_paris", "0/5000028"),
        ("standby pgvip_paris", "0/6000000"),
        ("the last checkpoint of this host", "0/7000000"),
    ]
    assert (server.role, server.redo, server.doubts) == ("primary", WalPoint(3, Lsn(0x7000000)), [])


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (("slot", "other", None, "lost"), "replication slot other lost WAL"),
        (("standby", "copy", None, "backup"), "the position of copy is unknown (it is in state backup)"),
    ],
)
def test_position_that_nobody_knows_is_a_doubt(config: Config, row: tuple[str, str, None, str], what: str) -> None:
    (doubt,) = inventory.understand(config, [*ROWS, row]).doubts
    assert what in doubt.what


def test_a_removed_peer_s_slot_neither_keeps_wal_nor_is_missed(config: Config) -> None:
    server = inventory.understand(config, ROWS, removed=True)
    assert "slot pgvip_paris" not in [need.who for need in server.needs]
    assert inventory.understand(config, ROWS[1:], removed=True).doubts == []


def test_what_a_removed_peer_reported_is_waited_for_no_more(config: Config) -> None:
    backup(config, 3)
    tell_of_peer(config, None)
    with pytest.raises(RefusedError):
        cleaning.plan(config, seen(config))
    alone = Record("p1", "7000000000000000001", 4, config.me.name, Mode.SOLO, sync=True)
    config.paths.record.parent.mkdir(parents=True, exist_ok=True)
    RecordStore(config.paths.record).save(Durable(alone, served=True, removed="2026-01-01T00:00:00+00:00"))
    found = seen(config)
    assert (found.removed, found.index, found.last) == (True, None, None)
    cleaning.plan(config, found)


@pytest.mark.parametrize("row", [None, ("slot", "pgvip_paris", None, "lost")])
def test_the_peers_own_slot_must_be_there(config: Config, row: tuple[str, str, None, str] | None) -> None:
    rows = [*ROWS[1:], row] if row else ROWS[1:]
    assert any("the position of paris is unknown" in doubt.what for doubt in inventory.understand(config, rows).doubts)


def test_mount_of_something_else_is_a_doubt(config: Config) -> None:
    backup(config, 9)
    backups.write_index(dataclasses.replace(other(config), me=config.me), [], WalPoint(1, Lsn(9 * MB16)))
    with pytest.raises(RefusedError) as refused:
        cleaning.plan(config, seen(config))
    assert "is that of berlin" in refused.value.detail


def test_nothing_mounted_is_a_doubt_and_not_an_empty_archive(config: Config) -> None:
    nfs = dataclasses.replace(config, archive=dataclasses.replace(config.archive, mount_type="nfs"))
    tell_of_peer(config, 9)
    assert seen(config).index is not None
    assert seen(nfs).index is None
    assert "nothing is mounted" in seen(nfs).peer_why


def test_without_the_peer_what_it_told_last_counts(config: Config) -> None:
    wal(config.archive.directory, *range(1, 10))
    backup(config, 7)
    theirs = dataclasses.replace(backup(config, 3), host="paris")
    cleaning.remove_backup(config, theirs)
    tell_of_peer(config, 8, theirs)
    inventory.remember(config, seen(config))
    (config.archive.peer_mount / DIRECTORY / INDEX).unlink()
    with pytest.raises(RefusedError):
        cleaning.plan(config, seen(config))
    assert cleaning.plan(config, seen(config), without_peer=True).wal.oldest.lsn // MB16 == 3


def test_without_the_peer_its_backups_stand_in_for_none_of_this_hosts(config: Config) -> None:
    """They may be lost for good: the one that can still be reached stays, and so does what theirs would need."""
    config = dataclasses.replace(config, backup=dataclasses.replace(config.backup, keep=2))
    wal(config.archive.directory, *range(1, 10))
    theirs = [dataclasses.replace(backup(config, number), host="paris") for number in (7, 8)]
    for one in theirs:
        cleaning.remove_backup(config, one)
    mine = backup(config, 3)
    tell_of_peer(config, 8, *theirs)
    assert cleaning.plan(config, seen(config)).backups == (mine,)
    inventory.remember(config, seen(config))
    (config.archive.peer_mount / DIRECTORY / INDEX).unlink()
    decided = cleaning.plan(config, seen(config), without_peer=True)
    assert decided.backups == ()
    assert decided.wal.oldest.lsn // MB16 == 3
    cleaning.remove_backup(config, mine)
    with pytest.raises(RefusedError, match="in doubt") as refused:
        cleaning.plan(config, seen(config), without_peer=True)
    assert "no good base backup" in refused.value.detail
    backup(config, 9)
    assert cleaning.plan(config, seen(config), without_peer=True).wal.oldest.lsn // MB16 == 7


def test_without_the_peer_the_wal_that_it_needed_last_stays(config: Config) -> None:
    """Its slot may have been made anew since, further on than it is itself."""
    backup(config, 7)
    tell_of_peer(config, 5)
    inventory.remember(config, seen(config))
    (config.archive.peer_mount / DIRECTORY / INDEX).unlink()
    assert cleaning.plan(config, seen(config), without_peer=True).wal.oldest.lsn // MB16 == 5


def test_backup_that_is_being_made_is_neither_interrupted_nor_removed(config: Config) -> None:
    backup(config, 2, state="running")
    backup(config, 9)
    tell_of_peer(config, 9)
    with backups.held(config, exclusive=True):
        states = [one.state for one in backups.own(config)]
        with pytest.raises(RefusedError, match="being made"), backups.held(config, exclusive=True):
            pass
        assert cleaning.plan(config, seen(config)).interrupted == ()
        assert cleaning.plan(config, seen(config)).wal.oldest.lsn // MB16 == 2
    assert states == ["running", "good"]
    assert [one.state for one in backups.own(config)] == ["incomplete", "good"]


def finish(config: Config, one: Backup) -> None:
    """What the maker does at the end."""
    path = config.backup.directory / one.name
    backups.write(path / backups.DONE, dataclasses.replace(one, state="good"), config)
    (path / backups.RUNNING).unlink()


def test_backup_that_became_whole_since_the_plan_stays_with_its_wal(config: Config) -> None:
    wal(config.archive.directory, 1, 2, 3)
    half = backup(config, 2, state="running")
    dead = backup(config, 1, state="running")
    backup(config, 9)
    tell_of_peer(config, 9)
    found = seen(config)
    decided = cleaning.plan(config, found)
    assert [one.name for one in decided.interrupted] == [dead.name, half.name]
    finish(config, half)
    done = cleaning.carry_out(config, decided, found)
    assert [(one.start.lsn // MB16, one.state) for one in backups.own(config)] == [(2, "good"), (9, "good")]
    assert numbers(config.archive.directory) == [1, 2, 3]
    assert ([one.name for one in done.interrupted], done.wal.files) == ([dead.name], ())


@pytest.mark.parametrize("unlinked", [True, False])
def test_backup_that_becomes_whole_while_it_is_looked_at_is_whole(
    config: Config, monkeypatch: pytest.MonkeyPatch, unlinked: bool
) -> None:
    """After DONE was not there: before RUNNING is looked for, or before the lock is."""
    half = backup(config, 2, state="running")
    parse = backups._parse

    def late(file: Path) -> Backup:
        if unlinked and file.name == backups.RUNNING and file.exists():
            finish(config, half)
        return parse(file)

    def lock(config: Config) -> bool:
        finish(config, half)
        return False

    monkeypatch.setattr(backups, "_parse", late)
    monkeypatch.setattr(backups, "is_locked", lock)
    assert [one.state for one in backups.own(config)] == ["good"]


def test_backup_is_not_removed_while_it_is_read(config: Config) -> None:
    wal(config.archive.directory, 1)
    backup(config, 3)
    backup(config, 5)
    tell_of_peer(config, 9)
    found = seen(config)
    decided = cleaning.plan(config, found)
    with backups.held(config, exclusive=False), pytest.raises(RefusedError, match="restored"):
        cleaning.carry_out(config, decided, found)
    assert len(backups.own(config)) == 2
    assert numbers(config.archive.directory) == [1]


def test_interrupted_removal_leaves_what_is_known_to_be_incomplete(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup(config, 3)

    def fail(_path: Path) -> None:
        raise OSError("disk")

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(ArchiveError, match="could not remove"):
        cleaning.remove_backup(config, made)
    assert [one.state for one in backups.own(config)] == ["incomplete"]


def test_facts_that_are_not_understood_stop_everything(config: Config) -> None:
    made = backup(config, 3)
    (config.backup.directory / made.name / backups.DONE).write_text("{}")
    with pytest.raises(ArchiveError, match="could not understand"):
        backups.own(config)


def test_status_says_what_is_wrong(config: Config) -> None:
    wal(config.archive.directory, 1, 2, 5)
    memory = Memory(config.archive.directory / DIRECTORY)
    memory.failed("far", '"x": no space left')
    memory.owe("far", "000000010000000000000001")
    found = report.document(config, seen(config))
    assert found["missing"] == [["000000010000000000000003", "000000010000000000000004"]]
    assert found["problems"] == [
        "WAL is missing: 000000010000000000000003 to 000000010000000000000004",
        "the archive of paris cannot be read: there is no index in the archive of paris",
        "the local database does not answer",
        'destination far failed: "x": no space left',
        "1 files are pending for destination far",
    ]
    assert json.dumps(found)
    shown = "\n".join(archive_status.text(found))
    assert "optional, 1 files pending, failed" in shown
    assert "would refuse: " in shown
    state = {"in_recovery": False, "failing": True, "waiting_files": 17, "last_failed": "0A"}
    said = report.problems({**found, "archiver": state})
    assert "archiving fails: 0A; the server's log says why" in said
    assert "17 files wait to be archived" in said


def test_two_threads_write_the_index(config: Config) -> None:
    threads = [threading.Thread(target=tell_of_peer, args=(config, number)) for number in (8, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(config).index is not None


# --- exports -----------------------------------------------------------------------------------------------


def test_export_is_for_the_peer_alone_and_read_only(config: Config) -> None:
    line = export.line(dataclasses.replace(config, archive=ArchiveConfig(directory=Path("/srv/my archive"))))
    assert line.startswith("/srv/my\\040archive 10.9.0.2(ro,sync,no_subtree_check,all_squash,anonuid=")
    assert "," not in line.split(" ")[0]


def programs(root: Path, said: str, code: int = 0) -> str:
    tools = root / "bin"
    tools.mkdir()
    (tools / "exportfs").write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    (tools / "exportfs").chmod(0o755)
    return str(tools)


def test_export_is_written_and_seen_in_force(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = programs(tmp_path, f"{config.archive.directory} 10.9.0.2")
    monkeypatch.setenv("PATH", tools + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/sbin/exportfs")
    file = tmp_path / "exports.d" / "pgvip.exports"
    export.export(config, file)
    assert export.is_current(config, file)
    export.export(config, file)
    assert file.stat().st_mode & 0o777 == 0o644


def test_export_that_is_not_in_force_is_said(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path, "/elsewhere") + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/sbin/exportfs")
    with pytest.raises(MountError, match="not exported"):
        export.export(config, tmp_path / "pgvip.exports")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(MountError, match="no NFS server"):
        export.export(config, tmp_path / "other.exports")
    assert not (tmp_path / "other.exports").exists()
