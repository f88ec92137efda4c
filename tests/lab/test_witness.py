"""A pair that cannot power its hosts off, and a witness on a third machine: takeovers from silence, none without it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from random import Random

import pytest

from tests.lab.clients import SqlClient
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.nodes import LabError, wait_until
from tests.lab.pair import Options, Pair
from tests.lab.witness_server import ID, NODE, WitnessServer

Made = tuple[Pair, WitnessServer]
CUTS = int(os.environ.get("PGVIP_WITNESS_CUTS", "1"))
SEED = int(os.environ.get("PGVIP_WITNESS_SEED", "1"))
"""A campaign has many cuts (scripts/test --nightly: 200)."""
PROBES_PER_S = 50
OLD_S = 300.0
SESSIONS = 8
"""So many of pgvip's own a server of a healthy pair has at most, in any moment."""
ROLLED_BACK = "witness-rolled-back"
PRESET = os.environ.get("PGVIP_WITNESS_PRESET", "default")
OUTAGE_S, STALL_S = {"default": (6.5, 3.8), "fast": (2.8, 1.5)}[PRESET]
ROOM_S = 1.5
"""For a machine that has other work than a pair: what the issue promises is for one that has none."""


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    """The pair and its witness, for all tests here in their order."""
    with Lab() as lab:
        for probe in lab.probes.values():
            probe.rate = PROBES_PER_S
        pair = Pair(lab, Options(preset=PRESET, fencing=False, witness=True))
        assert pair.witness is not None
        try:
            pair.create()
            pair.wait_healthy(90)
            lab.arp.start()
            yield pair, pair.witness
        finally:
            print(pair.describe(60))


@pytest.fixture
def writing(made: Made, request: pytest.FixtureRequest) -> Iterator[SqlClient]:
    pair, _witness = made
    pair.wait_healthy(90, 1.0)
    number = 1_000_000 * (1 + sum(map(ord, request.node.name)) % 1000)
    client = pair.lab.writer(f"writer-{number}", rate=50, first=number)
    client.start()
    wait_until(lambda: len(client.acknowledged()) >= 20, 30, "steady writes")
    yield client
    client.stop()


def whole_again(pair: Pair, writer: SqlClient) -> None:
    """Both hosts serve, and nothing that was acknowledged is lost."""
    for host in pair.hosts.values():
        host.boot()
    pair.wait_healthy(120, 1.0)
    writer.wait_success(30)
    writer.stop()
    lost = pair.lab.lost(writer.acknowledged(), pair.host_as("primary"))
    assert not lost, sorted(lost)[:20]
    found = pair.lab.violations()
    assert not found, found


def answers(pair: Pair, host: Host) -> bool:
    return bool(pair.status(host)["witness"]["value"] == ID)


def counts_again(pair: Pair, host: Host) -> bool:
    """Its new daemon is up and has asked the witness."""
    try:
        return answers(pair, host)
    except LabError:
        return False


def warnings(pair: Pair, host: Host) -> set[str]:
    return {one["name"] for one in pair.status(host)["warnings"]}


def roles(pair: Pair) -> tuple[Host, Host]:
    primary = pair.host_as("primary")
    return primary, pair.peer_of(primary)


def gap_s(pair: Pair, random: Random) -> float:
    """Cut the primary off from its peer and the witness until the other serves: the time between their writes.

    Both hosts try to write every 20 ms, on sockets of their own. The cuts are healed at the end.
    """
    primary, standby = roles(pair)
    probes, switch = pair.lab.probes, pair.lab.switch
    wait_until(lambda: bool(probes[primary.name].writable(time.monotonic() - 1.0)), 10, "the probe writes")
    more = ["gateway", "client"]
    begun_s = time.monotonic()
    for other in (standby.name, NODE, *random.sample(more, random.randint(0, 2))):
        switch.cut(primary.name, other)
    wait_until(lambda: bool(probes[standby.name].writable(begun_s)), 30, "the other host serves")
    assert not primary.writable()
    switch.heal()
    last_s = max(event.answered_s for event in probes[primary.name].writable(begun_s - 1.0))
    first_s = min(event.sent_s for event in probes[standby.name].writable(begun_s))
    assert last_s < first_s, f"written until {last_s - begun_s:.3f} s there, from {first_s - begun_s:.3f} s on here"
    found = pair.lab.violations(begun_s)
    assert not found, found
    return first_s - last_s


