"""What goes wrong in a run, as data: drawn from the seed by a random stream of its own, and replayed from a list.

Latencies and single failing steps come from the world's stream; taking one fault out of a plan leaves the others, their
times and all that was drawn for them as they were. That is what the shrinker stands on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from random import Random

from tests.simulation.kinds import BLOWS, KINDS, REMOVE_PEER, WITNESS_KINDS, Kind

How = tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what, on which host, when, for how long.

    `at_s`: virtual seconds since the pair was healthy; for a fault that lies in wait, since its moment. `moment`:
    that the `nth` time `what@host` happens; "" for a fault at a time.
    """

    kind: str
    host: str
    at_s: float
    lasts_s: float = 0.0
    how: How = ()
    moment: str = ""
    nth: int = 0

    def __str__(self) -> str:
        when = f"{self.at_s:.3f} s after {self.moment} #{self.nth}" if self.moment else f"at {self.at_s:.3f} s"
        how = f" {', '.join(str(word) for word in self.how)}" if self.how else ""
        return f"{when}: {self.kind} {self.host}{how} (for {self.lasts_s:.2f} s)"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a whole run is like.

    `only_daemons`: nothing but the daemons fails (invariant 7). `fence_on`: whether the fence device itself switches a
    host on again after it was switched off: half (of the times), never, always. `kept`: share of the messages that
    may come again later. `pace_s`: mean time between faults; `ambush`: share of the moments that are struck;
    `chain`: share of the faults after which another one comes soon, of those that take a host or its database away.
    `vetoes`: what the veto hooks of each host do. `witness`: "" for none; watched: hosts have a watchdog as well;
    unwatched: they have none, so that a daemon that hangs is late, and two may write (in sync only).
    """

    only_daemons: bool = False
    operators: bool = False
    fence_on: str = "half"
    kept: float = 0.0
    pace_s: float = 2.0
    ambush: float = 0.0
    chain: float = 0.0
    overrides: tuple[str, str] = ("auto", "auto")
    vetoes: tuple[str, str] = ("", "")
    witness: str = ""

    @classmethod
    def of(cls, seed: int, *, witness: bool = False) -> Traits:
        rng = Random(f"traits {seed}")
        only_daemons = seed % 13 == 0 and not witness
        sides = rng.choice(OVERRIDES) if rng.random() < 0.06 else ("auto", "auto")
        return cls(
            only_daemons=only_daemons,
            operators=seed % 7 == 0 and not only_daemons,
            fence_on=rng.choice(("half", "half", "never", "never", "always")),
            kept=rng.choice((0.0, 0.02, 0.3)),
            pace_s=rng.choice((0.3, 0.6, 1.0, 2.0, 5.0)),
            ambush=rng.choice((0.0, 0.03, 0.1, 0.3)),
            chain=0.0 if only_daemons else rng.choice((0.0, 0.3, 0.6)),
            overrides=("auto", "auto") if only_daemons else sides,
            vetoes=_vetoes(seed),
            witness=("unwatched" if seed % 3 == 1 else "watched") if witness else "",
        )


def _vetoes(seed: int) -> tuple[str, str]:
    """Which hosts have veto hooks that say this and that; from a stream of its own: all else stays as it was."""
    rng = Random(f"veto {seed}")
    first, second = (rng.choice(("", "random", "random")) for _ in range(2))
    return (first, second) if rng.random() < 0.2 else ("", "")


OVERRIDES = (
    ("standby", "auto"), ("auto", "standby"), ("primary", "auto"), ("auto", "primary"),
    ("primary_standby", "auto"), ("auto", "primary_standby"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can be had again: with the same plan, the same world.

    `events`: how many events there are before the faults end; 0: they end at `stop_s` (virtual, since the pair was
    healthy). `faults`: None for those that the seed draws. `salt`: another stream of latencies for the same seed.
    """

    seed: int
    events: int = 0
    traits: Traits = Traits()
    faults: tuple[Fault, ...] | None = None
    stop_s: float = 0.0
    salt: int = 0

    @classmethod
    def of(cls, seed: int, events: int, *, witness: bool = False) -> Plan:
        return cls(seed, events, Traits.of(seed, witness=witness))

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, object]) -> Plan:
        """The plan that `to_json` wrote."""
        faults, traits = document["faults"], document["traits"]
        assert isinstance(traits, dict)
        traits = traits | {name: tuple(traits[name]) for name in ("overrides", "vetoes") if name in traits}
        drawn = None if faults is None else tuple(_fault(each) for each in _list(faults))
        return cls(**(document | {"traits": Traits(**traits), "faults": drawn}))  # type: ignore[arg-type]  # as written


