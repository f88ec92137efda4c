"""What a restart of the daemon must not lose."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgvip.core.decide import begin, boot_facts
from pgvip.core.rights import eligible
from pgvip.core.values import BootFacts
from pgvip.daemon.kept_facts import KeptFacts
from tests.unit.core_world import standby
from tests.unit.descriptors import none_left

if TYPE_CHECKING:
    from pathlib import Path


@contextmanager
def no_more_bytes() -> Iterator[None]:
    """Every write(2) to a file fails, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_facts_that_cannot_be_kept_are_forgotten_told_once_and_kept_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = KeptFacts(tmp_path / "boot.json", "boot-1")
    assert kept.keep(BootFacts(confirmed=True))
    with no_more_bytes():
        assert not kept.keep(BootFacts())
        assert "facts-failed: could not write" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
        assert not kept.keep(BootFacts())
    assert capsys.readouterr().err == ""
    assert kept.keep(BootFacts(met=True))
    assert KeptFacts(tmp_path / "boot.json", "boot-1").load() == BootFacts(met=True)
    assert KeptFacts(tmp_path / "boot.json", "boot-2").load() == BootFacts()


def test_facts_are_kept_when_no_descriptor_is_left(tmp_path: Path) -> None:
    kept = KeptFacts(tmp_path / "boot.json", "boot-1")
    with none_left(set_aside=20):
        assert kept.keep(BootFacts(confirmed=True))
    assert kept.load().confirmed


def test_what_the_peer_granted_before_pgvip_only_observed_is_no_right_afterwards(tmp_path: Path) -> None:
    """Meanwhile another tool may have had commits not wait for this standby, or moved its address."""
    kept = KeptFacts(tmp_path / "boot.json", "boot-1")
    kept.revoke()
    assert kept.load() == BootFacts()
    granted = standby().k
    assert kept.keep(replace(boot_facts(granted), free_term=4, offset_s=12.0))
    assert eligible(replace(standby(), k=begin(granted.who, granted.durable, kept.load())).facts)
    kept.revoke()
    assert kept.load() == BootFacts(confirmed=True, confirmed_term=4, met=True, offset_s=12.0)
    again = begin(granted.who, granted.durable, kept.load())
    assert again.confirmed
    assert not eligible(replace(standby(), k=again).facts)
