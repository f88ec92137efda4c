"""Behind `scripts/chaos`: starts the labs side by side, shows how far they are, and reports on all of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from tests.chaos import report
from tests.chaos.drive import Spec
from tests.chaos.kinds import KINDS, OF_WITNESS
from tests.chaos.schedule import Group, plan, share
from tests.lab.hosts import REPOSITORY
from tests.lab.pair import MEANS

LABS_PER_CORE = 2
FAULTS_PER_LAB_MIN = 3
STOP_S = 180.0
"""How long a lab may take to judge and keep what it has when it is told to stop."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description="Random faults in random overlap on real pairs, and what clients see of it.",
        epilog="Exit code: 0 nothing was violated, 1 something was or a lab failed, 2 wrong words, 130 interrupted.",
    )
    parser.add_argument("--faults", type=int, default=50, metavar="N", help="faults in all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="the plan (default %(default)s)")
    parser.add_argument("--mode", choices=["sync", "async"], default="sync")
    parser.add_argument("--means", choices=[*MEANS], default="fence",
                        help="by what a host takes over from a silent one; a witness has its own faults")
    parser.add_argument("--preset", choices=["default", "fast"], default="default", help="pgvip's timing")
    parser.add_argument("--labs", type=int, default=0, metavar="L", help="pairs side by side (default: two a core)")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="begin no group after so long")
    parser.add_argument("--only", type=int, action="append", metavar="GROUP", help="this group of the plan alone")
    parser.add_argument("--kinds", type=names, default=[], metavar="KIND,...", help=f"only of {', '.join(KINDS)}")
    parser.add_argument("--lasting", type=int, default=5, metavar="P",
                        help="per cent of the groups whose last fault lasts for most of a minute (default %(default)s)")
    parser.add_argument("--plan", action="store_true", help="print the plan and stop")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where everything is kept (default: chaos-SEED-TIME)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    choice = parser.parse_args(argv)
    if "witness" in MEANS[choice.means]:
        choice.kinds = choice.kinds or [*KINDS]
    elif not OF_WITNESS.isdisjoint(choice.kinds):
        parser.error(f"a pair with --means {choice.means} has no witness for {', '.join(OF_WITNESS & {*choice.kinds})}")
    return choice


def names(text: str) -> list[str]:
    """The kinds that were named; argparse tells of one that there is not, and of none that strikes by itself."""
    found = text.split(",")
    unknown = [name for name in found if name not in KINDS]
    if unknown or all(KINDS[name].preparing for name in found):
        raise argparse.ArgumentTypeError(f"no such kind: {', '.join(unknown)}" if unknown else "these do nothing alone")
    return found


class Labs:
    """The processes of all labs, and what they say."""

    def __init__(self, specs: Sequence[Spec]) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.readers: list[threading.Thread] = []
        self.begun_s = time.monotonic()
        for spec in specs:
            directory = Path(spec.directory)
            directory.mkdir(parents=True)
            path = directory / "spec.json"
            path.write_text(json.dumps(asdict(spec), indent=1))
            with (directory / "driver.err").open("w") as errors:
                argv = ["unshare", "--mount", sys.executable, "-m", "tests.chaos.drive", str(path)]
                process = subprocess.Popen(argv, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=errors,
                                           start_new_session=True)
            self.processes.append(process)
            self.readers.append(threading.Thread(target=self.read, args=(process,), daemon=True))
            self.readers[-1].start()

    def read(self, process: subprocess.Popen[str]) -> None:
        """Pass on what a lab says, with the time since the start."""
        assert process.stdout is not None
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                words = json.loads(line)
                at = time.monotonic() - self.begun_s
                print(f"{at:7.1f} s  lab {words['lab']}: {words['text']}", file=sys.stderr, flush=True)

    def wait(self) -> None:
        """Until all have ended; when interrupted, tell them to stop and wait for what they keep."""
        try:
            for process in self.processes:
                process.wait()
        except BaseException:
            self.stop()
            raise
        finally:
            for reader in self.readers:
                reader.join(5)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)


def results(specs: Sequence[Spec], labs: Labs) -> list[dict[str, Any]]:
    """Each lab's result; one that could not write its own has an error in place of it."""
    found = []
    for spec, process in zip(specs, labs.processes, strict=True):
        path = Path(spec.directory) / "result.json"
        empty = {"lab": spec.lab, "faults": [], "violations": [], "losses": [], "operator": [], "counts": {},
                 "groups_done": 0, "lives": 0, "error": "no result"}
        result = json.loads(path.read_text()) if path.exists() else empty
        if process.returncode not in {0, 143} and not result["error"]:
            said = (Path(spec.directory) / "driver.err").read_text().strip().splitlines()[-1:]
            result["error"] = f"ended with {process.returncode}: {''.join(said)}"
        found.append(result)
    return found


def make_specs(choice: argparse.Namespace, groups: Sequence[Group], out: Path) -> list[Spec]:
    """The groups dealt out to the labs."""
    wanted = [group for group in groups if not choice.only or group.number in choice.only]
    default = min(LABS_PER_CORE * (os.cpu_count() or 1), max(1, choice.faults // FAULTS_PER_LAB_MIN))
    labs = min(choice.labs or default, len(wanted))
    until_s = time.monotonic() + (choice.minutes * 60 if choice.minutes else 1e9)
    return [Spec(number, choice.seed, choice.faults, choice.kinds, [group.number for group in dealt],
                 choice.lasting, choice.mode, choice.means, choice.preset, until_s, str(out / f"lab-{number}"))
            for number, dealt in enumerate(share(wanted, labs), 1)]


def run(choice: argparse.Namespace, groups: Sequence[Group], out: Path) -> tuple[dict[str, Any], bool]:
    """The report's document, and whether the run was interrupted."""
    specs = make_specs(choice, groups, out)
    about = report.about()  # now: in the end another commit may be checked out here
    labs = Labs(specs)
    interrupted = False
    try:
        labs.wait()
    except (KeyboardInterrupt, SystemExit):
        interrupted = True
    document = report.merge(results(specs, labs)) | {
        "command": "scripts/chaos " + shlex.join(sys.argv[1:]), "about": about, "seed": choice.seed,
        "mode": choice.mode, "means": choice.means, "preset": choice.preset, "labs": len(specs),
        "seconds": round(time.monotonic() - labs.begun_s, 1), "interrupted": interrupted,
        "plan": [str(group) for group in groups],
    }
    report.write(out / "report.json", document)
    (out / "report.txt").write_text(report.text(document) + "\n")
    return document, interrupted


def main() -> int:
    choice = parse(sys.argv[1:])
    groups = plan(choice.seed, choice.faults, choice.kinds, choice.lasting)
    if choice.plan:
        print("\n".join(map(str, groups)))
        return 0
    out = (choice.out or Path(f"chaos-{choice.seed}-{time.strftime('%H%M%S')}")).resolve()

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)
    print(f"everything is kept in {out}", file=sys.stderr)
    document, interrupted = run(choice, groups, out)
    print(json.dumps(document) if choice.json else report.text(document))
    if interrupted:
        return 130
    return 1 if document["violations"] or document["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
