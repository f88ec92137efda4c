"""What Prometheus gets: the status document as metrics, in base units, with few labels. Pure; docs/http.md lists them.

What is not known is left out rather than given as 0. Every sample carries the pair's and the host's name, so that one
rule serves many pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from pgvip import __version__
from pgvip.core.values import Lsn
from pgvip.text.schema import SCHEMA
from pgvip.web.exposition import Family, expose
from pgvip.web.health import apply_lag_bytes, is_synchronous, serves_primary, serves_standby

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgvip.web.sources import Counts, Document

ROLES = ("primary", "standby", "primary_standby", "none", "unknown")
STATES = ("read-write", "standby", "starting", "refusing", "hung", "down", "orphans", "no-data", "unknown")
VIPS = ("primary", "standby")

Value = Callable[["Document"], object]


def metrics(
    document: Document | None, age_s: float, stale_s: float, counts: Counts, common: dict[str, str]
) -> str:
    """All of it as text. `document`: None before the loop's first round; `age_s`: since its last one."""
    families = [*_daemon(age_s, counts)]
    if document is not None:
        families += [*_serves(document, age_s > stale_s), *_simple(document), *_by_label(document)]
    return expose(families, common)


def _one(name: str, kind: str, text: str, value: object, **labels: str) -> Family:
    family = Family(name, kind, text)
    family.add(value, **labels)
    return family


def _counted(name: str, text: str, label: str, counts: dict[str, int]) -> Family:
    family = Family(name, "counter", text)
    for one, count in sorted(counts.items()):
        family.add(count, **{label: one})
    return family


def _daemon(age_s: float, counts: Counts) -> Iterable[Family]:
    yield _one("pgvip_build_info", "gauge", "Version of the daemon.", 1, version=__version__)
    text = "Version of the metrics and of the JSON documents (docs/status.md)."
    yield _one("pgvip_schema_version", "gauge", text, SCHEMA)
    age = age_s if math.isfinite(age_s) else None
    yield _one("pgvip_loop_age_seconds", "gauge", "Time since the last round of the daemon's loop.", age)
    text = "Events logged since the daemon started, by name."
    yield _counted("pgvip_events_total", text, "event", dict(counts.events))
    text = "Changes of the record written or adopted since the daemon started, by name (docs/changes.md)."
    yield _counted("pgvip_changes_total", text, "change", dict(counts.changes))


def _serves(document: Document, stale: bool) -> Iterable[Family]:
    """The verdicts of the health checks; nobody is said to serve by what may be over."""
    text = "Clients may write here (GET /primary gives 200)."
    yield _one("pgvip_serves_primary", "gauge", text, not stale and not serves_primary(document))
    text = "Clients may read from this standby (GET /standby gives 200)."
    yield _one("pgvip_serves_standby", "gauge", text, not stale and not serves_standby(document))


def _simple(document: Document) -> Iterable[Family]:
    return [_one(name, kind, text, value(document)) for name, kind, text, value in SIMPLE]


def _by_label(document: Document) -> Iterable[Family]:
    me, peer, record = document["me"], document["peer"], document["record"]
    yield _states("pgvip_role", "Role of this host, 1 for the one that it has.", "role", ROLES, document["role"])
    text = "Role of the peer as it last said, 1 for the one that it has."
    yield _states("pgvip_peer_role", text, "role", ROLES, peer["role"])
    text = "State of the local PostgreSQL, 1 for the one that it is in."
    yield _states("pgvip_postgres_state", text, "state", STATES, me["postgresql"]["state"])
    for name, host, text in (
        ("pgvip_vip_held", me, "1 for each VIP that this host's interface carries."),
        ("pgvip_peer_vip_held", peer, "1 for each VIP that the peer's interface carries, as it last said."),
    ):
        vips = Family(name, "gauge", text)
        for vip in VIPS if host["vips"] is not None else ():
            vips.add(vip in host["vips"], vip=vip)
        yield vips
    if record is not None:
        text = "The record in force: its primary, mode, and the change that made it."
        labels = {"primary": record["primary"], "mode": record["mode"], "cause": record["cause"]}
        yield _one("pgvip_record_info", "gauge", text, 1, **labels)
    warnings = Family("pgvip_warning", "gauge", "1 for each warning that `pgvip status` shows.")
    for name in sorted({one["name"] for one in document["warnings"]}):
        warnings.add(1, warning=name)
    yield warnings
    failures = Family("pgvip_action_failures", "gauge", "How often an action failed in a row.")
    for one in document["doing"]["failures"]:
        failures.add(one["times"], action=one["action"])
    yield failures
    observed = document.get("observed")
    text = "1 where pgvip only observes: it decides and reports, and changes nothing."
    yield _one("pgvip_observe", "gauge", text, observed is not None)
    if observed is not None:
        text = "Actions that pgvip would have carried out since the daemon started, by name, where it only observes."
        yield _counted("pgvip_would_total", text, "action", observed["counts"])
    text = "When a certificate ends that people have to renew, in seconds since 1970."
    ends = Family("pgvip_certificate_expiry_timestamp_seconds", "gauge", text)
    for name in sorted(document["certificates"]):
        ends.add(_unix("certificates", name)(document), certificate=name)
    yield ends


