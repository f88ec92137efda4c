"""Second half of a round: compare what is with what the rights say, and start what brings it there.

Level-triggered: nothing here remembers a plan. Dropping comes before raising everywhere.
"""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import (
    AddVip,
    CheckVip,
    ConfirmGrant,
    DropVip,
    Fence,
    KillPostgres,
    MountArchive,
    PowerOn,
    Promote,
    Rejoin,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    Subject,
    UnmountArchive,
)
from pgvip.core.changes import HAND_BACK, By, Change
from pgvip.core.conditions import void
from pgvip.core.facts import Facts
from pgvip.core.lease import leased
from pgvip.core.messages import Revoked
from pgvip.core.promotion import STRAYS_MAX, at_a_target, count_stray, without_target
from pgvip.core.removed_peer import removed
from pgvip.core.rights import (
    alone_by_choice,
    eligible,
    entitled,
    keeps_standby_vip,
    may_rebuild,
    standby_address,
    standby_right,
    write_right,
)
from pgvip.core.round import Round
from pgvip.core.values import NEVER, Grant, Vip

CHECK_FRESH_S = 2.0
"""An ARP check of an address is good for this long before the address is raised (RFC 5227's ANNOUNCE_WAIT is 2 s)."""
CLEAR_SYNC_S = 1.0
"""A solo primary clears the names set in preparation when the peer has not streamed for this long."""

NOTICED_S = 0.3
"""How long a stop that pgvip did not ask for is left alone: whoever did must see it, and pg_ctl looks every 0.1 s."""


def postgres(r: Round, row: Change) -> None:
    """Run PostgreSQL as the rights say."""
    v, k = r.facts(), r.k
    if v.processes is None or not v.installed or k.consent.giving_up is not None:
        return
    if _without_right(r):
        return
    if v.paused or v.is_running(Rejoin, StopPostgres, KillPostgres, Promote):
        return
    if k.orders.leaving and not v.postmaster and not v.processes.left:
        return  # what ended, the shutdown of the host has ended: nothing is started any more
    if write_right(v):
        _as_primary(r, row)
    elif v.primary:
        _as_blocked_primary(r)
    else:
        _as_standby(r)


def _without_right(r: Round) -> bool:
    """Stop a PostgreSQL that may be read-write here without the right to it."""
    v = r.facts()
    # Between hearing a record that keeps this host primary and writing it, nothing is lost and nothing starts.
    if write_right(v) or not v.postmaster or not v.may_write:
        return False
    if v.database is None and v.processes is not None and not v.processes.control_state.startswith("in production"):
        return False  # starting: what it becomes is seen in a moment, by its own connection
    opened = v.database is None and v.processes is not None and not v.processes.standby_signal  # not asked yet
    if v.standby and (v.read_write or opened) and not v.is_running(Promote):
        count_stray(r)
    if v.primary and not leased(v):
        # The peer gains at a time that is fixed: no clean stop has that time, and none that is under way is waited for.
        if r.start(KillPostgres()):
            r.k.witness = replace(r.k.witness, killed=True)
            r.note("lease-ended", f"{r.s.peer} has not been heard in time: PostgreSQL is killed, the addresses dropped")
        return True
    # Nobody gains by an isolation, so there is time for a clean stop, after which it starts at once when it ends.
    unhurried = v.k.isolation.isolated and StopPostgres not in v.k.work.failures
    r.start(StopPostgres(clean=unhurried and v.responding and not v.hung))
    return True


def _as_primary(r: Round, row: Change) -> None:
    v, k = r.facts(), r.k
    if not k.durable.served:
        if v.guarded:
            r.write(replace(k.durable, served=True))  # before the first read-write start [m 13]
        return
    if k.intent.writing is not None or v.higher is not None or v.processes is None:
        return
    if not v.postmaster:
        handing_over = row.by is By.INVITE and row != HAND_BACK
        if v.processes.left:
            r.start(StopPostgres(clean=False))  # orphans of a dead postmaster go on committing
        elif not handing_over and _noticed(r) and v.guarded:
            r.start(StartPostgres(standby=v.processes.standby_signal, sync=v.sync_term))
    elif v.hung and not v.disks_bad and row.by is not By.INVITE and _hung_long(r):
        _kill_hung(r)
    elif v.recovering and v.guarded and not v.is_running(StartPostgres):
        if at_a_target(v):
            without_target(r)  # its promotion would drop what lies beyond
        elif r.start(Promote()):
            k.promotion = replace(k.promotion, unverified=True)
    elif v.read_write and k.promotion.unverified:
        if Vip.PRIMARY in (v.seen.held.value or ()):
            k.promotion = replace(k.promotion, unverified=False)  # an earlier process saw it, and raised the address
        else:
            r.start(Promote())  # it has come about since: where it forks is still to be looked at


