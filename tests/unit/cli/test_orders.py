"""The short commands against a real operator socket: what they send, print and return."""

from __future__ import annotations

import json
import re
import time
from argparse import Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pgvip.cli import simple
from pgvip.cli.main import main
from pgvip.cli.where import FILE, daemon_socket, state_directory
from pgvip.config.load import default_file, load
from pgvip.errors import ConfigError, Exit, RefusedError
from pgvip.link.operator_socket import OperatorServer
from pgvip.text.times import of_wall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Reply = Callable[[dict[str, Any]], None]

CONFIG = """
[pair]
name = "shop"

[hosts.alpha]
address = "10.0.0.1"
interface = "eth0"
fencing = "none"

[hosts.beta]
address = "10.0.0.2"
interface = "eth0"

[[hosts.beta.fencing]]
command = ["/usr/bin/true"]

[addresses]
primary = "10.0.0.10/24"
standby = "10.0.0.11/24"

[gateway]
targets = ["10.0.0.254"]

[postgresql]
data_directory = "/var/lib/postgresql/15/main"
bin_directory = "/usr/lib/postgresql/15/bin"

[paths]
state = "{directory}/state"
run = "{directory}/run"
passwords = "{directory}/pgpass"
"""


class Daemon:
    """Stands at the operator socket, remembers what it was asked, answers what the test says."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "pgvip.toml"
        self.file.write_text(CONFIG.format(directory=directory))
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[Reply], None] = lambda reply: reply({"ok": True, "text": "done so"})
        self.server = OperatorServer(directory / "run" / "pgvip.sock", self._handle)

    def _handle(self, request: dict[str, Any], reply: Reply) -> None:
        self.asked.append(request)
        self.answer(reply)

    def run(self, *words: str) -> int:
        return main(["--config", str(self.file), "--host", "alpha", *words])


@pytest.fixture
def stopped(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path)


@pytest.fixture
def daemon(stopped: Daemon) -> Iterator[Daemon]:
    stopped.server.start()
    yield stopped
    stopped.server.close()


@pytest.mark.parametrize(
    ("words", "order", "text"),
    [
        (["pause", "kernel", "upgrade"], "pause", "kernel upgrade"),
        (["pause", "--reason", "kernel upgrade"], "pause", "kernel upgrade"),
        (["resume"], "resume", ""),
        (["rejoin"], "rejoin", ""),
        (["rejoin", "--clone"], "rejoin", "clone"),
        (["hold", "clear", "--yes", "alpha"], "clear-hold", ""),
        (["leave"], "shutdown", ""),
        (["leave", "--anyway"], "shutdown", "anyway"),
        (["leave", "--cancel"], "stay", ""),
    ],
)
def test_orders(daemon: Daemon, words: list[str], order: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.run(*words) == 0
    (asked,) = daemon.asked
    assert (asked["command"], asked["order"], asked["text"], asked["dry_run"]) == ("order", order, text, False)
    assert asked["wait_s"] > 0
    assert asked["by"]
    assert capsys.readouterr().out == "done so\n"


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["switchover"], {"command": "switchover", "force": False}),
        (["switchover", "--force"], {"command": "switchover", "force": True}),
        (["switchover", "--cancel"], {"command": "switchover", "cancel": True}),
        (["fence", "on"], {"command": "fence", "action": "on"}),
        (["fence", "off", "--force"], {"command": "fence", "action": "off", "force": True}),
        (["fence", "confirm"], {"command": "fence", "action": "confirm"}),
        (["failover"], {"command": "failover"}),
        (["promote", "--force"], {"command": "promote", "without_fence": False, "although_healthy": False}),
        (["promote", "--force", "--without-fence"], {"command": "promote", "without_fence": True}),
        (["promote", "--force", "--although-healthy"], {"command": "promote", "although_healthy": True}),
    ],
)
def test_requests(daemon: Daemon, words: list[str], request_: dict[str, Any]) -> None:
    assert daemon.run(*words) == 0
    asked = daemon.asked[-1]
    assert {name: asked[name] for name in request_} == request_
    assert asked["dry_run"] is False


@pytest.mark.parametrize(
    "words",
    [["switchover"], ["pause"], ["failover"], ["promote", "--force"], ["fence", "confirm"], ["fence", "off"],
     ["fence", "on"], ["hold", "clear"]],
)  # fmt: skip
def test_dry_run_asks_nobody_to_confirm(daemon: Daemon, words: list[str]) -> None:
    daemon.answer = wants("shop")
    assert daemon.run(*words, "--dry-run", "--wait", "3") == 0
    (asked,) = daemon.asked
    assert asked["dry_run"] is True
    assert asked["wait_s"] == 3.0


def test_leave_waits_as_long_as_the_configuration_says(daemon: Daemon) -> None:
    assert daemon.run("leave", "--dry-run") == 0
    assert daemon.asked[-1]["wait_s"] == 60.0
    daemon.file.write_text(daemon.file.read_text() + "\n[timing]\nshutdown_handover_s = 7\n")
    assert daemon.run("leave") == 0
    assert daemon.asked[-1]["wait_s"] == 7.0


def test_leave_in_a_unit_does_nothing_unless_the_host_is_going_down(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pgvip.system.units.stopping", lambda: False)
    assert daemon.run("leave", "--if-stopping", "--anyway") == 0
    assert daemon.asked == []
    assert "not shutting down" in capsys.readouterr().out
    assert daemon.run("leave", "--if-stopping", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    monkeypatch.setattr("pgvip.system.units.stopping", lambda: True)
    assert daemon.run("leave", "--if-stopping", "--anyway") == 0
    assert [asked["order"] for asked in daemon.asked] == ["shutdown"]


@pytest.mark.parametrize("word", ["--anyway", "--if-stopping"])
def test_leave_and_stay_at_once_is_refused(daemon: Daemon, word: str) -> None:
    assert daemon.run("leave", "--cancel", word) == Exit.REFUSED
    assert daemon.asked == []


@pytest.mark.parametrize("action", ["status", "test"])
def test_fence_device_is_asked_through_the_daemon(daemon: Daemon, action: str) -> None:
    assert daemon.run("fence", action) == 0
    assert daemon.asked == [{"command": "fence", "action": action}]


def wants(word: str) -> Callable[[Reply], None]:
    """A daemon that wants a word typed first."""
    plan = {"ok": True, "text": "done so", "warning": "data may be lost", "confirm": word, "what": "the pair's name"}
    return lambda reply: reply(plan)


@pytest.mark.parametrize("words", [["promote", "--force"], ["failover"], ["fence", "off"], ["fence", "confirm"]])
@pytest.mark.parametrize("given", [[], ["--yes", "beta"], ["--yes", ""], ["--json"]])
def test_what_can_lose_data_needs_the_right_word(
    daemon: Daemon, words: list[str], given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answer = wants("shop")
    assert daemon.run(*words, *given) == Exit.REFUSED
    assert [asked["dry_run"] for asked in daemon.asked] == [True]
    captured = capsys.readouterr()
    assert "data may be lost" in captured.err + captured.out
    assert daemon.run(*words, "--yes", "shop") == 0
    assert daemon.asked[-1]["word"] == "shop"
    assert daemon.asked[-1]["dry_run"] is False


@pytest.mark.parametrize("words", [["promote"], ["promote", "--yes", "shop"], ["hold", "clear", "--yes", ""]])
def test_without_force_nothing_is_even_asked(daemon: Daemon, words: list[str]) -> None:
    assert daemon.run(*words) == Exit.REFUSED
    assert daemon.asked == []


@pytest.mark.parametrize(("typed", "sent"), [("shop", 2), ("shop ", 2), ("Shop", 1), ("", 1)])
def test_name_can_be_typed(daemon: Daemon, typed: str, sent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.answer = wants("shop")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _prompt: typed)
    assert daemon.run("promote", "--force") == (0 if sent == 2 else Exit.REFUSED)
    assert len(daemon.asked) == sent


def test_a_pause_says_when_it_ends(daemon: Daemon) -> None:
    before = datetime.now(tz=UTC)
    assert daemon.run("pause", "--for", "2h") == 0
    at = of_wall(daemon.asked[-1]["until"])
    assert 7199 < (at - before).total_seconds() < 7260


@pytest.mark.parametrize(
    "words",
    [["pause", "--for", "soon"], ["pause", "--until", "2001-01-01"], ["pause", "--for", "1h", "--until", "02:30"],
     ["switchover", "--at", "later"], ["switchover", "--at", "2001-01-01"]],
)  # fmt: skip
def test_what_is_no_time_is_wrong_usage(daemon: Daemon, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        daemon.run(*words)
    assert ended.value.code == Exit.USAGE
    assert daemon.asked == []


def test_checks_of_a_dry_run_are_listed_with_their_mends(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    checks = [
        {"name": "record", "level": "ok", "text": "alpha is primary", "hint": "", "hard": False},
        {"name": "rewind", "level": "warning", "text": "beta cannot be rewound", "hint": "set wal_log_hints = on"},
    ]
    daemon.answer = lambda reply: reply({"ok": True, "text": "dry run: it would", "checks": checks})
    assert daemon.run("switchover", "-n") == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok       record  alpha is primary",
        "warning  rewind  beta cannot be rewound",
        "         hint: set wal_log_hints = on",
        "dry run: it would",
    ]
    daemon.answer = lambda reply: reply({"ok": True, "text": "alpha is primary", "checks": checks})
    assert daemon.run("switchover") == 0
    assert capsys.readouterr().out == "alpha is primary\n"


def test_each_step_is_shown_at_once(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    def steps(reply: Reply) -> None:
        reply({"progress": "alpha stops"})
        reply({"ok": True, "text": "beta is primary"})

    daemon.answer = steps
    assert daemon.run("switchover") == 0
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == ("pgvip: alpha stops\n", "beta is primary\n")


def test_refusal_keeps_its_words_and_exit_code(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_reply: Reply) -> None:
        raise RefusedError("no standby is eligible", "It lags.", "Wait.")

    daemon.answer = refuse
    assert daemon.run("switchover") == Exit.REFUSED
    assert capsys.readouterr().err == "pgvip: error: no standby is eligible\nDETAIL: It lags.\nHINT: Wait.\n"
    assert daemon.run("switchover", "--json") == Exit.REFUSED
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["error"], document["exit_code"]) == (False, "no standby is eligible", 5)


def test_json_of_success_is_one_object_and_nothing_else(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.run("resume", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"schema": 1, "ok": True, "text": "done so"}
    assert captured.err == ""


@pytest.mark.parametrize("words", [["pause"], ["pause", "--json"], ["fence", "test"]])
def test_daemon_that_is_down_is_exit_4(stopped: Daemon, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped.run(*words) == Exit.UNREACHABLE
    captured = capsys.readouterr()
    assert "systemctl start pgvip" in captured.out + captured.err


def test_slow_order_shows_that_it_is_at_work_and_a_quick_one_does_not(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simple, "PATIENCE_S", 0.1)
    monkeypatch.setattr(simple, "REMIND_S", 0.1)

    def slow(reply: Reply) -> None:
        reply({"progress": "alpha stops"})
        time.sleep(0.45)
        reply({"ok": True, "text": "beta is primary"})

    assert daemon.run("rejoin") == 0
    assert capsys.readouterr().err == ""
    daemon.answer = slow
    assert daemon.run("rejoin") == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[0] == "pgvip: alpha stops"
    assert re.fullmatch(r"pgvip: still at it after .* s", lines[1])
    assert captured.out == "beta is primary\n"


def test_socket_is_found_where_the_daemon_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pgvip.toml"
    args = Namespace(config=str(file), host="alpha")
    for text in (CONFIG.format(directory=tmp_path), CONFIG[: CONFIG.index("[paths]")]):
        file.write_text(text)
        assert daemon_socket(args) == load(file, "alpha").paths.socket
        assert state_directory(args) == load(file, "alpha").paths.state
    monkeypatch.setenv("PGVIP_CONFIG", str(file))
    assert daemon_socket(Namespace(config=None, host="alpha")) == load(None, "alpha").paths.socket
    assert str(default_file()) == str(file)
    monkeypatch.delenv("PGVIP_CONFIG")
    assert str(default_file()) == FILE


@pytest.mark.parametrize("text", ["[paths", "paths = 1", "[paths]\nrun = 7"])
def test_file_that_does_not_say_where_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pgvip.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        daemon_socket(Namespace(config=str(file), host="alpha"))


STEP = {"at_s": 0.0, "host": "alpha", "text": "fences beta", "change": "solo-by-fence"}


@pytest.mark.parametrize(("works", "code"), [(True, Exit.OK), (False, Exit.BLOCKED)])
def test_explain_returns_whether_a_takeover_would_work(
    daemon: Daemon, works: bool, code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {
        "name": "link", "title": "the link is cut", "summary": "alpha serves on", "steps": [STEP], "outage_s": 0.0,
        "outage_max_s": None, "read_outage_s": None, "loss": "nothing", "cautions": [],
        "blockers": [{"name": "eligible", "text": "beta lags", "hint": "wait", "change": ""}],
    }  # fmt: skip
    document = {
        "pair": "shop", "host": "alpha", "primary": "alpha", "standby": "beta", "takeover_works": works,
        "scenarios": [one, {**one, "name": "switchover"}],
    }  # fmt: skip
    daemon.answer = lambda reply: reply({"ok": True, "explain": document})
    assert daemon.run("explain") == code
    out = capsys.readouterr().out
    assert f"beta would {'' if works else 'NOT '}take over now" in out
    assert "BLOCKER eligible: beta lags" in out
    assert "0.00 s  alpha  fences beta  [solo-by-fence]" in out
    assert daemon.run("explain", "link", "--json") == code
    assert [found["name"] for found in json.loads(capsys.readouterr().out)["scenarios"]] == ["link"]


def test_explain_without_a_daemon_is_unreachable(stopped: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped.run("explain") == Exit.UNREACHABLE
    assert stopped.run("explain", "--json") == Exit.UNREACHABLE
    assert json.loads(capsys.readouterr().out)["ok"] is False
