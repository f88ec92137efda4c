"""Asks the witness for the daemon: claims in the action's thread, its state in the probe's, each by its own way."""

from __future__ import annotations

from pgvip.config.model import Config
from pgvip.core.actions import Claimed, ClaimTerm
from pgvip.core.observations import WitnessStatus
from pgvip.core.values import Serial
from pgvip.errors import WitnessError
from pgvip.status.snapshot import Newest
from pgvip.witness import register
from pgvip.witness.claims import Backend, Question


class WitnessDesk:
    """The witness of the configuration with which the daemon has started: a change of it needs a restart."""

    def __init__(self, config: Config, newest: Newest) -> None:
        self._config, self._newest = config, newest
        self._claims, self._looks = (_backend(config), _backend(config))

    @property
    def counts(self) -> bool:
        """There is one that may count: it has an id."""
        return self._looks is not None and bool(self._config.witness.id)

    def claim(self, action: ClaimTerm) -> Claimed:
        """Ask for the register of the term. WitnessError when there is no answer, or another witness gives it."""
        if self._claims is None:
            raise WitnessError(f"witness {action.witness_id} is not configured here")
        known, config = self._serial(), self._config
        serial = known.granted if known.witness_id == action.witness_id else 0
        question = Question(config.pair_id, action.term, config.me.name, action.witness_id, serial)
        return register.claim(self._claims, question)

    def look(self) -> WitnessStatus:
        """Which witness answers, and how many terms of this pair it counts. WitnessError."""
        assert self._looks is not None  # only what counts is probed
        return self._looks.status(self._config.pair_id)

    def _serial(self) -> Serial:
        snapshot = self._newest.get()
        return snapshot.decision.knowledge.durable.serial if snapshot is not None else Serial()


def _backend(config: Config) -> Backend | None:
    return register.backend(config.witness) if config.witness.configured else None
