"""What is seen beside the loop: of this host, and of the peer by its own word, which ages when it is silent."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from pgvip.archive import backups, report
from pgvip.archive.backups import Backup
from pgvip.checks.server_state import ServerState
from pgvip.config.model import Config
from pgvip.core.settings import StandingWarning
from pgvip.core.values import Lsn, WalPoint
from pgvip.daemon import background
from pgvip.daemon.background import PARTS, QUESTION, Background, checked
from pgvip.errors import ArchiveError, LinkError
from pgvip.orders.desk import Desk
from pgvip.orders.peer_questions import PeerQuestions
from pgvip.orders.schedule import GRACE_S
from pgvip.setup import rotation
from pgvip.state.record import Scheduled
from pgvip.status.snapshot import Newest
from pgvip.text.times import wall
from pgvip.text.writing import BACKLOG_FILES
from tests.unit import configs

POINT = WalPoint(1, Lsn(0))
ROW = ("0B", 2.0, "0A", 60.0, False, 3, 5.0, False, 7)


@dataclass
class World:
    """One host's look, with a database, backups and a peer of the test's."""

    config: Config
    clock_s: float = 100.0
    row: tuple[Any, ...] | None = ROW
    backups: list[Backup] = field(default_factory=list)
    waiting: Scheduled | None = None
    peer: Mapping[str, Any] | None = None
    seen: Background = field(init=False)

    def __post_init__(self) -> None:
        self.seen = Background(lambda: self.config, lambda: self.waiting, self.ask)

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
        assert (request, timeout_s) == ({"ask": QUESTION}, background.ANSWER_S)
        if self.peer is None:
            raise LinkError("the peer's daemon is not connected")
        return self.peer


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(configs.make(tmp_path))
    made.config.paths.state.mkdir(exist_ok=True)

    def archiver(_config: Config, _connect: object) -> dict[str, Any] | None:
        return None if made.row is None else dict(zip(report.ARCHIVER_KEYS, made.row, strict=True))

    monkeypatch.setattr(report, "archiver", archiver)
    monkeypatch.setattr(backups, "own", lambda _config: made.backups)
    monkeypatch.setattr(background, "now_s", lambda: made.clock_s)
    return made


def made_backup(age_s: float, state: str = "good", size: int = 5) -> Backup:
    at = datetime.now(tz=UTC).timestamp() - age_s
    return Backup(f"of-{age_s:g}", "a", state, POINT, POINT, ended_at=at, size_bytes=size)


def schedule(in_s: float = 3600.0) -> Scheduled:
    now = datetime.now(tz=UTC)
    return Scheduled(wall(now + timedelta(seconds=in_s)), "ann", wall(now), "a")


class Lacking(Background):
    """Every look fails by what this host lacks."""

    def __init__(self, config: Config, failure: OSError) -> None:
        super().__init__(lambda: config, lambda: None, lambda _request, _timeout_s: {})
        self.failure, self.looks = failure, SimpleQueue[str]()

    def look(self) -> None:
        self.looks.put(threading.current_thread().name)
        raise self.failure

    look_server = look_peer = look


def test_a_lack_of_descriptors_ends_no_look_and_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_S", "OWN_EVERY_S", "SERVER_EVERY_S", "PEER_EVERY_S"):
        monkeypatch.setattr(background, name, 0.001)
    seen = Lacking(configs.make(tmp_path), OSError(errno.EMFILE, "Too many open files"))
    seen.start()
    try:
        looked = [seen.looks.get(timeout=5) for _ in range(30)]
        assert max(looked.count(name) for name in set(looked)) > 1
    finally:
        seen.close()


def test_nothing_is_told_before_the_first_look(world: World) -> None:
    found = world.seen.facts()
    empty = dict.fromkeys(("archiving", "backup", "scheduled", "drill"))
    assert found == {**empty, "certificates": {}, "warnings": ()}


def test_ages_go_on_between_two_looks(world: World) -> None:
    world.backups = [made_backup(50.0), made_backup(20.0), made_backup(1.0, "incomplete")]
    world.seen.look()
    world.clock_s += 3.0
    found = world.seen.facts()
    assert found["archiving"] == {
        "host": world.config.me.name, "waiting_files": 3, "oldest_age_s": 8.0, "failing": False, "failures": 7,
        "last_failed": "0A", "failed_age_s": 63.0, "last_archived": "0B", "archived_age_s": 5.0, "age_s": 3.0,
    }  # fmt: skip
    assert found["backup"]["name"] == "of-20"
    assert found["backup"]["age_s"] == pytest.approx(23.0, abs=1.0)
    assert found["backup"]["size_bytes"] == 5


@pytest.mark.parametrize("row", [None, (*ROW[:7], True, 0)], ids=["silent", "standby"])
def test_a_standby_and_a_silent_database_tell_of_no_archiving(row: tuple[Any, ...] | None, world: World) -> None:
    world.row = row
    world.seen.look()
    assert world.seen.facts()["archiving"] is None
    assert world.seen.warnings() == ()


def test_a_server_that_never_archived_has_null_ages(world: World) -> None:
    world.row = (None, None, None, None, False, 0, None, False, 0)
    world.seen.look()
    world.clock_s += 5.0
    part = world.seen.facts()["archiving"]
    assert (part["oldest_age_s"], part["failed_age_s"], part["last_failed"]) == (None, None, "")
    assert checked(part, PARTS["archiving"]) == part


@pytest.mark.parametrize(
    ("failing", "waiting", "name", "text"),
    [
        (False, BACKLOG_FILES, "", ""),
        (False, BACKLOG_FILES + 1, "archive-backlog", "17 WAL files wait"),
        (True, 1, "archiving-failing", "archiving fails (0A), 1 WAL file waits"),
        (True, 99, "archiving-failing", "99 WAL files wait"),
    ],
)
def test_what_is_wrong_is_a_warning_with_its_hint(
    failing: bool, waiting: int, name: str, text: str, world: World
) -> None:
    world.row = (*ROW[:4], failing, waiting, *ROW[6:])
    world.seen.look()
    found = world.seen.facts()["warnings"]
    assert [one.name for one in found] == ([name] if name else [])
    for one in found:
        assert text in one.text
        assert "pgvip archive status" in one.hint


def test_the_peer_tells_the_same_of_itself(world: World) -> None:
    """Over the link as it is: text that the other daemon's handler made."""
    waiting = schedule()
    config = replace(world.config, me=world.config.peer, peer=world.config.me)
    peer = Background(lambda: config, lambda: waiting, world.ask)
    world.backups = [made_backup(10.0)]
    peer.look()
    world.clock_s += 2.0
    questions = PeerQuestions(Desk(Newest(), SimpleQueue()), {QUESTION: peer.answer})
    world.peer = json.loads(questions.answer(json.dumps({"ask": QUESTION})))
    world.row, world.backups = (*ROW[:7], True, 0), [made_backup(500.0)]
    world.seen.look()
    world.seen.look_peer()
    world.clock_s += 1.0
    found = world.seen.facts()
    both = [part for part in PARTS if part not in ("server", "rotation", "addresses")]
    assert [found[part]["host"] for part in both] == ["paris", "paris", "paris"]
    assert found["archiving"]["age_s"] == 3.0
    assert found["backup"]["name"] == "of-10"
    assert found["scheduled"] == {**asdict(waiting), "host": "paris", "age_s": 1.0}
    assert found["warnings"] == ()


