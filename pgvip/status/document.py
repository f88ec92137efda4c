"""The status document: what one daemon knows of both hosts, as plain JSON values. Pure.

docs/status.md describes every key. Ages are seconds before this moment, null for "never"; LSNs are text. What is not
known is null or "unknown", never false.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgvip import __version__
from pgvip.core.actions import Subject, name_of, words_of
from pgvip.core.facts import Facts
from pgvip.core.observations import Observation
from pgvip.core.removed_peer import since
from pgvip.core.rights import eligible, write_right
from pgvip.core.values import NEVER, Mode, Role, Vip
from pgvip.core.warning_row import WarningRow, warned
from pgvip.core.warnings import distinct
from pgvip.state.codec import encode
from pgvip.text.schema import SCHEMA

if TYPE_CHECKING:
    from pgvip.config.model import Config, Host
    from pgvip.core.knowledge import Knowledge
    from pgvip.core.messages import Heard
    from pgvip.core.settings import StandingWarning
    from pgvip.core.values import Record, WalPoint
    from pgvip.link.link_state import LinkState
    from pgvip.status.snapshot import LoopStats, Snapshot
    from pgvip.web.listeners import HttpState

Document = dict[str, Any]
WARNINGS: tuple[WarningRow[Any], ...] = (
    WarningRow("http-failed", lambda v: v is not None and v.error, "HTTP is not served: {it}",
               "see [http] in the configuration and who has the port: ss -ltnp"),
)  # fmt: skip
"""Of what is served over HTTP (HttpState, or None). Not the core's: no role hangs on it."""


@dataclass(frozen=True, slots=True)
class Live:
    """What the document takes beside the snapshot, as of this moment; None where it is not known.

    `armed`: the watchdog. `archiving`, `backup`, `scheduled`, `drill`, `certificates` (their ends), `pending_restart`
    and `warnings`: what was seen in the background. `observed`: what pgvip would have done, where it only observes.
    """

    link: LinkState | None = None
    http: HttpState | None = None
    armed: bool | None = None
    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    archiving: Document | None = None
    backup: Document | None = None
    scheduled: Document | None = None
    drill: Document | None = None
    certificates: Document = field(default_factory=dict)
    pending_restart: Document = field(default_factory=dict)
    warnings: tuple[StandingWarning, ...] = ()
    observed: Document | None = None


def document(snapshot: Snapshot, live: Live) -> Document:
    """Build the document, as of the snapshot's round."""
    config, decision, seen, now_s = snapshot.config, snapshot.decision, snapshot.seen, snapshot.at_s
    k = decision.knowledge
    v = Facts(k, seen, config.settings, now_s)
    record = k.durable.record
    return {
        "schema": SCHEMA,
        "pair": config.name,
        "mode": config.mode,
        "host": config.me.name,
        "role": k.role.value,
        "term": record.term if record else None,
        "record": encode(record),
        "confirmed": k.confirmed,
        "sync_wanted": config.settings.sync,
        "me": _me(config, v),
        "peer": _peer(config.peer, k.peer.heard, now_s),
        "replication": _replication(config, v),
        "addresses": {vip.value: str(config.vips[vip].ip) for vip in Vip},
        "former_addresses": [
            {"vip": one.vip.value, "address": str(one.address.ip), "left_s": round(one.until_s - now_s, 3)}
            for one in config.former_vips
            if now_s < one.until_s
        ],
        "fencing": {
            "configured": config.settings.fencing,
            **_watched(_power(v) if config.settings.fencing else Observation(), now_s),
        },
        "witness": _witness(config, v, now_s),
        "archive": {
            "enabled": config.archive.enabled,
            "by": config.archive.peer_archive,
            **_watched(seen.archive, now_s),
        },
        "archiving": live.archiving,
        "backup": live.backup,
        "gateway": _watched(seen.gateway, now_s),
        "rights": _rights(v),
        "watchdog": {"mode": config.watchdog.mode, "armed": live.armed},
        "veto_hooks": seen.veto.value,
        "local": _local(k, config.me.name),
        "pause": encode(k.durable.pause),
        "hold": k.durable.hold,
        "scheduled": live.scheduled,
        "doing": _doing(k, now_s),
        "observed": live.observed,
        "warnings": [
            {"name": one.name, "text": one.text, "hint": one.hint}
            for one in distinct((*decision.warnings, *live.warnings, *warned(WARNINGS, live.http)))
        ],
        "blockers": [{"change": change, "why": why} for change, why in k.intent.blockers],
        "drill": live.drill,
        "certificates": live.certificates,
        "pending_restart": {"postgresql": [], "pgvip": [], **live.pending_restart},
        "link": _link(live.link, now_s),
        "http": _http(live.http),
        "loop": _loop(snapshot.stats, now_s),
        "process": {
            "version": __version__,
            "uptime_s": round(now_s - k.who.started_s, 1),
            "memory_bytes": live.memory_bytes,
            "cpu_seconds": live.cpu_seconds,
        },
    }


