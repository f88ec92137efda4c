"""The life of one pair under chaos: made, watched by clients and probers, struck, and judged when it ends."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos import logs, silence, timeline
from tests.chaos.checker import Finding, Report, check
from tests.chaos.excuses import excused
from tests.chaos.ground import SERVED, Ground
from tests.chaos.history import FaultWindow, FinalState, Histories, Promises
from tests.chaos.probers import Probers, fetch_final
from tests.chaos.workload import Workload, create_tables
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.nodes import LabError
from tests.lab.pair import MEANS, Options, Pair, Sections

DISK_MB = 2048
ARCHIVE = {"mount_type": "none", "mount_source": SERVED, "mount_options": "bind,ro"}
LAG_S_MAX = {"sync": 10.0, "async": 60.0}
"""In sync a limit that a paused replay reaches; in async the default, since it is the lease to take over as well."""
MADE_S = 90.0
PROBES_PER_S = 20.0
STATE_MB = 2048
CRASH = "Traceback (most recent call last)"
CRASH_CHARS = 4000
"""A daemon that fails an assertion ends, and is started again: clients may never notice, but it is a defect."""
WRITING, READING = 1, 11
"""The clients whose successes tell whether the pair serves: an inserter, and a reader on the standby VIP."""


class Pulse:
    """The newest success of one client, from its log as it grows."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        self.latest_s = 0.0

    def beat(self) -> float:
        """When the last success was sent, CLOCK_MONOTONIC seconds."""
        if self.path.exists():
            with self.path.open("rb") as log:
                log.seek(self.offset)
                whole, newline, _ = log.read().rpartition(b"\n")
            self.offset += len(whole) + len(newline)
            for line in whole.split(b"\n"):
                words: list[Any] = json.loads(line) if line else [""]
                if words[0] == "write" and words[7] == "ack":
                    self.latest_s = float(words[5])
                elif words[0] == "read" and words[6]:
                    self.latest_s = float(words[4])
        return self.latest_s


