"""The numbered rules, [m 1] to [m 16]: each with its switch; their plays are those of `ambush`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core import conditions, consent, converge, fencing, intake, speak
from pgvip.core.actions import SetSyncNames
from pgvip.core.changes import Change
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Claim, Why
from pgvip.core.messages import Message, Request
from pgvip.core.rights import entitled
from pgvip.core.round import Round
from pgvip.core.values import Durable, Grant, Record, Vip
from tests.simulation import ambush, world
from tests.simulation.rule import Rule, everywhere, sees


def parity(patch: pytest.MonkeyPatch) -> None:
    """[m 1] Both hosts write the next term, whatever its parity."""
    for module in ("pgvip.core.round", "pgvip.core.fencing"):
        patch.setattr(f"{module}.next_term", lambda above, first: above + 1)


def nonce(patch: pytest.MonkeyPatch) -> None:
    """[m 2] Every question is the same: an answer to an old one confirms."""
    patch.setattr(intake, "question", lambda r: "?")


def question(patch: pytest.MonkeyPatch) -> None:
    """[m 3] A question confirms the one who receives it."""
    whole = intake._message

    def broken(r: Round, message: Message) -> None:
        whole(r, message)
        if message.question and message.record is not None:
            r.k.peer = replace(r.k.peer, answered_term=max(r.k.peer.answered_term, message.record.term))

    patch.setattr(intake, "_message", broken)


def claimer_answers(patch: pytest.MonkeyPatch) -> None:
    """[m 4] A host that is claiming answers questions."""
    whole = speak.message

    def broken(r: Round, row: Change) -> Message:
        said, heard = whole(r, row), r.k.peer.heard
        return replace(said, answer=heard.message.question) if heard and r.k.fencing.claim is not None else said

    patch.setattr(speak, "message", broken)


def attempt(patch: pytest.MonkeyPatch) -> None:
    """[m 5] Any fence's result counts for the open claim."""
    whole = fencing.fenced

    def broken(r: Round, attempt: str, *, ok: bool, text: str) -> None:
        whole(r, r.k.fencing.claim.attempt if r.k.fencing.claim else attempt, ok=ok, text=text)

    patch.setattr(fencing, "fenced", broken)


def void(patch: pytest.MonkeyPatch) -> None:
    """[m 6] A claim outlives a change of the record, and its reasons are not checked again."""
    written, carry_on, end = intake._written, fencing._carry_on, fencing.end_claim

    def keeping(r: Round, durable: Durable, *, ok: bool) -> None:
        claim = r.k.fencing.claim
        written(r, durable, ok=ok)
        if claim is not None and not claim.fenced:
            r.k.fencing = replace(r.k.fencing, claim=claim)

    def unchecked(r: Round, c: Claim) -> None:
        if c.fenced and r.k.intent.writing is None:
            fencing._write_claimed(r, c)
        else:
            carry_on(r, c)

    def stays(r: Round, why: str) -> None:
        if why == "the peer says that it has given up":
            end(r, why)

    patch.setattr(intake, "_written", keeping)
    patch.setattr(fencing, "_carry_on", unchecked)
    patch.setattr(fencing, "end_claim", stays)


def abandon(patch: pytest.MonkeyPatch) -> None:
    """[m 7] A claim is not abandoned when the peer is heard, which is answered all the same."""
    claimer_answers(patch)
    whole = fencing.open_claim

    def deaf(r: Round, change: str, why: Why, *, takeover: bool, **more: bool) -> None:
        whole(r, change, why, takeover=takeover, **more)
        if r.k.fencing.claim is not None:
            r.k.fencing = replace(r.k.fencing, claim=replace(r.k.fencing.claim, since_s=float("inf")))

    patch.setattr(fencing, "open_claim", deaf)


def request_term(patch: pytest.MonkeyPatch) -> None:
    """[m 8] A request is granted in whatever term it arrives."""
    whole = intake._message

    def broken(r: Round, message: Message) -> None:
        own = r.k.durable.record
        if message.request is not None and own is not None:
            message = replace(message, request=replace(message.request, from_term=own.term))
        whole(r, message)

    patch.setattr(intake, "_message", broken)
    sees(patch, "peer", lambda whole: lambda facts: facts.message)

    def asked(r: Round, request: Request, row: Change) -> str:
        return "old" if request.eligible and entitled(r.facts()) else ""

    patch.setattr(consent, "_role_asked", asked)


def grant_term(patch: pytest.MonkeyPatch) -> None:
    """[m 9] A grant counts in whatever term it arrives."""
    whole = intake._message

    def broken(r: Round, message: Message) -> None:
        own = r.k.durable.record
        if message.grant is not None and own is not None:
            message = replace(message, grant=replace(message.grant, term=own.term))
        whole(r, message)

    patch.setattr(intake, "_message", broken)


def flush(patch: pytest.MonkeyPatch) -> None:
    """[m 10] Eligible as soon as it streams."""
    patch.setattr(world, "Rules", lambda: replace(WHOLE, grant_needs_flush=False))


WHOLE = world.Rules()


def postmaster(patch: pytest.MonkeyPatch) -> None:
    """[m 11] A grant outlives the postmaster that it was given to."""
    passing, message = intake.passing, intake._message

    def holds(facts: Facts, grant: Grant | None, term: int) -> bool:
        return grant is not None and grant.term == term and grant.boot_id == facts.k.who.boot_id

    def keeping(r: Round) -> None:
        grant = r.k.grants.grant
        passing(r)
        r.k.grants = replace(r.k.grants, grant=grant)

    def taking(r: Round, said: Message) -> None:
        if said.grant is not None:
            said = replace(said, grant=replace(said.grant, postmaster=r.facts().postmaster))
        message(r, said)

    patch.setattr(conditions, "grant_holds", holds)
    patch.setattr(intake, "passing", keeping)
    patch.setattr(intake, "_message", taking)


