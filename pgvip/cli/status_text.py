"""The status document (docs/status.md) as text. Pure: document in, lines out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.colour import Styled
from pgvip.cli.output import UNKNOWN, columns, duration, lag, moment, size, yes_no
from pgvip.events.event_table import EVENTS, Level
from pgvip.text.witness_line import witness_line
from pgvip.text.writing import archiving, backup, former_vips, one_line, scheduled

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = dict[str, Any]
INIT = "pgvip init"
"""The cause of a pair's first record."""
WOULD_SHOWN = 8
STALE_S = 5.0
"""A peer's word that is older is marked "?", as repmgr marks a node that it does not reach: it may have changed."""


def render(document: Document, *, verbose: bool = False) -> list[str]:
    """All lines of `pgvip status`."""
    return [text for _style, text in render_styled(document, verbose=verbose)]


def render_styled(document: Document, *, verbose: bool = False) -> list[Styled]:
    """The same, each line with its look."""
    parts = sections(document)
    lines = [("title", line) for line in parts["headline"]]
    lines += [("", line) for line in ("", *parts["hosts"], "", *parts["pair"], *parts["now"])]
    lines += _looks(document, parts["warnings"])
    if verbose:
        lines += [("", line) for line in _blockers(one_line(document))]
    return lines


def _looks(document: Document, lines: Sequence[str]) -> list[Styled]:
    """Each warning as grave as it is; none are good."""
    if not document["warnings"]:
        return [("good" if line else "", line) for line in lines]
    looks = {f"  {one['name']}: ": _LOOKS.get(level_of(one["name"]), "") for one in document["warnings"]}
    return [(next((look for start, look in looks.items() if line.startswith(start)), ""), line) for line in lines]


_LOOKS = {Level.ERROR: "error", Level.WARNING: "warning"}


def level_of(name: str) -> Level:
    """How grave a warning is; one that this version does not know is one."""
    return EVENTS[name].level if name in EVENTS else Level.WARNING


def sections(document: Document, more: Sequence[tuple[str, str]] = ()) -> dict[str, list[str]]:
    """The parts of the text by name, for those who arrange them themselves. `more`: further rows of the pair."""
    document = one_line(document)
    return {
        "headline": [*_observes(document), _headline(document)],
        "hosts": columns(_hosts(document), "  "),
        "pair": columns([*_pair(document), *more], "  "),
        "now": _doing(document),
        "warnings": _warnings(document),
    }


def _headline(document: Document) -> str:
    record, mode = document["record"], "sync" if document["sync_wanted"] else "async"
    if record is None:
        return f"pair {document['pair']} ({mode}): no record on this host"
    state = "alone" if record["mode"] == "solo" else f"pair, {'sync' if record['sync'] else 'async'}"
    at = f" since {moment(record['at'])}" if record["at"] else ""
    cause = f" ({record['cause']})" if record["cause"] else ""
    doubt = "" if document["confirmed"] else " - not confirmed since this boot"
    who = f"{record['primary']} is primary, {state}{at}{cause}{doubt}"
    return f"pair {document['pair']} ({mode}), term {record['term']}: {who}"


def _observes(document: Document) -> list[str]:
    if document.get("mode") != "observe":
        return []
    return ['OBSERVE: pgvip decides and reports, and changes nothing (pair.mode = "observe")']


def _hosts(document: Document) -> list[tuple[str, str, str]]:
    me, peer = document["me"], document["peer"]
    addresses = document["addresses"]
    rows = [(title, show(me), show(peer)) for title, show in _HOST_ROWS]
    rows.insert(1, ("addresses", _vips(me, addresses), _vips(peer, addresses)))
    if {me["override"], peer["override"]} != {"auto"}:
        rows.insert(1, ("role by configuration", me["override"], peer["override"]))
    if (peer["age_s"] or 0.0) > STALE_S:
        rows = [(title, mine, theirs if theirs in ("-", UNKNOWN) else f"? {theirs}") for title, mine, theirs in rows]
    return [("", f"{me['name']} (this host)", peer["name"]), *rows, ("heard", "-", _heard(document))]


