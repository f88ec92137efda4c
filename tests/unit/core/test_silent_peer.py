"""What is said of a peer that is silent fits what is known of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.values import Durable, Mode
from tests.unit.core_world import Host, primary, record


def hint(host: Host) -> tuple[str, str]:
    """Text and hint of the warning."""
    last = host.round().last
    assert last is not None
    (found,) = [one for one in last.warnings if one.name == "peer-silent"]
    return found.text, found.hint


def alone() -> Host:
    return primary(Mode.SOLO).knows(heard=None)


def test_a_peer_that_is_heard_is_not_silent() -> None:
    last = primary().round().last
    assert last is not None
    assert "peer-silent" not in {one.name for one in last.warnings}


def test_of_a_peer_of_which_nothing_is_known_its_daemon_is_to_be_seen() -> None:
    assert hint(alone()) == ("the peer's daemon does not answer", "systemctl status pgvip on the peer")


@pytest.mark.parametrize(("met", "said"), [(False, "not set up yet"), (True, "does not answer")])
def test_after_init_the_second_host_is_still_to_be_made(met: bool, said: str) -> None:
    host = alone().knows(durable=Durable(record("a", Mode.SOLO, cause="pgvip init"), served=True), met=met)
    text, found = hint(host)
    assert said in text
    assert ("pgvip clone on b" in found) is not met


def test_a_peer_that_this_host_has_fenced_is_off() -> None:
    text, found = hint(alone().knows(peer_off=True))
    assert text == "the peer is powered off: this host has fenced it"
    assert "systemctl" not in found


def test_a_peer_that_an_operator_has_switched_off_is_switched_on_by_one() -> None:
    host = alone()
    kept_off = host.knows(durable=replace(host.k.durable, kept_off=True), peer_off=True)
    assert hint(kept_off) == ("the peer is powered off, by an operator's order", "pgvip fence on switches b on")


def test_a_peer_that_was_shut_down_in_order_said_so_before() -> None:
    host = primary(Mode.SOLO).hears(leaving=True)
    heard = host.k.peer.heard
    assert heard is not None
    text, found = hint(host.knows(heard=replace(heard, at_s=heard.at_s - 60)))
    assert text == "the peer is shut down in order"
    assert "systemctl" not in found
