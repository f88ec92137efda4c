"""Health checks for load balancers: the paths, status codes and parameters that Patroni's users know. Pure.

(Patroni manual, "Patroni REST API", "Health check endpoints".) 200: yes; 503: no, and the reason in the answer; 400:
the request is wrong. A loop that has had no round for the stated time gives 503: what it knows may be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pgvip.core.values import Lsn
from pgvip.web.sources import Document, Limits

LIVE_S = 10.0
"""A loop that has made no round for so long is stuck: WatchdogSec of systemd/pgvip.service."""
SILENT_S = 5.0
"""A peer's report that is older is marked for people: it may have changed since."""
PRIMARY_ROLES = ("primary", "primary_standby")

_SIZE = re.compile(r"(\d{1,15})\s*(B|kB|MB|GB|TB)?\Z", re.IGNORECASE)
_UNITS = {"": 0, "b": 0, "kb": 10, "mb": 20, "gb": 30, "tb": 40}
VALUES = {"replication_state": ("streaming", "in archive recovery"), "mode": ("apply", "write")}
"""Parameters that are one of a few words."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a check judges by. `age_s`: since the loop went round; `query`: the request's parameters."""

    document: Document
    age_s: float
    limits: Limits
    query: Mapping[str, str]

    @property
    def me(self) -> Document:
        me: Document = self.document["me"]
        return me

    @property
    def server(self) -> Document:
        server: Document = self.me["postgresql"]
        return server


class BadQuery(Exception):
    """A parameter that the check does not know, or a value that it cannot read."""


Check = Callable[[Look], str]
"""Gives "" for yes, else why not."""


def judge(path: str, look: Look) -> tuple[HTTPStatus, str]:
    """The status of a check and its reason ("" with 200). KeyError for a path that is none."""
    check, parameters = CHECKS[path]
    try:
        _known(look.query, parameters)
        reason = check(look) or _stale(look)
    except BadQuery as error:
        return HTTPStatus.BAD_REQUEST, str(error)
    return (HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK), reason


def alive(age_s: float) -> tuple[HTTPStatus, str]:
    """Whether the loop goes round: needs nothing else."""
    if age_s <= LIVE_S:
        return HTTPStatus.OK, ""
    return HTTPStatus.SERVICE_UNAVAILABLE, f"the daemon's loop has had no round for {LIVE_S:g} s"


def size_of(text: str) -> int:
    """Read a number of bytes, with PostgreSQL's units or without. BadQuery for anything else.

    >>> size_of("1048576"), size_of("16kB"), size_of("10MB")
    (1048576, 16384, 10485760)
    """
    match = _SIZE.match(text)
    if match is None:
        raise BadQuery(f"lag={text!r} is not a number of bytes; write it as in lag=16MB or lag=1048576")
    return int(match[1]) << _UNITS[(match[2] or "").lower()]


def apply_lag_bytes(document: Document) -> int | None:
    """How far this standby's replay is behind the newest position heard of the primary; None when not known.

    While the primary is silent that is its last known position, as in Patroni.
    """
    mine, theirs = document["me"]["postgresql"], document["peer"]["postgresql"]
    if not mine["replay_lsn"] or not theirs["lsn"] or mine["timeline"] != theirs["timeline"]:
        return None
    return max(0, Lsn.parse(theirs["lsn"]) - Lsn.parse(mine["replay_lsn"]))


def is_synchronous(document: Document) -> bool:
    """Commits wait for this standby: the record says so, and it streams."""
    record = document["record"]
    streams = document["me"]["postgresql"]["streaming"] is True
    return document["role"] == "standby" and streams and record["sync"] and record["mode"] == "pair"


def serves_primary(document: Document) -> str:
    """Why clients should not write here, or ""."""
    host, role, state = document["host"], document["role"], document["me"]["postgresql"]["state"]
    if role not in PRIMARY_ROLES:
        return f"{host} is {_role(role)}, not primary"
    if state != "read-write":
        return f"{host} is primary, but its PostgreSQL is {state}"
    if not document["rights"]["write"]:
        return f"{host} does not have the write right"
    if not document["rights"]["serve"]:
        return f"{host} accepts no clients before its standby has caught up"
    return ""


