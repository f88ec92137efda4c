"""Before pgvip acts on a pair that it has observed: it must have a record, and that must name who serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.config.model import Config
from pgvip.core.values import BootFacts, Durable, Mode
from pgvip.errors import RecordError
from pgvip.setup.observe_setup import begin_to_act, check_record, has_only_observed, keeps_bundle
from pgvip.state.last_observed import Observed, forget_observed, load_observed, save_observed
from pgvip.state.record import load_boot_facts, save_boot_facts
from pgvip.system import processes
from pgvip.system.processes import ProcessRef
from tests.unit import configs
from tests.unit.core_world import record


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = configs.make(tmp_path)
    made.paths.state.mkdir(parents=True, exist_ok=True)
    made.paths.boot_facts.parent.mkdir(parents=True, exist_ok=True)
    return made


KNOWN = Durable(record("a", Mode.PAIR))


def test_a_pair_that_was_never_observed_starts_as_ever(config: Config) -> None:
    check_record(config, None)
    check_record(config, KNOWN)
    assert not has_only_observed(config, Durable())


def test_without_a_record_it_would_stop_the_server(config: Config) -> None:
    save_observed(config.paths.state, Observed("a"))
    assert has_only_observed(config, Durable())
    for durable in (None, Durable()):
        with pytest.raises(RecordError, match="only observed this pair so far") as caught:
            check_record(config, durable)
        assert "pgvip init" in caught.value.hint


def test_a_bundle_that_was_made_to_observe_is_made_anew(config: Config) -> None:
    """Also when the record, which `init` writes before the bundle, is there in the meantime."""
    path = config.paths.state / "bundle"
    assert not keeps_bundle(config, Durable(), path)()
    path.touch()
    assert keeps_bundle(config, Durable(), path)()
    save_observed(config.paths.state, Observed("a"))
    kept = keeps_bundle(config, Durable(), path)
    forget_observed(config.paths.state)
    assert not kept()
    assert keeps_bundle(config, KNOWN, path)()


def test_a_role_that_was_moved_meanwhile_is_not_taken_back(config: Config) -> None:
    save_observed(config.paths.state, Observed("b", "2026-01-01T00:00:00Z"))
    with pytest.raises(RecordError, match="b is primary now, and this host's record"):
        check_record(config, KNOWN)
    save_observed(config.paths.state, Observed("a"))
    check_record(config, KNOWN)
    check_record(config, replace(KNOWN, served=True))


def test_what_was_observed_is_kept_until_this_host_acts(config: Config) -> None:
    assert load_observed(config.paths.state) is None
    save_observed(config.paths.state, Observed("a", "now"))
    assert load_observed(config.paths.state) == Observed("a", "now")
    forget_observed(config.paths.state)
    forget_observed(config.paths.state)
    assert load_observed(config.paths.state) is None


def test_what_cannot_be_read_is_an_error(config: Config) -> None:
    (config.paths.state / "observed.json").write_text("{")
    with pytest.raises(RecordError, match="could not read"):
        load_observed(config.paths.state)


def test_a_server_that_is_no_primary_now_is_not_started_by_what_was_known_before(config: Config) -> None:
    """Another tool moved the role while no daemon looked: the old record says that this host may serve."""
    facts, data = BootFacts(confirmed=True, confirmed_term=4, met=True), config.postgres.data_directory
    data.mkdir()
    (data / "standby.signal").touch()
    save_boot_facts(config.paths.boot_facts, "boot", facts)
    begin_to_act(config)
    assert load_boot_facts(config.paths.boot_facts, "boot") == facts, "it has not observed"
    save_observed(config.paths.state, Observed("a"))
    check_record(config, KNOWN)
    begin_to_act(config)
    assert load_boot_facts(config.paths.boot_facts, "boot") == BootFacts()
    assert load_observed(config.paths.state) is None


@pytest.mark.parametrize("standby", [False, True])
def test_a_server_that_serves_is_not_stopped_for_that(
    config: Config, standby: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "postmaster", lambda _data: ProcessRef(1, "1"))
    config.postgres.data_directory.mkdir()
    if standby:
        (config.postgres.data_directory / "standby.signal").touch()
    facts = BootFacts(confirmed=True, confirmed_term=4)
    save_boot_facts(config.paths.boot_facts, "boot", facts)
    save_observed(config.paths.state, Observed("a"))
    begin_to_act(config)
    assert (load_boot_facts(config.paths.boot_facts, "boot") == facts) is not standby
