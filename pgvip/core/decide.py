"""The decision: a pure function of what is known, what was seen, the settings and the time.

Two things to know before reading on.

First: everything that decides who may serve is in this package, and nothing in this package touches the world. No I/O,
no clock, no threads, no randomness. What happened since the last round comes in as `Inputs`, what is to be done goes
out as `Decision`. The daemon, `explain`, the simulation and the exhaustive search call this very function.

Second: a round follows no plan. It compares what is so with what the rights allow and starts at most the next step;
what is not done yet is found again by the next round. Only three things are carried on from round to round, because
none of them may be forgotten half done: a give-up that this host agreed to, a claim that it opened, a record that it is
writing. The table is not read while it gives up or writes, and a host that claims gives no consent.

The order of the blocks in `decide` is the contract: whoever loses by a change gives up, verified, and writes that down
before whoever gains. Each block rests on what the blocks above it made of the knowledge, never on what comes below.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pgvip.core import adoption, consent, converge, fencing, intake, power_orders, promotion, speak
from pgvip.core.changes import NONE, NOT_CALLED_OFF, Change, choose
from pgvip.core.guard import guard
from pgvip.core.isolation import isolate
from pgvip.core.knowledge import Clock, Decision, Grants, Knowledge, Peer, Power, Promotion
from pgvip.core.lease import due_s
from pgvip.core.messages import AddressFree
from pgvip.core.round import Round
from pgvip.core.settings import Identity, Inputs, Settings
from pgvip.core.values import BootFacts, Durable, Witnessed
from pgvip.core.warnings import reported, standing


def begin(who: Identity, durable: Durable, facts: BootFacts) -> Knowledge:
    """The knowledge of a daemon that starts: what was durable, and this boot's facts.

    A record below the term that was confirmed in this boot was rolled back: then nothing is confirmed. Of leases that
    still come, only those that echo this process's clock count: an older process may have seen the clocks jump.
    """
    term = durable.record.term if durable.record else -1
    confirmed = facts.confirmed and term >= facts.confirmed_term
    told = confirmed and facts.address_term == term
    return Knowledge(
        who=who,
        durable=durable,
        confirmed=confirmed,
        grants=Grants(
            grant=facts.grant if confirmed else None,
            address=AddressFree(term, who.boot_id) if told else None,
            revoked_s=facts.revoked_s,
        ),
        power=Power(doubt_s=facts.doubt_s),
        promotion=Promotion(unverified=durable.served),
        peer=Peer(met=facts.met),
        clock=Clock(jumped_s=who.started_s),
        witness=_witnessed(facts) if confirmed else Witnessed(peer_lasts=facts.peer_lasts),
    )


def _witnessed(facts: BootFacts) -> Witnessed:
    return Witnessed(
        facts.lease, won_term=facts.won_term, free_term=facts.free_term, peer_lasts=facts.peer_lasts
    )


def boot_facts(knowledge: Knowledge, lease_s: float = math.inf) -> BootFacts:
    """What of the knowledge outlives this process, but not this boot. `lease_s`: of its messages so far."""
    k, lease, heard = knowledge, knowledge.witness.lease, knowledge.peer.heard
    if lease is not None:
        lease = lease._replace(lasts_s=min(lease.lasts_s, lease_s))
    term = k.durable.record.term if k.durable.record and k.confirmed else 0
    told = k.grants.address.term if k.grants.address else -1
    doubt_s = max(k.power.doubt_s, k.power.fence_s)
    return BootFacts(
        k.confirmed, term, k.grants.grant, told, doubt_s, k.peer.met,
        revoked_s=k.grants.revoked_s, lease=lease, free_term=k.witness.free_term, won_term=k.witness.won_term,
        peer_lasts=heard.message.lease_s if heard else k.witness.peer_lasts,
    )  # fmt: skip


def decide(knowledge: Knowledge, inputs: Inputs, settings: Settings, now_s: float) -> Decision:
    """One round: take in, carry on what is under way, choose, converge, speak."""
    r = Round(knowledge.copy(), inputs, settings, now_s)

    # What came in. Results first: orders and messages are judged by the record that is really on disk by now.
    intake.awake(r)
    intake.results(r)
    intake.commands(r)
    intake.messages(r)

    # What time alone changes: pauses, leases and orders that have run out are gone before anything rests on them.
    intake.pause_ends(r)
    intake.passing(r)
    power_orders.orders(r)

    # Whether this host is confirmed, and whether it is cut off: the rights below depend on both.
    intake.confirm(r)
    isolate(r)

    # A higher record ends every intent of this host, so it comes before the table; an operator's force comes before it.
    fencing.force(r)
    adoption.adopt(r)

    # What this host would change. A claim goes on before a consent is given: a claimer gives none [m 4].
    row = chosen = _choose(r)
    drawn = r.facts()
    fencing.claim(r, row)
    consent.begin(r, row)
    consent.give_up(r)

    # Where that changed anything, the table is read again: what it said before may be true no more. Then the change
    # that takes from this host alone; it needs nobody, and waits for the others.
    row = chosen if r.facts() is drawn else _choose(r)
    consent.own(r, row)

    # What a promotion left out, the server, the synchronous names, the proof for the standby, the addresses, the
    # archive: as the rights are by now. The server comes before the addresses, which wait for it; among the addresses,
    # dropping comes before raising.
    promotion.verify(r)
    converge.postgres(r, row)
    converge.revoke(r)
    converge.sync_names(r)
    converge.grants(r)
    converge.addresses(r)
    converge.archive(r)
    r.forget_unwanted()

    # The peer's power after all that: it is switched on only when no claim and no write is left open.
    power_orders.off(r)
    converge.power_on(r)

    # At the end, what others are told: the peer, operators and the watchdog are to hear what this round has come to.
    speak.role(r)
    message = speak.message(r, row)
    warnings = standing(r.facts())
    message = speak.reporting(message, reported(warnings))
    wake = tuple(dict.fromkeys(r.wake))
    return Decision(r.k, tuple(r.actions), message, tuple(r.notes), warnings, wake, guard(r), due_s(r.facts()))


def _choose(r: Round) -> Change:
    """The table's row for this round; while something is under way, nothing else is begun."""
    k, facts = r.k, r.facts()
    if k.consent.giving_up is not None or k.intent.writing is not None:
        return NONE
    if facts.higher is not None or facts.record is None:
        return NONE
    row = _chosen(r)
    if row.name != k.intent.row:
        k.intent = replace(k.intent, row=row.name, row_since_s=r.now_s)
        if row != NONE:
            r.note("intent", f"{row.name}: {row.because}", change=row.name)
    elif NOT_CALLED_OFF in row.when and r.now_s - k.intent.row_since_s >= r.s.consent_s:
        consent.call_off(r, f"{row.name}: {r.s.peer} did not take the role")
        row = _chosen(r)
    return row


def _chosen(r: Round) -> Change:
    row, blockers = choose(r.facts())
    if blockers != r.k.intent.blockers:
        r.k.intent = replace(r.k.intent, blockers=blockers)
    return row
