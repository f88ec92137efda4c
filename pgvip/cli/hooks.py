"""`pgvip hooks`: which hooks there are, and a try of those of one event."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json
from pgvip.config.load import load
from pgvip.core.values import Role
from pgvip.errors import Exit, PgvipError, RefusedError
from pgvip.events.event_table import EVENTS, VETO, Event
from pgvip.hooks.calls import alert_name, alerts, event_words, pair_words, veto_words
from pgvip.hooks.program import call, refuses
from pgvip.system import privileges
from pgvip.system.executables import Executable, listed
from pgvip.text.times import utc

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config

HELP = "list the hooks, or try those of one event"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `hooks`."""
    parser.description = (
        "list: every hook on this host, in the order in which it is called, and why one is not. test: call the hooks "
        "of one event now, as the daemon would, with PGVIP_TEST=1 and made-up words; exit code 1 when one fails. "
        "docs/hooks.md explains them. Example: pgvip hooks test role-change"
    )
    parser.add_argument("action", choices=["list", "test"])
    parser.add_argument("event", nargs="?", default="", metavar="EVENT", help=f"test: an event, or {VETO}")
    parser.add_argument("-n", "--dry-run", action="store_true", help="test: say what would be called, call nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List or try them. Returns the exit code."""
    config = load(args.config, args.host)
    if args.action == "list":
        return _list(config, args.event, as_json=args.json)
    return _test(config, args)


def _known() -> list[str]:
    return [VETO, *(name for name, row in EVENTS.items() if row.hooks)]


def _require(event: str) -> None:
    if event not in _known():
        what = f"no hooks are called for {event!r}" if event else "which event?"
        raise RefusedError(what, hint=f"Events with hooks: {', '.join(sorted(_known()))}.")


def _hooks(config: Config, event: str) -> list[Executable]:
    try:
        return listed(config.hooks.directory / event)
    except OSError as error:
        raise RefusedError(f"cannot read {config.hooks.directory / event}", f"{error}.") from error


def _list(config: Config, event: str, *, as_json: bool) -> int:
    if event:
        _require(event)
    found = {name: _hooks(config, name) for name in ([event] if event else _known())}
    documents = [
        {"event": name, "path": str(each.path), "refused": each.refused} for name in found for each in found[name]
    ]
    if as_json:
        alert = str(config.hooks.alert) if config.hooks.alert else ""
        refused = "".join(each.refused for each in alerts(config))
        document = {"directory": str(config.hooks.directory), "alert": alert, "alert_refused": refused}
        put_json(document | {"hooks": documents})
        return int(Exit.OK)
    for each in alerts(config):
        put(f"every event with hooks: {_listed(str(each.path), each.refused)}")
    for one in documents:
        put(f"{one['event']}: {_listed(one['path'], one['refused'])}")
    if not documents:
        put(f"there are no hooks in {config.hooks.directory}/EVENT/; see docs/hooks.md")
    return int(Exit.OK)


def _listed(path: str, refused: str) -> str:
    return f"{path}  NOT CALLED: {refused}" if refused else path


def _test(config: Config, args: argparse.Namespace) -> int:
    _require(args.event)
    found = _hooks(config, args.event)
    also = alerts(config) if args.event != VETO else []
    if args.dry_run:
        outcomes = [_would(each) for each in (*found, *also)]
    else:
        privileges.give_up(config)  # as the daemon that calls them
        words = _words(config, args.event)
        arguments = (args.event, words["ROLE"], config.name)
        outcomes = [_try(config, args.event, each, arguments, words) for each in found]
        name = alert_name(args.event)
        outcomes += [_try(config, args.event, each, (name,), words | {"EVENT": name}) for each in also]
    failed = not all(one.get("ok", True) for one in outcomes)
    if args.json:
        put_json({"ok": not failed, "event": args.event, "hooks": outcomes})
    else:
        nothing = f"there are no hooks in {config.hooks.directory / args.event}/"
        put("\n".join(_told(one) for one in outcomes) or nothing)
    return int(Exit.FAILED if failed else Exit.OK)


def _would(hook: Executable) -> dict[str, Any]:
    return {"path": str(hook.path), "would": f"refuse: {hook.refused}" if hook.refused else "call"}


def _told(one: dict[str, Any]) -> str:
    if "would" in one:
        return f"{one['path']}: would {one['would']}"
    return f"{one['path']}: {one['said']}" + (f" ({one['seconds']:.2f} s)" if "seconds" in one else "")


def _words(config: Config, event: str) -> dict[str, str]:
    """Made-up words: this host becomes primary."""
    test = {"TEST": "1"}
    if event == VETO:
        return veto_words(config, Role.STANDBY.value) | pair_words(config, None) | test
    new, old = Role.PRIMARY.value, Role.STANDBY.value
    fields = (("old", old), ("new", new), ("cause", "a test"))
    now, level = utc(datetime.now(tz=UTC)), EVENTS[event].level
    made_up = Event(event, level, "a test", now, config.me.name, config.name, 0, fields)
    return event_words(made_up, new, old) | pair_words(config, None) | test


def _try(
    config: Config, event: str, hook: Executable, arguments: tuple[str, ...], words: dict[str, str]
) -> dict[str, Any]:
    path = str(hook.path)
    if hook.refused:
        return {"path": path, "ok": False, "said": f"refused: {hook.refused}"}
    began_s, ok = time.monotonic(), True
    try:
        if event == VETO:
            against = refuses(hook.path, arguments, words, config.settings.veto_timeout_s)
            said = "allows the takeover" if against is None else f"vetoes the takeover: {against}"
        else:
            call(hook.path, arguments, words, config.hooks.timeout_s)
            said = "done"
    except PgvipError as error:
        ok, said = False, str(error).replace("\n", "; ")
    return {"path": path, "ok": ok, "said": said, "seconds": time.monotonic() - began_s}
