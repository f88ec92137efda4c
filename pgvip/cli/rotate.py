"""`pgvip rotate`: new keys and certificates for both hosts of a pair in service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.reporting import reported
from pgvip.cli.steps import require_root
from pgvip.config.load import load
from pgvip.errors import FormatError, LinkError, PgvipError
from pgvip.link.operator_socket import call, raise_failure
from pgvip.setup import rotation_order
from pgvip.setup.rotation_order import Look, Step
from pgvip.state import codec
from pgvip.system.server_tls import AUTHORITIES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from pgvip.cli.reporting import Say
    from pgvip.config.model import Config

HELP = "renew the keys and certificates of both hosts, without an interruption"
LOOK_S = 20.0
STEP_S = 150.0
"""More than the daemons take for the longest one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `rotate`."""
    parser.description = (
        "Make new keys and certificates for both hosts: of the link between the daemons, and of PostgreSQL's "
        "connections between the hosts. Both hosts trust the old and the new ones until each uses its new ones; then "
        "the old ones are not valid any more. No role moves and nothing is interrupted: what is connected stays, "
        "replication included. Run it on either host while both daemons and both servers run; a pause is no obstacle. "
        "After an interruption, run it again: it goes on where it ended. Example: pgvip rotate"
    )
    parser.add_argument(
        "--prepare", action="store_true",
        help="stop when both hosts trust the next certificates; the next call goes on. Meanwhile copy authorities.crt "
        "to applications that verify the server by it",
    )  # fmt: skip
    parser.add_argument("-n", "--dry-run", action="store_true", help="check everything, list the steps, change nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Renew them. Returns the exit code."""

    def work(say: Say) -> Mapping[str, Any]:
        require_root()
        config = load(args.config, args.host)
        return rotate(config, _asker(config), args, say=say)

    return reported(args, work)


def rotate(
    config: Config, ask: Callable[..., Mapping[str, Any]], args: argparse.Namespace, *, say: Callable[[str], None]
) -> dict[str, Any]:
    """Take the steps on both hosts. `ask(host, step, words)`: of the daemon. Returns what is said of it in JSON."""
    looks = [_look(ask, host.name) for host in (config.me, config.peer)]
    rotation_order.refuse(looks)
    going_on = rotation_order.unfinished(looks)
    if going_on and not args.prepare:
        say("  ! there are next keys of an earlier call: it goes on with them")
    steps = rotation_order.steps(config, looks)
    if args.prepare:
        steps = [step for step in steps if step.name == "prepare"]
    taken = list[str]()
    for step in steps:
        say(f"  {'-' if args.dry_run else '+'} {step.title}")
        if not args.dry_run:
            _take(ask, step, going_on=bool(taken or going_on))
        taken.append(step.title)
    text = "both hosts have new keys; the old ones are not valid any more"
    if args.prepare:
        text = (
            "both hosts trust the next certificates beside those in use; the authorities of all are in "
            f"{config.paths.postgres_keys / AUTHORITIES}; to go on: pgvip rotate"
        )
    if args.dry_run:
        text = "nothing was changed (--dry-run)"
    return {"text": text, "resumed": bool(going_on), "steps": taken}


def _take(ask: Callable[..., Mapping[str, Any]], step: Step, *, going_on: bool) -> None:
    try:
        ask(step.host, step.name, step.words)
    except PgvipError as error:
        if not going_on:
            raise
        hint = "The pair works with the old and the new keys. When the cause is gone, run pgvip rotate again."
        raise type(error)(error.message, error.detail, f"{error.hint} {hint}".strip()) from error


def _look(ask: Callable[..., Mapping[str, Any]], host: str) -> Look:
    try:
        return codec.decode(Look, ask(host, "look", {}).get("look"))
    except FormatError as error:
        raise LinkError(f"did not understand {host}", f"{error}.", "Run the same version on both hosts.") from error


def _asker(config: Config) -> Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]:
    """The daemon here, which asks the other one."""

    def ask(host: str, step: str, words: Mapping[str, Any]) -> Mapping[str, Any]:
        request = {"command": "rotate", "host": host, "step": step, **words}
        answer = call(config.paths.socket, request, LOOK_S if step == "look" else STEP_S)
        raise_failure(answer)
        return answer

    return ask

