"""The register of a pair's terms, as this host asks it: what is answered is compared with what was answered before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import WitnessError
from pgvip.witness.by_command import CommandWitness
from pgvip.witness.by_postgresql import HINTS, REFUSALS, PostgresWitness
from pgvip.witness.claims import Backend, Claimed, Question, WitnessStatus

if TYPE_CHECKING:
    from pgvip.config.witness_config import WitnessConfig
    from pgvip.witness.highest_serial import Memory


def backend(witness: WitnessConfig) -> Backend:
    """The kind that is configured; nothing is connected or started yet."""
    return CommandWitness(witness) if witness.command else PostgresWitness(witness)


class Register:
    """One witness that counts, for the pair `pair_id`. For one thread at a time; others have one of their own.

    `witness_id`: the one of the record; "" takes any, and is for tests of a new one.
    """

    def __init__(self, witness: Backend, memory: Memory, pair_id: str, witness_id: str = "") -> None:
        self._witness, self._memory = witness, memory
        self._pair_id, self._witness_id = pair_id, witness_id

    def claim(self, pair_id: str, term: int, host: str) -> Claimed:
        """Ask for a term: whoever asked first has it for ever. Can be repeated.

        WitnessError when there is no answer, and when it is not to be believed: another witness, or one that has
        forgotten claims. The claim may have been carried out all the same.
        """
        known = self._memory.serial(self._witness_id, pair_id)
        answer = self._witness.claim(Question(pair_id, term, host, self._witness_id, known))
        if self._witness_id and answer.witness_id != self._witness_id:
            detail = f"It is {answer.witness_id}, and this pair's is {self._witness_id}."
            raise WitnessError(REFUSALS["PW003"], detail, HINTS["PW003"])
        if answer.serial < max(known, 1):
            detail = f"It counts {answer.serial} of this pair; it has reported {known} before."
            raise WitnessError(REFUSALS["PW002"], detail, HINTS["PW002"])
        self._keep(answer.witness_id, pair_id, answer.serial)
        return Claimed(answer.winner, answer.serial)

    def status(self) -> WitnessStatus:
        """Which witness answers, and its serial, which the caller compares with `highest`. WitnessError."""
        status = self._witness.status(self._pair_id)
        self._keep(status.witness_id, self._pair_id, status.serial)
        return status

    @property
    def highest(self) -> int:
        """The highest serial that the witness that counts has reported."""
        return self._memory.serial(self._witness_id, self._pair_id)

    def close(self) -> None:
        self._witness.close()

    def _keep(self, witness_id: str, pair_id: str, serial: int) -> None:
        if witness_id == self._witness_id:
            self._memory.remember(witness_id, pair_id, serial)