class Life:
    """Use as a context manager: from a healthy pair to its end; everything of it is kept in `directory`."""

    def __init__(
        self, directory: Path, mode: str, preset: str, seed: int, *, means: str = "fence", own_mounts: bool = False,
    ) -> None:
        """`own_mounts`: this process has a mount namespace of its own, where file systems may be mounted."""
        directory.mkdir(parents=True)
        self.own_mounts = own_mounts
        self.directory, self.mode = directory, mode
        self.lab = Lab()
        overrides: Sections = {"archive": ARCHIVE, "replication": {"lag_s_max": LAG_S_MAX[mode]}}
        options = Options(mode=mode, preset=preset, overrides=overrides, disk_mb=DISK_MB, **MEANS[means])
        self.pair = Pair(self.lab, options)
        self.ground = Ground(self.pair)
        self.workload = Workload(self.lab, directory, seed)
        self.probers = Probers(self.lab, directory)
        self.pulse, self.reading = (Pulse(directory / f"client-{number}.log") for number in (WRITING, READING))
        self.watch = silence.Watch(
            self.pair, (Pulse(self.pulse.path), Pulse(self.reading.path)), directory / "looks.jsonl")
        for probe in self.lab.probes.values():
            probe.rate = PROBES_PER_S
        self.wall_offset_s = time.time() - time.monotonic()
        self.windows: list[FaultWindow] = []
        self.findings: list[Finding] = []
        self.report = Report()
        self.marks: dict[Path, int] = {}
        self.whole = True
        """The pair is healthy, or should be: no fault is under way, and none has left it broken."""

    def say(self, who: str, what: str) -> None:
        """One event of the driver's, at once on disk."""
        with (self.directory / "driver.jsonl").open("a") as file:
            file.write(json.dumps({"at_s": round(time.monotonic(), 4), "who": who, "what": what}) + "\n")

    def begin(self) -> None:
        """Make the pair, start all that watches it. LabError when it does not become healthy."""
        self.lab.__enter__()
        if self.own_mounts:
            self.mount_states()
        self.pair.create()
        self.pair.wait_healthy(MADE_S)
        create_tables(self.pair.host_as("primary"))
        self.probers.start()
        self.workload.start()
        self.watch.start()
        self.say("driver", "the pair is healthy; clients and probers are at work")

    def mount_states(self) -> None:
        """A file system for each host's state, which can be full. They go with this process's mount namespace."""
        for host in self.pair.hosts.values():
            options = f"size={STATE_MB}m,mode=755"
            argv = ["mount", "-t", "tmpfs", "-o", options, "pgvip-lab-state", str(host.directory / "state")]
            subprocess.run(argv, check=True, timeout=30)

    def unmount_states(self) -> None:
        """So that the lab can remove its directories."""
        for host in self.pair.hosts.values():
            subprocess.run(["umount", "-l", str(host.directory / "state")], check=False, timeout=30)

    def close(self) -> None:
        """Take the lab down."""
        self.watch.stop()
        try:
            for host in self.pair.hosts.values():
                host.stop()
        finally:
            if self.own_mounts:
                self.unmount_states()
            self.lab.close()

    def serves(self, since_s: float) -> bool:
        """True when the pair is healthy by its deeds, and clients have written and read since."""
        return min(self.pulse.beat(), self.reading.beat()) > since_s and self.pair.healthy()  # the cheap one first

    def mark(self) -> None:
        """What the daemons log from now on may be a cue."""
        self.marks = {path: path.stat().st_size for path in self.daemon_logs()}

    def daemon_logs(self) -> list[Path]:
        """Where the daemons write, all boots in one file."""
        return [host.directory / "shared/pgvip.log" for host in self.pair.hosts.values()]

    def cue(self, words: str, patience_s: float) -> bool:
        """Wait until one of the daemons has logged these words since the mark; False when none does."""
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s:
            for path, size in self.marks.items():
                with path.open("rb") as log:
                    log.seek(size)
                    if words.encode() in log.read():
                        return True
            time.sleep(0.005)
        return False

    # --- the end -------------------------------------------------------------------------------

    def end(self) -> None:
        """Stop the clients, judge, and keep everything, whatever happens on the way; then take the lab down."""
        try:
            self.judge(self.final_state())
        finally:
            try:
                self.keep()
            finally:
                self.close()

    def final_state(self) -> FinalState | None:
        """What the tables hold, or None when no primary could be asked, which is a finding."""
        self.watch.stop()
        for stop in (self.workload.stop, self.probers.stop):
            try:
                stop()
            except (LabError, OSError) as error:
                self.findings.append(Finding("watching failed", str(error)[:500]))
        if not self.whole:
            return self.content_of_a_sick_pair()
        try:
            primary = self.pair.host_as("primary")
            return fetch_final(primary, self.pair.peer_of(primary))
        except (LabError, OSError, ValueError) as error:
            self.findings.append(Finding("final state not read", str(error)[:500]))
            return None

    def content_of_a_sick_pair(self) -> FinalState | None:
        """What the only host that takes writes has; None when there is none, which an interrupted run may end with."""
        with contextlib.suppress(LabError, OSError, ValueError):
            writable = [host for host in self.pair.hosts.values() if self.takes_writes(host)]
            if len(writable) == 1:
                return fetch_final(writable[0], None)
        if self.findings:
            self.findings.append(Finding("final state not read", "the pair did not come back, and nobody takes writes"))
        return None

    def takes_writes(self, host: Host) -> bool:
        """False also when it does not answer."""
        try:
            return host.writable()
        except (LabError, OSError):
            return False

    def judge(self, final: FinalState | None) -> None:
        """Let the checker look at what clients and probers were told; also when the tables cannot be read."""
        promises = Promises(mode=self.mode, lag_s_max=LAG_S_MAX[self.mode])
        histories = excused(logs.load(self.directory), self.windows, fencing=self.pair.options.fencing)
        self.report = check(histories, final, self.windows, promises)
        looks = silence.load(self.directory / "looks.jsonl")
        self.report.violations += silence.silent(looks, self.windows)
        self.report.counts["looks"] = len(looks)

    def keep(self) -> None:
        """Both daemons' and databases' logs, the fence device's, and all of it in one timeline."""
        for name, host in self.pair.hosts.items():
            with contextlib.suppress(OSError, LabError):
                keep_logs(host, self.directory)
            _, crash, after = host.log().partition(CRASH)
            if crash:
                self.findings.append(Finding("a daemon crashed", f"{name}.log has a traceback: {after[:CRASH_CHARS]}"))
        orders = [asdict(order) for order in self.lab.fence.orders]
        (self.directory / "fence.jsonl").write_text("".join(json.dumps(order) + "\n" for order in orders))
        timeline.write(self.directory / "timeline.txt", self.events(), self.wall_offset_s)

    def events(self) -> Iterator[timeline.Event]:
        """Everything that has a time."""
        yield from timeline.from_driver(self.directory / "driver.jsonl")
        for name in self.pair.hosts:
            for kind, path in (("pgvip", f"{name}.log"), ("postgresql", f"{name}-postgresql.log")):
                log = self.directory / path
                if log.exists():
                    text = log.read_text(errors="replace")
                    yield from timeline.from_log(f"{kind} {name}", text, self.wall_offset_s)
        for order in self.lab.fence.orders:
            if order.action != "status":
                what = f"{order.by} ordered {order.action} of {order.plug}: {'done' if order.code == 0 else 'failed'}"
                yield timeline.Event(order.at_s, "fence device", what)
        for finding in self.all_findings():
            yield timeline.Event(finding.at_s, "FINDING", f"{finding.kind}: {finding.text}")
        yield from timeline.from_histories(self.histories())

    def histories(self) -> Histories:
        """What was logged so far."""
        with contextlib.suppress(OSError):
            self.probers.collect()
        return logs.load(self.directory)

    def all_findings(self) -> list[Finding]:
        """The driver's and the checker's."""
        return [*self.findings, *self.report.violations]


def keep_logs(host: Host, directory: Path) -> None:
    """Copy a host's logs; PostgreSQL's lies on a disk of its own, which is read without mounting when it is off."""
    for name in ("pgvip", "init", "operator"):
        suffix = "" if name == "pgvip" else f"-{name}"
        source = host.directory / f"shared/{name}.log"
        if source.exists():
            shutil.copyfile(source, directory / f"{host.name}{suffix}.log")
    target = directory / f"{host.name}-postgresql.log"
    if host.is_on():
        shutil.copyfile(host.path("/var/lib/postgresql/data.log"), target)
    else:
        image = host.directory / "postgresql/disk.img"
        subprocess.run(["debugfs", "-R", f"dump /data.log {target}", image], check=False, capture_output=True)
    shutil.copytree(host.directory / "state", directory / f"{host.name}-state", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("archive", "peer-archive", "tls", "saved"))
