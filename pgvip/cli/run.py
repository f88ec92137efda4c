"""`pgvip run`: the daemon."""

from __future__ import annotations

import argparse

from pgvip.config.load import load
from pgvip.config.observing import observes
from pgvip.daemon.assembly import Assembly
from pgvip.daemon.live_config import Options
from pgvip.errors import ConfigError, RecordError
from pgvip.events.event_table import WORDS
from pgvip.setup import observe_setup
from pgvip.state.record import RecordStore, load_identity
from pgvip.system import privileges, service

HELP = "run the daemon (normally started by systemd)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.description = "Run pgvip in the foreground. Example: pgvip --config /etc/pgvip/pgvip.toml run"
    parser.add_argument("--log-format", choices=["human", "json"], help="instead of log.format in the configuration")
    parser.add_argument("--log-level", choices=list(WORDS), help="instead of log.level in the configuration")


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM. Returns the exit code."""
    config = load(args.config, args.host)
    identity = load_identity(config.paths.identity)
    if identity is None:
        raise RecordError(
            f'this host belongs to no pair: "{config.paths.identity}" does not exist',
            hint="Run `pgvip init` on the first host, `pgvip clone` or `pgvip join` on the second.",
        )
    if not observes(config):
        observe_setup.check_record(config, RecordStore(config.paths.record).load())
    if service.under_systemd() and not config.postgres.unit:
        raise ConfigError(
            "postgresql.unit is empty, but pgvip runs as a systemd service",
            "PostgreSQL would live in pgvip's own unit, and be stopped and limited with it.",
            'Name its unit, for example unit = "pgvip-postgres.service".',
        )
    privileges.give_up(config)
    if not observes(config):
        observe_setup.begin_to_act(config)
    Assembly(config, identity, Options(args.config, args.host, args.log_format, args.log_level)).run()
    return 0
