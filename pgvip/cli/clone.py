"""`pgvip clone`: make this host the second of a pair, with a copy of the first host's database."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.checks.configuration import host_problems
from pgvip.cli.archive_export import add_exports, run_exports
from pgvip.cli.output import put
from pgvip.cli.progress import Bar
from pgvip.cli.steps import Step, add_dry_run, refuse, require_root, run_steps, start_at_boot, warn_of_host
from pgvip.config.load import default_file
from pgvip.config.observing import observes
from pgvip.errors import RefusedError
from pgvip.link.bundle import read_bundle
from pgvip.rejoin import follow
from pgvip.setup import access, enrolment, second_host, server_keys
from pgvip.setup.hands import Hands
from pgvip.system import pgtools, privileges, units

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.link.bundle import Bundle

HELP = "make this host the second of a pair, with a copy of the first host's database"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `clone`."""
    parser.description = (
        "Install the first host's bundle and copy its database. The database there must run. "
        "An existing data directory is never overwritten. Example: pgvip clone /root/pair.bundle"
    )
    parser.add_argument("bundle", type=Path, help="the file that pgvip init wrote on the first host")
    parser.add_argument(
        "--replace", action="store_true", help="put an existing data directory aside, under another name"
    )
    parser.add_argument("--take-over-unit", action="store_true", help="set what starts the server at boot to manual")
    add_exports(parser)
    add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Set the second host up. Returns the exit code."""
    require_root()
    bundle = read_bundle(args.bundle)
    config = second_host.configuration(bundle, Path(args.config or default_file()), args.host)
    if observes(config):
        hint = "Make the standby with the tool that runs the pair, then use pgvip join."
        raise RefusedError('pgvip only observes this pair: pair.mode is "observe"', hint=hint)
    hands = Hands(lambda: second_host.make_own(bundle, config))
    privileges.give_up(config)
    _check_here(bundle, config, args)
    put(f"{config.me.name}: {second_host.ordinal(bundle)} host of the pair {config.name}", flush=True)
    warn_of_host(config)
    start_at_boot(config, take_over=args.take_over_unit, dry_run=args.dry_run)
    steps = [Step("configuration, keys, certificates, identity",
                  lambda: second_host.install(bundle, config, args.bundle, hands))]
    run_steps(steps, dry_run=args.dry_run)
    run_exports(args, config)
    if args.dry_run:
        put(f"  - copy of the database of {config.peer.name}\nnothing was changed (--dry-run)", flush=True)
        return 0
    run_steps(_copy_steps(config, bundle), dry_run=False)
    report(config)
    return 0


def _check_here(bundle: Bundle, config: Config, args: argparse.Namespace) -> None:
    refuse(host_problems(config))
    pgtools.account(config)
    enrolment.refuse_daemon(config)
    found = second_host.pair_problems(bundle, config)
    found += enrolment.unit_problems(config)
    found += second_host.target_problems(config, allow_replace=args.replace)
    postgres = config.postgres
    copied = postgres.config_directory == postgres.data_directory or not pgtools.is_there(postgres.data_directory)
    found += server_keys.problems(config, new=copied)
    refuse(found)
    refuse(second_host.first_host_problems(bundle, config))


def _copy_steps(config: Config, bundle: Bundle) -> list[Step]:
    system_id = bundle.system_id

    def say(text: str) -> None:
        put(f"    {text}", flush=True)

    def copy() -> None:
        with Bar() as bar:
            follow.clone_over(config, say, bar.show, system_id=system_id)

    def set_aside() -> None:
        kept = second_host.set_stranger_aside(config, system_id)
        if kept is not None:
            say(f"{config.postgres.data_directory} was another cluster; it is {kept} now")

    def let_in() -> None:
        for kept in access.adopt_lines(config, bundle.extra):
            say(f"as on {config.peer.name}; what this host had is in {kept}")
        enrolment.write_access(config)

    return [
        Step("no other cluster in the way", set_aside),
        Step(f"copy of the database of {config.peer.name}", copy),
        Step("pg_hba.conf and pg_ident.conf", let_in),
    ]


def report(config: Config) -> None:
    """Say what comes next.

    No record is written here: this host adopts the primary's (docs/protocol.md, "After a boot").
    """
    start = "systemctl enable --now pgvip" if units.has_systemd() else "pgvip run"
    put(f"Next, on {config.me.name}: {start}\nThen delete the bundle, and look: pgvip status", flush=True)
