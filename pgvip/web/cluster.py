"""The pair as Patroni's GET /cluster shows one, for programs that read that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.web.health import PRIMARY_ROLES, apply_lag_bytes

if TYPE_CHECKING:
    from pgvip.web.sources import Document

_STATES = {"read-write": "running", "down": "stopped", "orphans": "stopped", "no-data": "stopped"}


def cluster(document: Document, port: int) -> Document:
    """Both hosts as members; roles `leader`, `sync_standby`, `replica`. `lag` is in bytes, "unknown" where it is."""
    members = []
    for host in (document["me"], document["peer"]):
        member = {
            "name": host["name"],
            "role": _role(host, document),
            "state": _state(host),
            "host": host["address"],
            "port": port,
            "timeline": host["postgresql"]["timeline"],
        }
        if host["role"] not in PRIMARY_ROLES:
            member["lag"] = _lag(host, document)
        members.append(member)
    found: Document = {"members": members, "scope": document["pair"]}
    if document["pause"]["active"]:
        found["pause"] = True
    return found


def _role(host: Document, document: Document) -> str:
    if host["role"] in PRIMARY_ROLES:
        return "leader"
    record = document["record"]
    waited_for = record is not None and record["sync"] and record["mode"] == "pair"
    return "sync_standby" if host["role"] == "standby" and waited_for else "replica"


def _state(host: Document) -> str:
    state = host["postgresql"]["state"]
    if state == "standby":
        return "streaming" if host["postgresql"]["streaming"] else "running"
    return str(_STATES.get(state, state))


def _lag(host: Document, document: Document) -> int | str:
    own = host is document["me"]
    lag = apply_lag_bytes(document) if own else document["replication"]["lag_bytes"]
    return "unknown" if lag is None else int(lag)
