"""Replication monitoring history: one small record every few seconds, rolled up to a minute for the older part.

Two kinds of files in one directory, each a row of records of equal size: `fine` (an hour each, kept for a day) and
`minute` (a day each, kept for `keep_days`). A record ends in a checksum and has no state beside it, so a tail that a
power cut tore or filled with zeros is passed over, and whoever may read the files needs no daemon. Only the standard
library is imported: `pgvip history` starts fast.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.errors import PgvipError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MEASURES = ("lag_bytes", "apply_bytes", "lag_s", "flush_lag_s", "wal_bytes_per_s", "heard_age_s")
"""What has a smallest, an average and a largest value in the time that a sample covers."""

ROLES = ("none", "primary", "standby", "primary_standby")
SYNC_STATES = ("", "async", "potential", "sync", "quorum")
"""The words of `pg_stat_replication.sync_state`; "" where there is no standby, or on the standby itself."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
LATE_S = 60.0
"""A sample from further ahead was written while the clock was wrong; it is not shown."""

POINTS_MAX = 3000
"""Of an answer: about 900 bytes each, within one reply of the operator's socket (4 MB)."""

_RECORD = struct.Struct(f"<dfBBIqQ{3 * len(MEASURES)}f")
_CHECK = struct.Struct("<I")
SIZE = _RECORD.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Sample:
    """The pair as one host saw it, for `span_s` seconds up to `at` (unix time). None: not known.

    `lag_bytes`: flushed by the primary and not yet by the standby. `apply_bytes`: flushed by the standby and not yet
    replayed. `lag_s`, `flush_lag_s`: the same as times of PostgreSQL's own measure (pg_stat_replication). `lsn` on
    `timeline`: this host's position. `heard_age_s`: age of the peer's newest message. Each is the average of the span.
    """

    at: float
    span_s: float = 0.0
    role: str = "none"
    sync_state: str = ""
    term: int | None = None
    timeline: int = 0
    lsn: int = 0
    lag_bytes: float | None = None
    lag_bytes_min: float | None = None
    lag_bytes_max: float | None = None
    apply_bytes: float | None = None
    apply_bytes_min: float | None = None
    apply_bytes_max: float | None = None
    lag_s: float | None = None
    lag_s_min: float | None = None
    lag_s_max: float | None = None
    flush_lag_s: float | None = None
    flush_lag_s_min: float | None = None
    flush_lag_s_max: float | None = None
    wal_bytes_per_s: float | None = None
    wal_bytes_per_s_min: float | None = None
    wal_bytes_per_s_max: float | None = None
    heard_age_s: float | None = None
    heard_age_s_min: float | None = None
    heard_age_s_max: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, for JSON; the position also as text (`lsn_text`)."""
        return {**dataclasses.asdict(self), "lsn_text": f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"}


FIELDS = tuple(field.name for field in dataclasses.fields(Sample))
_SPREADS = tuple((name, f"{name}_min", f"{name}_max") for name in MEASURES)


def measured(at: float, span_s: float, values: dict[str, float | None], **facts: Any) -> Sample:
    """Make the sample of one look, where each measure has one value only."""
    spread: dict[str, Any] = {key: values.get(name) for name, *others in _SPREADS for key in (name, *others)}
    return Sample(at=at, span_s=span_s, **facts, **spread)


def sample_of(document: dict[str, Any], at: float, span_s: float, before: Sample | None = None) -> Sample:
    """Draw a sample from the status document. `before`: the sample before it, for the rate of WAL."""
    mine, replication = document["me"]["postgresql"], document["replication"]
    lsn = _lsn(mine["lsn"])
    timeline = mine["timeline"] or 0
    rate = None
    if before is not None and lsn and before.timeline == timeline and 0 < before.lsn <= lsn and at > before.at:
        rate = (lsn - before.lsn) / (at - before.at)
    values = {name: replication.get(name) for name in ("lag_bytes", "apply_bytes", "lag_s", "flush_lag_s")}
    values |= {"wal_bytes_per_s": rate, "heard_age_s": document["peer"]["age_s"]}
    facts = {"role": document["role"], "sync_state": replication["sync_state"] or "", "term": document["term"]}
    return measured(at, span_s, values, timeline=timeline, lsn=lsn, **facts)


def merge(samples: Sequence[Sample]) -> Sample:
    """One sample for the time of several that follow each other; role and position are those of the last.

    >>> both = merge([measured(5, 5, {"lag_s": 1.0}), measured(10, 5, {"lag_s": 3.0})])
    >>> both.lag_s, both.lag_s_min, both.lag_s_max, both.span_s
    (2.0, 1.0, 3.0, 10)
    """
    last = samples[-1]
    if len(samples) == 1:
        return last
    spread: dict[str, Any] = {}
    for name, low, high in _SPREADS:
        known = [one for one in samples if getattr(one, name) is not None]
        weight = sum(one.span_s for one in known)
        total = sum(getattr(one, name) * one.span_s for one in known)
        plain = sum(getattr(one, name) for one in known) / len(known) if known else None
        spread[name] = total / weight if weight else plain
        spread[low] = min((getattr(one, low) for one in known), default=None)
        spread[high] = max((getattr(one, high) for one in known), default=None)
    return dataclasses.replace(last, span_s=sum(one.span_s for one in samples), **spread)


def thin(samples: Iterable[Sample], since: float, until: float, points_max: int) -> list[Sample]:
    """At most `points_max` samples, each for an equal part of the time asked for; empty parts have none."""
    width_s = max((until - since) / max(points_max, 1), 1e-6)
    parts: dict[int, list[Sample]] = {}
    for one in samples:
        parts.setdefault(min(int((one.at - since) / width_s), points_max - 1), []).append(one)
    return [merge(part) for _number, part in sorted(parts.items())]


def pack(sample: Sample) -> bytes:
    """One record."""
    spreads = [getattr(sample, key) for name in _SPREADS for key in name]
    body = _RECORD.pack(
        sample.at,
        sample.span_s,
        _code(ROLES, sample.role),
        _code(SYNC_STATES, sample.sync_state),
        sample.timeline,
        -1 if sample.term is None else sample.term,
        sample.lsn,
        *(math.nan if value is None else value for value in spreads),
    )
    return body + _CHECK.pack(zlib.crc32(body))


def unpack(data: bytes) -> Iterator[Sample]:
    """Every whole record; what is torn, zeroed or otherwise wrong is passed over."""
    for start in range(0, len(data) - SIZE + 1, SIZE):
        body = data[start : start + _RECORD.size]
        if _CHECK.unpack_from(data, start + _RECORD.size)[0] != zlib.crc32(body):
            continue
        at, span_s, role, sync_state, timeline, term, lsn, *spreads = _RECORD.unpack(body)
        known = [None if math.isnan(value) else value for value in spreads]
        groups = [known[at : at + 3] for at in range(0, len(known), 3)]
        if not math.isfinite(at) or any(None in group and group != [None] * 3 for group in groups):
            continue
        yield Sample(
            at, span_s, _word(ROLES, role), _word(SYNC_STATES, sync_state), None if term < 0 else term, timeline, lsn,
            *known,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tier:
    """One kind of file: `name` and how long a file and the whole are, in seconds."""

    name: str
    file_s: int
    keep_s: int

    def path(self, directory: Path, at: float) -> Path:
        """The file that a sample of this time belongs to; names sort by time."""
        start = time.gmtime(int(at) // self.file_s * self.file_s)
        return directory / f"{self.name}-{time.strftime('%Y%m%dT%H', start)}.s1"

    def files(self, directory: Path) -> list[Path]:
        """Its files, oldest first."""
        return sorted(directory.glob(f"{self.name}-*.s1"))


FINE = Tier("fine", HOUR_S, DAY_S)


class SampleStore:
    """The history of one host in `directory`. One thread writes; anybody may read at the same time.

    `keep_days`: how long the minutes are kept. OSError where the directory cannot be read or written.
    """

    def __init__(self, directory: Path, keep_days: int = 30) -> None:
        self._directory = directory
        self._minute = Tier("minute", DAY_S, keep_days * DAY_S)
        self._pending: list[Sample] | None = None

    def append(self, sample: Sample) -> None:
        """Keep a sample; when its minute is another than that of the one before, roll that minute up."""
        if self._pending is None:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._pending = self._not_rolled_up()
        groups = [list(group) for _minute_number, group in itertools.groupby((*self._pending, sample), _minute)]
        for number, whole in enumerate(groups[:-1], 1):
            self._write(self._minute, merge(whole))
            self._pending = [one for group in groups[number:] for one in group if one is not sample]
        self._pending = groups[-1]
        self._write(FINE, sample)

    def recent(self, seconds: float, points_max: int, until: float | None = None) -> list[Sample]:
        """The last `seconds` before `until` (unix time; None: now), oldest first, as at most `points_max` samples."""
        until = time.time() if until is None else until
        since = until - seconds
        if seconds <= FINE.keep_s:
            found = self._read(FINE, since, until, points_max)
        else:
            found = self._read(self._minute, since, until, points_max)
            found += self._read(FINE, max(since, found[-1].at if found else since), until)
        return thin(found, since, until, points_max)

    def _not_rolled_up(self) -> list[Sample]:
        """What an earlier process wrote since its last whole minute."""
        now = time.time()
        last = self._read(self._minute, now - FINE.keep_s, now)
        return self._read(FINE, last[-1].at if last else now - FINE.keep_s, now)

    def _read(self, tier: Tier, since: float, until: float, points_max: int | None = None) -> list[Sample]:
        """The samples of one tier after `since`, in the order of their times.

        `points_max`: each file is thinned as it is read, so that a month is never in memory as a whole.
        """
        first, last = tier.path(self._directory, since).name, tier.path(self._directory, until + LATE_S).name
        found: list[Sample] = []
        for path in tier.files(self._directory):
            if first <= path.name <= last:
                try:
                    part = [one for one in unpack(path.read_bytes()) if since < one.at <= until + LATE_S]
                except FileNotFoundError:  # its time was over between the list and the look
                    continue
                part.sort(key=lambda one: one.at)
                found += part if points_max is None else thin(part, since, until, points_max)
        return sorted(found, key=lambda one: one.at)

    def _write(self, tier: Tier, sample: Sample) -> None:
        """Add a record at a record's place: half a record that a full disk or a power cut left is cut off first."""
        path = tier.path(self._directory, sample.at)
        fresh = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            if size % SIZE:
                os.ftruncate(descriptor, size - size % SIZE)
            os.write(descriptor, pack(sample))
        finally:
            os.close(descriptor)
        if fresh:
            self._prune(tier, path)

    def _prune(self, tier: Tier, current: Path) -> None:
        """Keep as many files as the time needs.

        By number: a clock that is wrong for a while deletes nothing that is younger than it says.
        """
        files = [path for path in tier.files(self._directory) if path != current]
        for path in files[: max(0, len(files) - tier.keep_s // tier.file_s)]:
            path.unlink(missing_ok=True)


def answer(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request for the last `seconds` as at most `points` samples. RefusedError names a mistake in it."""
    seconds, points = request.get("seconds", 3600.0), request.get("points", 500)
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise RefusedError(f"seconds is not a positive number: {seconds!r}")
    if not isinstance(points, int) or not 0 < points <= POINTS_MAX:
        raise RefusedError(f"points is not a number from 1 to {POINTS_MAX}: {points!r}")
    try:
        found = SampleStore(directory).recent(seconds, points)
    except OSError as failure:
        raise PgvipError("could not read the monitoring history", f"{failure}.") from failure
    return {"samples": [sample.as_dict() for sample in found]}


def _minute(sample: Sample) -> int:
    return int(sample.at) // MINUTE_S


def _code(words: tuple[str, ...], word: str) -> int:
    return words.index(word) if word in words else 0


def _word(words: tuple[str, ...], code: int) -> str:
    return words[code] if code < len(words) else words[0]


def _lsn(text: str | None) -> int:
    if not text:
        return 0
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
