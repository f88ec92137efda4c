"""What pgvip's faults cost a client, their parts, and what the daemons cost at rest; two checkouts in turn.

scripts/bench [--repeat N] [--rest SECONDS] [--sessions N] [--grown] [--against CHECKOUT] [--json] [--only FAULT]

Each round makes a pair of its own: at rest first, without clients, then the same without the daemons, whose difference
is what they cost PostgreSQL, then the demonstration's faults with its clients. The load of the machine stands beside
all of it; figures of two runs are compared only when they were taken in turn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.chaos.timeline import Event, from_log
from tests.lab.demo import FAULTS, HEALTHY_DEADLINE_S, Demo, Fault, Progress
from tests.lab.hosts import REPOSITORY, Host
from tests.lab.lab import Lab
from tests.lab.nodes import LabError
from tests.lab.pair import Options, Pair

TICKS = os.sysconf("SC_CLK_TCK")
SETTLE_S = 5.0
HTTP = "http://127.0.0.1:8433"
ROUND_S = 900.0
PARTS = (
    ("found", r"(peer-silent|database-unseen|alone|order): |postgresql: PostgreSQL (died|ended|does)"),
    ("claim", r"(claim|intent): "),
    ("fence", r"done: (Fence|power the peer off)|fenced: "),
    ("record", r"record: "),
    ("promoted", r"done: [Pp]romote"),
    ("address", r"done: (AddVip\(vip=primary\)|raise the primary VIP)"),
)
"""The parts of an outage, by the first line of either daemon's log after the fault; of earlier versions too."""


# --- /proc -------------------------------------------------------------------------------------------------


