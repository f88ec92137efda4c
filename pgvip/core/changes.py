"""The protocol: one ordered table of every change of role, who makes it, when, and why.

The first row whose state and conditions hold is this host's intent for the round; the last row always
holds, so `choose` is total. A row's name appears in the log, the history, `status`, tests and documents.
`docs/changes.md` is made from this table, by `scripts/state-diagram`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pgvip.core.actions import Fence, SetSyncNames, StartPostgres, Subject
from pgvip.core.conditions import CONFIRMED, MAY_CLAIM, NOT_PAUSED, PEER_ANSWERS, STAYS, Condition, filled
from pgvip.core.facts import Facts
from pgvip.core.following import unfollowed
from pgvip.core.knowledge import Why
from pgvip.core.lease import register_used, unheard, witnessed
from pgvip.core.messages import Want
from pgvip.core.removed_peer import NOT_REMOVED
from pgvip.core.rights import ENTITLED, GOES_ON, PEER_READY, RETURN, SERVING, SOLO, TAKEOVER, TAKER, alone_by_choice
from pgvip.core.values import NEVER, Mode, Override

CRASHES = 3
"""From this many crashes within the hold-off on, this one included, the server is restarted where it is."""

RESTART_S = 10.0
"""A restart in place after a crash that takes longer is given up for a hand-over: there is much to recover."""


class By(StrEnum):
    """How a change comes about."""

    INVITE = "invite"
    """I am primary and would give the role up: ask the standby to request it."""
    REQUEST = "request"
    """Ask for the peer's consent; the peer gives up, writes, and I adopt."""
    FENCE = "fence"
    """Power the peer off, verified; then write."""
    OWN = "own"
    """Write it: it takes only from me."""
    WITNESS = "witness"
    """Have the register of the term; where the role moves, wait until the peer's lease is over too; then write."""
    NOTHING = "nothing"


class Part(StrEnum):
    """Which of the two this host is, by the record."""

    PRIMARY = "primary"
    STANDBY = "standby"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Change:
    """One row: in state (`part`, `mode`), `by` these means, `when` all conditions hold, `because`.

    `why`: of a row by fence, why it claims; `delayed`: whether the claim waits `fence_delay` first. `takes_over`: the
    role comes to this host. `want`: what a row by request asks for. `witness`: the row is there only where a witness
    counts, or only where none does; None: in both cases. Where one counts, a row by fence needs the register as well.
    `then`: what must hold besides when it writes; until then the register takes the place of the lease, no more.
    """

    name: str
    part: Part
    mode: Mode | None
    by: By
    when: tuple[Condition, ...]
    because: str
    want: Want | None = None
    why: Why | None = None
    delayed: bool = False
    takes_over: bool = False
    witness: bool | None = None
    then: tuple[Condition, ...] = ()

    @property
    def moves(self) -> bool:
        """The role goes from one host to the other."""
        return self.takes_over or self.by is By.INVITE


def _failed(facts: Facts) -> bool:
    """Crashed or hung; a clean stop that nobody announced only once restarting here has failed.

    The same after several crashes within the hold-off: what ends one server after the other (a query, an extension)
    comes along with the clients, and each further move costs them more than a restart in place.
    """
    if facts.processes is None:
        return False
    if facts.hung or _restart_is_long(facts):
        return True
    if not facts.dead:
        return False
    failures = facts.k.work.failures.get(StartPostgres)
    if failures is not None and failures.times >= facts.s.restart_times:
        return True
    return not (facts.processes.clean or facts.k.witness.killed) and not _crashes_again(facts)


def _crashes_again(facts: Facts) -> bool:
    ages = [age_s for ages_s in facts.crash_ages_s.values() for age_s in ages_s]
    return sum(age_s < facts.s.holdoff_s for age_s in ages) >= CRASHES


def _restart_is_long(facts: Facts) -> bool:
    """For a time the role is offered; when nobody took it, the restart goes on undisturbed."""
    since_s = facts.k.database.crashed_since_s
    late = since_s > NEVER and 0.0 <= facts.now_s - since_s - RESTART_S < facts.s.consent_s
    return late and not facts.read_write and _crashes_again(facts)


def _standby_down(facts: Facts) -> bool:
    peer = facts.peer
    if peer is None:
        return False
    if peer.leaving:
        return True  # its server ends in a moment: better to be alone before that than to wait for it
    followed = facts.k.database.caught_up == facts.postmaster  # else both are only just starting: that takes a moment
    if not peer.postmaster and not facts.replica_streams and followed:
        return True
    since_s = facts.k.database.unfollowed_since_s
    return (since_s > NEVER and facts.now_s - since_s >= facts.s.standby_down_s) or facts.replica_stalled


