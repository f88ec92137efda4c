"""A pair that has grown: what a machine carries after years, for `scripts/bench --grown`.

On both hosts 2,000 processes of others and WAL of a bulk load since the last checkpoint; 50 databases with 100 tables
each; and, through the primary VIP, idle sessions, each made again when it ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import REPOSITORY
from tests.lab.network import PRIMARY_VIP
from tests.lab.nodes import end_process, wait_until
from tests.lab.pair import Pair

PROCESSES = 2000
DATABASES, TABLES = 50, 100
WAL_MB = 3000
SESSIONS = 500
SPARE_SESSIONS = 50
STEADY_S = 5.0
SLEEPERS = f"for i in $(seq {PROCESSES}); do sleep 7200 & done; wait"
MAKE_TABLES = f"""do $$ begin for i in 1..{TABLES} loop
    execute format('create table t%s (id int primary key, words text)', i); end loop; end $$"""
LOAD = "select count(pg_logical_emit_message(false, 'load', repeat('x', 1000000))) from generate_series(1, {count})"
LATE_CHECKPOINTS = ("checkpoint_timeout = '1h'", "max_wal_size = '20GB'")
DEADLINE_S = 300.0


@contextmanager
def grown(pair: Pair, say: Callable[[str], None]) -> Iterator[None]:
    """Everything but the sessions; the processes are ended at the end."""
    primary = pair.host_as("primary")
    for host in pair.hosts.values():
        for setting in LATE_CHECKPOINTS:
            host.sql(f"alter system set {setting}")
        host.sql("select pg_reload_conf()")
    others = [host.popen(["sh", "-c", SLEEPERS]) for host in pair.hosts.values()]
    try:
        say(f"{DATABASES} databases are made")
        for number in range(DATABASES):
            primary.sql(f"create database grown_{number}", timeout_s=DEADLINE_S)
            primary.sql(MAKE_TABLES, database=f"grown_{number}", timeout_s=DEADLINE_S)
        primary.sql("checkpoint", timeout_s=DEADLINE_S)
        say(f"{WAL_MB} MB of WAL are written")
        for _ in range(10):
            primary.sql(LOAD.format(count=WAL_MB // 10), timeout_s=DEADLINE_S)
        pair.wait_healthy(DEADLINE_S, steady_s=STEADY_S)
        yield
    finally:
        for process in others:
            end_process(process)


@contextmanager
def crowd(pair: Pair, count: int) -> Iterator[None]:
    """So many idle sessions through the primary VIP."""
    for host in pair.hosts.values():
        host.sql(f"alter system set max_connections = {count + SPARE_SESSIONS}")
        host.sql("select pg_reload_conf()")
    pair.pgvip(pair.host_as("primary"), "restart", "--rolling", "--pending", timeout_s=DEADLINE_S)
    pair.wait_healthy(DEADLINE_S, steady_s=STEADY_S)
    said = pair.lab.directory / "crowd"
    words = [count, PRIMARY_VIP, 5432, CLIENT_USER, "postgres", said]
    process: subprocess.Popen[str] = pair.lab.client.popen(
        [sys.executable, REPOSITORY / "tests/lab/client_crowd.py", *words]
    )
    try:
        wait_until(lambda: said.exists() and said.read_text() == str(count), 60, "the sessions are there")
        yield
    finally:
        end_process(process)
