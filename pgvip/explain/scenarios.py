"""The faults that `explain` plays, each a small change of the stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgvip.core.messages import Command, Order
from pgvip.core.observations import Observation
from pgvip.explain.play import Stage
from pgvip.explain.played_pair import Player
from pgvip.explain.played_server import failing

Fault = Callable[[Stage, Player, Player], None]
"""Causes the fault; called with the stage, the primary and the standby, by the records."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`title` and `happens` name the hosts by {p} and {s}. `rows`: what the table must come to for service to go on.

    Each row in turn; with `either`, any one of them will do. `takeover`: it counts for "a takeover would work now".
    """

    name: str
    title: str
    happens: str
    fault: Fault
    rows: tuple[str, ...]
    takeover: bool = False
    either: bool = False


def _power(stage: Stage, primary: Player, _standby: Player) -> None:
    stage.power_off(primary)


def _database(stage: Stage, primary: Player, _standby: Player) -> None:
    """Its postmaster and all its processes are gone; pg_controldata goes on saying "in production"."""
    primary.server.stop(stage.now_s, clean=False)


def _standby_power(stage: Stage, _primary: Player, standby: Player) -> None:
    stage.power_off(standby)


def _link(stage: Stage, _primary: Player, _standby: Player) -> None:
    stage.linked = False


def _gateway(stage: Stage, primary: Player, _standby: Player) -> None:
    watch: Observation[str] = primary.server.seen.gateway
    primary.server.see(gateway=failing(watch, stage.now_s))


def _switchover(_stage: Stage, primary: Player, standby: Player) -> None:
    """Ordered where it can be: on the primary, else on the standby."""
    (standby if primary.mute else primary).orders.append(Command(Order.SWITCHOVER))


SCENARIOS = (
    Scenario(
        "primary-host", "the primary's host {p} loses its power", "{p} is gone: nobody answers its clients",
        _power, ("take-over-by-fence",), takeover=True,
    ),
    Scenario(
        "primary-database", "the primary's PostgreSQL on {p} dies, and its host lives",
        "PostgreSQL on {p} is gone, all its processes", _database,
        ("hand-over-database", "take-over-by-consent"), takeover=True,
    ),
    Scenario(
        "standby-host", "the standby's host {s} loses its power", "{s} is gone: nobody answers its readers",
        _standby_power, ("solo-by-fence",),
    ),
    Scenario(
        "link", "the link between {p} and {s} is cut, and both live", "{p} and {s} do not hear each other any more",
        _link, ("solo-by-fence", "take-over-by-fence"), either=True,
    ),
    Scenario(
        "gateway", "{p} loses its gateway, and {s} has one", "no gateway answers {p} any more",
        _gateway, ("hand-over-gateway", "take-over-by-consent"),
    ),
    Scenario(
        "switchover", "a switchover is ordered", "an operator orders a switchover",
        _switchover, ("hand-over-switchover", "take-over-by-consent"),
    ),
)  # fmt: skip
