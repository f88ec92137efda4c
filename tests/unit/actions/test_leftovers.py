"""Addresses that were raised and are configured no more, in a real namespace."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import leftovers, vip
from pgvip.config import former_vips
from pgvip.core.values import Vip
from pgvip.deadlines import now_s
from pgvip.probes import addresses
from pgvip.system import netlink
from tests.unit import configs
from tests.unit.namespaces import inside, ip, pair_of_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config

BOTH = frozenset(Vip)
OLD = ip_interface("10.9.0.100/32")
NEW = ip_interface("10.9.0.102/32")


@pytest.fixture
def peer() -> Iterator[str]:
    with pair_of_hosts() as (first, second), inside(first):
        yield second


@pytest.fixture
def config(tmp_path: Path, peer: str) -> Config:
    made = configs.make(tmp_path)
    made.paths.run.mkdir(exist_ok=True)
    vip.add(made, Vip.PRIMARY)
    assert not leftovers.remember_and_drop(made, frozenset({Vip.PRIMARY}))
    return made


def moved(config: Config) -> Config:
    """The primary VIP is another one now."""
    return replace(config, vips={**config.vips, Vip.PRIMARY: NEW})


def test_what_is_configured_stays(config: Config) -> None:
    assert not leftovers.remember_and_drop(config, frozenset())
    assert netlink.carries("eth0", OLD)


def test_an_address_that_is_configured_no_more_is_dropped_once(config: Config) -> None:
    now = moved(config)
    assert leftovers.remember_and_drop(now, frozenset())
    assert not netlink.carries("eth0", OLD)
    ip("address", "add", "10.9.0.100/32", "dev", "eth0")
    assert not leftovers.remember_and_drop(now, frozenset()), "this one is somebody else's"
    assert netlink.carries("eth0", OLD)


def test_the_address_of_an_administrator_stays(config: Config) -> None:
    vip.drop(config, Vip.PRIMARY)
    ip("address", "add", "10.9.0.100/24", "dev", "eth0")
    assert not leftovers.remember_and_drop(moved(config), frozenset())
    assert netlink.carries("eth0", ip_interface("10.9.0.100/24"))


@pytest.mark.parametrize("text", ["", "{", '{"raised": [{"interface": "eth0", "address": "x"}]}'])
def test_a_damaged_memory_is_written_afresh(config: Config, text: str) -> None:
    config.paths.raised.write_text(text)
    leftovers.remember_and_drop(config, frozenset({Vip.PRIMARY}))
    assert leftovers.remember_and_drop(moved(config), frozenset())
    assert not netlink.carries("eth0", OLD)


def test_an_interface_that_is_gone_is_no_failure(config: Config) -> None:
    ip("link", "set", "eth0", "down")
    ip("link", "set", "eth0", "name", "eth7")
    assert not leftovers.remember_and_drop(moved(config), frozenset())


def test_a_former_address_is_raised_served_and_dropped_with_its_vip(config: Config) -> None:
    now = former_vips.after(config, moved(config), now_s())
    assert addresses.held_vips(now) == {Vip.PRIMARY}, "by the former one: whoever gives the VIP up drops it"
    assert vip.complete(now, Vip.PRIMARY, 0) == ["10.9.0.102 on eth0"]
    assert vip.complete(now, Vip.PRIMARY, 0) == [], "done already"
    assert not leftovers.remember_and_drop(now, BOTH)
    assert netlink.held("eth0") >= {OLD.ip, NEW.ip}
    assert vip.drop(now, Vip.PRIMARY) == 0
    assert not netlink.held("eth0") & {OLD.ip, NEW.ip}
    assert vip.complete(now, Vip.PRIMARY, 0) == [], "nothing is raised without the right, which the loop has seen"


def test_whoever_gets_the_vip_during_the_overlap_serves_the_former_address_too(config: Config) -> None:
    now = former_vips.after(config, moved(config), now_s())
    vip.drop(now, Vip.PRIMARY)
    vip.add(now, Vip.PRIMARY)
    assert OLD.ip not in netlink.held("eth0")
    leftovers.remember(now, Vip.PRIMARY)
    assert vip.complete(now, Vip.PRIMARY, 0) == ["10.9.0.100 on eth0"]
    assert not leftovers.remember_and_drop(now, BOTH)
    over = replace(now, former_vips=tuple(replace(one, until_s=now_s() - 1) for one in now.former_vips))
    assert vip.complete(over, Vip.PRIMARY, 0) == []
    assert leftovers.remember_and_drop(over, BOTH)
    assert OLD.ip not in netlink.held("eth0")
    assert addresses.held_vips(over) == {Vip.PRIMARY}


def test_an_address_that_another_host_answers_for_is_left_alone(config: Config, peer: str) -> None:
    ip("address", "add", "10.9.0.102/32", "dev", "eth0", namespace=peer)
    now = former_vips.after(config, moved(config), now_s())
    assert vip.complete(now, Vip.PRIMARY, 0) == []
    assert netlink.held("eth0") >= {OLD.ip}


def test_the_vips_move_with_the_interface(config: Config) -> None:
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
    ip("link", "set", "eth1", "up")
    now = replace(config, me=replace(config.me, interface="eth1"))
    now = former_vips.after(config, now, now_s())
    assert addresses.held_vips(now) == {Vip.PRIMARY}, "it is not the other host's yet"
    assert vip.complete(now, Vip.PRIMARY, 0) == [], "first it leaves the former interface"
    assert leftovers.remember_and_drop(now, frozenset())
    assert addresses.held_vips(now) == frozenset()
    vip.add(now, Vip.PRIMARY)
    assert netlink.carries("eth1", OLD)
    assert not netlink.carries("eth0", OLD)
