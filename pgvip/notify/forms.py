"""A message in the form that its receiver takes: mail, Slack, Teams, PagerDuty, or JSON of pgvip's own. Pure."""

from __future__ import annotations

from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from pgvip.events.event_table import EVENTS, Level
from pgvip.text.writing import printable

if TYPE_CHECKING:
    from pgvip.config.notify_model import NotifyConfig
    from pgvip.events.event_table import Event
    from pgvip.notify.batch import Batch

LINES_MAX = 20
TEXT_MAX = 1000
"""Characters of one event."""
SUMMARY_MAX = 1024
"""Of PagerDuty's payload.summary (Events API v2)."""
KEY_MAX = 255
"""Of PagerDuty's dedup_key."""
_SEVERITY = {Level.ERROR: "critical", Level.WARNING: "warning"}


def subject(batch: Batch) -> str:
    """One line: the most important event, and how many more there are."""
    first = min(batch.events, key=lambda event: event.level)
    more = len(batch.events) + batch.left_out - 1
    text = f"[{first.pair}] {first.host}: {first.event}: {first.text}"
    return _line(text)[:200] + (f" (and {more} more)" if more else "")


def lines(batch: Batch) -> list[str]:
    """Each event in one line, the newest last, with its hint."""
    found = [f"and {batch.left_out} earlier ones that are left out"] if batch.left_out else []
    skipped = len(batch.events) - LINES_MAX
    if skipped > 0:
        found.append(f"{skipped} earlier ones are not shown: pgvip events")
    for event in batch.events[-LINES_MAX:]:
        hint = dict(event.fields).get("hint", "")
        text = f"{event.at} {event.host} {event.level.word.upper()} {event.event}: {event.text}"
        found.append(_line(text + (f" Hint: {hint}" if hint else ""))[:TEXT_MAX])
    return found


def mail(batch: Batch, notify: NotifyConfig) -> str:
    """For sendmail -t."""
    message = EmailMessage()
    message["To"] = ", ".join(notify.mail)
    if notify.mail_from:
        message["From"] = notify.mail_from
    message["Subject"] = subject(batch)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply to it
    pair, host = batch.events[0].pair, batch.events[0].host
    more = "pgvip status, pgvip explain and pgvip events say more."
    text = [f"pgvip on {host}, pair {pair}:", "", *lines(batch), "", more]
    message.set_content("\n".join(text) + "\n")
    return message.as_string()


def bodies(kind: str, batch: Batch, key: str = "") -> list[dict[str, Any]]:
    """What is posted, one after the other. `key`: PagerDuty's routing key."""
    if kind == "slack":
        return [{"text": "\n".join([f"*{_slack(subject(batch))}*", *map(_slack, lines(batch))])}]
    if kind == "teams":
        return [_teams(batch)]
    if kind == "pagerduty":
        newest = {_about(event): event for event in batch.events}
        return [_pagerduty(event, key) for event in newest.values()]
    return [_plain(batch)]


def _slack(text: str) -> str:
    """Slack's three characters of control (api.slack.com, "Escaping text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(batch: Batch) -> dict[str, Any]:
    """An adaptive card, as a workflow of Teams takes it."""
    head = {"type": "TextBlock", "text": subject(batch), "weight": "bolder", "wrap": True}
    body = [head, *({"type": "TextBlock", "text": line, "wrap": True} for line in lines(batch))]
    card = {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4"}
    content = {**card, "body": body}
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": content}],
    }


def _about(event: Event) -> str:
    """The event, or the warning that has ended."""
    return dict(event.fields).get("warning", event.event) if event.event == "cleared" else event.event


def _pagerduty(event: Event, key: str) -> dict[str, Any]:
    """An alert for each event; the end of a warning resolves it (Events API v2)."""
    name = _about(event)
    ended = event.event == "cleared"
    body: dict[str, Any] = {
        "routing_key": key,
        "event_action": "resolve" if ended else "trigger",
        "dedup_key": f"pgvip/{event.pair}/{event.host}/{name}"[:KEY_MAX],
    }
    if not ended:
        body["payload"] = {
            "summary": _line(f"[{event.pair}] {event.host}: {event.text}")[:SUMMARY_MAX],
            "source": event.host,
            "severity": _SEVERITY.get(event.level, "info"),
            "timestamp": event.at,
            "component": "PostgreSQL",
            "group": event.pair,
            "class": name,
            "custom_details": {"meaning": EVENTS[name].meaning if name in EVENTS else "", **dict(event.fields)},
        }
    return body


def _plain(batch: Batch) -> dict[str, Any]:
    return {
        "pair": batch.events[0].pair,
        "host": batch.events[0].host,
        "subject": subject(batch),
        "left_out": batch.left_out,
        "events": [
            {
                "event": one.event, "level": one.level.word, "at": one.at, "host": one.host, "term": one.term,
                "text": one.text, "fields": dict(one.fields),
            }
            for one in batch.events
        ],
    }  # fmt: skip


def _line(text: str) -> str:
    r"""One line that a header and a terminal can take, whatever a program or the peer has said.

    >>> _line("a\n b\x1b[2J \udcff")
    'a b\\x1b[2J \\udcff'
    """
    return printable(" ".join(text.split()))
