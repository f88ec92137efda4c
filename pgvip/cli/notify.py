"""`pgvip notify test`: a test message to everybody whom `[notify]` names."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json
from pgvip.cli.progress import patience
from pgvip.config.load import load
from pgvip.errors import ConfigError, Exit, PgvipError
from pgvip.events.event_table import Event, Level
from pgvip.notify import delivery, forms
from pgvip.notify.batch import Batch
from pgvip.system import privileges
from pgvip.text.times import utc

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config

HELP = "send a test message to everybody whom [notify] names"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `notify test`."""
    parser.description = (
        "Send a test message from this host by mail and by each webhook of [notify], as the daemon does with events; "
        "exit code 1 when one fails. docs/notify.md explains them. Example: pgvip notify test --dry-run"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the messages, send nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Send. Returns 0, or 1 when one fails."""
    config = load(args.config, args.host)
    notify = config.notify
    if not notify.any:
        raise ConfigError("[notify] names nobody", hint='Write mail = ["dba@example.org"] or webhooks there.')
    batch = Batch((_event(config),))
    if args.dry_run:
        found = [_would(way, config, batch) for way in delivery.ways(notify)]
    else:
        privileges.give_up(config)  # as the daemon that sends them
        with patience("sending"):
            found = [_sent(way, config, batch) for way in delivery.ways(notify)]
    failed = not all(one["ok"] for one in found)
    if args.json:
        put_json({"ok": not failed, "messages": found})
    else:
        put("\n".join(f"{one['to']}: {one['said']}" for one in found))
    return int(Exit.FAILED if failed else Exit.OK)


def _event(config: Config) -> Event:
    now = utc(datetime.now(tz=UTC))
    text = "this is a test message (pgvip notify test)"
    return Event("test", Level.NOTICE, text, now, config.me.name, config.name, -1, ())


def _would(way: delivery.Way, config: Config, batch: Batch) -> dict[str, Any]:
    to = delivery.name(way, config.notify)
    if isinstance(way, str):
        return {"to": to, "ok": True, "said": f"would send\n{forms.mail(batch, config.notify)}".rstrip()}
    bodies = map(json.dumps, forms.bodies(way.format, batch, "(routing key)"))
    return {"to": to, "ok": True, "said": "would post " + "\n".join(bodies)}


def _sent(way: delivery.Way, config: Config, batch: Batch) -> dict[str, Any]:
    began_s, ok, said = time.monotonic(), True, "sent"
    try:
        delivery.send(way, batch, config.notify)
    except PgvipError as error:
        ok, said = False, str(error).replace("\n", "; ")
    return {"to": delivery.name(way, config.notify), "ok": ok, "said": said, "seconds": time.monotonic() - began_s}
