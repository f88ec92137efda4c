"""The state of the pair in one line, for people: its level and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.text.writing import duration
from pgvip.web.health import PRIMARY_ROLES, is_silent

if TYPE_CHECKING:
    from pgvip.web.sources import Document

GOOD, WARN, BAD = "good", "warn", "bad"
WORDS = {GOOD: "OK:", WARN: "Warning:", BAD: "Critical:"}


@dataclass(frozen=True, slots=True)
class Summary:
    """`level`: good, warn or bad; `text`: one or two sentences; `short`: a few words for the title."""

    level: str
    text: str
    short: str


def summary(document: Document, age_s: float, stale_s: float) -> Summary:
    """What a person should know first."""
    host, serving = document["host"], serving_host(document)
    count = len(document["warnings"])
    more = f" {count} warning{'' if count == 1 else 's'}, see below." if count else ""
    archiving = document.get("archiving") or {}
    failing = bool(archiving.get("failing"))
    if failing:  # the other host has no warning of it
        more = f" Archiving fails on {archiving['host']}.{more}"
    if age_s > stale_s:
        text = f"The daemon on {host} has had no round for {age_s:.0f} s: what is shown may be out of date."
        return Summary(BAD, text, "daemon hangs")
    if serving is None:
        return Summary(BAD, f"No host serves as primary, as far as {host} knows.{more}", "no primary")
    text, whole = _serving(document, serving)
    level = GOOD if whole and not count and not failing else WARN
    short = f"{serving['name']} is {_short(serving)}"
    return Summary(level, f"{text}{more}", short if level == GOOD else f"{short}, warning")


def serving_host(document: Document) -> Document | None:
    """The host that is primary and read-write, as this host knows it; what it knows of itself goes first."""
    for host in (document["me"], document["peer"]):
        if host["role"] in PRIMARY_ROLES and host["postgresql"]["state"] == "read-write":
            found: Document = host
            return found
    return None


def _short(host: Document) -> str:
    return "alone" if host["role"] == "primary_standby" else "primary"


def _serving(document: Document, serving: Document) -> tuple[str, bool]:
    """Who serves, in words, and whether that is the healthy state of a pair."""
    peer = document["peer"]
    other = document["me"] if serving is peer else peer
    name, standby = serving["name"], other["name"]
    if serving is not peer and document["local"].get("peer_removed"):
        return f"{name} serves alone, with both addresses; {standby} is removed.", True
    if is_silent(peer):
        since = "has never been heard" if peer["age_s"] is None else f"has not been heard for {duration(peer['age_s'])}"
        what = "serves alone, with both addresses" if serving["role"] == "primary_standby" else "is primary"
        return f"{name} {what if serving is not peer else 'was primary'}; {peer['name']} {since}.", False
    if serving["role"] == "primary_standby":
        return f"{name} serves alone, with both addresses.", False
    how = "synchronously" if (document["record"] or {}).get("sync") else "asynchronously"
    if not other["postgresql"]["streaming"]:
        return f"{name} is primary; {standby} does not follow.", False
    may = "may take over" if other["eligible"] else "may not take over"
    return f"{name} is primary; {standby} follows {how} and {may}.", bool(other["eligible"])
