"""Whoever has an account, on a host's system or in the database: none moves the pair, reads secrets or gains rights.

An application's database user owns the very database that pgvip's sessions use, which is the most that one may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import Host
from tests.lab.network import PRIMARY_VIP
from tests.lab.nodes import wait_until
from tests.lab.pair import PGVIP
from tests.lab.scene import Scene

LOCAL_USER = "nobody"
PLACES = ["/etc/pgvip", "/var/lib/pgvip", "/run/pgvip"]
SECRETS = "PRIVATE KEY|^[^:#]*:[^:]*:[^:]*:[^:]*:."
"""A key, or a line of a password file (PostgreSQL manual, "The Password File")."""


def as_local_user(host: Host, script: str) -> str:
    """What it prints for a user without any right, errors included."""
    words = ["setpriv", f"--reuid={LOCAL_USER}", "--regid=nogroup", "--clear-groups", "sh", "-c", script]
    said = host.run(words, check=False)
    return said.stdout + said.stderr


def test_a_local_user_writes_to_nothing_reads_no_secret_and_orders_nothing(scene: Scene) -> None:
    for host in (scene.primary, scene.standby):
        daemon = next(p.inside for p in host.processes() if p.pid == host.service_pid("pgvip"))
        places = " ".join(PLACES)
        assert host.run(["sh", "-c", f"grep -rlE '{SECRETS}' {places}"]).stdout, "there are some, for root"
        assert as_local_user(host, f"find {places} -writable ! -type l 2>/dev/null") == ""
        assert as_local_user(host, f"grep -rlE '{SECRETS}' {places} 2>/dev/null") == ""
        assert as_local_user(host, f"cat /proc/{daemon}/environ").count("Permission denied") == 1
        assert as_local_user(host, f"kill -STOP {daemon}").count("not permitted") == 1
        for order in ("switchover", "pause", "fence off --yes beta", "leave", "promote --force --yes lab"):
            said = as_local_user(host, f"{PGVIP} {order}; echo exit $?")
            assert "exit 0" not in said, said
            assert "permission denied" in said.lower() or "root" in said, said
    scene.finish(swapped=False)


def test_no_command_line_shows_a_secret(scene: Scene) -> None:
    """Everybody may read them in /proc."""
    hosts = (scene.primary, scene.standby)
    named = "\\( -name '*pgpass*' -o -name '*.key' \\)"
    reading = ["sh", "-c", f"find {' '.join(PLACES)} {named} -exec cat {{}} +"]
    lines = [line for host in hosts for line in host.run(reading).stdout.splitlines() if "PRIVATE KEY" not in line]
    secrets = {line.rpartition(":")[2] for line in lines} - {""}
    assert secrets
    for host in hosts:
        shown = as_local_user(host, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert "pgvip" in shown
        assert not [one for one in secrets if one in shown]


OWNER = "application"
LABS_OWN = ("postgres", CLIENT_USER)
SHADOWS = (
    "pg_is_in_recovery() returns boolean",
    "now() returns timestamptz",
    "pg_conf_load_time() returns timestamptz",
    "pg_current_wal_lsn() returns pg_lsn",
    "pg_last_wal_receive_lsn() returns pg_lsn",
)
REFUSED = (
    "select setval('pgvip.heartbeat', 1)",
    "alter sequence pgvip.heartbeat restart",
    "drop schema pgvip cascade",
    "create trigger t before delete on pgvip.drill execute function public.trap()",
    "set role pgvip",
    "set role pgvip_owner",
    "alter role pgvip password 'known'",
    "select pg_promote()",
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots",
    "select pg_read_file('postgresql.auto.conf')",
    "alter system set synchronous_standby_names = ''",
    "select pg_reload_conf()",
    "select pgvip.checkpoint()",
    "copy (select 1) to program 'true'",
)
ENDINGS = (
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pgvip'",
    "select pg_cancel_backend(pid) from pg_stat_activity where usename = 'pgvip'",
    "select pg_terminate_backend(pid) from pg_stat_replication",
)


@pytest.fixture
def owner(scene: Scene) -> Iterator[Host]:
    """A role without any attribute owns the database. The lab's own roles are out of reach of what it sets there."""
    host = scene.primary
    host.sql(f"create role {OWNER} login")
    for role in LABS_OWN:
        host.sql(f"alter role {role} set search_path = pg_catalog, public")
    host.sql(f"alter database postgres owner to {OWNER}")
    yield host
    host = scene.pair.host_as("primary")
    host.sql("alter database postgres reset all")
    for role in LABS_OWN:
        host.sql(f"alter role {role} reset search_path")
    host.sql("alter database postgres owner to postgres")
    host.sql(f"drop owned by {OWNER}; drop role {OWNER}")


def as_owner(scene: Scene, statement: str) -> str:
    """Errors included; over the network, as an application does."""
    words = ["psql", "-XAtq", "-h", PRIMARY_VIP, "-U", OWNER, "-d", "postgres", "-c", statement]
    said = scene.lab.client.run(words, check=False)
    return f"{said.stdout}{said.stderr}".strip()


def refused(scene: Scene, statement: str) -> bool:
    """False while there is no session of pgvip: some last for one question only."""
    said = as_owner(scene, statement)
    assert said in ("", "f") or "ERROR" in said or "is not a PostgreSQL" in said, (statement, said)
    return "ERROR" in said


def test_the_owner_of_the_database_gains_nothing_by_pgvips_sessions(scene: Scene, owner: Host) -> None:
    grab = f"begin alter role {OWNER} superuser; exception when others then null; end"
    as_owner(scene, "create schema first; grant usage on schema first to public")
    as_owner(scene, "create function public.trap() returns trigger language plpgsql as 'begin return null; end'")
    for number, signature in enumerate(SHADOWS):
        body = f"begin {grab}; perform 1/0; return null; end"
        said = as_owner(scene, f"create function first.{signature} language plpgsql as '{body}'")
        assert said == "", (number, said)
    assert as_owner(scene, "alter database postgres set search_path = first, public, pg_catalog") == ""
    for statement in REFUSED:
        assert "ERROR" in as_owner(scene, statement), statement
    for statement in ENDINGS:
        wait_until(partial(refused, scene, statement), 10, f"an error of {statement}")
    scene.primary.stop_service("pgvip")
    scene.primary.start_service(next(one for one in scene.primary.services if one.name == "pgvip"))
    asked = ("status", "--json")
    wait_until(lambda: scene.pair.pgvip(scene.primary, *asked, check=False).returncode == 0, 20, "the daemon answers")
    scene.pair.wait_healthy(30, 1)
    ordered = scene.pair.pgvip(scene.primary, "switchover", check=False)
    assert ordered.returncode == 0, (ordered.stdout, ordered.stderr, scene.pair.describe())
    attributes = f"select rolsuper from pg_roles where rolname = '{OWNER}'"
    assert scene.pair.host_as("primary").sql(attributes) == "f"
    scene.finish(swapped=True)
