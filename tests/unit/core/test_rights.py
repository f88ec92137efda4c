"""Each right over every combination of its inputs, against the sentence of docs/protocol.md written out again."""

from __future__ import annotations

from itertools import product

import pytest

from pgvip.core import rights
from pgvip.core.conditions import grant_holds, handover_met
from pgvip.core.facts import Facts
from pgvip.core.knowledge import GiveUp
from pgvip.core.messages import AddressFree, Heard, Want
from pgvip.core.rights import standby_address, takes_from_me
from pgvip.core.values import Grant, Lsn, Mode, Override, Pause, Record, Vip, WalPoint
from tests.knowing import knowing
from tests.unit.core_world import NOW_S, Host, failing, grant, heard_from, primary, record, saw, solo_wish, standby

BOTH = (False, True)
GIVING_UP = GiveUp("hand-over-switchover", Want.HANDOVER, 4, "boot-b", NOW_S)
PAUSED = Pause(1, active=True)


def set_all(host: Host, **changes: object) -> None:
    """Change the copy's knowledge: thousands of cases must stay quick."""
    host.k = knowing(host.k, **changes)


# --- terms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", BOTH)
def test_m1_a_term_is_the_smallest_above_with_the_own_parity(first: bool) -> None:
    for above in range(-1, 50):
        term = rights.next_term(above, first=first)
        assert term > above
        assert (term % 2 == 0) is first
        assert term - above <= 2


def test_m1_two_hosts_never_write_the_same_term() -> None:
    mine = {rights.next_term(above, first=True) for above in range(-1, 50)}
    theirs = {rights.next_term(above, first=False) for above in range(-1, 50)}
    assert not mine & theirs


# --- the hand-over condition --------------------------------------------------------------------------------

FROM, GOAL = 3, WalPoint(1, Lsn(0x900))
GRANTS: dict[str, tuple[Grant | None, bool]] = {
    "none": (None, False),
    "for from_term": (grant("a", FROM), True),
    "for from_term, its lease over": (grant("a", FROM, expires_s=NOW_S - 1), True),
    "for this term": (grant("a", 4), False),
    "for an older term": (grant("a", FROM - 1), False),
    "another boot": (grant("a", FROM, boot_id="boot-a-0"), False),
    "another postmaster": (grant("a", FROM, postmaster="99:1"), False),
}
POINTS: dict[str, tuple[WalPoint, tuple[WalPoint, ...], bool]] = {
    "at it": (GOAL, (), True),
    "past it": (WalPoint(1, Lsn(0x901)), (), True),
    "short of it": (WalPoint(1, Lsn(0x8FF)), (), False),
    "on a newer timeline that left after it": (WalPoint(2, Lsn(0x1)), (WalPoint(1, Lsn(0x900)),), True),
    "on a newer timeline that left before it": (WalPoint(2, Lsn(0xFFFF)), (WalPoint(1, Lsn(0x8FF)),), False),
    "on another timeline": (WalPoint(2, Lsn(0xFFFF)), (), False),
}


@pytest.mark.parametrize("given", GRANTS)
@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("handover", [None, GOAL])
def test_m12_the_hand_over_condition(given: str, where: str, handover: WalPoint | None) -> None:
    granted, good = GRANTS[given]
    point, history, reached = POINTS[where]
    host = standby(Mode.SOLO, me="a").durable(record=record("a", Mode.SOLO, 4, from_term=FROM, handover=handover))
    host = host.knows(grant=granted).database(point=point, history=history)
    assert handover_met(host.facts) is (good or (handover is not None and reached))


def test_m12_a_grant_says_nothing_without_a_postmaster_or_without_from_term() -> None:
    new = record("a", Mode.SOLO, 4, from_term=FROM)
    host = standby(Mode.SOLO, me="a").durable(record=new).knows(grant=grant("a", FROM))
    assert handover_met(host.facts)
    assert not handover_met(host.processes(postmaster="").facts)
    assert not handover_met(host.knows(grant=grant("a", FROM, postmaster="")).processes(postmaster="").facts)
    assert not handover_met(host.durable(record=record("a", Mode.SOLO, 4)).facts)
    assert not handover_met(host.durable(record=None).facts)


# --- the write right -------------------------------------------------------------------------------------------

HIGHER: dict[str, tuple[Record | None, bool]] = {
    "nothing": (None, True),
    "a lower term": (record("b", Mode.SOLO, 3), True),
    "a higher term that keeps it": (record("a", Mode.SOLO, 5), True),
    "a higher term that takes it": (record("b", Mode.SOLO, 5), False),
    "a higher pair that takes it": (record("b", Mode.PAIR, 5), False),
}
RECORDS = (None, *(record(who, mode, 4, from_term=FROM) for who in "ab" for mode in Mode))


