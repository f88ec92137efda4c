"""Every warning of `status` in one table: while what it stands, what it says, and what to do about it.

A warning belongs to a state and ends with it; what happens once is a note. docs/events.md has the same names, with what
they mean and how much they matter; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from pgvip.core.actions import Rejoin, StartPostgres, name_of, words_of
from pgvip.core.changes import CRASHES
from pgvip.core.conditions import FIT, Unmet, names, unmet
from pgvip.core.converge import CHECK_FRESH_S
from pgvip.core.facts import Facts
from pgvip.core.following import daemon_silent, unflushed_s
from pgvip.core.intake import CRASHES_S
from pgvip.core.lease import witnessed
from pgvip.core.messages import Message
from pgvip.core.promotion import STRAYS_MAX
from pgvip.core.removed_peer import UNHEEDED, removed
from pgvip.core.rights import ELIGIBLE, SOLO, eligible, standby_address, standby_right, write_right
from pgvip.core.settings import StandingWarning
from pgvip.core.silent_peer import silence
from pgvip.core.values import NEVER, Override, Vip
from pgvip.core.warning_row import WarningRow, warned
from pgvip.core.witness_warnings import WITNESS

STATE_HANGS_S = 5.0
"""A write of the record takes milliseconds; one that takes so long hangs."""
_GENERAL = {
    "database-unseen": frozenset({"database-refuses", "database-waits"}),
    "peer-failing": frozenset({"peer-database"}),
    "peer-silent": frozenset({"keys-invalid"}),
}
"""For a warning those that name the same cause more closely."""
ANSWERED_S = 15.0
"""An answer by ARP counts for so long: three probes."""


def standing(facts: Facts) -> tuple[StandingWarning, ...]:
    """The core's own warnings at the end of a round."""
    rows = tuple(row for row in TABLE if row.name not in UNHEEDED) if removed(facts) else TABLE
    return warned(rows, facts, **names(facts))


def reported(warnings: Iterable[StandingWarning]) -> StandingWarning | None:
    """The first of the core's own warnings that the peer's status shows as well (invariant 6, never silent)."""
    return next((one for one in warnings if one.name in BOTH), None)


def distinct(warnings: Iterable[StandingWarning]) -> tuple[StandingWarning, ...]:
    """The same without those whose cause another one names more closely."""
    found = tuple(warnings)
    names = {one.name for one in found}
    return tuple(one for one in found if not (one.unseen and _GENERAL.get(one.name, frozenset()) & names))


# --- what takes more than a line -----------------------------------------------------------------------------


def _taken(v: Facts) -> list[tuple[str, str]]:
    """Addresses that this host should raise, and who answers for them."""
    here = {Vip.PRIMARY: write_right(v), Vip.STANDBY: standby_address(v)}
    wanted = [vip for vip in Vip if here[vip] and vip not in v.held and not v.paused and v.higher is None]
    checked = [(vip.value, *v.k.work.checked[vip]) for vip in wanted if vip in v.k.work.checked]
    return [(name, mac) for name, at_s, mac in checked if mac and v.now_s - at_s <= CHECK_FRESH_S]


def _twice(v: Facts) -> list[tuple[str, str]]:
    """Addresses that this host holds, and who else answers for them."""
    seen = {Vip.PRIMARY: v.seen.arp_primary, Vip.STANDBY: v.seen.arp_standby}
    sure = [(vip.value, watch) for vip, watch in seen.items() if vip in v.held and not v.unsure(vip)]
    sure = [(name, watch) for name, watch in sure if watch.ok() and not v.stale(watch, Vip(name))]
    return [(name, watch.value) for name, watch in sure if watch.value and v.now_s - watch.at_s <= ANSWERED_S]


def _no_sessions(v: Facts) -> str:
    """Why clients get none through the addresses of this host, by two probes at least."""
    watch = v.seen.clients
    return watch.reason if watch.failures >= 2 and v.held and (v.read_write or v.recovering) else ""


def _stranger(v: Facts) -> str:
    """Who answers for the VIP of a primary that would serve alone after its boot."""
    return (v.seen.arp_primary.value or "") if v.primary and v.solo and not v.k.confirmed else ""


