"""Logs what the core reports, and knows the term that every event is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.events import event_log

if TYPE_CHECKING:
    from pgvip.core.settings import Note
    from pgvip.core.values import Record


class Notes:
    """What of the log's lines only the core can say."""

    def __init__(self) -> None:
        self._term = -1

    def begin(self, record: Record | None) -> None:
        """The record in force when the daemon starts."""
        self._term = record.term if record else -1

    def term(self) -> int:
        """Of the record in force; -1 without one."""
        return self._term

    def log(self, note: Note) -> None:
        """From a new record on, everything is of its term."""
        if note.event == "record":
            self._term = int(dict(note.fields)["new_term"])
        event_log.log(note.event, note.text, note.fields)
