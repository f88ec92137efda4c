"""Judges histories: what must never be, what async may lose, and how long each fault was felt. Pure functions.

What clients were told is all there is to judge by; how it came about is not asked. Every rule proves its finding:
there is no threshold that a slow machine could cross, except those that `Promises` states.

- An acknowledged transaction is there in the end: once, whole. (async: see `lost`.) One whose outcome is unknown may
  be there, once and whole, or not at all; one that was refused is not.
- What a standby showed to a reader stays: PostgreSQL replays only what it has flushed, and the primary sends only what
  it has flushed, so that both have it. In sync it stays as well when the primary showed it, whose transactions
  become visible after the standby's word.
- A read on a primary sees what was acknowledged before it was sent; on a standby, what was acknowledged longer
  ago than the lag limit. Within one session nothing goes back.
- Two server instances are never read-write at once, see `lives`. One question by ARP has one answer.
- The register counts every addition once: its values in acknowledged additions are all different and grow with
  time, and in the end it equals the number of rows that additions left.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.figures import Outage, acknowledged, counts, lag_of, newest_of, outages
from tests.chaos.history import FaultWindow, FinalState, Found, Histories, Kind, Outcome, Promises, Read, Write
from tests.chaos.lives import lives_of
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP, mac_of

__all__ = ["Finding", "Loss", "Outage", "Report", "check"]

EXAMPLES = 3
STRANGER = mac_of("stranger")


@dataclass(frozen=True)
class Finding:
    """Something that must never be. `kind` names the rule; `at_s`: when it was seen (0: only in the end)."""

    kind: str
    text: str
    at_s: float = 0.0


@dataclass(frozen=True)
class Loss:
    """Acknowledged transactions of one server instance that are gone (async: a takeover lost them).

    `first_s`, `last_s`: when the first and the last of them was acknowledged. `within`: the limit was kept.
    """

    instance: str
    count: int
    first_s: float
    last_s: float
    within: bool


@dataclass
class Report:
    """The verdict. `outages` has one entry for each fault, in their order. `counts`: how much was checked."""

    violations: list[Finding] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)


def check(histories: Histories, final: FinalState | None, faults: Sequence[FaultWindow], promises: Promises) -> Report:
    """Everything that the histories and the final tables prove; without the tables, what the histories alone do."""
    rows = None if final is None else final.primary.rows
    report = Report(outages=outages(histories, rows, faults), counts=counts(histories, rows))
    if final is not None:
        report.losses = list(lost(histories, final.primary.rows, promises))
        report.violations += against_tables(histories, final, report.losses, promises)
    report.violations += [
        *going_back(histories.reads),
        *read_only(histories.reads, promises),
        *two_writers(histories),
        *two_answers(histories),
    ]
    return report


def against_tables(
    histories: Histories, final: FinalState, losses: Sequence[Loss], promises: Promises,
) -> Iterator[Finding]:
    """What the final tables prove."""
    rows = final.primary.rows
    yield from too_much_lost(losses, promises)
    yield from holes(histories.writes, rows)
    yield from contents(histories.writes, final)
    yield from register(histories.writes, final)
    yield from vanished(histories, rows, promises)
    yield from stale(histories, rows, promises)


# --- transactions ----------------------------------------------------------------------------------------


def lost(histories: Histories, rows: Found, promises: Promises) -> Iterator[Loss]:
    """What was acknowledged and is gone, by the instance that acknowledged it.

    In async a takeover may lose the last `lag_s_max` seconds of the old primary's life. It lived at least until the
    last sign that it took writes, so what it acknowledged longer before that sign must not be lost.
    """
    gone: dict[str, list[Write]] = defaultdict(list)
    for write in acknowledged(histories.writes):
        if (write.client, write.number) not in rows:
            gone[write.instance].append(write)
    lives = lives_of(histories) if gone else []
    for instance, writes in sorted(gone.items()):
        lived_s = max((life.latest_s for life in lives if life.instance == instance), default=0.0)
        first_s = min(write.answered_s for write in writes)
        last_s = max(write.answered_s for write in writes)
        within = promises.mode == "async" and first_s >= lived_s - promises.lag_s_max
        yield Loss(instance, len(writes), first_s, last_s, within)


def too_much_lost(losses: Iterable[Loss], promises: Promises) -> Iterator[Finding]:
    """In sync any loss; in async one beyond the limit."""
    for loss in losses:
        if not loss.within:
            limit = "" if promises.mode == "sync" else f", beyond the limit of {promises.lag_s_max:g} s"
            text = (f"{loss.count} transactions acknowledged by server {loss.instance} from {loss.first_s:.3f} to "
                    f"{loss.last_s:.3f} are gone{limit}")
            yield Finding("lost", text, loss.first_s)


def holes(writes: Iterable[Write], rows: Found) -> Iterator[Finding]:
    """A lost transaction, although a later one of the same server is there: losses are only ever the end of a log."""
    survived_s: dict[str, float] = defaultdict(float)
    gone: dict[str, Write] = {}
    for write in acknowledged(writes):
        if (write.client, write.number) in rows:
            survived_s[write.instance] = max(survived_s[write.instance], write.sent_s)
        elif write.instance not in gone or write.answered_s < gone[write.instance].answered_s:
            gone[write.instance] = write
    for instance, write in sorted(gone.items()):
        if survived_s[instance] > write.answered_s:
            text = (f"{name_of(write)}, acknowledged by server {instance}, is gone, but one that the server was sent "
                    f"at {survived_s[instance]:.3f} is there")
            yield Finding("hole", text, write.answered_s)


def contents(writes: Iterable[Write], final: FinalState) -> Iterator[Finding]:
    """Rows against what was sent: twice, in part, refused, from nowhere; and the standby against the primary."""
    rows = final.primary.rows
    sent = {(write.client, write.number): write for write in writes}
    bad: dict[str, list[str]] = defaultdict(list)
    for key, (count, parts) in rows.items():
        write = sent.get(key)
        if write is None:
            bad["from-nowhere"].append(f"client {key[0]} number {key[1]}")
            continue
        if count > parts:
            bad["twice"].append(f"{name_of(write)}: {count} rows for {parts} parts")
        if parts != write.rows:
            bad["in-part"].append(f"{name_of(write)}: {parts} of {write.rows} parts")
        if write.outcome is Outcome.REFUSED:
            bad["refused-but-there"].append(f"{name_of(write)}: {write.detail}")
    if final.standby is not None:
        other = final.standby.rows
        bad["standby-differs"] = [f"client {key[0]} number {key[1]}: {rows.get(key)} on the primary, {other.get(key)}"
                                  for key in rows.keys() | other.keys() if rows.get(key) != other.get(key)]
        if final.standby.register != final.primary.register:
            bad["standby-differs"].append(f"register: {final.primary.register}, {final.standby.register}")
    for kind, texts in bad.items():
        if texts:
            yield Finding(kind, f"{len(texts)}: {'; '.join(sorted(texts)[:EXAMPLES])}")


def name_of(write: Write) -> str:
    """A transaction for people."""
    return f"{write.kind} {write.number} of client {write.client}"


def register(writes: Iterable[Write], final: FinalState) -> Iterator[Finding]:
    """The register against the additions that are there in the end (async may lose some with the rest)."""
    rows = final.primary.rows
    additions = [write for write in writes if write.kind is Kind.REGISTER and (write.client, write.number) in rows]
    if final.primary.register != len(additions):
        text = f"the register is {final.primary.register} in the end, but {len(additions)} additions left a row"
        yield Finding("register", text)
    told = sorted(acknowledged(additions), key=lambda write: write.answered_s)
    values: dict[int, Write] = {}
    for write in told:
        if write.value in values:
            text = f"{name_of(write)} and {name_of(values[write.value])} both made it {write.value}"
            yield Finding("register", text, write.answered_s)
        values[write.value] = write
    highest = list(itertools.accumulate((write.value for write in told), max))
    times = [write.answered_s for write in told]
    for write in told:
        before = bisect.bisect_left(times, write.sent_s)
        if before and highest[before - 1] > write.value:
            text = f"{name_of(write)} made it {write.value} after it had been {highest[before - 1]}"
            yield Finding("register", text, write.answered_s)


# --- reads -----------------------------------------------------------------------------------------------


def vanished(histories: Histories, rows: Found, promises: Promises) -> Iterator[Finding]:
    """A row that a reader was shown, and that is gone.

    One that only a primary showed had to stay if that server has later acknowledged what was sent after the read:
    the standby has everything before that. A server whose postmaster dies shows in its last moments what waited for
    the standby (PostgreSQL's syncrep.c ends the waits then); nobody was told that it is committed.
    """
    confirmed: dict[str, float] = defaultdict(float)
    for write in acknowledged(histories.writes):
        confirmed[write.instance] = max(confirmed[write.instance], write.sent_s)
    gone: dict[tuple[int, int], list[Read]] = defaultdict(list)
    for read in histories.reads:
        stays = promises.mode == "sync" and read.answered_s < confirmed[read.instance]
        if read.ok and (read.in_recovery is True or stays):
            for key in read.seen.items():
                if key[1] and key not in rows:
                    gone[key].append(read)
    for (client, number), shown in sorted(gone.items())[:EXAMPLES]:
        first = min(shown, key=lambda read: read.answered_s)
        who = "standby" if first.in_recovery else "primary"
        text = f"insert {number} of client {client}, shown by {who} {first.instance}, is gone ({len(gone)} such rows)"
        yield Finding("vanished", text, first.answered_s)


def stale(histories: Histories, rows: Found, promises: Promises) -> Iterator[Finding]:
    """Reads that are older than promised: one finding for a session."""
    newest = newest_of(histories.writes, rows)
    found: dict[tuple[int, bool], list[tuple[float, Read]]] = defaultdict(list)
    for read in histories.reads:
        on_standby = read.in_recovery is not False
        allowed_s = promises.lag_s_max + promises.slack_s if on_standby else 0.0
        promised = not on_standby or read.vip in {PRIMARY_VIP, STANDBY_VIP}  # a host's own address promises no lag
        if promised and read.ok and (lag_s := lag_of(read, newest)) > allowed_s:
            found[read.session, on_standby].append((lag_s, read))
    for (session, on_standby), reads in found.items():
        worst_s, read = max(reads, key=lambda one: one[0])
        who = "standby" if on_standby else "primary"
        text = (f"{len(reads)} reads of client {read.client} (session {session}) at {read.vip} on {who} "
                f"{read.instance} missed rows acknowledged up to {worst_s:.3f} s before")
        yield Finding("stale", text, reads[0][1].sent_s)


def going_back(reads: Iterable[Read]) -> Iterator[Finding]:
    """A session that saw less than it had seen before."""
    last: dict[tuple[int, int], Read] = {}
    for read in reads:
        if not read.ok:
            continue
        before = last.get((read.client, read.session))
        if before is not None:
            less = [client for client, seen in read.seen.items() if seen < before.seen.get(client, 0)]
            if less or read.register < before.register:
                text = (f"client {read.client}, one session on {read.instance}: {dict(before.seen)} and "
                        f"{before.register}, then {dict(read.seen)} and {read.register}")
                yield Finding("going-back", text, read.answered_s)
        last[read.client, read.session] = read


def read_only(reads: Iterable[Read], promises: Promises) -> Iterator[Finding]:
    """The primary VIP leads to a server in recovery, for longer than promised."""
    since: dict[int, float] = {}
    told: set[tuple[int, float]] = set()
    for read in reads:
        if not read.ok or read.vip != PRIMARY_VIP:
            continue
        if read.in_recovery is not True:
            since.pop(read.client, None)
            continue
        since_s = since.setdefault(read.client, read.sent_s)
        if read.sent_s - since_s > promises.read_only_s and (read.client, since_s) not in told:
            told.add((read.client, since_s))
            text = f"the primary VIP has led to {read.instance}, which is in recovery, since {since_s:.3f}"
            yield Finding("read-only", text, read.sent_s)


# --- one writer, one holder ------------------------------------------------------------------------------


def two_writers(histories: Histories) -> Iterator[Finding]:
    """Two instances that were read-write at one instant, wherever they ran."""
    for one, other in itertools.combinations(lives_of(histories), 2):
        if one.instance != other.instance and (at_s := one.surely(other)):
            text = (f"{one.instance} on {one.host} ({one.from_s:.3f} to {one.until_s:.3f}) and {other.instance} on "
                    f"{other.host} ({other.from_s:.3f} to {other.until_s:.3f}) were both read-write")
            yield Finding("two-writers", text, at_s)


def two_answers(histories: Histories) -> Iterator[Finding]:
    """One ARP question for an address, answered by two that are not the stranger, who is one of the faults."""
    found: dict[tuple[str, tuple[str, ...]], list[float]] = defaultdict(list)
    for answer in histories.arp:
        macs = tuple(mac for mac in answer.macs if mac != STRANGER)
        if len(macs) > 1:
            found[answer.address, macs].append(answer.at_s)
    for (address, macs), times in found.items():
        text = f"{address} was answered by {' and '.join(macs)} {len(times)} times, to {times[-1]:.3f}"
        yield Finding("two-answers", text, times[0])
