"""Sending one message: by sendmail, or by POST; each in a process of its own that is ended after its time."""

from __future__ import annotations

import json
import math
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.config.notify_model import Webhook
from pgvip.config.notifying import is_url
from pgvip.errors import ActionError, CommandError, FenceError
from pgvip.notify import forms, web_post
from pgvip.system import service, wal_commands
from pgvip.system.commands import describe, run
from pgvip.system.executables import refusal
from pgvip.system.fence_agents import read_secret

if TYPE_CHECKING:
    from pgvip.config.notify_model import NotifyConfig
    from pgvip.notify.batch import Batch

MAIL = "mail"
NOBODY = "nobody"
Way = str | Webhook
"""MAIL or a webhook."""


def ways(notify: NotifyConfig) -> tuple[Way, ...]:
    """Everything that a message goes to."""
    return (*((MAIL,) if notify.mail else ()), *notify.webhooks)


def name(way: Way, notify: NotifyConfig) -> str:
    """For people; nothing secret."""
    return way.name if isinstance(way, Webhook) else f"mail to {', '.join(notify.mail)}"


def send(way: Way, batch: Batch, notify: NotifyConfig) -> None:
    """Send it; ActionError when that fails or is not over in time."""
    try:
        if isinstance(way, Webhook):
            _post(way, batch, notify.timeout_s)
        else:
            _mail(batch, notify)
    except CommandError as failure:
        raise ActionError(failure.message, failure.detail) from failure
    except OSError as failure:
        raise ActionError(f"could not send it: {failure.strerror}") from failure


def _mail(batch: Batch, notify: NotifyConfig) -> None:
    program = notify.sendmail
    if not program.exists():
        raise ActionError(f"there is no {program}", hint="Install a mail system, or take mail out of [notify].")
    if refused := refusal(program.resolve()):
        raise ActionError(f"{program} is not called", f"It runs as root, and {refused}.")
    # The daemon's unit has no new privileges, with which Postfix's sendmail cannot queue a message: systemd runs it.
    limit = f"--property=RuntimeMaxSec={math.ceil(notify.timeout_s)}"
    systemd = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", limit, "--"]
    before = systemd if service.under_systemd() else []
    done = run([*before, program, "-oi", "-t"], timeout_s=notify.timeout_s, input_text=forms.mail(batch, notify))
    if done.returncode != 0:
        raise ActionError(f"{program} {describe(done.returncode)}", done.said)


def _post(webhook: Webhook, batch: Batch, timeout_s: float) -> None:
    key = _secret(webhook.key_file)
    url = _secret(webhook.url_file) or webhook.url
    if not is_url(url):
        raise ActionError(f"{webhook.url_file}: its first line is not a URL of http or https")
    for body in forms.bodies(webhook.format, batch, key):
        _one(url, body, timeout_s)


def _one(url: str, body: dict[str, Any], timeout_s: float) -> None:
    script = [wal_commands.interpreter(), "-I", "-S", str(Path(web_post.__file__))]
    asked = json.dumps({"url": url, "body": body, "timeout_s": timeout_s})
    done = run(script, timeout_s=timeout_s, user=_poster(), input_text=asked)
    if done.returncode != 0:
        raise ActionError("it was not taken", done.said.replace(url, "URL"))


def _poster() -> str | None:
    """Who posts; None: whoever this process is."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(NOBODY)
    except KeyError:
        raise ActionError(f'system user "{NOBODY}", who is to post it, does not exist') from None
    return NOBODY


def _secret(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return read_secret(file).strip()
    except FenceError as failure:
        raise ActionError(failure.message, failure.detail, failure.hint) from failure
