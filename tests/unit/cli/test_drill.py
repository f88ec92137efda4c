"""`pgvip drill`: its client, its sequence against a daemon that stands in, and its verdicts."""

from __future__ import annotations

import doctest
import json
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from pgvip.cli import drill as command
from pgvip.deadlines import now_s
from pgvip.drill import client, later
from pgvip.drill.client import Writer
from pgvip.drill.ready import obstacles
from pgvip.drill.result import last
from pgvip.errors import Exit, RefusedError
from pgvip.system import sql
from pgvip.system.sql import NoAnswer
from pgvip.system.sql_shapes import Row
from pgvip.text.writing import moment
from tests.unit.cli.test_orders import Daemon
from tests.unit.status.test_document import healthy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OUTAGE_S = 0.3


def ready(primary: str = "alpha") -> dict[str, Any]:
    """A status, on alpha, of a pair that is whole."""
    document = healthy()
    document["record"]["primary"] = primary
    document["warnings"] = []
    document["doing"].update(switchover=False, claim=None, giving_up=None)
    for host in (document["me"], document["peer"]):
        first = host["name"] == primary
        host.update(vips=["primary" if first else "standby"], eligible=not first, override="auto", hold="")
        host["postgresql"].update(state="read-write" if first else "standby", streaming=None if first else True)
    return document


class Table:
    """What the rows of all sessions go to; while `down` nobody answers."""

    def __init__(self) -> None:
        self.rows: set[int] = set()
        self.down = threading.Event()
        self.forgets = False
        self.cleaned: list[str] = []

    def connect(self, _timeout_s: float) -> None:
        if self.down.is_set():
            raise NoAnswer("could not connect to the database", "connection refused")

    def query(self, name: str, params: tuple[Any, ...] = (), *, timeout_s: float, reopen: bool = True) -> list[Row]:
        assert timeout_s > 0
        self.connect(timeout_s)
        if name == "drill_ready":
            return [(True,)]
        if name == "drill_write":
            assert reopen is False
            if not self.forgets or params[1] % 7:
                self.rows.add(params[1])
        elif name == "drill_clean":
            self.cleaned.append(params[0])
            self.rows.clear()
        return [(number,) for number in self.rows] if name == "drill_rows" else []

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class Pair:
    """A daemon whose switchovers take OUTAGE_S."""

    def __init__(self, daemon: Daemon, table: Table) -> None:
        self.daemon, self.table = daemon, table
        self.primary = "alpha"
        self.refuse_at = 0
        self.orders = 0
        self.change: Callable[[dict[str, Any]], None] = lambda _document: None
        daemon.answer = self.answer

    def answer(self, reply: Callable[[dict[str, Any]], None]) -> None:
        request = self.daemon.asked[-1]
        if request["command"] == "status":
            document = ready(self.primary)
            self.change(document)
            reply({"ok": True, "status": document})
        elif request["command"] == "drill":
            reply({"ok": True, "text": request["text"]})
        elif request["dry_run"]:
            reply({"ok": True, "text": "dry run: switchover"})
        else:
            self.switch(reply)

    def switch(self, reply: Callable[[dict[str, Any]], None]) -> None:
        self.orders += 1
        if self.orders == self.refuse_at:
            reply({"ok": False, "error": "the switchover was called off", "detail": "", "hint": "", "exit_code": 5})
            return
        self.table.down.set()
        time.sleep(OUTAGE_S)  # the fault itself: this long nobody can write
        self.primary = "beta" if self.primary == "alpha" else "alpha"
        self.table.down.clear()
        reply({"ok": True, "text": f"{self.primary} is primary (term 6)"})

    def said(self) -> list[str]:
        return [request["text"] for request in self.daemon.asked if request["command"] == "drill"]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(sql, "connect_client", lambda _config, _address: made)
    monkeypatch.setattr(command, "SETTLE_S", 0.3)
    monkeypatch.setattr(command, "AFTER_S", 0.2)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return made


@pytest.fixture
def pair(tmp_path: Path, table: Table) -> Iterator[Pair]:
    (tmp_path / "state").mkdir()
    daemon = Daemon(tmp_path)
    made = Pair(daemon, table)
    daemon.server.start()
    yield made
    daemon.server.close()


def kept(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "state" / "drill.json").read_text())
    return found


def test_doctests() -> None:
    assert doctest.testmod(client) == (0, 3)


