"""`pair.mode = "observe"`: of what the loop starts nothing reaches the world but looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, get_type_hints

import pytest

from pgvip.config.model import Config
from pgvip.config.observing import as_observer
from pgvip.core.actions import KINDS, Action, AddVip, CheckVip, Fence, FindEnd, Promote, Result, VipAction, WriteState
from pgvip.core.settings import Note
from pgvip.core.values import BootFacts, Durable, Vip
from pgvip.daemon import probe_table
from pgvip.daemon.loop import Outside
from pgvip.daemon.observer import NOT_DONE, Observer
from pgvip.events import event_log
from pgvip.events.event_table import Event
from pgvip.state.last_observed import load_observed
from pgvip.status.snapshot import LoopStats, Newest, Snapshot
from tests.unit import configs
from tests.unit.core_world import primary

SAMPLES: dict[type, object] = {bool: False, int: 1, str: "x", Durable: Durable(), Vip: Vip.PRIMARY}


def sample(kind: type[Action]) -> Action:
    """Some action of a kind."""
    hints = get_type_hints(kind)
    words: dict[str, Any] = {
        field.name: SAMPLES.get(hints[field.name]) for field in dataclasses.fields(kind) if field.init
    }
    return kind(**words)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return as_observer(replace(configs.make(tmp_path), mode="observe"))


@pytest.fixture
def events() -> Iterator[list[Event]]:
    heard: list[Event] = []
    event_log.listen(heard.append)
    yield heard
    event_log.unlisten(heard.append)


class World:
    """The outside of a loop, which counts what is done in it."""

    def __init__(self, config: Config) -> None:
        self.started: list[Action] = []
        self.kept: list[BootFacts] = []
        self.notes: list[Note] = []
        self.inbox: SimpleQueue[object] = SimpleQueue()
        self.observer = Observer(lambda: config, self.inbox)
        nothing: Callable[..., Any] = lambda *_: None  # noqa: E731 - a part that is not looked at
        acting = Outside(
            start=self.started.append, wake=nothing, send=nothing, keep=self._keep, log=nothing, alive=nothing,
            reload=nothing, note=self.notes.append, ended=nothing,
        )  # fmt: skip
        self.outside = self.observer.instead_of(acting)

    def _keep(self, facts: BootFacts) -> bool:
        self.kept.append(facts)
        return True

    def result(self, action: Action) -> Result:
        self.outside.start(action)
        result = self.inbox.get_nowait()
        assert isinstance(result, Result)
        return result


@pytest.mark.parametrize("kind", KINDS)
def test_no_action_but_a_look_is_carried_out(config: Config, kind: type[Action]) -> None:
    world, action = World(config), sample(kind)
    world.outside.start(action)
    if kind in (CheckVip, FindEnd):
        assert world.started == [action]
        return
    assert world.started == []
    result = world.inbox.get_nowait()
    assert isinstance(result, Result)
    assert result.action == action


def test_an_effect_that_is_observed_is_said_to_be_lacking_and_any_other_to_be_there(config: Config) -> None:
    world = World(config)
    assert world.result(Fence("1")).ok
    assert world.result(WriteState(Durable())).ok
    assert world.result(Promote()).text == NOT_DONE


def test_a_wish_is_reported_and_counted_once_however_often_it_is_tried(config: Config, events: list[Event]) -> None:
    world = World(config)
    for _ in range(3):
        world.outside.start(AddVip(Vip.PRIMARY))
    world.outside.start(AddVip(Vip.STANDBY))
    assert [one.text for one in events if one.event == "would"] == [
        "would raise the primary VIP", "would raise the standby VIP",
    ]  # fmt: skip
    document = world.observer.document()
    assert document["counts"] == {"AddVip": 2}
    assert [one["text"] for one in document["would"]] == ["raise the primary VIP", "raise the standby VIP"]


def test_what_is_routine_is_not_reported(config: Config, events: list[Event]) -> None:
    World(config).outside.start(WriteState(Durable()))
    assert events == []


def test_facts_of_the_boot_are_not_kept_for_a_daemon_that_acts(config: Config) -> None:
    world = World(config)
    assert world.outside.keep(BootFacts(confirmed=True))
    assert world.kept == []


def test_an_action_that_was_not_done_has_not_failed(config: Config) -> None:
    world = World(config)
    world.outside.note(Note("action-failed", f"could not promote PostgreSQL: {NOT_DONE}"))
    world.outside.note(Note("action-failed", "could not promote PostgreSQL: no such file"))
    assert [one.text for one in world.notes] == ["could not promote PostgreSQL: no such file"]


def test_who_serves_is_kept_for_the_day_when_this_host_acts_again(config: Config) -> None:
    config.paths.state.mkdir(parents=True, exist_ok=True)
    world, host = World(config), primary().round()
    assert host.last is not None
    world.outside.ended(Snapshot(config, host.last, host.seen, 0.0, LoopStats()))
    found = load_observed(config.paths.state)
    assert found is not None
    assert found.primary == config.me.name


READING = {
    "gateway", "processes", "database", "connection", "held", "arp_primary", "arp_standby", "peer_own", "peer_vip",
    "stranger", "clients", "commits", "veto", "fence", "archive", "watchdog", "witness",
}  # fmt: skip
"""Probes that change nothing; a new probe belongs here or into `probe_table.CHANGING`."""


def test_each_probe_is_known_to_read_only_or_does_not_run(config: Config) -> None:
    acting = replace(config, mode="normal")
    made = probe_table.Probes(
        lambda: acting, Newest(), lambda _name: None, bool, postmaster=lambda _ref: None, took_s={}
    )
    names = {probe.name for probe in made.all()}
    assert names <= READING | set(probe_table.CHANGING), "say whether the new probe changes something"


def test_probes_that_change_something_do_not_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    made = probe_table.Probes(
        lambda: config, Newest(), lambda _name: None, bool, postmaster=lambda _ref: None, took_s={}
    )
    looks = {probe.name: probe.look for probe in made.all()}
    for name in ("_beat", "_write", "_slots", "_leftovers", "_crash_restart"):
        monkeypatch.setattr(probe_table.Probes, name, None)
    for name, found in probe_table.CHANGING.items():
        if name in looks:
            assert looks[name]() == found


def test_a_vip_action_names_its_address() -> None:
    assert all("{vip}" in kind.properties.words for kind in KINDS if issubclass(kind, VipAction))