def _noticed(r: Round) -> bool:
    """An orderly stop by somebody else has been seen by them: else `pg_ctl stop` and `restart` wait for ever.

    Both wait until the postmaster is gone; one that is started within their pace takes its place unseen.
    """
    k = r.k
    since_s = k.database.stopped_since_s
    own = k.work.ended.get(Subject.POSTGRES, NEVER) > since_s - r.s.interval_s
    return since_s == NEVER or own or r.now_s - since_s >= NOTICED_S


def _hung_long(r: Round) -> bool:
    watch = r.inputs.seen.connection
    since_s = max(watch.failing_since_s, r.k.database.postmaster_since_s)
    return watch.failures >= 3 and r.now_s - since_s >= 2 * r.s.hung_after_s


def _kill_hung(r: Round) -> None:
    """Kill a server that does not answer, which is started again then; and say why, since its log cannot."""
    if r.start(StopPostgres(clean=False)):
        limit_s = 2 * r.s.hung_after_s
        r.note("postgresql", f"PostgreSQL has answered no connection for {limit_s:g} s: it is killed and started again")


def _as_blocked_primary(r: Round) -> None:
    """Primary by the record, but without the right: a standby's data may run as a standby, to be compared."""
    v = r.facts()
    if v.processes is None or not v.k.confirmed:
        return
    if v.postmaster:
        if v.hung and not v.disks_bad and _hung_long(r):
            _kill_hung(r)
    elif v.processes.left:
        r.start(StopPostgres(clean=False))
    elif entitled(v) and leased(v) and not v.k.isolation.isolated and not v.k.durable.lacks:
        r.start(StartPostgres(standby=True, sync=False))


def _as_standby(r: Round) -> None:
    v, k, unstreamed_s = r.facts(), r.k, r.k.database.unstreamed_since_s
    if v.processes is None or k.intent.writing is not None:
        return
    if not v.postmaster and v.processes.left:
        r.start(StopPostgres(clean=False))
    elif not v.processes.standby_signal:
        if v.record is not None and may_rebuild(v):
            _rebuild(r, clone=k.orders.rejoin_clone)
    elif unstreamed_s > NEVER and r.now_s - unstreamed_s >= r.s.stuck_s and may_rebuild(v):
        _rebuild(r, clone=k.orders.rejoin_clone)
    elif k.orders.rejoin_clone and may_rebuild(v):
        _rebuild(r, clone=True)
    elif not v.postmaster:
        if _noticed(r):
            r.start(StartPostgres(standby=True, sync=False))
    elif v.database is not None and v.database.settings_low and v.peer_serves:
        # The start raises them. Not while the primary is away: this postmaster may be the eligible one [m 11].
        if r.start(StopPostgres(clean=True)):
            r.note("settings", "the primary's settings were raised: this standby is restarted with them")
    elif at_a_target(v) and v.peer_serves:
        without_target(r)
    elif v.hung and not v.disks_bad and _hung_long(r) and not _is_offered_the_role(r):
        _kill_hung(r)  # a standby that hangs for ever would keep the pair solo for ever


def _is_offered_the_role(r: Round) -> bool:
    """The peer is just offering its role to this host's data and server as they are now.

    Or may be giving the role up by its own message, which is in force for `consent_s`: what is heard of the peer
    meanwhile may be an old message.
    """
    v, (term, at_s) = r.facts(), r.k.consent.offered
    return (v.peer is not None and bool(v.peer.invite)) or (term == v.term and r.now_s - at_s < r.s.consent_s)


def _rebuild(r: Round, *, clone: bool) -> None:
    """Overwrite this host's data, unless the peer is just offering its role to what they are now."""
    if r.k.promotion.strays >= STRAYS_MAX:
        return  # it would leave recovery again: an operator sees why, and orders a rejoin
    if r.facts().peer is None or _is_offered_the_role(r):
        return
    if r.start(Rejoin(clone=clone)):
        r.k.grants = replace(r.k.grants, grant=None)  # whatever was proved of the data, it is true no more [m 11]


