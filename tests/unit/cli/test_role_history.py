"""`pgvip history --roles`: by the event files of a host, which hold both hosts' events."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgvip.cli import history, role_history
from pgvip.events.event_table import EVENTS, Event


def change(at: str, host: str, roles: str, term: int, cause: str = "init") -> Event:
    old, _, new = roles.partition("->")
    fields = (("old", old), ("new", new), ("cause", cause))
    return Event("role-change", EVENTS["role-change"].level, roles, at, host, "shop", term, fields)


EVENTS_OF_BOTH = [
    change("2026-01-01T10:00:00.000Z", "alpha", "none->primary_standby", 2),
    change("2026-01-01T10:05:00.000Z", "beta", "none->standby", 4),
    change("2026-01-01T10:05:01.000Z", "alpha", "primary_standby->primary", 4),
    change("2026-01-02T10:05:01.000Z", "beta", "standby->primary_standby", 5, "take-over-by-fence"),
]
NOW = datetime(2026, 1, 2, 11, 5, 1, tzinfo=UTC)


def test_each_role_lasts_until_the_next_of_its_host() -> None:
    rows = role_history.changes(EVENTS_OF_BOTH, NOW)
    assert [(one["host"], one["role"], one["lasted_s"], one["now"]) for one in rows] == [
        ("alpha", "primary_standby", 301.0, False),
        ("beta", "standby", 86401.0, False),
        ("alpha", "primary", 90000.0, True),
        ("beta", "primary_standby", 3600.0, True),
    ]


def test_a_time_of_the_peer_that_is_none_breaks_nothing() -> None:
    odd = replace(EVENTS_OF_BOTH[1], at="noon\x1b[2J")
    rows = role_history.changes([EVENTS_OF_BOTH[0], odd], NOW)
    assert rows[1]["lasted_s"] is None
    assert len(role_history.table(rows)) == 3


def test_the_command_reads_the_files_of_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(role_history, "state_directory", lambda _args: tmp_path)
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)

    def run(*words: str) -> int:
        return history.run(parser.parse_args(["--roles", *words], argparse.Namespace(config=None, host=None)))

    assert run() == 1
    assert "no change of role" in capsys.readouterr().out
    (tmp_path / "events").mkdir()
    for host in ("alpha", "beta"):
        own = [one for one in EVENTS_OF_BOTH if one.host == host]
        lines = [json.dumps(replace(one, seq=at, series="s").document()) for at, one in enumerate(own, 1)]
        (tmp_path / "events" / f"{host}.jsonl").write_text("\n".join([*lines, ""]))
    assert run() == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["at", "host", "role", "for", "term", "before", "cause"]
    assert " ".join(shown[4].split()).endswith("so far 5 standby take-over-by-fence")
    assert "primary, alone" in shown[4]
    assert run("--json", "--since", "2026-01-02T00:00:00Z") == 0
    assert [one["term"] for one in json.loads(capsys.readouterr().out)["roles"]] == [5]
