"""[notify] as frozen values: whom the daemon sends messages to, and which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
"""Events API v2."""

FORMATS = ("slack", "teams", "pagerduty", "json")


@dataclass(frozen=True, slots=True)
class Webhook:
    """A web service that takes messages by POST. `format`: of FORMATS.

    `url_file`: whose first line is the URL, where that is a secret (Slack, Teams); `key_file`: PagerDuty's routing key.
    """

    format: str
    url: str = ""
    url_file: Path | None = None
    key_file: Path | None = None

    @property
    def name(self) -> str:
        """For people; nothing secret."""
        return f"{self.format} ({self.url_file or self.key_file or self.url})"


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """`level`: less important events are left out; a change of role is always sent.

    `every_s`: at most one message in this time, to each; it holds all that came meanwhile. `timeout_s`: for each.
    """

    mail: tuple[str, ...] = ()
    mail_from: str = ""
    sendmail: Path = Path("/usr/sbin/sendmail")
    webhooks: tuple[Webhook, ...] = ()
    level: str = "warning"
    every_s: float = 60.0
    timeout_s: float = 20.0

    @property
    def any(self) -> bool:
        return bool(self.mail or self.webhooks)
