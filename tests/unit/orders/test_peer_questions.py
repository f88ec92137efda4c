"""What the peer's daemon may ask: answered by name, and every failure is an answer too."""

from __future__ import annotations

import json
from queue import SimpleQueue
from typing import Any

import pytest

from pgvip.config.model import Config
from pgvip.errors import PostgresError, ProbeError
from pgvip.orders import peer_questions as peer_module
from pgvip.orders.desk import Desk
from pgvip.orders.peer_questions import CHECKPOINT_MAX_S, PeerQuestions
from pgvip.orders.prechecks import Readiness
from pgvip.state import codec
from pgvip.status.snapshot import Newest
from tests.unit.core_world import failing, primary, saw, standby
from tests.unit.orders.test_order_table import snapshot_of
from tests.unit.orders.test_prechecks import ready


def questions(host: Any = None, look: Any = None) -> PeerQuestions:
    newest = Newest()
    newest.put(snapshot_of(host or standby()))
    plain = lambda config, fence: ready(config.me.name, fence=fence)  # noqa: E731 - as the real one is called
    return PeerQuestions(Desk(newest, SimpleQueue(), look=look or plain))


def ask(about: PeerQuestions, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(about.answer(text))
    return answer


def test_readiness_travels_whole() -> None:
    answer = ask(questions(), '{"ask": "readiness"}')
    assert answer["ok"]
    assert codec.decode(Readiness, answer["readiness"]) == ready("b", fence="not asked yet")


@pytest.mark.parametrize(
    ("host", "word"),
    [
        (primary().sees(fence=saw("on")), ""),
        (primary().sees(fence=failing()), "no answer"),
        (primary().configured(fencing=False), "none"),
        (primary(), "not asked yet"),
    ],
    ids=["answers", "fails", "none", "unknown"],
)
def test_how_the_fence_device_was_seen(host: Any, word: str) -> None:
    assert ask(questions(host), '{"ask": "readiness"}')["readiness"]["fence"] == word


@pytest.mark.parametrize("text", ["{}", "[]", "7", '{"ask": "dance"}', "not JSON", ""])
def test_what_is_not_known_is_answered_so(text: str) -> None:
    answer = ask(questions(), text)
    assert answer["ok"] is False
    assert answer["error"]


def test_there_may_be_further_questions() -> None:
    about = PeerQuestions(Desk(Newest(), SimpleQueue()), {"more": lambda asked: {"heard": asked["ask"]}})
    assert ask(about, '{"ask": "more"}') == {"ok": True, "heard": "more"}


def test_a_server_that_does_not_answer_is_an_answer() -> None:
    def mute(_config: Config, _fence: str) -> Readiness:
        raise ProbeError("the local database did not answer in time")

    assert "did not answer" in ask(questions(look=mute), '{"ask": "readiness"}')["error"]


@pytest.mark.parametrize(("asked", "limit_s"), [(5, 5.0), (1e9, CHECKPOINT_MAX_S), ("long", CHECKPOINT_MAX_S)])
def test_a_checkpoint_is_bounded(asked: object, limit_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def checkpoint(_config: Config, given_s: float) -> float:
        limits.append(given_s)
        return 0.2

    monkeypatch.setattr(peer_module, "checkpoint", checkpoint)
    answer = ask(questions(), json.dumps({"ask": "checkpoint", "limit_s": asked}))
    assert answer == {"ok": True, "took_s": 0.2}
    assert limits == [limit_s]


def test_a_checkpoint_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def checkpoint(_config: Config, _limit_s: float) -> float:
        raise PostgresError("it did not end")

    monkeypatch.setattr(peer_module, "checkpoint", checkpoint)
    assert ask(questions(), '{"ask": "checkpoint"}')["error"] == "it did not end"
