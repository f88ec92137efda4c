"""`pgvip status`: the text of known documents, and what is left when the daemon is down."""

from __future__ import annotations

import copy
import doctest
import io
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pgvip.cli import colour, output
from pgvip.cli.status_text import render, render_styled
from pgvip.core.observations import Observations
from pgvip.core.values import Durable, Pause
from pgvip.errors import Exit
from pgvip.state.record import PairIdentity, RecordStore, save_identity
from pgvip.text import writing as spoken
from pgvip.text.writing import printable
from tests.unit.cli.test_orders import Daemon
from tests.unit.status.test_document import RECORD, built, decided, healthy
from tests.unit.web_world import BESIDE

if TYPE_CHECKING:
    from pathlib import Path


def text(document: dict[str, Any], *, verbose: bool = False) -> str:
    return "\n".join(render(document, verbose=verbose))


def row(document: dict[str, Any], title: str) -> str:
    (line,) = [one for one in render(document) if one.strip().startswith(title)]
    return " ".join(line.split())


def test_healthy_pair() -> None:
    document = healthy()
    assert render(document)[0] == (
        "pair shop (sync), term 4: alpha is primary, pair, sync since 2026-01-01 00:00:00 UTC (init)"
    )
    assert row(document, "role") == "role primary standby"
    assert row(document, "addresses") == "addresses 10.0.0.10 (primary) 10.0.0.11 (standby)"
    assert row(document, "PostgreSQL") == "PostgreSQL read-write standby, streaming"
    assert row(document, "may take over") == "may take over - yes"
    assert row(document, "heard") == "heard - 0.40 s ago"
    lag = "100 bytes behind, replay 250 ms behind, 100 bytes to replay"
    assert row(document, "replication") == f"replication beta: streaming, sync, {lag}"
    assert row(document, "fencing of beta").endswith("does not answer: no route to the BMC")
    assert row(document, "archive of beta").endswith("not checked yet")
    assert row(document, "peer link") == "peer link up for 1 min 40 s, 2 of 2 connections"


def test_a_removed_peer_is_one_line() -> None:
    document = healthy()
    document["local"]["peer_removed"] = "2026-01-01T00:00:00+00:00"
    shown = text(document)
    assert "peer removed since 2026-01-01" in shown
    for title in ("replication", "fencing of", "archive of"):
        assert title in text(healthy())
        assert title not in shown


def test_archiving_the_backup_and_a_schedule_are_shown_on_both_hosts() -> None:
    document = {**healthy(), **copy.deepcopy(BESIDE)}
    waits = "3 WAL files wait, the oldest for 12 s, last failure 15 min 0 s ago"
    assert row(document, "archiving") == f"archiving alpha: {waits}"
    assert row(document, "base backup") == "base backup 20260101T000000Z on beta, 2 h 0 min old, 3.0 GB"
    ordered = "switchover at 2026-01-02 02:30:00 UTC, ordered by ann on beta at 2026-01-01 22:00:00 UTC"
    assert row(document, "scheduled") == f"scheduled {ordered}"
    document["archiving"].update(failing=True, age_s=31.0)
    document["scheduled"].update(age_s=31.0)
    assert row(document, "archiving") == f"archiving ? alpha: FAILS, {waits}"
    assert row(document, "scheduled") == f"scheduled ? {ordered}"
    quiet = {"waiting_files": 0, "oldest_age_s": None, "failed_age_s": None, "failing": False, "age_s": 1.0}
    document["archiving"].update(quiet)
    assert row(document, "archiving") == "archiving alpha: no WAL file waits"
    nothing = text({**document, "archiving": None, "backup": None, "scheduled": None})
    assert not {"archiving", "base backup", "scheduled"} & set(nothing.split("  "))


def test_former_vips_are_shown_while_they_are_served() -> None:
    former = [
        {"vip": "primary", "address": "10.0.0.8", "left_s": 250.4},
        {"vip": "standby", "address": "10.0.0.9", "left_s": 7.0},
    ]
    document = {**healthy(), "former_addresses": former}
    assert row(document, "former primary VIP") == "former primary VIP 10.0.0.8, served for 4 min 10 s more"
    assert row(document, "former standby VIP") == "former standby VIP 10.0.0.9, served for 7 s more"
    assert "former" not in text(healthy())
    del document["former_addresses"]  # a daemon that knows none
    assert "former" not in text(document)


def test_nothing_known_is_shown_as_unknown_and_breaks_nothing() -> None:
    document = built(decided(Durable(), Observations(), confirmed=False), Observations())
    assert render(document)[0] == "pair shop (sync): no record on this host"
    assert row(document, "addresses") == "addresses unknown unknown"
    assert row(document, "heard") == "heard - never"
    assert "no-record: " in text(document, verbose=True)
    assert "hint: " in text(document)


