"""Faults of the network between the hosts, their gateway, their clients and their witness; faults of the witness."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from tests.chaos.ground import CHAOS_PROGRAMS as PROGRAMS
from tests.chaos.ground import Ground, Undo, VoidError
from tests.chaos.schedule import Step
from tests.lab.hosts import Host
from tests.lab.network import Cut, mac_of, port_of
from tests.lab.witness_server import NODE

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


def path_of(ground: Ground, host: Host, step: Step, *, client: bool) -> tuple[str, str]:
    """The host and whom the path leads to: drawn by the seed. `client`: it may be the clients' own path."""
    peer = ground.pair.peer_of(host).name
    others = [peer, peer, "gateway", *(["client"] if client else [])]
    return host.name, others[step.salt % len(others)]


def path_loss(ground: Ground, host: Host, step: Step) -> Undo:
    return ground.cut(*both_ways(*path_of(ground, host, step, client=False), loss=round(step.amount)))


def path_mtu(ground: Ground, host: Host, step: Step) -> Undo:
    """Large packets are lost without a word, as behind a tunnel whose ICMP messages are filtered."""
    one, other = path_of(ground, host, step, client=True)
    return ground.cut(Cut(one, other, above=round(step.amount)), Cut(other, one, above=round(step.amount)))


def path_delay(ground: Ground, host: Host, step: Step) -> Undo:
    return delay(ground, host, path_of(ground, host, step, client=True)[1], step)


def delay(ground: Ground, host: Host, other: str, step: Step) -> Undo:
    """By a program in the switch (the kernel may have no netem); a power-off of the host ends it."""
    ground.need_on(host)
    ends = [f"{mac_of(one)},{port_of(two)}" for one, two in itertools.permutations((host.name, other))]
    argv = [sys.executable, "-IS", PROGRAMS / "delay.py", step.number, step.amount, *ends]
    program = ground.switch.popen(argv, stdout=subprocess.PIPE)
    assert program.stdout is not None
    if program.stdout.readline() != "ready\n":
        ground.end(ground.switch, program)
        raise VoidError("the frames could not be delayed")
    return partial(ground.end, ground.switch, program)


# --- the witness -----------------------------------------------------------------------------------------


def witness_restarted(ground: Ground, _host: Host, _step: Step) -> None:
    ground.witness.stop(signal.SIGQUIT)
    ground.witness.start()


def witness_stopped(ground: Ground, _host: Host, _step: Step) -> Undo:
    ground.witness.stop()
    return ground.witness.start


def witness_hangs(ground: Ground, _host: Host, _step: Step) -> Undo:
    ground.witness.hang()
    return ground.witness.go_on


def witness_cut(ground: Ground, host: Host, _step: Step) -> Undo:
    return ground.cut(*both_ways(host.name, NODE))


def witness_mute(ground: Ground, host: Host, _step: Step) -> Undo:
    """What it is asked arrives: a claim may be written whose answer is lost."""
    return ground.cut(Cut(NODE, host.name))


def witness_late(ground: Ground, host: Host, step: Step) -> Undo:
    return delay(ground, host, NODE, step)


def witness_loss(ground: Ground, host: Host, step: Step) -> Undo:
    return ground.cut(*both_ways(host.name, NODE, loss=round(step.amount)))


STRIKES: dict[str, Callable[[Ground, Host, Step], Undo | None]] = {
    "cut-off": cut_off,
    "cut-peer": cut_peer,
    "cut-link": cut_link,
    "cut-replication": cut_replication,
    "cut-one-way": cut_one_way,
    "cut-gateway": cut_gateway,
    "gateway-dead": gateway_dead,
    "packet-loss": packet_loss,
    "path-loss": path_loss,
    "path-mtu": path_mtu,
    "path-delay": path_delay,
    "witness-restarted": witness_restarted,
    "witness-stopped": witness_stopped,
    "witness-hangs": witness_hangs,
    "witness-cut": witness_cut,
    "witness-mute": witness_mute,
    "witness-late": witness_late,
    "witness-loss": witness_loss,
}