def role_of(host: str, record: Record | None, *, confirmed: bool) -> str:
    """What users call a host of this record."""
    if record is None or not confirmed:
        return Role.NONE.value
    if record.primary != host:
        return Role.STANDBY.value
    return (Role.PRIMARY_STANDBY if record.mode is Mode.SOLO else Role.PRIMARY).value


def _me(config: Config, v: Facts) -> Document:
    held, database = v.seen.held, v.database
    return {
        "name": config.me.name,
        "address": config.me.address,
        "role": v.k.role.value,
        "age_s": 0.0,
        "confirmed": v.k.confirmed,
        "eligible": eligible(v),
        "vips": None if held.value is None else sorted(vip.value for vip in held.value),
        "postgresql": {
            "state": _database_state(v),
            "postmaster": v.postmaster,
            "healthy": v.database_healthy,
            **_point(v.point),
            "replay_lsn": str(database.replay_lsn) if database else None,
            "replay_lag_s": round(database.replay_lag_s, 3) if database else None,
            "streaming": v.streams if v.recovering else None,
        },
        "gateway_ok": v.gateway,
        "claiming": v.k.fencing.claim is not None,
        "paused": v.paused,
        "hold": v.k.durable.hold,
        "override": config.settings.override.value,
        "version": __version__,
    }


def _peer(host: Host, heard: Heard | None, now_s: float) -> Document:
    """The same of the other host, by its newest message; `age_s` says how old that is."""
    if heard is None:
        unknown = {"state": "unknown", "postmaster": "", "healthy": None, **_point(None)}
        keys = ("age_s", "confirmed", "eligible", "vips", "gateway_ok", "claiming", "paused", "hold")
        return {
            "name": host.name, "address": host.address, "role": "unknown", **dict.fromkeys(keys),
            "postgresql": {**unknown, "replay_lsn": None, "replay_lag_s": None, "streaming": None},
            "override": host.role.value, "version": None,
        }  # fmt: skip
    message = heard.message
    state = "down" if not message.postmaster else "read-write" if message.read_write else "standby"
    if message.postmaster and not message.read_write and not message.in_recovery:
        state = "starting"
    return {
        "name": host.name,
        "address": host.address,
        "role": role_of(host.name, message.record, confirmed=message.confirmed),
        "age_s": round(now_s - heard.at_s, 3),
        "confirmed": message.confirmed,
        "eligible": message.eligible,
        "vips": list(message.vips),
        "postgresql": {
            "state": state,
            "postmaster": message.postmaster,
            "healthy": message.database_ok,
            **_point(message.point),
            "replay_lsn": None,
            "replay_lag_s": round(message.replay_lag_s, 3),
            "streaming": message.streaming if message.in_recovery else None,
        },
        "gateway_ok": message.gateway_ok,
        "claiming": message.claiming,
        "paused": message.pause.active,
        "hold": message.hold,
        "override": message.override.value,
        "version": message.version,
    }


def _database_state(v: Facts) -> str:
    processes = v.processes
    if processes is None:
        return "unknown"
    if not processes.postmaster:
        if not processes.installed:
            return "no-data"
        return "orphans" if processes.left else "down"
    if v.hung:
        return "hung"
    if _refused(v):
        return "refusing"
    if v.database is None:
        return "starting"
    return "standby" if v.database.in_recovery else "read-write"


def _refused(v: Facts) -> bool:
    """The server answers new connections, and has not let pgvip ask it for as long as would make it hung."""
    connection, watch = v.seen.connection, v.seen.database
    since_s = max(watch.at_s, watch.failing_since_s, v.k.database.postmaster_since_s)
    serving = bool(v.postmaster) and connection.ok() and bool(connection.value)
    return serving and watch.failures >= 2 and v.now_s - since_s >= v.s.hung_after_s


def _replication(config: Config, v: Facts) -> Document:
    """How the standby follows: from the primary's own facts when this host is primary, else from this standby's."""
    heard = v.k.peer.heard.message if v.k.peer.heard else None
    database = v.database
    if v.read_write and database is not None:
        replica = database.replica
        return {
            "standby": config.peer.name,
            "state": replica.state if replica else "absent",
            "sync_state": replica.sync_state if replica else None,
            "lag_bytes": v.replica_lag_bytes if replica else None,
            "lag_s": round(replica.replay_lag_s, 3) if replica else None,
            "flush_lag_s": round(replica.flush_lag_s, 3) if replica else None,
            "apply_bytes": max(0, replica.flush_lsn - replica.replay_lsn) if replica else None,
            "sync_names": database.sync_names,
            "slot_lost": database.slot_lost,
        }
    far = heard.point if heard and heard.read_write else None
    near = v.point
    known = far is not None and near is not None and far.timeline == near.timeline
    return {
        "standby": config.me.name,
        "state": "unknown" if database is None else "streaming" if v.streams else "absent",
        "sync_state": None,
        "lag_bytes": max(0, far.lsn - near.lsn) if known and far and near else None,
        "lag_s": round(database.replay_lag_s, 3) if database else None,
        "flush_lag_s": None,
        "apply_bytes": max(0, database.point.lsn - database.replay_lsn) if database else None,
        "sync_names": None,
        "slot_lost": None,
    }


