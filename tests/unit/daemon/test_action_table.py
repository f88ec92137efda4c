"""Each action does what its name says: the record is on the disk, the server is the pair's, the answer comes back.

pg_controldata is a script that prints what PostgreSQL 15's prints; servers are real processes called `postgres`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgvip.core.actions import (
    AddVip,
    AskVeto,
    CheckVip,
    DropVip,
    Fence,
    StartPostgres,
    StopPostgres,
    WriteState,
)
from pgvip.core.values import Durable, Mode, Record, Vip
from pgvip.daemon.action_table import Actions
from pgvip.daemon.action_threads import Outcome
from pgvip.deadlines import wait_until
from pgvip.errors import FenceError, PostgresError
from pgvip.probes import addresses
from pgvip.state.record import RecordStore
from tests.unit import configs
from tests.unit.namespaces import inside, ip, pair_of_hosts
from tests.unit.probes.test_server_processes import Files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.core.actions import Action

DURABLE = Durable(Record("pair", "7999999999999999999", 4, "berlin", Mode.PAIR, sync=True), complete=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = configs.make(tmp_path)
    config.paths.record.parent.mkdir(parents=True)
    return config


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path)
    (files.data / "PG_VERSION").write_text("15\n")
    yield files
    files.end()


def do(config: Config, action: Action) -> Outcome | None:
    actions = Actions(lambda: config, RecordStore(config.paths.record), lambda _event, _text: None, lambda: "not now")
    return actions.functions()[type(action)](action)


def test_a_state_that_was_written_is_what_the_next_daemon_reads(config: Config) -> None:
    do(config, WriteState(DURABLE))
    assert RecordStore(config.paths.record).load() == DURABLE


def test_a_cluster_that_is_not_the_record_s_is_not_started(config: Config, files: Files) -> None:
    files.control("shut down")
    RecordStore(config.paths.record).save(DURABLE)
    with pytest.raises(PostgresError, match="another database cluster") as refused:
        do(config, StartPostgres(standby=True, sync=False))
    assert "the pair's is 7999999999999999999" in refused.value.detail


@pytest.mark.parametrize("clean", [False, True])
def test_only_a_stop_that_may_kill_kills(config: Config, files: Files, clean: bool) -> None:
    """Its answer to SIGINT is what a clean stop waits for."""
    files.control("shut down")
    config = replace(config, postgres=replace(config.postgres, stop_timeout_s=0.5))
    pid = files.start("trap '' INT; sleep 60 & wait; wait")
    files.write_pid_file(pid)
    wait_until(lambda: len(files.pids()) == 2, 5)
    if clean:
        with pytest.raises(PostgresError, match="clean shutdown"):
            do(config, StopPostgres(clean=True))
    else:
        do(config, StopPostgres(clean=False))
    assert len(files.pids()) == (2 if clean else 0)


def test_an_interrupt_ends_the_server_that_a_start_waits_for(config: Config, files: Files) -> None:
    files.start("sleep 60 & wait")
    wait_until(lambda: len(files.pids()) == 2, 5)
    actions = Actions(lambda: config, RecordStore(config.paths.record), lambda _event, _text: None)
    actions.interrupt(StopPostgres(clean=False))
    assert files.pids() == set()


def test_addresses_are_raised_dropped_and_checked(config: Config) -> None:
    with pair_of_hosts() as (first, second), inside(first):
        ip("link", "set", "eth0", "address", "02:00:00:00:00:02", namespace=second)
        config.paths.run.mkdir()
        do(config, AddVip(Vip.STANDBY))
        assert str(config.vips[Vip.STANDBY]) in config.paths.raised.read_text(), "the daemon may end right now"
        assert addresses.held_vips(config) == {Vip.STANDBY}
        do(config, DropVip(Vip.STANDBY))
        assert addresses.held_vips(config) == frozenset()
        assert do(config, CheckVip(Vip.PRIMARY)) == Outcome(text="")
        ip("address", "add", "10.9.0.100/32", "dev", "eth0", namespace=second)
        assert do(config, CheckVip(Vip.PRIMARY)) == Outcome(text="02:00:00:00:00:02")


def test_a_host_without_a_fence_device_is_never_fenced(config: Config) -> None:
    with pytest.raises(FenceError):
        do(replace(config, peer=replace(config.peer, fencing=())), Fence("a-1"))


def test_a_veto_comes_back_in_the_words_of_the_hook(config: Config) -> None:
    assert do(config, AskVeto("a-1")) == Outcome(text="not now")
