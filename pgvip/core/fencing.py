"""Changes by fence or witness: a claim, what it needs, the record once it has that [m 6]; an operator's force.

A claim begins before the witness is asked or the fence command is sent, its reasons are checked again in every round,
and any change of the record ends it. Only the result of its own attempt counts [m 5]. Where a witness counts, the
register of the term comes first, and the claimer is mute from before it asks.
"""

from __future__ import annotations

from dataclasses import replace

from pgvip.core import lease, veto, witness
from pgvip.core.actions import Fence, Result, Subject
from pgvip.core.changes import ROWS, By, Change
from pgvip.core.conditions import holds
from pgvip.core.knowledge import Claim, Why
from pgvip.core.removed_peer import removed
from pgvip.core.rights import next_term, solo_right, stays_right, takeover_right
from pgvip.core.round import Round
from pgvip.core.values import FORCE_STEP, NEVER, Durable, Mode, Record

FORCED = "forced by an operator"
"""How the cause of a forced record begins."""


def claim(r: Round, row: Change) -> None:
    """Open a claim when a row by fence has held for its delay; carry an open one on."""
    k, held = r.k, r.k.fencing.claim
    if held is not None and held.why is Why.UNHEARD and row.why not in (None, Why.UNHEARD) and k.intent.writing is None:
        end_claim(r, f"{row.name} comes first")  # it only takes the place of the lease, for as long as that takes
    elif held is not None:
        _carry_on(r, held)
        return
    if row.why is None or k.intent.writing is not None or k.consent.giving_up is not None:
        if k.fencing.waiting:
            k.fencing = replace(k.fencing, waiting="")
        return
    waits = row.by is By.WITNESS
    if not r.s.fencing and not waits:
        return
    if k.fencing.waiting != row.name:
        k.fencing = replace(k.fencing, waiting=row.name, waiting_since_s=r.now_s)
        if row.delayed:
            r.wake.append("fence")
    if not veto.permitted(r, row) or (row.delayed and _delays(r)):
        return
    open_claim(r, row.name, row.why, takeover=row.takes_over, waits=waits)


def _delays(r: Round) -> bool:
    """The primary may be about to fence this host, and goes first.

    Not one whose device says, since the primary was last heard, that it has no power: after a boot it does not fence
    before it is confirmed. The fence itself is ordered and verified all the same, under a claim of its own.
    """
    v, device = r.facts(), r.inputs.seen.fence
    off = device.value == "off" and device.at_s > v.heard_life_s and not v.stale(device, Subject.POWER)
    return not off and r.now_s - r.k.fencing.waiting_since_s < r.s.fence_delay_s


def open_claim(r: Round, change: str, why: Why, *, takeover: bool, waits: bool = False) -> None:
    """A claim begins before the witness is asked, or its fence command is sent."""
    v, term = r.facts(), r.facts().term
    asks = lease.witnessed(v) and not (why is Why.ORDER and r.k.orders.unwitnessed)
    begun = Claim(change, term, why, takeover, "" if asks else r.attempt(), r.now_s, won=not asks, waits=waits)
    r.k.fencing = replace(r.k.fencing, claim=begun, waiting="", veto=None)
    if asks:
        r.note("claim", f"{change}: asking the witness for term {term}", change=change, why=why.value, tries=1)
        # That it was asked is kept: the term is left by consent when the pair is whole again.
        if r.k.durable.claimed_term != term:
            r.write(replace(r.k.durable, claimed_term=term))
        witness.ask(r, begun)
        return
    r.k.power = replace(r.k.power, fence_s=r.now_s)
    r.note("claim", f"{change}: fencing {r.s.peer}, term {term}", change=change, why=why.value, tries=1)
    r.start(Fence(begun.attempt))


def end_claim(r: Round, why: str) -> None:
    """Abandon the claim: whatever its fence still does, its result does not count."""
    if r.k.fencing.claim is not None and r.k.fencing.claim.why is Why.OPERATOR:
        r.k.orders = replace(r.k.orders, fence_order=None)  # it was good for this one
    r.k.fencing = replace(r.k.fencing, claim=None)
    r.note("claim-ended", why)


