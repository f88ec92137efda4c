"""The history: numbered, bounded, written off the caller's way, and readable whatever a power cut left."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.deadlines import wait_until
from pgvip.errors import RefusedError
from pgvip.events.event_table import Event, Level
from pgvip.journal import event_store as journal
from pgvip.journal import json_lines
from pgvip.journal.event_store import EventStore, Wanted, stored


def event(name: str = "link", text: str = "up", at: str = "2026-01-01T00:00:00.000Z", host: str = "a") -> Event:
    level = Level.ERROR if name == "crash" else Level.INFO
    return Event(name, level, text, at, host)


def theirs(seq: int, series: str = "b1", text: str = "") -> Event:
    return Event("link", Level.INFO, text or f"event {seq}", f"2026-01-01T00:00:{seq % 60:02d}.000Z", "b", seq=seq,
                 series=series)  # fmt: skip


class Stores:
    """Stores on one directory, one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.logged: list[tuple[str, str]] = []
        self.open: list[EventStore] = []

    def new(self) -> EventStore:
        for store in self.open:
            store.close()
        store = EventStore(self.directory, "a", "b", lambda name, text: self.logged.append((name, text)))
        store.start()
        self.open = [store]
        return store


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path / "events")
    yield made
    for store in made.open:
        store.close()


def texts(events: list[Event]) -> list[str]:
    return [one.text for one in events]


def test_events_are_numbered_and_come_back_after_a_restart(stores: Stores) -> None:
    store = stores.new()
    for text in ("one", "two"):
        store.append(event(text=text))
    again = stores.new()
    again.append(event(text="three"))
    assert texts(again.find(Wanted(10))) == ["one", "two", "three"]
    assert [one.seq for one in again.find(Wanted(10))] == [1, 2, 3]
    assert len({one.series for one in again.find(Wanted(10))}) == 1
    assert texts(again.find(Wanted(2))) == ["two", "three"]
    assert again.find(Wanted(0)) == []


def test_a_lost_directory_begins_another_series(stores: Stores) -> None:
    store = stores.new()
    store.append(event())
    first = store.last("a")
    stores.directory = stores.directory.with_name("other")
    second = stores.new()
    second.append(event())
    assert second.last("a")[1] == first[1] == 1
    assert second.last("a")[0] != first[0]


def test_a_torn_last_line_is_skipped_and_the_next_one_is_whole(stores: Stores) -> None:
    stores.new().append(event(text="whole"))
    stores.open[0].close()
    path = json_lines.path_of(stores.directory, "a")
    with path.open("ab") as file:
        file.write(b'{"event": "li\xff')
    store = stores.new()
    store.append(event(text="after"))
    store.close()
    assert texts(stored(stores.directory)) == ["whole", "after"]
    assert [one.seq for one in stored(stores.directory)] == [1, 2]


@pytest.mark.parametrize("line", ["", "null", "[1]", "{}", '{"event":"x"}', "x" * 70_000, "\x00" * 512])
def test_a_line_that_is_no_event_is_left_out(line: str, stores: Stores) -> None:
    stores.new().append(event(text="before"))
    stores.open[0].close()
    with json_lines.path_of(stores.directory, "a").open("a") as file:
        file.write(line + "\n")
    assert texts(stores.new().find(Wanted())) == ["before"]


def test_files_are_bounded_and_the_newest_stay(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "SEGMENT_BYTES", 2000)
    stores.directory.mkdir()
    for number in range(200):
        json_lines.write(stores.directory, "a", [event(text=f"event {number}").document()])
    found = list(stores.directory.iterdir())
    assert len(found) == json_lines.SEGMENTS
    assert sum(path.stat().st_size for path in found) < 2000 * (json_lines.SEGMENTS + 1)
    kept = texts(stored(stores.directory))
    assert kept == [f"event {number}" for number in range(200 - len(kept), 200)]
    assert len(kept) > 20


@pytest.mark.parametrize("count", [1, 5, 40, 41, 79, 80, 81, 200])
def test_the_newest_are_read_from_as_many_files_as_it_takes(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "SEGMENT_BYTES", 400)
    for number in range(80):
        json_lines.write(tmp_path, "a", [{"n": number, "fill": "x" * 5}])
    left: list[object] = list(json_lines.read(tmp_path, "a"))
    assert 40 < len(left) < 80
    opened: list[Path] = []
    whole = json_lines._raw_lines

    def counted(path: Path) -> list[bytes]:
        opened.append(path)
        return whole(path)

    monkeypatch.setattr(json_lines, "_raw_lines", counted)
    assert json_lines.newest(tmp_path, "a", count) == (left[-count:], count >= len(left))
    assert count > 5 or len(opened) == 1


