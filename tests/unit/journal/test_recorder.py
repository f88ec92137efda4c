"""Where events go besides the log; what a daemon that starts knows of the role that its predecessor told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgvip.config.model import Config
from pgvip.config.paths import Paths
from pgvip.core.actions import AskVeto
from pgvip.core.settings import StandingWarning
from pgvip.core.values import Role
from pgvip.daemon.action_table import Actions
from pgvip.daemon.action_threads import Outcome
from pgvip.daemon.probe_table import Probes
from pgvip.deadlines import wait_until
from pgvip.events import event_log
from pgvip.journal.announcer import STANDS_S
from pgvip.journal.event_store import Wanted, stored
from pgvip.journal.recorder import Recorder
from pgvip.state.record import RecordStore
from pgvip.status.snapshot import Newest
from tests.unit.core_world import NOW_S, primary
from tests.unit.orders.test_order_table import config as configured
from tests.unit.orders.test_order_table import snapshot_of


class Host:
    """One host's daemons, one after the other."""

    def __init__(self, directory: Path) -> None:
        plain = configured(primary().s)
        hooks = replace(plain.hooks, directory=directory / "hooks.d")
        self.config: Config = replace(plain, hooks=hooks, paths=Paths(state=directory, run=directory / "run"))
        self.sent: list[bytes] = []
        self.live: Recorder | None = None
        self.newest = Newest()
        self.warnings: tuple[StandingWarning, ...] = ()

    def start(self, boot: str = "boot-1") -> Recorder:
        self.stop()
        self.newest = Newest()
        self.live = Recorder(lambda: self.config, boot, self.newest, self.sent.append, lambda: self.warnings)
        event_log.set_up(event_log.Style(host=self.config.me.name))
        self.live.start()
        return self.live

    def stop(self) -> None:
        if self.live is not None:
            self.live.close()
            self.live = None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.stop()
    event_log.set_up(event_log.Style())


def test_an_event_goes_into_the_history_to_the_peer_and_to_hooks(host: Host) -> None:
    hook = host.config.hooks.directory / "fenced" / "10"
    hook.parent.mkdir(parents=True)
    hook.write_text('#!/bin/sh\necho "$PGVIP_TEXT" > "$0.said"\n')
    hook.chmod(0o755)
    recorder = host.start()
    recorder.exchange.link_changed(up=True)
    recorder.exchange.received(json.dumps({"have": {"series": "", "seq": 0}, "events": []}).encode())
    event_log.log("fenced", "b is off", (("tries", "1"),))
    event_log.log("notify-failed", "is not kept")
    wait_until(lambda: hook.with_name("10.said").exists(), 5, what="the hook was called")
    wait_until(lambda: any(b"b is off" in frame for frame in host.sent), 5, what="the peer is told")
    host.stop()
    event_log.log("fenced", "nobody listens any more")
    kept = stored(host.config.paths.events)
    assert [event.event for event in kept if event.event != "hook"] == ["fenced"]
    assert (kept[0].text, kept[0].host, kept[0].fields) == ("b is off", "a", (("tries", "1"),))


def role_after_restart(host: Host, boot: str) -> Role:
    return host.start(boot)._announcer.role


def test_a_daemon_that_restarts_knows_the_role_that_was_told_in_this_boot(host: Host) -> None:
    first = host.start()
    host.newest.put(snapshot_of(primary()))
    assert first.store.latest_own("role-change") is not None
    assert role_after_restart(host, "boot-1") is Role.PRIMARY
    assert host.live is not None
    host.newest.put(snapshot_of(primary()))
    assert len([event for event in host.live.store.find(Wanted()) if event.event == "role-change"]) == 1
    assert role_after_restart(host, "boot-2") is Role.NONE


def test_warnings_beside_the_cores_are_events_too(host: Host) -> None:
    recorder = host.start()
    host.warnings = (StandingWarning("archiving-failing", "archiving fails", "see its log"),)
    for at_s in (0.0, STANDS_S):
        host.newest.put(snapshot_of(primary(), NOW_S + at_s))
    (one,) = [event for event in recorder.store.find(Wanted()) if event.event == "archiving-failing"]
    assert one.text == "archiving fails"


@pytest.mark.parametrize("words", [{}, {"boot": "boot-1"}, {"boot": "boot-1", "new": "king"}, {"new": "primary"}])
def test_a_role_that_cannot_be_read_is_none(words: dict[str, str], host: Host) -> None:
    host.start()
    event_log.log("role-change", "…", tuple(words.items()))
    assert role_after_restart(host, "boot-1") is Role.NONE




# --- the veto's two ends in the tables ------------------------------------------------------------------


def probe_of(config: Config) -> Any:
    probes = Probes(lambda: config, Newest(), lambda _name: None, bool, postmaster=lambda _ref: None, took_s={})
    return {probe.name: probe for probe in probes.all()}["veto"]


def test_the_probe_sees_whether_there_are_veto_hooks(host: Host) -> None:
    probe = probe_of(host.config)
    assert probe.look() is False
    hook = host.config.hooks.directory / "veto-takeover" / "10"
    hook.parent.mkdir(parents=True)
    hook.touch(0o644)
    assert probe.look() is True, "one that is refused is reported when it is asked"


def test_the_action_asks_them(host: Host) -> None:
    actions = Actions(lambda: host.config, RecordStore(host.config.paths.record), lambda _e, _t: None, lambda: "10: no")
    assert actions.functions()[AskVeto](AskVeto("a/1")) == Outcome(text="10: no")