def _states(name: str, text: str, label: str, states: tuple[str, ...], now: str) -> Family:
    family = Family(name, "gauge", text)
    for state in states:
        family.add(state == now, **{label: state})
    return family


def _position(key: str) -> Value:
    def value(document: Document) -> object:
        text = document["me"]["postgresql"][key]
        return int(Lsn.parse(text)) if text else None

    return value


def _of(section: str, key: str, scale: float = 1.0) -> Value:
    """A number or a fact of one section of the document; not known where the section is not there."""

    def value(document: Document) -> object:
        found = (document[section] or {}).get(key)
        return found * scale if found is not None and scale != 1.0 else found

    return value


def _archiving(key: str) -> Value:
    """Of this host's own archiver: the other host reports its own."""

    def value(document: Document) -> object:
        found = document["archiving"]
        return found[key] if found is not None and found["host"] == document["host"] else None

    return value


def _drill_outage(document: Document) -> object:
    times = [one["outage_s"] for one in (document["drill"] or {}).get("switchovers", [])]
    return max(times, default=None)


def _unix(section: str, key: str) -> Value:
    """A wall-clock time of one section, as seconds since 1970."""

    def value(document: Document) -> object:
        try:
            return datetime.fromisoformat((document[section] or {}).get(key, "")).timestamp()
        except ValueError:
            return None

    return value


def _replication_lag(document: Document) -> object:
    """A standby's own view is its replay; the primary's is what the standby has flushed."""
    return apply_lag_bytes(document) if document["role"] == "standby" else document["replication"]["lag_bytes"]


def _is_sync(document: Document) -> object:
    if document["role"] == "standby":
        return is_synchronous(document)
    return document["replication"]["sync_state"] in ("sync", "quorum")


def _streams(document: Document) -> object:
    state = document["replication"]["state"]
    return None if state == "unknown" else state == "streaming"


def _gone(document: Document) -> bool:
    """The peer is removed: nothing of it is missing."""
    return bool(document["local"]["peer_removed"])


def _archive_read(document: Document) -> object:
    archive = document["archive"]
    return bool(archive["ok"] and archive["value"]) if archive["enabled"] and not _gone(document) else None


