"""`pgvip check`: pre-flight and standing checks with the exit codes and performance data of monitoring plugins."""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pgvip.checks.check_table import BY_NAME, CHECKS
from pgvip.checks.finding import Level, worst
from pgvip.checks.runner import LIMIT_S
from pgvip.checks.runner import run as run_checks
from pgvip.checks.subject import Facts, Limits
from pgvip.cli.output import columns, put, put_json
from pgvip.config.load import load
from pgvip.errors import PgvipError
from pgvip.system import privileges, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgvip.checks.finding import Finding
    from pgvip.config.model import Config

HELP = "check everything that the pair relies on, for people and for monitoring"
EXIT_CODES = {
    0: "OK: every finding is",
    1: "WARNING, by the worst finding, as monitoring plugins have it",
    2: "CRITICAL; also wrong usage",
    3: "UNKNOWN: what matters could not be checked, or there is no good configuration",
    4: "",
    5: "",
}
SHARE_S = 0.5
"""The checks ask for a worker at the same time, and are through with it in milliseconds."""
UNITS = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check`."""
    parser.description = (
        "Check everything that the pair relies on, from this host: run it on both. Works before init, and with the "
        "daemon down; what cannot be known is UNKNOWN with its reason. Nothing is changed, nobody is powered off. "
        "Example: pgvip check --nagios --only attached lag --lag-warning 8MB"
    )
    parser.add_argument("--only", nargs="+", choices=list(BY_NAME), metavar="NAME", help="these checks alone")
    parser.add_argument("--skip", nargs="+", choices=list(BY_NAME), default=[], metavar="NAME", help="not these")
    parser.add_argument("--list", action="store_true", help="name every check and what it checks; check nothing")
    parser.add_argument("--nagios", action="store_true", help="a line with performance data, then the problems")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--timeout", type=seconds, default=LIMIT_S, metavar="SECONDS", help="for all (%(default)g)")
    limits = parser.add_argument_group("limits", "a value at or above warns, or is critical; free space at or below")
    for option, what, kind in OPTIONS:
        default = getattr(DEFAULTS, field_of(option, kind))
        said = "from the configuration" if default is None else f"{default:g}"
        limits.add_argument(f"--{option}", type=kind, metavar=kind.__name__.upper(), help=f"{what} (default {said})")


def size(text: str) -> int:
    """A number of bytes.

    >>> size("8MB"), size("512"), size("1.5 GB")
    (8388608, 512, 1610612736)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it as 512kB, 8MB or 2GB")
    return int(float(found[1]) * UNITS[found[2]])


def seconds(text: str) -> float:
    """A number of seconds above zero; an "s" may follow."""
    try:
        value = float(text.strip().removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


def percent(text: str) -> float:
    """A number from 0 to 100; a "%" may follow."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage")
    return value


def count(text: str) -> int:
    """A whole number."""
    if not text.strip().isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


DEFAULTS = Limits()
OPTIONS: tuple[tuple[str, str, Callable[[str], float]], ...] = (
    ("lag-warning", "how far the standby may be behind", size),
    ("lag-critical", "the same", size),
    ("lag-seconds-warning", "replay delay", seconds),
    ("lag-seconds-critical", "the same", seconds),
    ("ready-warning", "WAL files that wait to be archived", count),
    ("ready-critical", "the same", count),
    ("disk-warning", "free space of each file system", percent),
    ("disk-critical", "the same", percent),
    ("clock-warning", "difference of the two hosts' clocks", seconds),
    ("clock-critical", "the same", seconds),
    ("connections-warning", "used part of max_connections", percent),
    ("connections-critical", "the same", percent),
)
_ENDINGS = {"size": "_bytes", "seconds": "_s", "percent": "_percent", "count": ""}


def field_of(option: str, kind: Callable[[str], float]) -> str:
    """The field of Limits that an option sets.

    >>> field_of("lag-warning", size), field_of("lag-seconds-critical", seconds)
    ('lag_warning_bytes', 'lag_critical_s')
    """
    return option.replace("-seconds", "").replace("-", "_") + _ENDINGS[kind.__name__]


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits that were given, and the others' defaults."""
    given = {field_of(option, kind): getattr(args, option.replace("-", "_")) for option, _, kind in OPTIONS}
    assert set(given) <= {field.name for field in fields(Limits)}
    return Limits(**{name: value for name, value in given.items() if value is not None})


def run(args: argparse.Namespace) -> int:
    """Check and print. Returns 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    if args.list:
        put("\n".join(columns([(check.name, check.what) for check in CHECKS])))
        return int(Level.OK)
    try:
        config = load(args.config, args.host)
    except PgvipError as error:
        return _no_configuration(args, error)
    chosen = [check for check in CHECKS if check.name in (args.only or BY_NAME) and check.name not in args.skip]
    with suppress(PgvipError):  # there is no such user: the checks say so
        privileges.give_up(config)
        workers.share(SHARE_S)
    found = run_checks(chosen, Facts(config, limits_of(args)), args.timeout, on_wait=_say_waiting)
    level = worst(finding.level for finding in found)
    if args.json:
        put_json(document(config, level, found))
    else:
        put("\n".join(plugin_lines(level, found) if args.nagios else lines(config, level, found)))
    return int(level)


def _no_configuration(args: argparse.Namespace, error: PgvipError) -> int:
    """Monitoring gets its words on standard output, and UNKNOWN."""
    if args.json:
        put_json({"level": Level.UNKNOWN.name, "checks": [], "error": str(error)})
    elif args.nagios:
        put(f"PGVIP UNKNOWN - {_plain(error.message)}")
    else:
        put(f"pgvip: error: {error}", file=sys.stderr)
    return int(Level.UNKNOWN)


def _say_waiting(names: Sequence[str]) -> None:
    if sys.stderr.isatty():
        put(f"pgvip: still looking: {', '.join(names)}", file=sys.stderr, flush=True)


# --- output --------------------------------------------------------------------------------------------------


def document(config: Config, level: Level, found: Sequence[Finding]) -> dict[str, Any]:
    """The JSON object (docs/check.md)."""
    return {
        "pair": config.name,
        "host": config.me.name,
        "level": level.name,
        "checks": [
            {
                "name": one.name, "level": one.level.name, "text": one.text, "detail": one.detail, "hint": one.hint,
                "perf": [{"label": perf.label, "value": perf.value, "unit": perf.unit, "warning": perf.warning,
                          "critical": perf.critical} for perf in one.perf],
            }
            for one in found
        ],
    }  # fmt: skip


def lines(config: Config, level: Level, found: Sequence[Finding]) -> Iterator[str]:
    """A list for people: what is wrong has its detail and hint under it."""
    tally = {each: sum(one.level is each for one in found) for each in Level}
    counts = ", ".join(f"{number} {each.name.lower()}" for each, number in tally.items() if number)
    yield f"pair {config.name}, host {config.me.name}: {level.name} ({counts})"
    width = max((len(one.name) for one in found), default=0)
    indent = " " * (13 + width)
    told: set[tuple[str, str, str]] = set()
    for one in found:
        yield f"  {one.level.name:8} {one.name:{width}}  {_line(one.text)}"
        why = (one.text.removeprefix("not known: "), one.detail, one.hint)
        if one.level and why not in told:  # one cause, such as a daemon that is down, makes many checks UNKNOWN
            told.add(why)
            if one.detail:
                yield f"{indent}DETAIL: {_line(one.detail)}"
            if one.hint:
                yield f"{indent}HINT: {_line(one.hint)}"


def plugin_lines(level: Level, found: Sequence[Finding]) -> Iterator[str]:
    """As monitoring plugins print: a status line with all performance data, then the problems in full."""
    bad = sorted((one for one in found if one.level), key=lambda one: -_weight(one.level))
    said = "; ".join(f"{one.name}: {one.text}" for one in bad) or _all_well(found)
    perf = " ".join(str(perf) for one in found for perf in one.perf)
    yield f"PGVIP {level.name} - {_plain(said)}" + (f" | {perf}" if perf else "")
    for one in bad:
        yield f"{one.level.name} {one.name}: {_plain(one.text)}" + (f" HINT: {_plain(one.hint)}" if one.hint else "")


def _weight(level: Level) -> int:
    return {Level.CRITICAL: 3, Level.WARNING: 2, Level.UNKNOWN: 1}.get(level, 0)


def _all_well(found: Sequence[Finding]) -> str:
    """One check's own text, or how many there were."""
    return found[0].text if len(found) == 1 else f"{len(found)} checks"


def _line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """One line, without the sign that begins performance data."""
    return _line(text).replace("|", "/")
