"""The daemon's part of the comparison of both hosts; real servers are in tests/lab/test_same.py."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgvip.core.actions import Rejoin
from pgvip.daemon import same_desk
from pgvip.daemon.same_desk import SameDesk, obstacle, packed, unpacked
from pgvip.deadlines import now_s
from pgvip.errors import FormatError, LinkError, PgvipError, RefusedError
from pgvip.orders.desk import Desk
from pgvip.orders.peer_questions import PeerQuestions
from pgvip.setup import pushing
from pgvip.setup.portrait import Portrait, Value
from pgvip.setup.push_plan import Plan
from pgvip.state import codec
from pgvip.status.snapshot import Newest, Snapshot
from tests.unit.core_world import Host, claiming, primary, standby
from tests.unit.daemon.test_rotation_desk import snapshot

Document = Mapping[str, Any]
HBA = ("host app app 192.0.2.0/24 md5",)


class Side:
    """One host: its desk, and what it finds when it looks."""

    def __init__(self, root: Path, host: Host, portrait: Portrait) -> None:
        self.found, self.looks, self.asked = portrait, 0, list[Document]()
        self.now: Snapshot = snapshot(root, host)
        self.logged, self.written = list[str](), list[Plan]()
        self.peer: Callable[[Document], Document] | None = None
        self.desk = SameDesk(lambda: self.now.config, lambda: self.now, self._ask, self._log)
        self.desk.look = self._look  # type: ignore[method-assign]  # a server to look at is in the lab
        self.questions = PeerQuestions(Desk(Newest(), self), {"same": self.desk.answer})

    def put(self, command: object) -> None:
        raise AssertionError(command)

    def _log(self, event: str, _text: str) -> None:
        self.logged.append(event)

    def _look(self) -> same_desk.Known:
        self.looks += 1
        text = packed(self.found)
        self.desk._own = same_desk.Known(self.found, text, same_desk.digest_of(text), now_s())
        self.desk._compare()
        return self.desk._own

    def _ask(self, question: Document, _timeout_s: float) -> Document:
        self.asked.append(question)
        if self.peer is None:
            raise LinkError("the peer's daemon is not connected")
        return self.peer(question)

    def answer(self, question: Document) -> Document:
        """Over the link, as JSON of a bounded length."""
        return codec.parse_object(self.questions.answer(codec.plain_to_json(question)))


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Side, Side]:
    names = snapshot(tmp_path).config
    here = Portrait(names.me.name, 15, files={"pg_hba.conf": HBA, "pg_ident.conf": ()})
    there = replace(here, host=names.peer.name, standby=True)
    first, second = Side(tmp_path, primary(), here), Side(tmp_path, standby(), there)
    config = replace(names, me=names.peer, peer=names.me)
    second.now = replace(second.now, config=config)
    first.peer, second.peer = second.answer, first.answer
    monkeypatch.setattr(same_desk, "obstacle", lambda _snapshot: "")

    def push(config: Any, plan: Plan) -> tuple[str, ...]:
        (first if config is first.now.config else second).written.append(plan)
        return ("pg_hba.conf.replaced-1",)

    monkeypatch.setattr(pushing, "push", push)
    return first, second


def compare(*sides: Side) -> None:
    for side in sides:
        side.desk.look()
        side.desk.look_at_peer()


def names(side: Side) -> list[str]:
    return [one.name for one in side.desk.warnings()]


def test_a_difference_is_a_warning_on_both_hosts_until_it_is_gone(sides: tuple[Side, Side]) -> None:
    first, second = sides
    compare(*sides)
    assert names(first) == names(second) == []
    settings = {"geqo": Value("off", in_file=True)}
    files = {**first.found.files, "pg_hba.conf": ()}
    first.found = replace(first.found, files=files, libraries=("own",), settings=settings)
    second.found = replace(second.found, library_files=("other",))
    compare(*sides, first)
    assert names(first) == names(second) == ["access-differs", "settings-differ", "hosts-differ"]
    assert HBA[0] in second.desk.warnings()[0].text
    first.found = replace(second.found, host=first.found.host)
    compare(*sides, first)
    assert names(first) == names(second) == []


def test_what_was_seen_long_ago_is_not_said(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sides
    second.found = replace(second.found, files={"pg_hba.conf": (), "pg_ident.conf": ()})
    compare(*sides)
    assert names(first)
    later_s = now_s() + same_desk.FRESH_S + 1
    monkeypatch.setattr(same_desk, "now_s", lambda: later_s)
    assert names(first) == []
    first.desk.look()
    assert names(first) == []
    first.desk.look_at_peer()  # the peer answers, and has not looked since
    assert names(first) == []


def test_only_a_host_that_changed_is_described_again(sides: tuple[Side, Side]) -> None:
    first, second = sides
    compare(*sides)
    known = first.desk._peer
    assert known is not None
    answer = second.answer({**first.asked[-1], "digest": known.digest})
    assert answer.keys() == {"ok", "digest", "age_s"}


def test_a_long_description_comes_in_parts(sides: tuple[Side, Side]) -> None:
    first, second = sides
    lines = tuple(f"host app app 192.0.2.{one % 250}/32 md5 # {hash(str(one))}" for one in range(4000))
    second.found = replace(second.found, files={"pg_hba.conf": lines, "pg_ident.conf": ()})
    compare(*sides)
    assert [one["part"] for one in first.asked if one["ask"] == "same"][-1] >= 1
    assert first.desk._both()[1] == second.found


def test_what_comes_is_read_only_when_it_is_a_description_of_the_peer(sides: tuple[Side, Side]) -> None:
    found = sides[1].found
    assert unpacked(packed(found), found.host) == found
    odd = [
        ("", "cut off"),
        ("%%%", "cannot be read"),
        (base64.b64encode(b"no zlib").decode(), "cannot be read"),
        (packed(found)[:-8], "cut off"),
        (base64.b64encode(zlib.compress(bytes(same_desk.TEXT_MAX + 1))).decode(), "too long"),
        (packed(replace(found, host="rome")), "another host"),
        (packed(replace(found, files={"/etc/passwd": ()})), "other files"),
    ]
    for text, why in odd:
        with pytest.raises(FormatError, match=why):
            unpacked(text, found.host)


def test_the_operator_sees_what_both_find_now(sides: tuple[Side, Side]) -> None:
    first, second = sides
    second.found = replace(second.found, settings={"work_mem": Value("8", "kB", in_file=True)})
    said = first.desk.handle({"command": "same"}, None)["same"]
    assert said["hosts"] == [first.found.host, second.found.host]
    assert [(one["kind"], one["warns"]) for one in said["differences"]] == [("machine", False)]
    assert second.looks == 1


def test_the_primarys_files_go_to_the_standby_from_either_host(sides: tuple[Side, Side]) -> None:
    first, second = sides
    second.found = replace(second.found, files={"pg_hba.conf": (), "pg_ident.conf": ()})
    for side in sides:
        dry = side.desk.handle({"step": "push", "dry_run": True}, None)
        assert (dry["source"], dry["target"], dry["kept"]) == (first.found.host, second.found.host, [])
        assert dry["changes"] == ["pg_hba.conf: 1 lines"]
        assert (first.written, second.written) == ([], [])
    for number, side in enumerate(sides, 1):
        done = side.desk.handle({"step": "push", "dry_run": False}, None)
        assert done["kept"] == ["pg_hba.conf.replaced-1"]
        assert (len(first.written), len(second.written)) == (0, number)
        assert second.written[-1].files == {"pg_hba.conf": HBA}
    assert second.logged == ["files-copied"] * 2
    back = first.desk.handle({"step": "push", "from": second.found.host, "dry_run": False}, None)
    assert back["target"] == first.found.host
    assert first.written[0].files == {"pg_hba.conf": ()}


def test_a_question_that_does_not_say_so_changes_nothing(sides: tuple[Side, Side]) -> None:
    first, second = sides
    second.found = replace(second.found, files={"pg_hba.conf": (), "pg_ident.conf": ()})
    for dry_run in (None, "no", 0, True):
        assert second.answer({"ask": "same", "step": "take", "dry_run": dry_run})["ok"]
    with pytest.raises(RefusedError, match="no host of the pair"):
        first.desk.handle({"step": "push", "from": "rome", "dry_run": False}, None)
    assert (first.written, second.written) == ([], [])


def test_what_the_other_host_refuses_is_said_with_its_name(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same_desk, "obstacle", lambda _snapshot: "PostgreSQL does not run")
    with pytest.raises(RefusedError, match=f"{sides[1].found.host}: PostgreSQL does not run"):
        sides[0].desk.handle({"step": "push", "dry_run": False}, None)


@pytest.mark.parametrize(
    ("host", "named"),
    [
        (claiming(standby()), "a change is under way"),
        (standby().knows(running=(Rejoin(),)), "rewound or cloned"),
        (primary(), "PostgreSQL does not run"),
    ],
    ids=["claiming", "rejoining", "down"],
)
def test_when_nothing_is_copied(tmp_path: Path, host: Host, named: str) -> None:
    assert named in obstacle(snapshot(tmp_path, host))


def test_odd_questions_are_refused_or_answered(sides: tuple[Side, Side]) -> None:
    side = sides[1]
    for odd in ({"part": -1}, {"part": "x"}, {"part": 7}, {"directories": [1, "x", "/y\0"]}, {"directories": "/"}):
        answer = side.answer({"ask": "same", **odd})
        assert answer["ok"] is (("directories") in odd)
    assert side.desk._directories == ()


def test_a_silent_peer_is_no_difference(sides: tuple[Side, Side]) -> None:
    sides[0].peer = None
    sides[0].desk.look()
    with pytest.raises(PgvipError):
        sides[0].desk.look_at_peer()
    assert names(sides[0]) == []
