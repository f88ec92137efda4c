"""A claim of the witness that is meant, and the kind that is configured."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pgvip.config.witness_config import WitnessConfig
from pgvip.core.actions import Claimed
from pgvip.core.observations import WitnessStatus
from pgvip.errors import WitnessError
from pgvip.witness.by_command import CommandWitness
from pgvip.witness.by_postgresql import PostgresWitness
from pgvip.witness.claims import Answer, Question
from pgvip.witness.register import backend, claim

ID, OTHER = "1" * 32, "2" * 32


@dataclass
class Registers:
    """A witness of one pair, and what it was asked."""

    witness_id: str = ID
    terms: dict[int, str] = field(default_factory=dict)

    def claim(self, question: Question) -> Answer:
        winner = self.terms.setdefault(question.term, question.host)
        return Answer(winner, len(self.terms), self.witness_id)

    def status(self, _pair_id: str) -> WitnessStatus:
        return WitnessStatus(self.witness_id, len(self.terms))

    def close(self) -> None:
        self.terms.clear()


def test_a_claim_is_idempotent_and_says_who_has_the_term() -> None:
    witness = Registers()
    assert claim(witness, Question("pair", 7, "a", ID)) == Claimed("a", 1)
    assert claim(witness, Question("pair", 8, "a", ID)) == Claimed("a", 2)
    for host in ("a", "b"):
        assert claim(witness, Question("pair", 7, host, ID)) == Claimed("a", 2)


def test_another_witness_is_not_believed() -> None:
    with pytest.raises(WitnessError, match="another witness") as caught:
        claim(Registers(OTHER), Question("pair", 3, "b", ID))
    assert caught.value.detail == f"It is {OTHER}, and this pair's is {ID}."
    assert claim(Registers(OTHER), Question("pair", 3, "b")).winner == "b", "none was meant"


def test_the_kind_is_that_of_the_configuration() -> None:
    assert isinstance(backend(WitnessConfig(command=("/bin/true",))), CommandWitness)
    assert isinstance(backend(WitnessConfig(postgresql="host=w")), PostgresWitness)
