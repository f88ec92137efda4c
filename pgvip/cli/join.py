"""`pgvip join`: make this host the second of a pair, with the standby that streams here already."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.checks import other_managers
from pgvip.checks.configuration import host_problems
from pgvip.cli.archive_export import add_exports, run_exports
from pgvip.cli.clone import report
from pgvip.cli.output import put
from pgvip.cli.steps import (
    Step,
    add_beside,
    add_dry_run,
    refuse,
    require_root,
    run_steps,
    start_at_boot,
    warn,
    warn_of_host,
)
from pgvip.config.load import default_file
from pgvip.config.observing import observes
from pgvip.errors import RefusedError
from pgvip.link.bundle import read_bundle
from pgvip.setup import enrolment, observe_setup, second_host, server_keys
from pgvip.setup.hands import Hands
from pgvip.system import pgtools, privileges

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.link.bundle import Bundle

HELP = "make this host the second of a pair, with the standby that streams here already"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `join`."""
    parser.description = (
        "Install the first host's bundle and adopt the running standby, without a new copy and without a restart. "
        "Example: pgvip join /root/pair.bundle"
    )
    parser.add_argument("bundle", type=Path, help="the file that pgvip init wrote on the first host")
    parser.add_argument(
        "--replace-archive-command", action="store_true", help="give up the archive_command that is there now"
    )
    parser.add_argument("--take-over-unit", action="store_true", help="set what starts the server at boot to manual")
    add_beside(parser)
    add_exports(parser)
    add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Adopt the standby. Returns the exit code."""
    require_root()
    bundle = read_bundle(args.bundle)
    config = second_host.configuration(bundle, Path(args.config or default_file()), args.host)
    hands = Hands(lambda: second_host.make_own(bundle, config))
    privileges.give_up(config)
    if observes(config):
        return _observe(bundle, config, args, hands)
    _check(bundle, config, args)
    put(f"{config.me.name}: {second_host.ordinal(bundle)} host of the pair {config.name}", flush=True)
    warn_of_host(config)
    start_at_boot(config, take_over=args.take_over_unit, dry_run=args.dry_run)
    slot = second_host.old_slot(config)
    version = enrolment.program_version(config)
    steps = [
        Step("configuration, keys, certificates, identity",
             lambda: second_host.install(bundle, config, args.bundle, hands)),
        Step("pg_hba.conf and pg_ident.conf", lambda: enrolment.write_access(config)),
        Step("PostgreSQL settings (pgvip.conf)", lambda: enrolment.write_settings(config, version)),
        Step(f"stream from {config.peer.name} by pgvip's own slot", lambda: second_host.await_stream(config)),
    ]
    run_steps(steps, dry_run=args.dry_run)
    run_exports(args, config)
    if args.dry_run:
        put("nothing was changed (--dry-run)", flush=True)
        return 0
    if slot:
        warn(f"slot {slot} on {config.peer.name} is no longer used and keeps WAL", f"Drop it there: {drop(slot)}")
    pending = enrolment.pending_restart(config)
    if pending:
        warn(
            f"needs a restart of this standby, and is not in force yet: {', '.join(pending)}",
            "Restart it when it suits; until then, read queries go on undisturbed"
            + (", and this standby may not take over." if "listen_addresses" in pending else "."),
        )
    report(config)
    return 0


def _observe(bundle: Bundle, config: Config, args: argparse.Namespace, hands: Hands) -> int:
    """`pair.mode = "observe"`: pgvip's own files alone."""
    refuse(host_problems(config))
    pgtools.account(config)
    enrolment.refuse_daemon(config)
    refuse([*second_host.pair_problems(bundle, config), *observe_setup.standby_problems(config, bundle.system_id)])
    put(f"{config.me.name}: {second_host.ordinal(bundle)} host of the pair {config.name}", flush=True)
    install = Step("configuration, keys, certificates, identity",
                   lambda: second_host.install(bundle, config, args.bundle, hands))  # fmt: skip
    run_steps([install], dry_run=args.dry_run)
    said = "nothing was changed (--dry-run)" if args.dry_run else "PostgreSQL was left as it is. Next: start pgvip."
    put(said, flush=True)
    return 0


def drop(slot: str) -> str:
    """The statement that drops a slot, for people to copy."""
    return f"SELECT pg_drop_replication_slot('{slot}');"


def _check(bundle: Bundle, config: Config, args: argparse.Namespace) -> None:
    refuse(host_problems(config))
    pgtools.account(config)
    enrolment.refuse_daemon(config)
    found = second_host.pair_problems(bundle, config)
    found += other_managers.problems(config, args.beside)
    found += enrolment.unit_problems(config)
    found += second_host.standby_problems(bundle, config)
    refuse(found)
    refuse(server_keys.problems(config, new=False))
    foreign = enrolment.foreign_archiving(config)
    if foreign and not args.replace_archive_command:
        raise RefusedError(
            "the server has an archive_command of its own",
            f"It is: {foreign}.",
            "Keep it with archive.enabled = false on both hosts, or give it up with --replace-archive-command.",
        )
    refuse(second_host.first_host_problems(bundle, config))