def serves_standby(document: Document) -> str:
    """Why clients should not read from this host as a standby, or ""."""
    host, role, state = document["host"], document["role"], document["me"]["postgresql"]["state"]
    if role != "standby":
        return f"{host} is {_role(role)}, not standby"
    return "" if state == "standby" else f"{host} is standby, but its PostgreSQL is {state}"


def is_silent(peer: Document) -> bool:
    """The peer's last message is old, or there was none."""
    return peer["age_s"] is None or peer["age_s"] > SILENT_S


def _role(role: str) -> str:
    return "of no confirmed role" if role == "none" else role


def _known(query: Mapping[str, str], parameters: tuple[str, ...]) -> None:
    """Every parameter and its value, before the check reads the host: what is wrong is wrong on both hosts."""
    for name, value in query.items():
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise BadQuery(f"unknown parameter {name!r} (known here: {known})")
        if name == "lag":
            size_of(value)
        elif value not in VALUES[name]:
            known = " or ".join(f"{name}={one}" for one in VALUES[name])
            raise BadQuery(f"{name}={value!r} is not known; write {known}")


def _stale(look: Look) -> str:
    if look.age_s <= look.limits.stale_s:
        return ""
    return f"the daemon's loop has had no round for {look.limits.stale_s:g} s: what it knows may be out of date"


def _primary(look: Look) -> str:
    return serves_primary(look.document)


def _replica(look: Look) -> str:
    reason = serves_standby(look.document)
    if reason:
        return reason
    wanted = look.query.get("replication_state")
    state = "streaming" if look.server["streaming"] else "in archive recovery"
    if wanted is not None and wanted != state:
        return f"its replication state is {state}, not {wanted}"
    return _behind(look, size_of(look.query["lag"])) if "lag" in look.query else ""


def _behind(look: Look, limit_bytes: int) -> str:
    mode = look.query.get("mode", "apply")
    lag_bytes: Any = look.document["replication"]["lag_bytes"] if mode == "write" else apply_lag_bytes(look.document)
    if lag_bytes is None:
        return "its lag is not known: the primary's position was not heard"
    return f"it is {lag_bytes} bytes behind, more than {limit_bytes}" if lag_bytes > limit_bytes else ""


def _read_only(look: Look) -> str:
    return "" if not _primary(look) else _replica(look)


def _sync(look: Look) -> str:
    return _replica(look) or ("" if is_synchronous(look.document) else "it is not the synchronous standby now")


def _read_only_sync(look: Look) -> str:
    return "" if not _primary(look) else _sync(look)


def _async(look: Look) -> str:
    return _replica(look) or ("it is the synchronous standby" if is_synchronous(look.document) else "")


def _health(look: Look) -> str:
    state = look.server["state"]
    if state not in ("read-write", "standby"):
        return f"PostgreSQL is {state}"
    return "" if look.server["healthy"] else "PostgreSQL or its disks do not answer"


def _readiness(look: Look) -> str:
    if not _primary(look):
        return ""
    reason = serves_standby(look.document)
    if reason:
        return reason
    if not look.server["streaming"]:
        return "this standby does not stream"
    return _behind(look, size_of(look.query["lag"]) if "lag" in look.query else look.limits.lag_bytes_max)


_LAG = ("lag", "replication_state", "mode")
CHECKS: dict[str, tuple[Check, tuple[str, ...]]] = {
    "/primary": (_primary, ()),
    "/leader": (_primary, ()),
    "/master": (_primary, ()),
    "/read-write": (_primary, ()),
    "/standby": (_replica, _LAG),
    "/replica": (_replica, _LAG),
    "/read-only": (_read_only, _LAG),
    "/synchronous": (_sync, _LAG),
    "/sync": (_sync, _LAG),
    "/read-only-sync": (_read_only_sync, _LAG),
    "/asynchronous": (_async, _LAG),
    "/async": (_async, _LAG),
    "/health": (_health, ()),
    "/readiness": (_readiness, ("lag", "mode")),
}
"""Each path with its check and the parameters that it knows. /liveness needs no status: `alive`."""
