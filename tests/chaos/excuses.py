"""What an administrator's own deed explains: taken out of the histories before they are judged. Pure functions.

For a few seconds only: what goes on for longer is judged as everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.chaos.history import FaultWindow, Histories, Outcome, Probe, Read, Write

PROMOTED_S = 5.0
"""So long after it takes writes, a standby that somebody has promoted is stopped: it may have shown, and acknowledged,
what is lost."""
PENDING_S = 60.0
"""A promotion ends recovery later where the disk or a process of the server stands still."""
NAMES_S = 5.0
"""Where somebody has told the server to wait for nobody, it waits again by then: what it acknowledged may be lost."""
WOKEN_S = 3.0
"""A host that was frozen while its peer took over by a witness has stopped by then: `lease_stop_s`, and its wake."""
PROMOTED, CLEARED, FROZEN = "promoted-by-hand", "names-cleared", "host-frozen"


def excused(histories: Histories, faults: Sequence[FaultWindow], *, fencing: bool = True) -> Histories:
    """The same histories without what deeds explain.

    What a server acknowledged is then of unknown outcome: there in the end, whole, or not at all. Without `fencing`
    (and without a watchdog, which the lab has not) nothing ends the server of a host that is frozen: it may take writes
    for a moment when the host goes on (docs/protocol.md, "The witness"). What it acknowledges and shows is judged.
    """
    if not fencing:
        histories = replace(histories, probes=[*_asleep(histories.probes, faults)])
    spans = list(spans_of(histories.probes, faults))
    promoted = [span for span in spans if span[0] == PROMOTED]
    writes = [doubted(write) if within(write.instance, write.answered_s, spans) else write
              for write in histories.writes]
    reads = [read for read in histories.reads if read.in_recovery is True or not shown(read, promoted)]
    probes = [replace(probe, writable=None) if within(probe.instance, probe.answered_s, promoted) else probe
              for probe in histories.probes]
    return replace(histories, writes=writes, reads=reads, probes=probes)


def _asleep(probes: Iterable[Probe], faults: Sequence[FaultWindow]) -> Iterable[Probe]:
    """The same without what a frozen host answers when it goes on."""
    frozen = [one for one in faults if one.kind == FROZEN]
    for probe in probes:
        woken = any(one.target == probe.host and one.began_s <= probe.answered_s <= (one.healed_s or 0.0) + WOKEN_S
                    for one in frozen)
        yield replace(probe, writable=None) if woken else probe


def spans_of(probes: Iterable[Probe], faults: Sequence[FaultWindow]) -> Iterable[tuple[str, str, float, float]]:
    """Each deed's kind, the server instance that it was done to, and the time that it explains."""
    for_s = {PROMOTED: PROMOTED_S, CLEARED: NAMES_S}
    listed = list(probes)
    for fault in faults:
        if fault.kind in for_s:
            until_s = fault.began_s + for_s[fault.kind]
            struck = {probe.instance for probe in listed if probe.host == fault.target and probe.instance
                      and fault.began_s - 1.0 <= probe.answered_s <= until_s}
            for instance in sorted(struck):
                end_s = max(until_s, _promoted_s(listed, fault, instance) + PROMOTED_S)
                yield fault.kind, instance, fault.began_s, end_s


def _promoted_s(probes: Sequence[Probe], fault: FaultWindow, instance: str) -> float:
    """When a server that was told to promote itself was first seen to take writes; else when it was told."""
    if fault.kind != PROMOTED:
        return fault.began_s
    seen = (probe.answered_s for probe in probes if probe.instance == instance and probe.writable
            and fault.began_s <= probe.answered_s <= fault.began_s + PENDING_S)
    return min(seen, default=fault.began_s)


def within(instance: str, at_s: float, spans: Iterable[tuple[str, str, float, float]]) -> bool:
    return any(instance == one and since_s <= at_s <= until_s for _, one, since_s, until_s in spans)


def shown(read: Read, spans: Iterable[tuple[str, str, float, float]]) -> bool:
    """True for what a promoted server showed."""
    return within(read.instance, read.answered_s, spans)


def doubted(write: Write) -> Write:
    return replace(write, outcome=Outcome.UNKNOWN) if write.outcome is Outcome.ACK else write