DAY_S = 86400.0


def asked(world: World, days: float = 2.0) -> list[tuple[str, str]]:
    """Warnings about backups, after a look at both hosts."""
    world.config = replace(world.config, backup=replace(world.config.backup, max_age_days=days))
    world.seen.look()
    world.seen.look_peer()
    return [(one.name, one.text) for one in world.seen.warnings() if one.name.startswith("backup")]


def test_a_pair_without_a_good_backup_is_warned_of_where_one_is_asked_for(world: World) -> None:
    world.backups = [made_backup(10.0, "incomplete")]
    assert asked(world, 0.0) == []
    start = "no good base backup of this pair is known: "
    assert asked(world) == [("backup-missing", f"{start}this host has none, and paris has not been heard")]
    world.peer = {"ok": True, "backup": None}
    assert asked(world) == [("backup-missing", f"{start}neither host has one")]
    world.peer = {"ok": True, "backup": {"host": "paris", "name": "n", "age_s": 400.0, "size_bytes": 1}}
    assert asked(world) == []


def test_a_backup_that_grows_too_old_is_warned_of(world: World) -> None:
    world.backups = [made_backup(2 * DAY_S - 50.0)]
    assert asked(world) == []
    world.clock_s += 100.0
    ((name, text),) = [(one.name, one.text) for one in world.seen.warnings() if one.name.startswith("backup")]
    assert name == "backup-old"
    assert text.startswith("the newest base backup, of-")
    world.backups.append(made_backup(5.0))
    assert asked(world) == []


