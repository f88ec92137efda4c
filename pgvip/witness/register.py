"""The register of a pair's terms: which kind is configured, and a claim whose answer is of the witness that is meant.

Whether the witness has forgotten claims is judged by whoever remembers the highest serial (`core.witness`); a witness
in PostgreSQL gets that serial, and refuses by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.actions import Claimed
from pgvip.errors import WitnessError
from pgvip.witness.by_command import CommandWitness
from pgvip.witness.by_postgresql import HINTS, REFUSALS, PostgresWitness
from pgvip.witness.claims import Backend, Question

if TYPE_CHECKING:
    from pgvip.config.witness_config import WitnessConfig


def backend(witness: WitnessConfig) -> Backend:
    """The kind that is configured; nothing is connected or started yet."""
    return CommandWitness(witness) if witness.command else PostgresWitness(witness)


def claim(witness: Backend, question: Question) -> Claimed:
    """Ask for a term: whoever asked first has it for ever. Can be repeated.

    WitnessError when there is no answer, and when it is of another witness than `question.witness_id`, if that is
    given. The claim may have been carried out all the same.
    """
    answer = witness.claim(question)
    if question.witness_id and answer.witness_id != question.witness_id:
        detail = f"It is {answer.witness_id}, and this pair's is {question.witness_id}."
        raise WitnessError(REFUSALS["PW003"], detail, HINTS["PW003"])
    return Claimed(answer.winner, answer.serial)
