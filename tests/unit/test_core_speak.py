"""What a host tells its peer and its operator: every state that needs an operator names its command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgvip.core.knowledge import Trouble
from pgvip.core.model import AddressFree, Lsn, Mode, Order, Pause, Role, Stopped, StopPostgres, Vip, WalPoint
from tests.unit.core_world import (
    HERE,
    NOW_S,
    Host,
    attempt,
    claiming,
    failing,
    primary,
    record,
    role_wish,
    saw,
    solo_wish,
    standby,
)


def twice_failed(host: Host, name: str) -> Host:
    return host.knows(trouble={name: Trouble(3, NOW_S + 60, "it did not work")})


def fence_fails() -> Host:
    host = claiming(standby())
    return host.done(attempt(host), ok=False).round(after_s=6.0)


NEEDS_OPERATOR: dict[str, tuple[Callable[[], Host], str, str]] = {
    "the primary of a pair boots and its peer never comes back": (
        lambda: primary().reboots().round(after_s=60.0), "unconfirmed", "pgvip promote --force"),
    "a solo primary is lost for good": (
        lambda: standby(Mode.SOLO).silence().round(), "primary-lost", "pgvip promote --force"),
    "a solo primary's database is lost after it served": (
        lambda: primary(Mode.SOLO).down().round(), "database-down", "pgvip promote --force on the other host"),
    "a switchover's winner dies for good": (
        lambda: standby(Mode.SOLO, me="a", term=5).silence().round(), "primary-lost", "pgvip promote --force"),
    "the primary's database is lost while the standby is not eligible": (
        lambda: twice_failed(primary().hears(eligible=False).down(), "StartPostgres").round(),
        "database-down", "pgvip promote --force on the other host"),
    "the primary is lost while the standby is not eligible": (
        lambda: standby().knows(grant=None).silence().round(), "primary-lost", "pgvip promote --force"),
    "a database refuses to start": (
        lambda: twice_failed(standby().down(), "StartPostgres").round(), "action-failing", "PostgreSQL's log"),
    "no fence can be confirmed and the peer stays silent": (fence_fails, "fence-failing", "pgvip fence confirm"),
    "no fence is configured and the peer stays silent": (
        lambda: standby().configured(fencing=False).silence().round(), "cannot-fence", "--without-fence"),
    "a record is lost": (
        lambda: primary().durable(record=None).round(), "no-record", "pgvip promote --force"),
    "a disk was restored": (
        lambda: primary().told(record=record("b", Mode.SOLO, 4)), "records-differ", "pgvip promote --force"),
    "something else answers for the address at a solo boot": (
        lambda: primary(Mode.SOLO).reboots().sees(arp_primary=saw("02:00:00:00:00:99")).round(after_s=9.0),
        "vip-answers", "pgvip promote --force"),
    "both sides wrote after a force": (
        lambda: standby().durable(hold="both wrote").round(), "hold", "pgvip hold clear"),
    "diverged data can be neither rewound nor rebuilt": (
        lambda: twice_failed(standby().down(), "Rejoin").round(), "action-failing", "pgvip rejoin --clone"),
    "the record of the pair's primary was rolled back": (
        lambda: standby(me="a", term=5).durable(record=record("a", Mode.PAIR, 6)).knows(blocked_since_s=NOW_S - 30)
        .round(), "not-served", "promote --force"),
    "the role was handed back too often": (
        lambda: standby(Mode.SOLO, me="a", term=5).durable(record=record("a", Mode.SOLO, 6, from_term=5), handbacks=3)
        .round(), "hand-backs", "promote --force"),
}  # fmt: skip


@pytest.mark.parametrize("state", NEEDS_OPERATOR)
def test_a_state_that_needs_an_operator_is_named_with_its_command(state: str) -> None:
    host, name, mend = NEEDS_OPERATOR[state]
    assert mend in host().concerns().get(name, "(not named)")


def test_a_healthy_pair_has_nothing_to_complain_of() -> None:
    for sync in (True, False):
        for host in (primary(sync=sync), standby(sync=sync)):
            assert host.round().concerns() == {}


OTHERS: dict[str, Callable[[], Host]] = {
    "paused": lambda: primary().durable(pause=Pause(1, active=True)).round(),
    "kept-off": lambda: primary(Mode.SOLO).durable(kept_off=True).knows(heard=None).round(),
    "no-fencing": lambda: primary().configured(fencing=False).round(),
    "no-data": lambda: standby().processes(installed=False).round(),
    "database-hung": lambda: primary().sees(connection=failing(value=True)).round(),
    "not-eligible": lambda: standby().knows(grant=None).round(),
    "lag": lambda: standby().database(replay_lag_s=61.0).round(),
    "alone": lambda: primary(Mode.SOLO).told(database_ok=False),
    "fence-status": lambda: primary().sees(fence=failing()).round(),
    "sync-names": lambda: primary().database(sync_names="").round(),
    "peer-silent": lambda: primary().knows(heard=None).round(),
    "configuration-differs": lambda: primary().hears(digest="x").round(),
    "version-differs": lambda: primary().hears(version="0").round(),
    "peer-cannot": lambda: primary().hears(cannot="StopPostgres: D state").round(),
    "vip-taken": lambda: primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "02:00:00:00:00:99")}).round(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_concern_is_raised_where_it_is_due(name: str) -> None:
    assert name in OTHERS[name]().concerns()


# --- the message ------------------------------------------------------------------------------------------------


def test_a_question_is_asked_until_it_is_answered() -> None:
    assert primary().round().message.question == ""
    assert primary().reboots().round().message.question.startswith("boot-a-2/")


def test_the_address_is_told_free_only_by_a_confirmed_primary_of_a_pair_that_is_seen_not_to_hold_it() -> None:
    assert primary().round().message.address_free == AddressFree(4, "boot-b")
    for host in (
        primary().holds(*Vip),
        primary().sees(held=failing()),
        primary().knows(confirmed=False),
        primary(Mode.SOLO).holds(),
        standby(),
        primary().knows(heard=None),
    ):
        assert host.round().message.address_free is None


def test_a_standby_has_the_checkpoint_only_on_its_timeline_and_flushed() -> None:
    goal = Stopped(4, WalPoint(1, HERE))
    assert standby().told(stopped=goal).message.has_checkpoint == goal
    assert standby().told(stopped=Stopped(4, WalPoint(1, Lsn(HERE + 1)))).message.has_checkpoint is None
    assert standby().told(stopped=Stopped(4, WalPoint(2, HERE))).message.has_checkpoint is None
    assert standby().told(stopped=Stopped(3, WalPoint(1, HERE))).message.has_checkpoint is None


def test_cannot_is_said_after_repeated_failures_when_something_is_to_be_given_up() -> None:
    stuck = twice_failed(standby().holds(), "WriteState")
    assert stuck.round().message.cannot == ""
    assert "WriteState" in stuck.told(request=solo_wish()).message.cannot


def test_cannot_is_said_when_giving_up_takes_too_long() -> None:
    host = primary().told(request=role_wish(reason="take-over-by-order"))
    assert host.must_start(StopPostgres).clean
    limit_s = host.s.stop_s + host.s.consent_s
    assert host.round(after_s=limit_s - 1).message.cannot == ""
    assert host.round(after_s=limit_s + 1).message.cannot != ""


def test_an_offer_stands_while_the_role_is_being_given_up() -> None:
    host = primary().order(Order.SWITCHOVER)
    assert host.message.invite == "hand-over-switchover"
    assert host.told(request=role_wish()).message.invite == "hand-over-switchover"


# --- the role ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "role"),
    [
        (primary(), Role.PRIMARY),
        (primary(Mode.SOLO), Role.PRIMARY_STANDBY),
        (standby(), Role.STANDBY),
        (standby(Mode.SOLO), Role.STANDBY),
        (primary().knows(confirmed=False), Role.NONE),
        (primary().durable(record=None), Role.NONE),
    ],
    ids=str,
)
def test_a_change_of_role_is_told_once(host: Host, role: Role) -> None:
    other = Role.NONE if role is not Role.NONE else Role.PRIMARY
    changed = host.knows(role=other).round()
    assert changed.k.role is role
    told = changed.said("role")
    assert (told["old"], told["new"]) == (other.value, role.value)
    assert not changed.round().said("role")


def test_the_page_for_users_has_every_one_of_these_states() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = page.partition("## States that need an operator")[2]
    for _host, name, _mend in NEEDS_OPERATOR.values():
        assert f"`{name}`" in table
