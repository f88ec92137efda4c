"""Data that left the peer's history on one timeline: no history file tells, only the WAL itself does."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres
from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError
from pgvip.rejoin import follow, plan
from pgvip.system import pgtools
from pgvip.system.commands import check
from pgvip.system.wal_files import segment_name
from tests.lab.actions.servers import caught_up, count, insert, look

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.core.values import WalPoint
    from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


def open_by_hand(config: Config, rows: int, *, stop: str = "fast") -> None:
    """As somebody does who wants to look something up: without the signal file the standby is a primary."""
    signal = config.postgres.data_directory / "standby.signal"
    signal.unlink()
    assert pgtools.pg_ctl(config, "start", "-w", "-s", "-l", postgres.log_file(config)).returncode == 0
    pgtools.psql(config, "SET synchronous_commit = local; CREATE TABLE public.by_hand (n bigint)")
    for number in range(rows - 1):
        pgtools.psql(config, f"SET synchronous_commit = local; INSERT INTO public.by_hand VALUES ({number})")
    assert pgtools.pg_ctl(config, "stop", "-w", "-s", "-m", stop).returncode == 0
    signal.touch(mode=0o600)
    pgtools.give(config, signal)


def go_further(config: Config) -> None:
    """Past the end of a server that was opened by hand, which finishes its WAL file when it is stopped."""
    for number in range(3):
        insert(config, number)
        pgtools.psql(config, "SELECT pg_switch_wal()")
    insert(config)


def saved(config: Config) -> set[Path]:
    return set(config.paths.saved.glob("*"))


def lost(config: Config, before: set[Path]) -> int:
    (one,) = saved(config) - before
    return int(json.loads((one / "lost.json").read_text())["commits"])


def back_in_step(pair: Pair) -> None:
    postgres.start(pair.b, standby=True, sync=False)
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    assert count(pair.b) == count(pair.a)


@pytest.mark.parametrize("later", ["further", "not as far", "on a new timeline"])
def test_standby_that_was_opened_by_hand(streaming: Pair, later: str) -> None:
    before = saved(streaming.b)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    postgres.stop(streaming.b, clean=True)
    open_by_hand(streaming.b, 3)
    if later != "not as far":
        go_further(streaming.a)
    if later == "on a new timeline":
        postgres.stop(streaming.a, clean=True)
        postgres.start(streaming.a, standby=True, sync=False)
        postgres.promote(streaming.a)
    end, there = postgres.end_of_wal(streaming.b), look(streaming.a).point
    assert (end.lsn < there.lsn) is (later != "not as far")
    decided = plan.plan(streaming.b)
    assert (decided.way, decided.commits) == (plan.Way.CLONE, 3)
    said: list[str] = []
    assert follow.rejoin(streaming.b, progress=said.append) == "cloned from a"
    assert lost(streaming.b, before) == 3
    assert any("3 lost transactions" in line for line in said)
    back_in_step(streaming)


def test_primary_whose_directory_was_put_back_to_an_older_copy(streaming: Pair) -> None:
    data = streaming.a.postgres.data_directory
    postgres.stop(streaming.a, clean=True)
    earlier = data.with_name("earlier")
    check(["cp", "-a", data, earlier], timeout_s=60)
    archived = set(streaming.a.archive.directory.iterdir())
    postgres.start(streaming.a, standby=False, sync=False)
    acknowledged = "".join(f"INSERT INTO public.numbers VALUES ({number});" for number in range(120))
    pgtools.psql(streaming.a, acknowledged)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    postgres.stop(streaming.a, clean=True)
    shutil.rmtree(data)
    earlier.rename(data)
    with pytest.raises(PostgresError, match="older than those of b"):
        postgres.start(streaming.a, standby=False, sync=False)
    assert pgtools.control_data(streaming.a).state == "shut down"
    postgres.stop(streaming.b, clean=True)
    for path in set(streaming.a.archive.directory.iterdir()) - archived:
        path.unlink()  # it will be written again, with another content
    postgres.start(streaming.a, standby=False, sync=False)
    pgtools.psql(streaming.a, acknowledged)
    go_further(streaming.a)
    assert look(streaming.a).point.lsn > postgres.end_of_wal(streaming.b).lsn
    before = saved(streaming.b)
    assert plan.plan(streaming.b).commits == 120
    assert follow.rejoin(streaming.b, progress=print) == "cloned from a"
    assert lost(streaming.b, before) == 120
    back_in_step(streaming)


def wal(config: Config, end: WalPoint) -> bytes:
    """The last file's WAL up to a position."""
    file = config.postgres.data_directory / "pg_wal" / segment_name(end.timeline, end.lsn, 1 << 24)
    return file.read_bytes()[: end.lsn % (1 << 24)]


def test_standby_that_streamed_over_its_own_wal(streaming: Pair) -> None:
    """What it wrote itself is overwritten by what it receives since, so that all its WAL is the primary's."""
    pgtools.psql(streaming.a, "SELECT pg_switch_wal()")
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    postgres.stop(streaming.b, clean=True)
    open_by_hand(streaming.b, 3, stop="immediate")
    end = postgres.end_of_wal(streaming.b)
    assert wal(streaming.a, end) != wal(streaming.b, end)
    pgtools.psql(streaming.a, "CREATE TABLE public.further AS SELECT generate_series(1, 10000) AS n")
    pgtools.psql(streaming.a, "DROP TABLE public.further")
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: wal(streaming.a, end) == wal(streaming.b, end), 20, what="end of what it wrote itself")
    said: list[str] = []
    assert follow.rejoin(streaming.b, progress=said.append) == "cloned from a"
    assert any("not made by the WAL" in line for line in said), said
    back_in_step(streaming)
    assert pgtools.psql(streaming.b, "SELECT to_regclass('public.by_hand')").strip() == ""
