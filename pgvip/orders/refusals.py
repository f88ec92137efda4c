"""What prevents a fence by order, in words, and what an operator must know and type before it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgvip.core.conditions import STAYS, Condition, unmet
from pgvip.core.facts import Facts
from pgvip.core.messages import Message
from pgvip.core.removed_peer import NOT_REMOVED, REMOVE, removed
from pgvip.core.rights import SOLO, TAKEOVER, eligible
from pgvip.errors import RefusedError
from pgvip.orders.desk import under_way
from pgvip.status.snapshot import Snapshot
from pgvip.text.writing import duration


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be done. `warning`: what that means; `word`, `what`: what must be typed first, or ""."""

    text: str
    warning: str = ""
    word: str = ""
    what: str = ""


def facts_of(snapshot: Snapshot) -> Facts:
    """The facts of a round."""
    return Facts(snapshot.decision.knowledge, snapshot.seen, snapshot.config.settings, snapshot.at_s)


def must_have_fencing(snapshot: Snapshot) -> None:
    """RefusedError where no fence method is configured."""
    if not snapshot.config.settings.fencing:
        raise RefusedError(
            f'fencing = "none" is configured for host {snapshot.config.peer.name}',
            hint="Configure a fence method first.",
        )


def failover(snapshot: Snapshot) -> Plan:
    """Take over now, from the standby; RefusedError says what to use instead where that cannot be."""
    v, me, peer = facts_of(snapshot), snapshot.config.me.name, snapshot.config.peer.name
    if v.primary:
        raise RefusedError(
            f"{me} is the primary: a failover is ordered on the standby",
            hint=f"On {peer}: pgvip failover. To move the role in an orderly way, on either host: pgvip switchover",
        )
    must_have_fencing(snapshot)
    must_have_right(snapshot)
    text = f"failover: {me} has {peer} powered off, verified, and becomes primary; {peer} is switched on again"
    theirs = v.message
    if theirs is None or not (theirs.read_write or theirs.database_ok):
        return Plan(text)
    warning = (
        f"{peer} answers, and could hand its role over: pgvip switchover does that without powering it off, and every "
        f"session ends in an orderly way. A failover cuts its power. {loss(snapshot)}"
    )
    return Plan(text, warning, snapshot.config.name, "the pair's name")


def must_have_right(snapshot: Snapshot) -> None:
    """RefusedError unless this standby has the takeover right, with what is missing."""
    _must_be_idle(snapshot)
    forced = f"If {snapshot.config.peer.name} is lost for good: pgvip promote --force, which says what may be lost."
    _must_hold(snapshot, TAKEOVER, forced)


def _must_be_idle(snapshot: Snapshot) -> None:
    doing = under_way(snapshot)
    if doing:
        raise RefusedError(f"a change is under way: {doing}", hint="Wait until it is over; see pgvip status.")


def _must_hold(snapshot: Snapshot, conditions: Sequence[Condition], otherwise: str = "") -> None:
    """RefusedError with the conditions that do not hold. `otherwise`: what can be done where they never will."""
    missing = unmet(conditions, facts_of(snapshot))
    if missing:
        first, *others = missing
        detail = f"Also: {'; '.join(one.text for one in others)}." if others else ""
        raise RefusedError(first.text, detail, f"To repair it: {first.hint}. {otherwise}".strip())


def fence_off(snapshot: Snapshot, *, force: bool) -> Plan:
    """Power the peer off, and keep it off; RefusedError where nobody would serve afterwards."""
    v, me, peer = facts_of(snapshot), snapshot.config.me.name, snapshot.config.peer.name
    must_have_fencing(snapshot)
    _must_hold(snapshot, (NOT_REMOVED,))
    _must_be_idle(snapshot)
    if v.record is None or not v.k.confirmed:
        raise RefusedError(f"{me} has no confirmed record: who serves is not known", hint="See pgvip status.")
    what = f"the name of the host to power off ({peer})"
    stays = f"{peer} stays off until pgvip fence on, or until somebody switches it on."
    if v.primary and v.solo:
        return Plan(f"fence off: {peer} is powered off; {me} serves on alone", stays, peer, what)
    if v.primary:
        _must_hold(snapshot, (*SOLO, STAYS))
        return Plan(f"fence off: {peer}, the standby, is powered off; {me} serves alone, with both addresses", stays,
                    peer, what)  # fmt: skip
    if not force:
        raise RefusedError(
            f"{peer} is the primary",
            f"Powering it off makes {me} primary (a failover), and {peer} stays off.",
            "pgvip switchover first, then fence off; or pgvip failover; or, if you mean it: pgvip fence off --force",
        )
    must_have_right(snapshot)
    text = f"fence off: {peer}, the primary, is powered off and stays off; {me} becomes primary"
    return Plan(text, f"{loss(snapshot)} {stays}", peer, what)


def fence_on(snapshot: Snapshot) -> Plan:
    """Switch the peer on."""
    must_have_fencing(snapshot)
    _must_hold(snapshot, (NOT_REMOVED,))
    if snapshot.decision.knowledge.fencing.claim is not None:
        raise RefusedError(f"{snapshot.config.peer.name} is being fenced", hint="Wait until that is over.")
    return Plan(f"fence on: {snapshot.config.peer.name} is switched on; it rejoins by itself")


