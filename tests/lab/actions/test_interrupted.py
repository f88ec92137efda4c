"""Rewinds and clones that were cut short: nothing is lost, and the next one ends them."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from pathlib import Path

import pytest

from pgvip.actions import postgres, prepare
from pgvip.errors import PgvipError, PostgresError, RejoinError
from pgvip.rejoin import copy as cloning
from pgvip.rejoin import follow
from pgvip.system.commands import check
from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


def test_interrupted_rewind_leads_to_a_clone(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    prepare.mark_unusable(streaming.b, "rewind")
    assert not (streaming.b.postgres.data_directory / "standby.signal").exists()
    with pytest.raises(PostgresError, match="not whole"):
        postgres.start(streaming.b, standby=True, sync=False)
    never = dataclasses.replace(streaming.b, rejoin=dataclasses.replace(streaming.b.rejoin, clone="never"))
    with pytest.raises(RejoinError, match="not allowed"):
        follow.rejoin(never, progress=print)
    assert follow.rejoin(streaming.b, progress=print) == "cloned from a"
    postgres.start(streaming.b, standby=True, sync=False)


@pytest.mark.parametrize("renamed", [False, True])
def test_clone_that_was_interrupted_while_renaming_is_finished(streaming: Pair, renamed: bool) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data.with_name("data.pgvip-replaced"), ignore_errors=True)
    check(["cp", "-a", data, data.with_name("data.pgvip-new")], timeout_s=60)
    prepare.mark_unusable(streaming.b, cloning.SWAP)
    if renamed:
        data.rename(data.with_name("data.pgvip-replaced"))
    else:
        (data / "old").touch()
    follow.rejoin(streaming.b, progress=print)
    assert (data / "standby.signal").exists()
    assert not (data / "old").exists()
    assert not data.with_name("data.pgvip-new").exists()


def test_clone_that_could_not_be_put_in_place_is_remembered(streaming: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the data directory then is not started: nobody could tell old data from a part of the new."""
    postgres.stop(streaming.b, clean=True)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "data.pgvip-new":
            raise OSError(errno.EIO, "the disk does not want to")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(OSError, match="does not want to"):
            cloning.clone(streaming.b, print)
    with pytest.raises(PostgresError, match="not whole") as refused:
        postgres.start(streaming.b, standby=True, sync=False)
    assert cloning.SWAP in refused.value.detail
    assert cloning.finish_swap(streaming.b)
    postgres.start(streaming.b, standby=True, sync=False)


def test_renaming_that_fails_leaves_the_old_data_in_its_place(streaming: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data.with_name("data.pgvip-replaced"), ignore_errors=True)
    check(["cp", "-a", data, data.with_name("data.pgvip-new")], timeout_s=60)
    (data / "old").touch()
    prepare.mark_unusable(streaming.b, cloning.SWAP)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "data.pgvip-new":
            raise OSError(errno.EIO, "the disk does not want to")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(OSError, match="does not want to"):
            cloning.finish_swap(streaming.b)
    assert (data / "old").exists()
    assert cloning.finish_swap(streaming.b)
    assert not (data / "old").exists()
    assert (data.with_name("data.pgvip-replaced") / "old").exists()
    postgres.start(streaming.b, standby=True, sync=False)


def test_finished_copy_is_not_thrown_away_by_the_next_clone(streaming: Pair) -> None:
    """Between the two renames it is all there is: were the next copy to fail, nothing would be left."""
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data.with_name("data.pgvip-replaced"), ignore_errors=True)
    check(["cp", "-a", data, data.with_name("data.pgvip-new")], timeout_s=60)
    (data / "old").touch()
    prepare.mark_unusable(streaming.b, cloning.SWAP)
    data.rename(data.with_name("data.pgvip-replaced"))
    broken = dataclasses.replace(streaming.b.postgres, bin_directory=Path("/nowhere"))
    with pytest.raises(PgvipError):
        cloning.clone(dataclasses.replace(streaming.b, postgres=broken), print)
    assert (data / "PG_VERSION").exists()