def _carry_on(r: Round, c: Claim) -> None:
    """Check the claim's reasons again; then ask or fence again, or write once it has all that it needs [m 6].

    What the peer said before it was off says nothing once it is; and should it have booted since, nobody answered it.
    """
    v, k = r.facts(), r.k
    if k.intent.writing is not None:
        return
    keeps = (stays_right if c.why is Why.UNHEARD else solo_right)(v) and not k.orders.leaving
    right = (takeover_right(v) if c.takeover else keeps) or c.why is Why.ORDER
    followed_s = max(k.peer.heard.at_s if k.peer.heard else NEVER, v.stream_at_s)
    if c.term != v.term or v.higher is not None:
        end_claim(r, "the record changed")
    elif c.why is Why.SILENCE and v.heard_life_s > c.since_s and (not c.fenced or c.by_word):
        end_claim(r, "the peer was heard")
    elif c.why is Why.UNHEARD and k.peer.heard is not None and k.peer.heard.at_s > c.since_s:
        end_claim(r, "the peer's daemon was heard")
    elif c.why is Why.UNFOLLOWED and followed_s > c.since_s and (not c.fenced or c.by_word):
        end_claim(r, "the peer's daemon was heard, or the peer follows again")
    elif c.why is Why.OPERATOR and c.by_word and not v.peer_silent:
        end_claim(r, "the peer answers, and nothing but an operator's word says that it is off")
    elif c.why is Why.CANNOT and v.message is not None and not v.message.cannot:
        end_claim(r, "the peer says that it has given up")
    elif not right:
        end_claim(r, "the right to it was lost")
    elif not c.won:
        witness.ask(r, c)
    elif c.fenced or _lease_suffices(r, c):
        _shorten_wait(r, c)
        _write_claimed(r, c)
    elif _needs_fence(r, c) and r.now_s >= c.retry_at_s and not v.is_running(Fence):
        _fence(r, c)


def _lease_suffices(r: Round, c: Claim) -> bool:
    """No fence is needed: nothing is taken from the peer but by and by, or all that its lease allowed it has ended.

    A primary that has won only to go on changes nothing while its peer answers by some path and follows.
    """
    v = r.facts()
    if c.why is Why.UNHEARD:
        return holds(ROWS[c.change].then, v)
    return c.waits and (not c.takeover or v.primary or not v.pair or lease.waited(v))


def _needs_fence(r: Round, c: Claim) -> bool:
    """A fence is to be tried: it is the only way, or it shortens the wait."""
    return r.s.fencing and (not c.waits or (c.takeover and c.why is not Why.ORDER))


def _shorten_wait(r: Round, c: Claim) -> None:
    """A primary that has won writes at once, and waits with the standby's address only: a fence ends that wait.

    Its result comes when the claim has ended by then, and says no more than that the peer is off. One try: the wait is
    over before a second one would be.
    """
    v, may = r.facts(), r.s.fencing and r.k.confirmed and not r.k.durable.kept_off
    if c.why is Why.UNHEARD and not c.attempt and may and not v.paused and not v.is_running(Fence):
        _fence(r, c)


def _fence(r: Round, c: Claim) -> None:
    """Send the fence command; where the witness came first, for the first time."""
    again, tries = ("again, ", c.tries + 1) if c.attempt else ("", c.tries)
    c = replace(c, attempt=r.attempt(), tries=tries)
    r.k.fencing = replace(r.k.fencing, claim=c)
    r.k.power = replace(r.k.power, fence_s=r.now_s)
    text = f"{c.change}: fencing {r.s.peer} {again}try {tries}"
    r.note("claim", text, change=c.change, tries=tries)
    r.start(Fence(c.attempt))


def _write_claimed(r: Round, c: Claim) -> None:
    v, durable = r.facts(), r.k.durable
    if c.why is Why.ORDER:
        _write_forced(r)
        return
    if v.record is None:
        return
    record = replace(
        v.record,
        term=r.next_term(),
        primary=r.s.me,
        mode=Mode.SOLO,
        from_term=None,
        handover=None,
        cause=c.change,
        at=r.inputs.wall,
    )
    taken = Durable(
        record, complete=True, hold=durable.hold, pause=durable.pause, kept_off=durable.kept_off, serial=durable.serial
    )
    r.write(taken if c.takeover else replace(durable, record=record))


