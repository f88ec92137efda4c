"""`pgvip history --roles`: which host had which role when, from the event history on this host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import columns, duration, put, put_json
from pgvip.cli.where import state_directory
from pgvip.errors import Exit, PgvipError
from pgvip.journal.event_store import LIMIT_MAX, Wanted, stored
from pgvip.text.times import utc
from pgvip.text.writing import moment, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pgvip.events.event_table import Event

ROLES = {"primary": "primary", "primary_standby": "primary, alone", "standby": "standby", "none": "none"}


def show(args: argparse.Namespace) -> int:
    """Print the table. Returns 1 when nothing is known of that time."""
    directory = state_directory(args) / "events"
    wanted = Wanted(LIMIT_MAX, utc(args.since) if args.since else "", events=("role-change",))
    try:
        found = wanted.newest(stored(directory))
    except OSError as error:
        raise PgvipError(f"could not read the event history in {directory}", f"{error}.", "Run it as root.") from error
    rows = changes(found, datetime.now(tz=UTC))
    if args.form == "json":
        put_json({"roles": rows})
    elif not rows:
        put(f"no change of role in that time in {directory}")
    else:
        put("\n".join(table(rows)))
    return int(Exit.OK if rows else Exit.FAILED)


def changes(events: Sequence[Event], now: datetime) -> list[dict[str, Any]]:
    """Each change, the oldest first, with how long the role lasted: until the next change of that host."""
    rows: list[dict[str, Any]] = []
    until: dict[str, datetime] = {}
    for event in reversed(events):
        words = dict(event.fields)
        at = _time(event.at)
        lasted_s = None if at is None else max(0.0, (until.get(event.host, now) - at).total_seconds())
        rows.append({
            "at": event.at, "host": event.host, "role": words.get("new", ""), "before": words.get("old", ""),
            "term": event.term, "cause": words.get("cause", ""), "lasted_s": lasted_s,
            "now": event.host not in until,
        })  # fmt: skip
        if at is not None:
            until[event.host] = at
    return rows[::-1]


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """For people; what lasts still says so."""
    return columns([("at", "host", "role", "for", "term", "before", "cause"), *map(_row, one_line(list(rows)))])


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    lasted_s = one["lasted_s"]
    lasted = "-" if lasted_s is None else duration(lasted_s) + (" so far" if one["now"] else "")
    return (
        moment(one["at"]),
        one["host"],
        ROLES.get(one["role"], one["role"]),
        lasted,
        str(one["term"]),
        ROLES.get(one["before"], one["before"]),
        one["cause"] or "-",
    )


def _time(text: str) -> datetime | None:
    """The peer's may be no time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
