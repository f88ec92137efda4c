"""The daemon's part of a rotation: what stands against it, and what the other host says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgvip.core.actions import Rejoin
from pgvip.core.values import Pause
from pgvip.daemon.rotation_desk import RotationDesk, obstacle
from pgvip.errors import LinkError, PgvipError, RefusedError
from pgvip.setup import rotation
from pgvip.setup.rotation_order import Look
from pgvip.state import codec
from pgvip.status.snapshot import Snapshot
from tests.unit import configs
from tests.unit.core_world import Host, claiming, primary, standby
from tests.unit.orders.test_order_table import snapshot_of

Document = Mapping[str, Any]


class Peer:
    """Answers in turn what it is given; an error is raised."""

    def __init__(self, *answers: Document | PgvipError) -> None:
        self.answers, self.asked = list(answers), list[Document]()

    def __call__(self, question: Document, _timeout_s: float) -> Document:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, PgvipError):
            raise answer
        return answer


def snapshot(root: Path, host: Host | None = None) -> Snapshot:
    found = snapshot_of(host or primary())
    made = configs.make(root)
    return replace(found, config=replace(found.config, paths=made.paths, postgres=made.postgres))


def desk(root: Path, peer: Peer, host: Host | None = None) -> RotationDesk:
    now = snapshot(root, host)
    return RotationDesk(lambda: now, lambda _contexts: None, peer, lambda _event, _text: None)


@pytest.mark.parametrize(
    ("host", "named"),
    [
        (primary().knows(confirmed=False), "no confirmed record"),
        (claiming(standby()), "a change is under way: "),
        (primary().knows(leaving=True), "this host is leaving"),
        (standby().knows(running=(Rejoin(),)), "rewound or cloned"),
        (primary(), "PostgreSQL does not run"),
        (primary().durable(pause=Pause(active=True)), "PostgreSQL does not run"),
    ],
    ids=["unconfirmed", "claiming", "leaving", "rejoining", "down", "down in a pause"],
)
def test_what_stands_against_new_keys(tmp_path: Path, host: Host, named: str) -> None:
    refusal, hint = obstacle(snapshot(tmp_path, host))
    assert named in refusal
    assert hint
    about = desk(tmp_path, Peer(), host)
    look = codec.decode(Look, about.answer({"step": "look"})["look"])
    assert (look.refusal, look.hint) == (refusal, hint)
    with pytest.raises(RefusedError, match=named):
        about.answer({"step": "prepare", "next": {}})
    assert not (tmp_path / "state").exists()


def test_what_is_no_step_is_refused(tmp_path: Path) -> None:
    for request in ({}, {"step": "dance"}, {"step": ["look"]}):
        with pytest.raises(RefusedError, match="unknown step"):
            desk(tmp_path, Peer()).answer(request)
    for step in ("use", "finish"):
        with pytest.raises(RefusedError, match="knows nothing of rotation 7"):
            desk(tmp_path, Peer()).answer({"step": step, "number": "7"})


def test_the_other_host_is_asked_again_while_the_link_is_made_anew(tmp_path: Path) -> None:
    peer = Peer(LinkError("the peer's daemon is not connected"), {"ok": True, "look": {"host": "b"}})
    answer = desk(tmp_path, peer).handle({"command": "rotate", "host": "b", "step": "look"}, None)
    assert answer == {"look": {"host": "b"}}
    assert peer.asked == [{"ask": "rotate", "host": "b", "step": "look"}] * 2


def test_what_the_other_host_refuses_is_said_with_its_name(tmp_path: Path) -> None:
    peer = Peer({"ok": False, "error": "this host is leaving", "detail": "", "hint": "Wait until it is back."})
    with pytest.raises(RefusedError) as caught:
        desk(tmp_path, peer).handle({"host": "b", "step": "prepare"}, None)
    assert caught.value.message == "b: this host is leaving"
    assert caught.value.hint == "Wait until it is back."


def test_a_peer_s_keys_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    own, peer = rotation.make(config)
    with pytest.raises(RefusedError, match="does not fit its certificate"):
        rotation.prepare(config, replace(rotation.next_of("7", own, peer.public), key=peer.link.key))
