"""What an action's class says about it: what it changes, who waits for it, what it is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgvip.core import actions
from pgvip.core.actions import (
    KINDS,
    Action,
    AddVip,
    CheckVip,
    DropVip,
    Fence,
    Kind,
    MountArchive,
    PowerOn,
    Promote,
    Properties,
    Rejoin,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    Subject,
    UnmountArchive,
    VipAction,
    WriteState,
    name_of,
)
from pgvip.core.observations import Observations
from pgvip.core.values import Vip


def test_every_class_of_action_is_in_its_list_once() -> None:
    classes = {one for one in vars(actions).values() if isinstance(one, type) and issubclass(one, Action)}
    assert sorted(kind.__name__ for kind in KINDS) == sorted(kind.__name__ for kind in classes - {Action, VipAction})


ON_SERVER = {StartPostgres, StopPostgres, Promote, Rejoin, actions.FindEnd, actions.Salvage}
IN_NO_HURRY = {actions.AskVeto, actions.ConfirmGrant, Rejoin, MountArchive, UnmountArchive, PowerOn}
NO_NEWS = {actions.AskVeto, CheckVip, actions.ConfirmGrant, WriteState}
BRIEF = {WriteState, actions.KillPostgres, SetSyncNames, AddVip, DropVip, CheckVip}


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_what_is_true_of_a_class(kind: type[Action]) -> None:
    found = kind.properties
    assert found.exclusive is (kind in ON_SERVER)
    assert found.urgent is (kind not in IN_NO_HURRY)
    assert found.routine is (kind in NO_NEWS)
    assert found.brief is (kind in BRIEF)
    assert 0 < found.retry_s[0] <= found.retry_s[1]
    assert found.usual_s > 0
    assert set(found.probes) <= {*Observations.__dataclass_fields__, "slots"}


@pytest.mark.parametrize(
    ("kind", "probes"),
    [
        (StartPostgres, {"processes", "database", "connection"}),
        (StopPostgres, {"processes"}),
        (actions.KillPostgres, {"processes"}),
        (actions.ClaimTerm, {"witness"}),
        (Promote, {"database", "processes", "slots"}),
        (SetSyncNames, {"database"}),
        (Rejoin, {"processes"}),
        (AddVip, {"held"}),
        (DropVip, {"held"}),
        (MountArchive, {"archive"}),
        (UnmountArchive, {"archive"}),
        (WriteState, set()),
    ],
    ids=str,
)
def test_what_is_looked_at_again_when_an_action_has_ended(kind: type[Action], probes: set[str]) -> None:
    assert set(kind.properties.probes) == probes


@pytest.mark.parametrize(
    ("action", "kind", "name", "subject"),
    [
        (AddVip(Vip.PRIMARY), AddVip(Vip.PRIMARY), "AddVip(primary)", Vip.PRIMARY),
        (DropVip(Vip.STANDBY), DropVip(Vip.STANDBY), "DropVip(standby)", Vip.STANDBY),
        (CheckVip(Vip.PRIMARY), CheckVip(Vip.PRIMARY), "CheckVip(primary)", None),
        (Fence("run/1"), Fence, "Fence", Subject.POWER),
        (PowerOn(), PowerOn, "PowerOn", Subject.POWER),
        (StartPostgres(standby=True, sync=False), StartPostgres, "StartPostgres", Subject.POSTGRES),
        (StopPostgres(clean=True), StopPostgres, "StopPostgres", Subject.POSTGRES),
        (Promote(), Promote, "Promote", Subject.POSTGRES),
        (Rejoin(), Rejoin, "Rejoin", Subject.POSTGRES),
        (SetSyncNames(on=True), SetSyncNames, "SetSyncNames", Subject.NAMES),
        (MountArchive(), MountArchive, "MountArchive", Subject.ARCHIVE),
        (UnmountArchive(), UnmountArchive, "UnmountArchive", Subject.ARCHIVE),
        (actions.FindEnd(), actions.FindEnd, "FindEnd", None),
    ],
    ids=str,
)
def test_what_an_action_is_called_and_about(
    action: Action, kind: Kind, name: str, subject: Subject | Vip | None
) -> None:
    assert (action.kind, name_of(action.kind), action.subject) == (kind, name, subject)


def test_actions_on_two_addresses_are_of_two_kinds() -> None:
    assert len({AddVip(Vip.PRIMARY).kind, AddVip(Vip.STANDBY).kind, DropVip(Vip.PRIMARY).kind}) == 3


def test_the_properties_of_every_class_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    """Waits, times and hints are judgement: a change of one is read in the recording before it is made."""
    rows = []
    for kind in KINDS:
        values = kind.properties
        words = [f"{name}={getattr(values, name)!s}" for name in Properties.__dataclass_fields__]
        rows.append("\n".join([name_of(kind), *(f"    {word}" for word in words)]))
    subjects = ", ".join(f"{one.name}={one.value}" for one in Subject)
    golden("actions.txt", "\n".join([f"subjects: {subjects}", *rows]) + "\n")