def _vips(host: Document, addresses: Document) -> str:
    if host["vips"] is None:
        return UNKNOWN
    return ", ".join(f"{addresses.get(vip, '?')} ({vip})" for vip in host["vips"]) or "none"


def _heard(document: Document) -> str:
    age_s = document["peer"]["age_s"]
    if age_s is None:
        return "never; not set up yet: pgvip clone there" if _has_no_second(document) else "never"
    return f"{duration(age_s)} ago" + ("; ?: as it was then" if age_s > STALE_S else "")


def _has_no_second(document: Document) -> bool:
    """The record is still that of `pgvip init`, which one host alone makes."""
    record = document["record"]
    return record is not None and record["cause"] == INIT and document["peer"]["age_s"] is None


def _postgresql(host: Document) -> str:
    server = host["postgresql"]
    words = [server["state"]]
    if server["streaming"] is not None:
        words.append("streaming" if server["streaming"] else "not streaming")
    if server["state"] in ("read-write", "standby") and server["healthy"] is False:
        words.append("not healthy")
    return ", ".join(words)


def _position(host: Document) -> str:
    server = host["postgresql"]
    return f"{server['lsn']} on timeline {server['timeline']}" if server["lsn"] else UNKNOWN


def _takeover(host: Document) -> str:
    return "-" if host["role"] in ("primary", "primary_standby") else yes_no(host["eligible"])


_HOST_ROWS = (
    ("role", lambda host: host["role"] if host["confirmed"] is not False else f"{host['role']} (not confirmed)"),
    ("PostgreSQL", _postgresql),
    ("WAL position", _position),
    ("may take over", _takeover),
    ("gateway answers", lambda host: yes_no(host["gateway_ok"])),
)


def _pair(document: Document) -> list[tuple[str, str]]:
    peer = document["peer"]["name"]
    witness = witness_line(document)
    gone = document["local"].get("peer_removed")
    rows = [
        *([(peer, f"peer removed since {moment(gone)}; pgvip add-peer takes one back")] if gone else [
            ("replication", _replication(document["replication"])),
            (f"fencing of {peer}", _fencing(document["fencing"], witness)),
        ]),
        *([("witness", witness)] if witness else []),
        *([] if gone else [(f"archive of {peer}", _archive(document["archive"]))]),
        *_background(document),
        *former_vips(document),
        ("peer link", _link(document["link"])),
    ]
    if document["pause"]["active"]:
        rows.append(("PAUSED", _paused(document["pause"])))
    if document["local"].get("kept_off"):
        rows.append((f"power of {peer}", "off by an operator's order, and stays off until pgvip fence on"))
    holds = [host for host in (document["me"], document["peer"]) if host["hold"]]
    rows += [(f"hold on {host['name']}", host["hold"]) for host in holds]
    if document.get("drill"):
        rows.append(("last drill", _drill(document["drill"])))
    loop, process = document["loop"], document["process"]
    if loop is not None:
        memory = size(process["memory_bytes"])
        text = f"up {duration(process['uptime_s'])}, {memory}, longest round {loop['longest_ms']:g} ms"
        rows.append(("daemon", f"pgvip {process['version']}, {text}"))
    return rows


def _drill(drill: Document) -> str:
    outages = ", ".join(f"{one['outage_s']:.2f} s" for one in drill.get("switchovers", [])) or UNKNOWN
    verdict = "kept its limits" if drill.get("ok") else f"FAILED ({drill.get('failure') or 'limits exceeded'})"
    at, lost = moment(str(drill.get("at", UNKNOWN))), drill.get("lost", UNKNOWN)
    return f"{at}: {verdict}, write outage {outages}, {lost} rows lost"


def _paused(pause: Document) -> str:
    by = f" by {pause['by']} on {pause['host']}" if pause.get("by") else ""
    until = f", until {moment(pause['until'])}" if pause.get("until") else ""
    return f"{pause['reason'] or 'no reason given'} (since {moment(pause['at'])}{by}{until})"


