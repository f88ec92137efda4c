"""`pgvip restart` against a daemon that is scripted: the steps in their order, what is kept, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pgvip.errors import Exit
from pgvip.orders.rolling import Look, Pending
from pgvip.state import codec
from tests.unit.cli.test_orders import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Reply = Callable[[dict[str, Any]], None]

WAITS = (Pending("max_connections", "100", "200"),)


class Pair:
    """Two hosts behind one daemon, alpha's. `breaks`: the step that fails next, with its words."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        daemon.answer = self._answer
        self.primary, self.paused = "alpha", False
        one = Look("", running="15.14", installed="15.15")
        self.looks = {name: replace(one, host=name, postmaster=f"{name}-1") for name in self.names}
        self.breaks: dict[str, str] = {}
        self.did = list[str]()

    names = ("alpha", "beta")

    def _answer(self, reply: Reply) -> None:
        request = self.daemon.asked[-1]
        try:
            reply({"ok": True, **self._do(request)})
        except ValueError as error:
            reply({"ok": False, "error": str(error), "exit_code": int(Exit.REFUSED)})

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        name, host, step = request["command"], request.get("host", ""), request.get("step", "")
        if name == "status":
            return {"status": self.status()}
        if step == "look":
            return {"look": codec.encode(replace(self.looks[host], primary=self.primary))}
        what = step or ("check" if request["dry_run"] else name)
        self.did.append(f"{what} {host}".strip())
        if what in self.breaks:
            raise ValueError(self.breaks.pop(what))
        if what == "switchover":
            self._restart(self.primary)
            self.primary = "beta" if self.primary == "alpha" else "alpha"
        elif what == "down":
            self.looks[host] = replace(self.looks[host], leaving=True)
        elif what in ("cycle", "in-place", "up"):
            self._restart(host)
        return {}

    def leaving(self) -> list[str]:
        return [name for name, look in self.looks.items() if look.leaving]

    def _restart(self, host: str) -> None:
        look = self.looks[host]
        self.looks[host] = replace(look, postmaster=f"{look.postmaster}1", leaving=False, pending=())

    def status(self) -> dict[str, Any]:
        hosts = [
            {
                "name": name, "override": "auto", "hold": "", "eligible": name != self.primary,
                "vips": ["primary" if name == self.primary else "standby"],
                "postgresql": {"state": "read-write" if name == self.primary else "standby", "streaming": True},
            }
            for name in self.names
        ]  # fmt: skip
        doing = {"switchover": False, "claim": False, "giving_up": False}
        record = {"primary": self.primary, "mode": "pair"}
        return {
            "record": record, "confirmed": True, "me": hosts[0], "peer": hosts[1], "doing": doing,
            "pause": {"active": self.paused},
        }  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    daemon = Daemon(tmp_path)
    (tmp_path / "state").mkdir()
    daemon.server.start()
    yield Pair(daemon)
    daemon.server.close()