def revoke(r: Round) -> None:
    """Withdraw what was granted as soon as the synchronous names are seen wrong: commits do not wait for the peer.

    Every message from now on reports it. The standby is granted again when it is proved to have what was acknowledged
    meanwhile.
    """
    v, k = r.facts(), r.k
    if not v.unwaited or v.database is None or not write_right(v):
        return
    heard = k.peer.heard.message if k.peer.heard else None
    revoked = Revoked(heard.boot_id, heard.sent_s) if heard else k.grants.revoked
    why = f"synchronous_standby_names was '{v.database.sync_names}' at {v.database.point}"
    k.grants = replace(k.grants, given=None, revoked=revoked, unwaited=k.grants.unwaited or why)


def sync_names(r: Round) -> None:
    """Set the synchronous names before a pair in sync; clear them only after the record says solo [m 16]."""
    v, k = r.facts(), r.k
    database = v.database
    if database is None or database.in_recovery or not write_right(v) or k.intent.writing is not None:
        return
    if v.stale(v.seen.database, Subject.NAMES):
        return
    alone = alone_by_choice(v) or removed(v)
    if v.pair:
        wanted = v.sync_term
    elif not r.s.sync or alone or v.paused or k.orders.leaving or k.orders.fence_order is not None:
        wanted = False
    elif _nearly_follows(v, r.s.lag_bytes_max):
        wanted = True
        k.database = replace(k.database, clear_since_s=r.now_s)
    else:
        wanted = bool(database.sync_names) and r.now_s - k.database.clear_since_s < CLEAR_SYNC_S
    if wanted == bool(database.sync_names) and not database.foreign_names:
        return
    if r.start(SetSyncNames(wanted)) and v.sync_term and k.database.caught_up == database.postmaster:
        r.note("sync-names", f"somebody made synchronous_standby_names '{database.sync_names}'; they are set again")


def _nearly_follows(v: Facts, lag_bytes_max: int) -> bool:
    """The peer streams, flushes, and is near: commits may begin to wait for it."""
    near = v.replica_streams and not v.replica_stalled and v.replica_lag_bytes <= lag_bytes_max
    return near and v.peer is not None and v.peer.streaming and not v.peer.leaving


def grants(r: Round) -> None:
    """Prove that the standby has everything it needs, and keep the proof fresh."""
    v, k = r.facts(), r.k
    peer = v.peer
    if peer is None or not (v.pair and write_right(v) and v.read_write and v.replica_streams) or k.consent.giving_up:
        return
    if not peer.postmaster or not peer.in_recovery or peer.unfit or alone_by_choice(v):
        return  # flushed is not replayable: a server that is not fit is granted nothing
    if v.unwaited or void(k.grants.revoked, peer.boot_id, peer.sent_s):
        return
    expires_s = None if v.sync_term else peer.sent_s + r.s.lag_s_max
    wanted = Grant(v.term, peer.boot_id, peer.postmaster, peer.sent_s, expires_s)
    given = k.grants.given
    if given is not None and replace(given, echo_s=wanted.echo_s, expires_s=expires_s) == wanted:
        renew_s = min(r.s.lag_s_max / 10, 5.0)
        if v.sync_term or r.now_s - k.grants.given_at_s < renew_s:
            return
    r.start(ConfirmGrant(wanted, v.sync_term))


def addresses(r: Round) -> None:
    """Hold the addresses that the rights give, and no other."""
    v = r.facts()
    primary_ok = write_right(v) and v.read_write and not _restarted(v)
    standby_ok = standby_right(v)
    if r.k.consent.giving_up is None:  # a give-up drops them in its own order
        unasked = _unasked(v) and not v.is_running(StartPostgres)  # a server that is being started takes no writes
        if _surely(r, Vip.PRIMARY) and not primary_ok and not (write_right(v) and (v.paused or unasked)):
            r.start(DropVip(Vip.PRIMARY))
        coming = v.higher is not None and keeps_standby_vip(v.higher, r.s.me)  # what is being adopted gives it here
        kept = coming or (standby_address(v) and (v.paused or _unasked(v)))
        if _surely(r, Vip.STANDBY) and not standby_ok and not kept:
            r.start(DropVip(Vip.STANDBY))
    if v.paused or v.higher is not None:
        return
    soon = write_right(v) and (v.is_running(Promote, StartPostgres) or v.recovering)
    _raise(r, Vip.PRIMARY, ok=primary_ok and _caught_up(r) and v.verified, soon=soon)
    _raise(r, Vip.STANDBY, ok=standby_ok and (v.primary or v.streams), soon=soon and v.solo)


