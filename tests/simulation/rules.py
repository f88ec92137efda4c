"""Switches that break one rule of PROTOCOL.md each, for the proof of the proof; used by tests only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core import absorb, converge, rights, speak, steps
from pgvip.core.changes import Change
from pgvip.core.knowledge import Claim, Why
from pgvip.core.model import Durable, Grant, Message, Record, SetSyncNames, Vip
from pgvip.core.rights import entitled
from pgvip.core.round import Round
from pgvip.core.view import View
from tests.simulation import world
from tests.simulation.ambush import PLAYS, ambush
from tests.simulation.run import Outcome

Break = Callable[[pytest.MonkeyPatch], None]


def parity(patch: pytest.MonkeyPatch) -> None:
    """[m 1] Both hosts write the next term, whatever its parity."""
    for module in ("pgvip.core.round", "pgvip.core.absorb"):
        patch.setattr(f"{module}.next_term", lambda above, first: above + 1)


def nonce(patch: pytest.MonkeyPatch) -> None:
    """[m 2] Every question is the same: an answer to an old one confirms."""
    patch.setattr(absorb, "question", lambda r: "?")


def question(patch: pytest.MonkeyPatch) -> None:
    """[m 3] A question confirms the one who receives it."""
    whole = absorb._message

    def broken(r: Round, message: Message) -> None:
        whole(r, message)
        if message.question and message.record is not None:
            r.k.answered_term = max(r.k.answered_term, message.record.term)

    patch.setattr(absorb, "_message", broken)


def claimer_answers(patch: pytest.MonkeyPatch) -> None:
    """[m 4] A host that is claiming answers questions."""
    whole = speak.message

    def broken(r: Round, row: Change) -> Message:
        said, heard = whole(r, row), r.k.heard
        return replace(said, answer=heard.message.question) if heard and r.k.claim is not None else said

    patch.setattr(speak, "message", broken)


def attempt(patch: pytest.MonkeyPatch) -> None:
    """[m 5] Any fence's result counts for the open claim."""
    whole = absorb.fenced

    def broken(r: Round, attempt: str, *, ok: bool, text: str) -> None:
        whole(r, r.k.claim.attempt if r.k.claim else attempt, ok=ok, text=text)

    patch.setattr(absorb, "fenced", broken)


def void(patch: pytest.MonkeyPatch) -> None:
    """[m 6] A claim outlives a change of the record, and its reasons are not checked again."""
    written, carry_on, end = absorb._written, steps._carry_on, steps.end_claim

    def keeping(r: Round, durable: Durable, *, ok: bool) -> None:
        claim = r.k.claim
        written(r, durable, ok=ok)
        if claim is not None and not claim.fenced:
            r.k.claim = claim

    def unchecked(r: Round, c: Claim) -> None:
        if c.fenced and r.k.writing is None:
            steps._write_claimed(r, c)
        else:
            carry_on(r, c)

    def stays(r: Round, why: str) -> None:
        if why == "the peer says that it has given up":
            end(r, why)

    patch.setattr(absorb, "_written", keeping)
    patch.setattr(steps, "_carry_on", unchecked)
    patch.setattr(steps, "end_claim", stays)


def abandon(patch: pytest.MonkeyPatch) -> None:
    """[m 7] A claim is not abandoned when the peer is heard, which is answered all the same."""
    claimer_answers(patch)
    whole = steps.open_claim

    def deaf(r: Round, change: str, why: Why, *, takeover: bool) -> None:
        whole(r, change, why, takeover=takeover)
        if r.k.claim is not None:
            r.k.claim = replace(r.k.claim, since_s=float("inf"))

    patch.setattr(steps, "open_claim", deaf)


def request_term(patch: pytest.MonkeyPatch) -> None:
    """[m 8] A request is granted in whatever term it arrives."""
    whole = absorb._message

    def broken(r: Round, message: Message) -> None:
        own = r.k.durable.record
        if message.request is not None and own is not None:
            message = replace(message, request=replace(message.request, from_term=own.term))
        whole(r, message)

    patch.setattr(absorb, "_message", broken)
    patch.setattr(View, "here", property(lambda view: view.message))
    asked = lambda r, request, row: "old" if request.eligible and entitled(r.view()) else ""  # noqa: E731 - a switch
    patch.setattr(steps, "_role_asked", asked)


