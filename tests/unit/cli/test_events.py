"""`pgvip events` with a daemon's own answers, and from the files when there is none; times as people write them."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pgvip.cli import events as command
from pgvip.cli.main import main
from pgvip.deadlines import wait_until
from pgvip.errors import Exit, LinkError, RefusedError
from pgvip.events.event_table import Event, Level
from pgvip.journal.event_store import EventStore, Wanted, stored
from pgvip.journal.requests import BEAT_S, FOLLOWERS_MAX, EventRequests
from pgvip.link import operator_socket
from pgvip.link.operator_socket import OperatorServer
from pgvip.text.times import utc
from tests.unit.cli.test_orders import CONFIG

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Place:
    """A host with a history, and perhaps a daemon that answers from it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "pgvip.toml"
        self.file.write_text(CONFIG.format(directory=directory))
        self.store = EventStore(directory / "state" / "events", "alpha", "beta", lambda _name, _text: None)
        self.store.start()
        requests = EventRequests(self.store)

        def handle(request: dict[str, Any], reply: Callable[[dict[str, Any]], None]) -> None:
            reply({"ok": True, **requests.answer(request, reply)})

        self.server = OperatorServer(directory / "run" / "pgvip.sock", handle)

    def tell(self, name: str, text: str, level: Level = Level.INFO, at: str = "") -> None:
        at = at or utc(datetime.now(tz=UTC))
        self.store.append(Event(name, level, text, at, "alpha", "shop", 4))

    def hear(self, text: str, seq: int) -> None:
        at = utc(datetime.now(tz=UTC))
        self.store.add_theirs([Event("link", Level.INFO, text, at, "beta", "shop", 4, seq=seq, series="b1")], "b1")

    def run(self, *words: str) -> int:
        return main(["--config", str(self.file), "--host", "alpha", "events", *words])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def served(place: Place) -> Iterator[Place]:
    place.server.start()
    yield place
    place.server.close()


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.rsplit(": ", 1)[-1] for line in capsys.readouterr().out.splitlines()]


def test_both_hosts_events_are_shown_for_people(served: Place, capsys: pytest.CaptureFixture[str]) -> None:
    served.tell("fenced", "beta is off;\nverified", Level.NOTICE)
    served.hear("up", 1)
    assert served.run() == Exit.OK
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[2:] == ["UTC", "alpha", "notice", "fenced:", "beta", "is", "off;;", "verified"]
    assert second.split()[2:] == ["UTC", "beta", "info", "link:", "up"]
    assert datetime.fromisoformat(" ".join(first.split()[:2]))


def test_programs_get_one_object_on_each_line(served: Place, capsys: pytest.CaptureFixture[str]) -> None:
    served.tell("link", "up")
    assert served.run("--json") == Exit.OK
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"schema": 1, **served.store.find(Wanted())[0].document()}


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ([], ["old", "lag", "up"]),
        (["-n", "1"], ["up"]),
        (["-n", "0"], []),
        (["--event", "lag", "role"], ["lag"]),
        (["--level", "warning"], ["lag"]),
        (["--of", "beta"], ["up"]),
        (["--of", "alpha", "--since", "1h"], ["lag"]),
        (["--since", "1h"], ["lag", "up"]),
        (["--since", "2000-01-01"], ["old", "lag", "up"]),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("running", [True, False], ids=["daemon", "files"])
