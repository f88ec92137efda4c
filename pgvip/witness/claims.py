"""What a witness answers, and what it is asked by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pgvip.core.observations import WitnessStatus


@dataclass(frozen=True, slots=True)
class Answer:
    """What came from the witness for a claim. `serial`: how many terms of this pair have been claimed so far."""

    winner: str
    serial: int
    witness_id: str


@dataclass(frozen=True, slots=True)
class Question:
    """A claim. `witness_id`: the witness that is meant, "" for any; `serial`: the highest that it has said so far."""

    pair_id: str
    term: int
    host: str
    witness_id: str = ""
    serial: int = 0


class Backend(Protocol):
    """One kind of witness. For one thread at a time; each call ends within its deadline, or WitnessError."""

    def claim(self, question: Question) -> Answer: ...

    def status(self, pair_id: str) -> WitnessStatus: ...

    def close(self) -> None: ...