SIMPLE: tuple[tuple[str, str, str, Value], ...] = (
    ("pgvip_term", "gauge", "Term of the record: it grows with every change of who may serve.",
     lambda d: d["term"]),
    ("pgvip_confirmed", "gauge", "This host knows that its record is the pair's current one.",
     lambda d: d["confirmed"]),
    ("pgvip_solo", "gauge", "The record lets the primary serve alone; the other host may not take over.",
     lambda d: d["record"]["mode"] == "solo" if d["record"] else None),
    ("pgvip_sync_wanted", "gauge", "The configuration asks for synchronous replication.",
     lambda d: d["sync_wanted"]),
    ("pgvip_eligible", "gauge", "This standby may take over.", lambda d: d["me"]["eligible"]),
    ("pgvip_peer_eligible", "gauge", "The peer, a standby, may take over, as it last said.",
     lambda d: d["peer"]["eligible"]),
    ("pgvip_peer_seen_age_seconds", "gauge", "Time since the peer's daemon was last heard.",
     lambda d: None if _gone(d) else d["peer"]["age_s"]),
    ("pgvip_link_up", "gauge", "The peer link is connected.", _of("link", "connected")),
    ("pgvip_link_connections", "gauge", "Connections of the peer link, of two.", _of("link", "connections")),
    ("pgvip_gateway_up", "gauge", "A gateway answers this host.", lambda d: d["me"]["gateway_ok"]),
    ("pgvip_postgres_healthy", "gauge", "The local PostgreSQL answers and its disks take writes.",
     lambda d: d["me"]["postgresql"]["healthy"]),
    ("pgvip_postgres_pending_restart", "gauge", "Number of settings that wait for a restart of PostgreSQL.",
     lambda d: len(d["pending_restart"]["postgresql"])),
    ("pgvip_pending_restart", "gauge", "Number of changes of the configuration that wait for a restart of the daemon.",
     lambda d: len(d["pending_restart"]["pgvip"])),
    ("pgvip_postgres_timeline", "gauge", "Timeline of the local PostgreSQL.",
     lambda d: d["me"]["postgresql"]["timeline"]),
    ("pgvip_wal_position_bytes", "gauge", "WAL flushed (primary) or received (standby), as a number of bytes.",
     _position("lsn")),
    ("pgvip_wal_replay_position_bytes", "gauge", "WAL replayed on this standby, as a number of bytes.",
     lambda d: _position("replay_lsn")(d) if d["role"] == "standby" else None),
    ("pgvip_replication_streaming", "gauge", "The standby streams, as this host sees it.", _streams),
    ("pgvip_replication_sync", "gauge", "Commits wait for the standby.", _is_sync),
    ("pgvip_replication_lag_bytes", "gauge",
     "WAL that the standby lacks: on a primary what is not flushed there, on a standby what is not replayed.",
     _replication_lag),
    ("pgvip_replication_lag_seconds", "gauge", "How long the standby's replay is behind.",
     _of("replication", "lag_s")),
    ("pgvip_slot_lost", "gauge", "The standby's replication slot no longer holds the WAL that it needs.",
     _of("replication", "slot_lost")),
    ("pgvip_fencing_configured", "gauge", "There is a way to fence the peer.", _of("fencing", "configured")),
    ("pgvip_fence_device_up", "gauge", "The peer's fence device answered the last time it was asked.",
     _of("fencing", "ok")),
    ("pgvip_fence_status_age_seconds", "gauge", "Time since the peer's fence device last answered.",
     _of("fencing", "age_s")),
    ("pgvip_fence_power_on", "gauge", "The peer's power is on, by its fence device.",
     lambda d: d["fencing"]["value"] == "on" if d["fencing"]["value"] else None),
    ("pgvip_archive_mounted", "gauge", "The peer's WAL archive is mounted, or read over the link, and answers.",
     _archive_read),
    ("pgvip_archive_failing", "gauge", "This host's server cannot archive: its last try failed.",
     _archiving("failing")),
    ("pgvip_archive_failures_total", "counter", "Failed tries to archive, by PostgreSQL's statistics.",
     _archiving("failures")),
    ("pgvip_archive_last_failure_age_seconds", "gauge", "Time since a try to archive failed.",
     _archiving("failed_age_s")),
    ("pgvip_archive_last_success_age_seconds", "gauge", "Time since a WAL file was archived.",
     _archiving("archived_age_s")),
    ("pgvip_archive_waiting_files", "gauge", "WAL files that wait to be archived.", _archiving("waiting_files")),
    ("pgvip_archive_oldest_waiting_age_seconds", "gauge", "How long the oldest of them has waited.",
     _archiving("oldest_age_s")),
    ("pgvip_backup_age_seconds", "gauge", "Time since the pair's newest verified base backup was made.",
     _of("backup", "age_s")),
    ("pgvip_backup_size_bytes", "gauge", "Size of the pair's newest verified base backup.",
     _of("backup", "size_bytes")),
    ("pgvip_isolated", "gauge", "This host hears nobody: no gateway, and no answer of the peer by any path.",
     lambda d: d["doing"]["isolated"]),
    ("pgvip_watchdog_armed", "gauge", "The watchdog is armed: it resets this host when the daemon hangs.",
     _of("watchdog", "armed")),
    ("pgvip_watchdog_required", "gauge", "The configuration requires a watchdog to serve.",
     lambda d: d["watchdog"]["mode"] == "required"),
    ("pgvip_peer_kept_off", "gauge", "The peer was powered off by an operator, and is not switched on by itself.",
     lambda d: d["local"]["kept_off"]),
    ("pgvip_peer_removed", "gauge", "An operator removed the peer: this host serves alone, for good.", _gone),
    ("pgvip_drill_ok", "gauge", "The last drill that was ordered on this host kept its limits.", _of("drill", "ok")),
    ("pgvip_drill_outage_seconds", "gauge", "The longest write outage of that drill.", _drill_outage),
    ("pgvip_drill_timestamp_seconds", "gauge", "When that drill began, in seconds since 1970.", _unix("drill", "at")),
    ("pgvip_switchover_scheduled_timestamp_seconds", "gauge",
     "When a switchover is scheduled, on either host, in seconds since 1970.", _unix("scheduled", "at")),
    ("pgvip_paused", "gauge", "Automatic action is paused by an operator.", lambda d: d["pause"]["active"]),
    ("pgvip_hold", "gauge", "This host's data may not be rewound or rebuilt.", lambda d: bool(d["hold"])),
    ("pgvip_claim_open", "gauge", "This host is fencing its peer.", lambda d: d["doing"]["claim"] is not None),
    ("pgvip_giving_up", "gauge", "This host is giving its role up.", lambda d: d["doing"]["giving_up"] is not None),
    ("pgvip_actions_running", "gauge", "Actions at work.", lambda d: len(d["doing"]["actions"])),
    ("pgvip_warnings", "gauge", "Number of warnings that `pgvip status` shows.", lambda d: len(d["warnings"])),
    ("pgvip_loop_rounds_total", "counter", "Rounds of the daemon's loop.", _of("loop", "rounds")),
    ("pgvip_loop_longest_seconds", "gauge", "The longest round since the daemon started.",
     _of("loop", "longest_ms", 0.001)),
    ("pgvip_loop_latest_seconds", "gauge", "The latest wake-up of the loop since the daemon started.",
     _of("loop", "latest_ms", 0.001)),
    ("process_resident_memory_bytes", "gauge", "Resident memory of the daemon.", _of("process", "memory_bytes")),
    ("process_cpu_seconds_total", "counter", "CPU time of the daemon.", _of("process", "cpu_seconds")),
    ("pgvip_uptime_seconds", "gauge", "Time since the daemon started.", _of("process", "uptime_s")),
)  # fmt: skip
