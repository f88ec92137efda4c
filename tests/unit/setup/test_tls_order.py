"""The steps of a change of `postgresql.tls`: in whatever order the hosts take them, each is let in by the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pgvip.setup.tls_order import RELOAD, Next, Side, Step, next_step

State = tuple[Side, Side]
WAYS = ("pair", "own", "off")


def settled(name: str, tls: str) -> Side:
    return Side(name, tls, tls)


def taken(side: Side, step: Step) -> Side:
    """After a step; `pgvip.daemon.tls_change` does the same to what is kept."""
    if step is Step.LET_IN:
        return replace(side, also=side.wanted)
    if step is Step.USE:
        return replace(side, uses=side.also, also=side.uses)
    return replace(side, also="") if step is Step.SETTLE else side


def moved(own: Side, seen: Side, peer: Side) -> Side:
    """`own` after its next step by what it has `seen` of the peer; it tries what it is going to use at the real one."""
    step = next_step(own, seen).step
    after = taken(own, step)
    return own if step is Step.USE and after.uses not in peer.let_in else after


def served(state: State) -> bool:
    """Whether what each host uses is let in by the other."""
    one, other = state
    return one.uses in other.let_in and other.uses in one.let_in


def steps(state: State) -> Iterator[State]:
    one, other = state
    yield moved(one, other, other), other
    yield one, moved(other, one, one)


def flips(state: State) -> Iterator[State]:
    """What an administrator may write into either file, at any time."""
    one, other = state
    for tls in WAYS:
        yield replace(one, wanted=tls), other
        yield one, replace(other, wanted=tls)


def reachable(starts: list[State], *, edited: bool) -> set[State]:
    found, left = set(starts), list(starts)
    while left:
        state = left.pop()
        for after in (*steps(state), *(flips(state) if edited else ())):
            if after not in found:
                found.add(after)
                left.append(after)
    return found


ALL = reachable([(settled("a", tls), settled("b", tls)) for tls in WAYS], edited=True)


def test_whatever_is_written_into_either_file_each_host_is_let_in_by_the_other() -> None:
    assert len(ALL) > 100
    assert [state for state in ALL if not served(state)] == []


def end_of(state: State, tls: str) -> State:
    """Where both hosts come to when both files say so."""
    one, other = (replace(side, wanted=tls) for side in state)
    last: State | None = None
    while last != (one, other):
        last = (one, other)
        one = moved(one, other, other)
        other = moved(other, one, one)
    return one, other


def test_once_the_files_say_the_same_both_hosts_come_to_it_or_say_what_to_write_first() -> None:
    for state in ALL:
        ends = {tls: end_of(state, tls) for tls in WAYS}
        reached = {tls for tls, end in ends.items() if end == (settled("a", tls), settled("b", tls))}
        assert reached, state
        for tls in set(WAYS) - reached:
            one, other = ends[tls]
            said = (next_step(one, other), next_step(other, one))
            assert {each.step for each in said} <= {Step.WAIT, Step.NOTHING}, (state, tls)
            assert any("first" in each.hint for each in said), (state, tls)


@pytest.mark.parametrize(("old", "new"), [("off", "pair"), ("pair", "off"), ("own", "off"), ("off", "own")])
def test_what_is_known_of_the_other_host_may_be_old(old: str, new: str) -> None:
    """Each host acts by a look that any number of steps have followed."""
    begin = (replace(settled("a", old), wanted=new), replace(settled("b", old), wanted=new))
    found, left = set[tuple[State, State]](), [(begin, begin)]
    ends = set[State]()
    while left:
        (one, other), (seen_one, seen_other) = now = left.pop()
        if now in found:
            continue
        found.add(now)
        assert served((one, other)), now
        after = [
            ((one, other), (one, seen_other)),
            ((one, other), (seen_one, other)),
            ((moved(one, seen_other, other), other), (seen_one, seen_other)),
            ((one, moved(other, seen_one, one)), (seen_one, seen_other)),
        ]
        if all(state == now for state in after):
            ends.add((one, other))
        left += after
    assert ends == {(settled("a", new), settled("b", new))}


def test_a_host_that_is_not_let_in_any_more_goes_back_by_itself() -> None:
    """Its file was changed back in the moment in which the other host settled."""
    own = Side("a", wanted="off", uses="off", also="pair")
    assert next_step(own, settled("b", "pair")).step is Step.USE


def test_files_that_differ_change_nothing_and_are_reported_by_both() -> None:
    one, other = replace(settled("a", "off"), wanted="pair"), settled("b", "off")
    assert next_step(one, other) == Next(Step.WAIT, 'the file of b says "off"', RELOAD)
    assert next_step(other, one) == Next(Step.WAIT, 'the file of a says "pair"', RELOAD)


def test_without_the_other_host_nothing_moves() -> None:
    assert next_step(settled("a", "off"), None).step is Step.NOTHING
    for side in (Side("a", "pair", "off"), Side("a", "pair", "off", "pair"), Side("a", "pair", "pair", "off")):
        assert next_step(side, None).step is Step.WAIT


@pytest.mark.parametrize(("old", "new"), [("pair", "own"), ("own", "pair")])
def test_another_certificate_goes_by_way_of_off(old: str, new: str) -> None:
    said = next_step(replace(settled("a", old), wanted=new), replace(settled("b", old), wanted=new))
    assert (said.step, said.hint) == (Step.WAIT, 'write "off" first, and wait until that has ended')
