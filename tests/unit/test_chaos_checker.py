"""The chaos checker on made-up histories: each bad one must be reported, its good neighbour must not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.chaos.checker import Finding, Loss, Report, check
from tests.chaos.figures import gap_s
from tests.chaos.history import (
    ArpAnswer,
    Content,
    FaultWindow,
    FinalState,
    Histories,
    Kind,
    Outcome,
    Probe,
    Promises,
    Read,
    Write,
)
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP, mac_of

SYNC, ASYNC = Promises("sync", lag_s_max=10.0, slack_s=2.0), Promises("async", lag_s_max=10.0, slack_s=2.0)
ONE, TWO = "1000.1", "2000.2"
"""Two server instances."""


def insert(number: int, at_s: float, outcome: Outcome = Outcome.ACK, *, client: int = 1, on: str = ONE) -> Write:
    return Write(client, number, Kind.INSERT, 1, at_s, at_s + 0.01, outcome, on)


def addition(number: int, value: int, sent_s: float, answered_s: float, *, client: int = 3) -> Write:
    return Write(client, number, Kind.REGISTER, 1, sent_s, answered_s, Outcome.ACK, ONE, value)


def read(at_s: float, newest: int, *, session: int = 1, standby: bool = True, value: int = 0, vip: str = "") -> Read:
    """A reader saw client 1's row `newest`."""
    vip = vip or (STANDBY_VIP if standby else PRIMARY_VIP)
    instance = TWO if standby else ONE
    return Read(11, vip, session, at_s, at_s + 0.01, True, instance, standby, {1: newest}, value)


def probe(host: str, instance: str, at_s: float, *, writable: bool = True, took_s: float = 0.01) -> Probe:
    return Probe(host, at_s, at_s + took_s, writable, instance)


def content(writes: Iterable[Write]) -> Content:
    """Tables that hold all of these, whole."""
    listed = list(writes)
    rows = {(write.client, write.number): (write.rows, write.rows) for write in listed}
    return Content(rows, sum(write.kind is Kind.REGISTER for write in listed))


def judged(
    writes: Iterable[Write] = (), there: Iterable[Write] | Content | None = None, promises: Promises = SYNC, *,
    reads: Iterable[Read] = (), probes: Iterable[Probe] = (), arp: Iterable[ArpAnswer] = (),
    standby: Content | None = None, faults: Iterable[FaultWindow] = (),
) -> Report:
    """The verdict on a history; `there`: what is in the tables in the end (None: everything sent)."""
    listed = list(writes)
    kept = there if isinstance(there, Content) else content(listed if there is None else there)
    histories = Histories(listed, list(reads), list(probes), list(arp))
    return check(histories, FinalState(kept, standby), list(faults), promises)


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.violations]


# --- transactions ----------------------------------------------------------------------------------------


def test_clean_history_has_no_finding() -> None:
    writes = [insert(number, float(number)) for number in range(1, 6)]
    report = judged(writes, reads=[read(3.5, 3), read(5.5, 5)], probes=[probe("a", ONE, 1.0), probe("a", ONE, 5.0)])
    assert report.violations == []
    assert report.losses == []
    assert (report.counts["ack"], report.counts["reads"]) == (5, 2)


def test_acknowledged_and_gone_is_lost_in_sync() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0)]
    report = judged(writes, writes[:1])
    assert kinds(report) == ["lost"]
    assert report.losses == [Loss(ONE, 1, 2.01, 2.01, within=False)]


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.REFUSED])
def test_not_acknowledged_may_be_gone(outcome: Outcome) -> None:
    assert kinds(judged([insert(1, 1.0, outcome)], [])) == []


def test_unknown_may_be_there() -> None:
    report = judged([insert(1, 1.0, Outcome.UNKNOWN)])
    assert kinds(report) == []
    assert report.counts["unknown_there"] == 1


def test_refused_but_there() -> None:
    assert kinds(judged([insert(1, 1.0, Outcome.REFUSED)])) == ["refused-but-there"]


@pytest.mark.parametrize("outcome", [Outcome.ACK, Outcome.UNKNOWN])
def test_row_that_is_there_twice(outcome: Outcome) -> None:
    assert kinds(judged([insert(1, 1.0, outcome)], Content({(1, 1): (2, 1)}, 0))) == ["twice"]


