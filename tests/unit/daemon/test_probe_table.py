"""The looks at the own addresses: a lease ends with its loop, and what cannot be announced is still seen."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest

from pgvip.actions import vip
from pgvip.config.model import Config, FenceMethod
from pgvip.core.actions import DropVip
from pgvip.core.knowledge import Claim, Why
from pgvip.core.observations import Observation, Observations
from pgvip.core.values import Lease, Mode, Vip
from pgvip.daemon import probe_table
from pgvip.daemon.probe_table import Probes
from pgvip.daemon.probe_threads import Probe
from pgvip.deadlines import now_s
from pgvip.errors import ProbeError
from pgvip.status.snapshot import LoopStats, Newest, Snapshot
from tests.unit import configs
from tests.unit.core_world import TERM, primary, witnessed
from tests.unit.namespaces import inside, ip, pair_of_hosts

LEASE_S = 300


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    with pair_of_hosts() as (first, _), inside(first):
        yield replace(configs.make(tmp_path), valid_lft_s=LEASE_S)


def snapshot_of(config: Config, age_s: float = 0.0, *, dropping: bool = False) -> Snapshot:
    """What the loop last came to, `age_s` ago."""
    host = primary().round()
    last = host.last
    assert last is not None
    if dropping:
        host = host.knows(running=(DropVip(Vip.PRIMARY),))
    decision = replace(last, knowledge=host.k)
    return Snapshot(config, decision, Observations(), now_s() - age_s, LoopStats())


def probes_of(
    config: Callable[[], Config], snapshot: Snapshot | None = None, took_s: dict[str, float] | None = None
) -> Probes:
    newest = Newest()
    if snapshot is not None:
        newest.put(snapshot)
    took_s = {} if took_s is None else took_s
    return Probes(config, newest, lambda _name: None, bool, postmaster=lambda _ref: None, took_s=took_s)


def held_probe(config: Config, snapshot: Snapshot | None) -> Probe:
    return next(probe for probe in probes_of(lambda: config, snapshot).all() if probe.name == "held")


def lease_s() -> int:
    said = subprocess.run(["ip", "address", "show", "eth0"], check=True, capture_output=True, text=True).stdout
    words = said[said.index("10.9.0.100/32") :].split()
    return int(words[words.index("valid_lft") + 1].removesuffix("sec"))


def test_a_lease_is_renewed_while_the_loop_goes_round(config: Config) -> None:
    vip.add(replace(config, valid_lft_s=50), Vip.PRIMARY)
    assert held_probe(config, snapshot_of(config)).look() == {Vip.PRIMARY}
    assert lease_s() > 50


@pytest.mark.parametrize("case", ["loop hangs", "being dropped", "no round yet"])
def test_a_lease_is_not_renewed_for_a_loop_that_hangs_or_has_lost_the_right(config: Config, case: str) -> None:
    late, dropping = snapshot_of(config, 5.0), snapshot_of(config, dropping=True)
    snapshot = {"loop hangs": late, "being dropped": dropping, "no round yet": None}[case]
    vip.add(replace(config, valid_lft_s=50), Vip.PRIMARY)
    assert held_probe(config, snapshot).look() == {Vip.PRIMARY}
    assert lease_s() <= 50

def leased_until(config: Config, seconds: float, *, won: str = "") -> Snapshot:
    """A primary with a witness whose peer waits for so long from now on."""
    settings = config.settings
    sent_s = now_s() + seconds - settings.lease_s - settings.lease_stop_s
    host = witnessed(primary()).knows(lease=Lease(TERM, sent_s))
    if won == "before a restart":
        host = host.durable(record=replace(host.record, primary=settings.me)).knows(won_term=TERM)
    elif won:
        claim = Claim("x", TERM, Why.UNHEARD, takeover=False, attempt="", since_s=now_s(), won=True, waits=True)
        host = host.knows(claim=claim)
    made = snapshot_of(config)
    return replace(made, decision=replace(made.decision, knowledge=host.k))


@pytest.mark.parametrize(
    ("seconds", "won", "shortest_s", "longest_s"),
    [
        (60.0, "", 55, 60),
        (400.0, "", 290, 300),
        (0.9, "", 0, 20),
        (-9.0, "", 0, 20),
        (0.9, "now", 290, 300),
        (-9.0, "before a restart", 290, 300),
    ],
)
def test_with_a_witness_no_address_outlives_what_the_peer_waits_for(
    config: Config, seconds: float, won: str, shortest_s: int, longest_s: int
) -> None:
    """A daemon that hangs after it was cut off: the kernel drops the address before the other host raises it."""
    vip.add(replace(config, valid_lft_s=20), Vip.PRIMARY)
    held_probe(config, leased_until(config, seconds, won=won)).look()
    assert shortest_s <= lease_s() <= longest_s


def test_a_boot_without_a_lease_renews_no_address(config: Config) -> None:
    vip.add(replace(config, valid_lft_s=20), Vip.PRIMARY)
    made = snapshot_of(config)
    host = witnessed(primary()).knows(lease=None)
    held_probe(config, replace(made, decision=replace(made.decision, knowledge=host.k))).look()
    assert lease_s() <= 20


def test_a_renewal_does_not_bring_the_next_one_about(config: Config) -> None:
    vip.add(replace(config, valid_lft_s=50), Vip.PRIMARY)
    probe = held_probe(config, snapshot_of(config))
    probe.look()
    ip("address", "replace", "10.9.0.100/32", "dev", "eth0", "valid_lft", "70", "preferred_lft", "70")
    probe.look()
    assert lease_s() <= 70


def test_short_leases_are_looked_at_more_often(config: Config) -> None:
    assert held_probe(replace(config, valid_lft_s=4), None).period_s() <= 1.0
    assert held_probe(replace(config, valid_lft_s=0), None).period_s() == 5.0


def test_a_new_address_is_announced_every_second_at_first(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first announcement may be lost: a bond that changes its port, a switch that still learns."""
    config = replace(config, valid_lft_s=0)
    vip.add(config, Vip.PRIMARY)
    probe = held_probe(config, snapshot_of(config))
    assert probe.period_s() == 5.0
    probe.look()
    assert probe.period_s() == 1.0
    later_s = now_s() + 11.0
    monkeypatch.setattr(probe_table, "now_s", lambda: later_s)
    assert probe.period_s() == 5.0