def _list(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def _fault(document: dict[str, object]) -> Fault:
    how = document["how"]
    assert isinstance(how, list)
    return Fault(**(document | {"how": tuple(how)}))  # type: ignore[arg-type]  # as written by to_json


class Drawn:
    """Faults drawn from a seed: one stream for those at times, one for each kind of moment on each host."""

    def __init__(self, seed: int, traits: Traits) -> None:
        self.seed, self.traits = seed, traits
        self._rng = rng = Random(f"faults {seed}")
        kinds = [kind for kind in KINDS if kind.daemon or not traits.only_daemons]
        kinds = [kind for kind in kinds if traits.operators or not kind.operators]
        if traits.witness:
            # A virtual machine that stands still is late by its own clocks, its watchdog's too.
            kinds = [kind for kind in kinds if kind.name != "paused" or traits.witness == "unwatched"]
            kinds += WITNESS_KINDS
        # Few kinds in each run find more than all kinds in every run (swarm testing, Groce and others, 2012).
        share = rng.choice((0.15, 0.3, 0.6))
        weights = [kind.weight * rng.choice((0.3, 1.0, 3.0)) * (rng.random() < share) for kind in kinds]
        if not any(weights):
            weights[0] = 1.0
        if Random(f"removal {seed}").random() < 0.2 and not traits.only_daemons:
            kinds, weights = [*kinds, REMOVE_PEER], [*weights, REMOVE_PEER.weight]
        self._kinds, self._weights = kinds, weights
        self._at_s = 0.0
        self._moments: dict[tuple[str, str], Random] = {}

    def next(self) -> Fault | None:
        """The next fault at a time; there is always one more."""
        rng = self._rng
        if rng.random() < self.traits.chain:
            self._at_s += rng.uniform(0.05, 6.0)
            return self._of(rng.choice(BLOWS), rng, rng.choice("ab"), self._at_s)
        # Things happen together.
        self._at_s += rng.uniform(0.0, 2.0) if rng.random() < 0.3 else rng.expovariate(1.0 / self.traits.pace_s)
        return self._fault(rng, rng.choice("ab"), self._at_s)

    def at_moment(self, what: str, host: str, nth: int) -> Fault | None:
        """The fault that lies in wait for `what` on `host`, if this time there is one. Asked once for each time."""
        if not self.traits.ambush:
            return None
        rng = self._moments.get((what, host))
        if rng is None:
            rng = self._moments[what, host] = Random(f"{self.seed} {what} {host}")
        if rng.random() >= self.traits.ambush:
            return None
        at_s = rng.uniform(0.0, rng.choice((0.001, 0.03, 0.3, 2.0)))
        moment = f"{what}@{host}"
        if rng.random() < 0.3 and not self.traits.only_daemons:
            return Fault("old_message", host, at_s, moment=moment, nth=nth)
        return replace(self._fault(rng, rng.choice("ab"), at_s), moment=moment, nth=nth)

    def _fault(self, rng: Random, host: str, at_s: float) -> Fault:
        return self._of(rng.choices(self._kinds, self._weights)[0], rng, host, at_s)

    def _of(self, kind: Kind, rng: Random, host: str, at_s: float) -> Fault:
        low_s, high_s = kind.lasts_s
        lasts_s = rng.uniform(low_s, high_s) if rng.random() < 0.7 else rng.uniform(0.05, 2.0)
        return Fault(kind.name, host, at_s, lasts_s, kind.how(rng, host))


class Fixed:
    """Faults of a list."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        faults = tuple(faults)
        self._timed = iter(sorted((fault for fault in faults if not fault.moment), key=lambda fault: fault.at_s))
        self._waiting = {(fault.moment, fault.nth): fault for fault in faults if fault.moment}

    def next(self) -> Fault | None:
        return next(self._timed, None)

    def at_moment(self, what: str, host: str, nth: int) -> Fault | None:
        return self._waiting.get((f"{what}@{host}", nth)) if self._waiting else None
