"""What everybody said, merged by time: one line an event, who and what."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.chaos.figures import by_vip
from tests.chaos.history import ArpAnswer, Histories, Outcome, Probe, Write
from tests.lab.network import ADDRESSES, PRIMARY_VIP, STANDBY_VIP, mac_of

STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})(\+00:00| UTC) (.*)")
GAP_S = 0.5
"""Clients without a success for so long are an event."""
REPEATS_MAX = 3
"""More lines of one log that say the same within a second are counted, not listed."""


@dataclass(frozen=True, order=True)
class Event:
    """One line. `at_s` is CLOCK_MONOTONIC, as in the histories."""

    at_s: float
    who: str
    what: str


def from_log(who: str, text: str, wall_offset_s: float) -> Iterator[Event]:
    """A log whose lines begin with UTC; lines without a time belong to the one before."""
    at_s = 0.0
    for line in text.splitlines():
        match = STAMP.match(line)
        if match:
            at_s = datetime.fromisoformat(f"{match[1]}+00:00").timestamp() - wall_offset_s
            yield Event(at_s, who, match[3])
        elif line.strip():
            yield Event(at_s, who, f"    {line.strip()}")


def without_repeats(events: Iterable[Event]) -> Iterator[Event]:
    """The same with a crowd of equal lines cut short."""

    def same(event: Event) -> tuple[str, str, int]:
        return event.who, re.sub(r"\d+", "", event.what), int(event.at_s)

    for _, group in itertools.groupby(events, same):
        crowd = list(group)
        yield from crowd[:REPEATS_MAX]
        if len(crowd) > REPEATS_MAX:
            yield Event(crowd[-1].at_s, crowd[-1].who, f"    ... {len(crowd) - REPEATS_MAX} more like it")


def from_driver(path: Path) -> Iterator[Event]:
    """What the driver did, from its own file of JSON lines."""
    for line in path.read_text().splitlines() if path.exists() else ():
        words = json.loads(line)
        yield Event(words["at_s"], words["who"], words["what"])


def gaps(name: str, answered: Iterable[float]) -> Iterator[Event]:
    """Where successes stop for a while, and when they come again."""
    times = sorted(answered)
    for before, after in itertools.pairwise(times):
        if after - before > GAP_S:
            yield Event(before, "clients", f"the last {name} for {after - before:.2f} s")
            yield Event(after, "clients", f"{name}s again")
    if times:
        yield Event(times[-1], "clients", f"the last {name} of all")


def changes_of_writability(probes: Iterable[Probe]) -> Iterator[Event]:
    """Where the answer of a host's own prober changes."""
    said: dict[str, bool | None] = {}
    words = {True: "takes writes", False: "is read-only", None: "does not answer"}
    for probe in sorted(probes, key=lambda probe: probe.answered_s):
        if said.get(probe.host, "") != probe.writable:
            said[probe.host] = probe.writable
            yield Event(probe.answered_s, f"probe {probe.host}", f"PostgreSQL {words[probe.writable]}")


def changes_of_holders(answers: Iterable[ArpAnswer]) -> Iterator[Event]:
    """Where those who answer for an address change."""
    names = {mac_of(name): name for name in ADDRESSES}
    vips = {PRIMARY_VIP: "primary VIP", STANDBY_VIP: "standby VIP"}
    said: dict[str, tuple[str, ...]] = {}
    for answer in sorted(answers, key=lambda answer: answer.at_s):
        if said.get(answer.address) != answer.macs:
            said[answer.address] = answer.macs
            who = " and ".join(names.get(mac, mac) for mac in answer.macs) or "nobody"
            yield Event(answer.at_s, "ARP", f"{vips.get(answer.address, answer.address)}: {who}")


def doubtful(writes: Iterable[Write]) -> Iterator[Event]:
    """Transactions whose outcome their client does not know, counted by the second."""
    times = sorted(write.answered_s for write in writes if write.outcome is Outcome.UNKNOWN)
    for second, group in itertools.groupby(times, int):
        yield Event(float(second) + 1, "clients", f"{len(list(group))} transactions of unknown outcome in a second")


def from_histories(histories: Histories) -> Iterator[Event]:
    """What clients and probers felt."""
    acknowledged = (write.answered_s for write in histories.writes
                    if write.outcome is Outcome.ACK and by_vip(write))
    yield from gaps("write", acknowledged)
    yield from gaps("standby read", (r.answered_s for r in histories.reads if r.ok and r.vip == STANDBY_VIP))
    yield from doubtful(histories.writes)
    yield from changes_of_writability(histories.probes)
    yield from changes_of_holders(histories.arp)


def write(path: Path, events: Iterable[Event], wall_offset_s: float) -> None:
    """All events, sorted, with the time of day and CLOCK_MONOTONIC."""
    with path.open("w") as file:
        for event in without_repeats(sorted(events)):
            clock = datetime.fromtimestamp(event.at_s + wall_offset_s).astimezone().strftime("%H:%M:%S.%f")[:-3]
            file.write(f"{clock} {event.at_s:12.3f} {event.who:18} {event.what}\n")