def _pause(v: Facts) -> str:
    pause = v.k.durable.pause
    if not pause.active:
        return ""
    by = f" by {pause.by}" if pause.by else ""
    until = f", until {pause.until}" if pause.until else ""
    return f"{by}{until}: {pause.reason or 'no reason given'}"


def _failing(v: Facts) -> list[dict[str, Any]]:
    return [
        {"name": name_of(kind), "words": words_of(kind), "times": past.times, "text": past.text,
         "hint": kind.properties.hint or "see what it says, and pgvip check"}
        for kind, past in sorted(v.k.work.failures.items(), key=lambda one: name_of(one[0]))
        if past.times >= 2
    ]


def _crashing(v: Facts) -> str:
    """How often the servers crashed lately, in words: once is news, and no warning."""
    counts = {host: sum(age_s < CRASHES_S for age_s in ages_s) for host, ages_s in v.crash_ages_s.items()}
    words = " and ".join(f"{times} times on {host}" for host, times in counts.items() if times)
    return words if sum(counts.values()) >= CRASHES else ""


def _down(v: Facts) -> bool:
    """Nobody serves, and the other host may not."""
    return v.dead and v.primary and v.k.confirmed and (v.solo or StartPostgres in v.k.work.failures)


def _alone(v: Facts) -> dict[str, str] | None:
    """Why a primary beside a peer that answers serves alone: what keeps the row "pair" from being chosen."""
    why = dict(v.k.intent.blockers).get("pair", "")
    if not why or not (v.primary and v.solo and v.k.confirmed) or v.peer is None:
        return None
    if not v.peer.database_ok or v.seen.peer_own.failures < 2:
        return {"text": why, "hint": f"see pgvip status on {v.s.peer}"}
    return {
        "text": f"{why}; its database runs and cannot be reached from here: {v.seen.peer_own.reason}",
        "hint": f"see the firewall, and that large packets pass between the hosts: ping -M do -s 1472 {v.s.peer}",
    }


def _not_eligible(v: Facts) -> Unmet | None:
    """The first reason why this standby may not take over."""
    missing = unmet(ELIGIBLE, v) if v.standby and v.pair and v.k.confirmed else ()
    return missing[0] if missing else None


def _unseen(v: Facts) -> str:
    """Why the local database has not answered pgvip for longer than a start takes, whether or not it was restarted."""
    watch = v.seen.database
    since_s = max(watch.at_s, watch.failing_since_s, v.k.who.started_s, v.k.clock.awake_s)
    late = watch.failures >= 2 and v.now_s - since_s >= v.s.hung_after_s + v.s.standby_down_s
    return (watch.reason or "no answer") if late and v.record is not None and not v.is_running(Rejoin) else ""


def _lacks(v: Facts) -> str:
    """What this host lacked to run probes of its own lately, and which."""
    watches = {item.name: getattr(v.seen, item.name) for item in fields(v.seen)}
    lacking = {name: watch for name, watch in watches.items() if watch.lack}
    lately = {name: one.lack for name, one in lacking.items() if v.now_s - one.lacked_at_s <= ANSWERED_S}
    return f"{'; '.join(sorted(set(lately.values())))} ({', '.join(sorted(lately))})" if lately else ""


def _state_hangs(v: Facts) -> bool:
    """A write of the record has not ended for so long that it may never end."""
    return v.k.intent.writing is not None and v.now_s - v.k.intent.writing_since_s >= STATE_HANGS_S


def _commits_wait(v: Facts) -> dict[str, str] | None:
    """Why commits of this sync pair have waited for the standby for longer than a change would take."""
    if not v.sync_term or v.unwaited or unflushed_s(v) < v.s.standby_down_s + v.s.dead_after_s:
        return None
    missing = unmet(SOLO, v)
    if missing:
        return {"text": missing[0].text, "hint": missing[0].hint}
    if not v.s.fencing and not witnessed(v) and daemon_silent(v):
        return {"text": "there is no way to fence it", "hint": "bring its daemon back: systemctl status pgvip there"}
    why = dict(v.k.intent.blockers).get("solo-by-consent") or "the change is under way"
    return {"text": why, "hint": "see pgvip status and PostgreSQL's log on both hosts"}


def _peer_failing(v: Facts) -> Message | None:
    return v.message if v.message is not None and v.message.failing else None


def _peer_unfit(v: Facts) -> str:
    """Why the standby's server may not take over, as it reports."""
    return v.peer.unfit if v.peer is not None and v.primary and v.pair and v.k.confirmed else ""


