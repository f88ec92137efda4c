"""Addresses that were raised and are configured no more, in a real namespace."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import leftovers, vip
from pgvip.core.values import Vip
from pgvip.system import netlink
from tests.unit import configs
from tests.unit.namespaces import inside, ip, pair_of_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config

BOTH = frozenset(Vip)
OLD = ip_interface("10.9.0.100/32")


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    with pair_of_hosts() as (first, _), inside(first):
        made = configs.make(tmp_path)
        made.paths.run.mkdir(exist_ok=True)
        vip.add(made, Vip.PRIMARY)
        assert not leftovers.remember_and_drop(made, frozenset({Vip.PRIMARY}))
        yield made


def moved(config: Config) -> Config:
    """The primary VIP is another one now."""
    return replace(config, vips={**config.vips, Vip.PRIMARY: ip_interface("10.9.0.102/32")})


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
