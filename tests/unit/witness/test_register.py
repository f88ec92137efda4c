"""The register: what is answered is compared with what was answered before, and remembered over a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgvip.config.witness_config import WitnessConfig
from pgvip.errors import WitnessError
from pgvip.witness.by_command import CommandWitness
from pgvip.witness.by_postgresql import PostgresWitness
from pgvip.witness.claims import Answer, Claimed, Question, WitnessStatus
from pgvip.witness.highest_serial import Memory, Remembered
from pgvip.witness.register import Register, backend

ID, OTHER = "1" * 32, "2" * 32


@dataclass
class Register7:
    """A witness of one pair, and what it was asked. `serial` None: what it has given."""

    witness_id: str = ID
    serial: int | None = None
    terms: dict[int, str] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)

    def claim(self, question: Question) -> Answer:
        self.asked.append(question)
        winner = self.terms.setdefault(question.term, question.host)
        return Answer(winner, len(self.terms) if self.serial is None else self.serial, self.witness_id)

    def status(self, _pair_id: str) -> WitnessStatus:
        return WitnessStatus(self.witness_id, len(self.terms) if self.serial is None else self.serial)

    def close(self) -> None:
        self.asked.clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "witness.json"


def test_a_claim_is_idempotent_and_says_what_is_known(path: Path) -> None:
    witness = Register7()
    mine = Register(witness, Memory(path), "pair", ID)
    assert mine.claim("pair", 7, "a") == Claimed("a", 1)
    assert mine.claim("pair", 8, "a") == Claimed("a", 2)
    assert mine.claim("pair", 7, "a") == mine.claim("pair", 7, "b") == Claimed("a", 2)
    assert [question.serial for question in witness.asked] == [0, 1, 2, 2]
    assert {question.witness_id for question in witness.asked} == {ID}


def test_what_was_reported_is_known_after_a_restart(path: Path) -> None:
    witness = Register7(terms={1: "a", 2: "a"})
    assert Register(witness, Memory(path), "pair", ID).status() == WitnessStatus(ID, 2)
    witness.terms.pop(2)
    again = Register(witness, Memory(path), "pair", ID)
    assert again.highest == 2
    assert again.status().serial == 1, "the status is given as it is: whoever reads it compares"
    assert again.highest == 2
    with pytest.raises(WitnessError, match="older state"):
        Register(Register7(serial=1), Memory(path), "pair", ID).claim("pair", 3, "b")


def test_a_claim_that_counts_none_is_not_believed(path: Path) -> None:
    with pytest.raises(WitnessError, match="older state"):
        Register(Register7(serial=0), Memory(path), "pair", ID).claim("pair", 3, "b")


def test_another_witness_is_not_believed_and_not_remembered(path: Path) -> None:
    register = Register(Register7(OTHER), Memory(path), "pair", ID)
    with pytest.raises(WitnessError, match="another witness"):
        register.claim("pair", 3, "b")
    assert register.status().witness_id == OTHER
    assert Memory(path).now == Remembered()


def test_without_an_id_nothing_is_remembered(path: Path) -> None:
    register = Register(Register7(), Memory(path), "pair")
    assert register.claim("pair", 3, "b").winner == "b"
    assert not path.exists()


def test_another_pair_and_another_witness_begin_anew(path: Path) -> None:
    memory = Memory(path)
    memory.remember(ID, "pair", 5)
    assert (memory.serial(ID, "pair"), memory.serial(ID, "other"), memory.serial(OTHER, "pair")) == (5, 0, 0)
    memory.remember(ID, "pair", 4)
    assert Memory(path).now == Remembered(ID, "pair", 5), "never less"
    memory.remember(OTHER, "pair", 1)
    assert Memory(path).now == Remembered(OTHER, "pair", 1)
    memory.remember(OTHER, "new pair", 0)
    assert Memory(path).now == Remembered(OTHER, "new pair", 0)


def test_a_state_directory_that_takes_nothing_is_no_reason_to_lose_a_claim(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "gone" / "witness.json")
    register = Register(Register7(), memory, "pair", ID)
    assert register.claim("pair", 7, "a") == Claimed("a", 1)
    assert register.highest == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"witness_id": 1}', b"\xff", b"x" * 10_000])
def test_a_file_that_cannot_be_read_says_so(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(WitnessError, match="cannot read") as caught:
        Memory(path)
    assert str(path) in caught.value.hint


def test_the_kind_is_that_of_the_configuration() -> None:
    assert isinstance(backend(WitnessConfig(command=("/bin/true",))), CommandWitness)
    assert isinstance(backend(WitnessConfig(postgresql="host=w")), PostgresWitness)
