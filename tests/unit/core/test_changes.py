"""A case for each row of the table, one for each of its conditions, and a recorded dump of the whole."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pgvip.core.actions import SetSyncNames, StartPostgres
from pgvip.core.changes import (
    HAND_BACK,
    HAND_OVER_LEAVING,
    HAND_OVER_SWITCHOVER,
    NONE,
    TABLE,
    TAKE_OVER_BY_ORDER,
    By,
    Change,
    Part,
    choose,
)
from pgvip.core.conditions import Condition, filled, unmet
from pgvip.core.knowledge import Failures, FenceOrder, GiveUp, Switchover, Veto, Why
from pgvip.core.messages import Want
from pgvip.core.observations import Observation
from pgvip.core.rights import PEER_READY, RIGHTS, SOLO, TAKEOVER
from pgvip.core.values import Lsn, Mode, Override, Pause
from tests.unit.core_world import HERE, NOW_S, TERM, Alter, Host, failing, primary, record, saw, standby, witnessed

REPOSITORY = Path(__file__).parents[3]
ROWS = {row.name: row for row in TABLE}
SOON_S = NOW_S + 10
ORDER = Switchover(NOW_S, NOW_S + 60)
GIVING_UP = GiveUp("hand-over-switchover", Want.HANDOVER, 4, "boot-b", NOW_S)


def handed_over() -> Host:
    """A winner of a hand-over by consent that lacks what the loser had, for longer than it waits."""
    new = record("a", Mode.SOLO, 6, from_term=5)
    host = standby(Mode.SOLO, me="a", term=5).durable(record=new)
    return host.knows(blocked_since_s=NOW_S - 60).hears(record=new, eligible=False)


def unfollowed() -> Host:
    """A primary beside a standby whose daemon is silent, which flushes nothing, and whose database answers."""
    host = primary().silence().sees(peer_own=primary().seen.peer_own)
    return host.knows(unflushed_since_s=NOW_S - 10)


def ordered_off(until_s: float) -> Host:
    return primary().durable(kept_off=True).knows(fence_order=FenceOrder(until_s, off=True))


FIRES: dict[str, Callable[[], Host]] = {
    "hand-over-database": lambda: primary().sees(connection=failing(value=True)),
    "hand-over-switchover": lambda: primary().knows(switchover=ORDER),
    "hand-over-leaving": lambda: primary().knows(leaving=True),
    "hand-over-gateway": lambda: primary().sees(gateway=failing("192.0.2.1")),
    "hand-over-override": lambda: primary().configured(override=Override.STANDBY),
    "solo-by-consent": lambda: primary().knows(unfollowed_since_s=NOW_S - 4),
    "solo-for-mode": lambda: primary().configured(sync=False),
    "solo-by-fence-cannot": lambda: primary().hears(cannot="WriteState: no space"),
    "solo-by-consent-ordered": lambda: ordered_off(SOON_S),
    "solo-by-fence-ordered": lambda: ordered_off(NOW_S + 5),
    "solo-by-fence": lambda: primary().silence(),
    "solo-by-fence-unfollowed": unfollowed,
    "take-over-by-consent": lambda: standby().hears(invite="hand-over-switchover", invite_term=4),
    "take-over-by-order": lambda: standby().knows(switchover=ORDER),
    "take-over-by-fence-cannot": lambda: standby().hears(cannot="StopPostgres: D state"),
    "take-over-by-fence-ordered": lambda: standby().knows(fence_order=FenceOrder(SOON_S, off=False)),
    "take-over-by-fence": lambda: standby().silence(),
    "solo-for-register": lambda: witnessed(primary()).durable(claimed_term=TERM),
    "solo-by-witness": lambda: witnessed(primary()).silence(),
    "return-by-witness": lambda: witnessed(primary(), heard_s=60.0).silence().knows(confirmed=False),
    "take-over-by-witness": lambda: witnessed(standby()).silence(),
    "hand-back": handed_over,
    "pair": lambda: primary(Mode.SOLO),
    "take-back": lambda: standby(Mode.SOLO).hears(invite="hand-back", invite_term=4),
    "none": primary,
}
"""For each row a host in which it is the first that holds."""

BREAKS: dict[str, Alter] = {
    "database-failed": lambda h: h.sees(connection=saw(value=True)),
    "not-paused": lambda h: h.durable(pause=Pause(1, active=True)),
    "not-removed": lambda h: h.durable(removed="2026-01-01T00:00:00+00:00"),
    "not-called-off": lambda h: h.knows(called_off_until_s=SOON_S),
    "switchover-ordered": lambda h: h.knows(switchover=None),
    "time-to-consent": lambda h: h.knows(fence_order=FenceOrder(NOW_S + 5, off=True)),
    "not-ordered-off": lambda h: h.knows(fence_order=FenceOrder(SOON_S, off=False)),
    "fence-ordered": lambda h: h.knows(fence_order=None),
    "leaving": lambda h: h.knows(leaving=False),
    "gateway-lost": lambda h: h.sees(gateway=failing("192.0.2.1", since_s=NOW_S - 1.5)),
    "peer-has-gateway": lambda h: h.hears(gateway_ok=False),
    "not-vetoed": lambda h: h.knows(veto=Veto("run-b/1", NOW_S - 9, refused="10-storage: resync", until_s=SOON_S)),
    "no-hold-off": lambda h: h.knows(holdoff_until_s=SOON_S),
    "prefers-peer": lambda h: h.configured(override=Override.AUTO),
    "standby-down": lambda h: h.knows(unfollowed_since_s=NOW_S - 1),
    "peer-answers": lambda h: h.knows(heard=None),
    "mode-change": lambda h: h.configured(sync=True),
    "peer-cannot": lambda h: h.hears(cannot=""),
    "peer-silent": lambda h: h.hears(),
    "unfollowed": lambda h: h.knows(unflushed_since_s=NOW_S - 9),
    "invited": lambda h: h.hears(invite_term=3),
    "blocked": lambda h: h.knows(blocked_since_s=NOW_S - 1),
    "peer-follows": lambda h: h.hears(database_ok=False),
    "sync-ready": lambda h: h.replica(sync_state="async"),
    "not-alone": lambda h: h.configured(override=Override.PRIMARY_STANDBY),
    "stays": lambda h: h.knows(leaving=True),
    "confirmed": lambda h: h.knows(confirmed=False),
    "no-alarm": lambda h: h.knows(alarm="they differ"),
    "not-giving-up": lambda h: h.knows(giving_up=GIVING_UP),
    "keeps-role": lambda h: h.knows(heard_record=record("b", Mode.SOLO, 9)),
    "no-higher-term": lambda h: h.knows(heard_record=record("a", Mode.SOLO, 9)),
    "not-isolated": lambda h: h.knows(isolated=True),
    "holds-all": lambda h: h.durable(served=False),
    "whole": lambda h: h.durable(lacks=True),
    "read-write": lambda h: h.database(in_recovery=True),
    "standby-runs": lambda h: h.database(in_recovery=False),
    "database-healthy": lambda h: h.sees(disks=failing(value=True)),
    "gateway": lambda h: h.sees(gateway=failing("192.0.2.1", since_s=NOW_S - 1)),
    "guarded": lambda h: h.configured(watchdog_required=True),
    "fit": lambda h: h.database(replay_paused=True),
    "granted": lambda h: h.knows(grant=None),
    "no-hold": lambda h: h.durable(hold="both wrote"),
    "peer-stays": lambda h: h.hears(leaving=True),
    "peer-hold": lambda h: h.hears(hold="both wrote"),
    "peer-database": lambda h: h.hears(database_ok=False),
    "peer-guarded": lambda h: h.hears(guarded=False, eligible=False),
    "peer-fit": lambda h: h.hears(unfit="its replay is paused"),
    "peer-eligible": lambda h: h.hears(eligible=False),
    "leased": lambda h: witnessed(h).knows(lease=None),
    "lease-over": witnessed,
    "may-claim": lambda h: (witnessed(h) if not h.record.witness_id else h).knows(lost_term=TERM),
    "register-used": lambda h: h.durable(claimed_term=TERM - 2),
    "unheard": lambda h: h.hears(),
    "known-or-silent": lambda h: h.sees(peer_own=primary().seen.peer_own),
    "has-data": lambda h: h.processes(installed=False),
}
"""For each condition the smallest change after which it alone does not hold."""

IMPLIED = {
    "fence-ordered": {"time-to-consent"},
    "peer-answers": {"peer-eligible", "peer-database", "peer-has-gateway", "standby-down"},
    "peer-guarded": {"peer-eligible"},
    "read-write": {"peer-follows"},
    "unheard": {"known-or-silent"},
}
"""Conditions that cannot be false alone, and those that fall with them."""

STATE = {"primary", "standby", "pair"}
"""Conditions that hold in every state of which the row is."""


def cases() -> list[tuple[Change, Condition]]:
    found = [(row, condition) for row in TABLE for condition in row.when if condition.name not in STATE]
    return [(row, one) for row, one in found if one.name != "leased" or row.mode is Mode.PAIR]  # solo needs no lease


def test_every_row_has_its_case() -> None:
    assert set(FIRES) == set(ROWS)
    assert set(BREAKS) | STATE == {condition.name for row in TABLE for condition in row.when}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_row_is_chosen_when_all_its_conditions_hold(row: Change) -> None:
    host = FIRES[row.name]()
    assert unmet(row.when, host.facts) == ()
    assert host.chosen()[0].name == row.name


@pytest.mark.parametrize(("row", "condition"), cases(), ids=lambda item: item.name)
def test_a_row_is_not_chosen_when_one_condition_fails(row: Change, condition: Condition) -> None:
    facts = BREAKS[condition.name](FIRES[row.name]()).facts
    missing = unmet(row.when, facts)
    assert condition.name in {one.name for one in missing}
    assert {one.name for one in missing} <= {condition.name} | IMPLIED.get(condition.name, set())
    chosen, blockers = choose(facts)
    assert chosen != row
    if chosen == NONE:
        assert dict(blockers)[row.name] == missing[0].text


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_row_is_for_its_own_part_and_mode_only(row: Change) -> None:
    if row == NONE:
        return
    for host in (primary(), primary(Mode.SOLO), standby(), standby(Mode.SOLO)):
        part = Part.PRIMARY if host.facts.primary else Part.STANDBY
        if (part, host.record.mode) != (row.part, row.mode):
            assert row.name not in dict(host.chosen()[1])
            assert host.chosen()[0] != row


def test_a_sentence_names_the_hosts_of_the_round() -> None:
    text = "{me}, {peer}, {primary}, {hold}"
    assert filled(text, standby().durable(hold="both wrote").facts) == "b, a, a, both wrote"
    assert filled("{primary}", primary().durable(record=None).facts) == "nobody"


def test_the_rows_that_have_a_name_of_their_own_are_those() -> None:
    named = (NONE, HAND_BACK, HAND_OVER_LEAVING, HAND_OVER_SWITCHOVER, TAKE_OVER_BY_ORDER)
    assert [row.name for row in named] == [
        "none", "hand-back", "hand-over-leaving", "hand-over-switchover", "take-over-by-order"
    ]  # fmt: skip
    assert all(ROWS[row.name] == row for row in named)


def test_the_last_row_always_holds() -> None:
    assert (NONE.part, NONE.mode, NONE.when, NONE.by) == (Part.ANY, None, (), By.NOTHING)
    nothing = primary().durable(record=None)
    assert nothing.chosen() == (NONE, ())


def test_whoever_fences_the_primary_waits_and_the_primary_does_not() -> None:
    fences = [row for row in TABLE if row.by is By.FENCE]
    assert {row.name for row in fences if row.delayed} == {
        "take-over-by-fence", "take-over-by-fence-cannot", "take-over-by-fence-ordered"
    }  # fmt: skip
    assert {row.part for row in fences if not row.delayed} == {Part.PRIMARY}


def test_names_are_unique() -> None:
    assert len(ROWS) == len(TABLE)


def test_every_row_by_fence_asks_for_a_right_and_a_reason() -> None:
    for row in TABLE:
        if row.by is By.FENCE:
            reasons = {"peer-silent": Why.SILENCE, "peer-cannot": Why.CANNOT, "fence-ordered": Why.OPERATOR,
                       "unfollowed": Why.UNFOLLOWED}
            assert (row.witness is False) is (row.why in (Why.SILENCE, Why.UNFOLLOWED))
            assert row.witness is False or "may-claim" in {one.name for one in row.when}
            right = TAKEOVER if row.part is Part.STANDBY else SOLO
            assert set(right) <= set(row.when)
            assert [reasons[one.name] for one in row.when if one.name in reasons] == [row.why]
            assert row.takes_over is (row.part is Part.STANDBY)
        else:
            assert (row.why is None) is (row.by is not By.WITNESS)


def test_every_row_by_witness_is_one_of_a_pair_that_has_one_and_asks_whether_it_may_claim() -> None:
    rows = {row.name: row for row in TABLE if row.by is By.WITNESS}
    assert set(rows) == {"solo-by-witness", "return-by-witness", "take-over-by-witness"}
    assert all(row.witness and row.mode is Mode.PAIR for row in rows.values())
    assert all("may-claim" in {one.name for one in row.when} for row in rows.values())
    takes = rows["take-over-by-witness"]
    assert set(TAKEOVER) <= set(takes.when)
    assert (takes.why, takes.delayed, takes.takes_over) == (Why.SILENCE, True, True)
    assert {row.why for row in rows.values() if row != takes} == {Why.UNHEARD}
    assert {row.name for row in TABLE if row.then} == {row.name for row in rows.values() if row != takes}


def test_every_row_and_every_condition_has_a_name_of_its_own() -> None:
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    conditions = {condition.name: condition for row in TABLE for condition in row.when}
    assert all(conditions[condition.name] is condition for row in TABLE for condition in row.when)
    assert all(filled(one.unmet, primary().facts) and filled(one.hint, primary().facts) for one in conditions.values())
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in [*names, *conditions])


# --- what the compound conditions are made of -----------------------------------------------------------


def holds(name: str, host: Host) -> bool:
    condition = next(one for row in TABLE for one in row.when if one.name == name)
    return condition.test(host.facts)


@pytest.mark.parametrize(
    "change",
    [{"eligible": False}, {"database_ok": False}, {"in_recovery": False}, {"hold": "x"}, {"record": record(term=3)}],
    ids=str,
)
def test_peer_ready_needs_an_eligible_healthy_standby_of_this_term(change: dict[str, object]) -> None:
    assert unmet(PEER_READY, primary().facts) == ()
    assert unmet(PEER_READY, primary().hears(**change).facts)


INSTANTS: dict[str, tuple[str, Host, Host]] = {
    "a replay that lags": (
        "peer-follows", primary(Mode.SOLO).hears(replay_lag_s=60.1), primary(Mode.SOLO).hears(replay_lag_s=60.0),
    ),
    "a hold-off": ("no-hold-off", primary().knows(holdoff_until_s=NOW_S + 0.1), primary().knows(holdoff_until_s=NOW_S)),
    "a hand-over that was called off": (
        "not-called-off",
        primary().knows(called_off_until_s=NOW_S + 0.1), primary().knows(called_off_until_s=NOW_S),
    ),
    "the time to consent": ("time-to-consent", ordered_off(NOW_S + 5.5), ordered_off(NOW_S + 5.6)),
    "a role that cannot be served": (
        "blocked", handed_over().knows(blocked_since_s=NOW_S - 2.9), handed_over().knows(blocked_since_s=NOW_S - 3.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("limit", INSTANTS)
def test_a_limit_holds_at_its_very_value(limit: str) -> None:
    name, before, after = INSTANTS[limit]
    assert (holds(name, before), holds(name, after)) == (False, True)


def test_database_failed_after_a_crash_at_once_after_a_clean_stop_only_when_restarts_failed() -> None:
    crashed, stopped = primary().down(), primary().down(clean=True)
    assert holds("database-failed", crashed)
    assert not holds("database-failed", stopped)
    assert not holds("database-failed", stopped.knows(failures={StartPostgres: Failures(1, 0.0, "")}))
    assert holds("database-failed", stopped.knows(failures={StartPostgres: Failures(2, 0.0, "")}))


def test_after_several_crashes_the_server_is_restarted_here_unless_that_fails_or_takes_long() -> None:
    crashed = primary().down().knows(crashes=(NOW_S - 99, NOW_S - 50, NOW_S - 1)).hears(crashes=(30.0, 90.0))
    assert not holds("database-failed", crashed)
    assert crashed.round().started(StartPostgres) == StartPostgres(standby=False, sync=True)
    assert holds("database-failed", crashed.hears(crashes=(90.0,)))
    assert holds("database-failed", crashed.knows(failures={StartPostgres: Failures(2, 0.0, "")}))
    assert not holds("database-failed", crashed.knows(crashed_since_s=NOW_S - 9))
    assert holds("database-failed", crashed.knows(crashed_since_s=NOW_S - 10))
    assert not holds("database-failed", crashed.knows(crashed_since_s=NOW_S - 10 - crashed.s.consent_s))
    assert not holds("database-failed", primary().knows(crashed_since_s=NOW_S - 10))


def test_database_failed_not_while_paused_nor_without_right_nor_unseen() -> None:
    crashed = primary().down()
    assert crashed.chosen()[0].name == "hand-over-database"
    assert crashed.durable(pause=Pause(1, active=True)).chosen()[0] == NONE
    assert crashed.knows(confirmed=False).chosen()[0] == NONE
    assert crashed.sees(processes=failing()).chosen()[0] == NONE


def test_standby_down_by_no_postmaster_by_no_stream_and_by_no_flush() -> None:
    host = primary()
    assert not holds("standby-down", host)
    unstreamed = host.database(replica=None)
    assert not holds("standby-down", unstreamed)
    assert holds("standby-down", unstreamed.hears(postmaster=""))
    assert holds("standby-down", unstreamed.knows(unfollowed_since_s=NOW_S - 3))
    behind = host.replica(flush_lsn=Lsn(HERE - 8)).database_moved(NOW_S - 11).knows(behind_since_s=NOW_S - 11)
    assert holds("standby-down", behind)
    assert not holds("standby-down", behind.knows(behind_since_s=NOW_S - 9))
    assert not holds("standby-down", behind.database_moved(NOW_S - 9))


@pytest.mark.parametrize(
    "change",
    [
        {"confirmed": False},
        {"in_recovery": False},
        {"database_ok": False},
        {"hold": "both wrote"},
        {"claiming": True},
        {"replay_lag_s": 61.0},
    ],
    ids=str,
)
def test_a_peer_follows_only_confirmed_healthy_and_within_the_limit_of_seconds(change: dict[str, object]) -> None:
    assert holds("peer-follows", primary(Mode.SOLO))
    assert not holds("peer-follows", primary(Mode.SOLO).hears(**change))


def test_a_peer_follows_only_within_the_limit_of_bytes() -> None:
    host = primary(Mode.SOLO).configured(lag_bytes_max=8)
    assert holds("peer-follows", host.replica(flush_lsn=Lsn(HERE - 8)))
    assert not holds("peer-follows", host.replica(flush_lsn=Lsn(HERE - 9)))
    assert not holds("peer-follows", host.replica(state="catchup"))
    assert not holds("peer-follows", host.database(replica=None))


def test_sync_ready_in_sync_needs_names_and_the_server_to_call_it_synchronous() -> None:
    host = primary(Mode.SOLO)
    assert holds("sync-ready", host)
    assert holds("sync-ready", host.replica(sync_state="quorum"))
    assert not holds("sync-ready", host.database(sync_names=""))
    assert not holds("sync-ready", host.replica(sync_state="potential"))
    assert not holds("sync-ready", host.database(foreign_names=True))


def test_sync_ready_in_async_needs_the_names_to_be_clear() -> None:
    host = primary(Mode.SOLO, sync=False)
    assert holds("sync-ready", host)
    assert not holds("sync-ready", host.database(sync_names="b"))


def test_the_names_must_not_be_changing_when_a_pair_is_made() -> None:
    host = primary(Mode.SOLO).knows(running=(SetSyncNames(on=False),))
    assert not holds("sync-ready", host)


def test_preferring_the_peer_is_either_host_s_word() -> None:
    assert not holds("prefers-peer", primary())
    assert holds("prefers-peer", primary().configured(override=Override.STANDBY))
    assert holds("prefers-peer", primary().configured(peer_override=Override.PRIMARY))
    assert not holds("prefers-peer", primary().configured(peer_override=Override.STANDBY))


def test_alone_by_choice_unmakes_a_pair() -> None:
    host = primary().configured(override=Override.PRIMARY_STANDBY)
    assert host.chosen()[0].name == "solo-for-mode"


def test_hand_backs_are_bounded() -> None:
    assert holds("blocked", handed_over().durable(handbacks=2))
    assert not holds("blocked", handed_over().durable(handbacks=3))
    assert not holds("blocked", handed_over().sees(database=failing()))


# --- the recorded table ------------------------------------------------------------------------------------


def dump() -> str:
    lines = []
    for row in TABLE:
        mode = row.mode.value if row.mode else "any"
        want = f" {row.want.value}" if row.want else ""
        why = f" for {row.why.value}" if row.why else ""
        delay = " after fence_delay" if row.delayed else ""
        over = (", moves the role" if row.moves else "") + (" here" if row.takes_over else "")
        lines.append(f"{row.name}: {row.part.value} in {mode}, by {row.by.value}{want}{why}{delay}{over}")
        lines.append(f"    when {', '.join(condition.name for condition in row.when) or 'nothing else holds'}")
        lines.extend(f"    written when {condition.name}" for condition in row.then)
        lines.append(f"    because {row.because}")
    lines.append("")
    lines.extend(f"{name}: {', '.join(condition.name for condition in found)}" for name, found in RIGHTS.items())
    lines.append("")
    everywhere = [*(row.when + row.then for row in TABLE), *RIGHTS.values()]
    seen = {condition.name: condition for conditions in everywhere for condition in conditions}
    lines.extend(f"{name}: else {one.unmet}; {one.hint}" for name, one in sorted(seen.items()))
    return "\n".join(lines) + "\n"


def test_the_table_is_the_recorded_one(golden: Callable[[str, str], None]) -> None:
    golden("changes.txt", dump())


def test_the_document_of_the_table_is_up_to_date() -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "state-diagram"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


def test_a_gateway_that_ceases_to_answer_both_hosts_moves_nothing() -> None:
    """The peer looked last before this host's loss: what it said then proves nothing about now."""
    host = FIRES["hand-over-gateway"]()
    assert host.hears(gateway_age_s=0.0).chosen()[0].name == "hand-over-gateway"
    assert host.hears(gateway_age_s=60.0).chosen()[0].name != "hand-over-gateway"