def _stray(v: Facts) -> str:
    """How often this standby's server left recovery, and why."""
    stray = v.k.promotion
    if not stray.strays or not v.standby:
        return ""
    end = "; it is not rejoined again" if stray.strays >= STRAYS_MAX else ""
    return f", {stray.strays} times in a row ({stray.stray_why}){end}"


def _lags(v: Facts) -> bool:
    return v.standby and v.pair and v.recovering and v.k.confirmed and not standby_right(v) and v.lagging


def _not_served(v: Facts) -> bool:
    since_s = v.k.database.blocked_since_s
    return v.pair and since_s > NEVER and v.now_s - since_s >= v.s.standby_down_s


def _watchdog(v: Facts, *, required: bool) -> str:
    watch = v.seen.watchdog
    return watch.reason or "no reason given" if watch.failures and v.s.watchdog_required is required else ""


def _heartbeat(v: Facts) -> str:
    """Why the server refuses to write the heartbeat row, on a primary that may write."""
    return v.seen.heartbeat.value or "" if v.read_write and write_right(v) else ""


def _starved(v: Facts) -> bool:
    """New connections have not been answered for too long, and the kept one is."""
    return v.responding and not v.hung and v.unconnected_s >= v.s.hung_after_s


def _silent(v: Facts) -> bool:
    """A peer that answers by no path, beside a host that knows what it may do."""
    return v.message is None and v.peer_silent and v.k.confirmed


def _unfenced(v: Facts) -> bool:
    """Nothing but consent may change this pair."""
    return v.pair and not v.s.fencing and not witnessed(v)


def _archive_unread(v: Facts) -> str:
    """Why the peer's archive cannot be read over the link, while its daemon is heard. A mount has its action."""
    watch = v.seen.archive
    fetched = v.s.archive and not v.s.archive_mounted
    return watch.reason if fetched and v.message is not None and watch.failures >= 2 else ""


def _answers_in_its_place(v: Facts) -> str:
    """What answers where the peer should, while its daemon is not heard."""
    watch = v.seen.stranger
    return (watch.value or "") if v.message is None and watch.ok() else ""


def _differs(v: Facts) -> bool:
    return v.message is not None and v.message.digest != v.s.digest


def _other_version(v: Facts) -> str:
    return v.message.version if v.message is not None and v.message.version != v.s.version else ""


def _left_alone(v: Facts) -> bool:
    """The configuration lets one host serve alone, and that is not this one."""
    alone = Override.PRIMARY_STANDBY
    return v.message is not None and v.s.peer_override is alone and v.s.override is not alone


