"""The status document is plain JSON, keeps its keys, and says "unknown" where nothing is known."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from pgvip.config.model import Config, Host, PostgresConfig
from pgvip.core.actions import Fence
from pgvip.core.decide import begin, decide
from pgvip.core.knowledge import Claim, Decision, Failures, GiveUp, Why
from pgvip.core.messages import Heard, Message, Want
from pgvip.core.observations import Database, Observation, Observations, Processes, Replica
from pgvip.core.settings import Identity, Inputs, Settings, StandingWarning
from pgvip.core.values import BootFacts, Durable, Lsn, Mode, Record, Vip, WalPoint
from pgvip.link.link_state import LinkState
from pgvip.status.document import Live, document
from pgvip.status.snapshot import LoopStats, Snapshot
from pgvip.web.listeners import HttpState

NOW_S = 1000.0
RECORD = Record("p", "7", 4, "alpha", Mode.PAIR, sync=True, cause="init", at="2026-01-01T00:00:00Z")
CONFIG = Config(
    name="shop",
    me=Host("alpha", "10.0.0.1", "eth0"),
    peer=Host("beta", "10.0.0.2", "eth0"),
    vips={Vip.PRIMARY: ip_interface("10.0.0.10/32"), Vip.STANDBY: ip_interface("10.0.0.11/32")},
    postgres=PostgresConfig(Path("/d"), Path("/b"), Path("/c"), Path("/s")),
    settings=Settings(me="alpha", peer="beta", me_first=True),
)
PRIMARY = Observations(
    gateway=Observation("10.0.0.254", NOW_S - 0.2),
    processes=Observation(Processes(installed=True, postmaster="5:6", left=7, control_state="in production"), NOW_S),
    database=Observation(
        Database(
            "5:6", in_recovery=False, point=WalPoint(2, Lsn(1000)), sync_names='"pgvip_beta"',
            replica=Replica("streaming", "sync", Lsn(900), Lsn(800), replay_lag_s=0.25),
        ), NOW_S,
    ),
    connection=Observation(value=True, at_s=NOW_S),
    disks=Observation(value=True, at_s=NOW_S),
    held=Observation(frozenset({Vip.PRIMARY}), NOW_S),
    fence=Observation("on", NOW_S - 30.0, failures=2, reason="no route to the BMC"),
)  # fmt: skip
STANDBY_SAYS = Message(
    "p", "7", "beta", "boot2", "run2", 9, 1.0, RECORD, confirmed=True, eligible=True, postmaster="8:9",
    in_recovery=True, database_ok=True, streaming=True, point=WalPoint(2, Lsn(900)), vips=("standby",), version="9.9",
)  # fmt: skip


def decided(durable: Durable, seen: Observations, *, confirmed: bool = True) -> Decision:
    who = Identity("boot1", "run1", NOW_S - 60.0, "p", "7")
    facts = BootFacts(confirmed, durable.record.term if durable.record and confirmed else 0)
    knowledge = begin(who, durable, facts)
    knowledge.database = replace(knowledge.database, postmaster_since_s=NOW_S - 60)  # it has had its time to answer
    return decide(knowledge, Inputs(seen), CONFIG.settings, NOW_S)


def built(decision: Decision, seen: Observations, config: Config = CONFIG, **extra: object) -> dict[str, Any]:
    stats = extra.pop("stats", LoopStats(began_s=NOW_S - 60.0))
    assert isinstance(stats, LoopStats)
    live = Live(**extra)  # type: ignore[arg-type]  # what a test gives by name
    made: dict[str, Any] = json.loads(
        json.dumps(document(Snapshot(config, decision, seen, NOW_S, stats), live), allow_nan=False)
    )
    return made


def keys_of(value: object, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return set()
    return set().union(*({f"{prefix}{key}"} | keys_of(item, f"{prefix}{key}.") for key, item in value.items()))


def healthy() -> dict[str, Any]:
    decision = decided(Durable(RECORD, served=True), PRIMARY)
    decision.knowledge.peer = replace(decision.knowledge.peer, heard=Heard(STANDBY_SAYS, NOW_S - 0.4))
    return built(decision, PRIMARY, link=LinkState(connected=True, since_s=900.0, heard_s=999.6, connections=2))


def test_healthy_primary() -> None:
    found = healthy()
    assert (found["pair"], found["host"], found["role"], found["term"]) == ("shop", "alpha", "primary", 4)
    assert found["record"]["mode"] == "pair"
    me, peer = found["me"], found["peer"]
    assert (me["role"], me["vips"], me["gateway_ok"]) == ("primary", ["primary"], True)
    assert (me["postgresql"]["state"], me["postgresql"]["timeline"]) == ("read-write", 2)
    assert me["postgresql"]["lsn"] == "0/3E8"
    assert (peer["role"], peer["vips"], peer["eligible"], peer["age_s"]) == ("standby", ["standby"], True, 0.4)
    assert peer["postgresql"]["state"] == "standby"
    assert found["replication"] == {
        "standby": "beta", "state": "streaming", "sync_state": "sync", "lag_bytes": 100, "lag_s": 0.25,
        "flush_lag_s": 0.0, "apply_bytes": 100, "sync_names": '"pgvip_beta"', "slot_lost": False,
    }  # fmt: skip
    assert found["addresses"] == {"primary": "10.0.0.10", "standby": "10.0.0.11"}
    fencing = found["fencing"]
    assert (fencing["ok"], fencing["value"], fencing["age_s"]) == (False, "on", 30.0)
    assert found["link"]["connections"] == 2
    assert found["process"]["uptime_s"] == 60.0


def test_nothing_known_is_not_false() -> None:
    found = built(decided(Durable(), Observations(), confirmed=False), Observations())
    assert found["role"] == "none"
    assert found["record"] is found["term"] is None
    assert found["me"]["vips"] is None
    assert found["me"]["postgresql"]["state"] == "unknown"
    assert found["peer"]["role"] == "unknown"
    assert found["peer"]["postgresql"]["state"] == "unknown"
    assert found["archive"]["ok"] is None
    assert found["link"] is found["http"] is None
    assert "no-record" in [one["name"] for one in found["warnings"]]


def test_the_keys_are_the_same_known_or_not() -> None:
    unknown = built(decided(Durable(), Observations(), confirmed=False), Observations())
    known = healthy()
    assert keys_of(known["me"]) == keys_of(known["peer"]) == keys_of(unknown["peer"]) == keys_of(unknown["me"])
    assert known.keys() == unknown.keys()
    assert keys_of(known["replication"]) == keys_of(unknown["replication"])


def test_states_of_the_local_database() -> None:
    def state(**changes: Any) -> str:
        seen = replace(PRIMARY, **changes)
        return str(built(decided(Durable(RECORD), seen), seen)["me"]["postgresql"]["state"])

    def processes(**fields: Any) -> Observation[Processes]:
        return Observation(Processes(**fields), NOW_S)

    assert state(processes=processes()) == "no-data"
    assert state(processes=processes(installed=True)) == "down"
    assert state(processes=processes(installed=True, left=1)) == "orphans"
    assert state(processes=processes(installed=True, postmaster="77:1", left=3)) == "starting"
    stuck = Observation(value=True, at_s=NOW_S - 20, failures=5, failed_at_s=NOW_S, failing_since_s=NOW_S - 19)
    assert state(connection=stuck) == "hung"
    refused: Observation[Database] = Observation(failures=5, failed_at_s=NOW_S, failing_since_s=NOW_S - 19)
    assert state(database=refused) == "refusing"
    assert state(database=replace(refused, failing_since_s=NOW_S - 0.1)) == "starting"
    assert state(database=Observation(Database("5:6", in_recovery=True, point=WalPoint(2, Lsn(1))), NOW_S)) == "standby"


def test_solo_primary_and_what_is_under_way() -> None:
    decision = decided(Durable(replace(RECORD, mode=Mode.SOLO), served=True), PRIMARY)
    k = decision.knowledge
    claim = Claim("takeover-by-fence", 4, Why.SILENCE, takeover=False, attempt="a1", since_s=NOW_S - 3, tries=2)
    k.fencing = replace(k.fencing, claim=claim)
    k.consent = replace(k.consent, giving_up=GiveUp("solo", Want.SOLO, 4, "boot2", NOW_S - 1))
    k.work = replace(k.work, running=(Fence("a1"),))
    k.work = replace(k.work, failures={Fence: Failures(2, NOW_S + 5, "timed out")})
    stats = LoopStats(rounds=100, longest_ms=12.345, began_s=NOW_S - 50)
    found = built(decision, PRIMARY, stats=stats, memory_bytes=1, cpu_seconds=2.0)
    assert found["role"] == found["me"]["role"] == "primary_standby"
    doing = found["doing"]
    assert doing["claim"] == {
        "change": "takeover-by-fence", "why": "silence", "tries": 2, "fenced": False, "age_s": 3.0,
    }  # fmt: skip
    assert doing["giving_up"] == {"change": "solo", "age_s": 1.0}
    assert doing["actions"] == ["Fence"]
    failure = {"action": "Fence", "what": "power the peer off", "times": 2, "text": "timed out", "retry_in_s": 5.0}
    assert doing["failures"] == [failure]
    assert found["loop"] == {"rounds": 100, "longest_ms": 12.35, "latest_ms": 0.0, "rounds_per_s": 2.0}


def test_standby_sees_its_lag_by_the_primarys_message() -> None:
    seen = replace(
        PRIMARY,
        database=Observation(
            Database("5:6", in_recovery=True, point=WalPoint(2, Lsn(700)), streaming=True, replay_lag_s=1.5), NOW_S
        ),
    )
    config = replace(CONFIG, me=CONFIG.peer, peer=CONFIG.me, settings=Settings("beta", "alpha", me_first=False))
    who = Identity("boot2", "run2", NOW_S - 60.0, "p", "7")
    decision = decide(begin(who, Durable(RECORD), BootFacts(confirmed=True)), Inputs(seen), config.settings, NOW_S)
    primary_says = replace(STANDBY_SAYS, host="alpha", read_write=True, in_recovery=False, point=WalPoint(2, Lsn(1000)))
    decision.knowledge.peer = replace(decision.knowledge.peer, heard=Heard(primary_says, NOW_S))
    found = built(decision, seen, config)
    assert found["role"] == "standby"
    assert found["peer"]["role"] == "primary"
    assert found["replication"]["lag_bytes"] == 300
    assert found["replication"]["state"] == "streaming"
    other = Heard(replace(primary_says, point=WalPoint(3, Lsn(1000))), NOW_S)
    decision.knowledge.peer = replace(decision.knowledge.peer, heard=other)
    assert built(decision, seen, config)["replication"]["lag_bytes"] is None  # another timeline: no distance


def test_http_that_does_not_listen_is_a_warning() -> None:
    decision = decided(Durable(RECORD, served=True), PRIMARY)
    fine = built(decision, PRIMARY, http=HttpState(("10.0.0.1:8433",)))
    assert fine["http"] == {"listening": ["10.0.0.1:8433"], "error": ""}
    assert "http-failed" not in [one["name"] for one in fine["warnings"]]
    deaf = built(decision, PRIMARY, http=HttpState((), "cannot listen on 10.0.0.1:8433: Address already in use"))
    [warning] = [one for one in deaf["warnings"] if one["name"] == "http-failed"]
    assert "Address already in use" in warning["text"]
    assert "ss -ltnp" in warning["hint"]
    assert built(decision, PRIMARY)["http"] is None


def test_what_is_seen_beside_the_core_is_told_with_its_warnings() -> None:
    decision = decided(Durable(RECORD, served=True), PRIMARY)
    plain = built(decision, PRIMARY)
    assert plain["archiving"] is plain["backup"] is plain["scheduled"] is None
    assert plain["watchdog"] == {"mode": "off", "armed": None}
    given: dict[str, Any] = {
        "archiving": {"waiting_files": 3}, "backup": {"name": "x"}, "scheduled": {"at": "y"}, "armed": True,
    }  # fmt: skip
    found = built(
        decision, PRIMARY, warnings=(StandingWarning("archiving-failing", "it fails", "see the log"),), **given
    )
    assert {key: found[key] for key in ("archiving", "backup", "scheduled")} | {"armed": True} == given
    assert found["watchdog"]["armed"] is True
    assert {"name": "archiving-failing", "text": "it fails", "hint": "see the log"} in found["warnings"]


def test_clients_may_write_by_the_rule_of_the_primary_vip() -> None:
    """Also while the address is held already: a daemon's restart has not seen the standby flush."""

    def rights(caught_up: str, *vips: Vip, **changes: Any) -> dict[str, Any]:
        seen = replace(PRIMARY, held=Observation(frozenset(vips), NOW_S))
        decision = decided(Durable(replace(RECORD, **changes), served=True), seen)
        decision.knowledge.database = replace(decision.knowledge.database, caught_up=caught_up)
        found: dict[str, Any] = built(decision, seen)["rights"]
        return found

    assert rights("5:6", Vip.PRIMARY) == rights("5:6") == {"write": True, "serve": True}
    assert rights("", Vip.PRIMARY)["serve"] is True
    assert rights("")["serve"] is False
    assert rights("4:4", Vip.PRIMARY)["serve"] is False
    assert rights("", sync=False)["serve"] is True
    assert rights("5:6", primary="beta") == {"write": False, "serve": False}
    recovering = Database("5:6", in_recovery=True, point=WalPoint(2, Lsn(9)))
    promoting = replace(PRIMARY, database=Observation(recovering, NOW_S))
    assert built(decided(Durable(RECORD, served=True), promoting), promoting)["rights"]["serve"] is False


def test_every_key_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "status.md").read_text(encoding="utf-8")
    found = healthy()
    me, doing = found["me"], found["doing"]
    for key in {*found, *me, *me["postgresql"], *doing, *found["link"], *found["replication"]}:
        assert f"`{key}`" in page, key


def test_veto_hooks_are_there_or_not_or_unknown() -> None:
    for there in (True, False):
        seen = replace(PRIMARY, veto=Observation(there, NOW_S))
        assert built(decided(Durable(RECORD, served=True), seen), seen)["veto_hooks"] is there
    assert healthy()["veto_hooks"] is None
