"""The checks' frame, and those checks that a lab cannot break: facts are made by hand."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from pgvip.checks import base_backups, daemons, fence_devices, streaming, vips, wal_archive
from pgvip.checks.check_table import BY_NAME, CHECKS, OF_PEER, Check
from pgvip.checks.finding import Finding, Level, Perf, critical, gathered, judged, ok, unknown, warning
from pgvip.checks.runner import one, run
from pgvip.checks.subject import Facts, Limits, Skipped
from pgvip.cli import check as command
from pgvip.cli.main import main
from pgvip.config.load import parse
from pgvip.config.model import Config, FenceMethod
from pgvip.core.values import Durable, Pause, Vip
from pgvip.deadlines import now_s
from pgvip.errors import LinkError, ProbeError
from pgvip.probes import addresses as probe
from pgvip.system import packets
from pgvip.system.sql import NoAnswer
from tests.unit.config_text import edited
from tests.unit.core_world import record

CONFIG = parse(edited(), "db1")


@dataclass
class Known:
    """What a test says there is to see."""

    config: Config = CONFIG
    limits: Limits = field(default_factory=Limits)
    status: dict[str, Any] = field(default_factory=dict)
    later: dict[str, Any] | None = None
    explained: dict[str, Any] = field(default_factory=dict)
    durable: Durable | None = None
    identity: object = "a pair"
    in_recovery: bool = False
    alone: bool = False
    removed: str = ""
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    theirs: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def local(self, name: str, _params: object = ()) -> list[tuple[Any, ...]]:
        return self.rows[name]

    def peer(self, name: str, _params: object = ()) -> list[tuple[Any, ...]]:
        return self.theirs[name]

    @property
    def peer_fresh(self) -> bool:
        return (self.status["peer"]["age_s"] or 60.0) < 3.0

    def later_status(self) -> dict[str, Any] | None:
        return self.later

    @property
    def facts(self) -> Facts:
        return cast("Facts", self)


# --- findings ---------------------------------------------------------------------------------------------------


def test_a_value_is_judged_by_its_limits() -> None:
    levels = [judged("lag", Perf("lag", value, "B", 10, 20)).level for value in (9, 10, 19, 20)]
    assert levels == [Level.OK, Level.WARNING, Level.WARNING, Level.CRITICAL]


def test_several_problems_are_one_finding_of_the_worst_level() -> None:
    one = gathered("good", [warning("a", "do a"), critical("b", "do b"), unknown("c")], [Perf("x", 1)])
    assert (one.level, one.text, one.hint, len(one.perf)) == (Level.CRITICAL, "a; b; c", "do a; do b", 1)
    assert gathered("good", []) == Finding(Level.OK, "good")


# --- running ---------------------------------------------------------------------------------------------------


class Made(Check):
    """A check whose function is given."""

    def function(self) -> Any:
        return _FUNCTIONS[self.name]


def _refused(_facts: Facts) -> Finding:
    raise ProbeError("it is refused", "by someone", "let it in")


def _silent(_facts: Facts) -> Finding:
    raise NoAnswer("nobody answers")


def _skips(_facts: Facts) -> Finding:
    raise Skipped("nothing to see")


def _fails(_facts: Facts) -> Finding:
    raise PermissionError(13, "Permission denied")


HANGS = threading.Event()


def _hangs(_facts: Facts) -> Finding:
    HANGS.wait(30)
    return ok("too late")


_FUNCTIONS: dict[str, Any] = {
    "good": lambda _facts: ok("well"), "refused": _refused, "silent": _silent, "skips": _skips, "fails": _fails,
    "hangs": _hangs, "daemon": _refused,
}  # fmt: skip


def test_what_a_check_trips_over_is_its_finding_and_never_ok() -> None:
    waited: list[list[str]] = []
    checks = [Made(name, "", "") for name in _FUNCTIONS]
    try:
        found = run(checks, Known().facts, 0.5, on_wait=lambda names: waited.append(list(names)))
    finally:
        HANGS.set()
    assert [one.name for one in found] == list(_FUNCTIONS)
    levels = {one.name: one.level for one in found}
    assert levels == {
        "good": Level.OK, "refused": Level.UNKNOWN, "silent": Level.UNKNOWN, "skips": Level.OK, "fails": Level.UNKNOWN,
        "hangs": Level.UNKNOWN, "daemon": Level.CRITICAL,
    }  # fmt: skip
    assert all(one.text for one in found)
    assert found[1].hint == "let it in"


def test_a_fact_is_looked_at_once_also_when_it_fails() -> None:
    looks: list[str] = []
    facts = Facts(CONFIG, Limits())

    def look() -> str:
        looks.append("")
        raise ProbeError("no")

    for _ in range(3):
        with pytest.raises(ProbeError):
            facts.once("it", look)
    assert len(looks) == 1


def test_every_check_of_the_table_is_there() -> None:
    assert len(BY_NAME) == len(CHECKS) >= 30
    for check in CHECKS:
        assert callable(check.function())
        assert check.function().__doc__


# --- checks that the lab does not break ------------------------------------------------------------------------------


def status(**changes: Any) -> dict[str, Any]:
    """A healthy pair's status document, as far as checks read it."""
    server = {"state": "read-write", "replay_lag_s": 0.0}
    me = {"name": "db1", "vips": ["primary"], "version": "1", "override": "auto", "postgresql": server, "hold": ""}
    peer = {**me, "name": "db2", "vips": ["standby"], "age_s": 0.2}
    about = {"primary": "db1", "mode": "pair", "term": 4, "cause": "pair"}
    return {
        "role": "primary", "record": about, "confirmed": True, "me": me, "peer": peer, "warnings": [],
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, Level.OK),
        ({"confirmed": False}, Level.CRITICAL),
        ({"record": None}, Level.CRITICAL),
        ({"record": {"primary": "db1", "mode": "solo", "term": 5, "cause": "solo-by-fence"}}, Level.WARNING),
    ],
)
def test_role(change: dict[str, Any], level: Level) -> None:
    assert daemons.role(Known(status=status(**change)).facts).level is level


