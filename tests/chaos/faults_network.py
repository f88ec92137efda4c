"""Faults of the network between the hosts, their gateway and their clients."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.ground import Ground, Undo
from tests.chaos.schedule import Step
from tests.lab.hosts import Host
from tests.lab.network import Cut

LINK_PORT, POSTGRES_PORT = 8432, 5432
SEEN_BY_CLIENTS = ("gateway", "client")


def both_ways(one: str, other: str, *, port: int = 0, loss: int = 0) -> list[Cut]:
    return [Cut(one, other, port, loss), Cut(other, one, port, loss)]


def cut_off(ground: Ground, host: Host, _step: Step) -> Undo:
    return ground.unplug(host.name)


def cut_peer(ground: Ground, _host: Host, _step: Step) -> Undo:
    return ground.cut(*both_ways("alpha", "beta"))


def cut_link(ground: Ground, _host: Host, _step: Step) -> Undo:
    return ground.cut(*both_ways("alpha", "beta", port=LINK_PORT))


def cut_replication(ground: Ground, _host: Host, _step: Step) -> Undo:
    return ground.cut(*both_ways("alpha", "beta", port=POSTGRES_PORT))


def cut_one_way(ground: Ground, host: Host, _step: Step) -> Undo:
    return ground.cut(Cut(host.name, ground.pair.peer_of(host).name))


def cut_gateway(ground: Ground, host: Host, _step: Step) -> Undo:
    return ground.cut(*both_ways(host.name, "gateway"))


def gateway_dead(ground: Ground, _host: Host, _step: Step) -> Undo:
    return ground.unplug("gateway")


def packet_loss(ground: Ground, host: Host, step: Step) -> Undo:
    others = (ground.pair.peer_of(host).name, *SEEN_BY_CLIENTS)
    return ground.cut(*(cut for other in others for cut in both_ways(host.name, other, loss=round(step.amount))))


STRIKES: dict[str, Callable[[Ground, Host, Step], Undo | None]] = {
    "cut-off": cut_off,
    "cut-peer": cut_peer,
    "cut-link": cut_link,
    "cut-replication": cut_replication,
    "cut-one-way": cut_one_way,
    "cut-gateway": cut_gateway,
    "gateway-dead": gateway_dead,
    "packet-loss": packet_loss,
}