def tree(host: Host, root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for process in host.processes():
        parents.setdefault(int(stat_of(process.pid)[1]), []).append(process.pid)
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def stat_of(pid: int) -> list[str]:
    """proc(5), stat, from the state on; zeros for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


def cpu_s(pids: Iterable[int]) -> float:
    """CPU of processes and of their children that ended: what ends within the tree is not lost."""
    return sum(int(field) for pid in pids for field in stat_of(pid)[11:15]) / TICKS


def pss_mb(pids: Iterable[int]) -> float:
    """Memory, what is shared counted in parts."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def roots_of(host: Host) -> tuple[tuple[str, int], ...]:
    """The daemon and the postmaster, 0 where there is none."""
    return ("daemon", host.service_pid("pgvip")), ("postgres", host.postmaster())


def at_rest(pair: Pair, seconds: float) -> dict[str, dict[str, float]]:
    """By host: per cent of a core of the daemon (its workers with it) and of PostgreSQL; the daemon's memory in MB."""
    roots = {(host.name, what): pid for host in pair.hosts.values() for what, pid in roots_of(host) if pid}
    begun_s = time.monotonic()
    before = {key: cpu_s(tree(pair.hosts[key[0]], pid)) for key, pid in roots.items()}
    time.sleep(seconds)
    found: dict[str, dict[str, float]] = {name: {} for name in pair.hosts}
    for (name, what), pid in roots.items():
        pids = tree(pair.hosts[name], pid)
        used_s = cpu_s(pids) - before[name, what]
        found[name][f"{what}_percent"] = round(100 * used_s / (time.monotonic() - begun_s), 2)
        if what == "daemon":
            found[name]["pss_mb"] = round(pss_mb([pid]), 1)
            found[name]["workers_pss_mb"] = round(pss_mb(pids) - pss_mb([pid]), 1)
    return found


# --- one round ---------------------------------------------------------------------------------------------


def parts_of(events: Iterable[Event], struck_s: float, wrote_s: float) -> dict[str, float]:
    """When each part was through, in seconds after the fault; those that no log names are left out."""
    lines = [event for event in sorted(events) if struck_s <= event.at_s <= wrote_s]
    found = {}
    for name, pattern in PARTS:
        first = next((event for event in lines if re.match(pattern, event.what)), None)
        if first is not None:
            found[name] = round(first.at_s - struck_s, 3)
    return found | {"first write": round(wrote_s - struck_s, 3)}


def writes_again_s(answered: Sequence[float], struck_s: float) -> float:
    """When the longest gap between two successes after the fault ended."""
    before = [at_s for at_s in answered if at_s <= struck_s][-1:]
    times = before + [at_s for at_s in answered if at_s > struck_s]
    return max(itertools.pairwise(times), key=lambda two: two[1] - two[0], default=(struck_s, struck_s))[1]


def struck(demo: Demo, fault: Fault) -> dict[str, Any]:
    """One fault of the demonstration, with its parts."""
    at_s: list[float] = []

    def strike(pair: Pair, primary: Host, standby: Host) -> None:
        at_s.append(time.monotonic())
        fault.strike(pair, primary, standby)

    step = demo.step(replace(fault, strike=strike))
    offset_s = time.time() - time.monotonic()
    events = [event for host in demo.pair.hosts.values() for event in from_log(host.name, host.log(), offset_s)]
    wrote_s = writes_again_s([event.answered_s for event in demo.writer.events() if event.ok], at_s[0])
    return {
        "fault": fault.name, "write_outage_s": step.write_outage_s, "read_outage_s": step.read_outage_s,
        "acknowledged_lost": step.acknowledged_lost, "healthy_after_s": step.healthy_after_s,
        "parts": parts_of(events, at_s[0], wrote_s),
    }  # fmt: skip


def start_daemons_s(pair: Pair, primary: Host) -> float:
    """Start both; seconds from the start of the primary's until it says over HTTP that it is one."""
    pair.start_services(pair.peer_of(primary))
    begun_s = time.monotonic()
    pair.start_services(primary)
    asked = f"until curl -sf -m 1 {HTTP}/primary; do sleep 0.01; done"
    primary.run(["timeout", "60", "sh", "-c", asked], timeout_s=70)
    return round(time.monotonic() - begun_s, 3)


def without_daemons(pair: Pair, rest: dict[str, dict[str, float]], seconds: float) -> None:
    """Stop the daemons, and put the difference that makes to PostgreSQL into `rest`."""
    for host in pair.hosts.values():
        host.stop_service("pgvip")
    for name, found in at_rest(pair, seconds).items():
        rest[name]["cost_percent"] = round(rest[name]["postgres_percent"] - found["postgres_percent"], 2)


def timed_command(pair: Pair, host: Host, *words: str) -> float:
    """Seconds that a command takes."""
    begun_s = time.monotonic()
    pair.pgvip(host, *words, check=False)
    return round(time.monotonic() - begun_s, 3)


def one_round(choice: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Everything, once, on a pair of its own."""
    load = os.getloadavg()[0]
    with Lab() as lab:
        demo = Demo(lab, Options(mode=choice.mode, preset=choice.preset), progress)
        progress.say("a pair is made")
        demo.pair.create()
        demo.pair.wait_healthy(HEALTHY_DEADLINE_S, steady_s=SETTLE_S)
        progress.say(f"at rest, for {choice.rest:g} s")
        rest = at_rest(demo.pair, choice.rest)
        primary = demo.pair.host_as("primary")
        commands = {f"pgvip {name}": timed_command(demo.pair, primary, name) for name in ("status", "check")}
        progress.say(f"PostgreSQL without the daemons, for {choice.rest:g} s")
        without_daemons(demo.pair, rest, choice.rest)
        progress.say("until the primary's daemon says so")
        commands["start until /primary says 200"] = start_daemons_s(demo.pair, primary)
        with ExitStack() as stack:
            if choice.grown or choice.sessions:
                from tests.lab import growth

                if choice.grown:
                    stack.enter_context(growth.grown(demo.pair, progress.say))
                stack.enter_context(growth.crowd(demo.pair, choice.sessions or growth.SESSIONS))
                commands["pgvip status"] = timed_command(demo.pair, demo.pair.host_as("primary"), "status")
            for client in (lab.arp, demo.writer, demo.reader):
                client.start()
            faults = [struck(demo, fault) for fault in FAULTS if not choice.only or fault.name in choice.only]
            wrong = demo.finish()
            longest_ms = [demo.pair.status(host)["loop"]["longest_ms"] for host in demo.pair.hosts.values()]
        progress.say("removing everything")
    return {"load_before": load, "load_after": os.getloadavg()[0], "rest": rest, "commands_s": commands,
            "faults": faults, "wrong": wrong, "longest_round_ms": max(longest_ms)}  # fmt: skip


# --- all rounds --------------------------------------------------------------------------------------------

RUN = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


def round_of(checkout: Path, words: Sequence[str]) -> dict[str, Any]:
    """A round with what is in a checkout: its pgvip and its lab, and this program."""
    argv = [str(checkout / ".venv/bin/python"), "-c", RUN, str(Path(__file__).resolve()), *words, "--one"]
    done = subprocess.run(argv, cwd=checkout, stdout=subprocess.PIPE, text=True, timeout=ROUND_S, check=False)
    if done.returncode:
        raise LabError(f"a round of {checkout} failed with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def commit_of(checkout: Path) -> str:
    """What is measured, "+" after it when there is more than was committed."""
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty=+"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def figures(one: Mapping[str, Any]) -> dict[str, float]:
    """A round as named figures."""
    found: dict[str, float] = {}
    for fault in one["faults"]:
        found[f"{fault['fault']}: write outage, s"] = fault["write_outage_s"]
        found[f"{fault['fault']}: healthy again, s"] = fault["healthy_after_s"]
        found |= {f"{fault['fault']}: - {name}": at_s for name, at_s in fault["parts"].items()}
    for key, title in (("daemon_percent", "daemon at rest, % of a core"), ("pss_mb", "memory (PSS), MB"),
                       ("workers_pss_mb", "its workers (PSS), MB"),
                       ("cost_percent", "what it costs PostgreSQL, % of a core")):  # fmt: skip
        values = [host[key] for host in one["rest"].values() if key in host]
        found |= {title: max(values)} if values else {}
    found |= {f"{name}, s": took_s for name, took_s in one["commands_s"].items()}
    return found | {"longest round, ms": one["longest_round_ms"], "load of the machine": one["load_before"]}


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The median of each figure."""
    every = [figures(one) for one in rounds]
    names = dict.fromkeys(name for one in every for name in one)
    return {name: round(statistics.median(one[name] for one in every if name in one), 3) for name in names}


def table(columns: Mapping[str, Mapping[str, float]], rounds: int) -> list[str]:
    """One row for each figure, one column for each checkout."""
    names = dict.fromkeys(name for found in columns.values() for name in found)
    lines = [f"| median of {rounds} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in names:
        values = (f"{found[name]:g}" if name in found else "" for found in columns.values())
        lines.append(f"| {name} | {' | '.join(values)} |")
    return lines


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mode", choices=["sync", "async"], default="sync")
    parser.add_argument("--preset", choices=["default", "fast"], default="default")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="rounds of each checkout [%(default)s]")
    parser.add_argument("--rest", type=float, default=30.0, metavar="SECONDS", help="at rest, twice [%(default)s]")
    parser.add_argument("--sessions", type=int, default=0, metavar="N", help="idle ones, besides the clients")
    parser.add_argument("--grown", action="store_true", help="a pair as tests/lab/growth.py makes it")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout with its .venv, in turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    parser.add_argument("--only", choices=[fault.name for fault in FAULTS], action="append", help="this fault alone")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> int:
    words = sys.argv[1:]
    choice = parse(words)
    if choice.one:
        with Progress() as progress:
            print(json.dumps(one_round(choice, progress)))
        return 0
    checkouts = {"here" if choice.against else "now": REPOSITORY}
    checkouts |= {"against": choice.against.resolve()} if choice.against else {}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for number in range(choice.repeat):
        for name, checkout in checkouts.items():
            print(f"round {number + 1} of {choice.repeat}, {name}: {commit_of(checkout)}", file=sys.stderr, flush=True)
            rounds[name].append(round_of(checkout, words))
    found = {name: medians(all_of_it) for name, all_of_it in rounds.items()}
    if choice.json:
        whole = {name: {"commit": commit_of(checkout), "rounds": rounds[name], "medians": found[name]}
                 for name, checkout in checkouts.items()}  # fmt: skip
        print(json.dumps({"mode": choice.mode, "preset": choice.preset, "checkouts": whole}))
    else:
        titled = {f"{name} ({commit_of(checkout)})": found[name] for name, checkout in checkouts.items()}
        print("\n".join(table(titled, choice.repeat)))
    wrong = [text for all_of_it in rounds.values() for one in all_of_it for text in one["wrong"]]
    for text in wrong:
        print(f"FAILED: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
