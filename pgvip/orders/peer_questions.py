"""What the peer's daemon may ask of this one over the peer link; small, quick, and none of it moves a role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pgvip.actions.postgres import checkpoint
from pgvip.errors import FormatError, PgvipError, RefusedError
from pgvip.link.operator_socket import failure
from pgvip.orders.desk import Desk, Document
from pgvip.orders.readiness import fence_word
from pgvip.state import codec

CHECKPOINT_MAX_S = 120.0


class PeerQuestions:
    """Answers the peer's questions by name; each answer has `ok`, as on the operator's socket. `more`: further ones."""

    def __init__(self, desk: Desk, more: Mapping[str, Callable[[Document], Document]] | None = None) -> None:
        self._desk = desk
        self.handlers: dict[str, Callable[[Document], Document]] = {
            "readiness": self._readiness,
            "checkpoint": self._checkpoint,
            **(more or {}),
        }

    def answer(self, text: str) -> str:
        """The answer to one question, as JSON text; a failure is an answer too."""
        try:
            request = codec.parse_object(text)
            name = str(request.get("ask", ""))
            handler = self.handlers.get(name)
            if handler is None:
                raise RefusedError(f"unknown question of the peer: {name[:40]!r}", hint="Run the same version on both.")
            answer: Document = {"ok": True, **handler(request)}
        except PgvipError as error:
            answer = failure(error)
        try:
            return codec.plain_to_json(answer)
        except FormatError as error:
            return codec.plain_to_json(failure(error))

    def _readiness(self, _request: Document) -> Document:
        snapshot = self._desk.snapshot()
        return {"readiness": codec.encode(self._desk.look(snapshot.config, fence_word(snapshot)))}

    def _checkpoint(self, request: Document) -> Document:
        limit_s: Any = request.get("limit_s", CHECKPOINT_MAX_S)
        limit_s = float(limit_s) if isinstance(limit_s, int | float) else CHECKPOINT_MAX_S
        return {"took_s": checkpoint(self._desk.snapshot().config, min(limit_s, CHECKPOINT_MAX_S))}
