"""What workers can be asked for, and the form of request and answer: both sides read this.

A task is a function that is marked by `workers.as_postgres`; its name is its module and its name in there. Types are
those of its signature.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pgvip.config.model import Config, FenceMethod
from pgvip.errors import FormatError, PgvipError, PostgresError
from pgvip.state import codec

REQUEST_MAX_BYTES = 16 << 20

MODULES = (
    "pgvip.system.pgtools",
    "pgvip.system.new_programs",
    "pgvip.system.processes",
    "pgvip.system.pgconf",
    "pgvip.system.server_log",
    "pgvip.system.stopped_wal",
    "pgvip.system.forks",
    "pgvip.system.units",
    "pgvip.system.wal_files",
    "pgvip.actions.last_words",
    "pgvip.actions.postgres",
    "pgvip.actions.prepare",
    "pgvip.actions.starting",
    "pgvip.actions.salvage",
    "pgvip.probes.server_processes",
    "pgvip.probes.database",
    "pgvip.actions.slots",
    "pgvip.archive.backups",
    "pgvip.archive.maintenance",
    "pgvip.checks.logins",
    "pgvip.checks.machine",
    "pgvip.checks.major_trial",
    "pgvip.checks.postgresql",
    "pgvip.checks.server_state",
    "pgvip.checks.wal_archive",
    "pgvip.rejoin.copy",
    "pgvip.rejoin.follow",
    "pgvip.rejoin.plan",
    "pgvip.rejoin.saved_wal",
    "pgvip.setup.access",
    "pgvip.setup.enrolment",
    "pgvip.setup.handing_back",
    "pgvip.setup.portrait",
    "pgvip.setup.pushing",
    "pgvip.setup.second_host",
    "pgvip.setup.server_keys",
)
"""Where tasks are. A worker imports these while it is still root, and no other afterwards."""

TYPES = {
    "Divergence": "pgvip.rejoin.saved_wal",
    "Source": "pgvip.rejoin.source",
    "Plan": "pgvip.rejoin.plan",
    "Picture": "pgvip.archive.inventory",
    "Backup": "pgvip.archive.backups",
    "WalPoint": "pgvip.core.values",
    "Lsn": "pgvip.core.values",
}
"""Types that a module names for the type checker alone, and where they are."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong. `kind`: a class of `pgvip.errors`, or OSError."""

    kind: str
    message: str
    detail: str = ""
    hint: str = ""
    errno: int = 0


@dataclass(frozen=True)
class Task:
    """One function."""

    name: str
    function: Callable[..., Any]
    timeout_s: float

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The types of its parameters, and of its result as "return"."""
        return typing.get_type_hints(self.function, localns=_Types(self.function))

    @cached_property
    def callbacks(self) -> dict[str, tuple[Any, ...]]:
        """Which of its parameters are callables, and the types of what these take."""
        found = {}
        for name, hint in self.hints.items():
            one = next((part for part in (hint, *typing.get_args(hint)) if typing.get_origin(part) is Callable), None)
            if name != "return" and one is not None:
                found[name] = tuple(typing.get_args(one)[0])
        return found


    @property
    def required(self) -> frozenset[str]:
        """Parameters for callables that have no default."""
        parameters = self.signature.parameters
        return frozenset(name for name in self.callbacks if parameters[name].default is inspect.Parameter.empty)


class _Types(dict[str, Any]):
    """Names that a function's module has for the type checker alone."""

    def __init__(self, function: Callable[..., Any]) -> None:
        common: dict[str, Any] = {
            "Config": Config,
            "Path": Path,
            "Callable": Callable,
            "Iterable": Iterable,
            "Mapping": Mapping,
            "Sequence": Sequence,
        }
        super().__init__(common | {key: value for key, value in function.__globals__.items() if key in common})

    def __missing__(self, name: str) -> Any:
        if name not in TYPES:
            raise KeyError(name)
        return getattr(importlib.import_module(TYPES[name]), name)


REGISTERED: dict[str, Task] = {}


def register(function: Callable[..., Any], timeout_s: float) -> Task:
    """Have a function among the tasks."""
    task = Task(f"{function.__module__}:{function.__qualname__}", function, timeout_s)
    REGISTERED[task.name] = task
    return task


def request(task: Task, given: Mapping[str, Any], callbacks: Sequence[str]) -> str:
    """The line that asks for it."""
    arguments = {name: _form(value) if isinstance(value, Config) else value for name, value in given.items()}
    line = {"task": task.name, "arguments": arguments, "callbacks": list(callbacks)}
    return codec.to_json(line, max_bytes=REQUEST_MAX_BYTES)


class _Last:
    """The configuration of the last request, which is that of the next: in this form, and as a value again."""

    sent: tuple[Config, Any] | None = None
    read: tuple[Any, Config] | None = None


def _form(config: Config) -> Any:
    """The configuration in JSON's types, without what PostgreSQL's user must not know: how hosts are powered off."""
    last = _Last.sent
    if last is not None and last[0] is config:
        return last[1]
    none: tuple[FenceMethod, ...] = ()
    bare = replace(config, me=replace(config.me, fencing=none), peer=replace(config.peer, fencing=none))
    form = codec.encode(bare)
    _Last.sent = (config, form)
    return form


def _argument(hint: Any, value: Any, name: str) -> Any:
    if hint is not Config:
        return codec.decode_as(hint, value, name)
    last = _Last.read
    if last is None or last[0] != value:
        last = _Last.read = (value, codec.decode(Config, value))
    return last[1]


def read_request(line: bytes) -> tuple[Task, dict[str, Any], list[str]]:
    """What is asked for. FormatError."""
    said = codec.parse_object(line, max_bytes=REQUEST_MAX_BYTES)
    task = REGISTERED.get(str(said["task"]))
    if task is None:
        raise FormatError(f"there is no task {said['task']}")
    arguments = {name: _argument(task.hints[name], value, name) for name, value in dict(said["arguments"]).items()}
    return task, arguments, list(said["callbacks"])


def read_call(task: Task, name: object, arguments: object, given: Container[object]) -> list[Any]:
    """The arguments with which a worker calls back one of the callables that were `given`. FormatError."""
    if not isinstance(name, str) or name not in given:
        raise FormatError("a call of nothing that was given")
    hints = task.callbacks[name]
    if not isinstance(arguments, list) or len(arguments) != len(hints):
        raise FormatError(f"{name} takes {len(hints)} arguments")
    return [codec.decode_as(hint, one, name) for hint, one in zip(hints, arguments, strict=True)]


def read_result(task: Task, value: object) -> Any:
    """What a task returned. PostgresError when it is of another type."""
    hint = task.hints["return"]
    if hint is type(None):
        return None
    try:
        return codec.decode_as(hint, value, task.name)
    except FormatError as failure:
        raise PostgresError("did not understand a worker process", f"{failure}.") from failure


def failure_of(failure: PgvipError | OSError) -> Failure:
    """Its form for the other side."""
    if isinstance(failure, PgvipError):
        kind = next(one for one in type(failure).__mro__ if one.__module__ == PgvipError.__module__)
        return Failure(kind.__name__, failure.message, failure.detail, failure.hint)
    name = "" if failure.filename is None else str(failure.filename)
    return Failure("OSError", failure.strerror or str(failure), name, errno=failure.errno or 0)