def test_backups_that_cannot_be_seen_are_not_said_to_be_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(_config: Config) -> list[Backup]:
        raise ArchiveError("the archive does not answer")

    monkeypatch.setattr(backups, "own", hangs)
    assert asked(world) == []
    assert asked(replace_archive(world, enabled=False)) == []


def replace_archive(world: World, *, enabled: bool) -> World:
    world.config = replace(world.config, archive=replace(world.config.archive, enabled=enabled))
    return world


def test_the_newest_backup_of_both_is_the_pairs(world: World) -> None:
    world.backups = [made_backup(500.0)]
    world.peer = {"ok": True, "backup": {"host": "b", "name": "n", "age_s": 400.0, "size_bytes": 1}}
    world.seen.look()
    world.seen.look_peer()
    assert world.seen.facts()["backup"]["name"] == "n"
    world.clock_s += 200.0
    assert world.seen.facts()["backup"]["age_s"] == 600.0


def test_a_schedule_of_the_peer_stands_while_it_is_silent_until_its_time_is_over(world: World) -> None:
    there = {**asdict(schedule()), "host": "b", "age_s": 0.0}
    world.peer = {"ok": True, "scheduled": there}
    world.seen.look_peer()
    world.peer = None
    world.clock_s += 40.0
    world.seen.look_peer()
    assert world.seen.facts()["scheduled"] == {**there, "age_s": 40.0}
    world.peer = {"ok": True, "scheduled": {**there, "at": schedule(-GRACE_S - 1.0).at}}
    world.seen.look_peer()
    assert world.seen.facts()["scheduled"] is None
    world.peer = {"ok": True, "scheduled": {**there, "at": schedule(-GRACE_S + 60.0).at}}
    world.seen.look_peer()
    assert world.seen.facts()["scheduled"] is not None
    world.peer = {"ok": True, "scheduled": None}
    world.seen.look_peer()
    assert world.seen.facts()["scheduled"] is None, "cancelled there"


def test_this_hosts_own_schedule_comes_first(world: World) -> None:
    world.peer = {"ok": True, "scheduled": {**asdict(schedule()), "host": "b", "age_s": 0.0}}
    world.seen.look_peer()
    world.waiting = schedule(60.0)
    found = world.seen.facts()["scheduled"]
    assert (found["host"], found["at"], found["age_s"]) == (world.config.me.name, world.waiting.at, 0.0)


NOT_SCHEDULED = {"at": "", "by": "", "ordered": "", "primary": "", "force": False, "host": "b", "age_s": 0.0}


@pytest.mark.parametrize("answer", [
    {"ok": False, "error": "unknown question of the peer: 'beside'"},
    {"ok": True},
    {"ok": True, "backup": {"host": "b"}, "archiving": 7, "scheduled": ["x"]},
    {"ok": True, "backup": {"host": "b", "name": "n", "age_s": "old", "size_bytes": True}},
    {"ok": True, "scheduled": NOT_SCHEDULED},
    {"ok": True, "scheduled": {**NOT_SCHEDULED, "at": wall(datetime.now(tz=UTC) + timedelta(hours=1)), "force": 0}},
])  # fmt: skip
def test_a_peer_of_another_version_tells_nothing(answer: dict[str, Any], world: World) -> None:
    world.peer = answer
    world.seen.look_peer()
    found = world.seen.facts()
    assert found["archiving"] is found["backup"] is found["scheduled"] is None


DRILL = {
    "at": "2026-11-25T22:00:00+00:00", "outage_max_s": 2.0, "rows": 100, "lost": 0, "ok": True, "failure": "",
    "switchovers": [{"old": "a", "new": "b", "outage_s": 0.3, "usual_s": 0.02, "ready_s": 4.5}],
}  # fmt: skip


