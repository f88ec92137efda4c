"""What the short commands share: send one order to the local daemon, show that it is at work, say how it ended."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from typing import TYPE_CHECKING, Any

from pgvip.cli.where import daemon_socket
from pgvip.errors import PgvipError, RefusedError
from pgvip.link.operator import call, failure, raise_failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

PATIENCE_S = 2.0
"""A command that takes longer says what it waits for."""
REMIND_S = 5.0
MARGIN_S = 5.0
"""How much longer than the daemon the command waits: the daemon's own word is better than a time-out."""


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


def order(args: argparse.Namespace, name: str, text: str = "") -> int:
    """Give the daemon an order, wait for its outcome and print it. Returns the exit code."""
    request = {
        "command": "order",
        "order": name,
        "text": text,
        "wait_s": args.wait_s,
        "dry_run": getattr(args, "dry_run", False),
    }
    return ask(args, request, args.wait_s + MARGIN_S)


def ask(args: argparse.Namespace, request: dict[str, Any], timeout_s: float) -> int:
    """Send any request that is answered by a text. Returns the exit code; prints JSON even of a failure with --json."""
    path = daemon_socket(args)
    if args.json:
        try:
            document = call(path, request, timeout_s)
        except PgvipError as error:
            document = failure(error)
        print(json.dumps(document))
        return 0 if document["ok"] else int(document.get("exit_code", 1))
    with _patience() as waiting:
        document = call(path, request, timeout_s, waiting.append)
    raise_failure(document)
    print(document.get("text", "done"))
    return 0


def confirm(args: argparse.Namespace, warning: str, word: str, what: str) -> None:
    """Let the operator type `word`, unless --yes gave it. RefusedError when it is another, or nobody can type."""
    given = args.yes
    if given is None:
        if not sys.stdin.isatty():
            hint = f"Give {what} on the command line: --yes {word}"
            raise RefusedError("this needs a confirmation and there is no terminal", hint=hint)
        print(warning, file=sys.stderr)
        try:
            given = input(f"Type {what} to go on: ").strip()
        except EOFError:
            given = ""
    if given != word:
        raise RefusedError(f"{given!r} is not {what}; nothing was done")


@contextlib.contextmanager
def _patience() -> Iterator[list[str]]:
    """While it lasts long, show on stderr what the daemon said last. Yields the list that takes its progress lines."""
    said: list[str] = []
    ended = threading.Event()

    def remind() -> None:
        shown, waited_s = 0, PATIENCE_S
        while not ended.wait(PATIENCE_S if waited_s == PATIENCE_S else REMIND_S):
            news, shown = said[shown:], len(said)
            for line in news or [f"still at it after {waited_s:.0f} s"]:
                print(f"pgvip: {line}", file=sys.stderr, flush=True)
            waited_s += REMIND_S

    thread = threading.Thread(target=remind, name="patience", daemon=True)
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join()
