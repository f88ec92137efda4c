"""Steps of a set-up command: shown one by one, skipped where they are done already, only listed by --dry-run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.checks import other_managers
from pgvip.checks.configuration import host_warnings
from pgvip.cli.output import put
from pgvip.errors import Exit, PgvipError, RefusedError
from pgvip.system import units

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from pgvip.config.model import Config


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `done`: looks whether it is done already; without it the step is done every time."""

    title: str
    do: Callable[[], object]
    done: Callable[[], bool] | None = None


def say(text: str) -> None:
    """A line for people, at once."""
    put(text, flush=True)


def silent(_text: str) -> None:
    """With --json nothing is printed on the way."""


def run_steps(steps: Sequence[Step], *, dry_run: bool, report: Callable[[str], None] = say) -> list[dict[str, str]]:
    """Do the steps in order; the first that fails ends the command, which can then be repeated. What --json shows."""
    found = list[dict[str, str]]()
    for step in steps:
        if step.done is not None and step.done():
            report(f"  = {step.title} (done already)")
            state = "done already"
        elif dry_run:
            report(f"  - {step.title}")
            state = "planned"
        else:
            report(f"  + {step.title}")
            step.do()
            state = "done"
        found.append({"step": step.title, "state": state})
    return found


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Every set-up command can be asked what it would do."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="check everything, list the steps, change nothing")


def add_beside(parser: argparse.ArgumentParser) -> None:
    """The option for software that looks dangerous to a pair, and is known to be for something else."""
    parser.add_argument(
        other_managers.OPTION, action="append", default=[], choices=other_managers.NAMES, metavar="MANAGER",
        help=f"go on although this manager runs here, for another database or other addresses "
        f"({', '.join(other_managers.NAMES)}; repeatable)",
    )  # fmt: skip


def require_root() -> None:
    """RefusedError for other users."""
    if os.geteuid() != 0:
        raise RefusedError("only root can set a host up", hint="Run it with sudo.")


def refuse(found: Sequence[PgvipError]) -> None:
    """Raise what the pre-checks found, all at once: nothing was changed, so whatever failed there is a refusal."""
    if len(found) == 1 and found[0].exit_code == Exit.FAILED:
        raise RefusedError(found[0].message, found[0].detail, found[0].hint) from found[0]
    if len(found) == 1:
        raise found[0]
    if found:
        raise RefusedError(f"{len(found)} things stand in the way", "\n" + "\n".join(f"- {error}" for error in found))


def warn(text: str, hint: str = "") -> None:
    """Something to know, with what to do about it; the command goes on."""
    put(f"  ! {text}" + (f"\n    {hint}" if hint else ""), flush=True)


def warn_of_host(config: Config) -> None:
    """What of this host prevents nothing, in the words of `pgvip check`; and what another manager has left."""
    for what, hint in other_managers.warnings(config):
        warn(what, hint)
    for problem in host_warnings(config):
        warn(f"{problem.message} ({problem.detail.rstrip('.')})", problem.hint)


def start_at_boot(config: Config, *, take_over: bool, dry_run: bool) -> None:
    """Report, or with agreement end, what would start the server at boot before the pair has agreed."""
    for start in units.auto_starts(config.postgres.data_directory, config.postgres.unit):
        if not take_over:
            warn(
                f"{start.what}: the server would start at boot before the pair has agreed who serves",
                f"Use --take-over-unit, or run: {start.hint}",
            )
        elif not dry_run:
            units.take_over(start)
            put(f"  + {start.what}: manual from now on", flush=True)