@pytest.mark.parametrize("outcome", [Outcome.ACK, Outcome.UNKNOWN])
@pytest.mark.parametrize("parts", [3, 5])
def test_transaction_that_is_there_in_part(outcome: Outcome, parts: int) -> None:
    long = Write(5, 1, Kind.LONG, 4, 1.0, 5.0, outcome, ONE)
    assert kinds(judged([long], Content({(5, 1): (parts, parts)}, 0))) == ["in-part"]
    assert kinds(judged([long], Content({(5, 1): (4, 4)}, 0))) == []


def test_row_that_nobody_sent() -> None:
    found = judged([], Content({(1, 7): (1, 1)}, 0)).violations
    assert found == [Finding("from-nowhere", "1: client 1 number 7")]


def test_standby_that_differs() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0)]
    assert kinds(judged(writes, standby=content(writes))) == []
    for there in ([], writes[:1], [*writes, insert(9, 9.0)]):
        assert kinds(judged(writes, standby=content(there))) == ["standby-differs"]
    text = "1: client 1 number 2: (1, 1) on the primary, (2, 1)"
    doubled = Content({(1, 1): (1, 1), (1, 2): (2, 1)}, 0)
    assert judged(writes, standby=doubled).violations == [Finding("standby-differs", text)]
    assert kinds(judged(writes, standby=replace(content(writes), register=1))) == ["standby-differs"]


# --- what async may lose -----------------------------------------------------------------------------------


def test_async_takeover_may_lose_the_last_seconds() -> None:
    writes = [insert(number, float(number)) for number in range(1, 21)]
    report = judged(writes, writes[:12], ASYNC)
    assert report.violations == []
    assert report.losses == [Loss(ONE, 8, 13.01, 20.01, within=True)]


def test_async_loss_beyond_the_limit() -> None:
    writes = [insert(number, float(number)) for number in range(1, 21)]
    assert kinds(judged(writes, writes[:8], ASYNC)) == ["lost"]
    assert kinds(judged(writes, writes[:9], ASYNC)) == []


def test_async_limit_counts_from_the_last_sign_of_the_old_primary() -> None:
    writes = [insert(number, float(number)) for number in range(1, 6)]
    lives = [probe("alpha", ONE, 14.0), probe("alpha", ONE, 15.5)]
    assert kinds(judged(writes, writes[:4], ASYNC, probes=lives)) == ["lost"]
    assert kinds(judged(writes, writes[:4], ASYNC, probes=lives[:1])) == []


def test_async_loss_is_the_end_of_a_log_and_not_its_middle() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0), insert(3, 3.0)]
    assert kinds(judged(writes, [writes[0], writes[2]], ASYNC)) == ["hole"]
    for order in (writes, writes[::-1]):
        found = judged(order, [writes[2]], ASYNC).violations
        assert [(finding.kind, finding.at_s) for finding in found] == [("hole", 1.01)], "the first that is gone"


def test_async_loss_and_a_later_server_are_no_hole() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0), insert(3, 3.0, on=TWO)]
    assert kinds(judged(writes, [writes[0], writes[2]], ASYNC)) == []


def test_concurrent_commits_are_no_hole() -> None:
    """Sent before the lost one was answered: the server may have committed it first."""
    early, late = replace(insert(1, 1.0), answered_s=3.0), replace(insert(1, 2.0, client=2), answered_s=2.5)
    assert kinds(judged([early, late], [early], ASYNC)) == []


# --- the register ------------------------------------------------------------------------------------------


def test_register_that_equals_its_additions() -> None:
    assert kinds(judged([addition(1, 1, 1.0, 1.1), addition(2, 2, 2.0, 2.1)])) == []


def test_register_that_lost_or_doubled_an_addition() -> None:
    writes = [addition(1, 1, 1.0, 1.1), addition(2, 2, 2.0, 2.1)]
    for value in (1, 3):
        assert kinds(judged(writes, replace(content(writes), register=value))) == ["register"]


def test_two_additions_with_one_value() -> None:
    writes = [addition(1, 1, 1.0, 1.1), addition(1, 1, 2.0, 2.1, client=4)]
    assert kinds(judged(writes)) == ["register"]


