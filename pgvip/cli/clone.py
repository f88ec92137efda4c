"""`pgvip clone`: make this host the second of a pair, with a copy of the first host's database."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.actions import clone as cloning
from pgvip.actions import enrol, second
from pgvip.cli.progress import Bar
from pgvip.cli.steps import Step, add_dry_run, refuse, require_root, run_steps, warn
from pgvip.config_load import default_file
from pgvip.config_rules import host_problems
from pgvip.link.bundle import read_bundle
from pgvip.system import pgtools, units

if TYPE_CHECKING:
    from pgvip.config import Config
    from pgvip.link.bundle import Bundle

HELP = "make this host the second of a pair, with a copy of the first host's database"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `clone`."""
    parser.description = (
        "Install the first host's bundle and copy its database. The database there must run. "
        "An existing data directory is never overwritten. Example: pgvip clone /root/pair.bundle"
    )
    parser.add_argument("bundle", type=Path, help="the file that pgvip init wrote on the first host")
    parser.add_argument("--replace", action="store_true", help="keep an existing data directory under another name")
    parser.add_argument("--take-over-unit", action="store_true", help="set what starts the server at boot to manual")
    add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Set the second host up. Returns the exit code."""
    require_root()
    bundle = read_bundle(args.bundle)
    config = second.configuration(bundle, Path(args.config or default_file()), args.host)
    _check_here(bundle, config, args)
    print(f"{config.me.name}: second host of the pair {config.name}", flush=True)
    start_at_boot(config, args)
    steps = [Step("configuration, passwords, certificates, identity", lambda: second.install(bundle, config))]
    run_steps(steps, dry_run=args.dry_run)
    if args.dry_run:
        print(f"  - copy of the database of {config.peer.name}\nnothing was changed (--dry-run)", flush=True)
        return 0
    # from here on the first host is asked, which needs the passwords
    refuse(second.first_host_problems(bundle, config))
    refuse(second.space_problems(config))
    run_steps(_copy_steps(config, args), dry_run=False)
    report(config)
    return 0


def _check_here(bundle: Bundle, config: Config, args: argparse.Namespace) -> None:
    refuse(host_problems(config))
    pgtools.account(config)
    enrol.refuse_daemon(config)
    found = second.pair_problems(bundle, config)
    found += enrol.unit_problems(config)
    found += second.target_problems(config, replace=args.replace)
    refuse(found)


def _copy_steps(config: Config, args: argparse.Namespace) -> list[Step]:
    def set_aside() -> None:
        kept = second.set_aside(config)
        if kept is not None:
            print(f"    kept as {kept}", flush=True)

    def copy() -> None:
        with Bar() as bar:
            cloning.clone(config, bar.show)

    steps = [Step("put the old data directory aside", set_aside)] if args.replace else []
    return [
        *steps,
        Step(f"copy of the database of {config.peer.name}", copy),
        Step("pg_hba.conf and pg_ident.conf", lambda: enrol.write_access(config)),
    ]


def start_at_boot(config: Config, args: argparse.Namespace) -> None:
    """Report, or with agreement end, what would start the server behind pgvip's back."""
    for start in units.auto_starts(config.postgres.data_directory, config.postgres.unit):
        if not args.take_over_unit:
            warn(f"{start.what}: the server would start at boot before the pair agreed", f"Run: {start.mend}")
        elif not args.dry_run:
            units.take_over(start)
            print(f"  + {start.what}: manual from now on", flush=True)


def report(config: Config) -> None:
    """Say what comes next. No record is written here: this host adopts the primary's (PROTOCOL.md, "After a boot")."""
    start = "systemctl enable --now pgvip" if units.has_systemd() else "pgvip run"
    print(f"Next, on {config.me.name}: {start}\nThen delete the bundle, and look: pgvip status", flush=True)
