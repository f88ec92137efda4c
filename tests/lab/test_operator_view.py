"""The operator's view on a real pair: connection strings, a drill, the history, and the live view."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import Host
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import wait_until
from tests.lab.pair import Pair

QUERY = "select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on', host(inet_server_addr())"
PSYCOPG2 = f"""
import psycopg2, sys
with psycopg2.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute({QUERY!r})
    print(*('t' if one is True else 'f' if one is False else one for one in cursor.fetchone()), sep='|')
"""


def strings(pair: Pair, host: Host) -> dict[tuple[str, str], dict[str, str]]:
    """What `conninfo` prints on a host."""
    done = pair.pgvip(host, "conninfo", "--json", "--user", CLIENT_USER, "--dbname", "postgres")
    found = json.loads(done.stdout)["connections"]
    return {(one["to"], one["by"]): one["strings"] for one in found}


def check_strings(pair: Pair) -> None:
    """Each string, as psql and psycopg2 take it, leads a client to the host that has the role."""
    primary, standby = pair.host_as("primary"), pair.host_as("standby")
    found = strings(pair, pair.alpha)
    assert found == strings(pair, pair.beta)
    for (to, by), forms in found.items():
        meant = primary if to == "read-write" else standby
        vip = PRIMARY_VIP if to == "read-write" else STANDBY_VIP
        for form in ("libpq", "uri"):
            seen = pair.lab.client.run(["psql", "-XAtd", forms[form], "-c", QUERY]).stdout.strip()
            assert seen == f"{'f' if to == 'read-write' else 't'}|{meant.address if by == 'hosts' else vip}", (to, by)
        seen = pair.lab.client.run([sys.executable, "-c", PSYCOPG2, forms["libpq"]]).stdout.strip()
        assert seen.startswith("f|" if to == "read-write" else "t|"), (to, by)


def drill(pair: Pair, host: Host, *words: object, code: int = 0) -> dict[str, Any]:
    """Run a drill; its report."""
    done = pair.pgvip(host, "drill", "--json", *words, check=False, timeout_s=200)
    assert done.returncode == code, done.stdout + done.stderr + pair.describe()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(300)
def test_drill_and_the_strings_before_and_after_it(pair: Pair) -> None:
    first, second = pair.host_as("primary"), pair.host_as("standby")
    check_strings(pair)
    # From the standby, one way, with a limit that no switchover keeps: told, and nothing else is wrong with it.
    found = drill(pair, second, "--no-return", "--outage-max", "0.02", code=1)
    assert (found["ok"], found["lost"], found["failure"]) == (False, 0, "")
    (switched,) = found["switchovers"]
    assert (switched["old"], switched["new"]) == (first.name, second.name)
    assert switched["outage_s"] > switched["usual_s"]
    assert pair.host_as("primary") is second
    pair.wait_healthy()
    check_strings(pair)
    # There and back: the client's session is once to its own host and once over the network.
    found = drill(pair, second, "--outage-max", "30")
    assert (found["ok"], found["lost"], len(found["switchovers"])) == (True, 0, 2)
    assert found["rows"] > 100
    assert pair.host_as("primary") is second
    assert second.sql("select count(*) from pgvip.drill") == "0"
    assert {"schema": 1, **pair.status(second)["drill"]} == found
    assert pair.status(first)["drill"] is None
    assert "drill: begins: switchover from" in second.log()
    # Refused while the pair is paused, before anything is written.
    pair.pgvip(first, "pause", "drill test")
    try:
        assert "paused" in drill(pair, first, code=5)["detail"]
        assert second.sql("select count(*) from pgvip.drill") == "0"
    finally:
        pair.pgvip(first, "resume")
    pair.wait_healthy()


def test_history_and_the_live_view(pair: Pair) -> None:
    primary, standby = pair.host_as("primary"), pair.host_as("standby")

    def samples(host: Host) -> list[dict[str, Any]]:
        done = pair.pgvip(host, "history", "--json", "--since", "10min", check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)["samples"]
        return found

    def writing() -> bool:  # again and again: what was written before the first sample is in no rate
        primary.sql("insert into lab_bulk select generate_series(1, 20000)")
        return any((one["wal_bytes_per_s"] or 0) > 10_000 for one in samples(primary)[-4:])

    primary.sql("create table if not exists lab_bulk (n int)")
    wait_until(writing, 30, "the WAL rate", 1.0)
    wait_until(lambda: samples(standby)[-1:] and samples(standby)[-1]["role"] == "standby", 30, "a standby's sample")
    wait_until(lambda: samples(primary)[-1]["role"] == "primary", 30, "a sample of the primary of a whole pair")
    last = samples(primary)[-1]
    assert (last["role"], last["sync_state"]) == ("primary", "sync")
    assert last["heard_age_s"] < 3
    shown = pair.pgvip(primary, "watch", "--once").stdout
    assert f"{primary.name} is primary" in shown
    assert "WAL behind" in shown
    # Readable without the daemon; the file goes on where it was after the restart.
    primary.stop_service("pgvip")
    newest = samples(primary)[-1]["at"]
    assert "replay lag" in pair.pgvip(primary, "history", "--since", "10min").stdout
    pair.start_services(primary)
    wait_until(lambda: samples(primary)[-1]["at"] > newest, 30, "the next sample")
    pair.wait_healthy()