def test_a_reload_reaches_the_looks_at_the_database_and_at_the_fence_device(tmp_path: Path) -> None:
    made = configs.make(tmp_path)
    bare = replace(made, peer=replace(made.peer, fencing=()))
    now = [bare]
    probes = probes_of(lambda: now[0])
    looks = {probe.name: probe.look for probe in probes.all()}
    assert looks["fence"]() == "", "nothing to ask, and nothing to warn of"
    method = FenceMethod(command=("/bin/true",), timeout_s=5.0)
    now[0] = replace(bare, peer=replace(bare.peer, fencing=(method,)), settings=replace(bare.settings, hung_after_s=77))
    assert looks["fence"]() == "on"
    with suppress(ProbeError):
        looks["database"]()
    assert probes._database._limit_s(None) == 77


def test_addresses_are_seen_while_nothing_can_be_announced(config: Config) -> None:
    vip.add(config, Vip.PRIMARY)
    ip("link", "set", "eth0", "down")
    with pytest.raises(ProbeError):
        vip.announce(config, Vip.PRIMARY)
    assert held_probe(config, snapshot_of(config)).look() == {Vip.PRIMARY}


def test_the_look_at_the_fence_device_is_timed_for_explain(tmp_path: Path) -> None:
    made = configs.make(tmp_path)
    config = replace(made, peer=replace(made.peer, fencing=(FenceMethod(command=("/bin/true",), timeout_s=5.0),)))
    took_s: dict[str, float] = {}
    probes = probes_of(lambda: config, took_s=took_s)
    assert next(probe for probe in probes.all() if probe.name == "fence").look() == "on"
    assert took_s["fence-status"] > 0


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (None, False),
        (frozenset({Vip.STANDBY}), False),
        (frozenset({Vip.PRIMARY, Vip.STANDBY}), False),
        (frozenset({Vip.PRIMARY}), True),
        (frozenset[Vip](), True),
    ],
    ids=["unknown", "its own", "both", "the other", "none"],
)
def test_the_peer_is_asked_at_its_vip_unless_that_may_be_this_host_s(
    tmp_path: Path, held: frozenset[Vip] | None, asked: bool
) -> None:
    """There, this host's own database would answer, and count as the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = standby_vip_at_loopback(tmp_path, listener.getsockname()[1])
        with pytest.raises(ProbeError) as refused:
            peer_vip_look(config, held)
        assert bool(select.select([listener], [], [], 0)[0]) is asked
        assert ("not the peer's now" in refused.value.message) is not asked


def standby_vip_at_loopback(tmp_path: Path, port: int) -> Config:
    """Of host "a", the primary of the pair: the standby VIP is the peer's."""
    made = configs.make(tmp_path)
    vips = {Vip.PRIMARY: made.vips[Vip.PRIMARY], Vip.STANDBY: ip_interface("127.0.0.1/32")}
    return replace(made, me=replace(made.me, name="a"), vips=vips, postgres=replace(made.postgres, port=port))


