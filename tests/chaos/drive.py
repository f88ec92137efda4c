"""One lab of a chaos run, as a process: plays its groups of faults and writes down what came of each.

    python -m tests.chaos.drive SPEC        (a JSON file, written by `tests.chaos.main`)
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from tests.chaos import report
from tests.chaos.checker import Finding
from tests.chaos.faults import STRIKES
from tests.chaos.ground import Undo, VoidError
from tests.chaos.history import FaultWindow
from tests.chaos.life import Life
from tests.chaos.operators import Operator
from tests.chaos.schedule import Group, Heal, Step, plan
from tests.lab.nodes import LabError, wait_until

HEALTHY_S = 120.0
"""How long a pair may take to be healthy once all faults are healed (PROTOCOL 5's bounded time)."""
STEADY_S = 2.0
"""Writes for so long between a healthy pair and the next fault."""
CUE_S = 12.0
DEEDS_MAX = 4
"""So often the operator does what `status` names, for one group."""
FELT_S, AGAIN_S = 0.6, 0.2
"""Silence of the busiest client that tells of an outage, and silence that tells of its end."""


@dataclass
class Spec:
    """What one lab is to do."""

    lab: int
    seed: int
    faults: int
    kinds: list[str]
    groups: list[int]
    lasting: int
    mode: str
    means: str
    preset: str
    until_s: float
    directory: str


@dataclass
class Played:
    """What one fault did. `void`: why it could not be done, or ""."""

    group: int
    number: int
    kind: str
    target: str
    void: str = ""
    began_s: float = 0.0
    healed_s: float | None = None
    undo: Undo | None = field(default=None, repr=False)
    step: Step | None = field(default=None, repr=False)


@dataclass
class Result:
    """What one lab's run came to, as written to `result.json`."""

    lab: int
    faults: list[dict[str, object]] = field(default_factory=list)
    violations: list[dict[str, object]] = field(default_factory=list)
    losses: list[dict[str, object]] = field(default_factory=list)
    operator: list[dict[str, object]] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)
    groups_done: int = 0
    lives: int = 0
    seconds: float = 0.0
    error: str = ""


