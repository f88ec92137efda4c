"""Finished WAL that a primary had not archived when it ended: its return does not leave a hole in the archive."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres
from pgvip.deadlines import wait_until
from pgvip.rejoin import follow
from pgvip.system import pgtools
from tests.lab.actions.servers import caught_up, count, insert, look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgvip.config.model import Config
    from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


@contextmanager
def no_archive(config: Config) -> Iterator[None]:
    """Its directory is not there, as with a disk or a mount that is gone."""
    away = config.archive.directory.rename(config.archive.directory.with_name("away"))
    try:
        yield
    finally:
        away.rename(config.archive.directory)


def finished_files(pair: Pair) -> list[str]:
    """Two WAL files that the primary finishes now, and that the standby has received."""
    names = []
    for _ in range(2):
        insert(pair.a)
        names.append(pgtools.psql(pair.a, "SELECT pg_walfile_name(pg_switch_wal())").strip())
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    return names


def status(config: Config) -> Path:
    return config.postgres.data_directory / "pg_wal" / "archive_status"


@pytest.mark.parametrize("way", ["nothing", "rewound", "cloned"])
def test_what_waits_is_archived_by_the_return(streaming: Pair, way: str) -> None:
    with no_archive(streaming.a):
        names = finished_files(streaming)
        if way == "rewound":
            postgres.stop(streaming.b, clean=True)
            insert(streaming.a)
        postgres.stop(streaming.a, clean=False)
        assert {f"{name}.ready" for name in names} <= {path.name for path in status(streaming.a).iterdir()}
        postgres.start(streaming.b, standby=True, sync=False)
        postgres.promote(streaming.b)
    assert follow.rejoin(streaming.a, clone=way == "cloned", progress=print).startswith(way)
    here = {path.name for path in streaming.a.archive.directory.iterdir()}
    assert set(names) <= here
    postgres.start(streaming.a, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")
    assert count(streaming.a) == count(streaming.b)


def test_what_cannot_be_archived_is_saved_once(streaming: Pair) -> None:
    with no_archive(streaming.a):
        names = finished_files(streaming)
        end = look(streaming.a).point
        postgres.stop(streaming.a, clean=False)
        assert look(streaming.b).point >= end
        postgres.promote(streaming.b)
        said: list[str] = []
        for _ in range(2):
            assert follow.rejoin(streaming.a, progress=said.append) == "nothing had diverged"
    (kept,) = streaming.a.paths.saved.glob("*-unarchived")
    assert set(names) <= {path.name for path in kept.iterdir()}
    assert any("could not be archived, kept in" in text for text in said)
    # A power loss may take a mark: the server does not sync it.
    (status(streaming.a) / f"{names[0]}.ready").unlink()
    assert follow.rejoin(streaming.a, progress=print) == "nothing had diverged"
    assert set(names) <= {path.name for path in streaming.a.archive.directory.iterdir()}
    assert f"{names[1]}.done" in {path.name for path in status(streaming.a).iterdir()}
