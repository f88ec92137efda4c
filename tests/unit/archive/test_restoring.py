"""Where a backup may be restored to, and what it is given to start with."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
from pathlib import Path

import pytest

from pgvip.archive import maintenance, restore_wal, restoring, targets
from pgvip.archive.backups import Backup, Index
from pgvip.archive.inventory import Picture, Server
from pgvip.archive.listing import Survey
from pgvip.archive.maintenance import Maintenance
from pgvip.archive.memory import DIRECTORY, Memory
from pgvip.archive.restoring import Order, Place
from pgvip.cli import restore as cli
from pgvip.config.model import ArchiveDestination, Config
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import ArchiveError, RefusedError
from tests.unit import configs

POINT = WalPoint(1, Lsn(1 << 24))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = configs.make(tmp_path / "host")
    backup = dataclasses.replace(made.backup, directory=made.archive.directory / "backups")
    return dataclasses.replace(made, backup=backup)


def backup(host: str = "berlin") -> Backup:
    return Backup("20261125T223000Z", host, "good", POINT, POINT, size_bytes=10, version=15)


def order(place: Path, to: str = "latest", action: str = "pause", timeline: str = "latest") -> Order:
    return Order(backup(), Path("/b"), targets.parse(to), Place.of(place), 5433, action, timeline)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("data", "live data directory"),
        ("data/restored", "live data directory"),
        ("", "holds"),
        ("archive/restored", "the archive"),
        ("archive/backups/x", "the archive"),
        ("peer/x", "the other host's archive"),
        ("state", "pgvip's state"),
        ("link/restored", "live data directory"),
    ],
)
def test_nothing_of_the_pair_is_restored_into(config: Config, tmp_path: Path, where: str, what: str) -> None:
    (tmp_path / "host" / "data").mkdir(parents=True)
    (tmp_path / "host" / "link").symlink_to(tmp_path / "host" / "data")
    with pytest.raises(RefusedError, match=what):
        restoring.refuse_place(config, Place.of(tmp_path / "host" / where))


def test_place_must_be_empty_and_absolute(config: Config, tmp_path: Path) -> None:
    place = Place.of(tmp_path / "new")
    restoring.refuse_place(config, place)
    place.data.mkdir()
    restoring.refuse_place(config, place)
    (place.data / "x").touch()
    with pytest.raises(RefusedError, match="not empty"):
        restoring.refuse_place(config, place)
    with pytest.raises(RefusedError, match="not an absolute path"):
        restoring.refuse_place(config, Place.of(Path("new")))
    place = Place.of(tmp_path / "other")
    place.tablespaces.mkdir()
    (place.tablespaces / "1").touch()
    with pytest.raises(RefusedError, match=r"other\.tablespaces is not empty"):
        restoring.refuse_place(config, place)


def picture(index: Index | None) -> Picture:
    return Picture(0.0, 1 << 24, Survey(), None, "", index, index, [], Server(), "paris")


def test_files_of_either_host(config: Config) -> None:
    own = config.backup.directory / backup().name
    assert restoring.source(config, backup(), picture(None)) == own
    index = Index("paris", 0.0, Path("/srv/backups"), "backups", (), POINT)
    theirs = config.archive.peer_mount / "backups" / backup().name
    assert restoring.source(config, backup("paris"), picture(index)) == theirs
    with pytest.raises(RefusedError, match="not in its archive"):
        restoring.source(config, backup("paris"), picture(dataclasses.replace(index, within="")))
    with pytest.raises(RefusedError, match="cannot be read now"):
        restoring.source(config, backup("paris"), picture(None))


def test_over_the_link_the_backups_of_the_other_host_are_restored_there(config: Config, tmp_path: Path) -> None:
    config = dataclasses.replace(config, archive=dataclasses.replace(config.archive, peer_archive="link"))
    assert restoring.source(config, backup(), picture(None)) == config.backup.directory / backup().name
    index = Index("paris", 0.0, Path("/srv/backups"), "backups", (), POINT)
    with pytest.raises(RefusedError, match="gives WAL alone") as caught:
        restoring.source(config, backup("paris"), picture(index))
    assert caught.value.hint == "Run pgvip restore on paris."
    words = restoring.settings_for(config, order(tmp_path / "new", "latest"))["restore_command"]
    assert f"--peer-link {config.paths.archive_socket} --strict" in words
    assert str(config.archive.peer_mount) not in words
    alone = dataclasses.replace(order(tmp_path / "new", "latest"), without_peer=True)
    assert f"--without {config.paths.archive_socket}" in restoring.settings_for(config, alone)["restore_command"]


def test_settings_keep_it_away_from_the_pair(config: Config, tmp_path: Path) -> None:
    found = restoring.settings_for(config, order(tmp_path / "new", "0/3000060", action="promote", timeline="2"))
    assert (found["listen_addresses"], found["archive_mode"], found["port"]) == ("", "off", "5433")
    assert found["recovery_target_lsn"] == "0/3000060"
    assert found["recovery_target_action"] == "promote"
    assert found["recovery_target_timeline"] == "2"
    assert "--strict" in found["restore_command"]
    assert str(config.paths.no_restore) not in found["restore_command"]
    latest = restoring.settings_for(config, order(tmp_path / "new"))
    assert not [key for key in latest if key.startswith("recovery_target") and key != "recovery_target_timeline"]


def test_recovery_asks_the_peers_archive_with_its_proof_or_not_at_all(config: Config, tmp_path: Path) -> None:
    known = order(tmp_path / "new")
    mount = str(config.archive.peer_mount)
    for one, option in ((known, "--peer"), (dataclasses.replace(known, without_peer=True), "--without")):
        words = shlex.split(restoring.settings_for(config, one)["restore_command"])
        given = restore_wal.parser().parse_args(words[words.index("--timeout") :])
        assert {"--peer": given.peer, "--without": given.without}.pop(option) == Path(mount)
        assert (given.peer is None) is one.without_peer
        assert [str(path) for path in given.directory].index(mount) == 1


@pytest.mark.parametrize("readable", [True, False])
def test_without_the_peer_recovery_does_without_it_only_where_it_cannot_be_read(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    """And then the newest backup is the newest that can be reached."""
    seen = picture(Index("paris", 0.0, Path("/srv"), "backups", (), POINT) if readable else None)
    seen.backups = [backup(), dataclasses.replace(backup("paris"), name="20261126T223000Z", ended_at=1.0)]
    orders: list[Order] = []
    monkeypatch.setattr(cli, "require_root", lambda: None)
    monkeypatch.setattr(cli, "load", lambda *_: config)
    monkeypatch.setattr("pgvip.archive.inventory.take", lambda _config: seen)
    monkeypatch.setattr(restoring, "restore", lambda _config, order, *_: orders.append(order))
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    given = parser.parse_args([str(tmp_path / "new")], argparse.Namespace(config=None, host=None))
    if readable:
        assert cli.run(given) == 0
    else:
        with pytest.raises(RefusedError, match="cannot be read"):
            cli.run(given)
    given.without_peer = True
    assert cli.run(given) == 0
    assert [one.without_peer for one in orders] == ([False, False] if readable else [True])
    assert {one.backup.host for one in orders} == {"paris" if readable else "berlin"}


def test_what_was_begun_is_removed_and_what_was_there_stays(tmp_path: Path) -> None:
    place = Place.of(tmp_path / "new")
    place.data.mkdir()

    def begin() -> None:
        with restoring._removed_on_failure(place):
            (place.data / "base").mkdir()
            (place.data / "file").touch()
            (place.data / "link").symlink_to(tmp_path)
            place.tablespaces.mkdir()
            (place.tablespaces / "1").mkdir()
            raise ArchiveError("no space")

    with pytest.raises(ArchiveError):
        begin()
    assert list(place.data.iterdir()) == []
    assert not place.tablespaces.exists()
    assert tmp_path.exists()


def test_tablespaces_are_copied_and_linked_anew(tmp_path: Path) -> None:
    files, place = tmp_path / "backup", Place.of(tmp_path / "new")
    (files / "data" / "pg_tblspc").mkdir(parents=True)
    (files / "tablespaces" / "16385" / "PG_15").mkdir(parents=True)
    (files / "tablespaces" / "16385" / "PG_15" / "1").write_text("rows")
    (files / "data" / "pg_tblspc" / "16385").symlink_to(files / "tablespaces" / "16385")
    seen: list[tuple[int, int]] = []
    restoring._copy(files, place, restoring._Count(4, lambda *done: seen.append(done)))
    link = place.data / "pg_tblspc" / "16385"
    assert link.readlink() == place.tablespaces / "16385"
    assert (link / "PG_15" / "1").read_text() == "rows"
    assert (files / "data" / "pg_tblspc" / "16385").readlink() == files / "tablespaces" / "16385"
    assert seen[-1] == (4, 4)


# --- maintenance ------------------------------------------------------------------------------------------------------


def test_upkeep_says_a_failure_once_until_it_changes(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, str]] = []
    reasons = ["no space", "no space", "", "no space"]

    def fail(_config: Config) -> None:
        why = reasons.pop(0)
        if why:
            raise ArchiveError(why)

    for name in ("catch_up", "refresh_commands"):
        monkeypatch.setattr(maintenance, name, lambda *_: None)
    monkeypatch.setattr(maintenance, "tell", fail)
    kept = Maintenance(lambda: config, lambda event, text: said.append((event, text)))
    for _ in range(4):
        kept.go_round()
    assert said == [("maintenance-failed", "index: no space")] * 2


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_upkeep_says_what_it_cannot_send(config: Config) -> None:
    """The archive's own copy is broken: nobody else would say so."""
    far = ArchiveDestination("far", config.archive.directory.with_name("far"), required=False)
    archive = dataclasses.replace(config.archive, destinations=(far,))
    postgres = dataclasses.replace(config.postgres, user="root")
    config = dataclasses.replace(config, archive=archive, postgres=postgres)
    config.archive.directory.mkdir(parents=True)
    (config.archive.directory / "000000010000000000000001.gz").write_bytes(b"no gzip at all")
    Memory(config.archive.directory / DIRECTORY).owe("far", "000000010000000000000001")
    with pytest.raises(ArchiveError, match="could not send what is pending") as failed:
        maintenance.catch_up(config)
    assert "which is pending for far" in failed.value.detail


@pytest.mark.parametrize(("clean", "times"), [("auto", 1), ("never", 0)])
def test_upkeep_cleans_only_when_told_and_not_at_once(
    config: Config, monkeypatch: pytest.MonkeyPatch, clean: str, times: int
) -> None:
    config = dataclasses.replace(config, archive=dataclasses.replace(config.archive, clean=clean))
    cleaned: list[int] = []
    for name in ("catch_up", "refresh_commands", "tell"):
        monkeypatch.setattr(maintenance, name, lambda *_: None)
    monkeypatch.setattr(maintenance, "clean", lambda *_: cleaned.append(1))
    now_s = 100.0
    monkeypatch.setattr(maintenance, "now_s", lambda: now_s)
    kept = Maintenance(lambda: config, lambda *_: None)
    kept.go_round()
    assert cleaned == []
    now_s += maintenance.CLEAN_S
    kept.go_round()
    kept.go_round()
    assert len(cleaned) == times