def test_where_the_peer_is_removed_nothing_is_asked_of_it_and_nothing_is_wrong() -> None:
    alone = status(record={"primary": "db1", "mode": "solo", "term": 5, "cause": "solo-by-consent"})
    known = Known(status=alone, removed="2026-01-01T00:00:00+00:00", alone=True, rows={"check_slots": []})
    assert daemons.role(known.facts).level is Level.OK
    assert streaming.slots(known.facts).level is Level.OK
    for name in OF_PEER:
        found = one(BY_NAME[name], known.facts)
        assert (found.level, found.text[:35]) == (Level.OK, "not checked: db2 is removed since 2026"[:35])


def test_a_role_without_a_running_server_is_critical() -> None:
    found = status()
    found["me"] = {**found["me"], "postgresql": {"state": "down", "replay_lag_s": None}}
    assert daemons.role(Known(status=found).facts).level is Level.CRITICAL


def test_alone_by_configuration_is_well() -> None:
    found = status(record={"primary": "db1", "mode": "solo", "term": 5, "cause": "x"})
    found["me"] = {**found["me"], "override": "primary_standby"}
    assert daemons.role(Known(status=found).facts).level is Level.OK


def test_hold_of_either_host_is_critical() -> None:
    mine = Durable(record(), hold="both wrote")
    assert daemons.hold(Known(status=status(), durable=mine).facts).level is Level.CRITICAL
    theirs = status()
    theirs["peer"] = {**theirs["peer"], "hold": "both wrote"}
    assert daemons.hold(Known(status=theirs, durable=Durable(record())).facts).level is Level.CRITICAL
    assert daemons.hold(Known(status=status(), durable=Durable(record())).facts).level is Level.OK


