"""Points that are refused before anything is copied; restore points are found in WAL as PostgreSQL writes it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

from pgvip.archive import restore_points, targets
from pgvip.archive.backups import Backup, Index
from pgvip.archive.inventory import Picture, Server
from pgvip.archive.listing import Stored, Survey
from pgvip.archive.restore_points import LONG_HEADER, PAGE_BYTES, SHORT_HEADER
from pgvip.archive.restoring import Order, Place
from pgvip.cli import restore as cli
from pgvip.config.model import ArchiveDestination, Config
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import RefusedError
from pgvip.system.wal_files import segment_name
from tests.unit import configs

SEGMENT = 1 << 20  # the smallest that initdb makes
START = WalPoint(1, Lsn(SEGMENT))


def record(name: str) -> bytes:
    """As XLogInsert writes it (xlogrecord.h; xl_restore_point): 98 bytes."""
    header = struct.pack("<IIQBBHI", 98, 0, 0, 0x70, 0, 0, 0x12345678)
    return header + b"\xff\x48" + struct.pack("<q", 1) + name.encode().ljust(64, b"\0")


def stream(content: bytes, start: int, records: dict[int, bytes]) -> bytes:
    """WAL with records at offsets of the stream that has no page headers."""
    made = bytearray(content)
    for at, data in records.items():
        made[at - start : at - start + len(data)] = data
    return bytes(made)


PAYLOAD = (SEGMENT // PAGE_BYTES) * (PAGE_BYTES - SHORT_HEADER) - (LONG_HEADER - SHORT_HEADER)
"""Of a segment, without its page headers."""


def write(directory: Path, payload: bytes, first: int = 1) -> list[str]:
    """Cut the stream into segments with page headers."""
    directory.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(len(payload) // PAYLOAD):
        rest, pages = payload[number * PAYLOAD : (number + 1) * PAYLOAD], []
        for page in range(SEGMENT // PAGE_BYTES):
            room = PAGE_BYTES - (SHORT_HEADER if page else LONG_HEADER)
            pages.append(b"\x07" * (PAGE_BYTES - room) + rest[:room])
            rest = rest[room:]
        name = segment_name(1, (first + number) * SEGMENT, SEGMENT)
        (directory / name).write_bytes(b"".join(pages))
        names.append(name)
    return names


def survey(directory: Path) -> Survey:
    found = Survey()
    for path in sorted(directory.iterdir()):
        name = path.name.partition(".")[0]
        found.files.append(Stored(name, path.name, path.stat().st_size, path.stat().st_mtime))
    return found


def picture(own: Survey, peer: Survey | None = None) -> Picture:
    index = Index("paris", 0.0, Path("/srv"), "backups", (), START)
    return Picture(0.0, SEGMENT, own, peer, "", index, index, [], Server(), "paris")


def order(to: str, timeline: str = "latest") -> Order:
    backup = Backup("20261125T223000Z", "berlin", "good", START, START, size_bytes=10, version=15)
    return Order(backup, Path("/b"), targets.parse(to), Place.of(Path("/srv/new")), 5433, "pause", timeline)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configs.make(tmp_path)


def test_records_over_the_end_of_a_page_and_of_a_segment_are_found(config: Config) -> None:
    page = PAGE_BYTES - LONG_HEADER
    records = {100: record("inside"), page - 50: record("two-pages"), PAYLOAD - 40: record("two segments")}
    write(config.archive.directory, stream(bytes(2 * PAYLOAD), 0, records))
    seen = picture(survey(config.archive.directory))
    found = restore_points.search(config, seen, START.lsn, "none")
    assert set(found.names) == {"inside", "two-pages", "two segments"}
    assert found.unread == ()
    assert set(restore_points.search(config, seen, Lsn(3 * SEGMENT), "none").names) == set()


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_packed_segments_and_those_of_the_other_host_count(config: Config, packer: str) -> None:
    (name,) = write(config.archive.peer_mount, stream(bytes(PAYLOAD), 0, {5000: record("before-upgrade")}))
    subprocess.run([packer, "-q", "--rm" if packer == "zstd" else "-f", config.archive.peer_mount / name], check=True)
    seen = picture(Survey(), survey(config.archive.peer_mount))
    assert list(restore_points.search(config, seen, START.lsn, "before-upgrade").names) == ["before-upgrade"]


def refused(config: Config, one: Order, seen: Picture) -> RefusedError:
    refuse = cli._refuse_unknown_name if one.target.kind == "name" else cli._refuse_beyond
    with pytest.raises(RefusedError) as caught:
        refuse(config, one, seen)
    return caught.value


def test_a_name_that_no_wal_has_is_refused_with_those_that_it_has(config: Config) -> None:
    write(config.archive.directory, stream(bytes(PAYLOAD), 0, {5000: record("before-upgrade")}))
    seen = picture(survey(config.archive.directory))
    found = refused(config, order("yesterday"), seen)
    assert found.message.startswith('"yesterday" is neither a time nor an LSN')
    assert "before-upgrade (2000-01-01 00:00:00+00:00)" in found.detail
    assert "Write a time as" in found.hint
    cli._refuse_unknown_name(config, order("before-upgrade"), seen)


def test_a_name_is_let_be_where_not_all_wal_can_be_searched(config: Config, tmp_path: Path) -> None:
    (name,) = write(config.archive.directory, bytes(PAYLOAD))
    seen = picture(survey(config.archive.directory))
    elsewhere = ArchiveDestination("far", tmp_path / "far")
    further = dataclasses.replace(config, archive=dataclasses.replace(config.archive, destinations=(elsewhere,)))
    cli._refuse_unknown_name(further, order("yesterday"), seen)
    (config.archive.directory / name).unlink()
    cli._refuse_unknown_name(config, order("yesterday"), seen)


def test_a_time_beyond_what_is_archived_is_refused(config: Config) -> None:
    (name,) = write(config.archive.directory, bytes(PAYLOAD))
    os.utime(config.archive.directory / name, (1_000_000_000, 1_000_000_000))
    seen = picture(survey(config.archive.directory))
    found = refused(config, order("2001-09-09T01:46:41Z"), seen)
    assert "WAL is archived without a gap up to 2001-09-09 01:46:40+00:00 only" in found.message
    assert "pg_switch_wal" in found.hint
    cli._refuse_beyond(config, order("2001-09-09T01:46:39Z"), seen)
    cli._refuse_beyond(config, order("2001-09-09T01:46:41Z", timeline="1"), seen)


def test_a_time_in_the_future_is_refused_before_anything_is_read(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "require_root", lambda: None)
    monkeypatch.setattr(cli, "load", lambda *_: config)
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    place = tmp_path / "new"
    given = parser.parse_args(["--to", later, str(place)], argparse.Namespace(config=None, host=None))
    with pytest.raises(RefusedError, match="is in the future"):
        cli.run(given)
    assert not place.exists()


@pytest.mark.parametrize("sudo", [True, False])
def test_the_start_line_works_as_it_is_printed(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sudo: bool
) -> None:
    """Its log lies where PostgreSQL's user may write, and without sudo it is root's runuser."""
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/sudo" if sudo else None)
    args = argparse.Namespace(json=False, dry_run=False, backup="")
    seen = picture(Survey())
    cli._report(args, config, order("latest"), seen)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("Start it:")]
    become = "sudo -u nobody" if sudo else "runuser -u nobody --"
    pg_ctl = config.postgres.bin_directory / "pg_ctl"
    told = f"cd / && {become} {pg_ctl} -D /srv/new -l /srv/new/pgvip-restore.log start"
    assert line == f"Start it:  {told}"