def test_a_gateway_that_comes_back_to_both_hosts_moves_nothing() -> None:
    """The peer was answered first; this host has not asked since."""
    host = FIRES["hand-over-gateway"]().told(gateway_ok=False)
    back = host.told(after_s=0.05, gateway_ok=True, gateway_age_s=0.0)
    assert back.chosen()[0].name == "none"
    in_vain = back.at(NOW_S + 3).sees(gateway=Observation("192.0.2.1", NOW_S - 60, 12, NOW_S + 3, NOW_S - 59))
    lost_here = in_vain.told(gateway_ok=True, gateway_age_s=0.0)
    assert lost_here.chosen()[0].name == "hand-over-gateway"


def test_a_cut_that_ends_for_the_peer_and_the_gateway_moves_nothing() -> None:
    """A primary that was cut off heard its peer first, and gave its role away before its gateway was asked again."""
    host = FIRES["hand-over-gateway"]().told(gateway_ok=True, gateway_age_s=0.0)
    assert host.chosen()[0].name == "hand-over-gateway"
    healed = host.told(after_s=4.0, gateway_ok=True, gateway_age_s=0.0)
    assert healed.chosen()[0].name == "none"
    in_vain = healed.at(NOW_S + 6).sees(gateway=Observation("192.0.2.1", NOW_S - 60, 15, NOW_S + 6, NOW_S - 59))
    still_lost = in_vain.told(gateway_ok=True, gateway_age_s=0.0)
    assert still_lost.chosen()[0].name == "hand-over-gateway"


def test_a_peer_that_cannot_give_up_is_fenced_though_it_goes_on_offering() -> None:
    """Its offer, or the consent that it owes, never comes about."""
    offering = standby().hears(invite="hand-over-database", invite_term=4, cannot="StopPostgres: D state")
    assert offering.chosen()[0].name == "take-over-by-fence-cannot"
    owing = primary().knows(unfollowed_since_s=NOW_S - 4).hears(cannot="WriteState: no space")
    assert owing.chosen()[0].name == "solo-by-fence-cannot"


def test_a_standby_that_receives_without_flushing_does_not_follow() -> None:
    host = FIRES["pair"]().replica(flush_lsn=Lsn(HERE - 8)).database_moved(NOW_S - 11)
    assert host.knows(behind_since_s=NOW_S - 9).chosen()[0].name == "pair"
    assert host.knows(behind_since_s=NOW_S - 11).chosen()[0].name != "pair"