def make_room(pair: Pair) -> None:
    """Remove what each cut leaves on both hosts and nobody needs any more: 200 cuts would fill tens of GB."""
    before_s = time.time() - OLD_S
    for host in pair.hosts.values():
        for path in [*host.directory.glob("state/archive/0*"), *host.directory.glob("state/saved/*")]:
            if path.stat().st_mtime < before_s:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_the_record_of_the_pair_names_the_witness(made: Made) -> None:
    pair, witness = made
    for host in pair.hosts.values():
        found = pair.status(host)
        assert found["record"]["witness_id"] == found["witness"]["counts"] == ID
        pair.pgvip(host, "witness", "status")
        wait_until(partial(answers, pair, host), 30, "probe of the witness")
    assert witness.psql("SELECT count(*) FROM pgvip_witness.claims WHERE pair LIKE 'test-%'") == "0"


def test_a_primary_that_is_cut_off_stops_before_the_other_serves(made: Made) -> None:
    """The one takeover of each run of scripts/test; the pair becomes whole again for the nightly ones."""
    pair, witness = made
    print(f"GAP {gap_s(pair, Random(SEED)):.3f} s")
    assert len(witness.claims()) == 1


@pytest.mark.nightly
@pytest.mark.timeout(60 + 120 * CUTS)
def test_in_random_cuts_the_primary_has_always_stopped_first(made: Made, writing: SqlClient) -> None:
    pair, witness = made
    random, gaps = Random(SEED), []
    for number in range(CUTS):
        time.sleep(random.uniform(0.0, 1.0))  # anywhere between two heartbeats
        gaps.append(gap_s(pair, random))
        print(f"CUT {number}: {gaps[-1]:.3f} s between the last write there and the first one here", flush=True)
        pair.wait_healthy(120, 1.0)
        make_room(pair)
    print(f"GAPS of {len(gaps)} cuts: least {min(gaps):.3f} s, most {max(gaps):.3f} s")
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND backend_type = 'client backend'"
    wait_until(lambda: int(witness.psql(query.format("pgvip_witness"))) <= 2, 60, "sessions that were cut are gone")
    wait_until(lambda: all(int(host.sql(query.format("pgvip"))) <= SESSIONS for host in pair.hosts.values()), 60,
               "sessions of pgvip's that were cut are gone")
    whole_again(pair, writing)


@pytest.mark.nightly
def test_a_host_that_loses_its_power_is_taken_over_from(made: Made, writing: SqlClient) -> None:
    pair, witness = made
    primary, standby = roles(pair)
    begun_s = time.monotonic()
    primary.power_off()
    pair.wait_roles(30, **{standby.name: "primary_standby"})
    writing.wait_success(30)
    outage_s = writing.outage_s(begun_s)
    print(f"OUTAGE primary off: {outage_s:.2f} s")
    assert standby.name in witness.claims().values()
    assert outage_s <= OUTAGE_S + ROOM_S
    whole_again(pair, writing)


@pytest.mark.nightly
@pytest.mark.timeout(60 + 150 * CUTS)
def test_random_cuts_make_no_second_writer_and_lose_nothing(made: Made, writing: SqlClient) -> None:
    """Of either host from the other, the witness, the gateway and the clients, for a while that may be too short."""
    pair, _witness = made
    random, switch = Random(SEED), pair.lab.switch
    for number in range(CUTS):
        host, others = roles(pair)[random.random() < 0.3], [NODE, "gateway", "client"]
        cut = [pair.peer_of(host).name, *random.sample(others, random.randint(0, 3))]
        seconds = random.uniform(1.0, 14.0)
        print(f"CUT {number}: {host.name} from {', '.join(cut)} for {seconds:.1f} s", flush=True)
        for other in cut:
            switch.cut(host.name, other)
        time.sleep(seconds)  # the fault lasts so long, whatever happens meanwhile
        switch.heal()
        pair.wait_healthy(120, 1.0)
        found = pair.lab.violations()
        assert not found, found
    whole_again(pair, writing)