def peer_vip_look(config: Config, held: frozenset[Vip] | None) -> object:
    seen = Observations() if held is None else Observations(held=Observation(held, now_s()))
    probes = probes_of(lambda: config, replace(snapshot_of(config), seen=seen))
    return next(probe for probe in probes.all() if probe.name == "peer_vip").look()


def test_nothing_is_asked_of_a_removed_peer(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address and its fence device may be another machine's by now; its slot is dropped."""
    asked: list[object] = []
    monkeypatch.setattr("pgvip.probes.peer_database.probe", lambda *words: asked.append("database"))
    monkeypatch.setattr("pgvip.probes.fence_status.probe", lambda _config: asked.append("fence"))
    monkeypatch.setattr("pgvip.actions.replication.ensure_slot", lambda _c, _s, *, removed: asked.append(removed))
    for at in ("", "2026-01-01T00:00:00+00:00"):
        host = primary(Mode.SOLO).durable(removed=at).round()
        assert host.last is not None
        own = replace(config, me=replace(config.me, name="a"), peer=replace(config.peer, fencing=(FenceMethod("f"),)))
        known = Snapshot(own, host.last, host.seen, now_s(), LoopStats())
        probes = {probe.name: probe.look for probe in probes_of(lambda own=own: own, known).all()}  # type: ignore[misc]  # bound
        for name in ("peer_own", "fence", "slots"):
            with suppress(ProbeError):
                probes[name]()
    assert asked == ["database", "fence", False, True]


def test_the_peers_database_is_asked_now_and_then_while_its_daemon_is_heard(config: Config) -> None:
    made = snapshot_of(config)
    heard = made.decision.knowledge.peer.heard
    assert heard is not None

    def pauses_s(age_s: float) -> dict[str, float]:
        knowledge = made.decision.knowledge
        peer = replace(knowledge.peer, heard=replace(heard, at_s=now_s() - age_s))
        decision = replace(made.decision, knowledge=replace(knowledge, peer=peer))
        every = probes_of(lambda: config, replace(made, decision=decision)).all()
        return {probe.name: probe.period_s() for probe in every if probe.name in ("peer_own", "peer_vip")}

    settings = config.settings
    assert pauses_s(0.0) == {"peer_own": probe_table.REST_S, "peer_vip": probe_table.VIP_REST_S}
    quiet_s = settings.interval_s / 2
    assert pauses_s(2.5 * settings.heartbeat_s) == {"peer_own": quiet_s, "peer_vip": quiet_s}
