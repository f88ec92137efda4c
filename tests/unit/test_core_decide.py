"""The protocol's procedures whole: their order, recorded; and a crash after every one of their actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core.model import (
    Action,
    AddVip,
    Command,
    DropVip,
    Fence,
    Message,
    Mode,
    Order,
    Promote,
    Request,
    StartPostgres,
    StopPostgres,
    Vip,
    Want,
    WriteState,
)
from tests.unit.core_machine import Machine, Procedure, silent
from tests.unit.core_world import POSTMASTER, Host, grant, primary, record, standby

# --- peers that answer ----------------------------------------------------------------------------------------


def eager_standby(machine: Machine) -> Message:
    """B: requests the role whenever it is offered, and confirms the checkpoint that it is told of."""
    host = machine.host
    said = host.last.message if host.last else None
    message = host.next_message(request=None, has_checkpoint=None)
    if said is None or (said.record and said.record.primary == "b"):
        return replace(message, record=said.record) if said and said.record else message
    assert message.record is not None
    wish = Request(Want.HANDOVER, message.record.term, "boot-b", POSTMASTER["b"], eligible=True, reason="offered")
    offered = said.invite or said.stopped
    return replace(message, request=wish if offered else None, has_checkpoint=said.stopped)


def answering(**changes: object) -> Callable[[Machine], Message]:
    """A peer that says the same all the time, with the host's own record unless told otherwise."""

    def peer(machine: Machine) -> Message:
        host = machine.host
        said = host.last.message if host.last else None
        words: dict[str, object] = {"record": host.k.durable.record, "answer": said.question if said else ""}
        return host.next_message(**{**words, **changes})

    return peer


def offers_to(_name: str) -> Callable[[Machine], Message]:
    """A: asks B to let it be alone, until B's record says so."""

    def peer(machine: Machine) -> Message:
        host = machine.host
        now = host.record
        wish = Request(Want.SOLO, 4, "boot-a", POSTMASTER["a"], reason="solo-by-consent") if now.term == 4 else None
        return host.next_message(record=now, request=wish)

    return peer


def quiet(host: Host) -> Host:
    return host.silence()


SOLO_B = record("b", Mode.SOLO, 5, from_term=4)

PROCEDURES = [
    Procedure("switchover, the loser", primary, eager_standby, order=Command(Order.SWITCHOVER)),
    Procedure("hand-over of a dead database, the loser", lambda: primary().down(), eager_standby),
    Procedure("hand-over, the winner", standby, answering(record=SOLO_B, read_write=False, in_recovery=False)),
    Procedure("take-over by fence", lambda: quiet(standby()), silent),
    Procedure("solo by consent, the loser", standby, offers_to("a")),
    Procedure("solo by consent, the winner", primary, answering(record=record("a", Mode.SOLO, 5), database_ok=False)),
    Procedure("solo by fence", lambda: quiet(primary()), silent),
    Procedure("solo to pair", lambda: primary(Mode.SOLO), answering()),
    Procedure("the role is taken without consent", primary, answering(record=replace(SOLO_B, from_term=None))),
    Procedure("a solo primary boots alone", lambda: primary(Mode.SOLO).reboots(), silent, rounds=24),
    Procedure("a standby boots", lambda: standby().reboots(), answering()),
    Procedure("a primary of a pair boots", lambda: primary().reboots(), answering()),
    Procedure(
        "forced promotion",
        lambda: quiet(standby().knows(grant=None, confirmed=False)),
        silent,
        order=Command(Order.FORCE_PROMOTE),
    ),
]
BY_NAME = {procedure.name: procedure for procedure in PROCEDURES}


def test_the_procedures_are_the_recorded_ones(golden: Callable[[str, str], None]) -> None:
    parts = []
    for procedure in PROCEDURES:
        trace = "\n".join(f"  {line}" for line in procedure.run().trace)
        parts.append(f"{procedure.name}\n{trace}\n")
    golden("procedures.txt", "\n".join(parts))
