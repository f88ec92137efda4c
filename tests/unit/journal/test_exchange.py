"""Two hosts' histories over a link that loses, repeats and comes late: each ends with both."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgvip.events.event_table import Event, Level
from pgvip.journal import event_store as journal
from pgvip.journal import exchange as exchanging
from pgvip.journal.event_store import EventStore, Wanted
from pgvip.journal.exchange import FRAME_BYTES, Exchange
from pgvip.state.codec import MAX_BYTES


def nothing(_name: str, _text: str) -> None:
    """What a store tells of itself."""


@dataclass
class Side:
    """One host; its exchange is driven by hand."""

    store: EventStore
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exchange = Exchange(self.store, self.sent.append)

    def tells(self, text: str) -> None:
        self.store.append(Event("link", Level.INFO, text, "2026-01-01T00:00:00.000Z", self.store.me))

    def known(self, host: str) -> list[str]:
        return [one.text for one in self.store.find(Wanted(5000)) if one.host == host]

    def takes(self, frames: list[bytes]) -> None:
        asked = [self.exchange.take(frame) for frame in frames]
        self.exchange.tell(asked=any(asked))


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    """Two hosts whose link is up."""
    made = tuple(
        Side(EventStore(tmp_path / me, me, peer, nothing)) for me, peer in (("a", "b"), ("b", "a"))
    )
    for side in made:
        side.store.start()
        side.exchange.link_changed(up=True)
    yield made[0], made[1]
    for side in made:
        side.store.close()


def converse(first: Side, second: Side, rounds: int = 500) -> int:
    """Frames go to and fro until nobody has anything to say; how many there were."""
    count = 0
    for side in (first, second):
        side.exchange.tell(asked=False)
    for _ in range(rounds):
        moving = (first, list(second.sent)), (second, list(first.sent))
        if not first.sent and not second.sent:
            return count
        first.sent.clear()
        second.sent.clear()
        for side, frames in moving:
            count += len(frames)
            if frames:
                side.takes(frames)
    raise AssertionError("they go on talking for ever")


def test_each_ends_with_both_histories_and_then_is_quiet(sides: tuple[Side, Side]) -> None:
    a, b = sides
    for number in range(300):
        a.tells(f"a {number}")
    b.tells("b 0")
    assert converse(a, b) < 60
    for side in sides:
        assert side.known("a") == [f"a {number}" for number in range(300)]
        assert side.known("b") == ["b 0"]
    assert converse(a, b) == 0
    a.tells("news")
    assert converse(a, b) <= 2
    assert b.known("a")[-1] == "news"


def test_a_frame_is_bounded(sides: tuple[Side, Side]) -> None:
    a, b = sides
    words = tuple((f"\x01{number}" * 300, "\x01" * 3000) for number in range(30))
    a.store.append(Event("crash", Level.ERROR, "\x01" * 100_000, "2026-01-01T00:00:00.000Z", "a", fields=words))
    for number in range(200):
        a.tells(f"{number} " + "x" * 500)
    longest = 0
    for side in sides:
        side.exchange.tell(asked=False)
    while a.sent or b.sent:
        longest = max(longest, *map(len, a.sent), *map(len, b.sent), 0)
        to_a, to_b = list(b.sent), list(a.sent)
        a.sent.clear()
        b.sent.clear()
        b.takes(to_b)
        a.takes(to_a)
    assert FRAME_BYTES < longest < MAX_BYTES
    assert len(b.known("a")) == 201


def test_nothing_is_sent_while_the_link_is_down(sides: tuple[Side, Side]) -> None:
    a, _ = sides
    a.exchange.link_changed(up=False)
    a.tells("unheard")
    a.exchange.tell(asked=True)
    assert a.sent == []


def test_an_absence_is_caught_up_on(sides: tuple[Side, Side]) -> None:
    a, b = sides
    a.tells("before")
    converse(a, b)
    for side in sides:
        side.exchange.link_changed(up=False)
    for number in range(50):
        a.tells(f"alone {number}")
    for side in sides:
        side.exchange.link_changed(up=True)
    converse(a, b)
    assert b.known("a") == ["before", *(f"alone {number}" for number in range(50))]


def test_at_most_what_memory_holds_is_caught_up_on(
    sides: tuple[Side, Side], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MEMORY_MAX", 10)
    a = Side(EventStore(tmp_path / "small", "a", "b", nothing))
    a.store.start()
    a.exchange.link_changed(up=True)
    for number in range(25):
        a.tells(str(number))
    converse(a, sides[1])
    assert sides[1].known("a") == [str(number) for number in range(15, 25)]
    a.store.close()


def test_frames_that_are_lost_repeated_or_late_lose_nothing(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanging, "RETRY_S", 0.0)  # a frame without an answer is sent again at once
    rng = random.Random(7)
    a, b = sides
    late: list[tuple[Side, bytes]] = []
    for step in range(400):
        if step < 200:
            rng.choice(sides).tells(f"{step}")
        for side, other in ((a, b), (b, a)):
            for frame in side.sent:
                fate = rng.choice(("lost", "late", "twice", "comes"))
                if fate == "late":
                    late.append((other, frame))
                elif fate != "lost":
                    other.takes([frame] * (2 if fate == "twice" else 1))
            side.sent.clear()
            side.exchange.tell(asked=False)
        if late and rng.random() < 0.3:
            side, frame = late.pop(rng.randrange(len(late)))
            side.takes([frame])
    for host in "ab":
        assert a.known(host) == b.known(host)
    assert sorted(map(int, [*a.known("a"), *a.known("b")])) == list(range(200))


def test_a_receiver_that_lost_its_last_events_gets_them_again(sides: tuple[Side, Side], tmp_path: Path) -> None:
    """Its power was cut before they were on its disk; the sender believes that it has them."""
    a, b = sides
    for number in range(3):
        a.tells(str(number))
    converse(a, b)
    reborn = Side(EventStore(tmp_path / "reborn", "b", "a", nothing))
    reborn.store.start()
    reborn.store.add_theirs(a.store.own_after(0)[:1], a.store.last("a")[0])
    reborn.exchange.link_changed(up=True)
    a.tells("3")
    a.exchange.tell(asked=False)
    reborn.takes(a.sent)
    assert reborn.known("a") == ["0"], "a gap is not closed by what comes after it"
    a.sent.clear()
    converse(a, reborn)
    assert reborn.known("a") == ["0", "1", "2", "3"]
    reborn.store.close()


def test_a_host_that_lost_its_own_events_goes_on_above_them(sides: tuple[Side, Side]) -> None:
    a, b = sides
    a.tells("one")
    converse(a, b)
    series = a.store.last("a")[0]
    b.store._last["a"] = (series, 9)
    b.exchange._asked_s = 0.0
    a.exchange.link_changed(up=True)
    b.exchange.link_changed(up=True)
    converse(a, b)
    a.tells("ten")
    converse(a, b)
    assert a.store.last("a") == (series, 10)
    assert b.known("a") == ["one", "ten"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"events": 3}',
        b'{"have": 3}',
        b'{"have": {"seq": "x"}}',
        b'{"events": [{}], "series": "x", "after": 0}',
        json.dumps({"events": [{"event": "link", "seq": 1}], "after": "0", "series": 5}).encode(),
    ],
)
def test_what_cannot_be_read_is_left_out(body: bytes, sides: tuple[Side, Side]) -> None:
    a, b = sides
    a.takes([body])
    a.tells("still here")
    converse(a, b)
    assert b.known("a") == ["still here"]
