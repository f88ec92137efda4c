"""The demonstration behind `scripts/demo`: six faults on a real pair, and what its clients see of each."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import FrameType, TracebackType
from typing import Self

from tests.lab.clients import SqlClient
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.nodes import LabError, wait_until
from tests.lab.pair import MEANS, Options, Pair

HEALTHY_DEADLINE_S = 120.0
STEADY_WRITES = 50
"""So many rows must have been acknowledged since the last step before the next fault begins."""


class Progress:
    """What goes on, on standard error: one line that lives on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.text, self.since_s = "", time.monotonic()
        self.ended = threading.Event()
        self.ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self.terminal:
            self.ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        self._clear()

    def say(self, text: str) -> None:
        """What is waited for now."""
        self.text, self.since_s = text, time.monotonic()
        if not self.terminal:
            print(f"    {text}", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """A line that stays."""
        self.text = ""
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self.ended.wait(0.2):
            if self.text:
                line = f"\r\033[K    {self.text} {time.monotonic() - self.since_s:.1f} s"
                print(line, end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


PATIENCE_S = 60.0
PATIENCE_WITHOUT_MEANS_S = 20.0
"""So long a pair that has no means to take over is left alone with its fault before somebody ends it."""


@dataclass(frozen=True)
class Step:
    """What one fault cost. Seconds; `acknowledged_lost`: rows acknowledged to the client that are gone.

    `served_by_itself`: nobody had to end the fault before the pair took writes again.
    """

    fault: str
    served_by_itself: bool
    write_outage_s: float
    read_outage_s: float
    acknowledged: int
    acknowledged_lost: int
    healthy_after_s: float
    roles_after: dict[str, str]


@dataclass(frozen=True)
class Fault:
    """One of the demonstration's faults. `end` is done once the client writes again, or will not."""

    name: str
    title: str
    strike: Callable[[Pair, Host, Host], None]
    end: Callable[[Pair, Host, Host], None] = lambda _pair, _primary, _standby: None


def kill_postmaster(_pair: Pair, primary: Host, _standby: Host) -> None:
    os.kill(primary.postmaster(), signal.SIGKILL)


def switch_over(pair: Pair, primary: Host, _standby: Host) -> None:
    pair.pgvip(primary, "switchover")


def power_on(pair: Pair, *hosts: Host) -> None:
    """Where no fence device has done it."""
    if not pair.options.fencing:
        for host in hosts:
            host.boot()


FAULTS = (
    Fault("postmaster-killed", "PostgreSQL's postmaster on the primary is killed", kill_postmaster),
    Fault("primary-power-off", "the primary host loses power", lambda _, primary, standby: primary.power_off(),
          power_on),
    Fault("standby-power-off", "the standby host loses power", lambda _, primary, standby: standby.power_off(),
          power_on),
    Fault("primary-cut-off", "the primary host is cut off from the network", lambda _, primary, standby: primary.cut(),
          lambda _, primary, standby: primary.heal()),
    Fault("primary-hung", "every process of PostgreSQL on the primary is stopped (SIGSTOP)",
          lambda _, primary, standby: primary.signal_postgres(signal.SIGSTOP)),
    Fault("switchover", "a planned switchover", switch_over),
)


class Demo:
    """A healthy pair, a writing and a reading client, and one fault after the other."""

    def __init__(self, lab: Lab, options: Options, progress: Progress) -> None:
        self.lab, self.progress = lab, progress
        self.pair = Pair(lab, options)
        self.writer: SqlClient = lab.writer()
        self.reader: SqlClient = lab.reader()
        self.lost: set[int] = set()

    def set_up(self) -> None:
        """Build the pair with pgvip's own commands and start the clients."""
        self.progress.say("pgvip init and run on alpha, pgvip clone and run on beta")
        self.pair.create()
        self.progress.say("until primary and standby are healthy")
        took_s = self.pair.wait_healthy(HEALTHY_DEADLINE_S)
        self.lab.arp.start()
        self.writer.start()
        self.reader.start()
        self.progress.line(f"pair healthy {took_s:.1f} s after its clone: {words(self.pair.roles())}")

    def step(self, fault: Fault) -> Step:
        """One fault, from a steady pair to a healthy one."""
        self.progress.say(f"{fault.name}: steady")
        self.pair.wait_healthy(HEALTHY_DEADLINE_S)
        steady_s = time.monotonic()
        wait_until(lambda: len(self.writer.acknowledged(steady_s)) >= STEADY_WRITES, 60, "steady writes")
        primary, standby = self.pair.host_as("primary"), self.pair.host_as("standby")
        self.progress.say(f"{fault.name}: {fault.title}; the clients wait")
        struck_s = time.monotonic()
        fault.strike(self.pair, primary, standby)
        served = self.served()
        fault.end(self.pair, primary, standby)
        what = "the client writes again" if served else "the fault is ended"
        self.progress.say(f"{fault.name}: {what}; until the pair is healthy")
        self.pair.wait_healthy(HEALTHY_DEADLINE_S)
        healthy_s = time.monotonic()
        self.writer.wait_success()
        self.reader.wait_success()
        ended_s = time.monotonic()
        lost = self.lab.lost(self.writer.acknowledged(), self.pair.host_as("primary"))
        new, self.lost = lost - self.lost, lost
        return Step(
            fault.name,
            served,
            round(self.writer.outage_s(struck_s, ended_s), 3),
            round(self.reader.outage_s(struck_s, ended_s), 3),
            len(self.writer.acknowledged(steady_s)),
            len(new),
            round(healthy_s - struck_s, 2),
            self.pair.roles(),
        )

    def served(self) -> bool:
        """Wait until the client writes again. A pair without any means to take over may leave it waiting."""
        if self.pair.options.fencing or self.pair.options.witness:
            self.writer.wait_success(PATIENCE_S)
            return True
        try:
            self.writer.wait_success(PATIENCE_WITHOUT_MEANS_S)
        except LabError:
            return False
        return True

    def finish(self) -> list[str]:
        """End the clients; what the monitors saw that must never be."""
        self.writer.stop()
        self.reader.stop()
        return self.lab.violations()


def words(roles: dict[str, str]) -> str:
    """Roles for people."""
    return ", ".join(f"{host} {role}" for host, role in roles.items())


def tell(step: Step) -> str:
    """One step for people."""
    nobody = f"until it was ended, after {PATIENCE_WITHOUT_MEANS_S:g} s"
    outage = f"{step.write_outage_s:6.2f} s" if step.served_by_itself else nobody
    return (f"{step.fault:18}  write outage {outage}   read outage {step.read_outage_s:6.2f} s   "
            f"healthy after {step.healthy_after_s:5.1f} s   lost {step.acknowledged_lost} of {step.acknowledged}   "
            f"({words(step.roles_after)})")


def medians(steps: Sequence[Step]) -> list[str]:
    """The median outage of each fault, for a demonstration that was repeated."""
    lines = []
    for name in dict.fromkeys(step.fault for step in steps):
        outages = [step.write_outage_s for step in steps if step.fault == name]
        lines.append(f"{name:18}  median write outage {statistics.median(outages):6.2f} s   "
                     f"from {min(outages):.2f} to {max(outages):.2f} s in {len(outages)}")
    return lines


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Six faults on a real pair, made of namespaces.")
    parser.add_argument("--mode", choices=["sync", "async"], default="sync")
    parser.add_argument("--preset", choices=["default", "fast"], default="default")
    parser.add_argument("--means", choices=[*MEANS], default="fence",
                        help="by what a host takes over from a silent one")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run the six faults N times")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    parser.add_argument("--only", choices=[fault.name for fault in FAULTS], action="append", help="this fault alone")
    return parser.parse_args(argv)


def run(choice: argparse.Namespace, progress: Progress) -> tuple[list[Step], list[str]]:
    """All steps done, and what went wrong."""
    steps: list[Step] = []
    wrong: list[str] = []
    faults = [fault for fault in FAULTS if not choice.only or fault.name in choice.only]
    with Lab() as lab:
        demo = Demo(lab, Options(mode=choice.mode, preset=choice.preset, **MEANS[choice.means]), progress)
        try:
            demo.set_up()
            for round_number in range(choice.repeat):
                if choice.repeat > 1:
                    progress.line(f"round {round_number + 1} of {choice.repeat}")
                for fault in faults:
                    steps.append(demo.step(fault))
                    progress.line(tell(steps[-1]))
            wrong += demo.finish()
        except LabError as error:
            wrong.append(str(error))
        progress.say("removing everything")
    if choice.mode == "sync":
        losses = {step.fault: step.acknowledged_lost for step in steps if step.acknowledged_lost}
        wrong += [f"{fault}: {lost} acknowledged rows lost" for fault, lost in losses.items()]
    return steps, wrong


def main() -> int:
    choice = parse(sys.argv[1:])

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)
    with Progress() as progress:
        steps, wrong = run(choice, progress)
    if choice.json:
        print(json.dumps({"mode": choice.mode, "preset": choice.preset, "means": choice.means,
                          "steps": [asdict(step) for step in steps]}))
    else:
        print("\n".join(medians(steps) if choice.repeat > 1 else map(tell, steps)))
    for text in wrong:
        print(f"FAILED: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
