"""How long faults were felt by clients, and how much there was to judge by."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.history import FaultWindow, Found, Histories, Kind, Outcome, Read, Write
from tests.lab.network import STANDBY_VIP

PAST_THE_VIPS_FROM = 20


@dataclass(frozen=True)
class Outage:
    """What one fault cost the clients: the longest time without a success that touches its window.

    `lost`: transactions that were acknowledged in its window and are gone; those that were acknowledged outside
    of every window count for the next fault. What happened in several windows counts in each.
    """

    fault: FaultWindow
    write_s: float
    read_s: float
    lost: int = 0


def acknowledged(writes: Iterable[Write]) -> Iterator[Write]:
    return (write for write in writes if write.outcome is Outcome.ACK)


def by_vip(write: Write) -> bool:
    """False for the clients that go to a host's own address (`workload`)."""
    return write.client < PAST_THE_VIPS_FROM


class Newest:
    """The acknowledged rows of one inserting client that are there in the end, by number and so by time."""

    def __init__(self, writes: Iterable[Write]) -> None:
        ordered = sorted(writes, key=lambda write: write.number)
        self.numbers = [write.number for write in ordered]
        self.times = [write.answered_s for write in ordered]

    def lag_s(self, seen: int, at_s: float) -> float:
        """How long before `at_s` the first row after `seen` was acknowledged; 0 when it was not."""
        first = bisect.bisect_right(self.numbers, seen)
        return max(0.0, at_s - self.times[first]) if first < len(self.times) else 0.0


def newest_of(writes: Iterable[Write], rows: Found) -> dict[int, Newest]:
    """By inserting client."""
    by_client: dict[int, list[Write]] = defaultdict(list)
    for write in acknowledged(writes):
        if write.kind is Kind.INSERT and (write.client, write.number) in rows:
            by_client[write.client].append(write)
    return {client: Newest(found) for client, found in by_client.items()}


def lag_of(read: Read, newest: dict[int, Newest]) -> float:
    """How old the oldest acknowledged row is that a read did not see. Seconds before it was sent; 0: saw all."""
    return max((newest[client].lag_s(seen, read.sent_s) for client, seen in read.seen.items() if client in newest),
               default=0.0)


def outages(histories: Histories, rows: Found | None, faults: Sequence[FaultWindow]) -> list[Outage]:
    """What each fault cost. A window without an end lasts until the next fault begins, or the histories end."""
    writes = sorted(write.answered_s for write in acknowledged(histories.writes) if by_vip(write))
    reads = sorted(read.answered_s for read in histories.reads if read.ok and read.vip == STANDBY_VIP)
    end_s = max([*(write.answered_s for write in histories.writes), *(read.answered_s for read in histories.reads)],
                default=0.0)
    starts = sorted(fault.began_s for fault in faults)
    ends = []
    for fault in faults:
        after = bisect.bisect_right(starts, fault.began_s)
        later_s = starts[after] if after < len(starts) else end_s
        ends.append(later_s if fault.healthy_s is None else fault.healthy_s)
    windows = [(fault.began_s, until_s) for fault, until_s in zip(faults, ends, strict=True)]
    lost = [0] * len(windows) if rows is None else lost_in(histories.writes, rows, windows)
    return [Outage(fault, gap_s(writes, *window), gap_s(reads, *window), count)
            for fault, window, count in zip(faults, windows, lost, strict=True)]


def lost_in(writes: Iterable[Write], rows: Found, windows: Sequence[tuple[float, float]]) -> list[int]:
    """How many acknowledged transactions each window lost."""
    found = [0] * len(windows)
    for write in acknowledged(writes):
        if (write.client, write.number) in rows:
            continue
        at_s = write.answered_s
        felt = [index for index, (since_s, until_s) in enumerate(windows) if since_s <= at_s <= until_s]
        if not felt:
            next_s = min((since_s for since_s, _ in windows if since_s > at_s), default=None)
            felt = [index for index, (since_s, _) in enumerate(windows) if since_s == next_s]
        for index in felt:
            found[index] += 1
    return found


def gap_s(times: Sequence[float], since_s: float, until_s: float) -> float:
    """The longest time between two successes that touches a window; without a success after it, to its end."""
    first, last = bisect.bisect_right(times, since_s) - 1, bisect.bisect_right(times, until_s)
    points = [times[first] if first >= 0 else since_s, *times[first + 1 : last],
              times[last] if last < len(times) else until_s]
    return max(later - earlier for earlier, later in itertools.pairwise(points))


def counts(histories: Histories, rows: Found | None) -> dict[str, float]:
    """How much there was to check. `rows` None: the final tables are not known, nor what follows from them."""
    outcomes = dict.fromkeys(Outcome, 0)
    for write in histories.writes:
        outcomes[write.outcome] += 1
    found: dict[str, float] = {
        **{outcome.value: number for outcome, number in outcomes.items()},
        "reads": sum(read.ok for read in histories.reads),
        "reads_failed": sum(not read.ok for read in histories.reads),
        "probes": len(histories.probes),
        "arp": len(histories.arp),
        "instances": len({probe.instance for probe in histories.probes} - {""}),
    }
    if rows is not None:
        unknown = [write for write in histories.writes if write.outcome is Outcome.UNKNOWN]
        found["unknown_there"] = sum((write.client, write.number) in rows for write in unknown)
        newest = newest_of(histories.writes, rows)
        lags = [lag_of(read, newest) for read in histories.reads if read.ok and read.in_recovery]
        found["standby_lag_max_s"] = round(max(lags, default=0.0), 3)
    return found
