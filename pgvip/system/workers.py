"""Work on what PostgreSQL's user can write to, done with this user's identity in processes of its own.

A function that is marked by `as_postgres` runs here as long as this process may do everything. Once `engage` was
called (the daemon and the commands do so when they give up their capabilities), a call of it goes to a worker: one
typed request over a pipe, answered by what the function reports as it goes and by one result or one failure. What
comes back is outside input: its types are checked, its texts are escaped, its length and its time are bounded.

A worker serves one call at a time and is kept for the next. One that hangs in the kernel is left alone.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from pgvip import errors
from pgvip.deadlines import Deadline
from pgvip.errors import FormatError, PgvipError, PostgresError
from pgvip.state import codec
from pgvip.system import tasks
from pgvip.system.commands import environment
from pgvip.system.reserve import TASKS

if TYPE_CHECKING:
    from pgvip.system.tasks import Task

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_S = 60.0
"""For a task that says nothing else: some programs that read a few files."""
LONG_S = 48 * 3600.0
"""For a task that bounds itself: a base backup, a rewind."""
LINES_MAX_BYTES = 64 << 20
"""Of one answer: a list of all files of a large archive is the longest."""
TEXT_MAX = 1 << 16
"""Of one text that is shown to people."""
IDLE_MAX = 3
HUNG_MAX = 4
END_S = 0.2
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def as_postgres(timeout_s: float = ANSWER_S) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function that works on files of PostgreSQL's user; its arguments and its result have forms in JSON.

    Parameters that are callables are called in this process while the worker waits; they return nothing.
    `timeout_s`: after it the worker is ended, and the call raises PostgresError.
    """

    def mark(function: Callable[P, T]) -> Callable[P, T]:
        task = tasks.register(function, timeout_s)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if not _STATE.engaged:
                return function(*args, **kwargs)
            return cast("T", _call(task, args, kwargs))

        return call

    return mark


class _State:
    """Who PostgreSQL's user is, once this process has given up its capabilities."""

    def __init__(self) -> None:
        self.engaged = ""
        self.uid = 0
        self.lock = threading.Condition()
        self.idle: list[_Worker] = []
        self.working = 0
        self.patience_s = 0.0
        self.hung: list[subprocess.Popen[bytes]] = []


_STATE = _State()


def engage(user: str) -> None:
    """From now on what is marked is done by workers as `user`; one is started at once. PostgresError.

    Nothing where this process has another identity than root's: it is that user already, or has no right to become it.
    """
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise PostgresError(f'system user "{user}" does not exist') from None
    if account.pw_uid != 0:
        _STATE.engaged, _STATE.uid = user, account.pw_uid
        _give_back(_Worker(user))


def share(patience_s: float) -> None:
    """Wait so long for one that works before another is started: for a command that calls many at the same time.

    Starting one takes longer than most calls. Not for the daemon, in which a call may take hours.
    """
    _STATE.patience_s = patience_s


def served_uid() -> int | None:
    """The user id of PostgreSQL's user where workers do what is marked; None where this process does it itself."""
    return _STATE.uid if _STATE.engaged else None


def disengage() -> None:
    """End the workers; what is marked is done here again (tests)."""
    _STATE.engaged = ""
    with _STATE.lock:
        idle, _STATE.idle = _STATE.idle, []
    for worker in idle:
        worker.end()


