"""Fencing: every method of the peer is tried (its status alone), and its time-outs fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pgvip.checks.finding import Finding, Perf, critical, gathered, warning
from pgvip.checks.subject import Facts, Skipped
from pgvip.config.model import Config, FenceMethod, Host
from pgvip.config.read import wrong
from pgvip.deadlines import now_s
from pgvip.errors import ConfigError, FenceError, LinkError
from pgvip.system import device_identity, fence_agents

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
    whose = _whose(facts.config)
    bad = [critical(one.message, one.hint, one.detail) for one in _own(facts.config, whose)]
    bad += _devices(facts, found, all_fail=len(failed) == len(found))
    unknown = ", ".join(method.name for method, own in whose if own is None)
    more = f"; {unknown} {UNSAID}" if unknown else ""
    return gathered(f"{len(found)} of {len(found)} methods answer: {peer.name} is {found[0][0]}{more}", bad, perf)


UNSAID = "cannot say which machine it powers: only a trial shows it (pgvip fence off)"
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


def own_devices(config: Config) -> Iterator[ConfigError]:
    """A device that is to power the peer off and says that it is this host's own, where it can say that."""
    yield from _own(config, _whose(config))


Whose = list[tuple[FenceMethod, bool | None]]


def _whose(config: Config) -> Whose:
    """Of each method of the peer, whether its device is this host's own; None where that cannot be known."""
    if not config.peer.fencing:
        return []
    mine, addresses = device_identity.own_uuid(), device_identity.own_addresses()
    return [(method, device_identity.is_own(method, mine, addresses)) for method in config.peer.fencing]


def _own(config: Config, whose: Whose) -> Iterator[ConfigError]:
    for number, (method, own) in enumerate(whose, 1):
        if own:
            yield ConfigError(
                f"hosts.{config.peer.name}.fencing[{number}]: the device of {method.name} is that of this host, "
                f"{config.me.name}",
                f"By its UUID or its address it powers this machine. To fence {config.peer.name}, "
                f"{config.me.name} would power itself off.",
                "See whether the addresses of the two devices are exchanged in the file.",
            )


def slow_fences(config: Config) -> Iterator[ConfigError]:
    """Methods that take longer than fence_delay_s, with the value that rules out that both hosts are off.

    Each device is asked for its status. An order and its proof are two calls, and an agent waits by itself besides.
    """
    delay_s = config.settings.fence_delay_s
    for number, method in enumerate(config.peer.fencing, 1):
        power, took_s, _ = _tried(method)
        found = fence_agents.known_metadata(method)
        wait = dict(method.options).get("power_wait", "")
        wait_s = float(wait) if wait.isdigit() else (found.power_wait_s if found else 0.0)
        fence_s = 2 * took_s + wait_s
        if not power or fence_s <= delay_s:
            continue
        key = f"hosts.{config.peer.name}.fencing[{number}]"
        yield wrong(
            "timing.fence_delay_s", delay_s,
            f"{key} ({method.name}) takes about {fence_s:.1f} s to power {config.peer.name} off",
            f"Write fence_delay_s = {math.ceil(1.2 * fence_s)} to rule that out; every takeover from a dead primary "
            "then takes as much longer.",
            "When only the link between the hosts fails, both may power each other off, and nobody serves until they "
            "have booted.",
        )  # fmt: skip


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
