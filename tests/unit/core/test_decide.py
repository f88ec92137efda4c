"""The protocol's procedures whole: their order, recorded; and a crash after every one of their actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core.actions import Action, AddVip, DropVip, Fence, Promote, StartPostgres, StopPostgres, WriteState
from pgvip.core.knowledge import Failures, Switchover
from pgvip.core.messages import Command, Message, Order, Request, Want
from pgvip.core.values import Mode, Vip
from tests.unit.core_machine import Machine, Procedure, silent
from tests.unit.core_world import NOW_S, POSTMASTER, Host, grant, primary, record, saw, standby

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


# --- order: give up in deed, write, tell, only then gain ----------------------------------------------------------


def gains(action: Action) -> bool:
    """What only the host with the write right may do."""
    return (
        (isinstance(action, StartPostgres) and not action.standby)
        or isinstance(action, Promote)
        or action == AddVip(Vip.PRIMARY)
    )


class Watched(Machine):
    """A machine that checks the contract at every action and every message."""

    def _after(self, host: Host) -> None:
        before = len(self.started)
        super()._after(host)
        assert host.last is not None
        written = self.disk.record
        assert host.message.record == written, "told before it was written"
        for action in self.started[before:]:
            self.check(action)

    def check(self, action: Action) -> None:
        host, mine = self.host, self.disk.record
        if gains(action):
            assert mine is not None
            assert mine.primary == host.me, f"{action} without a record on disk"
            assert host.k.confirmed, f"{action} unconfirmed"
            assert self.disk.served or isinstance(action, AddVip), f"{action} before `served` was written"
        if isinstance(action, WriteState):
            self.check_write(action)

    def check_write(self, action: WriteState) -> None:
        new, old = action.durable.record, self.disk.record
        if new is None or old is None or new.term == old.term:
            return
        host = self.host
        held = host.seen.held.value or frozenset()
        if new.primary != host.me:
            assert not held, f"{action} while holding {held}"
            processes, database = host.seen.processes.value, host.seen.database.value
            assert processes is not None
            stopped = not processes.postmaster and not processes.left
            assert stopped or (database is not None and database.in_recovery), f"{action} while it may write"
        if old.primary != host.me and new.primary == host.me and new.from_term is None:
            assert any(isinstance(past, Fence) for past in self.performed), f"{action} without a fence"


@pytest.mark.parametrize("procedure", PROCEDURES, ids=lambda procedure: procedure.name)
def test_the_order_is_kept(procedure: Procedure) -> None:
    machine = procedure.run(kind=Watched)
    assert machine.performed or procedure.name == "a primary of a pair boots"


WINS = {
    "hand-over, the winner",
    "take-over by fence",
    "solo by consent, the winner",
    "solo by fence",
    "forced promotion",
    "a solo primary boots alone",
}
LOSES = {"switchover, the loser", "hand-over of a dead database, the loser", "the role is taken without consent"}


@pytest.mark.parametrize("name", sorted(WINS))
def test_the_winner_ends_read_write_with_both_addresses(name: str) -> None:
    host = BY_NAME[name].run().host
    assert (host.record.primary, host.record.mode) == (host.me, Mode.SOLO)
    assert host.facts.read_write
    assert host.facts.held == frozenset(Vip)
    assert host.k.durable.served


@pytest.mark.parametrize("name", sorted(LOSES))
def test_the_loser_ends_down_with_no_address(name: str) -> None:
    host = BY_NAME[name].run().host
    assert (host.record.primary, host.record.mode) == ("b", Mode.SOLO)
    assert not host.facts.may_write
    assert not host.facts.held
    assert not host.k.durable.served


# --- while something is under way, nothing else is begun ------------------------------------------------------------

ORDERED = primary().knows(switchover=Switchover(NOW_S, NOW_S + 60))
BUSY: dict[str, Host] = {
    "a record is being written": ORDERED.knows(writing=ORDERED.k.durable),
    "a newer record cannot be written yet": ORDERED.knows(
        heard_record=record("a", Mode.SOLO, 6), failures={WriteState: Failures(1, NOW_S + 5, "disk full")}),
}  # fmt: skip


@pytest.mark.parametrize("why", BUSY)
def test_while_something_is_under_way_nothing_else_is_begun(why: str) -> None:
    assert ORDERED.round().message.invite == "hand-over-switchover"
    busy = BUSY[why].round()
    assert busy.message.invite == ""
    assert busy.k.intent.row == ""


def test_a_change_that_is_under_way_makes_the_host_busy_until_it_has_ended() -> None:
    waiting = standby().silence().round()
    assert waiting.k.fencing.waiting == "take-over-by-fence"
    assert waiting.k.busy
    assert not waiting.told().k.busy
    claimed = waiting.round(after_s=waiting.s.fence_delay_s)
    assert claimed.k.fencing.waiting == "", "it claims, and waits no more"
    assert claimed.k.busy
    assert not claimed.told(after_s=0.1).k.busy


def test_a_primary_whose_device_says_that_it_is_off_is_not_waited_for() -> None:
    """The delay lets a primary that lives fence first; it is asked as the delay begins, and fenced all the same."""
    waiting = standby().sees(fence=saw("off", NOW_S - 61)).silence(60.0).round()
    assert not waiting.running(Fence), "it was off before it was heard: it has booted since"
    assert waiting.last is not None
    assert "fence" in waiting.last.wake
    for answer in (saw("on", NOW_S), saw("off", NOW_S - 60)):
        assert not waiting.sees(fence=answer).round().running(Fence)
    assert waiting.sees(fence=saw("off", NOW_S - 1)).round().started(Fence)


def test_the_primary_is_not_asked_for_its_standbys_power() -> None:
    at_once = primary().silence().round()
    assert at_once.started(Fence)
    assert at_once.last is not None
    assert "fence" not in at_once.last.wake


# --- a crash after every action -------------------------------------------------------------------------------------

CRASHES = [
    (procedure, number, performed)
    for procedure in PROCEDURES
    for number in range(procedure.actions())
    for performed in (False, True)
]


def crash_id(item: object) -> str:
    return item.name if isinstance(item, Procedure) else str(item)


@pytest.mark.parametrize(("procedure", "number", "performed"), CRASHES, ids=crash_id)
def test_after_a_power_cut_nothing_is_gained_in_silence(procedure: Procedure, number: int, *, performed: bool) -> None:
    """Only a solo primary may confirm itself, and only when nobody answers for its address (rule 2)."""
    machine = procedure.run(number, performed=performed)
    machine.reboots()
    before = len(machine.started)
    stranger = machine.host.sees(arp_primary=replace(machine.host.seen.arp_primary, value="02:00:00:00:00:99"))
    machine.host = stranger.silence()
    for _ in range(40):
        machine.round(after_s=0.5)
        for action in list(machine.host.k.work.running):
            machine.perform(action)
            machine.finish(action)
    begun = machine.started[before:]
    assert not [action for action in begun if gains(action) or isinstance(action, AddVip | Fence)]
    assert not machine.host.k.confirmed


@pytest.mark.parametrize(("procedure", "number", "performed"), CRASHES, ids=crash_id)
def test_a_procedure_cut_short_by_the_daemon_is_finished_or_undone(
    procedure: Procedure, number: int, *, performed: bool
) -> None:
    """A new process goes on from what is on disk and what it sees, in the same order, to a sound end."""
    machine = procedure.run(number, performed=performed, kind=Watched)
    fenced = any(isinstance(action, Fence) for action in machine.performed)
    machine.daemon_restarts()
    assert machine.host.k.fencing.claim is None
    assert machine.host.k.consent.giving_up is None
    for _ in range(80):
        machine.round(procedure.peer(machine), after_s=0.5)
        for action in list(machine.host.k.work.running):
            machine.perform(action)
            machine.finish(action)
        fenced = fenced or any(isinstance(action, Fence) for action in machine.performed)
    host = machine.host
    facts = host.facts
    rightful = host.record.primary == host.me and host.k.confirmed
    assert facts.may_write is False or rightful
    assert Vip.PRIMARY not in facts.held or (rightful and facts.read_write)


@pytest.mark.parametrize("name", sorted(WINS - {"a solo primary boots alone", "forced promotion"}))
def test_a_winner_whose_daemon_dies_anywhere_still_serves_in_the_end(name: str) -> None:
    procedure = BY_NAME[name]
    for number in range(procedure.actions()):
        for performed in (False, True):
            machine = procedure.run(number, performed=performed)
            machine.daemon_restarts()
            for _ in range(80):
                machine.round(procedure.peer(machine), after_s=0.5)
                for action in list(machine.host.k.work.running):
                    machine.perform(action)
                    machine.finish(action)
            facts = machine.host.facts
            assert facts.read_write, (number, performed, machine.trace[-20:])
            assert Vip.PRIMARY in facts.held, (number, performed, machine.trace[-20:])
            assert StopPostgres(clean=False) not in machine.performed
            assert DropVip(Vip.PRIMARY) not in machine.performed


def test_grants_of_the_old_term_do_not_outlive_a_restart() -> None:
    machine = Machine.of(standby().knows(grant=grant("b", 3)))
    machine.round()
    machine.daemon_restarts()
    assert not machine.host.round().message.eligible
