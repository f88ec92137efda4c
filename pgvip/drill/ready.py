"""Is the pair ready for a drill? What prevents one, from the status document. Pure."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def primary_of(status: Document) -> str:
    """The host that the record names primary; "" without a record."""
    return str(status["record"]["primary"]) if status["record"] else ""


def obstacles(status: Document) -> list[str]:
    """Why neither host could take over from the other now; nothing when a drill can begin."""
    record, me, peer = status["record"], status["me"], status["peer"]
    if record is None:
        return ["this host has no record"]
    found = [] if status["confirmed"] else ["the record is not confirmed since this boot"]
    if record["mode"] != "pair":
        return [*found, f"{record['primary']} serves alone"]
    primary, standby = (me, peer) if record["primary"] == me["name"] else (peer, me)
    if status["pause"]["active"]:
        found.append("the pair is paused")
    for host in (me, peer):
        if host["override"] != "auto":
            found.append(f'{host["name"]} has role = "{host["override"]}" and would move the role by itself')
        if host["hold"]:
            found.append(f"{host['name']} is on hold")
    if primary["postgresql"]["state"] != "read-write":
        found.append(f"the database of {primary['name']} is {primary['postgresql']['state']}")
    if not standby["eligible"]:
        found.append(f"{standby['name']} is not eligible")
    if not standby["postgresql"]["streaming"]:
        found.append(f"{standby['name']} does not stream")
    for host, vip in ((primary, "primary"), (standby, "standby")):
        if host["vips"] != [vip]:
            found.append(f"{host['name']} does not carry the {vip} VIP alone")
    if status["doing"]["switchover"] or status["doing"]["claim"] or status["doing"]["giving_up"]:
        found.append("a change of role is under way")
    return found
