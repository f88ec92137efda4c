"""`pair.mode`: what the configuration is where pgvip only observes."""

from __future__ import annotations

import pytest

from pgvip.config.load import parse, problems
from pgvip.config.observing import as_observer, observes
from tests.unit.config_text import edited

OBSERVE = edited(("[pair]", '[pair]\nmode = "observe"'))


def test_a_pair_is_acted_on_unless_it_is_said_otherwise() -> None:
    config = parse(edited(), "db1")
    assert not observes(config)
    assert as_observer(config) is config
    assert config.settings.sync


def test_an_observer_has_nothing_that_works_by_itself() -> None:
    config = parse(OBSERVE, "db1")
    assert observes(config)
    assert not config.settings.sync
    assert not config.settings.witness_id
    assert not config.settings.watchdog_required
    assert config.watchdog.mode == "off"
    assert config.valid_lft_s == 0
    assert not config.postgres.keep_access


def test_hosts_of_different_modes_have_different_files() -> None:
    assert parse(OBSERVE, "db1").settings.digest != parse(edited(), "db1").settings.digest
    assert parse(OBSERVE, "db1").settings.digest == parse(OBSERVE, "db2").settings.digest


@pytest.mark.parametrize("mode", ['"dry-run"', "true"])
def test_another_mode_is_a_mistake(mode: str) -> None:
    [found] = problems(edited(("[pair]", f"[pair]\nmode = {mode}")), "db1")
    assert "pair.mode" in found.message