def test_write_right_over_every_combination() -> None:
    host = primary().knows()
    durable = host.k.durable
    count = 0
    for mine, confirmed, alarm, giving_up, heard, served, complete, met in product(
        RECORDS, BOTH, BOTH, BOTH, HIGHER, BOTH, BOTH, BOTH
    ):
        changed = type(durable)(record=mine, served=served, complete=complete)
        set_all(
            host,
            durable=changed,
            confirmed=confirmed,
            alarm="differ" if alarm else "",
            giving_up=GIVING_UP if giving_up else None,
            heard_record=HIGHER[heard][0],
            grant=grant("a", FROM) if met else None,
        )
        is_primary = mine is not None and mine.primary == "a"
        may = is_primary and confirmed and not alarm and not giving_up and HIGHER[heard][1]
        expected = may and (served or complete or met)
        assert rights.write_right(host.facts) is expected, (mine, confirmed, alarm, giving_up, heard, served, complete)
        count += 1
    assert count == 5 * 2**6 * len(HIGHER)


def test_solo_right_over_every_combination() -> None:
    host = primary()
    durable = host.k.durable
    sick = host.sees(connection=failing(value=True))
    recovering = host.database(in_recovery=True)
    for mine, confirmed, served, read_write, healthy, gateway, paused in product(
        RECORDS, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH
    ):
        seen = host if healthy else sick
        seen = seen.sees(
            database=host.seen.database if read_write else recovering.seen.database,
            gateway=saw("192.0.2.1") if gateway else failing("192.0.2.1", since_s=NOW_S - 0.2, failures=1),
        )
        seen = seen.knows(confirmed=confirmed)
        set_all(seen, durable=type(durable)(record=mine, served=served, pause=PAUSED if paused else Pause()))
        expected = (
            mine is not None
            and (mine.mode, mine.primary) == (Mode.PAIR, "a")
            and confirmed
            and served
            and read_write
            and healthy
            and gateway
            and not paused
        )
        assert rights.solo_right(seen.facts) is expected, (mine, confirmed, served, read_write, healthy, gateway)


# --- the takeover right -----------------------------------------------------------------------------------------

ELIGIBLE: dict[str, tuple[Grant | None, bool]] = {
    "none": (None, False),
    "good": (grant("b"), True),
    "lease": (grant("b", expires_s=NOW_S + 0.001), True),
    "lease over": (grant("b", expires_s=NOW_S), False),
    "older term": (grant("b", 3), False),
    "newer term": (grant("b", 5), False),
    "older boot": (grant("b", boot_id="boot-b-0"), False),
    "older postmaster": (grant("b", postmaster="199:1"), False),
}


def takeover_views() -> dict[tuple[bool, bool, bool], Host]:
    """Hosts by: recovering, healthy, with a gateway."""
    hosts = {}
    for recovering, healthy, gateway in product(BOTH, BOTH, BOTH):
        host = standby().database(in_recovery=recovering)
        host = host if healthy else host.sees(disks=failing(value=True))
        hosts[recovering, healthy, gateway] = host if gateway else host.sees(gateway=failing())
    return hosts


@pytest.mark.parametrize("given", ELIGIBLE)
def test_takeover_right_over_every_combination(given: str) -> None:
    granted, good = ELIGIBLE[given]
    hosts = takeover_views()
    for mine, confirmed, higher, giving_up, hold, alarm, paused, facts in product(
        RECORDS, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH, hosts
    ):
        host = hosts[facts]
        set_all(
            host,
            durable=type(host.k.durable)(record=mine, hold="x" if hold else "", pause=PAUSED if paused else Pause()),
            confirmed=confirmed,
            heard_record=record("a", Mode.SOLO, 6) if higher else None,
            giving_up=GIVING_UP if giving_up else None,
            alarm="differ" if alarm else "",
            grant=granted,
        )
        expected = (
            mine is not None
            and (mine.mode, mine.primary) == (Mode.PAIR, "a")
            and good
            and confirmed
            and all(facts)
            and not (higher or giving_up or hold or alarm or paused)
        )
        assert rights.takeover_right(host.facts) is expected, (mine, confirmed, higher, giving_up, hold, alarm, facts)


def test_m11_eligible_is_void_while_no_postmaster_is_seen() -> None:
    assert rights.eligible(standby().facts)
    assert not rights.eligible(standby().processes(postmaster="").facts)
    assert not rights.eligible(standby().knows(grant=grant("b", postmaster="")).processes(postmaster="").facts)


def test_a_lease_ends_at_its_second() -> None:
    host = standby(sync=False)
    assert grant_holds(host.facts, grant(expires_s=NOW_S + 0.1), 4)
    assert not grant_holds(host.facts, grant(expires_s=NOW_S), 4)


# --- the standby right --------------------------------------------------------------------------------------------

TOLD: dict[str, tuple[AddressFree | None, bool]] = {
    "nothing": (None, False),
    "free": (AddressFree(4, "boot-b"), True),
    "in another term": (AddressFree(3, "boot-b"), False),
    "to another boot": (AddressFree(4, "boot-b-0"), False),
}


