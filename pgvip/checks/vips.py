"""The two virtual addresses: who should hold them, who does, and who answers for them on the network."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pgvip.checks.finding import Finding, Level, critical, gathered, unknown, warning
from pgvip.checks.subject import Document, Facts
from pgvip.core.values import Vip
from pgvip.errors import ProbeError
from pgvip.probes import addresses
from pgvip.system import packets

ASK_TIMES, ASK_WAIT_S = 2, 0.2


def holders(facts: Facts) -> Finding:
    """Each address is held by one host, the one whose role it is."""
    found = _held(facts, facts.status, fresh=facts.peer_fresh)
    if found.level is Level.CRITICAL and facts.peer_fresh:
        # The peer's word may be of before a fence or a change of roles: only one of after it proves anything.
        later = facts.later_status()
        found = _held(facts, later or facts.status, fresh=later is not None)
    return found


def _held(facts: Facts, status: Document, *, fresh: bool) -> Finding:
    """By one status. `fresh`: what the peer says counts."""
    me, peer = status["me"], status["peer"]
    held = sorted(vip.value for vip in addresses.held_vips(facts.config))
    told = (peer["vips"] or []) if fresh else []
    where = {vip: [name for name, vips in ((me["name"], held), (peer["name"], told)) if vip in vips]
             for vip in ("primary", "standby")}  # fmt: skip
    words = ", ".join(f"{vip}: {' and '.join(names) or 'nobody'}" for vip, names in where.items())
    return gathered(words, _holders(facts, status, where, fresh=fresh))


def _holders(facts: Facts, status: Document, where: dict[str, list[str]], *, fresh: bool) -> Iterator[Finding]:
    record = status["record"]
    if record is None or not status["confirmed"]:
        return
    other = ({facts.config.me.name, facts.config.peer.name} - {record["primary"]}).pop()
    if not fresh and record["mode"] == "pair":
        yield unknown(f"what {facts.config.peer.name} holds is not known: it is not heard", "see the check peer")
        where = {vip: names for vip, names in where.items() if names}
    should = {"primary": record["primary"], "standby": record["primary"] if record["mode"] == "solo" else other}
    for vip, names in where.items():
        address = facts.config.vips[Vip(vip)].ip
        if len(names) > 1:
            yield critical(f"both hosts hold the {vip} VIP {address}", "see pgvip status on both hosts")
        elif not names:
            level = critical if vip == "primary" else warning
            yield level(f"nobody holds the {vip} VIP {address}", "see pgvip status: its warnings say why")
        elif names != [should[vip]]:
            yield critical(f"{names[0]} holds the {vip} VIP {address}, not {should[vip]}", "see pgvip status")


def arp(facts: Facts) -> Finding:
    """On the network the right host answers for each address, and nobody else does."""
    return gathered("the right host answers for each address, and nobody else", _arp(facts))


def _arp(facts: Facts) -> Iterator[Finding]:
    config = facts.config
    held = addresses.held_vips(config)
    asked = [config.peer.address, *(str(address.ip) for address in config.vips.values())]
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:  # for who does not answer is waited
        peer_mac, *macs = pool.map(partial(_who_has, config.me.interface), asked)
    for (vip, address), mac in zip(config.vips.items(), macs, strict=True):
        if vip in held:
            if mac:
                whose = config.peer.name if mac == peer_mac else mac
                yield critical(f"{whose} answers for {address.ip} too, which this host holds", _FIND)
        elif mac and peer_mac and mac != peer_mac:
            yield critical(f"a stranger ({mac}) answers for {address.ip}", _FIND)
        elif mac and not peer_mac:
            yield warning(f"{mac} answers for {address.ip}, and {config.peer.name} not at its own address", _FIND)
        elif not mac:
            yield from _silent(facts, vip, str(address.ip))


def _who_has(interface: str, address: str) -> str:
    return packets.arp_who_has(interface, address, ASK_TIMES, ASK_WAIT_S)


_FIND = "find out which machine that is: ip neighbour; take the address from it"


def _silent(facts: Facts, vip: Vip, address: str) -> Iterator[Finding]:
    """Nobody answers for an address that the peer says it holds, and says so again afterwards."""
    if facts.identity is None or not facts.peer_fresh or not _says(facts.status, vip):
        return
    later = facts.later_status()
    if later is None or not _says(later, vip):
        return
    if not _who_has(facts.config.me.interface, address):
        hint = "see the network between the hosts"
        yield critical(f"nobody answers for {address}, which {later['peer']['name']} holds", hint)


def _says(status: Document, vip: Vip) -> bool:
    return vip.value in (status["peer"]["vips"] or [])


def gateway(facts: Facts) -> Finding:
    """A gateway answers this host."""
    config = facts.config
    answered = packets.ping_any(config.me.interface, config.gateways, 1.0)
    silent = [ip for ip in config.gateways if ip != answered and not _answers(config.me.interface, ip)]
    if not answered:
        hint = "see this host's network; without a gateway it neither takes over nor fences"
        return critical(f"no gateway answers: {', '.join(config.gateways)}", hint)
    hint = "it is no help when the others fail: repair it or remove it"
    bad = [warning(f"{ip} does not answer", hint) for ip in silent]
    return gathered(f"{answered} answers", bad)


def _answers(interface: str, ip: str) -> bool:
    try:
        return packets.ping(interface, ip, 0.6)
    except ProbeError:
        return False