def test_register_that_went_back() -> None:
    back = [addition(1, 1, 1.0, 1.1), addition(2, 3, 1.2, 1.3), addition(1, 2, 2.0, 2.1, client=4)]
    text = "register 1 of client 4 made it 2 after it had been 3"
    assert judged(back).violations == [Finding("register", text, 2.1)]


def test_additions_at_one_time_have_any_order() -> None:
    crossing = [addition(1, 1, 0.5, 0.6), addition(2, 3, 1.0, 2.05), addition(1, 2, 2.0, 2.1, client=4)]
    assert kinds(judged(crossing)) == []


def test_register_may_go_back_with_an_async_loss() -> None:
    first, lost, again = addition(1, 1, 1.0, 1.1), addition(2, 2, 2.0, 2.1), addition(3, 2, 5.0, 5.1)
    writes = [first, lost, replace(again, instance=TWO)]
    assert kinds(judged(writes, [writes[0], writes[2]], ASYNC)) == []
    assert kinds(judged(writes)) == ["register"]


# --- reads -------------------------------------------------------------------------------------------------


def test_standby_read_older_than_the_lag_limit() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0)]
    found = judged(writes, reads=[read(14.02, 1), read(14.2, 1)]).violations
    assert [(finding.kind, finding.at_s) for finding in found] == [("stale", 14.02)]
    assert found[0].text.startswith("2 reads of client 11 (session 1)")
    assert kinds(judged(writes, reads=[read(14.0, 1)])) == []
    failed = replace(read(99.0, 0), ok=False)
    report = judged(writes, reads=[read(14.0, 1), failed])
    assert report.counts["standby_lag_max_s"] == pytest.approx(11.99)
    assert (kinds(report), report.counts["reads"], report.counts["reads_failed"]) == ([], 1, 1)


def test_primary_read_misses_what_was_acknowledged_before() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0)]
    for vip in (PRIMARY_VIP, STANDBY_VIP):
        assert kinds(judged(writes, reads=[read(2.02, 1, standby=False, vip=vip)])) == ["stale"]
        assert kinds(judged(writes, reads=[read(2.005, 1, standby=False, vip=vip)])) == []


def test_row_lost_by_async_is_not_missed_by_reads() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0)]
    assert kinds(judged(writes, writes[:1], ASYNC, reads=[read(30.0, 1, standby=False)])) == []


def test_row_without_an_outcome_is_not_missed_by_reads() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0, Outcome.UNKNOWN)]
    assert kinds(judged(writes, reads=[read(30.0, 1)])) == []


@pytest.mark.parametrize("promises", [SYNC, ASYNC])
def test_row_that_a_standby_showed_and_that_is_gone(promises: Promises) -> None:
    writes = [insert(1, 1.0), insert(2, 2.0, Outcome.UNKNOWN)]
    assert kinds(judged(writes, writes[:1], promises, reads=[read(3.0, 2)])) == ["vanished"]
    assert kinds(judged(writes, writes[:1], promises, reads=[read(3.0, 1)])) == []
    assert kinds(judged(writes[1:], [], promises, reads=[read(3.0, 0)])) == [], "it showed nothing"


def test_row_that_a_primary_showed_and_that_is_gone() -> None:
    """In async a reader may have seen what a takeover loses; in sync what a dying server did not wait for any more."""
    writes = [insert(1, 1.0), insert(2, 2.0, Outcome.UNKNOWN), insert(3, 4.0)]
    left = [writes[0], writes[2]]
    shown = [read(3.0, 2, standby=False)]
    assert kinds(judged(writes, left, SYNC, reads=shown)) == ["vanished"]
    assert kinds(judged(writes, left, ASYNC, reads=shown)) == []
    assert kinds(judged(writes[:2], writes[:1], SYNC, reads=shown)) == [], "nothing was confirmed after it"
    assert kinds(judged([*writes[:2], replace(writes[2], instance="other")], left, SYNC, reads=shown)) == []


