"""Rules whose breaking alone shows nothing, since another rule stands behind each: its switch, and the argument.

`python -m tests.simulation.rules --redundant` breaks each in every play and in random runs. One that is found there
has lost its cover, or has found its scenario: then it becomes a rule with a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from pgvip.core import consent, converge, fencing, intake, speak
from pgvip.core.changes import Change
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Why
from pgvip.core.messages import Message
from pgvip.core.round import Round
from pgvip.core.values import Durable
from tests.simulation.rule import Break, everywhere, given

Patch = pytest.MonkeyPatch
Step = Callable[[Round], None]
RowStep = Callable[[Round, Change], None]
Test = Callable[[Facts], bool]


@dataclass(frozen=True)
class Redundant:
    """`behind`: the rules that stand behind it; `why`: the argument that they suffice."""

    name: str
    sentence: str
    switch: Break
    behind: str
    why: str


def right_while_giving_up(patch: Patch) -> None:
    """The write right does not ask whether a give-up is under way."""

    def make(whole: Test) -> Test:
        def broken(facts: Facts) -> bool:
            y = facts.k.consent.giving_up
            facts.k.consent = replace(facts.k.consent, giving_up=None)
            try:
                return whole(facts)
            finally:
                facts.k.consent = replace(facts.k.consent, giving_up=y)

        return broken

    everywhere(patch, "entitled", make)


def address_unconfirmed(patch: Patch) -> None:
    """The standby address does not ask whether this host is confirmed."""

    def make(whole: Test) -> Test:
        def broken(facts: Facts) -> bool:
            known, facts.k.confirmed = facts.k.confirmed, True
            try:
                return whole(facts)
            finally:
                facts.k.confirmed = known

        return broken

    everywhere(patch, "standby_address", make)


def powers_on_while_it_fences(patch: Patch) -> None:
    """A host switches its peer on although a fence of its own is open."""

    def make(whole: Step) -> Step:
        def broken(r: Round) -> None:
            claim = r.k.fencing.claim
            r.k.fencing = replace(r.k.fencing, claim=None)
            fences = tuple(action for action in r.k.work.running if type(action).__name__ == "Fence")
            r.k.work = replace(r.k.work, running=tuple(action for action in r.k.work.running if action not in fences))
            whole(r)
            r.k.fencing = replace(r.k.fencing, claim=claim)
            r.k.work = replace(r.k.work, running=(*fences, *r.k.work.running))

        return broken

    given(patch, converge, "power_on", make)


def eligible_after_consent(patch: Patch) -> None:
    """A standby that consents to solo keeps its grant."""

    def make(whole: RowStep) -> RowStep:
        def broken(r: Round, row: Change) -> None:
            grant = r.k.grants.grant
            whole(r, row)
            r.k.grants = replace(r.k.grants, grant=grant)

        return broken

    given(patch, consent, "begin", make)


def term_is_not_checked_again(patch: Patch) -> None:
    """A give-up goes on whatever the term is by then."""

    def make(whole: Step) -> Step:
        def broken(r: Round) -> None:
            if r.k.consent.giving_up is not None:
                r.k.consent = replace(r.k.consent, giving_up=replace(r.k.consent.giving_up, term=r.facts().term))
            whole(r)

        return broken

    given(patch, consent, "give_up", make)


def _heard_as(patch: Patch, change: Callable[[Round, Message], Message]) -> None:
    def make(whole: Callable[[Round, Message], None]) -> Callable[[Round, Message], None]:
        return lambda r, message: whole(r, change(r, message))

    given(patch, intake, "_message", make)


def request_of_any_boot(patch: Patch) -> None:
    """A request is granted whatever boot of the requester it names."""

    def change(_r: Round, message: Message) -> Message:
        request = message.request
        return replace(message, request=replace(request, boot_id=message.boot_id)) if request else message

    _heard_as(patch, change)


def grant_of_any_boot(patch: Patch) -> None:
    """A grant counts in whatever boot it arrives."""

    def change(r: Round, message: Message) -> Message:
        grant = message.grant
        return replace(message, grant=replace(grant, boot_id=r.k.who.boot_id)) if grant else message

    _heard_as(patch, change)


def address_of_any_boot(patch: Patch) -> None:
    """"The address is free" counts in whatever boot it arrives."""

    def change(r: Round, message: Message) -> Message:
        free = message.address_free
        return replace(message, address_free=replace(free, boot_id=r.k.who.boot_id)) if free else message

    _heard_as(patch, change)


def consents_while_it_claims(patch: Patch) -> None:
    """A host that is claiming gives its consent."""

    def make(whole: RowStep) -> RowStep:
        def broken(r: Round, row: Change) -> None:
            claim = r.k.fencing.claim
            r.k.fencing = replace(r.k.fencing, claim=None)
            whole(r, row)
            r.k.fencing = replace(r.k.fencing, claim=claim)

        return broken

    given(patch, consent, "begin", make)


def grants_in_solo(patch: Patch) -> None:
    """A solo primary grants too, in preparation of the pair."""

    def make(whole: Step) -> Step:
        def broken(r: Round) -> None:
            if r.facts().solo:
                r.facts().__dict__["pair"] = True
            whole(r)

        return broken

    given(patch, converge, "grants", make)
    patch.setattr(speak, "_grant", lambda r: r.k.grants.given if r.k.consent.giving_up is None else None)


def answers_without_a_record(patch: Patch) -> None:
    """A host without a record answers questions."""

    def make(whole: Callable[[Round, Change], Message]) -> Callable[[Round, Change], Message]:
        def broken(r: Round, row: Change) -> Message:
            said, heard = whole(r, row), r.k.peer.heard
            lacks = heard is not None and r.k.fencing.claim is None and r.facts().record is None
            return replace(said, answer=heard.message.question) if lacks and heard else said

        return broken

    given(patch, speak, "message", make)


def confirmed_before_adopting(patch: Patch) -> None:
    """An answer confirms at once, before the higher term in it is adopted."""

    def make(whole: Step) -> Step:
        def broken(r: Round) -> None:
            answered = r.k.peer.answered_term >= 0 and not r.k.peer.alarm
            if not r.k.confirmed and answered and r.facts().record is not None:
                r.k.confirmed = True
            whole(r)

        return broken

    given(patch, intake, "confirm", make)


def cannot_is_silence(patch: Patch) -> None:
    """A claim for "cannot" ends, like one for silence, when the peer is heard."""
    whole = fencing.open_claim

    def broken(r: Round, change: str, why: Why, *, takeover: bool, **more: bool) -> None:
        whole(r, change, Why.SILENCE if why is Why.CANNOT else why, takeover=takeover, **more)

    patch.setattr(fencing, "open_claim", broken)


def same_attempts(patch: Patch) -> None:
    """The attempts of every daemon of a host are numbered alike."""

    def broken(r: Round) -> str:
        r.k.work = replace(r.k.work, attempts=r.k.work.attempts + 1)
        return str(r.k.work.attempts)

    patch.setattr(Round, "attempt", broken)


def claim_outlives_the_record(patch: Patch) -> None:
    """A change of the record does not end the claim; its reasons are checked as ever."""
    whole = intake._written

    def broken(r: Round, durable: Durable, *, ok: bool) -> None:
        claim = r.k.fencing.claim
        whole(r, durable, ok=ok)
        if claim is not None and not claim.fenced:
            r.k.fencing = replace(r.k.fencing, claim=claim)

    patch.setattr(intake, "_written", broken)


REDUNDANT = (
    Redundant("no-give-up", "`primary == me`, `confirmed`, no give-up under way", right_while_giving_up,
              "starts-nothing, stop-before-writing",
              "While a host gives up, it starts and raises nothing (starts-nothing), whatever its right; it writes only"
              " when PostgreSQL is seen stopped and the addresses dropped, and after that the record takes the right."),
    Redundant("address-confirmed", "in `pair`, the standby, once confirmed", address_unconfirmed, "address-told",
              "The permission names this boot, so it was given in this boot by a primary that is confirmed itself and"
              " holds the same term. An unconfirmed standby with such a permission may only lack the echo of"
              " its question, and gets it from the same message. A higher term takes the permission with it."),
    Redundant("no-power-on-while-fencing", "but not while a fence attempt of its own is open",
              powers_on_while_it_fences, "m 2, m 4, write-confirmed",
              "A host that is switched on in the middle of a fence boots unconfirmed and asks; the claimer does not"
              " answer (m 4), so it has no right before the claim has ended and reported the new record. What is at"
              " stake is the fence itself (off and on may meet in the device), which the simulated one does not"
              " confuse."),
    Redundant("solo-drops-eligible", "B: `eligible`, **both VIPs [m 14]**", eligible_after_consent, "m 9, solo-stays",
              "From the consent to the write the standby gives up, and claims nothing; with the write its record says"
              " `solo`, in another term, for which the grant does not count."),
    Redundant("term-again", "The term is checked again before writing, since giving up takes seconds",
              term_is_not_checked_again, "m 8",
              "The term changes only by a write of this host or by adopting; both end the give-up by themselves. The"
              " check is the same fact read twice."),
    Redundant("request-boot", "(naming its boot and eligibility)", request_of_any_boot, "m 8, m 12",
              "Kept by prudence. The request of an earlier boot in the same term: the loser gives up for a winner that"
              " is not eligible any more, which then hands back, since its grant is gone with the boot (m 12)."),
    Redundant("grant-boot", "carry term, the receiver's boot id", grant_of_any_boot, "m 11",
              "Kept by prudence. A boot has another postmaster, and the start time of the postmaster is in the grant."),
    Redundant("address-boot", "they are ignored when any of these differs", address_of_any_boot, "address-term",
              "A primary that said in a term that the address is free does not raise it again in that term: only"
              " `solo`, a later term, gives it back."),
    Redundant("consent-while-claiming", "A host that is claiming gives no consent", consents_while_it_claims,
              "m 7, any change of the record ends a claim",
              "Kept by prudence. A claim for silence ends in the round in which the request is heard. A claim for"
              " `cannot` is against a peer that asks for nothing else than what it cannot give; if it is consented to"
              " all the same, the write ends the claim, and the peer boots with the old record and gets the new one."),
    Redundant("grant-in-pair", "Granting: the record says `pair`", grants_in_solo, "m 9",
              "A grant of the term of `solo` counts in no pair: each pair has a later term."),
    Redundant("no-record-no-answer", "None: this host confirms nobody.", answers_without_a_record, "m 2",
              "An answer confirms by the record that comes with it; without one the receiver learns nothing."),
    Redundant("adopted-first", "The higher term wins.", confirmed_before_adopting, "write-higher-term",
              "Confirmed in the old record with a higher one heard is no right: the higher term takes it from that"
              " instant, and adopting keeps what the answer gave."),
    Redundant("cannot-claim-stands", 'a claim for "cannot" remains until the peer says that it has',
              cannot_is_silence, "fence-again",
              "The fence that was sent does its work although its claim has ended; then the peer is silent, and a"
              " second claim for silence fences it again and is confirmed. It takes longer, and nothing is lost."),
    Redundant("no-old-results", "A starting daemon has no claim: old results are ignored.", same_attempts, "m 5",
              "A result goes to the process that asked (a fence is its child), so none reaches another daemon;"
              " the random part of the attempt guards a driver that would."),
    Redundant("record-ends-claim", "Any change of the record ends the claim.", claim_outlives_the_record, "m 6",
              "The claim carries its term, and is checked against the record's before anything is written (m 6)."),
)  # fmt: skip

ELSEWHERE = (
    ("One small durable record per host (temporary file, fsync, rename, fsync of the directory)",
     "tests/unit/state/test_record.py::test_a_save_is_synced_before_and_after_the_rename"),
    ("Any host with a readable record", "tests/unit/state/test_record.py::test_an_unreadable_file_is_an_error"),
    ("so the start time of PID 1 is part of it", "tests/unit/system/test_boot.py::test_another_init_is_another_boot"),
    ("Two facts live only within one kernel boot",
     "tests/unit/state/test_record.py::test_boot_facts_live_for_one_boot"),
    ("A fence counts only when the method verified that the peer lost power or was reset, memory gone",
     "tests/unit/actions/test_fence.py::test_no_method_that_verifies_means_not_fenced"),
    ("Detection + `fence_delay` + fence time-outs must fit, or the configuration is refused.",
     "tests/unit/config/test_mistakes.py::test_lease_detail_adds_up"),
    ("says what may be lost", "tests/unit/orders/test_order_table.py::test_a_forced_promotion_says_what_may_be_lost"),
)  # fmt: skip
"""Rules that the driver keeps, not the core: the simulated driver keeps them by its make; the test of the real one."""
