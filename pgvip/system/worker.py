"""The other side of `pgvip.system.workers`: a process that works as PostgreSQL's user, one request after the other.

It is started as root, imports what it will need, becomes this user for good (no capability, no new privileges, not to
be looked into by other processes of the user), and only then reads its first request. It ends with its input.
"""

from __future__ import annotations

import importlib
import os
import pwd
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from pgvip.errors import FormatError, PgvipError
from pgvip.state import codec
from pgvip.system import capabilities, tasks
from pgvip.system.workers import LINES_MAX_BYTES


def main() -> None:
    """Become the user, then serve."""
    for name in tasks.MODULES:
        importlib.import_module(name)
    become(sys.argv[1])
    threading.Thread(target=_end_with_caller, daemon=True).start()
    requests = os.fdopen(0, "rb", buffering=0, closefd=False)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a program prints that is started by mistake with our output must not be an answer
    while line := _line(requests):
        _write(answers, _serve(line, requests, answers))


def become(user: str) -> None:
    """Have the identity of a user with all its groups, for good."""
    account = pwd.getpwnam(user)
    os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    capabilities.give_up_all()
    os.umask(0o077)
    os.chdir("/")


def _end_with_caller() -> None:
    """End at once with the process that gives the requests, whatever is being done; its programs end with this one."""
    poll = select.poll()
    poll.register(0, 0)  # POLLHUP is always among the answers
    while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
        pass
    os.killpg(0, signal.SIGKILL)


def _line(requests: BinaryIO) -> bytes:
    """The next request, empty at the end of input. Never longer than what the other side writes."""
    return requests.readline().rstrip(b"\n")


def _serve(line: bytes, requests: BinaryIO, answers: int) -> dict[str, Any]:
    task, arguments, callbacks = tasks.read_request(line)

    def calling(name: str) -> Callable[..., None]:
        def call(*words: object) -> None:
            _write(answers, {"call": name, "arguments": list(words)})
            said = codec.parse_object(_line(requests))
            if "failed" in said:
                raise _failure(said["failed"])

        return call

    try:
        given = {name: calling(name) for name in callbacks}
        result = task.function(**arguments, **dict.fromkeys(task.required - given.keys()), **given)
    except (PgvipError, OSError) as failure:
        return {"failed": tasks.failure_of(failure)}
    return {"result": result}


def _failure(said: object) -> PgvipError:
    from pgvip import errors  # noqa: PLC0415 - the module, whose classes are looked up by name

    failure = codec.decode(tasks.Failure, said)
    kind = getattr(errors, failure.kind, PgvipError)
    found = kind(failure.message, failure.detail, failure.hint)
    assert isinstance(found, PgvipError)  # what is sent here is of this module
    return found


def _write(descriptor: int, answer: dict[str, Any]) -> None:
    try:
        text = codec.to_json(answer, max_bytes=LINES_MAX_BYTES)
    except FormatError as failure:
        text = codec.to_json({"failed": tasks.failure_of(failure)})
    data = memoryview(text.encode() + b"\n")
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
