"""Invariant 6, never silent: while clients cannot write or read for long, what `pgvip status` says on both hosts.

The watch asks; the judgment is a pure function of what it was told.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.checker import Finding
from tests.chaos.history import FaultWindow
from tests.lab.hosts import Host
from tests.lab.nodes import LabError

if TYPE_CHECKING:
    from tests.chaos.life import Pulse
    from tests.lab.pair import Pair

LOOK_FROM_S = 12.0
EVERY_S = 3.0
DETECTION_S = 25.0
"""Longer than any detection of the default settings takes, with the change that follows it, on a slow machine."""
CHANGE_S = 30.0
"""A change that is under way for longer is no answer any more."""
CONFIRMED_S = 4.0
"""So long a host must have nothing to say: one look may fall between a warning that ends and the next."""
STARTED_S = 15.0
"""A daemon that has just started has had no time to find out."""
NO_CAUSE = frozenset({"no-fencing", "configuration-differs", "version-differs", "leaving", "kept-off"})
"""Warnings that say nothing of why clients wait."""
UNSEEN = frozenset({"packet-loss", "path-mtu", "path-delay", "sessions-terminated"})
"""Faults that may lie between clients and the pair alone, where no host can see them."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one host's status said. `write_s`, `read_s`: for how long clients had had no success.

    `changing`: a claim, a give-up, an order or an action was under way. `causes`: the warnings with a hint that may
    explain an outage. `uptime_s`: of the daemon.
    """

    at_s: float
    host: str
    write_s: float
    read_s: float
    changing: bool
    causes: tuple[str, ...]
    uptime_s: float


def silent(looks: Iterable[Look], faults: Sequence[FaultWindow]) -> Iterator[Finding]:
    """One finding for each host and outage: it lasted, no change was under way, and the status named no cause."""
    by_host: dict[str, list[Look]] = {}
    for look in sorted(looks, key=lambda one: one.at_s):
        by_host.setdefault(look.host, []).append(look)
    for host, found in by_host.items():
        mute_s = changing_s = told_s = None
        for look in found:
            outage_s = max(look.write_s, look.read_s)
            changing_s = (look.at_s if changing_s is None else changing_s) if look.changing else None
            change = changing_s is not None and look.at_s - changing_s < CHANGE_S
            quiet = outage_s >= DETECTION_S and not look.causes and not change and look.uptime_s >= STARTED_S
            mute_s = (look.at_s if mute_s is None else mute_s) if quiet and not unseen(look, faults) else None
            began_s = look.at_s - outage_s
            told = told_s is not None and began_s <= told_s
            if mute_s is not None and look.at_s - mute_s >= CONFIRMED_S and not told:
                told_s = look.at_s
                what = "commit" if look.write_s >= look.read_s else "read through the standby VIP"
                text = f"no {what} for {outage_s:.0f} s, and {host}'s status names no cause"
                yield Finding("6: silent", text, look.at_s)


def unseen(look: Look, faults: Sequence[FaultWindow]) -> bool:
    """True when the outage may be the clients' own."""
    began_s = look.at_s - max(look.write_s, look.read_s)
    return any(fault.kind in UNSEEN and fault.began_s <= look.at_s and (fault.healed_s or look.at_s) >= began_s
               for fault in faults)


def look_of(host: str, at_s: float, write_s: float, read_s: float, document: dict[str, Any]) -> Look:
    """What a status document says."""
    doing = document["doing"]
    changing = any(doing[word] for word in ("claim", "giving_up", "switchover", "leaving", "actions"))
    causes = tuple(one["name"] for one in document["warnings"] if says(one["hint"]) and one["name"] not in NO_CAUSE)
    return Look(at_s, host, write_s, read_s, changing, causes, document["process"]["uptime_s"])


def says(hint: str) -> bool:
    """False for an empty hint, the peer's own too ("on beta: ")."""
    return bool(hint.strip().rpartition(":")[2])


def load(path: Path) -> list[Look]:
    """What the watch has written."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Look(**{**words, "causes": tuple(words["causes"])}) for words in map(json.loads, lines)]


class Watch:
    """Asks both hosts for their status while clients have had no success for some time; a thread of its own."""

    def __init__(self, pair: Pair, pulses: tuple[Pulse, Pulse], path: Path) -> None:
        self.pair, self.pulses, self.path = pair, pulses, path
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.begun_s = 0.0

    def start(self) -> None:
        self.begun_s = time.monotonic()
        self.thread.start()

    def stop(self) -> None:
        """End it; may be called twice, and when it was never started."""
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join(60)

    def run(self) -> None:
        while not self.stopped.wait(EVERY_S):
            if max(self.outages()) >= LOOK_FROM_S:
                asking = [threading.Thread(target=self.ask, args=(host,), daemon=True)
                          for host in self.pair.hosts.values() if host.is_on()]
                for thread in asking:
                    thread.start()
                for thread in asking:
                    thread.join(20)

    def outages(self) -> tuple[float, float]:
        """For how long no write, and no read, has succeeded."""
        now_s = time.monotonic()
        write_s, read_s = (now_s - max(self.begun_s, pulse.beat()) for pulse in self.pulses)
        return write_s, read_s

    def ask(self, host: Host) -> None:
        """One host; one that does not answer (off, frozen, its daemon stopped) has said nothing."""
        with contextlib.suppress(LabError, OSError, ValueError, KeyError, TypeError):
            done = self.pair.pgvip(host, "status", "--json", check=False, timeout_s=10)
            document = json.loads(done.stdout)
            now_s = time.monotonic()  # the outage may have ended while the host was asked
            write_s, read_s = (now_s - max(self.begun_s, pulse.latest_s) for pulse in self.pulses)
            look = look_of(host.name, now_s, round(write_s, 3), round(read_s, 3), document)
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(look)) + "\n")