def _replication(replication: Document) -> str:
    words = [f"{replication['standby']}: {replication['state']}"]
    if replication["sync_state"]:
        words.append(replication["sync_state"])
    if replication["lag_bytes"] is not None:
        words.append(f"{size(replication['lag_bytes'])} behind")
    if replication["lag_s"]:
        words.append(f"replay {lag(replication['lag_s'])} behind")
    if replication.get("apply_bytes"):
        words.append(f"{size(replication['apply_bytes'])} to replay")
    if replication["slot_lost"]:
        words.append("its slot has lost WAL")
    return ", ".join(words)


def _fencing(fencing: Document, witness: str) -> str:
    if not fencing["configured"]:
        return "none: takeovers go by the witness" if witness else "none: no takeover on silence"
    if fencing["ok"] is None:
        return "not asked yet"
    if not fencing["ok"]:
        return f"does not answer: {fencing['reason']}"
    return f"power is {fencing['value']} (asked {duration(fencing['age_s'])} ago)"


def _archive(archive: Document) -> str:
    if not archive["enabled"]:
        return "no archive is configured"
    if archive["ok"] is None:
        return "not checked yet"
    if not archive["ok"]:
        return f"does not answer: {archive['reason']}"
    if archive.get("by") == "link":
        return "readable over the link" if archive["value"] else "the other host's daemon is not connected"
    return "mounted" if archive["value"] else "not mounted"


def _background(document: Document) -> list[tuple[str, str]]:
    """Of the host that archives, the pair's newest base backup, a waiting switchover; nothing where none is known."""
    told = {"archiving": archiving, "backup": backup, "scheduled": scheduled}
    titles = {"backup": "base backup"}
    return [(titles.get(name, name), words(document[name])) for name, words in told.items() if document.get(name)]


def _link(link: Document | None) -> str:
    if link is None:
        return UNKNOWN
    deaf = f"; {link['listen_error']}" if link["listen_error"] else ""
    if link["connected"]:
        return f"up for {duration(link['since_age_s'])}, {link['connections']} of 2 connections{deaf}"
    last = f"; {link['last_error']}" if link["last_error"] else ""
    return f"down{last}{deaf}"


def _doing(document: Document) -> list[str]:
    doing = document["doing"]
    rows = []
    if doing["claim"]:
        claim = doing["claim"]
        state = "fenced" if claim["fenced"] else f"try {claim['tries']}"
        rows.append(("claim", f"{claim['change']} because of {claim['why']}, {state}, for {duration(claim['age_s'])}"))
    if doing["giving_up"]:
        rows.append(("giving up", f"{doing['giving_up']['change']}, for {duration(doing['giving_up']['age_s'])}"))
    if doing["switchover"]:
        rows.append(("switchover", "ordered"))
    if doing["at_work"]:
        rows.append(("at work", "; ".join(doing["at_work"])))
    rows += [
        (
            "failed",
            f"{one['what']} ({one['times']} times, again in {duration(one['retry_in_s'])}): {one['text']}",
        )
        for one in doing["failures"]
    ]
    now = ["", "now", *columns(rows, "  ")] if rows else []
    return [*now, *_would(document)]


def _would(document: Document) -> list[str]:
    """What pgvip would have done, where it only observes; the newest last."""
    observed = document.get("observed")
    if not observed:
        return []
    rows = [(moment(one["at"]), f"would {one['text']}") for one in observed["would"][-WOULD_SHOWN:]]
    return ["", "what pgvip would have done", *(columns(rows, "  ") if rows else ["  nothing so far"])]


def _warnings(document: Document) -> list[str]:
    if not document["warnings"]:
        return ["", "no warnings"]
    lines = ["", f"warnings ({len(document['warnings'])})"]
    for one in document["warnings"]:
        lines.append(f"  {one['name']}: {one['text']}")
        if one["hint"]:
            lines.append(f"      hint: {one['hint']}")
    return lines


def _blockers(document: Document) -> list[str]:
    rows = [(one["change"], one["why"]) for one in document["blockers"]]
    return ["", "why no change is made now", *columns(rows, "  ")] if rows else []