def test_both_hosts_and_back(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.daemon.run("restart", "--rolling", "--back", "--json") == 0
    assert pair.did == ["check", "cycle beta", "switchover", "switchover"]
    said = json.loads(capsys.readouterr().out)
    assert [step["do"] for step in said["steps"]] == ["cycle", "switchover", "switchover"]
    assert pair.primary == "alpha"
    assert not (tmp_path / "state/restart.json").exists()


def test_a_dry_run_says_what_clients_notice_and_does_nothing(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.looks["beta"] = replace(pair.looks["beta"], pending=WAITS)
    assert pair.daemon.run("restart", "--rolling", "--dry-run") == 0
    said = capsys.readouterr().out
    for words in (
        "PostgreSQL 15.14, installed 15.15; waits for a restart: max_connections 100 -> 200",
        "- beta: restart PostgreSQL", "writes go on", "switchover from alpha to beta", "nothing was changed",
    ):  # fmt: skip
        assert words in said
    assert pair.did == ["check"]


def test_only_what_waits_for_a_restart(pair: Pair) -> None:
    assert pair.daemon.run("restart", "--rolling", "--pending") == Exit.REFUSED
    pair.looks["beta"] = replace(pair.looks["beta"], pending=WAITS)
    assert pair.daemon.run("restart", "--rolling", "--pending") == 0
    assert pair.did == ["cycle beta"]


def test_a_lowered_limit_is_for_the_primary(pair: Pair) -> None:
    pair.looks["alpha"] = replace(pair.looks["alpha"], pending=(Pending("max_connections", "100", "50"),))
    assert pair.daemon.run("restart", "--rolling", "--pending") == 0
    assert pair.did == ["in-place alpha", "cycle beta"]
    pair.looks["beta"] = replace(pair.looks["beta"], pending=(Pending("max_connections", "100", "50"),))
    pair.primary = "beta"
    assert pair.daemon.run("restart", "--rolling", "--pending") == Exit.REFUSED


def test_an_interrupted_one_is_kept_and_goes_on(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair.breaks["switchover"] = "beta may not take over"
    assert pair.daemon.run("restart", "--rolling") == Exit.FAILED
    assert "pgvip restart --continue" in capsys.readouterr().err
    assert pair.daemon.run("restart") == Exit.REFUSED
    assert "has not ended" in capsys.readouterr().err
    pair.did.clear()
    assert pair.daemon.run("restart", "--continue") == 0
    assert pair.did == ["switchover"]
    assert pair.daemon.run("restart", "--continue") == Exit.REFUSED
    assert not (tmp_path / "state/restart.json").exists()


def test_one_that_is_cancelled_is_forgotten_and_leaves_no_server_down(pair: Pair, tmp_path: Path) -> None:
    assert pair.daemon.run("restart", "--cancel") == Exit.REFUSED
    pair.primary = "beta"
    pair.breaks["down"] = "the stop did not end"
    assert pair.daemon.run("restart", "--run", "true") == Exit.FAILED
    pair.looks["alpha"] = replace(pair.looks["alpha"], leaving=True)
    assert pair.daemon.run("restart", "--cancel", "--dry-run") == 0
    assert pair.leaving() == ["alpha"]
    assert pair.daemon.run("restart", "--cancel") == 0
    assert pair.leaving() == []
    assert not (tmp_path / "state/restart.json").exists()


def test_a_command_runs_while_this_host_is_down(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.daemon.run("restart", "--run", f"echo upgraded; touch {tmp_path}/ran") == 0
    assert pair.did == ["check", "switchover", "down alpha", "up alpha"]
    assert (tmp_path / "ran").exists()
    assert "    upgraded" in capsys.readouterr().out


def test_a_command_that_fails_leaves_no_server_down(pair: Pair, tmp_path: Path) -> None:
    pair.primary = "beta"
    assert pair.daemon.run("restart", "--run", "exit 3") == Exit.FAILED
    assert pair.did == ["down alpha", "up alpha"]
    assert not (tmp_path / "state/restart.json").exists()


def test_no_command_goes_to_the_other_host(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.daemon.run("restart", "--rolling", "--run", "true") == Exit.REFUSED
    assert "does not go to the other host by the link" in capsys.readouterr().err
    assert not pair.daemon.asked


def test_a_pair_that_is_not_whole_is_left_alone(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.paused = True
    assert pair.daemon.run("restart", "--rolling") == Exit.REFUSED
    assert "the pair is paused" in capsys.readouterr().err
    assert not pair.did


@pytest.mark.parametrize("words", [["--continue", "--cancel"], ["--continue", "--rolling"], ["--wait", "0"]])
def test_what_makes_no_sense_is_refused(pair: Pair, words: list[str]) -> None:
    assert pair.daemon.run("restart", *words) == Exit.REFUSED
    assert not pair.daemon.asked
