"""Who may do what: each right of docs/protocol.md, "Rights", as the list of its conditions, in the order of reports.

Every path that starts PostgreSQL read-write, promotes, or raises an address asks here; the table of changes, `explain`,
`status` and the refusals of orders read the same lists.
"""

from __future__ import annotations

from pgvip.core.conditions import (
    ADDRESS_FREE,
    ALONE,
    CONFIRMED,
    FIT,
    GATEWAY,
    GRANTED,
    GUARDED,
    HAS_DATA,
    HEALTHY,
    HOLDS_ALL,
    IN_TIME,
    KEEPS_ROLE,
    LEASE_OVER,
    LEASED,
    LET_GO,
    NO_ALARM,
    NO_HIGHER,
    NO_HOLD,
    NOT_GIVING_UP,
    NOT_ISOLATED,
    NOT_PAUSED,
    PAIR,
    PEER_ANSWERS,
    PEER_ELIGIBLE,
    PEER_FIT,
    PEER_GUARDED,
    PEER_HEALTHY,
    PEER_NO_HOLD,
    PEER_SERVES,
    PEER_STAYS,
    PRIMARY,
    READ_WRITE,
    READS,
    RECOVERING,
    STANDBY,
    STAYS,
    WHOLE,
    holds,
)
from pgvip.core.facts import Facts
from pgvip.core.lease import witnessed
from pgvip.core.values import Mode, Override, Record

# The write right but for what it needs of the data and the network: this host is the pair's one primary, here and now.
ENTITLED = (CONFIRMED, PRIMARY, NO_ALARM, NOT_GIVING_UP, KEEPS_ROLE)
WRITE = (*ENTITLED, NOT_ISOLATED, HOLDS_ALL, WHOLE, LEASED)
SERVING = (*WRITE, READ_WRITE)
# With the register of its term this primary may go on alone: in a pause too, since all stays as it is.
GOES_ON = (PAIR, *SERVING, HEALTHY, GATEWAY)
# This primary may make the pair solo.
SOLO = (*GOES_ON, NOT_PAUSED)
# With the register of its term a primary that has ceased to serve, or has not begun since its boot, may again.
RETURN = (
    PAIR, PRIMARY, LEASE_OVER, NO_ALARM, NOT_GIVING_UP, NO_HIGHER, NO_HOLD, HAS_DATA, HOLDS_ALL, WHOLE, GUARDED,
    GATEWAY, NOT_PAUSED,
)  # fmt: skip
# This standby holds all it needs to take over, by its primary's word, can replay all of it, and may serve.
ELIGIBLE = (STANDBY, PAIR, GUARDED, FIT, GRANTED)
# This standby could take the role by consent; by fence it needs its gateway besides, and no pause.
TAKER = (CONFIRMED, STANDBY, PAIR, NO_ALARM, NO_HIGHER, STAYS, NO_HOLD, RECOVERING, HEALTHY, GUARDED, FIT, GRANTED)
TAKEOVER = (*TAKER, NOT_GIVING_UP, GATEWAY, NOT_PAUSED)
# The standby VIP is this host's, whatever its database does: that of a standby, and of a primary that serves alone.
ADDRESS = (CONFIRMED, PAIR, NO_ALARM, NOT_GIVING_UP, NO_HIGHER, ADDRESS_FREE, LEASED)
ADDRESS_ALONE = (ALONE, *WRITE, LET_GO)
READERS = (*ADDRESS, RECOVERING, IN_TIME)
READERS_ALONE = (*ADDRESS_ALONE, READS)
# Rewind or rebuild this host's data.
REBUILD = (STANDBY, CONFIRMED, NO_HOLD, NO_ALARM, PEER_SERVES)
# The other host could take the role by consent, by its own word.
PEER_READY = (PEER_ANSWERS, PEER_STAYS, PEER_NO_HOLD, PEER_HEALTHY, PEER_GUARDED, PEER_FIT, PEER_ELIGIBLE)

RIGHTS = {
    "entitled": ENTITLED,
    "write": WRITE,
    "serving": SERVING,
    "solo": SOLO,
    "goes on": GOES_ON,
    "return": RETURN,
    "eligible": ELIGIBLE,
    "taker": TAKER,
    "takeover": TAKEOVER,
    "standby address": ADDRESS,
    "standby address, alone": ADDRESS_ALONE,
    "standby": READERS,
    "standby, alone": READERS_ALONE,
    "rebuild": REBUILD,
    "peer-ready": PEER_READY,
}
"""By the names that documents call them."""


def entitled(facts: Facts) -> bool:
    """This host is the pair's one primary, here and now."""
    return holds(ENTITLED, facts)


def write_right(facts: Facts) -> bool:
    """PostgreSQL may be read-write here, and the primary VIP may be held."""
    return holds(WRITE, facts)


def solo_right(facts: Facts) -> bool:
    """This primary may make the pair solo."""
    return holds(SOLO, facts)


def stays_right(facts: Facts) -> bool:
    """With the register of its term this primary may be the one that serves, alone."""
    return holds(GOES_ON, facts) or holds(RETURN, facts)


def eligible(facts: Facts) -> bool:
    """This standby holds all it needs to take over, can replay it, and may serve."""
    return holds(ELIGIBLE, facts)


def takeover_right(facts: Facts) -> bool:
    """This standby may fence the primary and claim its role."""
    return holds(TAKEOVER, facts)


def standby_address(facts: Facts) -> bool:
    """The standby VIP is this host's, whatever its database does."""
    return holds(ADDRESS_ALONE if facts.primary else ADDRESS, facts)


def standby_right(facts: Facts) -> bool:
    """The standby VIP may be held."""
    return holds(READERS_ALONE if facts.primary else READERS, facts)


def may_rebuild(facts: Facts) -> bool:
    """Rewind or rebuild this host's data."""
    return holds(REBUILD, facts)


# --- terms, and what a record takes ------------------------------------------------------------------------


def next_term(above: int, first: bool) -> int:
    """The smallest term above `above` with the host's own parity (first host even, second odd) [m 1].

    >>> next_term(4, first=True), next_term(4, first=False), next_term(-1, first=True)
    (6, 5, 0)
    """
    term = above + 1
    return term if (term % 2 == 0) == first else term + 1


def alone_by_choice(facts: Facts) -> bool:
    """The configuration keeps this primary alone with both addresses."""
    return facts.override_of(facts.s.me) is Override.PRIMARY_STANDBY


def takes_from_me(facts: Facts, record: Record) -> bool:
    """Adopting `record` takes the primary role from this host without its consent, after it wrote.

    Silent as to a real fence: then this boot was never confirmed. With a witness it has given up in time, or its
    commits have waited for the very host that took the role, unless neither is so. docs/protocol.md, "The record".
    """
    forced = facts.record is not None and record.term - facts.record.term >= 500_000
    in_deed = not (facts.pair and witnessed(facts)) or (facts.k.witness.late and not facts.sync_term)
    unasked = forced or (facts.k.confirmed and in_deed)
    return facts.primary and record.primary != facts.s.me and facts.k.durable.served and unasked


def keeps_standby_vip(record: Record, me: str) -> bool:
    """Adopting `record` as its primary takes nothing from this host's addresses."""
    return record.primary == me and record.mode is Mode.SOLO
