"""The metrics: read by Prometheus' own parser, named by its rules, listed in the documentation, used by the rules."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pgvip.core.actions import Rejoin, Result, WriteState
from pgvip.core.decide import begin, decide
from pgvip.core.knowledge import Failures
from pgvip.core.observations import Observations
from pgvip.core.settings import Identity, Inputs
from pgvip.core.values import BootFacts, Durable, Mode
from pgvip.events.event_table import Event, Level
from pgvip.web.counts import NAMES_MAX, OTHER, EventCounts
from pgvip.web.exposition import Family, expose
from tests.knowing import knowing
from tests.unit.status.test_document import NOW_S, RECORD
from tests.unit.web_world import SETTINGS, Document, World, healthy, primary, says, solo, standby

REPOSITORY = Path(__file__).parents[3]
UNITS = ("_seconds", "_bytes", "_total", "_info")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def families(document: Document | None, **changes: Any) -> list[Any]:
    text = World(document, **changes).get("/metrics").body.decode()
    return list(text_string_to_metric_families(text))


def samples(document: Document | None, **changes: Any) -> dict[str, float]:
    """By name, with its labels beside pair and host as `name{label}`."""
    found = {}
    for family in families(document, **changes):
        for one in family.samples:
            assert (one.labels.pop("pair"), one.labels.pop("host")) == ("shop", "alpha")
            labels = ",".join(one.labels.values())
            found[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
    return found


def failing(knowledge: Any) -> None:
    knowledge.work = replace(knowledge.work, failures={Rejoin: Failures(3, NOW_S + 5, 'said "no"\\')})


OBSERVING = {**healthy(), "observed": {"counts": {"Promote": 1}, "would": []}}
EVERY = [healthy(), standby(), solo(), primary(says(), change=failing), primary(None, record=None), OBSERVING, None]


def names() -> set[str]:
    return {one.name for document in EVERY for family in families(document) for one in family.samples}


@pytest.mark.parametrize("number", range(len(EVERY)))
def test_the_parser_takes_it_and_every_family_has_its_type_and_help(number: int) -> None:
    found = families(EVERY[number])
    assert len({family.name for family in found}) == len(found)
    for family in found:
        assert family.type in ("gauge", "counter"), family.name
        assert family.documentation.endswith("."), family.name
        keys = [(one.name, tuple(sorted(one.labels.items()))) for one in family.samples]
        assert len(set(keys)) == len(keys), family.name


def test_names_and_units_are_by_the_conventions() -> None:
    for document in EVERY:
        for family in families(document):
            for one in family.samples:
                assert re.fullmatch(r"(pgvip|process)_[a-z][a-z_]*", one.name)
                assert (family.type == "counter") is one.name.endswith("_total"), one.name
                assert not re.search(r"_(ms|milliseconds|kb|mb|count|percent)\b", one.name), one.name
                assert set(one.labels) <= {
                    "pair", "host", "role", "state", "vip", "warning", "action", "event", "change", "version",
                    "primary", "mode", "cause", "certificate",
                }  # fmt: skip


def test_a_healthy_pair_in_numbers() -> None:
    found = samples(healthy())
    assert found["pgvip_serves_primary"] == 1
    assert found["pgvip_serves_standby"] == 0
    assert found["pgvip_role{primary}"] == 1
    assert sum(value for name, value in found.items() if name.startswith("pgvip_role{")) == 1
    assert found["pgvip_peer_role{standby}"] == 1
    assert (found["pgvip_vip_held{primary}"], found["pgvip_vip_held{standby}"]) == (1, 0)
    assert found["pgvip_postgres_state{read-write}"] == 1
    assert found["pgvip_replication_lag_bytes"] == 100
    assert found["pgvip_replication_lag_seconds"] == 0.25
    assert found["pgvip_replication_sync"] == 1
    assert found["pgvip_wal_position_bytes"] == 1000
    assert found["pgvip_loop_longest_seconds"] == 0.01235
    assert found["process_resident_memory_bytes"] == 67_000_000
    assert found["pgvip_events_total{role}"] == 2
    assert found["pgvip_changes_total{take-over-by-fence}"] == 1
    assert found["pgvip_record_info{alpha,pair,init}"] == 1
    assert found["pgvip_warnings"] == 0


def test_what_is_seen_beside_the_loop() -> None:
    found = samples(healthy())
    assert found["pgvip_archive_failing"] == 0
    assert found["pgvip_archive_failures_total"] == 7
    assert found["pgvip_archive_last_failure_age_seconds"] == 900
    assert found["pgvip_archive_last_success_age_seconds"] == 1.5
    assert found["pgvip_archive_waiting_files"] == 3
    assert found["pgvip_archive_oldest_waiting_age_seconds"] == 12.5
    assert found["pgvip_backup_age_seconds"] == 7200
    assert found["pgvip_backup_size_bytes"] == 3 << 30
    assert (found["pgvip_isolated"], found["pgvip_peer_kept_off"]) == (0, 0)
    assert (found["pgvip_watchdog_armed"], found["pgvip_watchdog_required"]) == (1, 0)
    assert (found["pgvip_drill_ok"], found["pgvip_drill_outage_seconds"]) == (1, 1.25)
    assert found["pgvip_drill_timestamp_seconds"] == 1767268800
    assert found["pgvip_switchover_scheduled_timestamp_seconds"] == 1767321000


def test_of_a_removed_peer_nothing_is_missing() -> None:
    healthy_one = healthy()
    local = {**healthy_one["local"], "peer_removed": "2026-01-01T00:00:00+00:00"}
    found = samples({**healthy_one, "local": local})
    assert found["pgvip_peer_removed"] == 1
    assert not {"pgvip_peer_seen_age_seconds", "pgvip_archive_mounted"} & found.keys()
    assert samples(healthy_one)["pgvip_peer_removed"] == 0


def test_the_ends_of_certificates_are_told() -> None:
    found = samples({**healthy(), "certificates": {"http": "2026-01-01T12:00:00+00:00", "postgresql": "no date"}})
    assert found["pgvip_certificate_expiry_timestamp_seconds{http}"] == 1767268800
    assert "pgvip_certificate_expiry_timestamp_seconds{postgresql}" not in found


def test_the_standby_does_not_tell_the_primarys_archiving_as_its_own() -> None:
    told = {one.name for family in families(standby()) for one in family.samples}
    assert not {name for name in told if name.startswith("pgvip_archive_") and name != "pgvip_archive_mounted"}
    assert "pgvip_backup_age_seconds" in told


def test_without_an_archive_a_backup_a_drill_or_a_schedule_there_are_no_such_samples() -> None:
    document = {**healthy(), "archiving": None, "backup": None, "drill": None, "scheduled": None}
    document["watchdog"] = {"mode": "required", "armed": None}
    found = samples(document)
    assert not [name for name in found if re.match(r"pgvip_(archive_(?!mounted)|backup|drill|switchover)", name)]
    assert found["pgvip_watchdog_required"] == 1
    assert "pgvip_watchdog_armed" not in found
    odd = samples({**healthy(), "drill": {"at": "noon", "ok": False, "switchovers": []}})
    assert odd["pgvip_drill_ok"] == 0
    assert not {"pgvip_drill_timestamp_seconds", "pgvip_drill_outage_seconds"} & odd.keys()


def test_what_is_not_known_is_left_out() -> None:
    found = samples(primary(None, record=None, seen=Observations()))
    for name in ("pgvip_term", "pgvip_vip_held{primary}", "pgvip_peer_seen_age_seconds", "pgvip_wal_position_bytes",
                 "pgvip_replication_streaming", "pgvip_replication_lag_bytes", "pgvip_solo"):  # fmt: skip
        assert name not in found, name
    assert found["pgvip_peer_role{unknown}"] == found["pgvip_role{none}"] == 1
    assert found["pgvip_warning{no-record}"] == 1


def test_the_standby_and_the_survivor() -> None:
    behind = {one.name: one.value for family in families(standby()) for one in family.samples}
    assert behind["pgvip_replication_lag_bytes"] == 200
    assert behind["pgvip_wal_replay_position_bytes"] == 800
    assert behind["pgvip_replication_sync"] == behind["pgvip_serves_standby"] == behind["pgvip_eligible"] == 1
    alone = samples(solo())
    assert alone["pgvip_solo"] == alone["pgvip_role{primary_standby}"] == alone["pgvip_warning{peer-silent}"] == 1
    assert alone["pgvip_replication_sync"] == 0
    assert alone["pgvip_peer_seen_age_seconds"] == 93


def test_nobody_serves_by_what_may_be_over() -> None:
    assert samples(healthy(), age_s=4.0)["pgvip_serves_primary"] == 0
    assert samples(healthy(), age_s=4.0)["pgvip_loop_age_seconds"] == 4.0


def test_before_the_first_round() -> None:
    found = samples(None)
    assert "pgvip_loop_age_seconds" not in found
    assert "pgvip_serves_primary" not in found
    assert found["pgvip_events_total{claim}"] == 1


def test_texts_are_quoted() -> None:
    family = Family("pgvip_x", "gauge", "A\\b\nc.")
    family.add(1, label='a"b\\c\nd')
    [parsed] = text_string_to_metric_families(expose([family], {}))
    assert parsed.samples[0].labels == {"label": 'a"b\\c\nd'}
    assert parsed.documentation == "A\\b\nc."


# --- counters -----------------------------------------------------------------------------------------


def heard(event: str, *fields: tuple[str, str]) -> Event:
    return Event(event, Level.INFO, "", "2026-11-25T12:00:00Z", "alpha", fields=fields)


def test_events_are_counted_and_changes_by_their_cause() -> None:
    counts = EventCounts()
    for event in (
        heard("role"), heard("role"), heard("record", ("cause", "take-over-by-fence")), heard("record"),
        heard("record", ("cause", "forced by an operator; db1 was not fenced")), heard("claim", ("cause", "silence")),
    ):  # fmt: skip
        counts.hear(event)
    assert counts.read().events == {"role": 2, "record": 3, "claim": 1}
    assert counts.read().changes == {"take-over-by-fence": 1, "forced": 1}


def test_a_record_written_by_the_core_is_counted_by_the_name_of_its_change() -> None:
    new = replace(RECORD, term=6, mode=Mode.SOLO, cause="solo-by-fence")
    knowledge = begin(Identity("b", "r", 0.0, "p", "7"), Durable(RECORD, served=True), BootFacts(confirmed=True))
    write = WriteState(Durable(new, served=True))
    knowledge = knowing(knowledge, writing=write.durable, running=(write,))
    result = Result(write, ok=True, at_s=NOW_S)
    decision = decide(knowledge, Inputs(Observations(), results=(result,)), SETTINGS, NOW_S)
    counts = EventCounts()
    for note in decision.notes:
        counts.hear(heard(note.event, *note.fields))
    assert counts.read().changes == {"solo-by-fence": 1}


def test_names_have_a_limit() -> None:
    counts = EventCounts()
    for number in range(NAMES_MAX + 50):
        counts.hear(heard(f"event-{number}"))
    assert len(counts.read().events) == NAMES_MAX + 1
    assert counts.read().events[OTHER] == 50


# --- what is built on them ----------------------------------------------------------------------------


def used(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:pgvip|process)_[a-z_]+\b", expression))


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((REPOSITORY / "conf/prometheus-alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_every_alert_is_whole_and_names_metrics_that_are() -> None:
    known = names()
    assert len({rule["alert"] for rule in rules()}) == len(rules()) > 10
    for rule in rules():
        assert used(rule["expr"]) <= known, rule["alert"]
        assert used(rule["expr"]) or rule["alert"] == "PgvipDaemonDown"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_warnings_that_alerts_name_are_the_cores() -> None:
    core = "".join(path.read_text() for path in (REPOSITORY / "pgvip/core").glob("*.py"))
    for rule in rules():
        for name in re.findall(r'warning="([^"]+)"', rule["expr"]):
            assert f'"{name}"' in core, rule["alert"]


def test_the_dashboard_names_metrics_that_are() -> None:
    dashboard = json.loads((REPOSITORY / "conf/grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [one["expr"] for one in dashboard["annotations"]["list"]]
    assert len(expressions) > 15
    assert set().union(*map(used, expressions)) <= names()
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells: list[tuple[int, int]] = []
    for at in places:
        cells += itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
    assert len(set(cells)) == len(cells), "panels overlap"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


def test_every_metric_is_documented_and_no_other() -> None:
    page = (REPOSITORY / "docs/http.md").read_text()
    assert {name for name in used(page) if not name.endswith("_")} == names()