def confirm(snapshot: Snapshot) -> Plan:
    """An operator's word in place of the fence device's."""
    claim, peer = snapshot.decision.knowledge.fencing.claim, snapshot.config.peer.name
    if claim is None:
        raise RefusedError("no claim is open: nothing waits for a fence", hint="See: pgvip status")
    text = f"fence confirm: {peer} counts as powered off; {snapshot.config.me.name} goes on with {claim.change}"
    warning = (
        f"{snapshot.config.me.name} has tried to power {peer} off {claim.tries} times "
        f"in {duration(snapshot.at_s - claim.since_s)} "
        f"({claim.change}, because of {claim.why.value}), and will serve alone. If {peer} is not off, or comes back "
        f"by itself, both may write."
    )
    return Plan(text, warning, peer, f"the name of the host that you have seen powered off ({peer})")


def promotion(snapshot: Snapshot, *, unfenced: bool, force_healthy: bool) -> Plan:
    """A forced promotion: what may be lost, by how much. RefusedError for a pair that is well."""
    v, me, peer = facts_of(snapshot), snapshot.config.me.name, snapshot.config.peer.name
    if not unfenced and not snapshot.config.settings.fencing:
        raise RefusedError(
            f'fencing = "none" is configured for {peer}: it cannot be fenced first',
            "If it runs, or comes back by itself, both hosts write.",
            "See that it is off and stays off, then: pgvip promote --force --without-fence",
        )
    if not unfenced and removed(v):
        raise RefusedError(
            f"{peer} is removed: it is not fenced",
            "Its fence device may be another machine's by now.",
            "See that it is off and stays off, then: pgvip promote --force --without-fence",
        )
    if not force_healthy and _is_well(v):
        serves = me if v.primary else peer
        raise RefusedError(
            f"nothing has to be forced: {serves} serves" + (" already" if v.primary else ""),
            hint="To move the role: pgvip switchover. If you mean it all the same: --although-healthy",
        )
    fenced = "without fencing" if unfenced else "after fencing"
    text = f"forced promotion of {me} {fenced} {peer}: commits that only {peer} has are lost here and kept there (hold)"
    off = f"{peer} is NOT fenced: if it runs, both write." if unfenced else f"{peer} is powered off first."
    warning = f"{me} becomes primary of {snapshot.config.name} by force. {off} {loss(snapshot)}"
    return Plan(text, warning, snapshot.config.name, "the pair's name")


def removal(snapshot: Snapshot) -> Plan:
    """Remove the peer, for good; RefusedError unless this host serves alone, and the peer's server is down or gone."""
    me, peer = snapshot.config.me.name, snapshot.config.peer.name
    _must_be_idle(snapshot)
    _must_hold(snapshot, REMOVE)
    text = f"remove-peer: {me} serves alone from now on, without waiting for {peer}; its replication slot is dropped"
    warning = (
        f"If {me} fails then, nobody takes over. {peer} does not become a standby again before pgvip add-peer, and may "
        f"have to be cloned then."
    )
    return Plan(text, warning, peer, f"the name of the host that is removed ({peer})")


def _is_well(v: Facts) -> bool:
    """This primary serves; or this standby hears a confirmed primary that does."""
    if v.record is None or not v.k.confirmed or v.k.peer.alarm:
        return False
    if v.primary:
        return v.read_write and v.database_healthy
    return v.peer_serves and bool(v.message and v.message.database_ok)


def loss(snapshot: Snapshot) -> str:
    """What a takeover here may lose, by the positions that are known."""
    v, me, peer = facts_of(snapshot), snapshot.config.me.name, snapshot.config.peer.name
    mine, heard = v.point, v.k.peer.heard
    here = f"{me} has WAL up to {mine.lsn} (timeline {mine.timeline})" if mine else f"what WAL {me} has is not known"
    if v.primary:
        return f"{here}. What {peer} alone has, if it ever served, is lost here."
    if heard is None or heard.message.point is None:
        return f"{here}; {peer} was not heard since this start. How much is lost cannot be known."
    return f"{here}; {_behind(v, heard.message, snapshot.at_s - heard.at_s)}. {_promise(v)}"


def _behind(v: Facts, message: Message, age_s: float) -> str:
    mine, theirs = v.point, message.point
    assert theirs is not None  # the caller looked
    text = f"{v.s.peer} was at {theirs.lsn} (timeline {theirs.timeline}) {duration(age_s)} ago"
    if mine is None or mine.timeline != theirs.timeline:
        return f"{text}, on another history: how much is lost cannot be known"
    missing = max(0, theirs.lsn - mine.lsn)
    return f"{text}: {missing} bytes of it are missing here" if missing else f"{text}: all of it is here"


def _promise(v: Facts) -> str:
    if eligible(v):
        if v.sync_term:
            return "The pair is synchronous and this host eligible: no acknowledged commit is lost."
        return f"The pair is asynchronous: what was committed after that is lost, at most {v.s.lag_s_max:g} s of it."
    if v.sync_term:
        return f"This host is not eligible: acknowledged commits may be lost, and {v.s.peer} may have gone on alone."
    return f"Nothing bounds the loss: {v.s.peer} may have gone on since."
