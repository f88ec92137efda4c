"""A witness behind a program of the operator's: an object store, etcd, a file server.

It is called with `claim TERM HOST`, `status` or `init ID`, and prints one line: WINNER SERIAL ID for a claim, ID SERIAL
for the other two.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.core.observations import WitnessStatus
from pgvip.errors import CommandError, WitnessError
from pgvip.system.commands import describe, run
from pgvip.system.executables import refusal
from pgvip.witness.claims import Answer, Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgvip.config.witness_config import WitnessConfig

LINE_MAX = 200
_CLAIM = re.compile(r"(?P<winner>[A-Za-z0-9_-]{1,40}) (?P<serial>[0-9]{1,18}) (?P<id>[A-Za-z0-9_-]{8,64})")
_STATUS = re.compile(r"(?P<id>[A-Za-z0-9_-]{8,64}) (?P<serial>[0-9]{1,18})")


class CommandWitness:
    """The witness as this host asks it: one process for each question."""

    def __init__(self, witness: WitnessConfig) -> None:
        self._witness = witness

    def claim(self, question: Question) -> Answer:
        """Have the register of the term, or learn who has it."""
        env = {"PAIR": question.pair_id, "WITNESS": question.witness_id, "SERIAL": str(question.serial)}
        found = self._line(_CLAIM, ("claim", str(question.term), question.host), env, "WINNER SERIAL ID")
        return Answer(found["winner"], int(found["serial"]), found["id"])

    def status(self, pair_id: str) -> WitnessStatus:
        """Which witness answers, and how far it is with this pair."""
        return self._status(("status",), pair_id)

    def init(self, witness_id: str) -> WitnessStatus:
        """Give it its id, unless it has one; which it has."""
        return self._status(("init", witness_id), "")

    def close(self) -> None:
        """Nothing is kept."""

    def _status(self, words: tuple[str, ...], pair_id: str) -> WitnessStatus:
        found = self._line(_STATUS, words, {"PAIR": pair_id}, "ID SERIAL")
        return WitnessStatus(found["id"], int(found["serial"]))

    def _line(self, form: re.Pattern[str], words: tuple[str, ...], env: Mapping[str, str], says: str) -> re.Match[str]:
        """The one line that it prints. WitnessError for none, for two, and for one of another form."""
        witness = self._witness
        program = witness.command[0]
        refused = refusal(Path(program))
        if refused:
            hint = refused.partition(": ")[2]
            raise WitnessError(f"{program} is not called", f"The daemon is root's, and {refused}.", hint)
        all_words = {f"PGVIP_{key}": value for key, value in {**env, "TIMEOUT_S": f"{witness.timeout_s:g}"}.items()}
        argv = [*witness.command, *words]
        try:
            done = run(argv, timeout_s=witness.timeout_s, user=witness.user, env=all_words, grace_s=0.0)
        except CommandError as failure:
            raise WitnessError(f"the witness did not answer: {failure.message}", failure.detail) from failure
        if done.returncode != 0:
            raise WitnessError(f"{program} {words[0]} {describe(done.returncode)}", done.said[-500:])
        lines = done.stdout[: LINE_MAX + 1].split("\n")
        found = form.fullmatch(lines[0]) if len(done.stdout) <= LINE_MAX and lines[1:] in ([], [""]) else None
        if found is None:
            said = repr(done.stdout[:80])
            raise WitnessError(f"{program} {words[0]} did not print one line {says}", f"It printed {said}.")
        return found
