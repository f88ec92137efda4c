"""What `init` and `join` do where `pair.mode = "observe"`: pgvip's own files alone, PostgreSQL is left as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import PgvipError, PostgresError, RecordError
from pgvip.setup import enrolment
from pgvip.state.last_observed import forget_observed, load_observed
from pgvip.state.record import forget_boot_facts
from pgvip.system import pgtools, processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.core.values import Durable

ROLE = (
    "CREATE ROLE pgvip LOGIN; GRANT pg_monitor TO pgvip;   (on the primary)",
    "local all pgvip peer map=pgvip                        (first line of pg_hba.conf, on both hosts)",
    "pgvip root pgvip                                      (pg_ident.conf, on both hosts)",
    "pgvip postgres pgvip                                  (the same; postgres: the user that PostgreSQL runs as)",
    "SELECT pg_reload_conf();                              (on both hosts)",
)
"""What pgvip needs in order to see PostgreSQL; made by hand, since it changes nothing there."""


def primary_problems(config: Config) -> list[PgvipError]:
    """What keeps `init` from it: there must be a cluster, and it must not be a standby."""
    data = config.postgres.data_directory
    if enrolment.is_empty(data):
        return [PostgresError(f"there is no cluster in {data}: nothing to observe", hint='Write pair.mode = "normal".')]
    if pgtools.is_there(data / "standby.signal") or "recovery" in pgtools.control_data(config).state:
        return [PostgresError("this cluster is a standby", hint="Run pgvip init on its primary.")]
    return []


def standby_problems(config: Config, system_id: str) -> list[PgvipError]:
    """What keeps `join` from it: there must be a cluster, and it must be the pair's."""
    data = config.postgres.data_directory
    if enrolment.is_empty(data):
        return [PostgresError(f"there is no cluster in {data}: nothing to observe", hint="Make the standby first.")]
    here = pgtools.control_data(config).system_id
    if here == system_id:
        return []
    detail = f"Its system identifier is {here}, the pair's is {system_id}."
    return [PostgresError(f"{data} is another database cluster", detail, "Take the bundle of this pair.")]


def has_only_observed(config: Config, durable: Durable) -> bool:
    """No record was lost: none was ever made, since pgvip has only observed this pair."""
    return durable.record is None and load_observed(config.paths.state) is not None


def keeps_bundle(config: Config, durable: Durable, path: Path) -> Callable[[], bool]:
    """Whether a bundle that is there stays; to be asked before `init` makes a record.

    One that was made to observe has this mode in its configuration, which the second host would refuse.
    """
    observed = has_only_observed(config, durable)
    return lambda: path.exists() and not observed


def check_record(config: Config, durable: Durable | None) -> None:
    """RecordError for a daemon that is to act on a pair of which it has no record, or an old one.

    By either it would stop the server that serves now.
    """
    seen, record = load_observed(config.paths.state), durable.record if durable else None
    if seen is None or (record is not None and seen.primary in ("", record.primary)):
        return
    if record is None:
        raise RecordError(
            'pgvip has only observed this pair so far, and pair.mode is "normal" now',
            "It has no record of who may serve, and would stop the server of this host.",
            "Run pgvip init on the primary, and pgvip join with its bundle on the standby; then start pgvip.",
        )
    raise RecordError(
        f"{seen.primary} is primary now, and this host's record (term {record.term}) says {record.primary}",
        'Somebody moved the role while pair.mode was "observe"; pgvip would stop the server that serves now.',
        f'Either move it back with the tool that did it, start pgvip with mode = "observe" until pgvip status shows '
        f"{record.primary} as primary, and then again; or put {config.paths.state} aside on both hosts, and run "
        f"pgvip init on {seen.primary} and pgvip join on the other.",
    )


def begin_to_act(config: Config) -> None:
    """Forget that pgvip observed; where this host's server is no primary now, also what was known when pgvip acted.

    Nobody may have seen that another tool moved the role: a daemon that takes its old record for the pair's current
    one would start a second primary. As after a boot it asks the peer first. A server that serves is not stopped for
    that: `check_record` has found nobody else.
    """
    if load_observed(config.paths.state) is None:
        return
    data = config.postgres.data_directory
    if processes.postmaster(data) is None or pgtools.is_there(data / "standby.signal"):
        forget_boot_facts(config.paths.boot_facts)
    forget_observed(config.paths.state)