FORCE = "pgvip promote --force on the host whose data shall live"
TABLE: tuple[WarningRow[Facts], ...] = (
    WarningRow("vip-taken", _taken, "{it[1]} answers for the {it[0]} VIP",
               "find that host and take the address from it", both=True),
    WarningRow("vip-twice", _twice, "{it[1]} answers for the {it[0]} VIP too, which {me} holds",
               "find that host (ip neighbour) and take the address from it, on whatever interface it has it"),
    WarningRow("no-client-sessions", _no_sessions, "clients get no session through the VIPs of {me}: {it}",
               "see PostgreSQL's log, listen_addresses, max_connections, ssl, and the firewall of {me}", both=True),
    WarningRow("records-differ", lambda v: v.k.peer.alarm, "{it}", FORCE),
    WarningRow("foreign-message", lambda v: v.k.peer.conflict, "ignored {it}",
               "see that both hosts belong to the same pair"),
    WarningRow("hold", lambda v: "" if v.k.durable.lacks else v.k.durable.hold, "{it}",
               "compare the data, then: pgvip hold clear"),
    WarningRow("early-fork", lambda v: v.k.durable.hold if v.k.durable.lacks else v.k.promotion.lacks,
               "{it}: nothing is served here",
               "compare the data; pgvip promote --force on {peer} if it has them, or here, without what is missing"),
    WarningRow("stray", _stray, "PostgreSQL on this standby became read-write without the right to it{it}",
               "take the setting away, see who promotes it; then pgvip rejoin", both=True),
    WarningRow("peer-hold", lambda v: v.message.hold if v.message else "", "the data of {peer} is on hold: {it}",
               "compare the data, then on {peer}: pgvip hold clear; or pgvip promote --force where the right data is"),
    WarningRow("no-record", lambda v: v.record is None,
               "this host has no record and waits for the confirmed primary's",
               f"if the peer has none either: {FORCE}", both=True),
    WarningRow("vip-answers", _stranger,
               "{it} answers for the primary VIP, so this solo primary does not start",
               "find out who serves; then pgvip promote --force here, or on the peer", both=True),
    WarningRow("unconfirmed", lambda v: v.record is not None and not v.k.confirmed and not _stranger(v),
               "the peer has not confirmed this host's record since this boot",
               "bring the peer back; if it never comes: pgvip promote --force"),
    WarningRow("leaving", lambda v: v.k.orders.leaving,
               "this host is shutting down: it takes no role and starts no server",
               "if it stays after all: pgvip leave --cancel"),
    WarningRow("paused", _pause, "automatic action is paused{it}", "pgvip resume"),
    WarningRow("kept-off", lambda v: v.k.durable.kept_off,
               "{peer} was powered off by an operator's order, and is not switched on by itself", "pgvip fence on"),
    WarningRow("removed-peer", lambda v: removed(v) and v.message is not None,
               "{peer} answers, and an operator removed it from this pair: it does not serve",
               "remove pgvip there (pgvip uninstall), or take it back here: pgvip add-peer"),
    WarningRow("archive-unread", _archive_unread, "the archive of {peer} cannot be read over the link: {it}",
               "pgvip check --only archive-peer; see that archive.port is open between the hosts"),
    WarningRow("no-fencing", lambda v: not (v.s.fencing or witnessed(v)),
               "no way to fence is configured: no takeover on silence",
               "configure fencing for both hosts, or a witness"),
    WarningRow("fence-failing", lambda v: v.k.fencing.claim.tries - 1 if v.k.fencing.claim else 0,
               "the peer could not be fenced in {it} tries", "if you see that it is off: pgvip fence confirm",
               both=True),
    *WITNESS,
    WarningRow("vetoed", lambda v: v.k.fencing.veto.refused if v.k.fencing.veto else "",
               "a veto hook puts the takeover off: {it}",
               "see what the hook is about; when it allows it, this host takes over"),
    WarningRow("action-failing", _failing, "could not {it[words]}, {it[times]} times: {it[text]}", "{it[hint]}",
               both=True, unseen=lambda it: it["name"] == name_of(StartPostgres)),
    WarningRow("state-hangs", _state_hangs, "the record cannot be written: a write of it does not end",
               "see that the disk of the state directory works", both=True),
    WarningRow("commits-wait", _commits_wait, "commits wait for {peer}, which flushes nothing: {it[text]}",
               "{it[hint]}", both=True),
    WarningRow("resources", _lacks, "pgvip on this host lacks what its own probes need, so less is known: {it}",
               "see what uses up descriptors, processes or memory: systemctl status pgvip, the log", both=True),
    WarningRow("no-data", lambda v: v.processes is not None and not v.installed, "there is no data directory",
               "mount it, or pgvip clone", both=True),
    WarningRow("database-hung", lambda v: v.hung, "the local database or its disks do not answer",
               "see PostgreSQL's log, the kernel's log and the load of this host", both=True),
    WarningRow("database-unseen", _unseen, "the local database does not answer pgvip: {it}",
               "see PostgreSQL's log, and whether pgvip may log in: pgvip check", both=True, unseen=lambda _it: True),
    WarningRow("commits-stalled", lambda v: v.stalled and v.uncommitted_s,
               "this primary has committed nothing for {it:.0f} s",
               "see its disks: a write is not synced in time; an eligible standby takes the role over",
               both=True),
    WarningRow("connections-slow", _starved,
               "new connections to the local database are not answered, although its sessions are",
               "see the load of this host: a CPU or memory is short; or the postmaster alone is stopped", both=True),
    WarningRow("database-down", _down, "the primary's database is down, and the other host may not take over",
               "repair it, see its log; if it is lost for good: pgvip promote --force on the other host", both=True),
    WarningRow("alone", _alone, "this primary serves alone: {it[text]}", "{it[hint]}"),
    WarningRow("isolated", lambda v: v.k.isolation.isolated,
               "no gateway and no answer from {peer} by any path: this primary does not serve",
               "repair its network; it serves again by itself", both=True),
    WarningRow("not-eligible", _not_eligible,
               "this standby may not take over: {it.text}", "{it.hint}"),
    WarningRow("peer-failing", _peer_failing, "{peer} reports: {it.failing}", "on {peer}: {it.failing_hint}",
               unseen=lambda it: it.failing_unseen),
    WarningRow("peer-unfit", _peer_unfit, "{peer} may not take over: {it}", FIT.hint),
    WarningRow("lag", _lags, "this standby lags more than the limit: it does not hold the standby VIP",
               "see what keeps its replay: its load, long queries, a pause"),
    WarningRow("hand-backs", lambda v: v.primary and v.k.confirmed and not write_right(v)
               and v.k.durable.handbacks >= v.s.handbacks_max,
               "the role was handed back too often", "see why; then pgvip promote --force here", both=True),
    WarningRow("not-served", _not_served,
               "primary by its record, but not known to hold all that the role needs (an old record?)", FORCE,
               both=True),
    WarningRow("watchdog-required", lambda v: _watchdog(v, required=True),
               "this host may not begin to serve without its watchdog: {it}",
               'repair it, or write watchdog.mode = "if-present" and restart pgvip', both=True),
    WarningRow("watchdog-unusable", lambda v: _watchdog(v, required=False), "the watchdog cannot be used: {it}",
               'repair it, or write watchdog.mode = "off"'),
    WarningRow("fence-status", lambda v: v.seen.fence.failures,
               "the peer's fence device does not answer: {v.seen.fence.reason}", "pgvip fence test"),
    WarningRow("sync-names", lambda v: v.unwaited,
               "synchronous_standby_names is '{v.database.sync_names}': commits do not wait for the peer",
               "ALTER SYSTEM RESET synchronous_standby_names", both=True),
    WarningRow("unwaited", lambda v: v.k.grants.unwaited if v.primary else "",
               "{it}: commits may have been acknowledged that {peer} lacks; it may not take over before it has them",
               "see who changed it (ALTER SYSTEM, postgresql.conf), and that {peer} streams"),
    WarningRow("weak-commits", lambda v: v.read_write and v.sync_term and v.seen.commits.value,
               "acknowledged commits may be lost: {it}",
               "set synchronous_commit to on there, or configure async mode"),
    WarningRow("heartbeat-failing", _heartbeat, "the heartbeat row cannot be written: {it}",
               "see that sequence pgvip.heartbeat is there (pgvip init makes it again), who locks it, and that role "
               "pgvip may update it",
               both=True),
    WarningRow("peer-silent", silence, "{it[text]}", "{it[hint]}", unseen=lambda _it: True),
    WarningRow("stranger", _answers_in_its_place,
               "something answers in place of {peer}, and is not known to be {peer}: {it}",
               "find that machine; if it is {peer}, see why its database does not let pgvip in: pgvip check"),
    WarningRow("primary-lost", lambda v: _silent(v) and v.standby and not eligible(v),
               "the primary answers by no path, and this standby does not hold all that it had",
               "bring the primary back; if it is lost for good: pgvip promote --force here"),
    WarningRow("cannot-fence", lambda v: _silent(v) and _unfenced(v) and (v.primary or eligible(v)),
               "the peer answers by no path, and there is no way to fence it",
               "bring it back; if you see that it is off: pgvip promote --force --without-fence here"),
    WarningRow("crashing", _crashing, "PostgreSQL ended without a shutdown {it} in the last 10 minutes",
               "see its log for what was running (terminated by signal): a query or an extension ends it"),
    WarningRow("configuration-differs", _differs, "the configuration files of pgvip on the two hosts differ",
               "copy the right one to the other host, then: pgvip config apply (--dry-run names the keys)"),
    WarningRow("version-differs", _other_version, "the peer runs pgvip {it}", "upgrade it"),
    WarningRow("peer-cannot", lambda v: v.message and v.message.cannot, "the peer cannot give up: {it}",
               "repair what its log names; with fencing it is powered off"),
    WarningRow("alone-by-choice", _left_alone,
               "the configuration lets the peer serve alone: this host is never eligible"),
)  # fmt: skip
BOTH = frozenset(row.name for row in TABLE if row.both)
"""The names of those that the peer's status shows as well."""