class _Worker:
    """One process. Used by one thread at a time."""

    def __init__(self, user: str) -> None:
        words = [sys.executable, "-I", "-m", "pgvip.system.worker", user]
        env = environment(None, user)

        def begin() -> subprocess.Popen[bytes]:
            pipe = subprocess.PIPE
            return subprocess.Popen(words, stdin=pipe, stdout=pipe, bufsize=0, cwd="/", start_new_session=True, env=env)

        try:
            self.child = TASKS.room_for(begin)
        except OSError as failure:
            raise PostgresError("could not start a worker process", f"{failure}.") from failure
        self.buffer = bytearray()
        assert self.child.stdin is not None  # a pipe
        os.set_blocking(self.child.stdin.fileno(), False)

    def send(self, line: str, deadline: Deadline) -> None:
        """Write a line; PostgresError when it is not taken in time: PostgreSQL's user may have stopped the process."""
        assert self.child.stdin is not None  # a pipe, see above
        data = memoryview(line.encode() + b"\n")
        poll = select.poll()
        poll.register(self.child.stdin, select.POLLOUT)
        while data:
            if not poll.poll(deadline.left_s() * 1000):
                raise PostgresError("a worker process took no request in time", "A disk may hang.")
            try:
                data = data[os.write(self.child.stdin.fileno(), data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as failure:
                raise PostgresError("a worker process ended", "It took no request.") from failure

    def line(self, deadline: Deadline) -> bytes:
        """The next line; PostgresError when there is none in time, or when it is too long."""
        assert self.child.stdout is not None  # a pipe, see above
        begin = 0
        poll = select.poll()
        poll.register(self.child.stdout, select.POLLIN)
        while (end := self.buffer.find(b"\n", begin)) < 0:
            begin = len(self.buffer)
            if begin > LINES_MAX_BYTES:
                raise PostgresError("a worker process answered too much")
            if not poll.poll(deadline.left_s() * 1000):
                raise PostgresError("a worker process did not answer in time", "A disk may hang.")
            data = os.read(self.child.stdout.fileno(), 1 << 20)
            if not data:
                raise PostgresError("a worker process ended", f"It worked as {_STATE.engaged}.")
            self.buffer += data
        found = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return found

    def end(self) -> bool:
        """True when it is gone, False when it hangs in the kernel."""
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.child.wait(END_S)
        return self.child.returncode is not None


def _take() -> _Worker:
    deadline = Deadline.after(_STATE.patience_s)
    with _STATE.lock:
        while True:
            while _STATE.idle:
                worker = _STATE.idle.pop()
                if worker.child.poll() is None:
                    _STATE.working += 1
                    return worker
                worker.end()
            if not _STATE.working or deadline.expired:
                break
            _STATE.lock.wait(deadline.left_s())
        _STATE.hung = [child for child in _STATE.hung if child.poll() is None]
        if len(_STATE.hung) >= HUNG_MAX:
            pids = ", ".join(str(child.pid) for child in _STATE.hung)
            raise PostgresError("worker processes hang in the kernel", f"Their pids: {pids}.", "Check the disk.")
        _STATE.working += 1
    try:
        return _Worker(_STATE.engaged)
    except PostgresError:
        with _STATE.lock:
            _STATE.working -= 1
        raise


def _give_back(worker: _Worker) -> None:
    with _STATE.lock:
        if len(_STATE.idle) < IDLE_MAX:
            _STATE.idle.append(worker)
            return
    worker.end()


def _call(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    bound = task.signature.bind(*args, **kwargs)
    callbacks = {
        name: value for name, value in bound.arguments.items() if name in task.callbacks and value is not None
    }
    given = {name: value for name, value in bound.arguments.items() if name not in task.callbacks}
    request = tasks.request(task, given, sorted(callbacks))
    worker = _take()
    kept = False
    try:
        deadline = Deadline.after(task.timeout_s)
        worker.send(request, deadline)
        answer = _converse(worker, task, callbacks, deadline)
        kept = True
    finally:
        with _STATE.lock:
            _STATE.working -= 1
        if kept:
            _give_back(worker)
        elif not worker.end():
            with _STATE.lock:
                _STATE.hung.append(worker.child)
        with _STATE.lock:
            _STATE.lock.notify()
    if "failed" in answer:
        raise _failure(answer["failed"])
    return tasks.read_result(task, answer.get("result"))


def _converse(
    worker: _Worker, task: Task, callbacks: dict[str, Callable[..., None]], deadline: Deadline
) -> dict[str, Any]:
    """Answer the worker's calls until it is through. A call that fails here fails there."""
    while True:
        try:
            line = codec.parse_object(worker.line(deadline), max_bytes=LINES_MAX_BYTES)
            name = line.get("call")
            if name is None:
                return line
            words = [escaped(one) for one in tasks.read_call(task, name, line.get("arguments"), callbacks)]
        except FormatError as failure:
            raise PostgresError("did not understand a worker process", f"{failure}.") from failure
        try:
            callbacks[str(name)](*words)
        except PgvipError as failure:
            worker.send(codec.to_json({"failed": tasks.failure_of(failure)}), deadline)
        else:
            worker.send('{"returned":true}', deadline)


def escaped(value: Any) -> Any:
    """A text without control characters, bounded; everything else as it is."""
    if not isinstance(value, str):
        return value
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value[:TEXT_MAX])


def _failure(said: object) -> Exception:
    """The error that a worker reports, of a kind that may come from there."""
    try:
        failure = codec.decode(tasks.Failure, said)
    except FormatError as error:
        return PostgresError("did not understand a worker process", f"{error}.")
    words = [escaped(text) for text in (failure.message, failure.detail, failure.hint)]
    if failure.kind == "OSError":
        return OSError(failure.errno, words[0], words[1] or None)
    kind = getattr(errors, failure.kind, PostgresError)
    if not (isinstance(kind, type) and issubclass(kind, PgvipError)):
        kind = PostgresError
    return kind(*words)