def test_there_and_back(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.daemon.run("drill", "--rate", "200") == 0
    assert (pair.orders, pair.primary) == (2, "alpha")
    result = kept(tmp_path)
    assert (result["ok"], result["lost"], result["failure"]) == (True, 0, "")
    assert [(one["old"], one["new"]) for one in result["switchovers"]] == [("alpha", "beta"), ("beta", "alpha")]
    for one in result["switchovers"]:
        assert OUTAGE_S - 0.05 <= one["outage_s"] < 2.0
        assert one["usual_s"] < one["outage_s"]
    assert pair.said()[0] == "begins: switchover from alpha to beta, then back from beta to alpha; limit 2 s"
    assert pair.said()[1].startswith("ended: passed: write outage ")
    assert len(pair.table.cleaned) == 1
    out = capsys.readouterr().out
    assert "beta is primary (term 6): write outage " in out
    assert last(tmp_path / "state" / "drill.json") == result


def test_one_way_as_json(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.daemon.run("drill", "--no-return", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found["switchovers"]), found["ok"], pair.primary) == (1, True, "beta")


def test_a_delay_is_announced_and_the_checks_are_made_again(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    statuses: list[int] = []

    def change(document: dict[str, Any]) -> None:
        statuses.append(1)
        if len(statuses) > 1:
            document["pause"].update(active=True)

    pair.change = change
    assert pair.daemon.run("drill", "--delay", "0.2") == Exit.REFUSED
    assert pair.said() == ["in 0.2 s: switchover from alpha to beta, then back from beta to alpha"]
    assert pair.orders == 0
    assert "the pair is paused" in capsys.readouterr().err


def test_ctrl_c_during_the_delay_calls_it_off(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    assert pair.daemon.run("drill", "--delay", "60") == 130
    assert pair.said()[-1] == "called off before it began"
    assert pair.orders == 0


def test_a_time_is_announced_waited_for_and_the_checks_are_made_again(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """As far as the wait: the pair is paused when its time has come."""
    at = datetime.now(tz=UTC) + timedelta(seconds=1.0)
    pair.change = lambda document: document["pause"].update(active=datetime.now(tz=UTC) >= at)
    assert pair.daemon.run("drill", "--at", at.isoformat()) == Exit.REFUSED
    assert datetime.now(tz=UTC) >= at
    assert pair.said() == [f"at {moment(at.isoformat())}: switchover from alpha to beta, then back from beta to alpha"]
    assert pair.orders == 0
    said = capsys.readouterr()
    assert "waiting: it begins at " in said.out
    assert "the pair is paused" in said.err


def test_a_dry_run_names_the_wait_and_does_not_wait(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    at = (datetime.now(tz=UTC) + timedelta(days=30)).isoformat()
    assert pair.daemon.run("drill", "--at", at, "--dry-run") == Exit.OK
    assert f"wait: it begins at {moment(at)}" in capsys.readouterr().out
    assert pair.said() == []
    for words in (["--at", "2099-01-01"], ["--at", "noon"], ["--at", "+1h", "--delay", "5"]):
        with pytest.raises(SystemExit) as raised:
            pair.daemon.run("drill", *words)
        assert raised.value.code == Exit.USAGE


def test_a_long_wait_tells_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock_s[0] += seconds

    monkeypatch.setattr(later, "now_s", lambda: clock_s[0])
    monkeypatch.setattr(time, "sleep", sleep)
    told: list[str] = []
    later.wait(later.after(150.0), told.append)
    assert [text.strip() for text in told] == ["1 min 30 s to go", "30 s to go"]
    assert (sum(slept), max(slept)) == (150.0, later.LOOK_S)


def test_a_limit_that_was_not_kept_is_exit_1(pair: Pair, tmp_path: Path) -> None:
    assert pair.daemon.run("drill", "--no-return", "--outage-max", "0.1") == Exit.FAILED
    assert kept(tmp_path)["ok"] is False
    assert pair.said()[1].startswith("ended: FAILED: ")


def test_a_lost_row_is_exit_1(pair: Pair, tmp_path: Path) -> None:
    pair.table.forgets = True
    assert pair.daemon.run("drill", "--no-return", "--outage-max", "60") == Exit.FAILED
    assert kept(tmp_path)["lost"] > 0


def test_a_switchover_that_is_called_off_is_told_with_what_is_left(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.refuse_at = 2
    assert pair.daemon.run("drill") == Exit.FAILED
    result = kept(tmp_path)
    assert result["failure"] == "the switchover was called off"
    assert len(result["switchovers"]) == 1
    assert "beta is primary now; the way back: pgvip switchover" in capsys.readouterr().out


def test_a_dry_run_writes_and_orders_nothing(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.daemon.run("drill", "--dry-run") == 0
    assert (pair.orders, pair.table.rows, pair.said()) == (0, set(), [])
    assert not (tmp_path / "state" / "drill.json").exists()
    assert "nothing was changed (--dry-run)" in capsys.readouterr().out


def test_a_pair_that_is_not_whole_is_refused(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.change = lambda document: document["pause"].update(active=True)
    assert pair.daemon.run("drill") == Exit.REFUSED
    assert "DETAIL: the pair is paused." in capsys.readouterr().err
    assert pair.daemon.run("drill", "--json") == Exit.REFUSED
    assert json.loads(capsys.readouterr().out)["error"] == "the pair is not ready for a drill"
    assert (pair.orders, pair.said()) == (0, [])


@pytest.mark.parametrize(("words", "said"), [
    (["--rate", "0"], "--rate 0 is not between 1 and 1000"), (["--outage-max", "-1"], "--outage-max -1 is not between"),
    (["--wait", "0"], "--wait 0 is not between 1 and 3600"),
])  # fmt: skip
def test_numbers_have_limits(pair: Pair, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.daemon.run("drill", *words) == Exit.REFUSED
    assert said in capsys.readouterr().err


def test_only_root(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert pair.daemon.run("drill") == Exit.REFUSED
    assert not pair.daemon.asked


def test_a_pair_of_an_older_version_is_told_what_to_do(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.status.test_document import CONFIG

    monkeypatch.setattr(table, "query", lambda *_args, **_more: [(False,)])
    with pytest.raises(RefusedError, match="drill does not exist") as caught:
        client.check_table(CONFIG)
    assert "pgvip init once more" in caught.value.hint


# --- what must be so before it begins ------------------------------------------------------------------------


def test_nothing_stands_in_the_way_of_a_whole_pair() -> None:
    assert obstacles(ready("alpha")) == obstacles(ready("beta")) == []


def _set(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(("change", "said"), [
    (_set("record", value=None), "no record"),
    (_set("confirmed", value=False), "not confirmed"),
    (_set("record", "mode", value="solo"), "alpha serves alone"),
    (_set("pause", "active", value=True), "paused"),
    (_set("peer", "override", value="primary"), 'beta has role = "primary"'),
    (_set("me", "hold", value="both wrote"), "alpha is on hold"),
    (_set("me", "postgresql", "state", value="hung"), "alpha is hung"),
    (_set("peer", "eligible", value=False), "beta is not eligible"),
    (_set("peer", "postgresql", "streaming", value=False), "beta does not stream"),
    (_set("me", "vips", value=["primary", "standby"]), "alpha does not carry the primary VIP alone"),
    (_set("peer", "vips", value=None), "beta does not carry the standby VIP alone"),
    (_set("doing", "switchover", value=True), "under way"),
])  # fmt: skip
def test_obstacles(change: Callable[[dict[str, Any]], None], said: str) -> None:
    document = ready()
    change(document)
    (found,) = obstacles(document)
    assert re.search(said, found)


# --- the client ------------------------------------------------------------------------------------------------


def test_the_client_counts_only_what_was_acknowledged(table: Table) -> None:
    writer = Writer(table, "run", rate=500.0)  # type: ignore[arg-type] # what a session does, without a server
    writer.start()
    deadline_s = now_s() + 10
    while len(writer.acknowledged) < 20 and now_s() < deadline_s:
        time.sleep(0.01)
    table.down.set()
    while writer.failures < 3 and now_s() < deadline_s:
        time.sleep(0.01)
    assert writer.last_failure == "could not connect to the database connection refused"
    table.down.clear()
    back_s = now_s()
    while not writer.wrote_since(back_s) and now_s() < deadline_s:
        time.sleep(0.01)
    writer.stop()
    numbers = [number for _at_s, number in writer.acknowledged]
    assert set(numbers) == table.rows
    assert numbers == sorted(numbers)
    assert numbers[-1] > len(numbers), "a failed number is not used again"