def _follows(facts: Facts) -> bool:
    peer = facts.peer
    return (
        peer is not None
        and peer.confirmed
        and peer.in_recovery
        and peer.database_ok
        and not peer.hold
        and not peer.claiming
        and not peer.leaving
        and peer.streaming
        and facts.replica_streams
        and not facts.replica_stalled
        and facts.replica_lag_bytes <= facts.s.lag_bytes_max
        and peer.replay_lag_s <= facts.s.lag_s_max
    )


def _sync_ready(facts: Facts) -> bool:
    database = facts.database
    if facts.is_running(SetSyncNames) or facts.stale(facts.seen.database, Subject.NAMES):
        return False  # the names that were seen are being changed
    if not facts.s.sync:
        return database is not None and not database.sync_names
    replica = database.replica if database else None
    named = database is not None and bool(database.sync_names) and not database.foreign_names
    return named and replica is not None and replica.sync_state in ("sync", "quorum")


def _peer_has_gateway(facts: Facts) -> bool:
    """A gateway answers the peer and not this host.

    It answered the peer well after it ceased to answer here: else both may be losing the same one. And this host asked
    in vain well after it began to answer the peer: else the same one may be coming back to both.
    """
    peer, heard = facts.peer, facts.k.peer.heard
    if peer is None or heard is None or not peer.gateway_ok:
        return False
    asked, answered_s = facts.seen.gateway, heard.at_s - peer.gateway_age_s
    return (
        answered_s > asked.failing_since_s + facts.s.interval_s
        and asked.failed_at_s > heard.gateway_since_s + facts.s.interval_s
    )


def _prefers_peer(facts: Facts) -> bool:
    mine, theirs = facts.override_of(facts.s.me), facts.override_of(facts.s.peer)
    return mine is Override.STANDBY or theirs is Override.PRIMARY


def _invited(facts: Facts) -> bool:
    return facts.peer is not None and bool(facts.peer.invite) and facts.peer.invite_term == facts.term


def _fence_ordered(facts: Facts) -> bool:
    """An operator ordered it, and that the peer is to stay off was written down, where they said so."""
    order = facts.k.orders.fence_order
    return order is not None and (facts.k.durable.kept_off or not order.off)


def _time_to_consent(facts: Facts) -> bool:
    """For the first half of its time, an order to power the peer off asks for consent."""
    order = facts.k.orders.fence_order
    return order is not None and order.until_s - facts.now_s > facts.s.fence_delay_s + facts.s.consent_s / 2


def _blocked(facts: Facts) -> bool:
    """A role came here by hand-over or fence, has not been served, and the condition for serving is not met."""
    return (
        facts.k.database.blocked_since_s > NEVER
        and facts.now_s - facts.k.database.blocked_since_s >= facts.s.standby_down_s
        and facts.recovering
        and facts.responding
        and facts.k.durable.handbacks < facts.s.handbacks_max
    )


