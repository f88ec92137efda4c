"""Workers: what goes there and comes back, and what becomes of those that fail, hang or lie."""

from __future__ import annotations

import importlib
import os
import pwd
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip import errors
from pgvip.actions import prepare
from pgvip.config.model import Config, FenceMethod
from pgvip.core.values import Lsn, WalPoint
from pgvip.deadlines import Deadline, wait_until
from pgvip.errors import PostgresError, RejoinError
from pgvip.rejoin import follow
from pgvip.rejoin.saved_wal import Divergence
from pgvip.state import codec
from pgvip.system import pgtools, processes, tasks, wal_files, worker, workers
from pgvip.system.stopped_wal import Piece
from tests.unit.configs import make

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def engaged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers with this user's own identity, and without its capabilities."""
    monkeypatch.setattr(workers._STATE, "engaged", ME)
    monkeypatch.setattr(workers._STATE, "uid", os.geteuid())
    yield
    workers.disengage()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make(tmp_path)


def test_every_task_has_types_that_both_sides_know() -> None:
    for name in tasks.MODULES:
        importlib.import_module(name)
    assert len(tasks.REGISTERED) > 40
    for task in tasks.REGISTERED.values():
        assert task.name.partition(":")[0] in tasks.MODULES, "a worker does not import it"
        assert "return" in task.hints


def test_a_task_is_done_by_another_process(engaged: None, config: Config) -> None:
    prepare.mark_unusable(config, "rewind")
    assert prepare.why_unusable(config) == "rewind"
    assert len(workers._STATE.idle) == 1, "one process serves both"
    child = workers._STATE.idle[0].child.pid
    assert processes.resolve("/proc/self") == (f"/proc/{child}", True)


def test_an_error_comes_back_as_it_was(engaged: None, tmp_path: Path) -> None:
    with pytest.raises(PostgresError, match="there is no database cluster") as told:
        pgtools.major_version(tmp_path)
    assert "PG_VERSION" in told.value.detail
    with pytest.raises(FileNotFoundError):
        wal_files.read_history(tmp_path, 2)


