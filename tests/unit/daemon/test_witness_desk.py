"""The daemon's way to the witness: what it claims, by what it remembers, and what it probes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.config.model import Config
from pgvip.config.witness_config import WitnessConfig
from pgvip.core.actions import Claimed, ClaimTerm
from pgvip.core.observations import Observations, WitnessStatus
from pgvip.core.values import Serial
from pgvip.daemon.witness_desk import WitnessDesk
from pgvip.deadlines import now_s
from pgvip.errors import WitnessError
from pgvip.status.snapshot import LoopStats, Newest, Snapshot
from pgvip.witness.claims import Answer, Question
from tests.unit import configs
from tests.unit.core_world import primary

ID, OTHER = "1" * 32, "2" * 32
ACTION = ClaimTerm("a1", ID, 7)


class Asked:
    """A witness that notes what it is asked."""

    questions: list[Question]

    def __init__(self, _witness: WitnessConfig) -> None:
        self.questions = []

    def claim(self, question: Question) -> Answer:
        self.questions.append(question)
        return Answer("paris", 3, ID)

    def status(self, pair_id: str) -> WitnessStatus:
        assert pair_id == "the pair"
        return WitnessStatus(ID, 3)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr("pgvip.witness.register.backend", Asked)
    witness = WitnessConfig(postgresql="host=w.example.org", id=ID)
    return replace(configs.make(tmp_path), pair_id="the pair", witness=witness)


def knowing_serial(config: Config, serial: Serial) -> Newest:
    host = primary().durable(serial=serial).round()
    assert host.last is not None
    newest = Newest()
    newest.put(Snapshot(config, replace(host.last, knowledge=host.k), Observations(), now_s(), LoopStats()))
    return newest


@pytest.mark.parametrize(("serial", "asked"), [(Serial(), 0), (Serial(ID, 5), 5), (Serial(OTHER, 9), 0)])
def test_a_claim_names_the_pair_the_host_the_witness_and_what_it_has_counted(
    config: Config, serial: Serial, asked: int
) -> None:
    desk = WitnessDesk(config, knowing_serial(config, serial))
    assert desk.claim(ACTION) == Claimed("paris", 3)
    assert isinstance(desk._claims, Asked)
    assert desk._claims.questions == [Question("the pair", 7, "berlin", ID, asked)]
    assert desk.look() == WitnessStatus(ID, 3)
    assert desk._looks is not desk._claims, "a probe that hangs must not hold a claim"


def test_before_the_first_round_nothing_is_remembered(config: Config) -> None:
    desk = WitnessDesk(config, Newest())
    desk.claim(ACTION)
    assert isinstance(desk._claims, Asked)
    assert desk._claims.questions[0].serial == 0


def test_the_answer_of_another_witness_is_an_error(config: Config) -> None:
    with pytest.raises(WitnessError, match="another witness"):
        WitnessDesk(config, Newest()).claim(replace(ACTION, witness_id=OTHER))


def test_only_a_witness_with_an_id_counts(config: Config, tmp_path: Path) -> None:
    assert WitnessDesk(config, Newest()).counts
    bare = replace(config, witness=replace(config.witness, id=""))
    assert not WitnessDesk(bare, Newest()).counts
    none = WitnessDesk(configs.make(tmp_path), Newest())
    assert not none.counts
    with pytest.raises(WitnessError, match="is not configured here"):
        none.claim(ACTION)