def test_roles_by_configuration_and_the_last_drill_are_shown() -> None:
    document = healthy()
    assert "role by configuration" not in text(document)
    document["peer"]["override"] = "standby"
    document["drill"] = {"at": "2026-01-02T03:04:05+00:00", "ok": True, "lost": 0, "switchovers": [{"outage_s": 0.5}]}
    assert row(document, "role by") == "role by configuration auto standby"
    shown = "last drill 2026-01-02 03:04:05 UTC: kept its limits, write outage 0.50 s, 0 rows lost"
    assert row(document, "last drill") == shown
    document["drill"] = {"failure": "interrupted"}
    assert row(document, "last drill").startswith("last drill unknown: FAILED (interrupted), write outage unknown")


def test_what_a_silent_peer_said_is_marked() -> None:
    document = healthy()
    document["peer"]["age_s"] = 4.0
    assert "?" not in row(document, "PostgreSQL")
    document["peer"]["age_s"] = 6.0
    assert row(document, "PostgreSQL") == "PostgreSQL read-write ? standby, streaming"
    assert row(document, "heard") == "heard - 6 s ago; ?: as it was then"


def everything_wrong() -> dict[str, Any]:
    """A document with something in every part."""
    document = healthy()
    document.update(
        confirmed=False,
        pause={"active": True, "reason": "upgrade", "at": "noon", "serial": 1},
        warnings=[
            {"name": "hold", "text": "both wrote", "hint": "pgvip hold clear"},
            {"name": "x", "text": "y", "hint": ""},
        ],
        blockers=[{"change": "takeover-by-fence", "why": "not eligible"}],
        loop={"rounds": 1, "longest_ms": 12.5, "latest_ms": 1.0, "rounds_per_s": 2.0},
    )
    document["me"].update(hold="both wrote", confirmed=False)
    document["peer"].update(age_s=90.0)
    document["me"]["postgresql"].update(healthy=False)
    document["fencing"].update(configured=False)
    document["archive"].update(ok=False, reason="stale handle")
    document["replication"].update(slot_lost=True)
    document["link"].update(connected=False, last_error="refused", listen_error="cannot listen")
    document["doing"].update(
        claim={"change": "takeover-by-fence", "why": "silence", "tries": 2, "fenced": False, "age_s": 3.0},
        giving_up={"change": "solo", "age_s": 1.0},
        switchover=True,
        actions=["Fence"],
        at_work=["power the peer off"],
        failures=[
            {"action": "Fence", "what": "power the peer off", "times": 2, "text": "timed out", "retry_in_s": 5.0}
        ],
    )
    return document


def test_everything_that_can_be_wrong_has_its_words() -> None:
    document = everything_wrong()
    shown = text(document, verbose=True)
    for words in (
        "not confirmed since this boot", "primary (not confirmed)", "1 min 30 s ago; ?: as it was then",
        "read-write, not healthy", "none: no takeover on silence", "does not answer: stale handle",
        "its slot has lost WAL", "down; refused; cannot listen", "upgrade (since noon)", "hold on alpha",
        "takeover-by-fence because of silence, try 2, for 3 s", "solo, for 1 s",
        "power the peer off (2 times, again in 5 s): timed out",
        "warnings (2)", "hint: pgvip hold clear", "longest round 12.5 ms", "not eligible",
    ):  # fmt: skip
        assert words in shown, words
    assert "why no change" not in text(document)


def test_every_value_may_be_null_for_a_host_that_was_never_heard() -> None:
    document = healthy()
    unknown = built(decided(Durable(RECORD), Observations()), Observations())
    document["peer"] = copy.deepcopy(unknown["peer"])
    assert "unknown" in text(document)


def test_status_of_a_running_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon(tmp_path)
    daemon.answer = lambda reply: reply({"ok": True, "status": healthy()})
    daemon.server.start()
    try:
        assert daemon.run("status") == 0
        assert "alpha is primary" in capsys.readouterr().out
        assert daemon.run("status", "--json") == 0
        printed = capsys.readouterr().out
        assert json.loads(printed) == healthy()
        assert printed.startswith('{"schema": 1, "pair": ')
    finally:
        daemon.server.close()


@pytest.mark.parametrize(
    ("names", "code"),
    [([], 0), (["paused"], 0), (["peer-silent"], 1), (["peer-silent", "database-down"], 7), (["of-a-later-one"], 1)],
)
def test_the_exit_code_says_how_grave_the_warnings_are(tmp_path: Path, names: list[str], code: int) -> None:
    daemon = Daemon(tmp_path)
    document = healthy() | {"warnings": [{"name": name, "text": "x", "hint": ""} for name in names]}
    daemon.answer = lambda reply: reply({"ok": True, "status": document})
    daemon.server.start()
    try:
        assert daemon.run("status", "--exit-code") == code
        assert daemon.run("status", "--exit-code", "--json") == code
        assert daemon.run("status") == 0
    finally:
        daemon.server.close()