def _surely(r: Round, vip: Vip) -> bool:
    v = r.facts()
    return vip in v.held and not v.unsure(vip)


def _unasked(v: Facts) -> bool:
    """After this daemon's start, or after an action, what the database says has not been seen yet."""
    return v.processes is None or (bool(v.postmaster) and v.database is None)


def _caught_up(r: Round) -> bool:
    """In a sync pair, after a restart: no clients until the standby has flushed the recovered end."""
    v = r.facts()
    return not v.sync_term or Vip.PRIMARY in v.held or v.k.database.caught_up == v.postmaster


def _restarted(v: Facts) -> bool:
    """Somebody restarted the server of a sync pair under its address."""
    return v.sync_term and v.k.database.caught_up not in ("", v.postmaster)


def _raise(r: Round, vip: Vip, *, ok: bool, soon: bool) -> None:
    if not (ok or soon) or vip in r.facts().held:
        return
    at_s, mac = r.k.work.checked.get(vip, (NEVER, ""))
    if r.now_s - at_s > CHECK_FRESH_S:
        r.start(CheckVip(vip))
    elif ok and not mac:
        r.start(AddVip(vip))


def archive(r: Round) -> None:
    """Mount the peer's archive when the peer is there; drop a mount that does not answer, whoever mounted it when.

    Only what is mounted can fail to answer; one that failed once is left alone, and so is what systemd has undone in a
    shutdown.
    """
    v = r.facts()
    if not (r.s.archive and r.s.archive_mounted):
        return
    watch = v.seen.archive
    if max(watch.at_s, watch.failed_at_s) < v.k.work.ended.get(Subject.ARCHIVE, NEVER):
        return  # no look has ended since the last action
    if watch.failures >= 2 or (watch.value and removed(v)):
        r.start(UnmountArchive())
    elif removed(v):
        return
    elif v.message is not None and not watch.value and not watch.failures and not v.k.orders.leaving:
        r.start(MountArchive())


def power_on(r: Round) -> None:
    """Switch on again what this host switched off, or what it cannot do without, once no claim is open."""
    v, k = r.facts(), r.k
    # Also the fence of a claim that has ended must have come to its end; a claim that asks the witness has sent none.
    open_attempt = (k.fencing.claim is not None and k.fencing.claim.attempt) or v.is_running(Fence)
    if open_attempt or k.intent.writing is not None or k.orders.force or removed(v):
        return
    if k.durable.kept_off or k.orders.fence_order is not None:
        return
    if k.orders.power_order_until_s > NEVER:
        if r.start(PowerOn()):
            k.orders = replace(k.orders, power_order_until_s=NEVER)
    elif v.paused:
        return
    elif k.power.power_pending or _left_off(r) or _needed(r):
        r.start(PowerOn())


def _left_off(r: Round) -> bool:
    """The peer is off, probably by a fence of ours that was reported as failed, and whose claim has ended since."""
    v, k = r.facts(), r.k
    return k.power.doubt_s > NEVER and v.peer_silent and _seen_off(r, k.power.doubt_s)


def _needed(r: Round) -> bool:
    """The peer is off, and without it the pair cannot become whole.

    Its answer is needed to be confirmed (both were fenced, or lost their power); or it is the primary, and this host
    may not take its role; or this host is, alone, and has not met it since its own boot: it may have fenced it, and
    not remember. Once for each start of the daemon: whoever switches it off again wants it so.
    """
    v, k = r.facts(), r.k
    if v.solo:
        needed = v.standby or not (k.peer.met or alone_by_choice(v))
    else:
        needed = not k.confirmed or (v.standby and not eligible(v))
    # In an orderly shutdown: whoever did that wants it off.
    left = k.peer.heard is not None and k.peer.heard.message.leaving
    if not needed or left or k.power.roused or not v.peer_silent:
        return False
    return _seen_off(r, k.who.started_s)


def _seen_off(r: Round, after_s: float) -> bool:
    """The peer's fence device said, after that time, that the peer is off; else it is asked now and then."""
    watch = r.facts().seen.fence
    if r.now_s - max(watch.at_s, watch.failed_at_s) > r.s.fence_retry_s:
        r.wake.append("fence")
    return watch.ok() and watch.value == "off" and watch.at_s > after_s and not r.facts().stale(watch, Subject.POWER)
