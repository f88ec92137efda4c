"""How the state of a server is told; what real servers say is in tests/lab/actions/test_server_state.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pgvip.checks import server_state
from pgvip.checks.server_state import LINES_MAX, WARNINGS, Findings, ServerState, described, way_out
from pgvip.core.warning_row import warned
from pgvip.system import workers
from pgvip.system.tasks import Task
from tests.unit import configs

if TYPE_CHECKING:
    from pgvip.system.sql import Session


def test_wrong_lines_are_named_by_file_and_line() -> None:
    rows = [("/etc/pg/postgresql.conf", 812, "work_memm", "unrecognized configuration parameter"),
            ("/etc/pg/pg_hba.conf", 3, "", "invalid connection type"), ("", 0, "", "could not open file")]  # fmt: skip
    assert described(rows) == (
        "/etc/pg/postgresql.conf line 812: work_memm: unrecognized configuration parameter; "
        "/etc/pg/pg_hba.conf line 3: invalid connection type; : could not open file"
    )
    assert described([]) == ""


def test_many_wrong_lines_do_not_fill_the_screen() -> None:
    text = described([("f", number, "", "bad") for number in range(1, 100)])
    assert text.count("bad") == LINES_MAX
    assert text.endswith(f"and {99 - LINES_MAX} more")


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ('no pg_hba.conf entry for host "[local]", user "pgvip"', "pg_hba.conf"),
        ('Peer authentication failed for user "pgvip"', "pg_ident.conf"),
        ("sorry, too many clients already", "max_connections"),
        ('role "pgvip" does not exist', "pgvip init"),
        ('role "pgvip" is not permitted to log in', "pgvip init"),
        ('could not access file "missing": No such file or directory', "session_preload_libraries"),
        ("something new", "log"),
    ],
)
def test_each_refusal_has_a_way_out(said: str, way: str) -> None:
    assert way in way_out(said)


def test_what_is_found_is_warned_of_and_nothing_else() -> None:
    assert warned(WARNINGS, Findings()) == ()
    full = Findings("a", "b", "c", "d", "e", "f", "g")
    assert [one.name for one in warned(WARNINGS, full)] == [row.name for row in WARNINGS]
    assert all(one.text and one.hint for one in warned(WARNINGS, full))


class NotStreaming:
    """The session of a standby that does not stream."""

    def query(self, name: str, timeout_s: float) -> list[tuple[object, ...]]:
        assert timeout_s > 0
        return [(True,)] if name == "in_recovery" else []


def test_the_primary_is_asked_with_the_keys_of_the_wal_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root has no certificate for its role: every primary would refuse it, whatever is really wrong."""
    config = configs.make(tmp_path)
    asked = list[str]()

    def call(task: Task, args: Sequence[object], _kwargs: Mapping[str, object]) -> str:
        assert args == (config,)
        asked.append(task.name)
        return "no"

    monkeypatch.setattr(workers, "_call", call)
    monkeypatch.setattr(workers._STATE, "engaged", "postgres")
    session = cast("Session", NotStreaming())
    assert server_state._replication_refused(config, session) == "no"
    assert asked == ["pgvip.checks.server_state:why_refused"]


def test_a_host_without_a_server_is_not_asked(tmp_path: Path) -> None:
    assert ServerState().probe(configs.make(tmp_path)) == Findings()
