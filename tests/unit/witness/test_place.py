"""The address of the witness: a name server that is lost costs the deadline, and nothing once it has answered."""

from __future__ import annotations

import threading

import pytest

from pgvip.deadlines import Deadline, now_s, wait_until
from pgvip.errors import WitnessError
from pgvip.witness.place import ADDRESSES_MAX, Place, look_up


class NameServer:
    """Answers when it is let, and counts."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers, self.asked = list(answers), 0
        self.free = threading.Event()
        self.free.set()

    def __call__(self, _host: str) -> tuple[str, ...]:
        self.asked += 1
        self.free.wait(20)
        if not self.answers:
            raise OSError("no answer")
        return self.answers.pop(0)


def test_an_address_is_looked_up_by_nobody() -> None:
    server = NameServer()
    assert Place("192.0.2.9", server).addresses(Deadline.after(1)) == ("192.0.2.9",)
    assert Place("2001:db8::9", server).addresses(Deadline.after(1)) == ("2001:db8::9",)
    assert server.asked == 0


def test_a_silent_name_server_costs_the_deadline_and_is_asked_once() -> None:
    server = NameServer(("192.0.2.9",))
    server.free.clear()
    place = Place("w.example.org", server)
    for _ in range(3):
        began_s = now_s()
        with pytest.raises(WitnessError, match="could not find the address"):
            place.addresses(Deadline.after(0.1))
        assert now_s() - began_s < 1.0
    assert server.asked == 1
    server.free.set()
    wait_until(lambda: bool(place._known), 5)
    assert place.addresses(Deadline.after(0.0)) == ("192.0.2.9",)


def test_what_is_known_is_used_while_it_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgvip.witness.place.FRESH_S", 0.0)
    server = NameServer(("192.0.2.9",), ("192.0.2.8",))
    place = Place("w.example.org", server)
    assert place.addresses(Deadline.after(5)) == ("192.0.2.9",)
    wait_until(lambda: not (place._running and place._running.is_alive()), 5)
    server.free.clear()
    assert place.addresses(Deadline.after(5)) == ("192.0.2.9",), "the second look-up is waited for by nobody"
    server.free.set()
    wait_until(lambda: place._known == ("192.0.2.8",), 5)
    wait_until(lambda: not (place._running and place._running.is_alive()), 5)
    place.addresses(Deadline.after(5))
    wait_until(lambda: not (place._running and place._running.is_alive()), 5)
    assert place.addresses(Deadline.after(0.0)) == ("192.0.2.8",), "a failure leaves what was known"


def test_a_fresh_answer_is_not_asked_for_again() -> None:
    server = NameServer(("192.0.2.9",), ("192.0.2.8",))
    place = Place("w.example.org", server)
    assert {place.addresses(Deadline.after(5)) for _ in range(5)} == {("192.0.2.9",)}
    assert server.asked == 1


def test_a_name_with_many_addresses_is_cut() -> None:
    place = Place("w.example.org", NameServer(tuple(f"192.0.2.{number}" for number in range(20))))
    assert len(place.addresses(Deadline.after(5))) == ADDRESSES_MAX


def test_the_name_of_this_machine_is_found_by_the_machine() -> None:
    assert {"127.0.0.1", "::1"} & {*look_up("localhost")}
    with pytest.raises(WitnessError):
        Place("x" * 70 + ".example.org").addresses(Deadline.after(5))
