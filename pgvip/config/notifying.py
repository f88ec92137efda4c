"""The [notify] section: TOML → typed values, and what is wrong with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pgvip.config.notify_model import FORMATS, PAGERDUTY_URL, NotifyConfig, Webhook
from pgvip.config.read import Table
from pgvip.events.event_table import WORDS

if TYPE_CHECKING:
    from pathlib import Path

_MAIL = re.compile(r"[^\s@<>,;-][^\s@<>,;]*@[^\s@<>,;]+\Z|[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
"""An address, or a local user; nothing that sendmail would take for an option."""
WEBHOOKS_MAX = 8
LEVELS = tuple(word for word in WORDS if word != "debug")


def read_notify(table: Table) -> NotifyConfig:
    """The [notify] section; without mail and webhooks nothing is sent."""
    default = NotifyConfig()
    notify = NotifyConfig(
        mail=table.words("mail", '["dba@example.org"]', ()),
        mail_from=table.text("mail_from", default.mail_from, "pgvip@db1.example.org"),
        sendmail=table.path("sendmail", default.sendmail, str(default.sendmail)),
        webhooks=_webhooks(table),
        level=table.choice("level", default.level, LEVELS),
        every_s=table.number("every_s", default.every_s, 1.0, 86400.0),
        timeout_s=table.number("timeout_s", default.timeout_s, 1.0, 120.0),
    )
    hint = 'Write addresses as in mail = ["dba@example.org"], without names and commas.'
    if not all(_MAIL.match(address) for address in notify.mail):
        table.bad("mail", "is not a list of mail addresses", hint)
    if notify.mail_from and not _MAIL.match(notify.mail_from):
        table.bad("mail_from", "is not a mail address", 'Write mail_from = "pgvip@db1.example.org".')
    table.finish()
    return notify


def _webhooks(table: Table) -> tuple[Webhook, ...]:
    hint = 'Write a list of tables, [{ format = "slack", url_file = "/etc/pgvip/slack.url" }].'
    value = table.take("webhooks", [], hint)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        table.bad("webhooks", "is not a list of tables", hint)
        return ()
    if len(value) > WEBHOOKS_MAX:
        table.bad("webhooks", f"has more than {WEBHOOKS_MAX} entries", "Let one service pass the messages on.")
        return ()
    tables = [Table(f"{table.key}.webhooks[{at}]", entry, table.problems) for at, entry in enumerate(value, 1)]
    return tuple(_webhook(one) for one in tables)


def _webhook(table: Table) -> Webhook:
    kind = table.choice("format", "", FORMATS)
    url = table.text("url", PAGERDUTY_URL if kind == "pagerduty" else "", "https://alerts.example.org/pgvip")
    url_file = table.optional_path("url_file", "/etc/pgvip/slack.url")
    key_file = table.optional_path("key_file", "/etc/pgvip/pagerduty.key")
    table.finish()
    _check(table, kind, url, url_file, key_file)
    return Webhook(kind, url, url_file, key_file)


def _check(table: Table, kind: str, url: str, url_file: Path | None, key_file: Path | None) -> None:
    if kind in ("slack", "teams"):
        hint = "Write it as one line into a file of mode 0600, and name that file: url_file."
        if table.given("url"):  # its value must not be shown
            table.problem("url", "is a secret: whoever knows the URL can post", hint)
        elif url_file is None:
            table.problem("url_file", "is missing", hint)
    elif kind == "pagerduty" and key_file is None:
        hint = "Write the routing key as one line into a file of mode 0600, and name that file: key_file."
        table.problem("key_file", "is missing", hint)
    elif kind == "json" and bool(url) == bool(url_file):
        table.problem("url", "or url_file is needed, one of the two", "Write url_file where the URL is a secret.")
    if kind != "pagerduty" and key_file is not None:
        table.problem("key_file", "belongs to format pagerduty", "Remove it.")
    if url and kind in ("json", "pagerduty") and not is_url(url):
        table.bad("url", "is not a URL of http or https", 'Write url = "https://alerts.example.org/pgvip".')


def is_url(text: str) -> bool:
    """A URL that messages can be posted to.

    >>> is_url("https://alerts.example.org/pgvip"), is_url("ftp://x/"), is_url("https:///x"), is_url("http://[")
    (True, False, False, False)
    """
    try:
        parts = urlsplit(text)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
