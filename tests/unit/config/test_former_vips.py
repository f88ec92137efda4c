"""Which former addresses of the VIPs are served, until when, and what a restart makes of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from typing import TYPE_CHECKING

import pytest

from pgvip.config import former_vips
from pgvip.config.former_vips import COUNTED_S
from pgvip.core.values import Vip
from tests.unit import configs

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config, Interface

AT_S = 1000.0
OLD, NEW, NEWER = (ip_interface(f"10.9.0.{number}/32") for number in (100, 102, 103))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configs.make(tmp_path, overlap_s=60.0)


def with_primary(config: Config, address: Interface) -> Config:
    return replace(config, vips={**config.vips, Vip.PRIMARY: address})


def addresses(config: Config, at_s: float, vip: Vip = Vip.PRIMARY) -> list[object]:
    return [place.address for place in former_vips.served(config, vip, at_s)]


def test_the_former_address_is_served_until_the_overlap_is_over(config: Config) -> None:
    now = former_vips.after(config, with_primary(config, NEW), AT_S)
    assert addresses(now, AT_S) == [NEW, OLD]
    assert addresses(now, AT_S + 59.9) == [NEW, OLD]
    assert addresses(now, AT_S + 60) == [NEW]
    assert addresses(now, AT_S, Vip.STANDBY) == [config.vips[Vip.STANDBY]]
    assert [place.address for place in former_vips.counted(now, Vip.PRIMARY, AT_S + 61)] == [OLD]
    assert former_vips.counted(now, Vip.PRIMARY, AT_S + 60 + COUNTED_S) == []


def test_a_second_change_keeps_both_and_one_that_is_taken_back_none(config: Config) -> None:
    now = former_vips.after(config, with_primary(config, NEW), AT_S)
    twice = former_vips.after(now, with_primary(config, NEWER), AT_S + 10)
    assert addresses(twice, AT_S + 20) == [NEWER, OLD, NEW]
    assert addresses(twice, AT_S + 65) == [NEWER, NEW]
    back = former_vips.after(now, config, AT_S + 10)
    assert addresses(back, AT_S + 20) == [OLD, NEW]


def test_a_shorter_overlap_ends_what_is_under_way(config: Config) -> None:
    now = former_vips.after(config, with_primary(config, NEW), AT_S)
    ended = former_vips.after(now, replace(with_primary(config, NEW), overlap_s=0.0), AT_S + 1)
    assert addresses(ended, AT_S + 1) == [NEW]
    assert [place.address for place in former_vips.counted(ended, Vip.PRIMARY, AT_S + 1)] == [OLD]


def test_another_interface_ends_the_former_place_at_once(config: Config) -> None:
    moved = replace(config, me=replace(config.me, interface="bond0"))
    now = former_vips.after(config, moved, AT_S)
    assert [place.interface for place in former_vips.served(now, Vip.PRIMARY, AT_S)] == ["bond0"]
    assert [place.interface for place in former_vips.counted(now, Vip.PRIMARY, AT_S)] == ["eth0"]


def test_the_own_address_of_a_host_is_never_a_former_vip(config: Config) -> None:
    taken = with_primary(replace(config, peer=replace(config.peer, address="10.9.0.100")), NEW)
    assert former_vips.after(config, taken, AT_S).former_vips == ()


def test_an_address_of_the_other_role_is_refused_until_it_is_free(config: Config) -> None:
    swapped = replace(config, vips={Vip.PRIMARY: config.vips[Vip.STANDBY], Vip.STANDBY: NEW})
    assert "addresses.primary = 10.9.0.101 is still served as the standby VIP" in former_vips.clash(
        config, swapped, AT_S
    )
    now = former_vips.after(config, with_primary(config, NEW), AT_S)
    reused = replace(now, vips={Vip.PRIMARY: NEW, Vip.STANDBY: OLD})
    assert former_vips.clash(now, reused, AT_S + 1)
    assert not former_vips.clash(now, reused, AT_S + 61)
    assert not former_vips.clash(config, with_primary(config, NEW), AT_S)


def test_a_restart_goes_on_where_a_reload_did_and_sees_what_was_changed_meanwhile(config: Config) -> None:
    config.paths.run.mkdir(exist_ok=True)
    file = with_primary(config, NEW)
    assert former_vips.at_start(file, AT_S) == file, "nothing is known after a boot"
    now = former_vips.after(config, file, AT_S)
    former_vips.keep(now)
    assert former_vips.at_start(file, AT_S + 30) == now
    former_vips.keep(config)
    assert addresses(former_vips.at_start(file, AT_S + 5), AT_S + 5) == [NEW, OLD]
    config.paths.vips.write_text("{")
    assert former_vips.at_start(file, AT_S) == file
