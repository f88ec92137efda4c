"""Two real clusters of one pair on this machine: how they are, and how they become whole again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.actions import postgres, replication
from pgvip.core.observations import Database
from pgvip.deadlines import wait_until
from pgvip.errors import PgvipError, ProbeError
from pgvip.probes.database import DatabaseProbe
from pgvip.rejoin import follow
from pgvip.system import pgtools
from tests.lab.clusters import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.config.model import Config


def restored(pair: Pair) -> Pair:
    if not role_is(pair.a, in_recovery=False):
        postgres.stop(pair.a, clean=False)
        if role_is(pair.b, in_recovery=False):
            follow.rejoin(pair.a, progress=print)
            postgres.start(pair.a, standby=True, sync=False)
            wait_until(lambda: caught_up(pair.b, pair.a), 20, what="catching up")
            postgres.stop(pair.b, clean=True)
            postgres.promote(pair.a)
        else:
            postgres.start(pair.a, standby=False, sync=False)
    replication.set_sync_names(pair.a, on=False)
    if not role_is(pair.b, in_recovery=True):
        postgres.stop(pair.b, clean=False)
        follow.rejoin(pair.b, progress=print)
    postgres.start(pair.b, standby=True, sync=False)
    replication.ensure_slot(pair.a)
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    replication.advance_slot(pair.b)  # as the daemon does
    return pair


def role_is(config: Config, *, in_recovery: bool) -> bool:
    try:
        return look(config).in_recovery is in_recovery
    except ProbeError:
        return False


def look(config: Config) -> Database:
    probe = DatabaseProbe(config)
    try:
        return probe.probe(2.0)
    finally:
        probe.close()


def caught_up(primary: Config, standby: Config) -> bool:
    try:
        own, other = look(primary), look(standby)
    except ProbeError:
        return False
    return own.replica is not None and other.streaming and other.replay_lsn >= own.point.lsn


def count(config: Config) -> int:
    return int(pgtools.psql(config, "SELECT count(*) FROM public.numbers"))


def insert(config: Config, number: int = 1) -> None:
    pgtools.psql(config, f"INSERT INTO public.numbers VALUES ({number})")


def stopped(pid: int) -> Callable[[], None]:
    """SIGSTOP; returns what lets it go on (a child of the archiver may have ended by then)."""

    def go_on() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    return go_on


def swallow(call: Callable[[], object]) -> None:
    with suppress(PgvipError):
        call()


def diverge(pair: Pair) -> None:
    """Let `a` commit a row that `b` never gets, lose its server, and `b` be promoted."""
    postgres.stop(pair.b, clean=True)
    insert(pair.a)
    postgres.stop(pair.a, clean=False)
    postgres.start(pair.b, standby=True, sync=False)
    postgres.promote(pair.b)
