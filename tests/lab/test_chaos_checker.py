"""The chaos clients and their checker on real servers without pgvip: mistakes made by hand, which must be seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.chaos import logs
from tests.chaos.checker import Report, check
from tests.chaos.history import FinalState, Kind, Outcome, Promises
from tests.chaos.life import Life
from tests.chaos.probers import Probers, content_of, fetch_final
from tests.chaos.workload import Workload, create_tables
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import wait_until
from tests.lab.postgres import PlainCluster

SYNC = Promises("sync", lag_s_max=1.0, slack_s=0.5)


class Ward:
    """A primary on alpha, an asynchronous standby on beta, each with its address; clients and probers at work."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab, self.directory = lab, directory
        lab.alpha.boot()
        lab.beta.boot()
        self.alpha, self.beta = PlainCluster(lab.alpha), PlainCluster(lab.beta)
        self.alpha.create()
        create_tables(lab.alpha)
        self.beta.clone(lab.alpha.address)
        add_address(lab.alpha, PRIMARY_VIP)
        add_address(lab.beta, STANDBY_VIP)
        self.workload, self.probers = Workload(lab, directory, 1), Probers(lab, directory)
        self.probers.start()
        self.workload.start()

    def wait(self, count: int, outcome: Outcome = Outcome.ACK) -> None:
        """So many further inserts with this outcome."""
        since_s = time.monotonic()
        wait_until(lambda: sum(write.sent_s > since_s and write.outcome is outcome
                               for write in logs.load(self.directory).writes) >= count, 30, f"{count} {outcome}", 0.3)

    def asked_since(self, since_s: float) -> int:
        """ARP questions that were asked after this moment."""
        return sum(logs.arp_of(line).at_s > since_s for line in self.lab.arp.log.read_text().splitlines())

    def ended_so(self, query: str, outcome: Outcome, said: str) -> bool:
        """Ask the primary; True when an insert with this outcome, whose detail begins so, is in the log."""
        self.lab.alpha.sql(query)
        return any(write.kind is Kind.INSERT and write.outcome is outcome and write.detail.startswith(said)
                   for write in logs.load(self.directory).writes)

    def verdict(self, final: Callable[[], FinalState], promises: Promises = SYNC) -> Report:
        """Stop all, and judge."""
        self.workload.stop()
        self.probers.stop()
        return check(logs.load(self.directory), final(), [], promises)

    def both(self) -> FinalState:
        return fetch_final(self.lab.alpha, self.lab.beta)


def add_address(host: Host, address: str) -> None:
    host.run(["ip", "addr", "add", f"{address}/32", "dev", "eth0"])


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.violations}


@pytest.fixture
def ward(lab: Lab, tmp_path: Path) -> Iterator[Ward]:
    made = Ward(lab, tmp_path)
    yield made
    made.probers.stop()


def test_a_quiet_life_has_no_finding(ward: Ward) -> None:
    ward.wait(100)
    report = ward.verdict(ward.both)
    assert report.violations == []
    assert report.counts["ack"] >= 100
    assert report.counts["reads"] > 0
    assert report.counts["instances"] == 2


def test_rows_that_were_removed_doubled_or_changed_by_hand_are_seen(ward: Ward) -> None:
    ward.wait(50)
    ward.workload.stop()
    some = "(client, number) = (select client, number from chaos_rows where client = {} order by number limit 1)"
    ward.lab.alpha.sql(f"delete from chaos_rows where {some.format(1)}")
    ward.lab.alpha.sql(f"insert into chaos_rows select * from chaos_rows where {some.format(2)}")
    ward.lab.alpha.sql("update chaos_register set value = value + 1")
    assert kinds(ward.verdict(ward.both)) >= {"lost", "hole", "twice", "register"}


def test_promotion_beside_a_living_primary_is_seen(ward: Ward) -> None:
    """The clients stay with the old primary: there are two writers, and what it wrote and showed is lost."""
    ward.wait(20)
    ward.beta.promote()
    wait_until(ward.lab.beta.writable, 10, "promoted")
    ward.wait(150)
    report = ward.verdict(lambda: FinalState(content_of(ward.lab.beta)))
    assert kinds(report) == {"two-writers", "lost", "vanished"}


