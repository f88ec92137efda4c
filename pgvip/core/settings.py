"""What a round is given besides sights and messages: settings, identity, inputs; and what it reports to people."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgvip.core.actions import Result
from pgvip.core.messages import Command, Message
from pgvip.core.observations import Observations
from pgvip.core.values import Override


@dataclass(frozen=True, slots=True)
class Settings:
    """What the core needs of the configuration. Units are in the names; defaults are the default preset's.

    `isolation_demote_s`: 0 for never, which is the default of an async pair (pg_auto_failover's
    network_partition_timeout is 20 s). `archive_mounted`: the peer's archive is a mount, which the core sees to.
    `witness_id`: the witness that is to count in the next pair, "" for none. `lease_s`, `lease_stop_s`: how long the
    rights of a pair last unheard, and how long it takes to give them up, verified (the watchdog's time, where that is
    what is relied on). `claim_s`: what one claim may take. `clock_margin`: how much a clock may run fast or slow
    against another (chrony's default maxslewrate is 8.3 %).
    """

    me: str
    peer: str
    me_first: bool
    sync: bool = True
    interval_s: float = 1.0
    check_times: int = 3
    heartbeat_s: float = 0.5
    fence_delay_s: float = 0.5
    fencing: bool = True
    fence_retry_s: float = 5.0
    veto_timeout_s: float = 2.0
    hung_after_s: float = 3.0
    disk_hung_after_s: float = 10.0
    standby_down_s: float = 3.0
    sync_stall_s: float = 10.0
    unfollowed_s: float = 10.0
    lag_bytes_max: int = 16 * 1024 * 1024
    lag_s_max: float = 60.0
    consent_s: float = 10.0
    stop_s: float = 60.0
    solo_boot_wait_s: float = 3.0
    restart_times: int = 2
    holdoff_s: float = 60.0
    handbacks_max: int = 3
    salvage_s: float = 5.0
    stuck_s: float = 15.0
    isolation_demote_s: float = 20.0
    override: Override = Override.AUTO
    peer_override: Override = Override.AUTO
    rejoin_clone: bool = True
    archive: bool = True
    archive_mounted: bool = True
    watchdog_required: bool = False
    digest: str = ""
    version: str = ""
    witness_id: str = ""
    lease_s: float = 4.5
    lease_stop_s: float = 0.8
    claim_s: float = 0.5
    clock_margin: float = 0.1

    @property
    def loses_within_s(self) -> float:
        """How long after what the peer last heard this host has given up all that a lease allows."""
        return self.lease_s + self.lease_stop_s

    @property
    def dead_after_s(self) -> float:
        """How long every path must be silent before the peer counts as silent."""
        return self.interval_s * self.check_times


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is: given by the driver, since the core makes no randomness.

    `boot_id`: of the kernel (with PID 1's start time); `run_id`: of this daemon process, random; `started_s`:
    when it started. `pair_id`, `system_id`: as fixed at `init`; also when the record is lost.
    """

    boot_id: str
    run_id: str
    started_s: float
    pair_id: str = ""
    system_id: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that happened since the last round.

    `wall`: a wall-clock string for `Record.at`. `jumped`: the wall clock and CLOCK_BOOTTIME moved apart.
    """

    seen: Observations
    messages: tuple[Message, ...] = ()
    results: tuple[Result, ...] = ()
    commands: tuple[Command, ...] = ()
    wall: str = ""
    jumped: bool = False


@dataclass(frozen=True, slots=True)
class StandingWarning:
    """Something an operator should know, with the hint.

    `unseen`: it is about a PostgreSQL that is not seen or does not start; another warning may name the cause.
    """

    name: str
    text: str
    hint: str = ""
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """One log line: an event's name and its words. `fields`: what of it a program may want, by name."""

    event: str
    text: str
    fields: tuple[tuple[str, str], ...] = field(default=())


def misfit(s: Settings) -> tuple[str, str]:
    """Why the times of a pair with a witness do not fit, with the arithmetic, and the hint; ("", "") when they do.

    A primary must have claimed before its lease ends, else it stops beside a standby that is only silent. In async the
    standby must have waited before what it was granted ends, else it never takes over.
    """
    if not s.witness_id:
        return "", ""
    claimed_s = s.dead_after_s + 2 * s.heartbeat_s + s.claim_s
    renewed_s, waits_s = min(s.lag_s_max / 10, 5.0), s.loses_within_s * (1 + s.clock_margin)
    if s.lease_s < claimed_s:
        what = (
            f"lease_s = {s.lease_s:g} is too short: a primary claims after interval_s * check_times = "
            f"{s.dead_after_s:g} s of silence, noticed up to two heartbeats of {s.heartbeat_s:g} s late, "
            f"and a claim may take claim_s = {s.claim_s:g} s: together {claimed_s:g} s"
        )
        return what, f"write a lease_s of at least {claimed_s:g}, or detect faster"
    if s.lease_stop_s < s.heartbeat_s:
        what = f"lease_stop_s = {s.lease_stop_s:g} is shorter than a heartbeat of {s.heartbeat_s:g} s"
        return what, f"write at least {s.heartbeat_s:g}: a host has to notice the end of its lease, and to stop"
    if not s.sync and s.lag_s_max < renewed_s + waits_s:
        what = (
            f"lag_s_max = {s.lag_s_max:g} is too short: what a standby was granted is up to {renewed_s:g} s old, and "
            f"it waits (lease_s + lease_stop_s) * (1 + clock_margin) = {waits_s:g} s before it takes over: together "
            f"{renewed_s + waits_s:g} s"
        )
        return what, f"write a lag_s_max of at least {renewed_s + waits_s:g}, or shorter leases"
    if not (s.sync or s.watchdog_required or s.fencing):
        what = "in async, a primary whose daemon hangs acknowledges commits that the standby which takes over lacks"
        return what, 'write watchdog.mode = "required", configure fencing, or use sync'
    return "", ""