PEER_SILENT = Condition("peer-silent", lambda v: v.peer_silent, "{peer} still answers by some path")
UNFOLLOWED = Condition("unfollowed", unfollowed, "the daemon of {peer} answers, or {peer} flushes what {me} writes")
UNHEARD = Condition("unheard", unheard, "the daemon of {peer} answers")
KNOWN_OR_SILENT = Condition(
    "known-or-silent", lambda v: v.k.confirmed or v.peer_silent,
    "{me} is not confirmed, and {peer} answers by some path",
)  # fmt: skip
GONE = Condition(
    "gone", lambda v: v.peer_silent or unfollowed(v),
    "{peer} still answers by some path, and flushes what {me} writes",
)  # fmt: skip
REGISTER_USED = Condition("register-used", register_used, "nobody has asked the witness for this term")
PEER_CANNOT = Condition(
    "peer-cannot", lambda v: v.peer is not None and bool(v.peer.cannot), "{peer} does not say that it cannot give up"
)
STANDBY_DOWN = Condition("standby-down", _standby_down, "{peer} follows")
DATABASE_FAILED = Condition("database-failed", _failed, "the database of {me} works")
GATEWAY_LOST = Condition("gateway-lost", lambda v: v.gateway_lost, "a gateway answers {me}")
PEER_HAS_GATEWAY = Condition(
    "peer-has-gateway", _peer_has_gateway, "{peer} has no gateway either", "see the network of both hosts"
)
NO_HOLDOFF = Condition(
    "no-hold-off", lambda v: v.now_s >= v.k.intent.holdoff_until_s, "a change was made a short time ago",
    "it ends by itself after holdoff_s",
)  # fmt: skip
NOT_CALLED_OFF = Condition(
    "not-called-off", lambda v: v.now_s >= v.k.consent.called_off_until_s,
    "a hand-over was called off a short time ago",
    "it ends by itself",
)  # fmt: skip
NOT_VETOED = Condition(
    "not-vetoed", lambda v: v.k.fencing.veto is None or v.now_s >= v.k.fencing.veto.until_s,
    "vetoed: a veto hook puts the takeover off",
    "see who is against it and why: pgvip events; pgvip hooks lists them",
)  # fmt: skip
ORDERED = Condition("switchover-ordered", lambda v: v.k.orders.switchover is not None, "no switchover was ordered")
FENCE_ORDERED = Condition("fence-ordered", _fence_ordered, "no fence of {peer} was ordered")
NOT_ORDERED_OFF = Condition(
    "not-ordered-off", lambda v: v.k.orders.fence_order is None and not v.is_running(Fence),
    "{peer} is being powered off, as an operator ordered",
)  # fmt: skip
TIME_TO_CONSENT = Condition("time-to-consent", _time_to_consent, "{peer} has not consented in time")
LEAVING = Condition("leaving", lambda v: v.k.orders.leaving, "{me} is not shutting down")
PREFERS_PEER = Condition("prefers-peer", _prefers_peer, "the configuration does not prefer {peer} as primary")
INVITED = Condition("invited", _invited, "{peer} has not offered its role")
FOLLOWS = Condition("peer-follows", _follows, "{peer} does not follow within the limits")
SYNC_READY = Condition("sync-ready", _sync_ready, "{peer} is not the synchronous standby yet")
MODE_CHANGE = Condition(
    "mode-change",
    lambda v: v.record is not None
    and ((v.record.sync, v.record.witness_id) != (v.s.sync, v.s.witness_id) or alone_by_choice(v)),
    "the record says what the configuration says",
)
NOT_ALONE = Condition("not-alone", lambda v: not alone_by_choice(v), "the configuration keeps {me} alone")
BLOCKED = Condition("blocked", _blocked, "the role that came to {me} can be served")

P, S = Part.PRIMARY, Part.STANDBY
PAIR, SOLO_MODE = Mode.PAIR, Mode.SOLO

