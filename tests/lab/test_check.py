"""`pgvip check` on a real pair: each thing is broken for real, seen, repaired, and seen to be well again."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.lab import Lab
from tests.lab.network import ADDRESSES, PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import wait_until
from tests.lab.pair import CONFIG, Options, Pair, config_text
from tests.lab.postgres import bin_directory

NO_MATTER = ("--disk-warning", "0", "--disk-critical", "0", "--clock-warning", "5")
"""What this machine itself may lack."""
ARCHIVE = "/var/lib/pgvip/archive"
Levels = dict[str, str]


def checked(pair: Pair, host: Host, *words: str) -> dict[str, dict[str, Any]]:
    """Every finding by its name; the exit code is the worst level."""
    done = pair.pgvip(host, "check", "--json", *NO_MATTER, *words, check=False)
    document = json.loads(done.stdout)
    assert done.returncode == ["OK", "WARNING", "CRITICAL", "UNKNOWN"].index(document["level"]), done
    return {one["name"]: one for one in document["checks"]}


def levels(found: dict[str, dict[str, Any]]) -> Levels:
    return {name: one["level"] for name, one in found.items() if one["level"] != "OK"}


def differing(found: dict[str, dict[str, Any]], wanted: Levels) -> dict[str, Any]:
    """What is not as wanted; each problem also has its hint."""
    wrong: dict[str, Any] = {name: found[name] for name, level in wanted.items() if found[name]["level"] != level}
    wrong |= {name: one for name, one in found.items() if one["level"] in ("WARNING", "CRITICAL") and not one["hint"]}
    return wrong

TRUSTED = ("state/tls/postgresql/authorities.crt", "state/work/tls/authorities.crt")


def all_ok(pair: Pair) -> bool:
    return not any(levels(checked(pair, host)) for host in pair.hosts.values())


def break_host(pair: Pair, primary: Host, standby: Host) -> None:
    """What does not need the database."""
    primary.run(["chmod", "0644", "/var/lib/pgvip/tls/own.key"])
    primary.run(["chmod", "0755", DATA_DIRECTORY])
    primary.run(["chown", "root:root", ARCHIVE])
    primary.run(["chmod", "0700", ARCHIVE])
    cluster = primary.directory / "etc-postgresql/15/main"
    cluster.mkdir(parents=True)
    (cluster / "postgresql.conf").write_text(f"data_directory = '{DATA_DIRECTORY}'\n")
    (cluster / "start.conf").write_text("auto\n")
    for name in TRUSTED:  # whom root and PostgreSQL's user believe: this host alone, and no longer its peer
        (primary.directory / name).write_text((primary.directory / "state/tls/postgresql/authority.crt").read_text())
    pair.lab.fence.failures[standby.name].lies = True
    pair.lab.switch.disconnect("gateway")
    pair.lab.stranger.run(["ip", "address", "add", f"{STANDBY_VIP}/32", "dev", "eth0"])
    standby.run(["ip", "address", "del", f"{STANDBY_VIP}/32", "dev", "eth0"])


def break_database(primary: Host) -> None:
    primary.sql("alter system set full_page_writes = off")
    primary.sql("select pg_reload_conf()")
    primary.sql("select pg_create_physical_replication_slot('forgotten', true)")
    primary.sql("create table noise as select 1")
    primary.sql("select pg_switch_wal()")
    failing = "select last_failed_time > coalesce(last_archived_time, '-infinity') from pg_stat_archiver"
    wait_until(lambda: primary.sql(failing) == "t", 30, "archiving fails")


def hint(pair: Pair, primary: Host, standby: Host, text: str) -> None:
    pair.lab.stranger.run(["ip", "address", "del", f"{STANDBY_VIP}/32", "dev", "eth0"])
    pair.lab.switch.connect("gateway")
    pair.lab.fence.soothe()
    for name in TRUSTED:
        (primary.directory / name).write_text(text)
    for name in ("start.conf", "postgresql.conf"):
        (primary.directory / "etc-postgresql/15/main" / name).unlink()
    (primary.directory / "etc-postgresql/15/main").rmdir()
    primary.run(["chmod", "0600", "/var/lib/pgvip/tls/own.key"])
    primary.run(["chmod", "0700", DATA_DIRECTORY])
    primary.run(["chown", "postgres:postgres", ARCHIVE])
    primary.run(["chmod", "0750", ARCHIVE])
    primary.sql("alter system reset full_page_writes")
    primary.sql("select pg_reload_conf()")
    primary.sql("select pg_drop_replication_slot('forgotten')")
    primary.sql("drop table noise")
    pair.pgvip(standby, "resume")


def test_what_is_broken_is_found(pair: Pair) -> None:
    primary, standby = pair.host_as("primary"), pair.host_as("standby")
    for host in (primary, standby):
        found = checked(pair, host)
        assert not levels(found), [one for one in found.values() if one["level"] != "OK"]
    slots = "select count(*) from pg_replication_slots"
    wait_until(lambda: primary.sql(slots) == "1", 30, "the slot of the standby's base backup is gone", every_s=0.5)
    strict = checked(
        pair, primary, "--lag-warning", "0", "--disk-warning", "100", "--clock-critical", "0.000001",
        "--connections-warning", "0",
    )  # fmt: skip
    assert levels(strict) == {"lag": "WARNING", "disk": "WARNING", "clock": "CRITICAL", "database": "WARNING"}
    trusted = (primary.directory / TRUSTED[0]).read_text()
    pair.pgvip(primary, "pause", "check")
    wait_until(lambda: "paused" in pair.pgvip(standby, "status").stdout, 10, "both are paused")
    break_host(pair, primary, standby)
    break_database(primary)
    # What is explained may be some seconds old.
    wait_until(lambda: levels(checked(pair, primary, "--only", "takeover")), 30, "the pause is explained", every_s=0.5)
    here = checked(pair, primary, "--ready-critical", "1")
    assert not differing(here, {
        "files": "CRITICAL", "data-directory": "CRITICAL", "archive-own": "CRITICAL", "autostart": "WARNING",
        "monitoring-connection": "CRITICAL", "replication-connection": "CRITICAL", "fencing": "CRITICAL",
        "gateway": "CRITICAL", "arp": "CRITICAL", "vips": "WARNING", "settings": "CRITICAL", "slots": "WARNING",
        "archiver": "CRITICAL", "archive-ready": "CRITICAL", "pause": "WARNING", "takeover": "WARNING",
        "daemon": "OK", "attached": "OK", "rewind": "OK",
    }), here  # fmt: skip
    there = checked(pair, standby)
    assert not differing(there, {"archive-peer": "CRITICAL", "pause": "WARNING", "files": "OK", "fencing": "OK"}), there
    nagios = pair.pgvip(primary, "check", "--nagios", "--only", "files", "slots", check=False)
    assert nagios.returncode == 2
    assert nagios.stdout.startswith("PGVIP CRITICAL - files: ")
    assert "| 'slots'=2;; 'retained'=" in nagios.stdout.splitlines()[0]
    hint(pair, primary, standby, trusted)
    pair.wait_healthy()
    wait_until(lambda: all_ok(pair), 60, "every check is well again", every_s=1.0)


def test_a_daemon_and_a_database_that_are_down_are_found(pair: Pair) -> None:
    primary, standby = pair.host_as("primary"), pair.host_as("standby")
    pair.pgvip(primary, "pause", "check")
    wait_until(lambda: "paused" in pair.pgvip(standby, "status").stdout, 10, "both are paused")
    standby.stop_service("pgvip")
    stop = [bin_directory(pair.options.version) / "pg_ctl", "-D", DATA_DIRECTORY, "-m", "fast", "stop"]
    standby.run(stop, user="postgres", timeout_s=60)
    there = checked(pair, standby)
    assert not differing(there, {
        "daemon": "CRITICAL", "database": "CRITICAL", "role": "UNKNOWN", "takeover": "UNKNOWN", "vips": "UNKNOWN",
        "attached": "UNKNOWN", "lag": "UNKNOWN", "pause": "WARNING", "hold": "OK", "rewind": "OK", "files": "OK",
        "replication-connection": "OK", "settings": "OK", "archive-ready": "OK",
    }), there  # fmt: skip
    wait_until(lambda: levels(checked(pair, primary, "--only", "peer")), 20, "the peer is missed")
    here = checked(pair, primary)
    assert not differing(here, {
        "peer": "CRITICAL", "attached": "CRITICAL", "slots": "WARNING", "sync": "UNKNOWN", "takeover": "WARNING",
        "monitoring-connection": "CRITICAL", "replication-connection": "CRITICAL", "clock": "UNKNOWN",
    }), here  # fmt: skip
    pair.start_services(standby)
    pair.pgvip(primary, "resume")
    pair.wait_healthy()
    wait_until(lambda: not levels(checked(pair, standby)), 60, "every check is well again", every_s=1.0)


def test_different_files_and_a_lone_primary_are_found(pair: Pair) -> None:
    primary, standby = pair.host_as("primary"), pair.host_as("standby")
    file = standby.directory / CONFIG
    text = file.read_text()
    file.write_text(text.replace("[timing]", "[timing]\nholdoff_s = 61"))
    os.kill(standby.service_pid("pgvip"), signal.SIGHUP)
    try:
        wait_until(lambda: levels(checked(pair, primary, "--only", "configuration")), 20, "they differ")
    finally:
        file.write_text(text)
        os.kill(standby.service_pid("pgvip"), signal.SIGHUP)
    pair.lab.fence.failures[standby.name].stay_off = True
    standby.power_off()
    pair.wait_roles(30, **{primary.name: "primary_standby"})
    wait_until(lambda: levels(checked(pair, primary, "--only", "attached")), 20, "its sender gives the standby up")
    here = checked(pair, primary)
    assert not differing(here, {
        "role": "WARNING", "attached": "WARNING", "sync": "WARNING", "takeover": "WARNING", "vips": "OK", "arp": "OK",
        "database": "OK", "lag": "OK",
    }), here  # fmt: skip
    pair.lab.fence.soothe()
    standby.boot()
    pair.wait_healthy()
    wait_until(lambda: not levels(checked(pair, primary)), 60, "every check is well again", every_s=1.0)


def test_before_init_nothing_is_green_that_is_not_known(lab: Lab) -> None:
    pair = Pair(lab, Options())
    for host in pair.hosts.values():
        host.boot(start_daemon=False)
    (pair.alpha.directory / CONFIG).write_text(config_text(pair.options))
    found = checked(pair, pair.alpha)
    assert {name for name, one in found.items() if one["level"] == "OK"} == {
        "timing", "gateway", "arp", "fencing", "autostart", "disk", "configuration", "witness",
    }  # fmt: skip
    assert "CRITICAL" not in levels(found).values(), found
    assert all(one["text"] for one in found.values())
    pair.beta.run(["ip", "address", "add", f"{PRIMARY_VIP}/32", "dev", "eth0"])
    lab.switch.disconnect("gateway")
    broken = checked(pair, pair.alpha, "--only", "gateway", "arp")
    assert broken["gateway"]["level"] == "CRITICAL"
    assert ADDRESSES["gateway"] in broken["gateway"]["text"]
