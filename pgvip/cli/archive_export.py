"""`pgvip archive export`: let the other host read this host's archive by NFS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.archive_clean import require_archive
from pgvip.cli.steps import Step, add_dry_run, require_root, run_steps, warn
from pgvip.config.load import load
from pgvip.errors import MountError, RefusedError
from pgvip.setup import export
from pgvip.system import privileges

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config

HELP = "export this host's archive to the other host, read-only"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `archive export`."""
    parser.description = (
        f"Write {export.FILE}, which exports archive.directory to the other host alone, read-only, and put it in force "
        "(exportfs -ra). init, clone and join do the same with --exports. Example: pgvip archive export --dry-run"
    )
    add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Export it. Returns 0."""
    require_root()
    config = load(args.config, args.host)
    privileges.give_up(config)
    require_archive(config)
    if config.archive.by_link:
        hint = 'Nothing is to be done; or write peer_archive = "nfs" on both hosts.'
        raise RefusedError('archive.peer_archive is "link": the other host reads the archive over TLS', hint=hint)
    run_steps(steps(config), dry_run=args.dry_run)
    return 0


def steps(config: Config) -> list[Step]:
    """Name the line that is written, so that the administrator knows what others may read."""
    title = f"export in {export.FILE}: {export.line(config)}"
    return [Step(title, lambda: export.export(config))]


def add_exports(parser: argparse.ArgumentParser) -> None:
    """The option of the set-up commands."""
    help_text = f"export the archive to the other host by NFS ({export.FILE})"
    parser.add_argument("--exports", action="store_true", help=help_text)


def run_exports(args: argparse.Namespace, config: Config) -> None:
    """What the set-up commands do with the option; what fails can be repaired later, and stops no set-up."""
    if not args.exports or not config.archive.enabled:
        return
    if config.archive.by_link:
        warn('--exports: nothing is exported, since archive.peer_archive is "link"', "Leave the option out.")
        return
    try:
        run_steps(steps(config), dry_run=args.dry_run)
    except MountError as failure:
        warn(str(failure), "Then run pgvip archive export.")