NO_DRILLS = ["", "{", "[]", '{"ok": true}', json.dumps({**DRILL, "switchovers": [{"outage_s": "x"}]})]


@pytest.mark.parametrize("text", NO_DRILLS)
def test_what_is_no_result_of_a_drill_is_none(text: str, world: World) -> None:
    """What `status` and the metrics read of it has the right types, or it is not there."""
    world.config.paths.drill.parent.mkdir(parents=True, exist_ok=True)
    world.config.paths.drill.write_text(text)
    world.seen.look()
    assert world.seen.facts()["drill"] is None


def test_what_cannot_be_seen_ends_no_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in a thread ends the daemon."""
    failures: list[Exception] = [ArchiveError("could not read"), OSError("I/O error")]

    def fails(_config: Config) -> list[Backup]:
        raise failures.pop()

    monkeypatch.setattr(backups, "own", fails)
    while failures:
        world.seen.look()
        assert world.seen.facts()["backup"] is None
    assert world.seen.facts()["drill"] is None
    monkeypatch.setattr(backups, "own", lambda _config: [])
    world.config.paths.drill.write_text(json.dumps(DRILL))
    world.seen.look()
    assert world.seen.facts()["drill"] == DRILL


def test_its_threads_look_and_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_S", 0.0)
    looked = threading.Event()

    def ask(_request: Mapping[str, Any], _timeout_s: float) -> Mapping[str, Any]:
        looked.set()
        return {}

    seen = Background(lambda: world.config, lambda: None, ask)
    seen.start()
    assert looked.wait(5.0)
    seen.close()


def test_what_the_peer_warns_of_in_its_server_is_told_here_while_it_is_news(world: World) -> None:
    wrong = {"name": "settings-wrong", "text": "postgresql.conf line 3: typo", "hint": "correct it"}
    world.peer = {"ok": True, "server": {"host": "paris", "warnings": [wrong], "age_s": 1.0}}
    world.seen.look_peer()
    [warning] = world.seen.warnings()
    assert (warning.name, warning.text) == ("peer-database", "on paris: postgresql.conf line 3: typo")
    assert warning.hint == "on paris: correct it"
    world.clock_s += background.PEER_FRESH_S
    assert world.seen.warnings() == ()


def test_what_the_server_of_this_host_lacks_is_told_to_the_peer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = StandingWarning("settings-wrong", "postgresql.conf line 3: typo", "correct it")
    monkeypatch.setattr(ServerState, "warnings", lambda *_: (wrong,))
    assert world.seen.answer({})["server"] is None
    world.seen.look_server()
    assert world.seen.warnings() == (wrong,)
    told = checked(world.seen.answer({})["server"], PARTS["server"])
    assert told is not None
    assert told["warnings"] == [{"name": wrong.name, "text": wrong.text, "hint": wrong.hint, "unseen": False}]


def test_a_rotation_that_was_interrupted_is_a_warning_on_both_hosts(world: World) -> None:
    world.config.paths.certificates.mkdir()
    own, peer = rotation.make(world.config)
    rotation.prepare(world.config, rotation.next_of("7", own, peer.public))
    path = world.config.paths.certificates / rotation.FILE

    def look() -> list[str]:
        world.seen.look()
        other = World(world.config, peer={"ok": True, **world.seen.answer({})})
        other.seen.look_peer()
        assert other.seen.warnings() == world.seen.warnings()
        return [one.text for one in world.seen.warnings()]

    assert look() == [], "it may be under way"
    began_s = path.stat().st_mtime - background.ROTATION_S
    os.utime(path, (began_s, began_s))
    assert look() == ["pgvip rotate has not ended on berlin: it has next keys, and does not use them"]
    [warning] = world.seen.warnings()
    assert (warning.name, "pgvip rotate again" in warning.hint) == ("rotation-unfinished", True)
    rotation.use(world.config, "7")
    os.utime(path, (began_s, began_s))
    assert look() == ["pgvip rotate has not ended on berlin: it uses its new keys, and the old ones are still valid"]
    rotation.finish(world.config, "7")
    os.utime(path, (began_s, began_s))
    assert look() == []
    path.write_text("{")
    os.utime(path, (began_s, began_s))
    assert look() == [f"pgvip rotate has not ended on berlin: cannot read {path}"]