def test_before_the_second_host_is_there_the_next_step_is_named() -> None:
    document = healthy()
    document["record"].update(cause="pgvip init", mode="solo")
    document["peer"].update(age_s=None)
    assert row(document, "heard") == "heard - never; not set up yet: pgvip clone there"
    document["record"].update(cause="takeover")
    assert row(document, "heard") == "heard - never"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "no_colour", "term", "coloured"),
    [
        (Terminal, "", "xterm", True),
        (Terminal, "1", "xterm", False),
        (Terminal, "", "dumb", False),
        (io.StringIO, "", "xterm", False),
    ],
)
def test_a_terminal_gets_colours_unless_it_wants_none(
    monkeypatch: pytest.MonkeyPatch, kind: type[io.StringIO], no_colour: str, term: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", term)
    document = healthy()
    names = ("database-down", "peer-silent", "paused")
    document["warnings"] = [{"name": name, "text": "evil \x1b[2J", "hint": ""} for name in names]
    stream = kind()
    colour.put_styled(render_styled(document), stream)
    shown = stream.getvalue()
    assert ("\x1b[1;31m  database-down: evil" in shown) is coloured
    assert ("\x1b[1;33m  peer-silent: evil" in shown) is coloured
    assert "\x1b[2J" not in shown
    plain = re.sub("\x1b\\[[0-9;]*m", "", shown)
    assert plain.splitlines() == [printable(line) for line in render(document)]


def test_without_the_daemon_the_record_is_still_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon(tmp_path)
    assert daemon.run("status") == Exit.UNREACHABLE
    captured = capsys.readouterr()
    assert "record      none" in captured.out
    assert "This host belongs to no pair" in captured.err
    assert "systemctl start pgvip" not in captured.err
    (tmp_path / "state").mkdir()
    save_identity(tmp_path / "state" / "identity.json", PairIdentity("pair-1", "70", "alpha", "beta"))
    RecordStore(tmp_path / "state" / "record.json").save(Durable(replace(RECORD, cause="takeover")))
    assert daemon.run("status") == Exit.UNREACHABLE
    captured = capsys.readouterr()
    assert "term 4: alpha is primary, pair (takeover)" in captured.out
    assert "systemctl start pgvip" in captured.err
    assert daemon.run("status", "--json") == Exit.UNREACHABLE
    document = json.loads(capsys.readouterr().out)
    assert document["record"]["term"] == 4
    assert document["daemon"]["ok"] is False


@pytest.mark.parametrize("case", ["fenced", "no fence", "paused", "down"])
def test_beside_a_stopped_daemon_the_next_stop_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    daemon = Daemon(tmp_path)
    (tmp_path / "state").mkdir()
    save_identity(tmp_path / "state" / "identity.json", PairIdentity("pair-1", "70", "alpha", "beta"))
    RecordStore(tmp_path / "state" / "record.json").save(Durable(RECORD, pause=Pause(1, active=case == "paused")))
    file = tmp_path / "pgvip.toml"
    assert 'fencing = "none"' in file.read_text()
    if case != "no fence":
        file.write_text(file.read_text().replace('fencing = "none"', 'fencing = [{ command = ["/x", "1"] }]', 1))
    monkeypatch.setattr("pgvip.cli.status._server", lambda _config: "down" if case == "down" else "runs as standby")
    assert daemon.run("status") == Exit.UNREACHABLE
    assert ("run pgvip leave first" in capsys.readouterr().out) is (case == "fenced")


def test_examples_in_the_output_module() -> None:
    for module in (output, spoken, colour):
        assert doctest.testmod(module).failed == 0


def test_no_line_ends_in_blanks_and_the_hosts_columns_align() -> None:
    lines = render(healthy())
    assert all(line == line.rstrip() for line in lines)
    starts = {line.index(word) for line, word in zip(lines[2:5], ("beta", "standby", "10.0.0.11"), strict=True)}
    assert len(starts) == 1


def test_a_daemon_that_only_observes_says_so_first_and_what_it_would_have_done() -> None:
    would = [{"at": "2026-01-01T00:00:00Z", "action": "Fence", "text": "power the peer off"}]
    lines = render({**healthy(), "mode": "observe", "observed": {"counts": {"Fence": 1}, "would": would}})
    assert lines[0].startswith("OBSERVE: pgvip decides and reports, and changes nothing")
    assert "  2026-01-01 00:00:00 UTC  would power the peer off" in lines
    assert "  nothing so far" in render({**healthy(), "observed": {"counts": {}, "would": []}})