def first_start(patch: pytest.MonkeyPatch) -> None:
    """[m 12] The hand-over condition is not asked for."""
    everywhere(patch, "handover_met", lambda whole: lambda facts: True)


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
    whole = consent.give_up_addresses

    def broken(r: Round, vips: tuple[Vip, ...]) -> bool:
        return whole(r, tuple(vip for vip in vips if (vip is Vip.PRIMARY) == r.facts().primary))

    patch.setattr(consent, "give_up_addresses", broken)


def no_record(patch: pytest.MonkeyPatch) -> None:
    """[m 15] Without a record of its own, a host adopts one from whoever has one."""

    def broken(r: Round, message: Message, record: Record) -> None:
        known = r.k.peer.heard_record
        if known is None or record.term > known.term:
            r.k.peer = replace(r.k.peer, heard_record=record)

    patch.setattr(intake, "_heard_record", broken)


def names(patch: pytest.MonkeyPatch) -> None:
    """[m 16] The synchronous names are cleared as soon as the standby is away, and what was granted stays."""
    whole = converge.sync_names

    def broken(r: Round) -> None:
        v = r.facts()
        if v.pair and v.read_write and not v.replica_streams and v.database and v.database.sync_names:
            r.start(SetSyncNames(False))
        else:
            whole(r)

    patch.setattr(converge, "sync_names", broken)
    patch.setattr(converge, "revoke", lambda _r: None)  # it stands behind this rule, but for a moment


RULES = (
    Rule("m 1", "A host writes the smallest term above its own that has its own parity (first host even, second odd),"
         " so two different records never share a term **[m 1]**", parity, ambush.parity, "records of term",
         "a broken stream, a slow link, a stop that escalates, a switchover"),
    Rule("m 2", "a host becomes confirmed only by an answer that echoes the nonce of a question asked in this boot"
         " [m 2]", nonce, ambush.answer_is_late, "1: two writers", "a message delayed over a fence and a boot"),
    Rule("m 3", "neither a question nor an announcement confirms the one who receives it [m 3].", question,
         ambush.question_is_late, "1: two writers", "a message delayed over a fence and a boot"),
    Rule("m 4", "A host that is claiming gives no consent and confirms nobody **[m 4]**.", claimer_answers,
         ambush.asks_before_the_result, "1: two writers",
         "a forced promotion, a fence whose answer is slow, the target back before it"),
    Rule("m 5", "only the result of the open claim's own attempt counts, once **[m 5]**", attempt,
         ambush.first_result_is_late, "1: two writers",
         "a host cut off, a fence whose answer is slow, then one that fails"),
    Rule("m 6", "the claimer checks again that its record is the one it decided on and that the right still holds"
         " **[m 6]**", void, ambush.lease_ends_before_the_result, "3: b lost the last",
         "link and replication cut, a fence that is slow", sync=False),
    Rule("m 7", "Answering or consenting always requires abandoning the claim first **[m 7]**.", abandon,
         ambush.target_asks, "1: two writers",
         "a host cut off, a fence whose answer is slow, the target back before it"),
    Rule("m 8", "A request names the term that it starts from, and is refused in any other **[m 8]**.",
         request_term, ambush.old_request, "5: it does not come back",
         "a message delayed over a fence and solo, data being rebuilt"),
    Rule("m 9", "`eligible` and \"the address is free\" carry term, the receiver's boot id and, for `eligible`, the"
         " start time of the receiver's postmaster; they are ignored when any of these differs", grant_term,
         ambush.old_grant, "2: b is read-write without",
         "a message delayed over consent, solo and pair; a slow standby, a power cut"),
    Rule("m 10", "when B has *flushed* L, A grants **[m 10]**. Streaming is not caught up.", flush,
         ambush.streams_but_behind, "2: b is read-write without", "a broken stream, a slow standby, a power cut"),
    Rule("m 11", "dropped when any of these changes **[m 9, 11]**.", postmaster, ambush.restarts_on_older_data,
         "2: b is read-write without", "a power cut, a standby's data replaced by an older backup"),
    Rule("m 12", "`eligible` granted for exactly `from_term` to its present postmaster, or `handover_lsn` reached"
         " **[m 12]**.", first_start, ambush.older_data_at_adoption, "2: b is read-write without",
         "a postmaster killed, a standby's data replaced by an older backup"),
    Rule("m 13", "A hands back what it was handed or took by fence, **and has not `served` [m 13]**", hand_back,
         ambush.handed_back_after_serving, "5: it does not start", "a switchover, a postmaster killed"),
    Rule("m 14", "**both VIPs [m 14]**", both_vips, ambush.keeps_both_addresses, "4: both hosts hold the standby VIP",
         "a drop that fails, a switchover, a frozen host"),
    Rule("m 15", "It adopts a record only from a confirmed peer that is itself the primary **[m 15]**", no_record,
         ambush.loses_its_record, "1: two writers",
         "a standby's data replaced by an older backup, a record lost, messages delayed, a link cut"),
    Rule("m 16", "`synchronous_standby_names` is cleared only after the record says `solo` **[m 16]**.", names,
         ambush.cleared_too_early, "2: b is read-write without", "a broken stream, a power cut"),
)  # fmt: skip