# A peer that cannot give up goes on offering, or owing, its consent: the fence comes before what waits for that.
TABLE: tuple[Change, ...] = (
    Change("hand-over-database", P, PAIR, By.INVITE,
           (*ENTITLED, DATABASE_FAILED, *PEER_READY, NOT_PAUSED, NOT_CALLED_OFF),
           "the primary's database is dead or hung"),
    Change("hand-over-switchover", P, PAIR, By.INVITE,
           (ORDERED, *ENTITLED, *PEER_READY, NOT_PAUSED, NOT_CALLED_OFF),
           "an operator ordered a switchover"),
    Change("hand-over-leaving", P, PAIR, By.INVITE, (LEAVING, *ENTITLED, *PEER_READY, NOT_PAUSED, NOT_CALLED_OFF),
           "the primary's host is shutting down"),
    Change("hand-over-gateway", P, PAIR, By.INVITE,
           (GATEWAY_LOST, PEER_HAS_GATEWAY, *SERVING, *PEER_READY, NOT_PAUSED, NO_HOLDOFF, NOT_CALLED_OFF),
           "the primary lost its gateway and the standby has one"),
    Change("hand-over-override", P, PAIR, By.INVITE,
           (PREFERS_PEER, *SERVING, *PEER_READY, NOT_PAUSED, NO_HOLDOFF, NOT_CALLED_OFF),
           "the configuration prefers the other host as primary"),
    Change("solo-by-fence-cannot", P, PAIR, By.FENCE, (PEER_CANNOT, *SOLO, MAY_CLAIM, STAYS),
           "the standby cannot give up", why=Why.CANNOT),
    # Nothing waits for the standby any more when its power goes.
    Change("solo-by-consent-ordered", P, PAIR, By.REQUEST,
           (FENCE_ORDERED, TIME_TO_CONSENT, PEER_ANSWERS, *SOLO, STAYS),
           "an operator ordered that the standby be powered off", Want.SOLO),
    Change("solo-by-fence-ordered", P, PAIR, By.FENCE, (FENCE_ORDERED, *SOLO, MAY_CLAIM, STAYS),
           "an operator ordered that the standby be powered off", why=Why.OPERATOR),
    Change("solo-by-consent", P, PAIR, By.REQUEST, (STANDBY_DOWN, *SOLO, PEER_ANSWERS),
           "the standby's database does not follow, or its host is shutting down", Want.SOLO),
    Change("solo-for-mode", P, PAIR, By.REQUEST, (MODE_CHANGE, *SOLO, PEER_ANSWERS),
           "the configuration changed how the pair replicates", Want.SOLO),
    Change("solo-for-register", P, PAIR, By.REQUEST, (REGISTER_USED, *SOLO, PEER_ANSWERS),
           "the witness was asked for this term, which one of the hosts could not leave alone any more", Want.SOLO,
           witness=True),
    # The lease rests on the peer's daemon alone: its silence is enough to ask for the register, not for a change.
    Change("solo-by-witness", P, PAIR, By.WITNESS, (UNHEARD, *GOES_ON, MAY_CLAIM, STAYS),
           "the standby does not answer", why=Why.UNHEARD, witness=True, then=(GONE,)),
    Change("return-by-witness", P, PAIR, By.WITNESS, (UNHEARD, KNOWN_OR_SILENT, *RETURN, MAY_CLAIM, STAYS),
           "the standby does not answer a primary that does not serve", why=Why.UNHEARD, witness=True, then=(GONE,)),
    Change("solo-by-fence", P, PAIR, By.FENCE, (PEER_SILENT, *SOLO, STAYS),
           "the standby does not answer", why=Why.SILENCE, witness=False),
    Change("solo-by-fence-unfollowed", P, PAIR, By.FENCE, (UNFOLLOWED, *SOLO, STAYS),
           "the standby's daemon is silent, and the standby does not follow", why=Why.UNFOLLOWED, witness=False),
    Change("take-over-by-fence-cannot", S, PAIR, By.FENCE, (PEER_CANNOT, *TAKEOVER, MAY_CLAIM),
           "the primary cannot give up", why=Why.CANNOT, delayed=True, takes_over=True),
    Change("take-over-by-consent", S, PAIR, By.REQUEST, (INVITED, *TAKER),
           "the primary offers its role", Want.HANDOVER, takes_over=True),
    Change("take-over-by-fence-ordered", S, PAIR, By.FENCE, (FENCE_ORDERED, *TAKEOVER, MAY_CLAIM),
           "an operator ordered a failover", why=Why.OPERATOR, delayed=True, takes_over=True),
    Change("take-over-by-order", S, PAIR, By.REQUEST, (ORDERED, *TAKER, PEER_ANSWERS, NOT_PAUSED),
           "an operator ordered a switchover", Want.HANDOVER, takes_over=True),
    Change("take-over-by-fence", S, PAIR, By.FENCE, (PEER_SILENT, *TAKEOVER, NOT_VETOED),
           "the primary does not answer", why=Why.SILENCE, delayed=True, takes_over=True, witness=False),
    Change("take-over-by-witness", S, PAIR, By.WITNESS, (PEER_SILENT, *TAKEOVER, MAY_CLAIM, NOT_VETOED),
           "the primary does not answer", why=Why.SILENCE, delayed=True, takes_over=True, witness=True),
    Change("hand-back", P, SOLO_MODE, By.INVITE, (BLOCKED, PEER_ANSWERS, NOT_PAUSED, NOT_REMOVED),
           "this host lacks WAL that the role needs, and has not served"),
    Change("pair", P, SOLO_MODE, By.OWN,
           (NOT_REMOVED, FOLLOWS, SYNC_READY, *SERVING, NOT_ALONE, STAYS, NOT_PAUSED, NOT_ORDERED_OFF),
           "the standby follows within the limits"),
    Change("take-back", S, SOLO_MODE, By.REQUEST, (INVITED, CONFIRMED), "the new primary hands its role back",
           Want.HANDOVER, takes_over=True),
    Change("none", Part.ANY, None, By.NOTHING, (), "nothing to change"),
)  # fmt: skip
ROWS = {row.name: row for row in TABLE}
NONE = TABLE[-1]
HAND_BACK = ROWS["hand-back"]
HAND_OVER_LEAVING = ROWS["hand-over-leaving"]
HAND_OVER_SWITCHOVER = ROWS["hand-over-switchover"]
TAKE_OVER_BY_ORDER = ROWS["take-over-by-order"]


def choose(facts: Facts) -> tuple[Change, tuple[tuple[str, str], ...]]:
    """The first row that holds, and for each row of this state that does not, its first unmet condition."""
    part = Part.PRIMARY if facts.primary else Part.STANDBY
    mode = facts.record.mode if facts.record else None
    blockers: list[tuple[str, str]] = []
    counts = witnessed(facts)
    for row in TABLE:
        if row.witness is (not counts):
            continue
        if row.part is not Part.ANY and (row.part is not part or row.mode is not mode):
            continue
        for condition in row.when:
            if not condition.test(facts):
                blockers.append((row.name, filled(condition.unmet, facts)))
                break
        else:
            return row, tuple(blockers)
    raise AssertionError("the last row of the table always holds")
