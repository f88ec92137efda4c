"""Real interfaces of two hosts on a cable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import vip
from pgvip.core.values import Vip
from pgvip.daemon import background
from pgvip.errors import ProbeError
from pgvip.probes import addresses
from tests.unit import configs
from tests.unit.namespaces import inside, ip, pair_of_hosts

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


def test_both_addresses_are_told_apart(config: Config, peer: str) -> None:
    vip.add(config, Vip.STANDBY)
    assert addresses.held_vips(config) == {Vip.STANDBY}
    vip.add(config, Vip.PRIMARY)
    assert addresses.held_vips(config) == {Vip.STANDBY, Vip.PRIMARY}


def test_the_address_of_somebody_else_is_not_held(config: Config, peer: str) -> None:
    ip("address", "add", "10.9.0.100/32", "dev", "eth0", namespace=peer)
    assert addresses.held_vips(config) == frozenset()
    assert addresses.who_answers(config, Vip.PRIMARY) == "02:00:00:00:00:02"
    assert addresses.who_answers(config, Vip.STANDBY) == ""


def test_this_host_is_not_somebody_else(config: Config, peer: str) -> None:
    vip.add(config, Vip.PRIMARY)
    assert addresses.who_answers(config, Vip.PRIMARY) == ""


def test_what_cannot_be_asked_is_an_error_and_not_nobody(config: Config, peer: str) -> None:
    lost = replace(config, me=replace(config.me, interface="eth9"))
    with pytest.raises(ProbeError):
        addresses.held_vips(lost)
    with pytest.raises(ProbeError):
        addresses.who_answers(lost, Vip.PRIMARY)


def test_a_vip_on_another_interface_is_found(config: Config, peer: str) -> None:
    assert addresses.elsewhere(config) == []
    vip.add(config, Vip.PRIMARY)
    assert addresses.elsewhere(config) == []
    ip("link", "set", "lo", "up")
    ip("address", "add", "10.9.0.100/32", "dev", "lo")
    assert addresses.elsewhere(config) == [(Vip.PRIMARY, "lo")]
    (warning,) = background.elsewhere(config)
    assert (warning.name, warning.text) == ("vip-elsewhere", "this host carries the primary VIP on lo too")
