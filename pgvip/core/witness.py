"""The witness: what is heard of leases, the registers that are asked for, the count that never goes backwards.

A third place that both hosts can reach keeps one register for each term, written once. It decides between two hosts
that do not hear each other; while they do, nobody needs it (docs/protocol.md, "The witness").
"""

from __future__ import annotations

import math
from dataclasses import replace

from pgvip.core import lease
from pgvip.core.actions import ClaimTerm, KillPostgres, Result
from pgvip.core.knowledge import Claim
from pgvip.core.messages import Message
from pgvip.core.round import Round
from pgvip.core.values import NEVER, Lease, Mode, Record, Serial


def echoed(r: Round, message: Message) -> None:
    """The peer has heard what this host sent in this boot: the lease runs from when that was sent.

    What a claimer says prolongs nothing: it counts from when it last heard this host.
    """
    own, old = r.k.durable.record, r.k.witness.lease
    if own is None or not own.witness_id or message.record is None or message.record.term != own.term:
        return
    if message.claiming or message.echo_boot != r.k.who.boot_id or message.echo_s > r.now_s:
        return
    if old is None or old.term != own.term or old.sent_s < message.echo_s:
        earlier = old is not None and message.echo_s < r.k.who.started_s  # this process did not send it
        lasts_s = old.lasts_s if earlier and old is not None else math.inf
        r.k.witness = replace(r.k.witness, lease=Lease(own.term, message.echo_s, lasts_s))
        if not lease.over(r.facts()):
            r.k.witness = replace(r.k.witness, won_term=-1)


def echo(r: Round) -> tuple[str, float]:
    """What this host says of the peer's newest message; nothing while it is claiming."""
    v, heard = r.facts(), r.k.peer.heard
    if heard is None or not lease.witnessed(v) or r.k.fencing.claim is not None:
        return "", NEVER
    return heard.message.boot_id, heard.message.sent_s


def recorded(r: Round, old: Record | None, record: Record) -> None:
    """A new term: where this host has made the pair whole, its lease begins.

    Whoever may leave this term has to hear of it first. Who adopts a pair has no lease before an echo: the primary may
    have ceased to hear it long ago. What another witness counted says nothing of this one.
    """
    heard = r.k.peer.heard_record
    if old is None or old.witness_id != record.witness_id:
        r.k.witness = replace(r.k.witness, rolled_back="", learned_s=NEVER)
    if record.mode is not Mode.PAIR or not record.witness_id or record.primary != r.s.me:
        return
    if heard is None or heard.term < record.term:
        r.k.witness = replace(r.k.witness, lease=Lease(record.term, r.now_s))


def passing(r: Round) -> None:
    """What time and the outside change: the peer's addresses, this host's own server, the witness's count."""
    _jumped(r)
    v, known = r.facts(), r.k.witness
    # Not by what was seen of it before it was gone.
    if known.killed and not v.is_running(KillPostgres) and lease.leased(v) and (v.read_write or v.recovering):
        r.k.witness = known = replace(known, killed=False)
    over_s = 0.0 if lease.leased(v) or not v.primary else r.now_s - lease.lease_end_s(v)
    writes = v.processes is not None and v.may_write  # what was not looked at yet is no sign of it
    late = over_s > 0.0 and (known.late or (writes and over_s > r.s.lease_stop_s))
    if late is not known.late:
        r.k.witness = known = replace(known, late=late)
    if v.solo and v.primary and not lease.let_go(v):
        # By the record, not by what it says it holds: it gives both addresses up before it writes. A daemon that is
        # gone gives up nothing: time counts only where nothing of the peer answers.
        adopted = v.peer is not None and not v.peer.claiming
        if adopted or r.k.power.peer_off or (lease.waited(v) and v.peer_silent):
            r.k.witness = replace(known, free_term=v.term)
    watch = v.seen.witness
    if watch.value is not None and watch.at_s > known.learned_s and watch.ok():
        _counted(r, watch.value.witness_id, watch.value.serial, r.k.durable.serial.granted)


def _jumped(r: Round) -> None:
    """The two clocks of this host moved apart: perhaps it was paused, and its lease is over by every other clock.

    It has two heartbeats to hear that the peer has heard it since; a clock that was only set does no more than that.
    """
    known, latest_s = r.k.witness, r.now_s - r.s.lease_s + 2 * r.s.heartbeat_s
    if r.inputs.jumped and known.lease is not None and known.lease.sent_s > latest_s:
        r.k.witness = replace(known, lease=known.lease._replace(sent_s=latest_s))


def _counted(r: Round, witness_id: str, count: int, before: int) -> None:
    """Remember the highest count; a lower one than was known before it was asked for is an alarm [m 18]."""
    record, durable = r.k.durable.record, r.k.durable
    if record is None or not witness_id or witness_id != record.witness_id:
        return
    known = durable.serial.granted if durable.serial.witness_id == witness_id else 0
    if count < min(before, known):
        if not r.k.witness.rolled_back:
            text = f"witness {witness_id} has granted {count} claims, and said {known} before"
            r.k.witness = replace(r.k.witness, rolled_back=text)
    elif count > known and r.write(replace(durable, serial=Serial(witness_id, count))):
        r.k.witness = replace(r.k.witness, learned_s=r.now_s)


def ask(r: Round, c: Claim) -> Claim:
    """Ask for the register of the claim's term, again and again until the witness answers."""
    v = r.facts()
    if v.record is None or v.is_running(ClaimTerm):
        return c
    action = ClaimTerm(r.attempt(), v.record.witness_id, c.term)
    if r.start(action):
        c = replace(c, asked=action.attempt, serial=_known(r, v.record.witness_id))
        r.k.fencing = replace(r.k.fencing, claim=c)
    return c


def _known(r: Round, witness_id: str) -> int:
    serial = r.k.durable.serial
    return serial.granted if serial.witness_id == witness_id else 0


def answered(r: Round, result: Result) -> str:
    """The witness has answered a claim, or has not: why this host's open claim has failed by it, or ""."""
    action, answer, claim = result.action, result.claimed, r.k.fencing.claim
    if not isinstance(action, ClaimTerm):
        return ""
    mine = claim is not None and claim.asked == action.attempt and not claim.won
    if not result.ok or answer is None:
        return f"the witness does not answer: {result.text}" if mine else ""
    _counted(r, action.witness_id, answer.serial, claim.serial if claim is not None and mine else 0)
    won = answer.winner == r.s.me
    r.note("claimed", f"the register of term {action.term} is that of {answer.winner}", winner=answer.winner)
    if not won:
        r.k.witness = replace(r.k.witness, lost_term=action.term)
    if claim is None or not mine:
        return ""
    if r.k.witness.rolled_back:
        return r.k.witness.rolled_back
    if not won:
        return f"the register of term {action.term} is that of {answer.winner}"
    r.k.fencing = replace(r.k.fencing, claim=replace(claim, won=True, asked=""))
    if not claim.takeover:
        r.k.witness = replace(r.k.witness, won_term=action.term)
    return ""
