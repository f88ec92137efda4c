"""The parts of the status page, each from the document that it shows. Pure; every value is escaped by `markup.fill`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvip.text.witness_line import witness_line
from pgvip.text.writing import (
    BACKGROUND_STALE_S,
    BACKLOG_FILES,
    UNKNOWN,
    archiving,
    backup,
    duration,
    former_vips,
    scheduled,
    size,
)
from pgvip.text.writing import moment as written
from pgvip.web.health import PRIMARY_ROLES, SILENT_S, is_silent
from pgvip.web.markup import Html, fill, join, safe
from pgvip.web.plots import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.web.sources import Document

EVENTS = 20

Row = tuple[str, Html]


def observes(document: Document) -> Html:
    """Where pgvip only observes: that it does, and what it would have done."""
    observed = document.get("observed")
    if observed is None:
        return Html("")
    said = fill(
        '<div class="banner warn"><p><b class="level">OBSERVE:</b>pgvip decides and reports, and changes nothing '
        "(<code>pair.mode</code>).</p></div>"
    )
    rows = join(
        fill("<li>{at}: would {text}</li>", at=moment(one["at"]), text=one["text"])
        for one in reversed(observed["would"][-8:])
    )
    if not observed["would"]:
        return said
    return join((said, fill("<section><h2>What pgvip would have done</h2><ul>{rows}</ul></section>", rows=rows)))


def hosts(document: Document) -> Html:
    """Both hosts, side by side: this one first."""
    cards = [_card(document["me"], document, here=True), _card(document["peer"], document, here=False)]
    return fill('<div class="hosts">{cards}</div>', cards=join(cards))


def _card(host: Document, document: Document, *, here: bool) -> Html:
    server, role = host["postgresql"], host["role"]
    stale = not here and is_silent(host)
    said = f"{ROLES.get(role, role)}{' when last heard' if stale and host['age_s'] is not None else ''}"
    rows: list[Row] = [
        ("addresses", _addresses(host, document["addresses"])),
        ("PostgreSQL", _server(server)),
        ("WAL position", _position(server)),
    ]
    if role not in PRIMARY_ROLES:
        rows.append(("may take over", _fact(host["eligible"])))
    rows.append(("gateway", _fact(host["gateway_ok"], "answers", "does not answer")))
    if not here:
        rows.insert(0 if stale else len(rows), ("last heard", _heard(host["age_s"])))
    if host["hold"]:
        rows.append(("hold", fill('<span class="warn">{text}</span>', text=host["hold"])))
    if host["override"] != "auto":
        rows.append(("role by configuration", safe(host["override"])))
    return fill(
        '<article{dim}><header><h2>{name}</h2><span class="pill {role}">{said}</span>{doubt}'
        '<span class="muted">{what}</span></header>{facts}</article>',
        dim=Html(' class="stale"') if stale else Html(""), name=host["name"], role=role, said=said,
        doubt=_doubt(host), what=f"this host, {host['address']}" if here else host["address"], facts=facts(rows),
    )  # fmt: skip


def _doubt(host: Document) -> Html:
    if host["confirmed"] is False and host["role"] != "unknown":
        return Html('<span class="warn">not confirmed since its boot</span>')
    return Html("")


def facts(rows: Sequence[Row]) -> Html:
    """A table of one name and one value to the line."""
    lines = [fill('<tr><th scope="row">{name}</th><td>{value}</td></tr>', name=n, value=v) for n, v in rows]
    return fill('<table class="facts"><tbody>{rows}</tbody></table>', rows=join(lines))


def _fact(value: Any, yes: str = "yes", no: str = "no") -> Html:
    return _state(value, UNKNOWN if value is None else yes if value else no)


def _addresses(host: Document, addresses: Document) -> Html:
    if host["vips"] is None:
        return fill('<span class="muted">{text}</span>', text=UNKNOWN)
    held = [
        fill('<code>{ip}</code> <span class="muted">{vip} VIP</span>', ip=addresses.get(vip, "?"), vip=vip)
        for vip in host["vips"]
    ]
    return join(held, "<br>") or Html('<span class="muted">no VIP</span>')


def _server(server: Document) -> Html:
    state = server["state"]
    words = [state] if server["streaming"] is None else [state, "streaming" if server["streaming"] else "not streaming"]
    sick = state not in ("read-write", "standby") or server["healthy"] is False or server["streaming"] is False
    if state in ("read-write", "standby") and server["healthy"] is False:
        words.append("not healthy")
    kind = "muted" if state == "unknown" else "bad" if sick else "good"
    return fill('<span class="{kind}">{text}</span>', kind=kind, text=", ".join(words))


def _position(server: Document) -> Html:
    if not server["lsn"]:
        return fill('<span class="muted">{text}</span>', text=UNKNOWN)
    return fill(
        '<code>{lsn}</code> <span class="muted">timeline {line}</span>', lsn=server["lsn"], line=server["timeline"]
    )


def _heard(age_s: float | None) -> Html:
    if age_s is None:
        return Html('<span class="bad">never</span>')
    if age_s > SILENT_S:
        text = f"{duration(age_s)} ago; what follows is from then"
        return fill('<span class="bad">{text}</span>', text=text)
    return fill("{text} ago", text=duration(age_s))


def warnings(document: Document) -> Html:
    """What an operator should know, each with its hint; nothing when there is none."""
    found = _warnings(document["warnings"])
    return fill("<section><h2>Warnings</h2>{all}</section>", all=found) if found else found


def _warnings(found: Sequence[Document]) -> Html:
    items = [
        fill('<li><b class="warn">{name}</b> {text}{hint}</li>', name=one["name"], text=one["text"], hint=_hint(one))
        for one in found
    ]
    return fill('<ul class="warnings">{items}</ul>', items=join(items)) if items else Html("")


def _hint(one: Document) -> Html:
    if not one.get("hint"):
        return Html("")
    return fill('<p class="hint">Hint: {text}</p>', text=one["hint"])


def doing(document: Document) -> Html:
    """What is under way; nothing when nothing is."""
    now, rows = document["doing"], list[Row]()
    if now["claim"]:
        claim = now["claim"]
        state = "fenced" if claim["fenced"] else f"try {claim['tries']}"
        text = f"{claim['change']} because of {claim['why']}, {state}, for {duration(claim['age_s'])}"
        rows.append(("fencing the peer", safe(text)))
    if now["giving_up"]:
        text = f"{now['giving_up']['change']}, for {duration(now['giving_up']['age_s'])}"
        rows.append(("giving up", safe(text)))
    if now["switchover"]:
        rows.append(("switchover", safe("ordered")))
    if now["at_work"]:
        rows.append(("at work", safe("; ".join(now["at_work"]))))
    for one in now["failures"]:
        tries = f"{one['times']} times, again in {duration(one['retry_in_s'])}"
        text = f"{one['what']} ({tries}): {one['text']}"
        rows.append(("failed", fill('<span class="bad">{text}</span>', text=text)))
    return fill("<section><h2>Under way</h2>{facts}</section>", facts=facts(rows)) if rows else Html("")


def scenarios(explained: Document) -> Html:
    """What would happen, in plain words; nothing where that is not known."""
    found = explained.get("scenarios") or []
    if not found:
        return Html("")
    return fill("<section><h2>What would happen now</h2>{all}</section>", all=join(map(_scenario, found)))


def _scenario(one: Document) -> Html:
    outage_s = one.get("outage_s")
    outage = "no outage" if outage_s == 0 else f"outage about {duration(outage_s)}"
    notes = [outage if outage_s is not None else "no writes until an operator acts"]
    notes += [f"loss: {one['loss']}"] if one.get("loss") else []
    unlike = list({each["text"]: each for each in one.get("blockers") or []}.values())
    steps = join(map(_step, one.get("steps") or []))
    return fill(
        '<details id="scenario-{name}"><summary><b>If {title}:</b> {summary} <span class="muted">{notes}</span>'
        "</summary>{blockers}{steps}</details>",
        name=one["name"], title=one["title"], summary=one["summary"], notes="; ".join(notes),
        blockers=_warnings(unlike), steps=fill("<ol>{all}</ol>", all=steps) if steps else "",
    )  # fmt: skip


def _step(step: Document) -> Html:
    at = fill('<span class="muted">{at}</span> ', at=f"{step['at_s']:.2f} s") if "at_s" in step else ""
    who = fill("<b>{host}</b> ", host=step["host"]) if step.get("host") else ""
    return fill("<li>{at}{who}{text}</li>", at=at, who=who, text=step["text"])


def events(found: Sequence[Document]) -> Html:
    """The newest events, newest first."""
    if not found:
        return Html("")
    rows = [
        fill(
            "<tr><td>{at}</td><td>{host}</td><td>{event}</td><td>{text}</td></tr>",
            at=moment(one["at"]), host=one.get("host", ""), text=one.get("text", ""),
            event=fill('<b class="{kind}">{name}</b>', kind=_kind(one), name=one["event"]),
        )
        for one in reversed(found)
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{name}</th>' for name in ("time", "host", "event", "text"))
    return fill(
        '<section><h2>Last events</h2><table class="events"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</section>",
        head=Html(head), rows=join(rows),
    )  # fmt: skip


def _kind(event: Document) -> str:
    return {"error": "bad", "warning": "warn"}.get(str(event.get("level")), "plain")


def moment(at: Any) -> Html:
    """A point in time, in UTC as everywhere; ISO text or Unix time."""
    try:
        when = datetime.fromtimestamp(at, UTC) if isinstance(at, int | float) else datetime.fromisoformat(str(at))
    except ValueError:
        return safe(at)
    utc = when.astimezone(UTC)
    iso, text = utc.isoformat(timespec="seconds"), f"{utc:%m-%d %H:%M:%S}"
    return fill('<time datetime="{iso}">{text}</time>', iso=iso, text=text)


def around(document: Document) -> Html:
    """What the pair depends on, and the daemon itself."""
    peer = document["peer"]["name"]
    record, process, loop = document["record"], document["process"], document["loop"]
    mode = "sync" if document["sync_wanted"] else "async"
    rows: list[Row] = [("mode", safe(mode))]
    if record is not None:
        words = f"term {record['term']}: {record['primary']}, {record['mode']}"
        rows.append(("record", fill("{words} <span class='muted'>{cause}</span>", words=words, cause=record["cause"])))
    if document["pause"]["active"]:
        text = f"{document['pause']['reason'] or 'no reason given'} (since {written(document['pause']['at'])})"
        rows.append(("paused", fill('<b class="warn">{text}</b>', text=text)))
    witness = witness_line(document)
    rows.append((f"fencing of {peer}", _fencing(document["fencing"], witness)))
    if witness:
        rows.append(("witness", _state(document["witness"]["ok"], witness)))
    rows.append((f"archive of {peer}", _archive(document["archive"])))
    rows += _background(document)
    rows += [(title, safe(text)) for title, text in former_vips(document)]
    rows.append(("peer link", _link(document["link"])))
    words = f"{process['version']}, up {duration(process['uptime_s'])}, {size(process['memory_bytes'])}"
    if loop is not None:
        words += f", longest round {loop['longest_ms']:g} ms"
    rows.append(("daemon", safe(f"pgvip {words}")))
    return fill("<section><h2>Pair and daemon</h2>{facts}</section>", facts=facts(rows))


def _state(good: bool | None, text: str) -> Html:
    kind = {None: "muted", True: "good", False: "bad"}[good]
    return fill('<span class="{kind}">{text}</span>', kind=kind, text=text)


def _fencing(fencing: Document, witness: str) -> Html:
    if not fencing["configured"] and witness:
        return _state(None, "none: takeovers go by the witness")
    if not fencing["configured"]:
        return fill('<span class="warn">{text}</span>', text="none: no takeover on silence")
    if fencing["ok"] is None:
        return _state(None, "not asked yet")
    if not fencing["ok"]:
        return _state(False, f"does not answer: {fencing['reason']}")
    return _state(fencing["value"] == "on", f"power is {fencing['value']} (asked {duration(fencing['age_s'])} ago)")


def _archive(archive: Document) -> Html:
    if not archive["enabled"]:
        return _state(None, "not configured")
    if archive["ok"] is None:
        return _state(None, "not checked yet")
    if not archive["ok"]:
        return _state(False, f"does not answer: {archive['reason']}")
    if archive.get("by") == "link":
        readable = bool(archive["value"])
        return _state(readable, "readable over the link" if readable else "the other host's daemon is not connected")
    return _state(bool(archive["value"]), "mounted" if archive["value"] else "not mounted")


def _background(document: Document) -> list[Row]:
    rows: list[Row] = []
    state = document["archiving"]
    if state:
        rows.append(
            ("archiving", fill('<span class="{kind}">{text}</span>', kind=_urgency(state), text=archiving(state)))
        )
    if document["backup"]:
        rows.append(("base backup", safe(backup(document["backup"]))))
    if document["scheduled"]:
        rows.append(("scheduled", safe(scheduled(document["scheduled"]))))
    return rows


def _urgency(state: Document) -> str:
    """How archiving is shown: an old report of success says nothing about now."""
    if state["failing"]:
        return "bad"
    if state["waiting_files"] > BACKLOG_FILES:
        return "warn"
    return "muted" if state["age_s"] > BACKGROUND_STALE_S else "good"


def _link(link: Document | None) -> Html:
    if link is None:
        return _state(None, UNKNOWN)
    deaf = f"; {link['listen_error']}" if link["listen_error"] else ""
    if link["connected"]:
        since = duration(link["since_age_s"])
        return _state(not deaf, f"up for {since}, {link['connections']} of 2 connections{deaf}")
    return _state(False, "; ".join(filter(None, ["down", link["last_error"], link["listen_error"]])))


def blockers(document: Document) -> Html:
    """Why no change of role is made now, by the table that pgvip decides by."""
    if not document["blockers"]:
        return Html("")
    rows: list[Row] = [(one["change"], safe(one["why"])) for one in document["blockers"]]
    return fill(
        '<section><details id="blockers"><summary><b>Why no role changes now</b></summary>{facts}</details></section>',
        facts=facts(rows),
    )