def test_read_that_spans_a_promotion() -> None:
    """Its rows may be those from before it, or what a takeover loses; so neither is held against it."""
    writes = [insert(1, 1.0), insert(2, 2.0)]
    spans = replace(read(2.02, 1), in_recovery=None)
    assert kinds(judged(writes, reads=[spans])) == []
    assert kinds(judged(writes, writes[:1], ASYNC, reads=[replace(spans, seen={1: 2})])) == []
    assert kinds(judged(writes, reads=[replace(spans, sent_s=14.02)])) == ["stale"]


def test_session_that_goes_back() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0)]
    assert kinds(judged(writes, reads=[read(3.0, 2), read(3.1, 1)])) == ["going-back"]
    assert kinds(judged(writes, reads=[read(3.0, 2), read(3.1, 1, session=2)])) == []
    assert kinds(judged(writes, reads=[read(3.0, 2, value=5), read(3.1, 2, value=4)])) == ["going-back"]


def test_primary_address_on_a_standby_for_long() -> None:
    leads = [replace(read(float(at_s), 1), vip=PRIMARY_VIP) for at_s in range(3, 16)]
    elsewhere = [replace(read(1.0, 1), ok=False, vip=PRIMARY_VIP), read(2.0, 1, session=2)]
    found = judged([insert(1, 1.0)], reads=[*elsewhere, *leads]).violations
    assert [(finding.kind, finding.at_s) for finding in found] == [("read-only", 14.0)]
    silent = [replace(one, ok=False) for one in leads]
    assert kinds(judged([insert(1, 1.0)], reads=[*leads[:1], *silent])) == []
    assert kinds(judged([insert(1, 1.0)], reads=[replace(one, vip=STANDBY_VIP) for one in leads])) == []
    shorter = [one for one in leads if one.sent_s != 8.0] + [read(8.0, 1, standby=False)]
    ordered = sorted(shorter, key=lambda one: one.sent_s)
    assert kinds(judged([insert(1, 1.0)], reads=ordered)) == []


# --- one writer, one holder --------------------------------------------------------------------------------


def test_two_servers_that_take_writes_at_one_time() -> None:
    probes = [probe("alpha", ONE, 1.0), probe("alpha", ONE, 2.0), probe("beta", TWO, 1.5), probe("beta", TWO, 2.5)]
    mirrored = [replace(one, instance=TWO if one.instance == ONE else ONE) for one in probes]
    for lives in (probes, mirrored):
        found = judged(probes=lives).violations
        assert [(finding.kind, finding.at_s) for finding in found] == [("two-writers", 1.51)]


def test_without_the_final_tables_the_histories_are_judged() -> None:
    probes = [probe("alpha", ONE, 1.0), probe("alpha", ONE, 2.0), probe("beta", TWO, 1.5)]
    fault = FaultWindow("one", "alpha", 1.5, None, None)
    report = check(Histories([insert(1, 1.0), insert(2, 4.0)], [read(1.2, 9)], probes), None, [fault], SYNC)
    assert kinds(report) == ["two-writers"]
    assert [(outage.write_s, outage.lost) for outage in report.outages] == [(3.0, 0)]
    assert report.counts["ack"] == 2
    assert "unknown_there" not in report.counts


def test_one_write_within_the_life_of_another_server() -> None:
    life = [probe("alpha", ONE, 1.0), probe("alpha", ONE, 2.0)]
    found = judged(probes=[*life, probe("beta", TWO, 1.5)]).violations
    assert [(finding.kind, finding.at_s) for finding in found] == [("two-writers", 1.5)]
    assert kinds(judged(probes=[*life, probe("beta", TWO, 1.5, took_s=0.6)])) == [], "it may have been after"
    for at_s in (1.005, 1.995, 2.005):
        assert kinds(judged(probes=[*life, probe("beta", TWO, at_s)])) == [], "it may have been before or after"


def test_servers_one_after_the_other() -> None:
    first = [probe("alpha", ONE, 1.0), probe("alpha", ONE, 2.0)]
    second = [probe("beta", TWO, 2.1), probe("beta", TWO, 3.0)]
    third = [probe("alpha", "3000.3", 3.1), probe("alpha", "3000.3", 4.0)]
    assert kinds(judged(probes=[*first, *second, *third])) == []


