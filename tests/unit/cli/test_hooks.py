"""`pgvip hooks`: what is there and why it is not called; a try of one event's hooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgvip.checks import daemons
from pgvip.checks.configuration import host_problems, host_warnings
from pgvip.checks.finding import Level
from pgvip.cli import config_check
from pgvip.cli.main import main
from pgvip.cli.steps import warn_of_host
from pgvip.config.load import load
from pgvip.errors import Exit
from pgvip.system import capabilities
from tests.unit.checks.test_checks import Known
from tests.unit.cli.test_orders import CONFIG


class Place:
    """A configuration with a directory of hooks."""

    def __init__(self, directory: Path) -> None:
        self.hooks = directory / "hooks.d"
        self.hooks.mkdir(mode=0o755)
        self.file = directory / "pgvip.toml"
        more = f'[hooks]\ndirectory = "{self.hooks}"\ntimeout_s = 0.5\nveto_timeout_s = 0.5\n'
        self.file.write_text(CONFIG.format(directory=directory) + more)

    def add(self, event: str, name: str, script: str = "exit 0", mode: int = 0o755) -> Path:
        path = self.hooks / event / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return path

    def add_alert(self, script: str = "exit 0", mode: int = 0o755) -> Path:
        path = self.add("..", "alert", script, mode).resolve()
        self.file.write_text(self.file.read_text() + f'alert = "{path}"\n')
        return path

    def run(self, *words: str) -> int:
        return main(["--config", str(self.file), "--host", "alpha", "hooks", *words])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_list_says_what_is_not_called(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add("role-change", "20-b")
    place.add("role-change", "10-a", mode=0o777)
    place.add("veto-takeover", "10-v")
    assert place.run("list") == Exit.OK
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"veto-takeover: {place.hooks}/veto-takeover/10-v"
    assert out[1].startswith(f"role-change: {place.hooks}/role-change/10-a  NOT CALLED: ")
    assert out[2] == f"role-change: {place.hooks}/role-change/20-b"
    assert place.run("list", "veto-takeover", "--json") == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert [hook["path"] for hook in document["hooks"]] == [f"{place.hooks}/veto-takeover/10-v"]


def test_an_empty_list_says_where_it_looked(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("list") == Exit.OK
    assert str(place.hooks) in capsys.readouterr().out


def test_a_try_calls_them_with_made_up_words(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    told = 'echo "$* $PGVIP_TEST $PGVIP_OLD_ROLE $PGVIP_ROLE $PGVIP_PRIMARY_VIP" > "$0.said"'
    path = place.add("role-change", "10", told)
    assert place.run("test", "role-change") == Exit.OK
    assert "10: done (" in capsys.readouterr().out
    assert path.with_name("10.said").read_text() == "role-change primary shop 1 standby primary 10.0.0.10\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has any")
def test_they_are_called_with_the_capabilities_of_the_daemon(place: Place) -> None:
    path = place.add("role-change", "10", 'grep CapEff /proc/self/status > "$0.said"')
    program = [sys.executable, "-m", "pgvip.cli.main", "--config", str(place.file), "--host", "alpha"]
    subprocess.run([*program, "hooks", "test", "role-change"], check=True, timeout=30)
    held = int(path.with_name("10.said").read_text().split()[1], 16)
    assert not held & sum(1 << number for number in capabilities.GIVEN_UP.values())
    assert held


@pytest.mark.parametrize("script", ["exit 3", "sleep 60"])
def test_one_that_fails_or_hangs_is_exit_1(script: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add("fenced", "10", script)
    place.add("fenced", "20")
    assert place.run("test", "fenced", "--json") == Exit.FAILED
    document = json.loads(capsys.readouterr().out)
    assert [hook["ok"] for hook in document["hooks"]] == [False, True]
    assert document["ok"] is False


def test_a_refused_one_is_exit_1_and_is_not_called(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add("fenced", "10", 'touch "$0.called"', 0o777)
    assert place.run("test", "fenced") == Exit.FAILED
    assert "refused: " in capsys.readouterr().out
    assert not (place.hooks / "fenced" / "10.called").exists()


def test_a_dry_run_calls_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add("fenced", "10", 'touch "$0.called"')
    assert place.run("test", "fenced", "--dry-run") == Exit.OK
    assert "10: would call" in capsys.readouterr().out
    assert not (place.hooks / "fenced" / "10.called").exists()


def test_a_veto_hook_s_word_is_shown(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add("veto-takeover", "10")
    place.add("veto-takeover", "20", "echo a resync; exit 1")
    assert place.run("test", "veto-takeover") == Exit.OK
    out = capsys.readouterr().out
    assert "10: allows the takeover" in out
    assert "20: vetoes the takeover: a resync" in out


def test_the_alert_hook_is_listed_and_tried_as_the_others(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.add_alert('echo "$1 $PGVIP_EVENT" > "$0.said"')
    assert place.run("list") == Exit.OK
    assert capsys.readouterr().out.startswith(f"every event with hooks: {path}\n")
    assert place.run("test", "role-change", "--dry-run") == Exit.OK
    assert capsys.readouterr().out == f"{path}: would call\n"
    assert place.run("test", "role-change") == Exit.OK
    assert f"{path}: done" in capsys.readouterr().out
    assert path.with_name("alert.said").read_text() == "role role\n"
    assert place.run("test", "veto-takeover") == Exit.OK
    assert str(path) not in capsys.readouterr().out


def test_an_alert_hook_that_is_refused_is_said_to_be(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.add_alert(mode=0o644)
    assert place.run("list") == Exit.OK
    assert f"every event with hooks: {path}  NOT CALLED: it is not executable" in capsys.readouterr().out
    assert place.run("list", "--json") == Exit.OK
    assert "not executable" in json.loads(capsys.readouterr().out)["alert_refused"]
    assert place.run("test", "fenced") == Exit.FAILED
    assert f"{path}: refused: it is not executable" in capsys.readouterr().out
    [problem] = [one for one in host_warnings(load(place.file, "alpha")) if str(path) in one.message]
    assert problem.hint == f"Run: chmod 0755 {path}; or take hooks.alert out."


@pytest.mark.parametrize("words", [["test"], ["test", "link"], ["list", "nope"]])
def test_an_event_without_hooks_is_refused(words: list[str], place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run(*words) == Exit.REFUSED
    assert "veto-takeover" in capsys.readouterr().err


def test_what_would_never_be_called_is_a_warning_and_no_mistake(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_check, "host_problems", lambda _config: [])
    place.add("role-chagne", "10")
    path = place.add("fenced", "10", mode=0o644)
    assert main(["--config", str(place.file), "--host", "alpha", "config", "check"]) == Exit.OK
    said = capsys.readouterr().out
    assert "warning: " in said
    assert "role-chagne: no event of that name calls hooks" in said
    assert "Did you mean role-change?" in said
    assert f"{path}: this hook is never called" in said
    assert f"HINT: Run: chmod 0755 {path}; or remove the file." in said
    assert main(["--config", str(place.file), "--host", "alpha", "config", "check", "--json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert [one["detail"] for one in document["warnings"] if "fenced" in one["message"]] == ["it is not executable."]


def test_every_command_says_it_in_the_same_words(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Such a hook made `init` fail where `check` had warned."""
    path = place.add("fenced", "10", mode=0o644)
    config = load(place.file, "alpha")
    assert not [one for one in host_problems(config) if "hook" in one.message]
    [problem] = host_warnings(config)
    warn_of_host(config)
    said = capsys.readouterr().out
    assert problem.message in said
    assert problem.hint in said
    found = daemons._configuration(Known(config=config, identity=None).facts)
    [finding] = [one for one in found if "hook" in one.text]
    assert finding.level is Level.WARNING
    assert (finding.text, finding.hint) == (problem.message, problem.hint)
    assert str(path) in finding.hint
