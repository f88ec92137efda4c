"""`pgvip drill`: a switchover and back, with the outage that a client saw and the proof that it lost nothing."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json
from pgvip.cli.steps import add_dry_run, require_root, warn
from pgvip.cli.when import coming
from pgvip.config.load import load
from pgvip.deadlines import now_s, wait_until
from pgvip.drill import client, later
from pgvip.drill.client import Writer, longest_gap_s
from pgvip.drill.ready import obstacles, primary_of
from pgvip.drill.result import Result, Switched, keep
from pgvip.errors import Exit, LinkError, PgvipError, ProbeError, RefusedError
from pgvip.link.operator_socket import call, raise_failure
from pgvip.system import privileges
from pgvip.text.times import TIMES, of_wall

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from pgvip.config.model import Config

HELP = "rehearse a switchover and back, and report the outage that a client sees"
EXIT_CODES = {
    0: "everything stayed within its limits",
    1: "an outage was longer than --outage-max, a row was lost, or a switchover failed",
}
SETTLE_S = 2.0
"""Of steady writing before each switchover: the gap that is usual is known then."""
ROWS_MIN = 10
AFTER_S = 1.0
"""Of steady writing after each one."""
MARGIN_S = 5.0
LOOK_S = 0.2
ANSWER_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `drill`."""
    parser.description = (
        "Write numbered rows through the primary VIP as a client does, order a switchover, then another one back, and "
        "report the write outage of each and whether an acknowledged row is missing. Clients see two short outages. "
        "Refused, before anything is changed, where a switchover would be. Example: pgvip drill --outage-max 2"
    )
    parser.add_argument("--no-return", action="store_true", help="leave the roles as they are after one switchover")
    parser.add_argument(
        "--outage-max", type=float, default=2.0, metavar="SECONDS", help="limit of each outage (default %(default)g)"
    )
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", dest="delay_s",
        help="announce it in the log and events, and begin so much later, after the checks were made again",
    )  # fmt: skip
    when.add_argument(
        "--at", type=coming, metavar="TIME",
        help=f"as --delay, but at this time, for which this command waits: {TIMES}",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="rows a second (default %(default)g)")
    parser.add_argument(
        "--wait", type=float, default=120.0, metavar="SECONDS", dest="wait_s",
        help="for each switchover, and for the pair to be ready for the next (default %(default)g)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Rehearse. Returns 0 when everything stayed within its limits, 1 when not."""
    require_root()
    _check_numbers(args)
    config = load(args.config, args.host)
    privileges.give_up(config)
    say = _quiet if args.json else _loud
    result = Drill(config, args, say).run()
    if args.json:
        put_json({} if result is None else asdict(result))
    return int(Exit.OK if result is None or result.ok else Exit.FAILED)


class Drill:
    """One drill. `say`: reports to the operator what is under way."""

    def __init__(self, config: Config, args: argparse.Namespace, say: Callable[[str], None]) -> None:
        self._config, self._args, self._say = config, args, say
        self._run = f"{datetime.now(tz=UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self._result = Result(datetime.now(tz=UTC).isoformat(timespec="seconds"), args.outage_max)

    def run(self) -> Result | None:
        """Do it; None after a dry run. Raises when it was refused before anything happened."""
        first = self._check()
        self._say(f"{first} is primary; every check passed")
        if self._args.dry_run:
            self._plan(first)
            return None
        first = self._later(first)
        writer = client.make_writer(self._config, self._run, self._args.rate)
        self._announce(f"begins: {self._words(first)}; limit {self._args.outage_max:g} s")
        writer.start()
        try:
            self._rehearse(writer)
        except PgvipError as error:
            self._result.failure = error.message
            self._say(f"  ! {error}")
        finally:
            writer.stop()
            self._end(writer)
        return self._result

    # --- before ------------------------------------------------------------------------------------

    def _check(self) -> str:
        """Name of the primary; refuses where a drill cannot work, or a switchover would be refused."""
        status = self._status()
        found = obstacles(status)
        if found:
            detail = "; ".join(found) + "."
            raise RefusedError("the pair is not ready for a drill", detail, "See: pgvip status")
        self._order(dry_run=True)
        client.check_table(self._config)
        return primary_of(status)

    def _later(self, first: str) -> str:
        """Announce the drill, wait, and look again; Ctrl-C during the wait calls it off. Returns the primary's name."""
        begin = self._begin()
        if begin is None:
            return first
        self._announce(f"{begin.words}: {self._words(first)}")
        self._say(f"  + waiting: it begins {begin.words} (Ctrl-C calls it off)")
        try:
            later.wait(begin, self._say)
        except KeyboardInterrupt:
            self._announce("called off before it began")
            raise
        return self._check()

    def _begin(self) -> later.Begin | None:
        """When to begin; None for at once."""
        if self._args.at:
            return later.at(of_wall(self._args.at))
        return later.after(self._args.delay_s) if self._args.delay_s else None

    def _plan(self, first: str) -> None:
        begin = self._begin()
        if begin is not None:
            self._say(f"  - wait: it begins {begin.words}, and every check is made again")
        address = client.primary_address(self._config)
        self._say(f"  - write {self._args.rate:g} rows a second through {address} into pgvip.drill")
        for words in self._words(first).split(", then "):
            self._say(f"  - {words}")
        self._say("  - look for every acknowledged row on the primary, then delete the rows")
        self._say("nothing was changed (--dry-run)")

    def _words(self, first: str) -> str:
        other = self._config.peer.name if first == self._config.me.name else self._config.me.name
        there = f"switchover from {first} to {other}"
        return there if self._args.no_return else f"{there}, then back from {other} to {first}"

    # --- the switchovers -----------------------------------------------------------------------------

    def _rehearse(self, writer: Writer) -> None:
        for _number in range(1 if self._args.no_return else 2):
            self._one(writer)

    def _one(self, writer: Writer) -> None:
        settled_s, rows = now_s() + SETTLE_S, len(writer.acknowledged) + ROWS_MIN
        self._wait(lambda: now_s() >= settled_s and len(writer.acknowledged) >= rows, writer, "steady writes")
        old = primary_of(self._status())
        began_s = now_s()
        self._say(f"  + switchover from {old}")
        text = self._order(dry_run=False)
        done_s = now_s()
        self._wait(lambda: writer.wrote_since(done_s), writer, "the client writes again")
        after_s, rows = now_s() + AFTER_S, len(writer.acknowledged) + ROWS_MIN
        self._wait(lambda: now_s() >= after_s and len(writer.acknowledged) >= rows, writer, "steady writes")
        ready_s = self._whole(began_s)
        new = primary_of(self._status())
        times = [at_s for at_s, _number in writer.acknowledged]
        found = Switched(
            old, new,
            outage_s=round(longest_gap_s(times, began_s, times[-1]), 3),
            usual_s=round(longest_gap_s(times, began_s - SETTLE_S, began_s), 3),
            ready_s=round(ready_s - began_s, 3),
        )  # fmt: skip
        self._result.switchovers.append(found)
        usual = f"usual gap {found.usual_s * 1000:.0f} ms"
        self._say(f"    {text}: write outage {found.outage_s:.2f} s ({usual}); whole again after {found.ready_s:.1f} s")
        if new == old:
            raise PgvipError(f"{old} is still primary", "The switchover was called off.", "See: pgvip status")

    def _whole(self, began_s: float) -> float:
        """Wait until the next switchover is possible; when that was."""
        self._say("    waiting until the other host can take over again")

        def ready() -> float | None:
            try:
                return now_s() if now_s() > began_s and not obstacles(self._status()) else None
            except LinkError:
                return None

        what = "the other host can take over again"
        return wait_until(ready, self._args.wait_s, every_s=LOOK_S, what=what, error=PgvipError)

    def _wait(self, condition: Callable[[], bool], writer: Writer, what: str) -> None:
        try:
            wait_until(condition, self._args.wait_s, every_s=0.05, what=what, error=PgvipError)
        except PgvipError as error:
            if writer.last_failure:
                error.detail += f" The client's last failure: {writer.last_failure}."
            raise

    # --- after ---------------------------------------------------------------------------------------

    def _end(self, writer: Writer) -> None:
        result = self._result
        acknowledged = {number for _at_s, number in writer.acknowledged}
        result.rows = len(acknowledged)
        try:
            result.lost = len(acknowledged - client.rows(self._config, self._run))
            client.clean(self._config, self._run)
        except ProbeError as error:
            result.failure = result.failure or f"could not search for the rows: {error.message}"
        limits_kept = all(one.outage_s <= result.outage_max_s for one in result.switchovers)
        missing = (1 if self._args.no_return else 2) - len(result.switchovers)
        if missing and not result.failure:
            result.failure = "interrupted"
        result.ok = not result.failure and not result.lost and limits_kept
        keep(self._config.paths.drill, result)
        self._announce(f"ended: {self._verdict()}")
        self._say(self._verdict())
        if missing == 1 and result.switchovers:
            self._say(f"{result.switchovers[-1].new} is primary now; the way back: pgvip switchover")

    def _verdict(self) -> str:
        result = self._result
        outages = " and ".join(f"{one.outage_s:.2f} s" for one in result.switchovers) or "not measured"
        words = f"write outage {outages} (limit {result.outage_max_s:g} s), {result.lost} of {result.rows} rows lost"
        return f"{'passed' if result.ok else 'FAILED'}: {words}" + (f"; {result.failure}" if result.failure else "")

    # --- the daemon ----------------------------------------------------------------------------------

    def _ask(self, request: dict[str, Any], timeout_s: float = ANSWER_S) -> dict[str, Any]:
        reply = call(self._config.paths.socket, request, timeout_s)
        raise_failure(reply)
        return reply

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask({"command": "status"})["status"]
        return found

    def _order(self, *, dry_run: bool) -> str:
        wait_s = self._args.wait_s
        request = {"command": "order", "order": "switchover", "text": "", "wait_s": wait_s, "dry_run": dry_run}
        return str(self._ask(request, wait_s + MARGIN_S)["text"])

    def _announce(self, text: str) -> None:
        """Into the daemon's log and events; a daemon that does not take it ends no drill that has begun."""
        try:
            self._ask({"command": "drill", "text": text})
        except PgvipError as error:
            warn(f"the daemon did not take the event: {error.message}")


def _check_numbers(args: argparse.Namespace) -> None:
    for name, value, low, high in (
        ("--outage-max", args.outage_max, 0.01, 3600.0),
        ("--delay", args.delay_s, 0.0, 86_400.0),
        ("--rate", args.rate, 1.0, 1000.0),
        ("--wait", args.wait_s, 1.0, 3600.0),
    ):
        if not low <= value <= high:
            raise RefusedError(f"{name} {value:g} is not between {low:g} and {high:g}")


def _loud(text: str) -> None:
    put(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC {text}", flush=True)


def _quiet(_text: str) -> None:
    """With --json nothing but the object is printed."""
