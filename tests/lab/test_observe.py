"""`pair.mode = "observe"` on a pair that an operator runs by hand: it is reported what pgvip would do, nothing is done.

The commands and the lines of configuration are those of docs/procedures/observe.md.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.nodes import LabError, wait_until
from tests.lab.pair import BUNDLE, CONFIG, PGVIP, Options, Pair, config_text
from tests.lab.postgres import PlainCluster
from tests.lab.test_setup import in_service
from tests.unit.test_monitoring_templates import ITEMS, SERVICE, found, path_of

pytestmark = pytest.mark.timeout(240)
PAGE = Path(__file__).parent.parent.parent / "docs/procedures/observe.md"
FILES = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", "standby.signal", "recovery.signal")


def block(kind: str, number: int = 0) -> str:
    """A fenced block of the page."""
    found: list[str] = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return found[number]


def observing(lab: Lab) -> tuple[Pair, PlainCluster, PlainCluster]:
    """A pair run by hand, and pgvip set up beside it as the page says."""
    mode = re.search(r'^mode = "(\w+)"', block("toml"), re.MULTILINE)
    assert mode
    pair = Pair(lab, Options(overrides={"pair": {"mode": mode[1]}}))
    for host in pair.hosts.values():
        host.boot(start_daemon=False)
    alpha, beta = in_service(pair)
    pair.alpha.sql("alter system reset synchronous_standby_names")
    for statement in block("sql").splitlines():
        pair.alpha.sql(statement)
    for host in pair.hosts.values():
        data = host.directory / "postgresql/data"
        (data / "pg_hba.conf").write_text(block("pg_hba") + (data / "pg_hba.conf").read_text())
        (data / "pg_ident.conf").write_text(block("pg_ident"))
        host.sql("select pg_reload_conf()")
        wait_until(partial(reloaded, host), 10, f"{host.name} has read its files")
    return pair, alpha, beta


def reloaded(host: Host) -> bool:
    """The server lets pgvip in, by the new lines: it has read them, and said so in its log."""
    query = "select count(*) from pg_ident_file_mappings"
    return host.sql(query) == "2" and server_log(host).rstrip().endswith("reloading configuration files")


def set_up(pair: Pair) -> None:
    """`init`, `join` and both daemons."""
    (pair.alpha.directory / CONFIG).write_text(config_text(pair.options))
    page = [block("sh", number).split() for number in (0, 1)]
    assert page == [["pgvip", "init", "--bundle", "/root/pair.bundle"], ["pgvip", "join", "/root/pair.bundle"]]
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE)
    shutil.copy2(pair.alpha.directory / "etc/beta.bundle", pair.beta.directory / "etc/beta.bundle")
    pair.pgvip(pair.beta, "join", BUNDLE)
    for host in pair.hosts.values():
        pair.start_services(host)


def test_init_makes_no_new_keys_for_a_pair_that_pgvip_has_run(lab: Lab) -> None:
    pair = Pair(lab, Options())
    pair.alpha.boot(start_daemon=False)
    (pair.alpha.directory / CONFIG).write_text(config_text(pair.options))
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE)
    key = (pair.alpha.directory / "state/tls/peer.crt").read_bytes()
    (pair.alpha.directory / CONFIG).write_text(config_text(Options(overrides={"pair": {"mode": "observe"}})))
    refused = pair.pgvip(pair.alpha, "init", "--bundle", f"{BUNDLE}.new", check=False)
    assert refused.returncode != 0
    assert "belongs to a pair already" in refused.stderr
    assert (pair.alpha.directory / "state/tls/peer.crt").read_bytes() == key


def touched(host: Host) -> dict[str, Any]:
    """What pgvip could change of a host, as it is now: files with their times, addresses, mounts, the server."""
    data = host.directory / "postgresql/data"
    files = {name: (data / name).stat().st_mtime_ns for name in FILES if (data / name).exists()}
    mounts = host.run(["cat", "/proc/mounts"]).stdout
    return {
        "files": files, "directory": sorted(path.name for path in data.iterdir() if path.name != "postmaster.pid"),
        "mode": data.stat().st_mode, "addresses": host.addresses(), "mounts": mounts, "postmaster": host.postmaster(),
    }  # fmt: skip


def inside(host: Host) -> dict[str, str]:
    """What pgvip could change inside of the server."""
    queries = {
        "slots": "select string_agg(slot_name, ',' order by slot_name) from pg_replication_slots",
        "roles": "select string_agg(rolname, ',' order by rolname) from pg_roles",
        "schemas": "select string_agg(nspname, ',' order by nspname) from pg_namespace where nspname !~ '^pg_'",
        "settings": "select md5(string_agg(name || setting, ',' order by name)) from pg_settings "
                    "where source not in ('session', 'client') and name !~ 'in_hot_standby|transaction'",
        "recovery": "select pg_is_in_recovery()",
    }  # fmt: skip
    return {name: host.sql(query) for name, query in queries.items()}


def server_log(host: Host) -> str:
    return (host.directory / "postgresql/data/log").read_text(errors="replace")


def status(pair: Pair, host: Host) -> dict[str, Any]:
    """What the daemon says; nothing while it starts."""
    done = pair.pgvip(host, "status", "--json", check=False, timeout_s=20)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def wishes(pair: Pair, host: Host) -> set[str]:
    return {one["text"] for one in status(pair, host)["observed"]["would"]}


def monitored(host: Host) -> None:
    """What monitoring systems get of a real pair."""
    answer = json.loads(host.run(["curl", "-s", "http://127.0.0.1:8433/status"]).stdout)
    for item in ITEMS.values():
        if "master_item" in item:
            found(path_of(item), answer)
    metrics = host.run(["curl", "-s", "http://127.0.0.1:8433/metrics"]).stdout
    assert "pgvip_observe{" in metrics
    assert re.search(r'pgvip_would_total\{.*action="Promote".*\} [1-9]', metrics)
    script = PAGE.parent.parent.parent / "conf/checkmk-pgvip"
    lines = host.run([sys.executable, script], env={"PGVIP_COMMAND": str(PGVIP)}, timeout_s=60).stdout.splitlines()
    assert len(lines) > 20
    assert [line for line in lines if not SERVICE.fullmatch(line)] == []


def refuses_to_act(pair: Pair, host: Host) -> None:
    host.stop_service("pgvip")
    refused = pair.pgvip(host, "run", check=False)
    assert refused.returncode != 0
    assert "pgvip has only observed this pair so far" in refused.stderr


def test_a_failover_by_hand_is_reported_and_nothing_is_touched(lab: Lab) -> None:
    pair, _alpha, beta_server = observing(lab)
    alpha, beta = pair.alpha, pair.beta
    outside = {host.name: touched(host) for host in (alpha, beta)}
    within = {host.name: inside(host) for host in (alpha, beta)}
    logs = {host.name: len(server_log(host)) for host in (alpha, beta)}
    set_up(pair)

    def paired() -> bool:
        found = status(pair, beta)
        return bool(found) and found["role"] == "standby" and found["me"]["eligible"] is True

    try:
        wait_until(paired, 60, "beta may take over, as far as is observed")
    except LabError as error:
        raise LabError(f"{error}\n{pair.describe(60)}") from error
    assert pair.status(alpha)["mode"] == "observe"
    shown = pair.pgvip(alpha, "status").stdout
    assert shown.startswith("OBSERVE: ")
    assert "would raise the primary VIP" in shown
    refused = pair.pgvip(beta, "switchover", check=False)
    assert refused.returncode != 0
    assert "only observes" in refused.stderr
    assert {host.name: touched(host) for host in (alpha, beta)} == outside
    assert {host.name: inside(host) for host in (alpha, beta)} == within
    for host in (alpha, beta):
        said = server_log(host)[logs[host.name] :]
        assert not re.search(r"SIGHUP|shut|statement|ERROR|FATAL", said), (host.name, server_log(host)[-3000:])

    # The primary's server is killed: pgvip would hand the role over.
    alpha.signal_postgres(9)
    wait_until(lambda: "promote PostgreSQL" in wishes(pair, beta), 60, "beta would promote")
    wait_until(lambda: not alpha.postmaster(), 10, "alpha's server is gone")
    assert inside(beta) == within["beta"]
    assert touched(beta) == outside["beta"]
    assert touched(alpha) == {**outside["alpha"], "postmaster": 0}

    # The operator promotes: the record in memory follows.
    beta_server.promote()
    wait_until(lambda: pair.status(beta)["me"]["postgresql"]["state"] == "read-write", 30, "beta is seen read-write")
    wait_until(lambda: pair.status(alpha)["record"]["primary"] == "beta", 30, "alpha has heard of it")
    assert not alpha.postmaster()
    assert touched(beta)["addresses"] == outside["beta"]["addresses"]
    assert beta.sql("select count(*) from pg_replication_slots") == "0"
    events = pair.pgvip(beta, "events").stdout
    assert "would promote PostgreSQL" in events
    assert "observe only: " in events
    assert not (beta.directory / "state/record.json").exists()

    monitored(beta)

    # A daemon that is to act has no record: it does not start, instead of stopping the server that serves.
    pair.write_config(Options())
    for host in (alpha, beta):
        refuses_to_act(pair, host)
    assert beta.writable()