@pytest.mark.nightly
def test_a_primary_that_loses_its_standby_goes_on(made: Made, writing: SqlClient) -> None:
    pair, _witness = made
    primary, standby = roles(pair)
    begun_s = time.monotonic()
    standby.power_off()
    pair.wait_roles(30, **{primary.name: "primary_standby"})
    writing.wait_success(30)
    stall_s = writing.outage_s(begun_s)
    print(f"STALL standby off: {stall_s:.2f} s")
    assert stall_s <= STALL_S + ROOM_S
    whole_again(pair, writing)


@pytest.mark.nightly
def test_without_the_witness_nothing_moves_until_it_is_back(made: Made, writing: SqlClient) -> None:
    pair, witness = made
    primary, standby = roles(pair)
    witness.stop()
    before = len(writing.acknowledged())
    wait_until(lambda: len(writing.acknowledged()) > before + 100, 30, "writes without a witness")
    primary.power_off()
    end_s = time.monotonic() + 12
    while time.monotonic() < end_s:
        assert pair.role(standby) in ("standby", "none")
        assert not standby.writable()
    names = warnings(pair, standby)
    assert {"witness-silent", "claim-failing"} & names, names
    witness.start()
    pair.wait_roles(30, **{standby.name: "primary_standby"})
    writing.wait_success(30)
    whole_again(pair, writing)


@pytest.mark.nightly
def test_a_witness_that_was_restored_from_an_old_backup_is_an_alarm_and_gives_no_term(
    made: Made, writing: SqlClient,
) -> None:
    """What it has forgotten was won by somebody: no host may win it again."""
    pair, witness = made
    primary, standby = roles(pair)
    if not witness.claims():
        gap_s(pair, Random(SEED))
        pair.wait_healthy(120, 1.0)
        primary, standby = roles(pair)
    newest = max(witness.claims())
    hosts = pair.hosts.values()
    count = len(witness.claims())
    wait_until(lambda: all(pair.status(host)["witness"]["serial"] == count for host in hosts), 30, "both know it")
    witness.psql("CREATE TABLE forgotten AS SELECT * FROM pgvip_witness.claims")
    witness.psql(f"DELETE FROM pgvip_witness.claims WHERE term = {newest}")
    wait_until(lambda: all(ROLLED_BACK in warnings(pair, host) for host in hosts), 30, "an alarm on both hosts")
    claims = witness.claims()
    primary.power_off()
    end_s = time.monotonic() + 12
    while time.monotonic() < end_s:
        assert not standby.writable()
        assert pair.role(standby) in ("standby", "none")
    assert witness.claims() == claims
    whole_again(pair, writing)
    # No daemon trusts it again, whatever it counts then; the id of another witness, or a restart, ends this.
    witness.psql("INSERT INTO pgvip_witness.claims SELECT * FROM forgotten ON CONFLICT DO NOTHING")
    witness.psql("DROP TABLE forgotten")
    assert ROLLED_BACK in warnings(pair, standby)
    for host in (pair.peer_of(pair.host_as("primary")), pair.host_as("primary")):
        host.stop_service("pgvip")
        pair.start_services(host)
        wait_until(partial(counts_again, pair, host), 60, f"{host.name} relies on the witness again")
        pair.wait_healthy(60, 1.0)
    assert not any(ROLLED_BACK in warnings(pair, host) for host in hosts)


@pytest.mark.nightly
def test_a_primary_that_boots_alone_serves_again_by_itself(made: Made, writing: SqlClient) -> None:
    """Its standby never comes back; without a witness an operator had to come."""
    pair, _witness = made
    primary, standby = roles(pair)
    standby.power_off()
    primary.power_off()
    primary.boot()
    pair.wait_roles(60, **{primary.name: "primary_standby"})
    whole_again(pair, writing)


@pytest.mark.nightly
def test_both_hosts_know_what_was_claimed(made: Made) -> None:
    """Both hosts remember how many terms were claimed."""
    pair, witness = made
    claims = witness.claims()
    assert claims
    hosts = pair.hosts.values()
    wait_until(lambda: all(pair.status(host)["witness"]["serial"] == len(claims) for host in hosts), 30, "serials")
