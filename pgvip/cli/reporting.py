"""How a command of several steps reports: lines on the way for people, or one JSON object at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    Say = Callable[[str], None]


def line(text: str) -> None:
    """One line on the way."""
    put(text, flush=True)


def reported(args: argparse.Namespace, work: Callable[[Say], Mapping[str, Any]], say: Say = line) -> int:
    """Do the work, which reports its steps by what it is given and returns its end, `text` in it. The exit code."""
    done = work(_silent if args.json else say)
    if args.json:
        put_json({"ok": True, "dry_run": args.dry_run, **done})
    else:
        line(str(done["text"]))
    return 0


def _silent(_text: str) -> None:
    """With --json nothing is printed on the way."""
