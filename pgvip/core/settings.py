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
