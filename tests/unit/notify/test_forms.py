"""Each form as its service documents it."""

from __future__ import annotations

import doctest
import email
import email.policy
import json

from pgvip.config.notify_model import NotifyConfig
from pgvip.events.event_table import EVENTS, Event
from pgvip.notify import forms
from pgvip.notify.batch import EVENTS_MAX, GATHER_S, Batch, Waiting, wanted


def event(name: str = "peer-silent", text: str = "no answer", **fields: str) -> Event:
    at, level = "2026-11-25T22:30:00.000Z", EVENTS[name].level
    return Event(name, level, text, at, "db1", "orders", 7, tuple(fields.items()))


def test_the_subject_names_the_worst_and_counts_the_others() -> None:
    batch = Batch((event("role-change", "primary->none"), event("database-down", "gone\nfor\x20ever"), event()), 2)
    assert forms.subject(batch) == "[orders] db1: database-down: gone for ever (and 4 more)"


def test_a_mail_is_what_sendmail_takes() -> None:
    notify = NotifyConfig(mail=("dba@example.org", "root"), mail_from="pgvip@db1")
    text = forms.mail(Batch((event(text="caf\u00e9\nBcc: all@example.org", hint="pgvip status"),)), notify)
    parsed = email.message_from_string(text, policy=email.policy.default)
    assert (parsed["To"], parsed["From"]) == ("dba@example.org, root", "pgvip@db1")
    assert parsed["Subject"] == "[orders] db1: peer-silent: caf\u00e9 Bcc: all@example.org"
    assert parsed["Bcc"] is None
    assert parsed["Auto-Submitted"] == "auto-generated"
    body = parsed.get_content()
    assert "2026-11-25T22:30:00.000Z db1 WARNING peer-silent: caf\u00e9 Bcc: all@example.org Hint: pgvip status" in body


def test_odd_characters_break_no_message() -> None:
    assert doctest.testmod(forms).failed == 0
    odd = Batch((event(text="name \udcff\x00\x1b", hint="\udcfe"),))
    assert "\\udcff" in forms.mail(odd, NotifyConfig(mail=("root",)))
    for kind in ("slack", "teams", "pagerduty", "json"):
        json.dumps(forms.bodies(kind, odd)).encode()


def test_slack_gets_its_three_characters_escaped() -> None:
    (body,) = forms.bodies("slack", Batch((event(text="<!channel> & all"),)))
    assert set(body) == {"text"}
    assert "&lt;!channel&gt; &amp; all" in body["text"]
    assert "<" not in body["text"]


def test_teams_gets_an_adaptive_card() -> None:
    (body,) = forms.bodies("teams", Batch((event(), event())))
    (attachment,) = body["attachments"]
    assert (body["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert [block["type"] for block in attachment["content"]["body"]] == ["TextBlock"] * 3


def test_pagerduty_gets_one_alert_for_each_state_and_its_end() -> None:
    batch = Batch((event(), event(text="still"), event("cleared", "fence-status", warning="fence-status")))
    first, second = forms.bodies("pagerduty", batch, "KEY")
    assert (first["event_action"], first["dedup_key"], first["routing_key"]) == (
        "trigger", "pgvip/orders/db1/peer-silent", "KEY",
    )  # fmt: skip
    assert first["payload"]["severity"] == "warning"
    assert first["payload"]["summary"] == "[orders] db1: still"
    assert (second["event_action"], second["dedup_key"]) == ("resolve", "pgvip/orders/db1/fence-status")
    assert "payload" not in second


def test_the_own_form_has_every_field() -> None:
    (body,) = forms.bodies("json", Batch((event(hint="x"),), 3))
    assert json.loads(json.dumps(body)) == {
        "pair": "orders", "host": "db1", "subject": "[orders] db1: peer-silent: no answer (and 3 more)", "left_out": 3,
        "events": [{"event": "peer-silent", "level": "warning", "at": "2026-11-25T22:30:00.000Z", "host": "db1",
                    "term": 7, "text": "no answer", "fields": {"hint": "x"}}],
    }  # fmt: skip


def test_a_long_message_is_cut_and_says_so() -> None:
    many = forms.lines(Batch(tuple(event(text=f"no {at}") for at in range(25)), 7))
    assert many[:2] == ["and 7 earlier ones that are left out", "5 earlier ones are not shown: pgvip events"]
    assert many[-1].endswith("no 24")


def test_what_is_worth_a_message() -> None:
    assert wanted(event(), "warning")
    assert not wanted(event(), "error")
    assert wanted(event("role-change"), "error"), "always"
    assert wanted(event("cleared", warning="peer-silent"), "warning")
    assert not wanted(event("cleared", warning="peer-silent"), "error"), "its beginning was not reported"
    assert not wanted(event("messages-failing"), "info"), "it would be about itself"
    assert not wanted(event("cleared", warning="messages-failing"), "info")
    assert not wanted(event("work-crash"), "error") or EVENTS["work-crash"].hooks


def test_messages_are_gathered_and_then_thinned() -> None:
    one = Waiting()
    dues = [one.due_s]
    one.add(event(), 100.0)
    one.add(event(), 101.0)
    dues.append(one.due_s)
    one.sent(103.0, 60.0)
    dues.append(one.due_s)
    one.add(event(), 104.0)
    dues.append(one.due_s)
    one.failed(163.0, 60.0)
    dues.append(one.due_s)
    assert dues == [None, 100.0 + GATHER_S, None, 163.0, 223.0]
    assert len(one.batch().events) == 1, "it is kept"
    for _ in range(EVENTS_MAX + 4):
        one.add(event(), 170.0)
    assert (len(one.batch().events), one.batch().left_out) == (EVENTS_MAX, 5)
