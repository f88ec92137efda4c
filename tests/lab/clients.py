"""The clients' side: programs that use the pair, and what their logs tell."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.hosts import PROGRAMS, SHARED, SOCKET_DIRECTORY, Host
from tests.lab.network import ADDRESSES, PRIMARY_VIP, STANDBY_VIP, mac_of
from tests.lab.nodes import LabError, Node, end_process, wait_until

CLIENT_USER = "lab_client"
WRITES_PER_S = 100.0
PROBES_PER_S = 5.0


@dataclass(frozen=True)
class Event:
    """One line of a client's log. Times are CLOCK_MONOTONIC seconds; `detail` is the answer or the error."""

    ok: bool
    number: int
    sent_s: float
    answered_s: float
    detail: str


class EventLog:
    """A client's log, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[Event] = []
        self.offset = 0

    def events(self) -> list[Event]:
        """All whole lines so far."""
        if self.path.exists():
            with self.path.open("rb") as log:
                log.seek(self.offset)
                whole, newline, _ = log.read().rpartition(b"\n")
            self.offset += len(whole) + len(newline)
            self.seen += [parse_event(line) for line in whole.decode(errors="replace").split("\n") if line]
        return self.seen


def parse_event(line: str) -> Event:
    """One line, as `client_sql` writes it."""
    word, number, sent, answered, detail = line.split(" ", 4)
    return Event(word == "ok", int(number), float(sent), float(answered), detail)


def longest_gap_s(events: Iterable[Event], since_s: float, until_s: float) -> float:
    """The longest time between successive successes that touches the window.

    The success before the window opens counts as its start; a window without a later success ends at `until_s`.
    """
    times = sorted(event.answered_s for event in events if event.ok)
    before = [at_s for at_s in times if at_s <= since_s][-1:] or [since_s]
    inside = [at_s for at_s in times if since_s < at_s <= until_s]
    after = [at_s for at_s in times if at_s > until_s][:1] or [until_s]
    points = [*before, *inside, *after]
    return max(later - earlier for earlier, later in itertools.pairwise(points))


class SqlClient:
    """A writer or a reader on one of the VIPs, in the client's namespace."""

    def __init__(
        self, node: Node, kind: str, vip: str, log: Path, *, rate: float, first: int = 1, patience: float = 1.0,
        password: str = "",
    ) -> None:
        self.node, self.kind, self.vip, self.log = node, kind, vip, log
        self.rate, self.first, self.patience, self.password = rate, first, patience, password
        self.record = EventLog(log)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin, and see the first success."""
        dsn = (f"host={self.vip} port=5432 user={CLIENT_USER} dbname=postgres sslmode=disable gssencmode=disable "
               f"tcp_user_timeout={1000 * self.patience:.0f} application_name=lab")
        dsn += f" password={self.password}" if self.password else ""
        words = [self.kind, self.log, self.rate, dsn, self.first, self.patience]
        argv = [sys.executable, PROGRAMS / "client_sql.py", *words]
        with self.log.with_suffix(".err").open("a") as errors:
            self.process = self.node.popen(argv, stderr=errors)
        what = f"first success of the {self.kind} client"
        wait_until(lambda: any(event.ok for event in self.events()), 20 * self.patience, what)

    def events(self) -> list[Event]:
        """Everything logged so far."""
        return self.record.events()

    def acknowledged(self, since_s: float = 0.0) -> set[int]:
        """The numbers whose commit the server acknowledged (after a time)."""
        return {event.number for event in self.events() if event.ok and event.answered_s > since_s}

    def wait_success(self, deadline_s: float = 30.0) -> float:
        """Wait for a success of a statement sent from now on; the time it was answered."""
        now_s = time.monotonic()

        def found() -> float:
            later = (event for event in reversed(self.events()) if event.ok and event.sent_s >= now_s)
            return next((event.answered_s for event in later), 0.0)

        return wait_until(found, deadline_s, f"a success of the {self.kind} client on {self.vip}")

    def outage_s(self, since_s: float, until_s: float | None = None) -> float:
        """The longest gap between successes around a fault at `since_s`."""
        return longest_gap_s(self.events(), since_s, time.monotonic() if until_s is None else until_s)

    def stop(self) -> None:
        """End the program; its log stays. LabError when it had ended by itself."""
        if self.process is None:
            return
        code = self.process.poll()
        end_process(self.process)
        self.process = None
        if code is not None:
            raise LabError(f"{self.kind} client ended with {code}: {self.log.with_suffix('.err').read_text()}")


def writer(node: Node, log: Path, *, rate: float = WRITES_PER_S, first: int = 1, vip: str = PRIMARY_VIP) -> SqlClient:
    """Numbered rows through the primary VIP."""
    return SqlClient(node, "write", vip, log, rate=rate, first=first)


def reader(node: Node, log: Path, *, rate: float = 50.0, vip: str = STANDBY_VIP) -> SqlClient:
    """Queries through the standby VIP."""
    return SqlClient(node, "read", vip, log, rate=rate)


# --- who answers ---------------------------------------------------------------------------------------


def holders(node: Node, address: str, *, wait_s: float = 0.25) -> set[str]:
    """Names of the nodes that answer ARP for an address now (its MAC, for one that is not ours)."""
    names = {mac_of(name): name for name in ADDRESSES}
    argv = [sys.executable, "-I", "-S", PROGRAMS / "client_arp.py", "/dev/stdout", "0", str(wait_s), address]
    line = node.run(argv).stdout.strip("\n")
    macs = line.split(" ")[3]
    return {names.get(mac, mac) for mac in macs.split(",") if mac}


@dataclass(frozen=True)
class Answer:
    """Who answered one ARP question."""

    address: str
    at_s: float
    macs: tuple[str, ...]


class ArpWatch:
    """Asks for both VIPs a few times a second, all through a test."""

    def __init__(self, node: Node, log: Path, vips: tuple[str, str] = (PRIMARY_VIP, STANDBY_VIP)) -> None:
        self.node, self.log, self.vips = node, log, vips
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        words = [self.log, "0.2", "0.1", *self.vips]
        argv = [sys.executable, "-I", "-S", PROGRAMS / "client_arp.py", *words]
        self.process = self.node.popen(argv)

    def answers(self) -> list[Answer]:
        """All answers so far."""
        lines = self.log.read_text().split("\n")[:-1] if self.log.exists() else []
        parts = [line.split(" ") for line in lines]
        return [Answer(part[1], float(part[2]), tuple(filter(None, part[3].split(",")))) for part in parts]

    def doubles(self) -> list[Answer]:
        """Questions that more than one node answered."""
        return [answer for answer in self.answers() if len(answer.macs) > 1]

    def stop(self) -> None:
        if self.process is not None:
            end_process(self.process)
            self.process = None


# --- one writer ------------------------------------------------------------------------------------------


class WriteProbe:
    """Tries writes on one host's own socket, again after each boot."""

    def __init__(self, host: Host, rate: float = PROBES_PER_S) -> None:
        self.host, self.rate = host, rate
        self.log = host.directory / "shared" / "probe.log"
        self.record = EventLog(self.log)
        self.process: subprocess.Popen[str] | None = None
        host.at_boot.append(self.start)
        host.at_power_off.append(self.stop)

    def start(self) -> None:
        """Begin, in the host itself, as PostgreSQL's superuser."""
        self.log.touch()
        self.log.chmod(0o666)
        dsn = f"host={SOCKET_DIRECTORY} dbname=postgres user=postgres application_name=lab_probe"
        argv = [sys.executable, PROGRAMS / "client_sql.py", "probe", f"{SHARED}/probe.log", str(self.rate), dsn]
        self.process = self.host.popen(argv, user="postgres")

    def stop(self) -> None:
        if self.process is not None:
            end_process(self.process)
            self.process = None

    def writable(self, since_s: float = 0.0) -> list[Event]:
        """The tries (after a time) that PostgreSQL here took as writes."""
        events = [event for event in self.record.events() if event.ok and event.sent_s > since_s]
        return [event for event in events if event.detail.startswith("yes ")]


def two_writers(one: Iterable[Event], other: Iterable[Event], *, together_s: float = 1.5) -> list[tuple[Event, Event]]:
    """Proofs that both hosts took writes at one time.

    A write on one host between two on the other that are less than `together_s` apart: no chain of
    legitimate changes moves the role there and back in that time.
    """
    return [*_between(list(one), list(other), together_s), *_between(list(other), list(one), together_s)]


def _between(outer: list[Event], inner: list[Event], together_s: float) -> list[tuple[Event, Event]]:
    found = []
    for before, after in itertools.pairwise(outer):
        if after.sent_s - before.answered_s < together_s:
            found += [(before, event) for event in inner
                      if before.answered_s < event.sent_s and event.answered_s < after.sent_s]
    return found