def test_pause_is_a_warning_with_its_reason() -> None:
    found = daemons.pause(Known(durable=Durable(record(), pause=Pause(1, active=True, reason="disks"))).facts)
    assert (found.level, "disks" in found.text, found.hint) == (Level.WARNING, True, "pgvip resume")


@pytest.mark.parametrize(
    ("there", "level"), [("150004", Level.OK), ("150005", Level.WARNING), ("160001", Level.CRITICAL)]
)
def test_versions(there: str, level: Level) -> None:
    known = Known(status=status(), rows={"check_version": [("150004",)]}, theirs={"check_version": [(there,)]})
    assert daemons.versions(known.facts).level is level


def test_another_pgvip_is_a_warning() -> None:
    found = status()
    found["peer"] = {**found["peer"], "version": "2"}
    known = Known(status=found, rows={"check_version": [("150004",)]}, theirs={"check_version": [("150004",)]})
    assert daemons.versions(known.facts).level is Level.WARNING


def test_takeover_names_the_blockers() -> None:
    blocked = {"blockers": [{"name": "eligible", "text": "db2 lags", "hint": "wait", "change": ""}], "outage_s": None}
    document = {"standby": "db2", "takeover_works": False, "scenarios": [blocked, blocked]}
    found = daemons.takeover(Known(explained=document).facts)
    assert (found.level, found.text) == (Level.WARNING, "db2 would not take over now: db2 lags")
    works = {**document, "takeover_works": True, "scenarios": [{"blockers": [], "outage_s": 4.2}]}
    assert daemons.takeover(Known(explained=works).facts).perf == (Perf("expected_outage", 4.2, "s"),)


def test_only_warnings_without_a_check_of_their_own_are_told_again() -> None:
    names = (("paused", "p"), ("vip-taken", "t"))
    found = status(warnings=[{"name": name, "text": text, "hint": ""} for name, text in names])
    told = daemons.warnings(Known(status=found).facts)
    assert (told.level, told.text) == (Level.WARNING, "vip-taken: t")
    assert told.hint


def replica(**changes: Any) -> tuple[Any, ...]:
    row = {"name": CONFIG.peer_application_name, "user": "pgvip_replication", "state": "streaming", "sync": "sync",
           "behind": 0, "lag": 0.0, **changes}  # fmt: skip
    return tuple(row.values())


@pytest.mark.parametrize(
    ("behind", "lag_s", "level"),
    [(0, 0.0, Level.OK), (8 << 20, 0.0, Level.WARNING), (16 << 20, 0.0, Level.CRITICAL), (0, 61.0, Level.CRITICAL)],
)
def test_lag_follows_the_limits_of_the_configuration(behind: int, lag_s: float, level: Level) -> None:
    known = Known(rows={"check_replication": [replica(behind=behind, lag=lag_s)]})
    found = streaming.lag(known.facts)
    assert found.level is level, found
    assert [perf.label for perf in found.perf] == ["lag_bytes", "lag_seconds"]


def test_lag_of_a_standby_is_by_the_primarys_position() -> None:
    known = Known(
        in_recovery=True, status=status(), limits=Limits(lag_warning_bytes=50),
        rows={"check_position": [(1000,)]}, theirs={"check_position": [(1060,)]},
    )  # fmt: skip
    found = streaming.lag(known.facts)
    assert (found.level, found.perf[0].value) == (Level.WARNING, 60)


def test_commits_that_do_not_wait_are_found() -> None:
    rows = {"check_replication": [replica()], "weak_commit": [("all databases", "bulk", "synchronous_commit=off")]}
    assert streaming.sync(Known(rows=rows).facts).level is Level.WARNING
    rows = {"check_replication": [replica(sync="async")], "weak_commit": []}
    assert streaming.sync(Known(rows=rows).facts).level is Level.CRITICAL