def test_root_without_its_capabilities_is_stopped_by_modes(engaged: None, tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("17\n")
    (tmp_path / "PG_VERSION").chmod(0)
    with pytest.raises(PostgresError, match="there is no database cluster"):
        pgtools.major_version(tmp_path)


def test_nothing_is_known_there_of_fencing(config: Config) -> None:
    secret = FenceMethod(agent="fence_x", options=(("password", "secret"),))
    known = replace(config, peer=replace(config.peer, fencing=(secret,)), me=replace(config.me, fencing=(secret,)))
    line = tasks.request(tasks.REGISTERED["pgvip.actions.prepare:why_unusable"], {"config": known}, [])
    assert "secret" not in line
    _, arguments, _ = tasks.read_request(line.encode())
    assert arguments["config"] == config


def test_progress_is_reported_while_it_works(engaged: None, config: Config) -> None:
    config.archive.directory.mkdir()
    for name in ("000000020000000000000003", "00000002.history"):
        (config.archive.directory / name).write_text("WAL")
    piece = Piece(2, Lsn(0x3000000), Lsn(0x3000100))
    diverged = Divergence(WalPoint(2, piece.start), WalPoint(2, piece.end), (piece,), frozenset({2}), 1 << 24)
    said: list[str] = []
    follow.clean_archive(config, (diverged, config.paths.saved / "set"), said.append)
    assert [text.split()[1] for text in said] == ["00000002.history", "000000020000000000000003"]

    def refuse(_text: str) -> None:
        raise RejoinError("enough", hint="Go home.")

    (config.archive.directory / "00000002.history").write_text("WAL")
    with pytest.raises(RejoinError, match="enough") as told:
        follow.clean_archive(config, (diverged, config.paths.saved / "set"), refuse)
    assert told.value.hint == "Go home."


def test_one_that_hangs_is_ended_and_the_next_is_another(engaged: None, config: Config, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "PG_VERSION")
    task = tasks.REGISTERED["pgvip.system.pgtools:major_version"]
    began_s = time.monotonic()
    with pytest.raises(PostgresError, match="did not answer in time"):
        workers._call(replace(task, timeout_s=1.0), (tmp_path,), {})
    assert time.monotonic() - began_s < 10
    assert workers._STATE.idle == []
    assert prepare.why_unusable(config) == ""


def test_one_that_is_stopped_is_waited_for_no_longer_than_its_task(engaged: None, config: Config) -> None:
    """PostgreSQL's user may stop its processes; a request longer than a pipe holds is not taken then."""
    assert prepare.why_unusable(config) == ""
    child = workers._STATE.idle[0].child
    os.kill(child.pid, signal.SIGSTOP)
    task = tasks.REGISTERED["pgvip.actions.prepare:mark_unusable"]
    with pytest.raises(PostgresError, match="took no request in time"):
        workers._call(replace(task, timeout_s=1.0), (config, "x" * (1 << 20)), {})
    assert child.poll() is not None
    prepare.mark_unusable(config, "y" * (1 << 20))
    assert prepare.why_unusable(config) == "y" * (1 << 20)


def test_a_worker_that_dies_is_an_error_and_the_next_call_works(engaged: None, config: Config) -> None:
    assert prepare.why_unusable(config) == ""
    child = workers._STATE.idle[0].child
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert prepare.why_unusable(config) == ""


def test_a_worker_at_work_ends_with_its_caller(engaged: None, config: Config, tmp_path: Path) -> None:
    prepare.why_unusable(config)
    one = workers._STATE.idle.pop()
    os.mkfifo(tmp_path / "PG_VERSION")
    request = tasks.request(tasks.REGISTERED["pgvip.system.pgtools:major_version"], {"data_directory": tmp_path}, [])
    one.send(request, Deadline.after(5.0))
    assert one.child.stdin is not None
    one.child.stdin.close()
    code = one.child.wait(10)
    one.end()
    assert code == -signal.SIGKILL


class Liar:
    """A worker that says what it was told."""

    def __init__(self, *lines: object) -> None:
        self.lines = [line if isinstance(line, str) else codec.to_json(line) for line in lines]

    def line(self, _deadline: Deadline) -> bytes:
        return self.lines.pop(0).encode()

    def send(self, line: str) -> None:
        raise AssertionError(line)


@pytest.mark.parametrize(
    "line",
    ["", "[]", "{", '{"call":"stop","arguments":[]}', '{"call":["x"],"arguments":[]}', "[" * 5000,
     '{"call":"progress","arguments":[1]}', '{"call":"progress","arguments":"x"}',
     '{"call":"progress","arguments":["a","b"]}'],
)  # fmt: skip
def test_what_a_worker_says_is_not_believed(line: str) -> None:
    task = tasks.REGISTERED["pgvip.rejoin.follow:clean_archive"]
    with pytest.raises(PostgresError, match="did not understand"):
        workers._converse(Liar(line), task, {"progress": print}, Deadline.after(5))  # type: ignore[arg-type]  # its part


@pytest.mark.parametrize("result", [None, "17", True, 1.5, [17], {"a": 1}, 1 << 70])
def test_results_have_the_type_of_the_task(result: object) -> None:
    with pytest.raises(PostgresError, match="did not understand"):
        tasks.read_result(tasks.REGISTERED["pgvip.system.pgtools:major_version"], result)


@pytest.mark.parametrize("kind", ["SystemExit", "Exit", "annotations", "no such", "__name__", "IntEnum"])
def test_failures_are_of_pgvips_own_kinds(kind: str) -> None:
    found = workers._failure({"kind": kind, "message": "red \x1b[31m text\nnext", "detail": "", "hint": ""})
    assert type(found) is PostgresError
    assert str(found) == "red \\x1b[31m text\nnext"
    assert isinstance(workers._failure("nothing"), errors.PgvipError)


def test_threads_do_not_share_a_worker(engaged: None, config: Config) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            mine = make(config.paths.state / str(number))
            for _ in range(5):
                prepare.mark_unusable(mine, str(number))
                assert prepare.why_unusable(mine) == str(number)
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    wait_until(lambda: len(workers._STATE.idle) <= workers.IDLE_MAX, 5)


def test_the_worker_refuses_what_is_no_task(config: Config) -> None:
    with pytest.raises(errors.FormatError, match="there is no task os:system"):
        worker._serve(b'{"task":"os:system","arguments":{},"callbacks":[]}', None, 0)  # type: ignore[arg-type]  # unused
