"""The daemons and what they have agreed on: record, roles, right to take over, pause, hold, configuration, versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pgvip.checks.configuration import host_problems, host_warnings
from pgvip.checks.finding import Finding, Perf, critical, gathered, ok, unknown, warning
from pgvip.checks.subject import Facts
from pgvip.errors import LinkError
from pgvip.text.writing import duration

_LOG = "see the daemon's log: journalctl -u pgvip"
OLD_S = 5.0
"""A peer's word that is older is none (heartbeats come every half second)."""
OWN_CHECK = frozenset({
    "paused", "hold", "peer-hold", "not-eligible", "alone", "peer-silent", "no-fencing", "fence-status",
    "configuration-differs", "archive-unread", "backup-missing", "backup-old",
    "version-differs", "unconfirmed", "no-record", "lag", "sync-names", "weak-commits", "heartbeat-failing",
    "vip-twice",
    "settings-wrong", "settings-pending", "settings-overridden", "access-differs", "settings-differ", "hosts-differ",
    "restart-pending", "configuration-refused",
})  # fmt: skip
"""Warnings of `status` that have a check of their own here."""


def daemon(facts: Facts) -> Finding:
    """The daemon of this host runs and goes round."""
    if facts.identity is None:
        return unknown("this host belongs to no pair yet", "pgvip init on the first host, pgvip clone on the second")
    status = facts.status
    process, loop = status["process"], status["loop"]
    perf = (
        Perf("uptime", process["uptime_s"], "s"),
        Perf("memory", process["memory_bytes"] or 0, "B"),
        *([Perf("longest_round", loop["longest_ms"] / 1000, "s")] if loop else []),
    )
    return ok(f"pgvip {process['version']} runs", *perf)


def role(facts: Facts) -> Finding:
    """The record says who serves, it is confirmed, and both hosts are what it says."""
    status = facts.status
    record = status["record"]
    if record is None:
        return critical("this host has no record of who may serve", "bring the peer back: it has one")
    term = Perf("term", record["term"])
    if not status["confirmed"]:
        hint = "bring the peer back; if it never comes: pgvip promote --force"
        return critical("not confirmed by the peer since this host's boot", hint, perf=[term])
    if record["mode"] == "solo":
        by_choice = "primary_standby" in (status["me"]["override"], status["peer"]["override"])
        text = f"{record['primary']} serves alone ({record['cause']})"
        if facts.removed:
            return ok(f"{record['primary']} serves alone: the other host is removed", term)
        hint = "" if by_choice else "bring the other host back, and see why it does not follow: pgvip status"
        return ok(text, term) if by_choice else warning(text, hint, perf=[term])
    if status["me"]["postgresql"]["state"] not in ("read-write", "standby"):
        return critical(f"PostgreSQL is {status['me']['postgresql']['state']}", "see its log, and pgvip status")
    return ok(f"{record['primary']} is primary, this host is {status['role']}, term {record['term']}", term)


def takeover(facts: Facts) -> Finding:
    """A takeover would work now (`pgvip explain`)."""
    document = facts.explained
    standby = document["standby"]
    if document["takeover_works"]:
        first = document["scenarios"][0]
        perf = Perf("expected_outage", first["outage_s"] or 0.0, "s")
        return ok(f"{standby} would take over from a dead host and from a dead database", perf)
    found = [one for scenario in document["scenarios"][:2] for one in scenario["blockers"]]
    texts = list(dict.fromkeys(one["text"] for one in found)) or ["see pgvip explain"]
    hints = list(dict.fromkeys(one["hint"] for one in found))
    return warning(f"{standby} would not take over now: {'; '.join(texts)}", "; ".join(hints))


def pause(facts: Facts) -> Finding:
    """Automatic action is not suspended."""
    durable = facts.durable
    if durable is None:
        return unknown("there is no record yet", "pgvip init")
    paused = durable.pause
    if paused.active:
        return warning(f"paused since {paused.at}: {paused.reason or 'no reason given'}", "pgvip resume")
    return ok("not paused")


def hold(facts: Facts) -> Finding:
    """No host's data waits for an operator."""
    durable = facts.durable
    if durable is None:
        return unknown("there is no record yet", "pgvip init")
    holds = {facts.config.me.name: durable.hold}
    with suppress(LinkError):  # with the daemon down, this host's own record is what can be seen
        holds[facts.config.peer.name] = facts.status["peer"]["hold"] or ""
    bad = [critical(f"{host}: {why}", "compare the data, then: pgvip hold clear") for host, why in holds.items() if why]
    return gathered("no data is on hold", bad)


def peer(facts: Facts) -> Finding:
    """The peer's daemon is heard."""
    there = facts.status["peer"]
    age_s = there["age_s"]
    hint = f"systemctl status pgvip on {there['name']}; see that port {facts.config.link_port} is open"
    if age_s is None:
        return critical(f"{there['name']} has not been heard since this daemon's start", hint)
    perf = [Perf("peer_age", age_s, "s", critical=OLD_S)]
    if age_s > OLD_S:
        return critical(f"{there['name']} was last heard {duration(age_s)} ago", hint, perf=perf)
    return ok(f"{there['name']} was heard {duration(age_s)} ago", *perf)


def configuration(facts: Facts) -> Finding:
    """The file fits this host and is the same on both."""
    bad = list(_configuration(facts))
    compared = facts.identity is not None and facts.status["peer"]["age_s"] is not None
    return gathered("fits this host" + (", and is the same on both hosts" if compared else ""), bad)


def _configuration(facts: Facts) -> Iterator[Finding]:
    for problem in (*host_problems(facts.config), *host_warnings(facts.config)):
        yield warning(problem.message, problem.hint, problem.detail)
    if facts.identity is None:
        return
    warnings = {one["name"]: one for one in facts.status["warnings"]}
    for name in ("configuration-differs", "foreign-message", "restart-pending", "configuration-refused"):
        if name in warnings:
            yield warning(warnings[name]["text"], warnings[name]["hint"])


def versions(facts: Facts) -> Finding:
    """Both hosts run the same pgvip and the same PostgreSQL."""
    return gathered("the same pgvip and PostgreSQL on both hosts", _versions(facts))


def _versions(facts: Facts) -> Iterator[Finding]:
    status = facts.status
    mine, theirs = status["me"]["version"], status["peer"]["version"]
    if theirs is not None and mine != theirs:
        yield warning(f"pgvip {mine} here, {theirs} on {facts.config.peer.name}", "upgrade the older one")
    here, there = (int(rows[0][0]) for rows in (facts.local("check_version"), facts.peer("check_version")))
    if here // 10000 != there // 10000:
        yield critical(f"PostgreSQL {here // 10000} here, {there // 10000} there", "streaming needs the same major one")
    elif here != there:
        text = f"PostgreSQL {here // 10000}.{here % 10000} here, {there // 10000}.{there % 10000} there"
        yield warning(text, "upgrade the older one; the standby first")


def warnings(facts: Facts) -> Finding:
    """`pgvip status` has no warning that no other check looks for."""
    found = [one for one in facts.status["warnings"] if one["name"] not in OWN_CHECK]
    bad = [warning(f"{one['name']}: {one['text']}", one["hint"] or _LOG) for one in found]
    return gathered("no further warning", bad, [Perf("warnings", len(facts.status["warnings"]))])