def test_what_async_replication_loses_is_counted_and_limited(ward: Ward) -> None:
    ward.wait(20)
    ward.lab.switch.cut("alpha", "beta")
    ward.wait(20)
    ward.lab.alpha.power_off()
    ward.beta.promote()
    add_address(ward.lab.beta, PRIMARY_VIP)
    ward.wait(20)
    ward.workload.stop()
    final = FinalState(content_of(ward.lab.beta))
    report = ward.verdict(lambda: final, Promises("async", lag_s_max=60.0))
    assert report.violations == []
    assert sum(loss.count for loss in report.losses) >= 20
    strict = check(logs.load(ward.directory), final, [], Promises("async", lag_s_max=0.1))
    assert kinds(strict) == {"lost"}


def test_reads_on_a_standby_that_stands_still_are_stale(ward: Ward) -> None:
    ward.wait(20)
    ward.lab.beta.sql("select pg_wal_replay_pause()")
    ward.wait(250)
    ward.lab.beta.sql("select pg_wal_replay_resume()")
    report = ward.verdict(ward.both)
    assert kinds(report) == {"stale"}
    assert report.counts["standby_lag_max_s"] > SYNC.lag_s_max + SYNC.slack_s


def test_one_address_on_both_hosts_is_seen(ward: Ward) -> None:
    add_address(ward.lab.beta, PRIMARY_VIP)
    since_s = time.monotonic()
    asked = partial(ward.asked_since, since_s)
    wait_until(lambda: asked() >= 3, 30, "ARP questions that both answer", every_s=0.3)
    assert "two-answers" in kinds(ward.verdict(ward.both))


def test_a_commit_that_no_standby_confirmed_is_not_taken_for_acknowledged(ward: Ward) -> None:
    """Neither by the client's patience, nor when the wait is cancelled, nor when the session is terminated."""
    alpha = ward.lab.alpha
    alpha.sql("alter system set synchronous_standby_names = 'nobody'")
    alpha.sql("select pg_reload_conf()")
    for ending, said in (("true", "Late: no answer"), ("pg_cancel_backend(pid)", "Late: committed here"),
                         ("pg_terminate_backend(pid)", "OperationalError")):
        query = (f"select count({ending}) from pg_stat_activity where wait_event = 'SyncRep' "
                 "and now() - xact_start between '0.2 s' and '0.8 s'")
        wait_until(partial(ward.ended_so, query, Outcome.UNKNOWN, said), 20, said, every_s=0.1)
    alpha.sql("alter system reset synchronous_standby_names")
    alpha.sql("select pg_reload_conf()")
    ward.wait(20)
    report = ward.verdict(ward.both)
    assert report.violations == []
    assert report.counts["unknown_there"] >= 3


def test_writes_on_a_read_only_server_are_refused(ward: Ward) -> None:
    ward.wait(5)
    ward.lab.alpha.run(["ip", "addr", "del", f"{PRIMARY_VIP}/32", "dev", "eth0"])
    dropped_s = time.monotonic()
    asked = partial(ward.asked_since, dropped_s)
    wait_until(lambda: asked() >= 1, 30, "an ARP question that nobody answers", every_s=0.1)
    add_address(ward.lab.beta, PRIMARY_VIP)
    ward.lab.client.run(["ip", "neigh", "flush", "dev", "eth0"])
    ward.wait(20, Outcome.REFUSED)
    wait_until(partial(ward.ended_so, "select 1", Outcome.REFUSED, "ReadOnlySqlTransaction"), 10, "a refusal")
    ward.wait(20, Outcome.REFUSED)  # one after the other: they last
    assert kinds(ward.verdict(ward.both, Promises("sync", read_only_s=0.0))) == {"read-only"}


def test_a_fence_device_that_lies_is_found_out_by_two_writers(tmp_path: Path) -> None:
    """The one lie that the protocol cannot survive; and with it, that the whole of a chaos run sees what goes wrong."""
    life = Life(tmp_path / "life", "sync", "fast", 1)
    try:
        life.begin()
        primary, standby = life.pair.host_as("primary"), life.pair.host_as("standby")
        for failures in life.lab.fence.failures.values():
            failures.lies = True
        primary.cut()
        wait_until(standby.writable, 60, f"{standby.name} takes over")
        probes = life.lab.probes[primary.name]
        since_s = time.monotonic()
        wait_until(lambda: len(probes.writable(since_s)) > 5, 30, f"{primary.name} goes on")
        life.end()
    finally:
        life.close()
    assert "two-writers" in {finding.kind for finding in life.all_findings()}
