"""`pgvip upgrade-major`: check whether a new major version can be taken, and print the steps. Changes nothing."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.checks import runner
from pgvip.checks.finding import Level, worst
from pgvip.checks.major_upgrade import CHECKS, UpgradeFacts
from pgvip.cli.check import document as findings_of
from pgvip.cli.check import lines as finding_lines
from pgvip.cli.output import put, put_json, size
from pgvip.cli.steps import require_root
from pgvip.config.load import load
from pgvip.config.observing import observes
from pgvip.errors import Exit, RefusedError
from pgvip.setup.major_steps import NOTES, Names, Planned, odd, planned
from pgvip.system import new_programs, pgtools, privileges, workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgvip.checks.finding import Finding
    from pgvip.config.model import Config

HELP = "check whether a new major version can be taken, and print the steps for this pair"
EXIT_CODES = {0: "nothing prevents the upgrade; read the warnings", 1: "a check is critical or unknown, or it failed"}
LIMIT_S = 900.0
SHARE_S = 0.5
STATISTICS_KEPT = 18
"""From this new version on, pg_upgrade takes the planner's statistics along."""
WIDTH = 110
MANY_RELATIONS = 50_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `upgrade-major`."""
    parser.description = (
        "On the primary, while it serves: check what a new major version needs, and print the steps of the upgrade "
        "with the names, paths and versions of this pair, and what its outage consists of. Nothing of the pair is "
        "changed: pg_upgrade --check runs against an empty cluster in a temporary directory, which is removed. "
        "Nothing is upgraded by this command. "
        "Example: pgvip upgrade-major --to 18"
    )
    parser.add_argument(
        "--to", required=True, metavar="VERSION|DIRECTORY",
        help="the new major version, or the directory of its programs (the same on both hosts)",
    )  # fmt: skip
    parser.add_argument(
        "--data", default="", metavar="DIRECTORY",
        help="the new data directory (the old one, with the new version in place of the old one's)",
    )  # fmt: skip
    parser.add_argument("--steps", action="store_true", help="print the steps even if a check is critical")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Check and print. Returns 0, or 1 when something prevents the upgrade."""
    require_root()
    found, document, text = _run(args)
    if args.json:
        put_json(document)
    else:
        put("\n".join(text))
    good = worst(one.level for one in found) in (Level.OK, Level.WARNING)
    return int(Exit.OK if good else Exit.FAILED)


def _run(args: argparse.Namespace) -> tuple[list[Finding], dict[str, Any], list[str]]:
    config = load(args.config, args.host)
    if observes(config):
        raise RefusedError("pgvip only observes this pair: another manager upgrades it")
    privileges.give_up(config)
    workers.share(SHARE_S)
    old = pgtools.major_version(config.postgres.data_directory)
    if args.data and not args.data.startswith("/"):
        raise RefusedError(f"--data {args.data} is no absolute path")
    facts = UpgradeFacts(config, new_programs.directory_of(config, args.to, old), args.data)
    if facts.in_recovery:
        hint = f"Run it on the primary, {config.peer.name}. The programs must be on both hosts."
        raise RefusedError("this host is the standby", hint=hint)
    new = facts.new
    put(f"pgvip: PostgreSQL {old} to {new.version}: checking both hosts", file=sys.stderr, flush=True)
    found = runner.run(CHECKS, facts, LIMIT_S, on_wait=_say_waiting)
    level = worst(one.level for one in found)
    outage, steps = outage_of(facts), _planned(facts, found)
    document = {
        **findings_of(config, level, found),
        "ok": True,
        "old": old,
        "new": new.version,
        "outage": outage,
        "logical": logical(facts),
        "steps": [{"section": one.section, "host": one.host, "commands": one.commands} for one in steps],
    }
    text = [*finding_lines(config, level, found), "", *outage_lines(config, outage), "", *logical(facts), ""]
    if level is Level.CRITICAL and not args.steps:
        text.append("The steps are printed when no check is critical, or with --steps.")
    else:
        text += step_lines(steps)
    return found, document, text