def test_standby_right_of_a_standby_over_every_combination() -> None:
    for mine, confirmed, told, recovering, lag, higher, giving_up, alarm in product(
        RECORDS, BOTH, TOLD, BOTH, BOTH, BOTH, BOTH, BOTH
    ):
        if mine is not None and mine.primary == "b":
            continue
        host = standby().database(in_recovery=recovering, replay_lag_s=61.0 if lag else 0.0)
        set_all(
            host,
            durable=type(host.k.durable)(record=mine),
            confirmed=confirmed,
            address=TOLD[told][0],
            heard_record=record("a", Mode.SOLO, 6) if higher else None,
            giving_up=GIVING_UP if giving_up else None,
            alarm="differ" if alarm else "",
        )
        expected = (
            mine is not None
            and mine.mode is Mode.PAIR
            and confirmed
            and TOLD[told][1]
            and recovering
            and not (lag or higher or giving_up or alarm)
        )
        assert rights.standby_right(host.facts) is expected, (mine, confirmed, told, recovering, lag, higher)


def test_standby_right_of_a_primary_only_solo_and_serving_or_being_promoted() -> None:
    for mode, right, read_write, held in product(Mode, BOTH, BOTH, BOTH):
        host = primary(mode).knows(confirmed=right, address=AddressFree(4, "boot-a"))
        host = host.database(in_recovery=not read_write).holds(*([Vip.STANDBY] if held else []))
        assert rights.standby_right(host.facts) is (mode is Mode.SOLO and right and (read_write or held))
        assert not rights.standby_right(host.down().facts)


def test_the_standby_address_is_nobody_s_while_it_is_given_up_or_before_it_is_confirmed() -> None:
    assert standby_address(standby().facts)
    assert not standby_address(standby().told(request=solo_wish()).facts)
    assert not standby_address(standby().knows(confirmed=False).facts)
    assert not standby_address(standby().knows(alarm="they differ").facts)


# --- rebuilding, and what adopting takes ------------------------------------------------------------------------------


def test_rebuilding_over_every_combination() -> None:
    for mine, confirmed, hold, alarm, writes, sure, same_term in product(RECORDS, BOTH, BOTH, BOTH, BOTH, BOTH, BOTH):
        host = standby().durable(record=mine, hold="x" if hold else "")
        about = mine if same_term else record("a", Mode.SOLO, 6)
        told = heard_from("a", about, read_write=writes, confirmed=sure)
        set_all(host, confirmed=confirmed, alarm="differ" if alarm else "", heard=Heard(told, NOW_S))
        expected = (
            mine is not None
            and mine.primary == "a"
            and confirmed
            and not hold
            and not alarm
            and writes
            and sure
            and same_term
        )
        assert rights.may_rebuild(host.facts) is expected, (mine, confirmed, hold, alarm, writes, sure, same_term)


def test_hold_is_for_a_role_taken_without_consent_after_it_was_served() -> None:
    for mine, served, confirmed, step, winner in product(RECORDS, BOTH, BOTH, (1, 1_000_001), "ab"):
        host = primary().durable(record=mine, served=served).knows(confirmed=confirmed)
        target = record(winner, Mode.SOLO, 4 + step)
        mine_now = mine is not None and mine.primary == "a"
        expected = mine_now and winner == "b" and served and (confirmed or step > 1)
        assert rights.takes_from_me(host.facts, target) is expected


def test_only_a_solo_record_leaves_its_primary_the_standby_address() -> None:
    for winner, mode in product("ab", Mode):
        assert rights.keeps_standby_vip(record(winner, mode), "a") is (winner == "a" and mode is Mode.SOLO)


def test_alone_by_choice_is_the_own_override() -> None:
    for override in Override:
        host = primary().configured(override=override, peer_override=Override.PRIMARY_STANDBY)
        assert rights.alone_by_choice(host.facts) is (override is Override.PRIMARY_STANDBY)


def test_a_host_that_knows_nothing_has_no_right() -> None:
    host = primary().durable(record=None)
    empty = Facts(host.k, type(host.seen)(), host.s, NOW_S)
    for right in (rights.write_right, rights.solo_right, rights.takeover_right, rights.standby_right):
        assert not right(empty)
    assert empty.held == frozenset(Vip)
    assert empty.may_write
    assert not empty.gone


def test_a_term_far_above_was_forced_and_takes_without_consent_also_from_the_unconfirmed() -> None:
    host = primary().knows(confirmed=False)
    assert not takes_from_me(host.facts, record("b", Mode.SOLO, 5))
    assert takes_from_me(host.facts, record("b", Mode.SOLO, 1_000_005))
    old = primary(term=1_000_004).knows(confirmed=False)
    assert not takes_from_me(old.facts, record("b", Mode.SOLO, 1_000_005)), "an older force of the same pair"