def claimed(r: Round, result: Result) -> None:
    """The witness has answered, or not. Only the question of the open claim counts."""
    failure = witness.answered(r, result)
    claim = r.k.fencing.claim
    if not failure or claim is None:
        return
    if claim.why is Why.ORDER:
        r.k.fencing = replace(r.k.fencing, claim=None)
        r.k.orders = replace(r.k.orders, force=False)
        r.note("force-failed", f"{failure}; nothing changed")
    elif claim.why is Why.OPERATOR:
        end_claim(r, failure)
        r.note("fence-order-failed", f"{failure}; nothing changed")
    elif result.ok:
        end_claim(r, failure)


def fenced(r: Round, attempt: str, *, ok: bool, text: str) -> None:
    """A fence ended. Only the open claim's own attempt counts, once [m 5]."""
    claim = r.k.fencing.claim
    mine = claim is not None and claim.attempt == attempt and not claim.fenced
    if ok:
        r.k.power = replace(r.k.power, peer_off=True, power_pending=True)
        r.note("fenced", f"{r.s.peer} is verified off" if mine else f"{r.s.peer} is off, but the claim has ended")
    else:
        r.k.power = replace(r.k.power, doubt_s=r.now_s)
        r.note("fence-failed", text, peer=r.s.peer, tries=claim.tries if claim else "")
    if claim is None or not mine:
        return
    if ok:
        r.k.fencing = replace(r.k.fencing, claim=replace(claim, fenced=True))
    elif claim.why is Why.ORDER:
        r.k.fencing = replace(r.k.fencing, claim=None)
        r.k.orders = replace(r.k.orders, force=False)
        r.note("force-failed", "the peer could not be fenced; nothing changed")
    elif claim.why is Why.OPERATOR:
        r.k.fencing = replace(r.k.fencing, claim=None)
        r.k.orders = replace(r.k.orders, fence_order=None)
        r.note("fence-order-failed", "the peer could not be fenced, as an operator ordered; nothing changed")
    else:
        r.k.fencing = replace(r.k.fencing, claim=replace(claim, retry_at_s=r.now_s + r.s.fence_retry_s))


def force(r: Round) -> None:
    """Carry out an operator's forced promotion: fence first, where there is a way."""
    k = r.k
    forced = k.fencing.claim is not None and k.fencing.claim.why is Why.ORDER
    if not k.orders.force or k.intent.writing is not None or forced:
        return
    k.consent = replace(k.consent, giving_up=None)  # nothing is written yet: the operator's word comes first
    if k.fencing.claim is not None:
        end_claim(r, "an operator forces a promotion")  # its fence may fail for ever, which is why they do
    asks = lease.witnessed(r.facts()) and not k.orders.unwitnessed
    fences = r.s.fencing and not k.orders.unfenced and not k.power.peer_off
    if fences and removed(r.facts()):
        k.orders = replace(k.orders, force=False)
        r.note("force-failed", f"{r.s.peer} is removed, and is not fenced; nothing changed")
        return
    if asks or fences:
        open_claim(r, "forced", Why.ORDER, takeover=True, waits=not fences)
        return
    _write_forced(r)


def _write_forced(r: Round) -> None:
    """Write the forced record: own parity, a large step above everything heard.

    The fence came before (a claim with `Why.ORDER`), or the operator said that there is none; the record's cause,
    which both hosts log, says which.
    """
    claim = r.k.fencing.claim
    fenced_first = r.k.power.peer_off or (claim is not None and claim.why is Why.ORDER and claim.fenced)
    heard = r.k.peer.heard_record.term if r.k.peer.heard_record else 0
    own = r.k.durable.record
    unasked = bool(r.k.orders.unwitnessed and own and own.witness_id)
    above = max(heard, own.term if own else 0) + FORCE_STEP
    record = Record(
        pair_id=r.k.who.pair_id,
        system_id=r.k.who.system_id,
        term=next_term(above, first=r.s.me_first),
        primary=r.s.me,
        mode=Mode.SOLO,
        sync=r.s.sync,
        cause=FORCED
        + ("" if fenced_first else f"; {r.s.peer} was not fenced")
        + ("; the witness was not asked" if unasked else ""),
        at=r.inputs.wall,
        witness_id=r.s.witness_id,
    )
    served = r.k.durable.served and own is not None and own.primary == r.s.me
    r.write(replace(r.k.durable, record=record, served=served, complete=True, hold="", lacks=False))
