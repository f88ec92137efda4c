"""`pgvip restart`: restart PostgreSQL on one host or on both, with the shortest interruption that there is."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put
from pgvip.cli.reporting import reported
from pgvip.cli.simple import who
from pgvip.cli.steps import require_root
from pgvip.cli.when import coming
from pgvip.config.load import load
from pgvip.deadlines import now_s, wait_until
from pgvip.drill import later
from pgvip.drill.ready import obstacles
from pgvip.errors import ActionError, FormatError, LinkError, PgvipError, RefusedError
from pgvip.link.operator_socket import call, raise_failure
from pgvip.orders import rolling
from pgvip.orders.rolling import Do, Look, Step
from pgvip.state import codec
from pgvip.state.record import Restarting, load_restart, save_restart
from pgvip.system import commands
from pgvip.text.times import TIMES, of_wall, wall
from pgvip.text.writing import moment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pgvip.cli.reporting import Say
    from pgvip.config.model import Config

HELP = "restart PostgreSQL on one host or, one after the other, on both"
ANSWER_S = 45.0
MARGIN_S = 70.0
"""Beside --wait, for a switchover: its checkpoint beforehand."""
LOOK_S = 0.3
COMMAND_MAX_S = 24 * 3600.0
SHELL = "/bin/sh"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `restart`."""
    parser.description = (
        "Restart PostgreSQL of this host: for a minor version, or settings that need it. A standby hands its address "
        "over first; a primary hands its role over first, so that clients notice one switchover. With --rolling both "
        "hosts, the standby first. When it is interrupted, --continue goes on. "
        "Example: pgvip restart --rolling --pending"
    )
    parser.add_argument("--rolling", action="store_true",
                        help="both hosts: the standby, a switchover, the other one; where max_connections or a limit "
                        "like it becomes lower, the primary first, in place")  # fmt: skip
    parser.add_argument(
        "--pending", action="store_true",
        help="only where a setting waits for a restart (pg_settings.pending_restart)",
    )  # fmt: skip
    parser.add_argument(
        "--run", metavar="COMMAND", default="", dest="command",
        help="a shell command to run on this host, as root, while its PostgreSQL is stopped; not with --rolling",
    )  # fmt: skip
    parser.add_argument("--back", action="store_true", help="in the end, move the role back to where it was")
    parser.add_argument("--at", type=coming, metavar="TIME", help=f"wait, then begin: {TIMES}")
    parser.add_argument("--continue", action="store_true", dest="go_on", help="go on with one that was interrupted")
    parser.add_argument("--cancel", action="store_true", help="drop one that was interrupted; hosts stay as they are")
    parser.add_argument(
        "--wait", type=float, default=300.0, metavar="SECONDS", dest="wait_s",
        help="for each step, and for the pair to be whole after it (default %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--run-limit", type=float, default=1800.0, metavar="SECONDS", dest="run_limit_s",
        help="a COMMAND that takes longer is ended (default %(default)g)",
    )  # fmt: skip
    parser.add_argument("-n", "--dry-run", action="store_true", help="check, say the steps and what clients notice")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Restart. Returns the exit code."""

    def work(say: Say) -> Mapping[str, Any]:
        require_root()
        _check(args)
        return Restart(load(args.config, args.host), args, say).run()

    return reported(args, work, _say)


def _check(args: argparse.Namespace) -> None:
    if args.command and args.rolling:
        raise RefusedError(
            "--run is for this host alone, and --rolling is for both",
            "A command of root does not go to the other host by the link.",
            "Run pgvip restart --run 'COMMAND' on the standby, then on the primary.",
        )
    if args.go_on and args.cancel:
        raise RefusedError("--continue and --cancel exclude each other")
    if (args.go_on or args.cancel) and (args.rolling or args.pending or args.command or args.back or args.at):
        raise RefusedError("--continue and --cancel are about the restart that was begun: give them alone")
    for name, value, high in (("--wait", args.wait_s, 3600.0), ("--run-limit", args.run_limit_s, COMMAND_MAX_S)):
        if not 1.0 <= value <= high:
            raise RefusedError(f"{name} {value:g} is not between 1 and {high:g}")


@dataclass(frozen=True, slots=True)
class _Now:
    """Both hosts: as their daemons say it, and what stands against the next step."""

    looks: dict[str, Look]
    obstacles: list[str]


class Restart:
    """One call. `say`: reports what is under way."""

    def __init__(self, config: Config, args: argparse.Namespace, say: Callable[[str], None]) -> None:
        self._config, self._args, self._say = config, args, say
        self._me = config.me.name
        self._file: Path = config.paths.state / "restart.json"

    def run(self) -> dict[str, Any]:
        """Do it; what --json shows."""
        kept = load_restart(self._file)
        if self._args.cancel:
            return self._cancel(kept)
        if kept is not None and not self._args.go_on:
            hint = "Go on with it: pgvip restart --continue; or forget it: pgvip restart --cancel"
            raise RefusedError(f"a restart of {moment(kept.at)} has not ended", hint=hint)
        if kept is None and self._args.go_on:
            raise RefusedError("no restart was interrupted on this host")
        if kept is None:
            self._later()
        kept = kept or self._begin()
        steps = self._steps(kept)
        if self._args.dry_run:
            return self._plan(steps)
        save_restart(self._file, kept)
        done = self._carry_out(kept)
        self._file.unlink(missing_ok=True)
        return {"text": _end(self._now().looks), "steps": done}

    # --- before -------------------------------------------------------------------------------------------

    def _cancel(self, kept: Restarting | None) -> dict[str, Any]:
        if kept is None:
            raise RefusedError("no restart was interrupted on this host")
        mine = self._look(self._me)
        if not self._args.dry_run:
            if mine.leaving:
                self._ask(self._me, Do.UP, {})
            self._file.unlink(missing_ok=True)
        text = f"the restart of {moment(kept.at)} is forgotten" + ("; PostgreSQL starts" if mine.leaving else "")
        return {"text": f"dry run: {text}" if self._args.dry_run else text, "steps": []}

    def _later(self) -> None:
        """Wait for --at; every check is made again then."""
        if self._args.at and not self._args.dry_run:
            self._begin()
            begin = later.at(of_wall(self._args.at))
            self._say(f"  + waiting: it begins {begin.words} (Ctrl-C calls it off)")
            later.wait(begin, self._say)

    def _begin(self) -> Restarting:
        """What is going to be restarted. RefusedError where that would not go well."""
        now = self._now()
        if now.obstacles:
            detail = f"{'; '.join(now.obstacles)}."
            raise RefusedError("the pair is not ready for a restart", detail, "See: pgvip status")
        args = self._args
        before, lowered = rolling.begin([*now.looks.values()], self._me, rolling=args.rolling, pending=args.pending)
        primary = next(look.primary for look in now.looks.values())
        at = wall(datetime.now(tz=UTC))
        kept = Restarting(at, who(), primary, before, args.back, lowered, args.command)
        moves = [step for step in rolling.steps(kept, now.looks, self._me) if step.do is Do.SWITCHOVER]
        if moves:
            self._switchover(dry_run=True)
        if lowered and primary != self._me:
            names = ", ".join(lowered)
            hint = f"Run it on {primary}."
            raise RefusedError(f"{names} becomes lower, for which the primary is restarted in place", hint=hint)
        return kept

    def _steps(self, kept: Restarting) -> list[Step]:
        now = self._now()
        for look in now.looks.values():
            versions = look.running if look.running == look.installed else f"{look.running}, installed {look.installed}"
            waits = "; ".join(f"{one.name} {one.now} -> {one.configured or 'default'}" for one in look.pending)
            self._say(f"  {look.host}: PostgreSQL {versions}" + (f"; waits for a restart: {waits}" if waits else ""))
        return rolling.steps(kept, now.looks, self._me)

    def _plan(self, steps: list[Step]) -> dict[str, Any]:
        for step in steps:
            self._say(f"  - {step.title}\n      clients notice: {step.notice}")
        return {"text": "nothing was changed (--dry-run)", "steps": [asdict(step) for step in steps]}

    # --- the steps ----------------------------------------------------------------------------------------

    def _carry_out(self, kept: Restarting) -> list[dict[str, Any]]:
        """Step after step, each planned afresh from how the hosts are."""
        done = list[dict[str, Any]]()
        limit = 8  # more steps than any plan has
        while (steps := rolling.steps(kept, self._now().looks, self._me)) and len(done) < limit:
            if steps[0].do in (Do.DOWN, Do.COMMAND, Do.UP):
                kept = self._with_command(kept, steps, done)
            else:
                self._whole()
                self._take(kept, steps[0], done)
            self._whole()
        return done

    def _with_command(self, kept: Restarting, steps: list[Step], done: list[dict[str, Any]]) -> Restarting:
        """Down, the command, up: a command that fails ends it, once PostgreSQL runs again."""
        if not kept.ran and not self._look(self._me).leaving:
            self._whole()
        for step in steps:
            if step.do in (Do.DOWN, Do.UP):
                self._take(kept, step, done)
            elif step.do is Do.COMMAND:
                try:
                    self._take(kept, step, done)
                except PgvipError:
                    self._say("  ! the command failed; PostgreSQL is started again")
                    self._ask(self._me, Do.UP, {})
                    self._file.unlink(missing_ok=True)
                    raise
                kept = replace(kept, ran=True)
                save_restart(self._file, kept)
        return kept

    def _take(self, kept: Restarting, step: Step, done: list[dict[str, Any]]) -> None:
        self._say(f"  + {step.title}")
        began_s = now_s()
        try:
            if step.do is Do.SWITCHOVER:
                self._switchover(dry_run=False)
            elif step.do is Do.COMMAND:
                self._command(kept.command)
            else:
                self._ask(step.host, step.do, self._named(step))
                self._ended(step)
        except KeyboardInterrupt:
            self._say("  ! interrupted: what has begun goes on to its end; then: pgvip restart --continue")
            raise
        except PgvipError as error:
            if step.do is Do.COMMAND:
                raise
            hint = "When the cause is gone: pgvip restart --continue"
            raise ActionError(error.message, error.detail, f"{error.hint} {hint}".strip()) from error
        done.append({**asdict(step), "took_s": round(now_s() - began_s, 1)})

    def _named(self, step: Step) -> dict[str, Any]:
        """The postmaster that is to go: a step that was asked for twice is done once."""
        return {} if step.do in (Do.UP, Do.DOWN) else {"postmaster": self._look(step.host).postmaster}

    def _ended(self, step: Step) -> None:
        """Wait for the end of a step; RefusedError when it failed."""
        said = ""

        def over() -> Look | None:
            nonlocal said
            try:
                look = self._look(step.host)
            except LinkError:
                return None  # the link is made anew in a moment
            if look.doing and look.doing != said:
                said = look.doing
                self._say(f"    {said.partition(': ')[2]}")
            return None if look.doing else look

        look = wait_until(over, self._args.wait_s, every_s=LOOK_S, what=step.title, error=RefusedError)
        if look.failure:
            raise RefusedError(f"{step.host}: {look.failure}", look.detail, look.hint)

    def _whole(self) -> None:
        """Wait until each host could take over from the other."""
        said, begun_s = "", now_s()

        def whole() -> bool:
            nonlocal said
            try:
                left = self._now().obstacles
            except LinkError as failed:
                left = [failed.message]
            if left and left[0] != said and now_s() - begun_s > 1.0:
                said = left[0]
                self._say(f"    waiting: {said}")
            return not left

        hint = "When the cause is gone: pgvip restart --continue"
        try:
            wait_until(whole, self._args.wait_s, every_s=LOOK_S, what="a pair that is whole again", error=RefusedError)
        except RefusedError as failed:
            raise ActionError(failed.message, f"{said}." if said else failed.detail, hint) from failed

    def _command(self, text: str) -> None:
        argv = [SHELL, "-c", text]
        commands.check(argv, timeout_s=self._args.run_limit_s, on_line=lambda line: self._say(f"    {line}"))

    # --- the daemon ---------------------------------------------------------------------------------------

    def _call(self, request: Mapping[str, Any], timeout_s: float = ANSWER_S) -> Mapping[str, Any]:
        answer = call(self._config.paths.socket, dict(request), timeout_s, lambda line: self._say(f"    {line}"))
        raise_failure(answer)
        return answer

    def _ask(self, host: str, step: str, more: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._call({"command": "restart", "host": host, "step": step, **more})

    def _look(self, host: str) -> Look:
        try:
            return codec.decode(Look, self._ask(host, "look", {}).get("look"))
        except FormatError as error:
            raise LinkError(f"did not understand {host}", f"{error}.", "Run the same version on both hosts.") from error

    def _now(self) -> _Now:
        looks = {name: self._look(name) for name in (self._me, self._config.peer.name)}
        status: dict[str, Any] = dict(self._call({"command": "status"})["status"])
        return _Now(looks, obstacles(status))

    def _switchover(self, *, dry_run: bool) -> None:
        wait_s = self._args.wait_s
        request = {"command": "switchover", "wait_s": wait_s, "dry_run": dry_run, "by": who()}
        self._call(request, wait_s + MARGIN_S)


def _end(looks: Mapping[str, Look]) -> str:
    primary = next(look.primary for look in looks.values())
    return f"done: {', '.join(f'{one.host} runs {one.running}' for one in looks.values())}; {primary} is primary"


def _say(text: str) -> None:
    put(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC {text}", flush=True)