class Driver:
    """Plays the groups of one lab, one life of a pair after the other."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.directory = Path(spec.directory)
        self.result = Result(spec.lab)
        self.life: Life | None = None
        self.played: list[Played] = []
        self.healthy_s: dict[int, float] = {}
        self.begun_s = time.monotonic()

    def tell(self, text: str) -> None:
        """Progress, read by the process that started this one."""
        print(json.dumps({"lab": self.spec.lab, "text": text}), flush=True)

    def run(self) -> None:
        """All groups, or as many as the time allows; the result is written in any case."""
        whole = plan(self.spec.seed, self.spec.faults, self.spec.kinds, self.spec.lasting)
        groups = [group for group in whole if group.number in self.spec.groups]
        try:
            for group in groups:
                if time.monotonic() >= self.spec.until_s:
                    self.tell("the time is up")
                    break
                if not self.play(group):
                    self.end_life()
        except LabError as error:
            self.result.error = str(error)
            self.tell(f"the lab failed: {str(error).splitlines()[0]}")
        finally:
            self.end_life()
            self.save()

    def save(self) -> None:
        self.result.seconds = round(time.monotonic() - self.begun_s, 1)
        (self.directory / "result.json").write_text(json.dumps(asdict(self.result), indent=1))

    # --- lives -----------------------------------------------------------------------------------

    def current(self) -> Life:
        """The pair that lives, made when there is none."""
        if self.life is None:
            self.result.lives += 1
            self.tell("making a pair")
            name = f"life-{self.result.lives}"
            self.life = Life(self.directory / name, self.spec.mode, self.spec.preset, self.spec.seed + self.spec.lab,
                             means=self.spec.means, own_mounts=True)
            self.played = []
            self.life.begin()
        return self.life

    def end_life(self) -> None:
        """Judge and keep the life that was, and add it to the result."""
        life, self.life = self.life, None
        if life is None:
            return
        self.tell("judging")
        life.windows = [self.window(one) for one in self.played if not one.void]
        try:
            life.end()
        finally:
            self.account(life)
            self.save()

    def window(self, one: Played) -> FaultWindow:
        healthy = self.healthy_s.get(one.group)
        return FaultWindow(one.kind, one.target, one.began_s, one.healed_s, healthy)

    def account(self, life: Life) -> None:
        """Add a life's verdicts; outages are in the order of the windows, which leave out void faults."""
        outages = iter(life.report.outages)
        for one in self.played:
            outage = None if one.void else next(outages, None)
            self.result.faults.append({
                "life": self.result.lives, "group": one.group, "number": one.number, "kind": one.kind,
                "target": one.target, "void": one.void, "began_s": one.began_s, "healed_s": one.healed_s,
                "healthy_s": self.healthy_s.get(one.group),
                "write_s": outage.write_s if outage else None, "read_s": outage.read_s if outage else None,
                "lost": outage.lost if outage else 0,
            })
        where = {"life": self.result.lives}
        self.result.violations += [where | asdict(finding) for finding in life.all_findings()]
        self.result.losses += [where | asdict(loss) for loss in life.report.losses]
        for what, count in life.report.counts.items():
            before = self.result.counts.get(what, 0)
            self.result.counts[what] = report.added(what, before, count)

    # --- one group -------------------------------------------------------------------------------

    def play(self, group: Group) -> bool:
        """From a healthy pair to a healthy pair; False when it did not come back."""
        life = self.current()
        self.steady(life)
        self.tell(str(group))
        life.say("driver", str(group))
        life.ground.remember_records()
        life.whole = False
        here: list[Played] = []
        try:
            for step in group.steps:
                self.strike(life, group, step, here)
            self.hold(here)
        finally:
            for one in here:
                self.heal(life, one)
        for name in life.ground.boot_all():
            life.say("driver", f"power button of {name}")
        life.ground.tidy()  # only now: a filled disk of a host that was off is full still
        return self.comes_back(life, group)

    def steady(self, life: Life) -> None:
        """A healthy pair and writes that succeed."""
        life.pair.wait_healthy(HEALTHY_S)
        now_s = time.monotonic()
        wait_until(lambda: life.pulse.beat() > now_s, 30, "writes between two groups")
        time.sleep(STEADY_S)

    def strike(self, life: Life, group: Group, step: Step, here: list[Played]) -> None:
        """Begin one fault; heal it, or those that were to overlap with it, when their time has come."""
        if step.cue and not life.cue(step.cue, CUE_S):
            life.say("driver", f"no daemon said {step.cue!r} within {CUE_S:g} s")
        host = life.ground.aim(step)
        target = "pair" if step.target == "pair" else host.name
        one = Played(group.number, step.number, step.kind, target, step=step)
        self.played.append(one)
        life.mark()
        one.began_s = time.monotonic()
        life.say("FAULT", f"{step} -> {target}")
        try:
            one.undo = STRIKES[step.kind](life.ground, host, step)
        except (VoidError, LabError, OSError) as error:  # most often: it was switched off meanwhile
            reason = str(error).splitlines()[0]
            one.void = reason
            life.say("driver", f"{step.kind} is void: {reason}")
            return
        for earlier in here:
            if earlier.step is not None and earlier.step.heal is Heal.OVERLAP:
                self.heal(life, earlier)
        here.append(one)
        if step.heal is Heal.SOON:
            time.sleep(step.hold_s)
        elif step.heal is Heal.REACTED:
            self.reacted(life, one.began_s, step.hold_s)
        if step.heal in {Heal.SOON, Heal.REACTED}:
            self.heal(life, one)
        time.sleep(step.pause_s)

    def hold(self, here: list[Played]) -> None:
        """Leave what is healed at the end of the group for its time."""
        ends_s = [one.began_s + one.step.hold_s for one in here if one.undo and one.step]
        time.sleep(max(0.0, max(ends_s, default=0.0) - time.monotonic()))

    def reacted(self, life: Life, began_s: float, patience_s: float) -> None:
        """Wait until clients write again after an outage, or until nothing of the kind has come for so long."""
        end_s = began_s + patience_s
        felt = False
        while time.monotonic() < end_s:
            time.sleep(0.1)
            silent_s = time.monotonic() - life.pulse.beat()
            felt = felt or silent_s > FELT_S
            if felt and silent_s < AGAIN_S:
                return

    def heal(self, life: Life, one: Played) -> None:
        """Undo a fault, once."""
        undo, one.undo = one.undo, None
        if undo is None:
            return
        try:
            undo()
        except (LabError, OSError, VoidError) as error:
            life.say("driver", f"healing {one.kind}: {str(error).splitlines()[0]}")
        one.healed_s = time.monotonic()
        life.say("HEALED", f"{one.kind} -> {one.target}")

    def comes_back(self, life: Life, group: Group) -> bool:
        """Wait for the healthy pair; with an operator who does what `status` names, and is counted."""
        operator = Operator(life)
        begun_s = time.monotonic()
        end_s = begun_s + HEALTHY_S
        deeds = 0
        while not life.serves(begun_s):
            time.sleep(0.2)
            for deed in operator.look(time.monotonic() - begun_s) if deeds < DEEDS_MAX else ():
                deeds += 1
                self.result.operator.append({"life": self.result.lives, "group": group.number, **deed})
                end_s = time.monotonic() + HEALTHY_S
            if time.monotonic() > end_s:
                self.missed(life, group)
                return False
        self.healthy_s[group.number] = time.monotonic()
        life.whole = True
        life.say("driver", f"healthy {time.monotonic() - begun_s:.1f} s after everything was healed")
        self.tell(f"group {group.number}: healthy after {time.monotonic() - begun_s:.1f} s")
        self.result.groups_done += 1
        return True

    def missed(self, life: Life, group: Group) -> None:
        """The pair did not come back: a finding, with all that can be asked."""
        text = f"group {group.number}: not healthy {HEALTHY_S:g} s after everything was healed: {life.pair.roles()}"
        life.findings.append(Finding("5: does not come back", text, time.monotonic()))
        life.say("driver", text)
        self.tell(f"FINDING 5: {text}")
        parts = [life.pair.describe(60)]
        for host in life.pair.hosts.values():
            try:
                parts.append(life.pair.pgvip(host, "status", check=False, timeout_s=20).stdout)
            except LabError as error:
                parts.append(str(error))
        (life.directory / "not-healthy.txt").write_text("\n".join(parts))


def main() -> None:
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)
    Driver(spec).run()


if __name__ == "__main__":
    main()
