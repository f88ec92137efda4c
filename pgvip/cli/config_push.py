"""`pgvip config push`: have PostgreSQL's files and settings on one host as they are on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json
from pgvip.cli.progress import patience
from pgvip.cli.steps import require_root
from pgvip.cli.where import daemon_socket
from pgvip.link.operator_socket import call, raise_failure

if TYPE_CHECKING:
    import argparse

HELP = "copy lines of pg_hba.conf and pg_ident.conf, and settings, to the other host"
ANSWER_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `config push`."""
    parser.description = (
        "Copy the primary's lines of pg_hba.conf and pg_ident.conf and its settings to the standby, from either "
        "host, then reload PostgreSQL there. The old files stay beside the new ones; lines that end in "
        "'# pgvip: only here' stay as they are. Settings are written by ALTER SYSTEM. A limit such as max_connections "
        "goes up on the standby first and down on the primary first, with a restart between: what must wait is listed. "
        "Settings that load or run something, or that depend on the machine, are not copied. "
        "Example: pgvip config push --dry-run"
    )
    parser.add_argument("--from", dest="source", default="", metavar="HOST",
                        help="the host whose files are right (default: the primary)")  # fmt: skip
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would change, change nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Copy. Returns the exit code."""
    request = {"command": "same", "step": "push", "from": args.source, "dry_run": args.dry_run}
    require_root()
    with patience("copying"):
        document = call(daemon_socket(args), request, ANSWER_S)
    raise_failure(document)
    if args.json:
        put_json({**document, "dry_run": args.dry_run})
    else:
        put("\n".join(lines(document, dry_run=args.dry_run)))
    return 0


def lines(document: dict[str, Any], *, dry_run: bool) -> list[str]:
    """For people."""
    sign = "-" if dry_run else "+"
    written = [f"from {document['source']} to {document['target']}:"]
    written += [f"  {sign} {text}" for text in document["changes"]] or ["  nothing to copy"]
    written += [f"  ! later: {text}" for text in document["later"]]
    written += [f"  ! by hand: {text}" for text in document["by_hand"]]
    written += [f"kept on {document['target']}: {path}" for path in document["kept"]]
    written += document["hints"]
    return [*written, "nothing was changed (--dry-run)"] if dry_run else written