def _say_waiting(names: Sequence[str]) -> None:
    put(f"pgvip: still checking: {', '.join(names)}", file=sys.stderr, flush=True)


# --- the outage ----------------------------------------------------------------------------------------------


def outage_of(facts: UpgradeFacts) -> dict[str, Any]:
    """What can be counted of it."""
    databases = facts.local("database_names")
    return {
        "databases": len(databases),
        "relations": facts.counted.relations,
        "files": facts.counted.files,
        "bytes": facts.local("cluster_bytes")[0][0],
        "linked": facts.new.same_disk,
        "statistics_kept": facts.new.major >= STATISTICS_KEPT,
    }


def outage_lines(config: Config, outage: dict[str, Any]) -> Iterator[str]:
    """The same for people, and what is not known."""
    yield "The outage, without reads and writes, consists of:"
    yield f"  - the stop of both servers (each at most {config.postgres.stop_timeout_s:g} s)"
    yield (
        f"  - pg_upgrade: the definitions of about {outage['relations']} relations (tables, indexes, TOAST) in "
        f"{outage['databases']} databases are written and read again"
    )
    if outage["linked"]:
        yield f"  - links to about {outage['files']} files; {size(outage['bytes'])} of data are not copied"
    else:
        yield f"  - the copy of {size(outage['bytes'])}, since links are not possible there"
    yield "  - pgvip init, which starts the new server, and the start of the daemon"
    yield "How long that takes is not known before; a trial with a restored backup on another machine shows it."
    if not outage["statistics_kept"]:
        yield "Afterwards queries may be slow until vacuumdb has made the planner's statistics again."
    yield f"Until {config.peer.name} is cloned again, there is no standby, and a failure of this host is an outage."


def logical(facts: UpgradeFacts) -> list[str]:
    """When the other way is better, and what it asks for."""
    why = ""
    if not facts.new.same_disk:
        why = "Since links are not possible here, consider it."
    elif facts.counted.relations > MANY_RELATIONS:
        why = f"With {facts.counted.relations} relations pg_upgrade may take long: consider it."
    words = [
        "Where that outage is too long, the other way is logical replication to a second pair with the new version:",
        "an outage of seconds, and a long preparation. It needs other hosts, wal_level = logical, a key or REPLICA",
        "IDENTITY for each table; sequences, large objects and changes of definitions are not replicated.",
    ]
    return [*words, *([why] if why else [])]


# --- the steps -----------------------------------------------------------------------------------------------


def _planned(facts: UpgradeFacts, found: Sequence[Finding]) -> list[Planned]:
    refused = " ".join(one.text for one in found if one.name == "new-settings" and one.level)
    peer = facts.config.peer.data_directory or facts.config.postgres.data_directory
    new = facts.new
    names = Names(
        config=facts.config,
        old=facts.old,
        new=new.major,
        programs=facts.directory,
        next=Path(new.data),
        peer_next=Path(facts.data) if facts.data else new_programs.next_data(peer, facts.old, new.major),
        options=facts.options,
        settings={name: value for name, value in facts.settings.items() if f'"{name}"' not in refused},
        linked=new.same_disk,
        home=Path(pgtools.account(facts.config).pw_dir),
    )
    if words := odd(names):
        hint = "Follow the page by hand, with quotes."
        raise RefusedError(f"the steps cannot be written with this name: {words[0]!r}", f"See {pgtools.UPGRADE}.", hint)
    return planned(names)


def step_lines(steps: Sequence[Planned]) -> Iterator[str]:
    """Commands that can be copied line by line, under the host on which they are run."""
    yield f"The steps, each in a shell of root's; {pgtools.UPGRADE} explains them."
    section = ""
    for step in steps:
        if step.section != section:
            section = step.section
            yield from ("", f"# === {section}", *(f"# {line}" for line in textwrap.wrap(NOTES[section], WIDTH)))
        yield from ("", f"# --- on {step.host}", *step.commands.rstrip("\n").split("\n"))
