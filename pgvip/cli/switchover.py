"""`pgvip switchover`: the primary stops cleanly, the standby takes the role over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.output import columns, put
from pgvip.cli.simple import MARGIN_S, PLAN_S, add_common, ask, common
from pgvip.cli.when import coming
from pgvip.text.times import TIMES

if TYPE_CHECKING:
    import argparse

HELP = "move the primary role to the other host, in an orderly way"
CHECKPOINT_S = 65.0
"""The checkpoint beforehand is not part of --wait."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `switchover`."""
    parser.description = (
        "Move the primary role to the other host. All pre-checks run before anything changes; a failed one refuses the "
        "switchover (exit code 5). Then a checkpoint, a clean stop of the old primary, which ends its sessions, and "
        "the promotion of the other host once it has everything; nothing is lost. When the other host cannot take "
        "over, the old one serves on. May be run on either host. Example: pgvip switchover --dry-run"
    )
    parser.add_argument("--force", action="store_true", help="in spite of failed pre-checks where that loses nothing")
    parser.add_argument(
        "--at", type=coming, metavar="TIME",
        help=f"later, once: {TIMES}; kept on this host over restarts of the daemon, checked again then, dropped when "
        "it was missed by over 5 minutes",
    )  # fmt: skip
    parser.add_argument("--cancel", action="store_true", help="drop one that is scheduled or has not begun yet")
    add_common(parser, 90.0)


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    request: dict[str, Any] = {"command": "switchover", **common(args), "force": args.force}
    if args.cancel:
        return ask(args, {**request, "cancel": True}, PLAN_S)
    if args.at:
        return ask(args, {**request, "at": args.at}, PLAN_S, show=_show_checks)
    if args.dry_run:
        return ask(args, request, PLAN_S, show=_show_checks)
    return ask(args, request, args.wait_s + CHECKPOINT_S + MARGIN_S, at_once=True, show=_show_failed)


def _show_checks(document: dict[str, Any]) -> None:
    """All pre-checks, each with its hint."""
    checks = document.get("checks", [])
    rows = [(one["level"], one["name"], one["text"]) for one in checks]
    lines = columns(rows)
    for one, line in zip(checks, lines, strict=True):
        put(line)
        if one["hint"] and one["level"] in ("failed", "warning"):
            put(f"         hint: {one['hint']}")


def _show_failed(document: dict[str, Any]) -> None:
    if not document.get("ok") and any(one["level"] == "failed" for one in document.get("checks", [])):
        _show_checks(document)