@pytest.mark.parametrize(
    ("slots", "level"),
    [
        ([("pgvip_db2", "physical", True, False, "reserved", 0)], Level.OK),
        ([], Level.CRITICAL),
        ([("pgvip_db2", "physical", False, False, "reserved", 0)], Level.WARNING),
        ([("pgvip_db2", "physical", True, False, "lost", None)], Level.CRITICAL),
        ([("pgvip_db2", "physical", True, False, "unreserved", 9)], Level.WARNING),
        ([("pgvip_db2", "physical", True, False, "reserved", 0), ("old", "logical", False, False, "reserved", 9)],
         Level.WARNING),
        ([("pgvip_db2", "physical", True, False, "reserved", 0), ("copy", "physical", False, True, "reserved", 9)],
         Level.OK),
    ],
)  # fmt: skip
def test_slots(slots: list[tuple[Any, ...]], level: Level) -> None:
    assert streaming.slots(Known(rows={"check_slots": slots}).facts).level is level


def test_an_archiver_that_worked_again_is_well() -> None:
    for failing, level in ((False, Level.OK), (True, Level.CRITICAL)):
        known = Known(rows={"check_archiver": [(5, 3, "0001", failing, 2.0)]})
        assert wal_archive.archiver(known.facts).level is level


@pytest.mark.parametrize(
    ("mine", "theirs", "age_s", "level"),
    [
        (["primary"], ["standby"], 0.2, Level.OK),
        (["primary", "standby"], ["standby"], 0.2, Level.CRITICAL),
        ([], ["standby"], 0.2, Level.CRITICAL),
        (["primary"], [], 0.2, Level.WARNING),
        (["standby"], ["primary"], 0.2, Level.CRITICAL),
        (["primary"], ["standby"], 60.0, Level.UNKNOWN),
        (["primary", "standby"], ["standby"], 60.0, Level.CRITICAL),
    ],
)
def test_holders(
    mine: list[str], theirs: list[str], age_s: float, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "held_vips", lambda _config: frozenset(Vip(name) for name in mine))
    found = status()
    found["peer"] = {**found["peer"], "vips": theirs, "age_s": age_s}
    assert vips.holders(Known(status=found, later=found if age_s < 3 else None).facts).level is level


def test_what_a_dead_peer_held_is_not_held_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last word is of before its power was cut; the survivor carries both addresses now."""
    monkeypatch.setattr(probe, "held_vips", lambda _config: frozenset(Vip))
    found = status(record={"primary": "db1", "mode": "solo", "term": 5, "cause": "solo-by-fence"})
    found["peer"] = {**found["peer"], "age_s": 4.0}
    assert vips.holders(Known(status=found).facts).level is Level.OK
    found["peer"] = {**found["peer"], "age_s": 0.1}
    assert vips.holders(Known(status=found, later=found).facts).level is Level.CRITICAL
    assert vips.holders(Known(status=found, later=None).facts).level is Level.OK, "fenced a moment ago"


def test_hosts_that_change_roles_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "held_vips", lambda _config: frozenset({Vip.PRIMARY}))
    early, late = status(), status()
    early["peer"] = {**early["peer"], "vips": ["primary"]}
    assert vips.holders(Known(status=early, later=late).facts).level is Level.OK
    known = Known(status=early, later=None)
    assert vips.holders(known.facts).level is Level.UNKNOWN


@pytest.mark.parametrize(("speaks", "answers", "level"), [
    (True, False, Level.CRITICAL), (True, True, Level.OK), (False, False, Level.OK),
])  # fmt: skip
def test_an_address_of_a_peer_that_was_just_fenced_misses_nobody(
    speaks: bool, answers: bool, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "held_vips", lambda _config: frozenset({Vip.PRIMARY}))
    asked: list[str] = []

    def who_has(_interface: str, address: str, *_: object) -> str:
        asked.append(address)
        return "02:00:00:00:00:02" if answers and asked.count(address) > 1 else ""

    monkeypatch.setattr(packets, "arp_who_has", who_has)
    known = Known(status=status(), later=status() if speaks else None)
    assert vips.arp(known.facts).level is level


def test_a_later_status_is_one_of_a_word_that_came_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are of the daemon's last round: a word on its way when the question was asked does not count."""
    settings = replace(CONFIG.settings, interval_s=0.1, check_times=3, heartbeat_s=0.05)
    facts = Facts(replace(CONFIG, settings=settings), Limits())
    began_s = now_s()
    heard_s = [began_s]

    def ask(_self: Facts, _command: str, _timeout_s: float) -> dict[str, Any]:
        if now_s() - began_s > 0.2 and speaks:
            heard_s.append(now_s())
        return status(peer={"name": "db2", "age_s": now_s() - heard_s[-1]})

    monkeypatch.setattr(Facts, "_ask", ask)
    speaks = False
    assert facts.later_status() is None
    speaks = True
    assert facts.later_status() is not None
    assert heard_s[-1] > began_s


