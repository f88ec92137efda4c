"""Whether the other host has the programs of a new major version: asked by `pgvip upgrade-major`, changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.errors import FormatError, RefusedError
from pgvip.link.operator_socket import raise_failure
from pgvip.state import codec
from pgvip.system.new_programs import Programs, describe

if TYPE_CHECKING:
    from pgvip.config.model import Config

Document = Mapping[str, Any]
PROGRAMS = "programs"
"""Both the operator's command and the question to the other host."""
ANSWER_S = 30.0
PATH_MAX = 4096
VERSION = re.compile(r"\d{1,3}(\.\d{1,5})*")


class ProgramsDesk:
    """`ask`: the peer's daemon, with a time limit."""

    def __init__(self, config: Callable[[], Config], ask: Callable[[Document, float], Document]) -> None:
        self._config, self._ask = config, ask

    def handle(self, request: Document, _reply: object) -> Document:
        """To the operator: what the other host has. PgvipError."""
        directory, data = _paths(request)
        answer = self._ask({"ask": PROGRAMS, "directory": directory, "data": data}, ANSWER_S)
        raise_failure(dict(answer))
        found = codec.decode(Programs, answer.get(PROGRAMS))
        if not VERSION.fullmatch(found.version):
            raise FormatError("the other host names no version of PostgreSQL", repr(found.version[:80]))
        return {PROGRAMS: codec.encode(found)}

    def answer(self, request: Document) -> Document:
        """To the other host: what this one has. PgvipError."""
        directory, data = _paths(request)
        return {PROGRAMS: codec.encode(describe(self._config(), Path(directory), data))}


def _paths(request: Document) -> tuple[str, str]:
    """The directory of programs, and that of the new data ("" for the usual one). RefusedError."""
    directory, data = request.get("directory"), request.get("data", "")
    for one in (directory, data or directory):
        if not isinstance(one, str) or not one.startswith("/") or len(one) > PATH_MAX or "\0" in one:
            raise RefusedError(f"{str(one)[:80]!r} is no absolute path of a directory")
    return str(directory), str(data)
