"""Fencing: every method of the peer is tried (its status alone), and its time-outs fit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pgvip.checks.finding import Finding, Perf, critical, gathered, warning
from pgvip.checks.subject import Facts, Skipped
from pgvip.config.model import FenceMethod, Host
from pgvip.deadlines import now_s
from pgvip.errors import FenceError, LinkError
from pgvip.system import fence_agents

POWER_TIMEOUT_S = 20.0
"""Default `power_timeout` of the fence agents (fence-agents 4.12)."""


def devices(facts: Facts) -> Finding:
    """Each method that is to power the peer off answers, and says what is true."""
    peer = facts.config.peer
    if not peer.fencing and facts.config.witness.configured:
        raise Skipped(f"no way to power {peer.name} off: takeovers go by the witness")
    if not peer.fencing:
        text = f"no way to power {peer.name} off: nobody takes over from a silent host"
        return warning(text, f"configure fencing in section [hosts.{peer.name}]")
    with ThreadPoolExecutor(max_workers=len(peer.fencing)) as pool:
        found = list(pool.map(_tried, peer.fencing))
    perf = [Perf(f"fence_{number}", took_s, "s", critical=method.timeout_s)
            for number, (method, (_, took_s, _)) in enumerate(zip(peer.fencing, found, strict=True), 1)]  # fmt: skip
    failed = [method.name for method, (power, _, _) in zip(peer.fencing, found, strict=True) if not power]
    bad = list(_devices(facts, found, all_fail=len(failed) == len(found)))
    return gathered(f"{len(found)} of {len(found)} methods answer: {peer.name} is {found[0][0]}", bad, perf)


Tried = tuple[str, float, str]


def _tried(method: FenceMethod) -> Tried:
    """Power as it says, how long that took, and why it did not."""
    began_s = now_s()
    try:
        return fence_agents.power(method), now_s() - began_s, ""
    except FenceError as failure:
        return "", now_s() - began_s, f"{failure.message}: {failure.detail}".rstrip(": ")


def _devices(facts: Facts, found: list[Tried], *, all_fail: bool) -> Iterator[Finding]:
    peer = facts.config.peer
    for method, (power, took_s, reason) in zip(peer.fencing, found, strict=True):
        if not power:
            level = critical if all_fail else warning
            hint = "pgvip fence test; see address, user and password of the device"
            yield level(f"{method.name} fails: {reason}", hint)
        elif power == "off" and _peer_speaks(facts):
            text = f"{method.name} says that {peer.name} is off, and {peer.name} is heard"
            yield critical(text, "it is the device of another machine: see its address and plug")
        elif took_s > method.timeout_s / 2:
            yield warning(f"{method.name} took {took_s:.0f} s, of timeout_s = {method.timeout_s:g}", "raise timeout_s")


def _peer_speaks(facts: Facts) -> bool:
    """It was heard after the device had answered: a word of before a fence proves nothing."""
    try:
        return facts.peer_fresh and facts.later_status() is not None
    except LinkError:
        return False


def timing(facts: Facts) -> Finding:
    """Time-outs fit together, those of the fence agents too."""
    hosts = (facts.config.me, facts.config.peer)
    return gathered("the time-outs fit together", [bad for host in hosts for bad in _timing(facts, host)])


def _timing(facts: Facts, host: Host) -> Iterator[Finding]:
    s = facts.config.settings
    for number, method in enumerate(host.fencing, 1):
        key = f"hosts.{host.name}.fencing[{number}]"
        power_s = float(dict(method.options).get("power_timeout", POWER_TIMEOUT_S if method.agent else 0.0))
        if method.agent and method.timeout_s <= power_s and _is_cluster_labs(method):
            hint = f"write more than {power_s:g}, or a shorter power_timeout"
            text = f"{key}.timeout_s = {method.timeout_s:g} is not longer than power_timeout = {power_s:g}"
            yield warning(text, hint)
    fence_s = sum(method.timeout_s for method in host.fencing)
    needed_s = s.dead_after_s + s.fence_delay_s + fence_s
    if not s.sync and host.fencing and s.lag_s_max < needed_s:
        text = f"replication.lag_s_max = {s.lag_s_max:g} is too short to fence {host.name} within it"
        yield critical(text, f"write at least {needed_s:g}")


def _is_cluster_labs(method: FenceMethod) -> bool:
    """Those know power_timeout; a program of the operator's own, elsewhere, has its own time-outs."""
    directory, _, name = method.agent.rpartition("/")
    return name.startswith("fence_") and directory in ("", "/usr/sbin", "/sbin")
