"""When each server took writes, proved by what it answered."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.history import Histories, Kind, Outcome


@dataclass
class Life:
    """A time in which one instance was read-write, by what proves it: answered tries and acknowledged commits.

    A server that has become read-write stays so until it ends, so it was read-write at every instant of its
    *core*: from the first answer to the last question. A life with one proof only has no core; it was read-write
    at some instant of that one. `latest_s`: the last question, in any case.
    """

    instance: str
    host: str
    first: tuple[float, float]
    from_s: float
    until_s: float

    @property
    def latest_s(self) -> float:
        return self.until_s

    @property
    def has_core(self) -> bool:
        return self.from_s <= self.until_s

    def add(self, sent_s: float, answered_s: float) -> None:
        """One more proof."""
        self.from_s, self.until_s = min(self.from_s, answered_s), max(self.until_s, sent_s)

    def surely(self, other: Life) -> float:
        """An instant at which both were read-write for sure, or 0."""
        if self.has_core and other.has_core:
            start_s, end_s = max(self.from_s, other.from_s), min(self.until_s, other.until_s)
            return start_s if start_s <= end_s else 0.0
        for one, two in ((self, other), (other, self)):
            if one.has_core and one.from_s <= two.first[0] and two.first[1] <= one.until_s:
                return two.first[0]
        return 0.0


def lives_of(histories: Histories) -> list[Life]:
    """All times in which an instance was read-write. An answer "in recovery" by its prober ends one."""
    proofs = [(write.instance, write.sent_s, write.answered_s, True, "")
              for write in histories.writes
              if write.outcome is Outcome.ACK and write.kind is not Kind.BULK]  # which was sent long before
    proofs += [(probe.instance, probe.sent_s, probe.answered_s, probe.writable, probe.host)
               for probe in histories.probes if probe.writable is not None]
    lives: list[Life] = []
    alive: dict[str, Life] = {}
    hosts = {probe.instance: probe.host for probe in histories.probes}
    for instance, sent_s, answered_s, writable, _ in sorted(proofs, key=lambda proof: proof[1]):
        if not writable:
            alive.pop(instance, None)
        elif instance in alive:
            alive[instance].add(sent_s, answered_s)
        else:
            alive[instance] = Life(instance, hosts.get(instance, "?"), (sent_s, answered_s), answered_s, sent_s)
            lives.append(alive[instance])
    return lives
