"""Addresses for real: two namespaces on a cable, this host in one, the peer in the other."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import vip
from pgvip.core.values import Vip
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import ProbeError, VipError
from pgvip.probes import addresses
from pgvip.system import processes, sessions
from tests.unit import configs
from tests.unit.namespaces import inside, ip, pair_of_hosts
from tests.unit.system.test_sessions import BACKEND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config


@pytest.fixture
def peer() -> Iterator[str]:
    with pair_of_hosts() as (first, second):
        ip("link", "set", "eth0", "address", "02:00:00:00:00:02", namespace=second)
        with inside(first):
            yield second


@pytest.fixture
def config(tmp_path: Path, peer: str) -> Config:
    return configs.make(tmp_path)


def test_an_address_is_added_announced_and_dropped_and_all_can_be_repeated(config: Config, peer: str) -> None:
    stale = ("neighbour", "replace", "10.9.0.100", "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale")
    ip(*stale, namespace=peer)
    for _ in range(2):
        vip.add(config, Vip.PRIMARY)
        assert addresses.held_vips(config) == {Vip.PRIMARY}
    shown = ip("neighbour", "show", "10.9.0.100", namespace=peer)
    assert "02:00:00:00:00:99" not in shown, "the peer learned where it is"
    for _ in range(2):
        assert vip.drop(config, Vip.PRIMARY) == 0
        assert addresses.held_vips(config) == frozenset()


def test_a_lease_is_renewed(config: Config, peer: str) -> None:
    leased = replace(config, valid_lft_s=300)
    vip.add(leased, Vip.PRIMARY)
    assert "valid_lft 300sec" in ip_of_this_host()
    vip.renew(config, Vip.PRIMARY, 400)
    assert "valid_lft 400sec" in ip_of_this_host()


def test_an_address_is_dropped_also_when_nobody_can_tell_whose_sessions_are_on_it(
    config: Config, peer: str, server: int
) -> None:
    config = replace(config, postgres=replace(config.postgres, port=server))
    vip.add(config, Vip.PRIMARY)
    with socket.create_connection(("10.9.0.100", server), timeout=5) as session:
        session.recv(20)
        # Its postmaster.pid cannot be read, and no process stands there.
        bad = config.postgres.data_directory.with_name("dead")
        (bad / "postmaster.pid").mkdir(parents=True)
        vip.drop(replace(config, postgres=replace(config.postgres, data_directory=bad)), Vip.PRIMARY)
    assert addresses.held_vips(config) == frozenset()


def test_what_was_dropped_is_neither_renewed_nor_announced(config: Config, peer: str) -> None:
    """A look at the addresses that began before the drop would bring it back, or point the neighbours here."""
    vip.add(config, Vip.PRIMARY)
    vip.drop(config, Vip.PRIMARY)
    assert not vip.renew(config, Vip.PRIMARY, 400)
    assert not vip.announce(config, Vip.PRIMARY)
    assert addresses.held_vips(config) == frozenset()


def ip_of_this_host() -> str:
    return subprocess.run(["ip", "address", "show", "eth0"], check=True, capture_output=True, text=True).stdout


def test_a_missing_interface_is_an_error_in_every_call(config: Config) -> None:
    lost = replace(config, me=replace(config.me, interface="eth9"))
    with pytest.raises(VipError):
        vip.add(lost, Vip.PRIMARY)
    with pytest.raises((VipError, ProbeError)):
        vip.drop(lost, Vip.PRIMARY)
    with pytest.raises(ProbeError):
        vip.check(lost, Vip.PRIMARY)
    with pytest.raises(ProbeError):
        addresses.held_vips(lost)


def test_somebody_else_who_has_the_address_is_found(config: Config, peer: str) -> None:
    start_s = now_s()
    assert vip.check(config, Vip.PRIMARY) == ""
    assert now_s() - start_s < 1.0
    assert addresses.who_answers(config, Vip.PRIMARY) == ""
    ip("address", "add", "10.9.0.100/32", "dev", "eth0", namespace=peer)
    assert vip.check(config, Vip.PRIMARY) == "02:00:00:00:00:02"
    assert addresses.who_answers(config, Vip.PRIMARY) == "02:00:00:00:00:02"


@pytest.fixture
def server(config: Config, tmp_path: Path) -> Iterator[int]:
    """A listener called postgres in the data directory that forks a process for each session; its port."""
    config.postgres.data_directory.mkdir()
    program = tmp_path / "postgres"
    shutil.copy(Path(sys.executable).resolve(), program)
    words = [str(program), "-S", "-c", BACKEND, "10.9.0.1", "polite"]
    env = os.environ | {"PYTHONHOME": sys.base_prefix}
    with subprocess.Popen(words, cwd=config.postgres.data_directory, env=env, stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        yield int(listener.stdout.readline())
        processes.kill_cluster(config.postgres.data_directory, 5)


def test_sessions_through_an_address_end_before_it_goes(
    config: Config, server: int, peer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vip, "END_SESSIONS_S", 20.0)  # it ends as soon as they have: a busy machine is no failure
    config = replace(config, postgres=replace(config.postgres, port=server))
    vip.add(config, Vip.PRIMARY)
    vip.add(config, Vip.STANDBY)
    ended = threading.Event()
    ready = threading.Barrier(2)

    def client() -> None:
        with inside(peer), socket.create_connection(("10.9.0.101", server), timeout=5) as session:
            session.recv(20)
            ready.wait(5)
            if session.recv(20) == b"":
                ended.set()

    thread = threading.Thread(target=client)
    thread.start()
    with socket.create_connection(("10.9.0.100", server), timeout=5) as other:
        kept = int(other.makefile().readline())
        ready.wait(5)
        start_s = now_s()
        assert vip.drop(config, Vip.STANDBY) == 0
        assert now_s() - start_s < 10.0
        assert ended.wait(2), "the client was told, and does not hang"
        assert sessions.sessions_on("10.9.0.100", server) == [kept]
    thread.join()
    wait_until(lambda: not sessions.sessions_on("10.9.0.101", server), 2)
