"""`pgvip history`: the replication monitoring history of this host, as a plot, a table, JSON or CSV."""

from __future__ import annotations

import argparse
import csv
import locale
import shutil
import sys
import time
from typing import TYPE_CHECKING

from pgvip.cli import role_history
from pgvip.cli.output import UNKNOWN, columns, duration, lag, put, put_json, size
from pgvip.cli.plot import plot, spread
from pgvip.cli.when import past
from pgvip.cli.where import state_directory
from pgvip.errors import Exit, PgvipError
from pgvip.journal.samples import FIELDS, Sample, SampleStore
from pgvip.text.times import TIMES
from pgvip.text.writing import moment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

HELP = "show the replication history of this host (lag, WAL rate), with a plot"
EXIT_CODES = {1: "there is nothing in that time, or it cannot be read", 4: "", 5: ""}
WIDTH_MAX = 200
TABLE_ROWS = 40
RAW_POINTS = 20_000
"""More than a day of samples, every five seconds: --json and --csv give each of them unless options say otherwise."""

VALUES: dict[str, tuple[str, Callable[[float], str]]] = {
    "lag_s": ("replay lag", lag),
    "lag_bytes": ("WAL not yet flushed by the standby", size),
    "apply_bytes": ("WAL not yet replayed by the standby", size),
    "flush_lag_s": ("flush lag", lag),
    "wal_bytes_per_s": ("WAL written", lambda value: f"{size(value)}/s"),
    "heard_age_s": ("age of the peer's last message", lag),
}
LETTERS = {"primary": "P", "standby": "S", "primary_standby": "A", "none": "-"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `history`."""
    parser.description = (
        "Show how replication went, from the files of this host: without the daemon and without a primary. Samples of "
        "the last day are every few seconds, older ones by minutes, each with average and maximum. "
        "Example: pgvip history --since 6h --value lag_bytes"
    )
    parser.add_argument(
        "--since", type=past, metavar="TIME", help=f"since then: {TIMES} (default 1h; with --roles all)"
    )
    parser.add_argument("--roles", action="store_true", help="which host had which role when, as a table or --json")
    parser.add_argument(
        "--value", choices=list(VALUES), action="append", help="what to plot (repeatable; default lag_s and lag_bytes)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--plot", dest="form", action="store_const", const="plot", help="columns over time (default)")
    form.add_argument("--table", dest="form", action="store_const", const="table", help="one line for each step")
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print one JSON object")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="one line for each sample")
    parser.add_argument("--points", type=_count, metavar="N", help="at most so many steps (averages of equal times)")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    parser.set_defaults(form="plot")


def run(args: argparse.Namespace) -> int:
    """Show it. Returns 1 when there is nothing in that time."""
    if args.roles:
        return role_history.show(args)
    directory = state_directory(args) / "history"
    until = time.time()
    since = args.since or past("1h")
    seconds = max(1.0, float(round(until - since.timestamp())))  # "1d" was a moment ago
    width = min(shutil.get_terminal_size((100, 24)).columns, WIDTH_MAX)
    points = args.points or {"plot": 4 * width, "table": TABLE_ROWS}.get(args.form, RAW_POINTS)
    found = _read(directory, seconds, points, until)
    if args.form == "json":
        document = {"since": until - seconds, "until": until, "samples": [one.as_dict() for one in found]}
        put_json(document)
    elif args.form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows([getattr(one, name) for name in FIELDS] for one in found)
    elif not found:
        put(f"no samples in the last {duration(seconds)} in {directory}", file=sys.stderr)
    elif args.form == "table":
        put("\n".join(table(found)))
    else:
        chosen = args.value or ["lag_s", "lag_bytes"]
        put("\n".join(chart(found, chosen, until - seconds, until, width, ascii_only=args.ascii or not blocks())))
    return int(Exit.OK if found else Exit.FAILED)


def table(samples: Sequence[Sample]) -> list[str]:
    """One line for each sample, newest last; lag as average and maximum."""
    titles = ("at", "role", "term", "sync", "WAL position", "lag", "max", "replay lag", "max", "WAL/s", "peer heard")
    return columns([titles, *map(_row, samples)])


def _row(one: Sample) -> tuple[str, ...]:
    return (
        moment_of(one.at),
        one.role,
        "-" if one.term is None else str(one.term),
        one.sync_state or "-",
        f"{one.lsn >> 32:X}/{one.lsn & 0xFFFFFFFF:X}" if one.lsn else "-",
        _or(one.lag_bytes, size),
        _or(one.lag_bytes_max, size),
        _or(one.lag_s, lag),
        _or(one.lag_s_max, lag),
        _or(one.wal_bytes_per_s, size),
        _or(one.heard_age_s, lag),
    )


def chart(
    samples: Sequence[Sample], names: Sequence[str], since: float, until: float, width: int, *, ascii_only: bool = False
) -> list[str]:
    """A plot for each value, with this host's role below; a column shows the largest value of its time."""
    lines: list[str] = []
    for name in names:
        title, show = VALUES[name]
        points = [(one.at, one.span_s, getattr(one, f"{name}_max")) for one in samples]
        known = [value for _at, _span_s, value in points if value is not None]
        lines += [f"{title}, largest of each column" + (f" (at most {show(max(known))})" if known else ""), ""]
        room = max(10, width - 14)
        drawn = plot(spread(points, since, until, room), show, since, until, ascii_only=ascii_only)
        left = len(drawn[-2]) - room
        lines += [*drawn, f"{'role':>{left - 2}}  {_roles(samples, since, until, room)}".rstrip(), ""]
    return [*lines, *_summary(samples)]


def blocks() -> bool:
    """True when standard output can show block characters."""
    encoding = sys.stdout.encoding if hasattr(sys.stdout, "encoding") else locale.getpreferredencoding()
    return (encoding or "").lower().replace("-", "") == "utf8"


def _read(directory: Path, seconds: float, points: int, until: float) -> list[Sample]:
    try:
        return SampleStore(directory).recent(seconds, points, until)
    except PermissionError as error:
        raise PgvipError(f"permission denied for {error.filename}", hint="Run this command as root.") from error
    except OSError as error:
        raise PgvipError(f"could not read the monitoring history in {directory}", f"{error}.") from error


def _roles(samples: Sequence[Sample], since: float, until: float, width: int) -> str:
    points = [(one.at, one.span_s, float(number)) for number, one in enumerate(samples)]
    last = [None if one is None else samples[int(one)].role for one in spread(points, since, until, width)]
    return "".join(" " if role is None else LETTERS.get(role, "?") for role in last).rstrip()


def _summary(samples: Sequence[Sample]) -> list[str]:
    """Of the whole time: each measure's average and largest value, and the terms."""
    rows = [("", "average", "largest")]
    for name, (title, show) in VALUES.items():
        known = [one for one in samples if getattr(one, name) is not None]
        if known:
            average = sum(getattr(one, name) for one in known) / len(known)
            rows.append((title, show(average), show(max(getattr(one, f"{name}_max") for one in known))))
    terms = [one.term for one in samples if one.term is not None]
    said = f"{terms[0]} to {terms[-1]}" if terms and terms[0] != terms[-1] else str(terms[-1]) if terms else UNKNOWN
    first, last = (moment_of(one.at) for one in (samples[0], samples[-1]))
    letters = "role: P primary, S standby, A alone (primary_standby), - none"
    return [*columns(rows), f"from {first} to {last}, term {said}", letters]


def _or(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a positive number')
    return int(text)