def grant_term(patch: pytest.MonkeyPatch) -> None:
    """[m 9] A grant counts in whatever term it arrives."""
    whole = absorb._message

    def broken(r: Round, message: Message) -> None:
        own = r.k.durable.record
        if message.grant is not None and own is not None:
            message = replace(message, grant=replace(message.grant, term=own.term))
        whole(r, message)

    patch.setattr(absorb, "_message", broken)


def flush(patch: pytest.MonkeyPatch) -> None:
    """[m 10] Eligible as soon as it streams."""
    patch.setattr(world, "Rules", lambda: replace(WHOLE, grant_needs_flush=False))


WHOLE = world.Rules()


def postmaster(patch: pytest.MonkeyPatch) -> None:
    """[m 11] A grant outlives the postmaster that it was given to."""
    passing, message = absorb.passing, absorb._message

    def holds(view: View, grant: Grant | None, term: int) -> bool:
        return grant is not None and grant.term == term and grant.boot_id == view.k.who.boot_id

    def keeping(r: Round) -> None:
        grant = r.k.grant
        passing(r)
        r.k.grant = grant
        r.changed()

    def taking(r: Round, said: Message) -> None:
        if said.grant is not None:
            said = replace(said, grant=replace(said.grant, postmaster=r.view().postmaster))
        message(r, said)

    patch.setattr(rights, "grant_holds", holds)
    patch.setattr(absorb, "passing", keeping)
    patch.setattr(absorb, "_message", taking)


def first_start(patch: pytest.MonkeyPatch) -> None:
    """[m 12] The hand-over condition is not asked for."""
    patch.setattr(rights, "handover_met", lambda view: True)


def hand_back(patch: pytest.MonkeyPatch) -> None:
    """[m 13] `served` is forgotten with the old record."""
    written = Round.write

    def broken(r: Round, durable: Durable) -> bool:
        old, new = r.k.durable.record, durable.record
        if old is not None and new is not None and old.term != new.term:
            durable = replace(durable, served=False)
        return written(r, durable)

    patch.setattr(Round, "write", broken)


def both_vips(patch: pytest.MonkeyPatch) -> None:
    """[m 14] Only the address of its role is given up."""
    whole = steps.give_up_addresses

    def broken(r: Round, vips: tuple[Vip, ...]) -> bool:
        return whole(r, tuple(vip for vip in vips if (vip is Vip.PRIMARY) == r.view().primary))

    patch.setattr(steps, "give_up_addresses", broken)


def no_record(patch: pytest.MonkeyPatch) -> None:
    """[m 15] Without a record of its own, a host adopts one from whoever has one."""

    def broken(r: Round, message: Message, record: Record) -> None:
        known = r.k.heard_record
        if known is None or record.term > known.term:
            r.k.heard_record = record
            r.changed()

    patch.setattr(absorb, "_heard_record", broken)


def names(patch: pytest.MonkeyPatch) -> None:
    """[m 16] The synchronous names are cleared as soon as the standby is away."""
    whole = converge.sync_names

    def broken(r: Round) -> None:
        v = r.view()
        if v.pair and v.read_write and not v.replica_streams and v.database and v.database.sync_names:
            r.start(SetSyncNames(False))
        else:
            whole(r)

    patch.setattr(converge, "sync_names", broken)


def hunt(number: int, runs: int, what: str, *, first: int = 1) -> tuple[int, Outcome | None]:
    """The rule broken, runs of its play until one fails with `what`; how many that took, and the finding."""
    with pytest.MonkeyPatch.context() as patch:
        NUMBERED[number](patch)
        for count, seed in enumerate(range(first, first + runs), 1):
            outcome = ambush(PLAYS[number], seed)
            if outcome.failure.startswith(what):
                return count, outcome
    return runs, None


NUMBERED: dict[int, Break] = {
    1: parity, 2: nonce, 3: question, 4: claimer_answers, 5: attempt, 6: void, 7: abandon, 8: request_term,
    9: grant_term, 10: flush, 11: postmaster, 12: first_start, 13: hand_back, 14: both_vips, 15: no_record, 16: names,
}  # fmt: skip
