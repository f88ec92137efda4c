"""A round under way: the copy of the knowledge that is being changed, and what was decided so far."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import Action, AddVip, Kind, Promote, SetSyncNames, WriteState
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Failures, Knowledge
from pgvip.core.rights import next_term
from pgvip.core.settings import Inputs, Note, Settings
from pgvip.core.values import Durable, Record

UNWANTED_S = 60.0
"""What failed and was not tried again for so long, though it could be, is wanted no more."""


class Round:
    """What one call of `decide` has come to; the steps add to it in order."""

    def __init__(self, knowledge: Knowledge, inputs: Inputs, settings: Settings, now_s: float) -> None:
        self.k = knowledge
        self.inputs = inputs
        self.s = settings
        self.now_s = now_s
        self.actions: list[Action] = []
        self.notes: list[Note] = []
        self.wake: list[str] = []
        self._facts: Facts | None = None

    def facts(self) -> Facts:
        """The facts as they stand after what this round has changed so far; drawn again when it changed something."""
        if self._facts is None or self.k.changed:
            self._facts = Facts(self.k, self.inputs.seen, self.s, self.now_s)
            self.k.drawn()
        return self._facts

    def note(self, event: str, text: str, **words: object) -> None:
        """Report to people; `words`: the same for programs, by name."""
        self.notes.append(Note(event, text, tuple((name, str(word)) for name, word in words.items())))

    def start(self, action: Action) -> bool:
        """Start `action` unless one of its kind is under way, or failed too short a time ago."""
        failures = self.k.work.failures.get(action.kind)
        if failures is not None and self.now_s < failures.retry_at_s:
            return False
        if any(other.kind == action.kind for other in self.k.work.running):
            return False
        self.k.work = replace(self.k.work, running=(*self.k.work.running, action))
        self.actions.append(action)
        return True

    def failed(self, action: Action, text: str) -> None:
        """Remember a failure, with a growing wait before the next try."""
        first_s, longest_s = action.properties.retry_s
        work = self.k.work
        past = work.failures.get(action.kind)
        times = past.times + 1 if past else 1
        wait_s = min(longest_s, first_s * 2.0 ** min(times - 1, 10))
        failed = Failures(times, self.now_s + wait_s, text)
        self.k.work = replace(work, failures={**work.failures, action.kind: failed})

    def worked(self, action: Action) -> None:
        self.forgive(action.kind)

    def forgive(self, kind: Kind) -> None:
        """Forget its failures: it may be tried at once, and the next one is the first."""
        work = self.k.work
        if kind in work.failures:
            self.k.work = replace(work, failures={one: past for one, past in work.failures.items() if one != kind})

    def forget_unwanted(self) -> None:
        """Forget failures of what only another role wants: else `status` would show them for as long as this one lasts.

        Of these kinds, for no right and no change depends on how often one of them has failed.
        """
        running = {action.kind for action in self.k.work.running}
        for kind, past in self.k.work.failures.items():
            of_a_role = kind in (SetSyncNames, Promote) or isinstance(kind, AddVip)
            if of_a_role and kind not in running and self.now_s - past.retry_at_s >= UNWANTED_S:
                self.forgive(kind)

    def write(self, durable: Durable) -> bool:
        """Begin to write `durable`; at most one write is under way. It counts when its result is in."""
        if self.k.intent.writing is not None or not self.start(WriteState(durable)):
            return False
        self.k.intent = replace(self.k.intent, writing=durable, writing_since_s=self.now_s)
        return True

    def attempt(self) -> str:
        """A name that no other try of this process has."""
        self.k.work = work = replace(self.k.work, attempts=self.k.work.attempts + 1)
        return f"{self.k.who.run_id}/{work.attempts}"

    def next_term(self) -> int:
        """The term of a record made now: above everything known, of this host's parity [m 1]."""
        heard = self.k.peer.heard_record.term if self.k.peer.heard_record else -1
        own: Record | None = self.k.durable.record
        return next_term(max(heard, own.term if own else -1), first=self.s.me_first)