def method(**changes: Any) -> FenceMethod:
    return replace(FenceMethod(agent="fence_ipmilan", timeout_s=40.0), **changes)


@pytest.mark.parametrize(
    ("one", "level"),
    [
        (method(), Level.OK),
        (method(timeout_s=20.0), Level.WARNING),
        (method(timeout_s=20.0, options=(("power_timeout", "10"),)), Level.OK),
        (method(agent="/opt/power/fence_own", timeout_s=5.0), Level.OK),
        (FenceMethod(command=("/usr/local/sbin/pdu",), timeout_s=5.0), Level.OK),
    ],
)
def test_a_fence_must_outlast_its_agent(one: FenceMethod, level: Level) -> None:
    config = replace(CONFIG, peer=replace(CONFIG.peer, fencing=(one,)), me=replace(CONFIG.me, fencing=()))
    assert fence_devices.timing(Known(config=config).facts).level is level


def power(tmp_path: Path, code: int, pause_s: float = 0.0) -> FenceMethod:
    """A device of the operator's, for real."""
    script = tmp_path / f"power-{code}"
    script.write_text(f"#!/bin/sh\nsleep {pause_s}\nexit {code}\n")
    script.chmod(0o755)
    return FenceMethod(command=(str(script),), timeout_s=5.0)


@pytest.mark.parametrize(
    ("codes", "age_s", "level"),
    [
        ([0], 0.1, Level.OK),
        ([0, 1], 0.1, Level.WARNING),
        ([1], 0.1, Level.CRITICAL),
        ([2], 0.1, Level.CRITICAL),
        ([2], 60.0, Level.OK),
        ([], 0.1, Level.WARNING),
    ],
)
def test_devices_are_tried_and_must_tell_the_truth(
    codes: list[int], age_s: float, level: Level, tmp_path: Path
) -> None:
    methods = tuple(power(tmp_path, code) for code in codes)
    found = status()
    found["peer"] = {**found["peer"], "age_s": age_s}
    config = replace(CONFIG, peer=replace(CONFIG.peer, fencing=methods))
    told = fence_devices.devices(Known(config=config, status=found, later=found).facts)
    assert told.level is level, told
    assert len(told.perf) == len(methods)


def test_a_peer_that_was_just_fenced_proves_no_device_wrong(tmp_path: Path) -> None:
    """Its last word is of before its power was cut."""
    config = replace(CONFIG, peer=replace(CONFIG.peer, fencing=(power(tmp_path, 2),)))
    told = fence_devices.devices(Known(config=config, status=status(), later=None).facts)
    assert told.level is Level.OK
    assert told.text.startswith("1 of 1 methods answer: db2 is off; ")
    assert "cannot say which machine it powers" in told.text


# --- base backups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "days", "level"),
    [(None, 2.0, Level.CRITICAL), (3600.0, 2.0, Level.OK), (200_000.0, 2.0, Level.WARNING), (200_000.0, 0.0, Level.OK)],
)
def test_a_good_backup_is_there_and_young_enough(age_s: float | None, days: float, level: Level) -> None:
    found = status() | {"backup": None}
    if age_s is not None:
        found["backup"] = {"host": "db2", "name": "20260101T000000Z", "age_s": age_s, "size_bytes": 5}
    config = replace(CONFIG, backup=replace(CONFIG.backup, max_age_days=days))
    assert base_backups.newest(Known(config=config, status=found).facts).level is level


