"""Whether the standby of this primary follows: what its daemon reports, and what its server has flushed."""

from __future__ import annotations

from pgvip.core.facts import Facts
from pgvip.core.values import NEVER


def daemon_silent(v: Facts) -> bool:
    """The peer's daemon has not been heard for `dead_after_s`, by a process that listened; see `Facts.peer_silent`."""
    listened_s = v.now_s - max(v.k.who.started_s, v.k.clock.awake_s)
    return min(v.heard_age_s, listened_s) >= v.s.dead_after_s


def unfollowed(v: Facts) -> bool:
    """The standby's daemon is silent and its database takes nothing of this primary, whatever else of it answers."""
    return daemon_silent(v) and unflushed_s(v) >= v.s.unfollowed_s


def unflushed_s(v: Facts) -> float:
    """For how long the standby has flushed nothing of what this primary has for it; 0.0 when it does."""
    since_s = v.k.database.unflushed_since_s
    if since_s == NEVER or not v.responding:
        return 0.0
    return max(0.0, v.now_s - max(since_s, v.stream_at_s, v.k.who.started_s, v.k.clock.awake_s))