def test_answers_that_overlap_prove_nothing() -> None:
    """Frozen while they asked: each was told at some instant of the second, not all through it."""
    slow = [probe("alpha", ONE, 1.0, took_s=1.0), probe("beta", TWO, 1.2, took_s=1.0)]
    assert kinds(judged(probes=slow)) == []


def test_acknowledged_commits_prove_a_writer_too() -> None:
    writes = [insert(1, 1.0), insert(2, 2.0)]
    assert kinds(judged(writes, probes=[probe("beta", TWO, 1.5)])) == ["two-writers"]
    for outcome in (Outcome.UNKNOWN, Outcome.REFUSED):
        no_proof = [replace(write, outcome=outcome) for write in writes]
        assert kinds(judged(no_proof, [], probes=[probe("beta", TWO, 1.5)])) == []


def test_promotion_of_one_server_during_the_life_of_no_other() -> None:
    probes = [probe("alpha", ONE, 1.0), probe("beta", TWO, 1.1, writable=False), probe("alpha", ONE, 2.0),
              probe("beta", TWO, 2.1, writable=False), probe("beta", TWO, 3.0), probe("beta", TWO, 4.0)]
    assert kinds(judged(probes=probes)) == []


def test_server_that_was_in_recovery_in_between_has_two_lives() -> None:
    probes = [probe("alpha", ONE, 1.0), probe("alpha", ONE, 2.0), probe("alpha", ONE, 2.5, writable=False),
              probe("beta", TWO, 3.0), probe("alpha", ONE, 4.0)]
    assert kinds(judged(probes=probes)) == []


def test_two_answers_for_one_address() -> None:
    single = [ArpAnswer(PRIMARY_VIP, 1.0, ("02:0b",)), ArpAnswer(PRIMARY_VIP, 1.1, ("02:0c",)),
              ArpAnswer(PRIMARY_VIP, 1.2, ()), ArpAnswer(PRIMARY_VIP, 1.25, (mac_of("alpha"), mac_of("stranger")))]
    assert kinds(judged(arp=single)) == []
    double = [ArpAnswer(STANDBY_VIP, at_s, ("02:0b", "ff:0c")) for at_s in (1.3, 1.6)]
    found = judged(arp=[*single, *double]).violations
    assert found == [Finding("two-answers", f"{STANDBY_VIP} was answered by 02:0b and ff:0c 2 times, to 1.600", 1.3)]


# --- outages -----------------------------------------------------------------------------------------------


def test_outage_of_each_fault() -> None:
    writes = [insert(number, at_s) for number, at_s in enumerate([1.0, 2.0, 7.0, 8.0, 11.0, 12.0], 1)]
    faults = [FaultWindow("one", "alpha", 2.5, 6.0, 7.5), FaultWindow("two", "beta", 8.5, None, None)]
    found = judged(writes, faults=faults).outages
    assert [(outage.fault.kind, outage.write_s) for outage in found] == [("one", 5.0), ("two", 3.0)]


def test_outage_of_readers_counts_the_standby_address_alone() -> None:
    reads = [read(1.0, 0), read(2.0, 0, standby=False), read(4.0, 0)]
    found = judged(reads=reads, faults=[FaultWindow("one", "alpha", 1.5, 1.6, 3.0)]).outages
    assert found[0].read_s == pytest.approx(3.0)


def test_losses_of_each_fault() -> None:
    writes = [insert(number, float(number)) for number in range(1, 9)]
    faults = [FaultWindow("one", "alpha", 2.5, 3.0, 4.5), FaultWindow("both", "beta", 4.0, 4.1, 4.5),
              FaultWindow("two", "beta", 7.5, None, None)]
    found = judged(writes, [writes[0], writes[1], writes[4], writes[7]], ASYNC, faults=faults).outages
    assert [outage.lost for outage in found] == [2, 1, 2], "3 and 4 in the first, 4 in both, 6 and 7 before the last"


def test_gap_that_never_ends_lasts_to_the_end_of_the_window() -> None:
    assert gap_s([1.0, 2.0], 2.5, 9.0) == 7.0
    assert gap_s([], 2.0, 9.0) == 7.0
    assert gap_s([1.0, 2.0, 3.0, 8.0], 1.5, 2.5) == 1.0, "gaps beyond the window are not its own"