def test_no_backup_is_no_fault_where_none_is_asked_for() -> None:
    with pytest.raises(Skipped):
        base_backups.newest(Known(config=CONFIG, status=status() | {"backup": None}).facts)
    elsewhere = replace(CONFIG, backup=replace(CONFIG.backup, keep=0))
    with pytest.raises(Skipped):
        base_backups.newest(Known(config=elsewhere, status=status()).facts)


# --- the command ------------------------------------------------------------------------------------------------


FOUND = [
    Finding(Level.OK, "well", perf=(Perf("a", 1),), name="daemon"),
    Finding(Level.UNKNOWN, "not known", name="role"),
    Finding(Level.WARNING, "lags | a lot", "more\nof it", "wait", (Perf("lag", 9, "B", 8, 16),), name="lag"),
]


def test_the_plugin_line_has_all_performance_data_and_the_problems_first() -> None:
    first, *rest = command.plugin_lines(Level.WARNING, FOUND)
    assert first == "PGVIP WARNING - lag: lags / a lot; role: not known | 'a'=1;; 'lag'=9B;8;16"
    assert rest == ["WARNING lag: lags / a lot HINT: wait", "UNKNOWN role: not known"]
    assert next(command.plugin_lines(Level.OK, FOUND[:1])) == "PGVIP OK - well | 'a'=1;;"


def test_the_list_shows_detail_and_mend_of_what_is_wrong() -> None:
    lines = list(command.lines(CONFIG, Level.WARNING, FOUND))
    assert lines[0].endswith("host db1: WARNING (1 ok, 1 warning, 1 unknown)")
    assert lines[1].split() == ["OK", "daemon", "well"]
    assert lines[-2:] == [" " * 19 + "DETAIL: more of it", " " * 19 + "HINT: wait"]


def test_one_cause_is_explained_once_and_a_mend_stays_as_it_is() -> None:
    why = ("it is down", "Nobody serves it.", "mount | grep it")
    found = [Finding(Level.CRITICAL, *why, name="daemon"), Finding(Level.UNKNOWN, f"not known: {why[0]}", *why[1:])]
    lines = list(command.lines(CONFIG, Level.CRITICAL, found))
    assert [line.strip() for line in lines[2:4]] == ["DETAIL: Nobody serves it.", "HINT: mount | grep it"]
    assert len(lines) == 5


def test_the_document_has_every_finding() -> None:
    document = json.loads(json.dumps(command.document(CONFIG, Level.WARNING, FOUND)))
    assert [one["level"] for one in document["checks"]] == ["OK", "UNKNOWN", "WARNING"]
    assert document["checks"][2]["perf"] == [
        {"label": "lag", "value": 9, "unit": "B", "warning": 8, "critical": 16}
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [["--only", "nothing"], ["--lag-warning", "many"], ["--disk-warning", "101"], ["--clock-warning", "-1"]],
)
def test_wrong_words_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", *words])
    assert ended.value.code == 2
    assert "pgvip check" in capsys.readouterr().err


def test_without_a_configuration_monitoring_gets_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (([], ""), (["--nagios"], "PGVIP UNKNOWN - "), (["--json"], '{"schema": 1, "level": "UNKNOWN"')):
        assert main(["--config", str(tmp_path / "none"), "check", *words]) == Level.UNKNOWN
        assert capsys.readouterr().out.startswith(said)


def test_the_list_of_checks_looks_at_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "/does/not/exist", "check", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BY_NAME)


def test_a_daemon_that_is_down_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = Facts(CONFIG, Limits())
    monkeypatch.setattr(facts, "_known", {"identity": "a pair", "status": LinkError("the daemon does not run")})
    (found,) = run([BY_NAME["daemon"]], facts)
    assert (found.level, found.text) == (Level.CRITICAL, "the daemon does not run")
