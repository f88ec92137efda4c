"""What the short commands share: send one order to the local daemon, show that it is at work, say how it ended."""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import sys
import threading
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json
from pgvip.cli.where import daemon_socket
from pgvip.errors import PgvipError, RefusedError
from pgvip.link.operator_socket import call, failure, raise_failure
from pgvip.text.writing import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 2.0
"""A command that takes longer says what it waits for."""
REMIND_S = 5.0
MARGIN_S = 5.0
"""How much longer than the daemon the command waits: the daemon's own message is better than a time-out."""
PLAN_S = 20.0
"""For the answer to what would be done; the daemon only reads what it knows, and asks its peer."""

Document = dict[str, Any]


def add_common(
    parser: argparse.ArgumentParser, wait_s: float | None, *, dry_run: bool = True, default: str = "%(default)g"
) -> None:
    """Options that the orders share. `default`: where the wait comes from when `wait_s` is None."""
    if dry_run:
        parser.add_argument("-n", "--dry-run", action="store_true", help="say what would happen, change nothing")
    parser.add_argument(
        "--wait", type=float, default=wait_s, metavar="SECONDS", dest="wait_s",
        help=f"how long to wait for the outcome (default {default}; 0: do not wait)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def who() -> str:
    """The user who gives the order, also behind sudo."""
    name = os.environ.get("SUDO_USER", "")
    if not name:
        with contextlib.suppress(KeyError):
            name = pwd.getpwuid(os.getuid()).pw_name
    return name or f"uid {os.getuid()}"


def order(args: argparse.Namespace, name: str, text: str = "", **more: object) -> int:
    """Give the daemon an order, wait for its outcome and print it. Returns the exit code."""
    return ask(args, {"command": "order", "order": name, "text": text, **common(args), **more}, args.wait_s + MARGIN_S)


def common(args: argparse.Namespace) -> Document:
    """What every order says besides its name."""
    return {"wait_s": args.wait_s, "dry_run": getattr(args, "dry_run", False), "by": who()}


def ask(
    args: argparse.Namespace,
    request: Document,
    timeout_s: float,
    *,
    at_once: bool = False,
    show: Callable[[Document], None] = lambda _document: None,
) -> int:
    """Send any request that is answered by a text. Returns the exit code; prints JSON even of a failure with --json.

    `at_once`: each line of progress is shown when it comes, and not only when the whole takes long. `show`: prints what
    the last reply has beside its text, of a failure too.
    """
    path = daemon_socket(args)
    if args.json:
        try:
            document = call(path, request, timeout_s)
        except PgvipError as error:
            document = failure(error)
        put_json(document)
        return 0 if document["ok"] else int(document.get("exit_code", 1))
    with _patience(at_once=at_once) as say:
        document = call(path, request, timeout_s, say)
    show(document)
    raise_failure(document)
    put(document.get("text", "done"))
    return 0


def ask_confirmed(args: argparse.Namespace, request: Document, timeout_s: float) -> int:
    """Ask what would be done, let the operator confirm it where the daemon wants that, and order it."""
    request = {**request, **common(args)}
    if args.dry_run:
        return ask(args, request, PLAN_S, show=_warn)
    plan = call(daemon_socket(args), {**request, "dry_run": True}, PLAN_S)
    raise_failure(plan)
    if plan.get("confirm"):
        confirm(args, str(plan.get("warning", "")), str(plan["confirm"]), str(plan.get("what", "")))
        request["word"] = plan["confirm"]
    return ask(args, request, timeout_s + MARGIN_S, at_once=True)


def _warn(plan: Document) -> None:
    if plan.get("warning"):
        put(plan["warning"])
    if plan.get("confirm"):
        put(f"It asks for {plan.get('what')}: --yes {plan['confirm']}")


def confirm(args: argparse.Namespace, warning: str, word: str, what: str) -> None:
    """Let the operator type `word`, unless --yes gave it. RefusedError when it is another, or nobody can type."""
    given = args.yes
    if given is None:
        if not sys.stdin.isatty() or args.json:
            hint = f"Give {what} on the command line: --yes {word}"
            raise RefusedError("this needs a confirmation and there is no terminal", warning, hint)
        put(warning, file=sys.stderr)
        try:
            given = input(f"Type {printable(what)} to go on: ").strip()
        except EOFError:
            given = ""
    if given != word:
        raise RefusedError(f"{given!r} is not {what}; nothing was done", warning)


@contextlib.contextmanager
def _patience(*, at_once: bool) -> Iterator[Callable[[str], None]]:
    """While it lasts long, show on stderr what the daemon said last. Yields what takes its progress lines."""
    said: list[str] = []
    ended = threading.Event()

    def tell(line: str) -> None:
        put(f"pgvip: {line}", file=sys.stderr, flush=True)

    def say(line: str) -> None:
        if at_once:
            tell(line)
        said.append(line)

    def remind() -> None:
        shown, waited_s = 0, PATIENCE_S
        while not ended.wait(PATIENCE_S if waited_s == PATIENCE_S else REMIND_S):
            news, shown = said[shown:], len(said)
            for line in (news if not at_once else []) or [f"still at it after {waited_s:.0f} s"]:
                tell(line)
            waited_s += REMIND_S

    thread = threading.Thread(target=remind, name="patience", daemon=True)
    thread.start()
    try:
        yield say
    finally:
        ended.set()
        thread.join()