def test_whoever_tells_does_not_wait_for_a_disk_that_hangs(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    whole: Callable[..., None] = json_lines.write

    def hangs(*words: object) -> None:
        released.wait(30)
        whole(*words)

    monkeypatch.setattr(json_lines, "write", hangs)
    monkeypatch.setattr(journal, "QUEUE_MAX", 5)
    store = stores.new()
    for number in range(20):
        store.append(event(text=str(number)))
    assert texts(store.find(Wanted(20))) == [str(number) for number in range(20)]
    assert [name for name, _ in stores.logged] == ["events-lost"]
    released.set()
    wait_until(lambda: len(stores.logged) == 2, 5, what="it is written again")
    assert "events are missing" in stores.logged[1][1]


def test_a_full_disk_loses_events_and_says_so_once(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json_lines.write
    full = [True]

    def write(*words: object) -> None:
        if full:
            raise OSError(28, "No space left on device")
        whole(*words)  # type: ignore[arg-type]  # what the store gives

    monkeypatch.setattr(json_lines, "write", write)
    store = stores.new()
    store.append(event(text="lost"))
    wait_until(lambda: bool(stores.logged), 5, what="it is said")
    store.append(event(text="lost too"))
    assert "No space" in stores.logged[0][1]
    wait_until(lambda: store._lost == 2, 5, what="both are lost")
    full.clear()
    store.append(event(text="kept"))
    wait_until(lambda: len(stores.logged) == 2, 5, what="it is said that it works again")
    assert "2 events are missing" in stores.logged[1][1]
    store.close()
    assert texts(stored(stores.directory)) == ["kept"]
    assert texts(store.find(Wanted())) == ["lost", "lost too", "kept"]


def test_the_peers_events_are_taken_once_and_in_order(stores: Stores) -> None:
    store = stores.new()
    store.add_theirs([theirs(1), theirs(2)], "b1")
    store.add_theirs([theirs(2), theirs(3), theirs(3)], "b1")
    assert texts(store.find(Wanted())) == ["event 1", "event 2", "event 3"]
    assert store.last("b") == ("b1", 3)
    again = stores.new()
    assert again.last("b") == ("b1", 3)
    assert texts(again.find(Wanted())) == ["event 1", "event 2", "event 3"]
    again.add_theirs([theirs(1, "b2", "anew")], "b2")
    assert again.last("b") == ("b2", 1)


def test_what_is_not_the_peers_is_not_taken(stores: Stores) -> None:
    store = stores.new()
    store.add_theirs([event(host="a"), event(host="c"), theirs(1, "other")], "b1")
    assert store.find(Wanted()) == []
    assert store.last("b") == ("", 0)


def test_numbers_go_on_above_what_the_peer_has(stores: Stores) -> None:
    store = stores.new()
    store.append(event())
    store.above(7)
    store.append(event())
    store.above(3)
    store.append(event())
    assert [one.seq for one in store.find(Wanted())] == [1, 8, 9]


def test_events_are_bounded(stores: Stores) -> None:
    store = stores.new()
    words = tuple((f"{number}" * 500, "y" * 5000) for number in range(50))
    store.append(Event("link", Level.INFO, "x" * 100_000, "2026-01-01T00:00:00.000Z", "a", fields=words))
    assert len(json.dumps(store.find(Wanted())[0].document())) < 10_000


def test_older_events_come_from_the_files(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MEMORY_MAX", 3)
    store = stores.new()
    for number in range(8):
        store.append(event("crash" if number == 0 else "link", str(number)))
    wait_until(lambda: len(stored(stores.directory)) == 8, 5, what="all are written")
    assert texts(Wanted().newest(store._memory())) == ["5", "6", "7"]
    assert texts(store.find(Wanted(50))) == [str(number) for number in range(8)]
    assert texts(store.find(Wanted(events=("crash",)))) == ["0"]
    assert texts(stores.new().find(Wanted(50))) == [str(number) for number in range(8)]


def test_who_follows_gets_each_event_once(stores: Stores) -> None:
    store = stores.new()
    number, nothing = store.after(store.number, 0.0)
    assert nothing == []
    store.append(event(text="one"))
    store.add_theirs([theirs(1)], "b1")
    number, got = store.after(number, 0.0)
    assert texts(got) == ["one", "event 1"]
    assert store.after(number, 0.0) == (number, [])


def test_a_follower_is_woken(stores: Stores) -> None:
    store = stores.new()
    got: list[Event] = []
    waiting = threading.Thread(target=lambda: got.extend(store.after(0, 10.0)[1]))
    waiting.start()
    store.append(event(text="now"))
    waiting.join(5)
    assert texts(got) == ["now"]


def test_the_newest_own_event_of_a_name(stores: Stores) -> None:
    store = stores.new()
    assert store.latest_own("role-change") is None
    store.append(event("role-change", "first"))
    store.append(event("role-change", "second"))
    store.append(event("link"))
    store.add_theirs([Event("role-change", Level.NOTICE, "theirs", "x", "b", seq=1, series="b1")], "b1")
    found = stores.new().latest_own("role-change")
    assert found is not None
    assert found.text == "second"


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (Wanted(), ["early", "late", "grave"]),
        (Wanted(since="2026-01-01T00:00:05.000Z"), ["late", "grave"]),
        (Wanted(host="b"), ["late"]),
        (Wanted(events=("crash", "role")), ["grave"]),
        (Wanted(level=Level.WARNING), ["grave"]),
        (Wanted(limit=1), ["grave"]),
        (Wanted(limit=2), ["late", "grave"]),
    ],
    ids=str,
)
def test_what_is_wanted(wanted: Wanted, left: list[str]) -> None:
    told = [
        event("crash", "grave", "2026-01-01T00:00:09.000Z"),
        event(text="early"),
        event(text="late", at="2026-01-01T00:00:05.000Z", host="b"),
    ]
    events = [replace(one, seq=number) for number, one in enumerate(told)]
    assert texts(wanted.newest(events)) == left


@pytest.mark.parametrize(
    "request_",
    [
        *({"limit": limit} for limit in (-1, "7", True, 9999)),
        *({"level": "loud"}, {"event": ["nope"]}, {"since": "1h"}),
    ],
)
def test_a_wrong_request_is_refused_by_name(request_: dict[str, object]) -> None:
    with pytest.raises(RefusedError, match=str(next(iter(request_)))):
        Wanted.of(request_)


def test_a_request_of_one_name_is_a_request() -> None:
    meant = Wanted(3, events=("crash",), level=Level.ERROR)
    assert Wanted.of({"event": "crash", "level": "error", "limit": 3}) == meant
    assert Wanted.of({}) == Wanted()
