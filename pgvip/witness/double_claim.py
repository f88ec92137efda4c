"""A trial of the witness: several terms of a pair that does not exist, each claimed by two hosts at the same time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from pgvip.deadlines import now_s
from pgvip.errors import PgvipError, WitnessError
from pgvip.witness.claims import Answer, Backend, Question

ROUNDS = 5
HOSTS = ("test-1", "test-2")
TOGETHER_S = 10.0
"""For both to be ready; each answer has its own limit."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went: every term had one winner, and it stayed. `slowest_s`: of all answers."""

    pair_id: str
    witness_id: str
    terms: int
    answers: int
    slowest_s: float


def test(make: Callable[[], Backend]) -> Trial:
    """Claim each term twice at once, and then again by both in turn. WitnessError when one was given to two.

    The claims stay, as all claims do; the pair's name is used by nobody else.
    """
    pair_id = f"test-{uuid.uuid4().hex}"
    backends = [make(), make()]
    took_s: list[float] = []
    try:
        ids, serial = set(), 0
        for term in range(1, ROUNDS + 1):
            answers = _at_once(backends, pair_id, term, took_s)
            answers += [_timed(backend, Question(pair_id, term, host), took_s)
                        for backend, host in zip(backends, reversed(HOSTS), strict=True)]  # fmt: skip
            serial = _compare(answers, term, serial)
            ids |= {answer.witness_id for answer in answers}
    finally:
        for backend in backends:
            backend.close()
    if len(ids) != 1:
        raise WitnessError("several witnesses answer", f"Their ids are {', '.join(sorted(ids))}.")
    return Trial(pair_id, ids.pop(), ROUNDS, len(took_s), max(took_s))


def _at_once(backends: list[Backend], pair_id: str, term: int, took_s: list[float]) -> list[Answer]:
    """Both hosts' claims, from two threads; the first failure is raised."""
    ready = threading.Barrier(len(backends))
    answers: list[Answer] = []
    failures: list[PgvipError] = []

    def claim(backend: Backend, host: str) -> None:
        ready.wait(TOGETHER_S)
        try:
            answers.append(_timed(backend, Question(pair_id, term, host), took_s))
        except PgvipError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=claim, args=pair) for pair in zip(backends, HOSTS, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return answers


def _timed(backend: Backend, question: Question, took_s: list[float]) -> Answer:
    began_s = now_s()
    answer = backend.claim(question)
    took_s.append(now_s() - began_s)
    return answer


def _compare(answers: list[Answer], term: int, before: int) -> int:
    """All name one winner, and the serial has grown since the last term. Returns it."""
    winners = {answer.winner for answer in answers}
    if len(winners) != 1 or not winners <= {*HOSTS}:
        said = ", ".join(sorted(winners))
        hint = "It is no witness: with it both hosts may serve. Do not use it."
        raise WitnessError(f"term {term} was given to more than one host: {said}", hint=hint)
    if min(answer.serial for answer in answers) <= before:
        said = ", ".join(str(answer.serial) for answer in answers)
        hint = "It must grow with each term that is claimed: else nobody notices a restored witness."
        raise WitnessError(f"the serial did not grow from {before} with term {term}: {said}", hint=hint)
    return max(answer.serial for answer in answers)