def _doing(k: Knowledge, now_s: float) -> Document:
    """What is under way: the row of the table, a claim, a give-up, actions, and what failed lately."""
    claim, giving_up = k.fencing.claim, k.consent.giving_up
    return {
        "row": k.intent.row,
        "row_age_s": _age(k.intent.row_since_s, now_s),
        "claim": None if claim is None else {
            "change": claim.change, "why": claim.why.value, "tries": claim.tries, "fenced": claim.fenced,
            "age_s": _age(claim.since_s, now_s),
        },
        "giving_up": (
            None if giving_up is None else {"change": giving_up.change, "age_s": _age(giving_up.since_s, now_s)}
        ),
        "switchover": k.orders.switchover is not None,
        "leaving": k.orders.leaving,
        "isolated": k.isolation.isolated,
        "actions": sorted(type(action).__name__ for action in k.work.running),
        "at_work": sorted(action.words() for action in k.work.running if not action.properties.routine),
        "failures": [
            {"action": name_of(kind), "what": words_of(kind), "times": one.times, "text": one.text,
             "retry_in_s": _in(one.retry_at_s, now_s)}
            for kind, one in sorted(k.work.failures.items(), key=lambda past: name_of(past[0]))
        ],
    }  # fmt: skip


def _rights(v: Facts) -> Document:
    """What this host may do now. `serve`: clients may write here, by the same rule as for the primary VIP.

    In a sync pair a restarted server lets none in before the standby has flushed its recovered end.
    """
    write = write_right(v)
    let_in = (v.postmaster, "") if v.seen.held.value and Vip.PRIMARY in v.seen.held.value else (v.postmaster,)
    return {"write": write, "serve": write and v.read_write and (not v.sync_term or v.k.database.caught_up in let_in)}


def _http(state: HttpState | None) -> Document | None:
    return None if state is None else {"listening": list(state.listening), "error": state.error}


def _power(v: Facts) -> Observation[str]:
    """What the fence device says; after a verified fence, until it is asked again, what that fence has found."""
    watch = v.seen.fence
    if not v.stale(watch, Subject.POWER):
        return watch
    ended_s = v.k.work.ended[Subject.POWER]
    return Observation("off", ended_s) if v.k.power.peer_off else watch


def _witness(config: Config, v: Facts, now_s: float) -> Document:
    """Which one counts in this term, which one is configured, and the last probe of it."""
    serial = v.k.durable.serial
    watched = _watched(v.seen.witness, now_s)
    return {
        "configured": config.witness.id or None,
        "counts": v.record.witness_id or None if v.record else None,
        "serial": serial.granted if serial.witness_id else None,
        **watched,
        "value": v.seen.witness.value.witness_id if v.seen.witness.value else None,
    }


def _local(k: Knowledge, me: str) -> Document:
    """The local facts that are kept with the record."""
    durable = k.durable
    return {
        "served": durable.served,
        "complete": durable.complete,
        "handbacks": durable.handbacks,
        "kept_off": durable.kept_off,
        "peer_removed": since(durable, me) or None,
    }


def _watched(watch: Observation[Any], now_s: float) -> Document:
    """One probe: its last value and age, and its failures since."""
    return {
        "ok": watch.ok() if watch.failures or watch.at_s > NEVER else None,
        "value": encode(watch.value),
        "age_s": _age(watch.at_s, now_s),
        "failures": watch.failures,
        "reason": watch.reason,
    }


def _point(point: WalPoint | None) -> Document:
    return {"timeline": point.timeline if point else None, "lsn": str(point.lsn) if point else None}


def _link(state: LinkState | None, now_s: float) -> Document | None:
    if state is None:
        return None
    return {
        "connected": state.connected,
        "since_age_s": _age(state.since_s, now_s) if state.since_s else None,
        "heard_age_s": _age(state.heard_s, now_s) if state.heard_s else None,
        "connections": state.connections,
        "listening": state.listening,
        "listen_error": state.listen_error,
        "last_error": state.last_error,
    }


def _loop(stats: LoopStats, now_s: float) -> Document:
    return {
        "rounds": stats.rounds,
        "longest_ms": round(stats.longest_ms, 2),
        "latest_ms": round(stats.latest_ms, 2),
        "rounds_per_s": round(stats.rounds / max(now_s - stats.began_s, 0.001), 2),
    }


def _age(at_s: float, now_s: float) -> float | None:
    return round(max(0.0, now_s - at_s), 3) if at_s > NEVER else None


def _in(at_s: float, now_s: float) -> float:
    return round(max(0.0, at_s - now_s), 3) if at_s > NEVER else 0.0
