"""`pgvip config apply`: both hosts take their changed files, in the safe order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.reporting import reported
from pgvip.cli.steps import require_root
from pgvip.config.load import load
from pgvip.errors import FormatError, LinkError, PgvipError
from pgvip.link.operator_socket import call, raise_failure
from pgvip.setup import apply_order
from pgvip.setup.apply_order import QUESTION, Look, Step
from pgvip.state import codec

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from pgvip.cli.reporting import Say

    Ask = Callable[[str, str], Mapping[str, Any]]

HELP = "have both hosts take their changed configuration files, in the safe order"
LOOK_S = 70.0
"""More than a daemon takes to find that the other one does not answer."""
STEP_S = 150.0
AGAIN = "When the cause is gone, run pgvip config apply again: it goes on where it ended."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `config apply`."""
    parser.description = (
        "Write the same changed file on both hosts, then run this on either one. It says what would change on both, "
        "refuses files that differ, and has both daemons read them: first the host that lets the other one in by its "
        "new address, then the one that moves; then it checks that both are connected. No role moves, and PostgreSQL "
        "goes on. A VIP that changes has both addresses for addresses.overlap_s. If a host has lost its old address "
        "already, run this there. After an interruption, run it again. Example: pgvip config apply --dry-run"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="check everything, list the steps, change nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Have both take their files. Returns the exit code."""

    def work(say: Say) -> Mapping[str, Any]:
        require_root()
        config = load(args.config, args.host)
        socket = config.paths.socket

        def ask(host: str, step: str) -> Mapping[str, Any]:
            """The daemon here, which asks the other one."""
            words = {"command": QUESTION, "host": host, "step": step}
            answer = call(socket, words, LOOK_S if step == "look" else STEP_S)
            raise_failure(answer)
            return answer

        return apply(config.me.name, config.peer.name, ask, dry_run=args.dry_run, say=say)

    return reported(args, work)


def apply(me: str, peer: str, ask: Ask, *, dry_run: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Take the steps on both hosts. `ask(host, step)`: of the daemon. Returns what is said of it in JSON."""
    taken = list[str]()
    looks = (_look(ask, me), _look(ask, peer))
    own, other = looks
    if other.silent and own.moves and not own.refusal and not dry_run:
        # It may be unreachable for want of the new address alone.
        _take(ask, Step(me, "take", f"{me}: take {'; '.join(own.changes)}"), say, taken, dry_run=False)
        looks = (_look(ask, me), _look(ask, peer))
    apply_order.refuse(looks)
    steps = apply_order.steps(looks)
    if taken and not steps:
        steps = [Step(host, "verify", f"{host}: connect to the other host") for host in (me, peer)]
    for step in steps:
        _take(ask, step, say, taken, dry_run=dry_run)
    restart = {look.host: list(look.restart) for look in looks if look.restart}
    for host, lines in restart.items():
        say(f"  ! {host}: needs a restart of pgvip: {'; '.join(lines)}")
    text = "both hosts have their files in force" if steps else "nothing to do: both hosts have their files in force"
    return {"text": "nothing was changed (--dry-run)" if dry_run else text, "steps": taken, "restart": restart}


def _take(ask: Ask, step: Step, say: Callable[[str], None], taken: list[str], *, dry_run: bool) -> None:
    say(f"  {'-' if dry_run else '+'} {step.title}")
    if not dry_run:
        try:
            ask(step.host, step.name)
        except PgvipError as error:
            raise type(error)(error.message, error.detail, f"{error.hint} {AGAIN}".strip()) from error
    taken.append(step.title)


def _look(ask: Ask, host: str) -> Look:
    try:
        return codec.decode(Look, ask(host, "look").get("look"))
    except FormatError as error:
        raise LinkError(f"did not understand {host}", f"{error}.", "Run the same version on both hosts.") from error