def test_what_is_asked_for(
    running: bool, words: list[str], left: list[str], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.tell("link", "old", at="2001-01-01T00:00:00.000Z")
    place.tell("lag", "lag", Level.WARNING)
    place.hear("up", 1)
    if running:
        place.server.start()
    else:
        place.store.close()
    assert place.run(*words) == Exit.OK
    assert shown(capsys) == left
    if running:
        place.server.close()


def test_with_neither_daemon_nor_files_it_is_an_error(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--follow"]):
        assert place.run(*words) == Exit.UNREACHABLE
        assert "the pgvip daemon does not run on this host" in capsys.readouterr().err


def test_without_a_daemon_it_says_so(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.tell("link", "up")
    place.store.close()
    assert place.run() == Exit.OK
    assert "does not run on this host; this is what the files of this host hold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--event", "fence-faild"], Exit.REFUSED, "unknown event: 'fence-faild'"),
        (["-n", "-3"], Exit.REFUSED, "limit is -3"),
    ],
)
def test_what_is_wrong_is_named(
    words: list[str], code: Exit, said: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run(*words) == code
    assert said in capsys.readouterr().err


def test_a_time_that_is_none_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        place.run("--since", "soon")
    assert caught.value.code == Exit.USAGE
    assert "'soon' is not a time" in capsys.readouterr().err


# --- following --------------------------------------------------------------------------------------------


class Enough(Exception):
    """Ends a command that would go on for ever."""


def follow(
    place: Place, monkeypatch: pytest.MonkeyPatch, texts: list[str], act: Mapping[str, Callable[[], object]]
) -> list[str]:
    """Follow until these texts were shown; after each, the act of its name is done."""
    seen: list[str] = []

    def show(event: Event, *, as_json: bool) -> None:
        assert not as_json
        seen.append(event.text)
        act.get(event.text, list)()
        if len(seen) == len(texts):
            raise Enough

    monkeypatch.setattr(command, "_show", show)
    with pytest.raises(Enough):
        place.run("--follow", "-n", "1")
    return seen


def test_new_events_are_followed(served: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    served.tell("link", "older")
    served.tell("link", "newest")
    act = {"newest": lambda: served.tell("link", "one"), "one": lambda: served.hear("theirs", 1)}
    assert follow(served, monkeypatch, ["newest", "one", "theirs"], act) == ["newest", "one", "theirs"]


def test_following_survives_the_daemon(
    served: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends: the files are followed. It comes back: so is it, and nothing is shown twice."""
    monkeypatch.setattr(command, "AGAIN_S", 0.05)
    whole, calls = command._from_daemon, [0]

    def from_daemon(args: argparse.Namespace, request: dict[str, Any]) -> Iterator[Event]:
        calls[0] += 1
        if calls[0] == 1:
            yield next(whole(args, request))
        if calls[0] < 5:
            raise LinkError("the pgvip daemon does not run on this host")
        yield from whole(args, request)

    def by_file() -> None:
        served.tell("link", "by file")
        wait_until(lambda: len(stored(served.store._directory)) == 2, 5, what="it is written")

    monkeypatch.setattr(command, "_from_daemon", from_daemon)
    served.tell("link", "first")
    texts = ["first", "by file", "again"]
    act = {"first": by_file, "by file": lambda: served.tell("link", "again")}
    assert follow(served, monkeypatch, texts, act) == texts
    assert capsys.readouterr().err.count("following the files") == 1


def test_too_many_followers_are_refused(served: Place) -> None:
    requests = EventRequests(served.store)
    stop = threading.Event()

    def reply(_document: dict[str, object]) -> None:
        if stop.is_set():
            raise LinkError("gone")

    def one() -> None:
        with pytest.raises(LinkError):
            requests.answer({"follow": True}, reply)

    served.tell("link", "something")
    threads = [threading.Thread(target=one) for _ in range(FOLLOWERS_MAX)]
    for thread in threads:
        thread.start()
    wait_until(lambda: requests._followers._value == 0, 5, what="all follow")
    with pytest.raises(RefusedError, match="follow the events already"):
        requests.answer({"follow": True}, reply)
    stop.set()
    served.tell("link", "the end")
    for thread in threads:
        thread.join(BEAT_S + 2)
        assert not thread.is_alive()
    wait_until(lambda: requests._followers._value == FOLLOWERS_MAX, 5, what="all have left")


def test_a_quiet_daemon_is_told_from_a_silent_one(served: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgvip.journal.requests.BEAT_S", 0.05)
    path = served.file.parent / "run" / "pgvip.sock"
    documents = operator_socket.stream(path, {"follow": True, "limit": 0}, 5.0)
    assert [next(documents) for _ in range(2)] == [{"beat": True}] * 2
    monkeypatch.setattr("pgvip.journal.requests.BEAT_S", 60.0)
    with pytest.raises(LinkError, match="fallen silent"):
        list(operator_socket.stream(path, {"follow": True, "limit": 0}, 0.3))


def test_a_refusal_is_raised_by_whoever_follows(served: Place) -> None:
    with pytest.raises(Exception, match="limit is -1") as caught:
        list(operator_socket.stream(served.file.parent / "run" / "pgvip.sock", {"follow": True, "limit": -1}, 5.0))
    assert caught.value.exit_code is Exit.REFUSED  # type: ignore[attr-defined]  # a PgvipError
