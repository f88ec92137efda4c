"""The daemon's part of a restart: what the other host may ask for, and what stands against a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pgvip.core.actions import Rejoin
from pgvip.core.messages import Command
from pgvip.core.values import Pause
from pgvip.deadlines import wait_until
from pgvip.errors import LinkError, RefusedError
from pgvip.orders import restarting
from pgvip.orders.desk import Desk
from pgvip.orders.restarting import RestartDesk, refuse
from pgvip.orders.rolling import Do
from pgvip.status.snapshot import Newest
from tests.unit.core_world import Host, claiming, primary, standby
from tests.unit.orders.test_order_table import snapshot_of

STEPS = {"cycle", "in-place", "down", "up"}


class Inbox:
    def __init__(self) -> None:
        self.commands = list[Command]()

    def put(self, command: Command, /) -> None:
        self.commands.append(command)


class Peer:
    """Answers in turn what it is given; an error is raised."""

    def __init__(self, *answers: Mapping[str, Any] | LinkError) -> None:
        self.answers, self.asked = list(answers), list[Mapping[str, Any]]()

    def __call__(self, question: Mapping[str, Any], _timeout_s: float) -> Mapping[str, Any]:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, LinkError):
            raise answer
        return answer


def desk(host: Host, peer: Peer | None = None) -> tuple[RestartDesk, Inbox]:
    newest, inbox = Newest(), Inbox()
    newest.put(snapshot_of(host))
    return RestartDesk(Desk(newest, inbox, peer or Peer())), inbox


@pytest.mark.parametrize("step", [*sorted(STEPS - {"cycle"}), "command", "", "rm -rf /"])
def test_the_peer_can_order_nothing_but_a_restart_of_a_standby(step: str) -> None:
    for host in (standby(), primary()):
        made, inbox = desk(host)
        with pytest.raises(RefusedError, match="no step that may be ordered"):
            made.answer({"ask": "restart", "step": step})
        assert not inbox.commands


def test_a_primary_is_never_stopped_for_the_peer() -> None:
    made, inbox = desk(primary())
    with pytest.raises(RefusedError, match="is primary now"):
        made.answer({"ask": "restart", "step": "cycle"})
    assert not inbox.commands


def test_a_server_that_was_restarted_since_is_left_alone() -> None:
    made, inbox = desk(standby())
    assert made.answer({"ask": "restart", "step": "cycle", "postmaster": "an older one"}) == {}
    assert not inbox.commands


@pytest.mark.parametrize(
    ("host", "step", "named"),
    [
        (standby().knows(confirmed=False), Do.CYCLE, "no confirmed record"),
        (standby().durable(pause=Pause(active=True)), Do.CYCLE, "paused"),
        (claiming(standby()), Do.DOWN, "a change is under way"),
        (standby().knows(running=(Rejoin(),)), Do.CYCLE, "rewound or cloned"),
        (primary(), Do.DOWN, "is primary now"),
        (primary(), Do.UP, "is primary now"),
        (standby(), Do.IN_PLACE, "is standby now"),
    ],
)
def test_what_stands_against_a_step(host: Host, step: Do, named: str) -> None:
    with pytest.raises(RefusedError, match=named) as refused:
        refuse(snapshot_of(host), step)
    assert refused.value.hint


def test_what_stands_against_none() -> None:
    refuse(snapshot_of(standby()), Do.CYCLE)
    refuse(snapshot_of(primary()), Do.IN_PLACE)


def test_a_lack_of_this_host_is_the_failure_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_args: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(restarting, "checkpoint", lacking)
    made, _inbox = desk(primary())
    assert made.handle({"step": "in-place"}, None) == {}
    wait_until(lambda: "Too many open files" in made.handle({"step": "look"}, None)["look"]["detail"], 10)
    assert made.handle({"step": "look"}, None)["look"]["doing"] == ""


def test_a_step_of_the_other_host_is_asked_for_there_and_again_when_the_answer_is_lost() -> None:
    host = standby()
    name = snapshot_of(host).config.peer.name
    peer = Peer(LinkError("gone"), {"ok": True})
    made, _inbox = desk(host, peer)
    assert made.handle({"command": "restart", "host": name, "step": "cycle", "postmaster": "p"}, None) == {}
    assert [one["ask"] for one in peer.asked] == ["restart", "restart"]
    assert "command" not in peer.asked[0]
    made, _inbox = desk(host, Peer({"ok": False, "error": "it is primary", "hint": "see"}))
    with pytest.raises(RefusedError, match=f"{name}: it is primary"):
        made.handle({"command": "restart", "host": name, "step": "cycle"}, None)
