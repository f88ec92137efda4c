"""What a chaos run will do, as a pure function of its seed: groups of faults, each healed before the next begins."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from tests.chaos.kinds import KINDS, OF_WITNESS, SILENCING, STIRRING, Kind

HOSTS = ("alpha", "beta")
SIZES = (1, 1, 1, 2, 2, 2, 3, 3, 4)
"""How many faults overlap in a group; drawn evenly."""


class Heal(Enum):
    """When a fault that lasts is healed."""

    SOON = "soon"
    """After `hold_s`, which is often before the pair has reacted."""
    REACTED = "reacted"
    """Once the pair has done what it can: clients write again, or they wait in vain for `hold_s`."""
    OVERLAP = "overlap"
    """Just after the next fault of the group has begun."""
    END = "end"
    """When the group ends, but not before `hold_s`."""


CUES = ("intent: ", "yield: ", "record: ", "role: ", "rejoin")
FENCING_CUES = ("intent: ", "claim: ", "claim: ", "fenced: ", "record: ", "role: ", "start: ", "link: up")
"""What a daemon logs in the middle of a change: a fault that waits for such a line strikes where it hurts."""
LASTING_S = (40.0, 55.0)
HOLDS_S = {Heal.SOON: (0.1, 4.0), Heal.OVERLAP: (0.0, 0.0), Heal.END: (0.0, 15.0)}


@dataclass(frozen=True)
class Step:
    """One fault. `number` counts through the whole plan; `host` is hit where the role of `target` names nobody.

    `amount` is the kind's own parameter, `hold_s` how long before it is healed, `pause_s` what comes after; `salt`
    draws among what is only known at the time (which backend). With a `cue` it waits for a daemon to log that.
    """

    number: int
    kind: str
    target: str
    host: str
    amount: float
    heal: Heal
    hold_s: float
    pause_s: float
    salt: int
    cue: str = ""

    def __str__(self) -> str:
        amount = f" {self.amount:g}" if self.amount else ""
        cue = f"at '{self.cue.strip()}' " if self.cue else ""
        return f"{cue}{self.kind}({self.target}){amount}, heal {self.heal.value}"


@dataclass(frozen=True)
class Group:
    """Faults in overlap; the pair is healthy before the first, and must become so after the last."""

    number: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"group {self.number}: " + "; ".join(map(str, self.steps))


def plan(seed: int, faults: int, names: Sequence[str] = (), lasting: int = 0) -> tuple[Group, ...]:
    """Groups with `faults` faults in all, of the kinds named or of all but those of a witness; some per cent last."""
    kinds_drawn = [kind for kind in KINDS.values() if (kind.name in names if names else kind.name not in OF_WITNESS)]
    source = random.Random(f"chaos {seed}")
    groups: list[Group] = []
    done = 0
    while done < faults:
        kinds = draw_kinds(source, kinds_drawn, min(source.choice(SIZES), faults - done))
        steps = [draw_step(source, done + index, kind, last=index == len(kinds))
                 for index, kind in enumerate(kinds, 1)]
        cued = with_cues(source, steps)
        groups.append(Group(len(groups) + 1, long(source, cued) if source.random() * 100 < lasting else cued))
        done += len(steps)
    return tuple(groups)


def draw_kinds(source: random.Random, all_kinds: Sequence[Kind], count: int) -> list[Kind]:
    """At most so many different kinds that make sense together."""
    striking = [kind for kind in all_kinds if not kind.preparing]
    company = any(not kind.alone for kind in striking)
    kinds = [pick(source, all_kinds if count > 1 and company else striking)]
    while len(kinds) < count and not kinds[0].alone:
        later = [kind for kind in striking if kind not in kinds and not kind.alone]
        if not later:
            break
        kinds.append(pick(source, later))
    return kinds


def pick(source: random.Random, kinds: Sequence[Kind]) -> Kind:
    """One of them, by their weights."""
    return source.choices(kinds, [kind.weight for kind in kinds])[0]


def with_cues(source: random.Random, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Let some faults wait for what the pair does about the one before, which must then not be healed first."""
    found = list(steps)
    for index in range(1, len(found)):
        before = found[index - 1]
        if before.kind in STIRRING and source.random() < 0.7:
            cues = FENCING_CUES if before.kind in SILENCING else CUES
            found[index] = replace(found[index], cue=source.choice(cues))
            if KINDS[before.kind].lasts:
                heal = source.choice([Heal.OVERLAP, Heal.END])
                before = replace(before, heal=heal, hold_s=round(source.uniform(*HOLDS_S[heal]), 2))
            found[index - 1] = replace(before, pause_s=0.0)
    return tuple(found)


def draw_step(source: random.Random, number: int, kind: Kind, *, last: bool) -> Step:
    """The particulars of one fault."""
    heals = [Heal.SOON, Heal.REACTED, Heal.REACTED, Heal.END]
    if not last:
        heals = [Heal.SOON, Heal.REACTED, Heal.OVERLAP, Heal.OVERLAP, Heal.END]
    if kind.preparing:
        heals = [Heal.END]
    heal = source.choice(heals) if kind.lasts else Heal.SOON
    shortest_s, longest_s = HOLDS_S[heal] if heal is not Heal.REACTED else (kind.patience_s / 4, kind.patience_s)
    hold_s = source.uniform(shortest_s, longest_s)
    return Step(
        number=number,
        kind=kind.name,
        target=source.choice(kind.targets),
        host=source.choice(HOSTS),
        amount=round(source.uniform(*kind.seconds), 2),
        heal=heal,
        hold_s=round(hold_s, 2) if kind.lasts else 0.0,
        pause_s=round(source.choice([0.0, source.uniform(0, 1), source.uniform(0, 5)]), 2),
        salt=source.randrange(1 << 30),
    )


def long(source: random.Random, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same, and what lasts in the end lasts for much longer than any detection takes (invariant 6)."""
    last = steps[-1]
    if not KINDS[last.kind].lasts:
        return tuple(steps)
    return (*steps[:-1], replace(last, heal=Heal.END, hold_s=round(source.uniform(*LASTING_S), 2)))


def share(groups: Sequence[Group], labs: int) -> list[list[Group]]:
    """The groups of each lab: dealt out one by one, so that all labs have about as much to do."""
    return [list(groups[first::labs]) for first in range(labs)]
