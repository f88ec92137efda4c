"""What goes between the hosts' PostgreSQL servers is encrypted, and both ends prove who they are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgvip.errors import Exit
from pgvip.link.certificates import make_postgres_certificates
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.network import ADDRESSES, NETWORK
from tests.lab.nodes import wait_until
from tests.lab.pair import BUNDLE, CONFIG, Options, Pair, config_text
from tests.lab.postgres import PlainCluster
from tests.lab.scene import Scene
from tests.lab.test_versions import diverge

SESSIONS = """
select distinct usename || ' ' || ssl || ' ' || coalesce(client_dn, '')
  from pg_stat_activity join pg_stat_ssl using (pid)
 where usename like 'pgvip%' and client_addr is not null order by 1
"""
OWN = "/etc/pgvip/authority.pem"
STRANGER = Path(__file__).with_name("stranger.py")


def sessions(host: Host) -> list[str]:
    """Role, TLS and client certificate of pgvip's sessions that came over the network."""
    return host.sql(SESSIONS).splitlines()


def check_wire(primary: Host, standby: Host) -> None:
    """Whatever is connected has proved itself, by the other host's certificate (or by its own: the virtual address)."""
    ours = f"pgvip_replication true /CN=pgvip_replication@{standby.name}"
    wait_until(lambda: ours in sessions(primary), 20, f"{ours}, not {sessions(primary)}")
    for host in (primary, standby):
        for said in sessions(host):
            role, encrypted, name = said.split()
            assert encrypted == "true"
            assert name in {f"/CN={role}@{one.name}" for one in (primary, standby)}


def test_every_session_of_pgvip_s_proves_itself_whoever_is_primary(scene: Scene) -> None:
    pair, primary, standby = scene.pair, scene.primary, scene.standby
    check_wire(primary, standby)
    assert primary.sql("select count(*) from pg_authid where rolname like 'pgvip%' and rolpassword is not null") == "0"
    said = pair.pgvip(primary, "check", "--only", "monitoring-connection", "replication-connection", "files")
    assert said.returncode == 0
    pair.pgvip(primary, "switchover")
    scene.wait_roles(primary="standby", standby="primary", deadline_s=60)
    check_wire(standby, primary)
    pair.pgvip(standby, "switchover")
    scene.wait_roles(primary="primary", standby="standby", deadline_s=60)
    scene.finish(swapped=False)


def test_a_host_is_rewound_and_cloned_over_the_verified_connection(scene: Scene) -> None:
    pair, first, second = scene.pair, scene.primary, scene.standby
    diverge(scene, first, second)
    scene.strike()
    first.power_off()
    scene.switch.heal()
    scene.wait_writes()
    first.boot()
    pair.wait_healthy()
    assert "rejoined: rewound" in first.log()
    check_wire(second, first)
    pair.pgvip(first, "rejoin", "--clone")
    wait_until(lambda: "rejoined: cloned" in first.log(), 60, "a new copy")
    scene.finish(swapped=True)
    check_wire(second, first)


def test_a_stranger_at_the_standby_s_address_gets_nothing(scene: Scene) -> None:
    """It asks for the password in clear, as whoever spoofs ARP can."""
    dead, survivor = scene.standby, scene.primary
    scene.fence.failures[dead.name].stay_off = True
    program = scene.lab.stranger.popen([sys.executable, STRANGER, 5432, "asks"], stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    try:
        dead.power_off()
        scene.lab.stranger.run(["ip", "addr", "add", f"{dead.address}/32", "dev", "eth0"])
        survivor.run(["ip", "neigh", "flush", "dev", "eth0"])
        wait_until(lambda: scene.says(survivor, "is not verified: server does not support SSL"), 30, "people are told")
        scene.wait_writes()
    finally:
        scene.lab.stranger.run(["ip", "addr", "del", f"{dead.address}/32", "dev", "eth0"])
        program.kill()
    assert program.communicate(timeout=10)[0] == ""
    survivor.run(["ip", "neigh", "flush", "dev", "eth0"])
    scene.fence.soothe()
    dead.boot()
    scene.finish(swapped=False)


def test_new_keys_by_a_bundle_leave_the_pair_at_work(scene: Scene) -> None:
    """`bundle` on the primary, `join` on the standby: what is connected stays, what comes after has new keys."""
    pair, primary, standby = scene.pair, scene.primary, scene.standby
    key = standby.directory / "state/work/tls/pgvip_replication.key"
    old = key.read_text()
    receiver = primary.sql("select pid from pg_stat_replication")
    pair.pgvip(primary, "bundle", "/etc/pgvip/new.bundle", "--yes", standby.name)
    assert primary.sql("select pid from pg_stat_replication") == receiver
    standby.stop_service("pgvip")
    shutil.copy2(primary.directory / "etc/new.bundle", standby.directory / "etc/new.bundle")
    pair.pgvip(standby, "join", "/etc/pgvip/new.bundle")
    standby.start_service(standby.services[0])
    assert key.read_text() != old
    primary.sql("select pg_terminate_backend(pid) from pg_stat_replication")
    pair.wait_healthy()
    scene.finish(swapped=False)
    check_wire(primary, standby)


RECEIVER = "select pid from pg_stat_replication"
SERIAL = "select client_serial from pg_stat_replication join pg_stat_ssl using (pid)"


def let_in(host: Host, directory: Path, at: Host) -> str:
    """What the server of `at` says to the replication role with the keys in a directory; "" when it lets it in."""
    words = (
        f"hostaddr={at.address} host={at.name} sslmode=verify-full sslrootcert={directory}/authorities.crt "
        f"sslcert={directory}/pgvip_replication.crt sslkey={directory}/pgvip_replication.key "
        "user=pgvip_replication dbname=postgres replication=true connect_timeout=5"
    )
    done = host.run(["psql", "-X", "-d", words, "-c", "IDENTIFY_SYSTEM"], user="postgres", check=False)
    return done.stderr if done.returncode else ""


def test_rotate_renews_all_keys_while_a_client_writes(scene: Scene) -> None:
    pair, primary, standby = scene.pair, scene.primary, scene.standby
    scene.strike()
    term = pair.status(primary)["record"]["term"]
    serial, receiver, old = primary.sql(SERIAL), primary.sql(RECEIVER), standby.directory / "state/work/old"
    shutil.copytree(standby.directory / "state/work/tls", old)
    for path in (old, *old.iterdir()):
        shutil.chown(path, "postgres")
    seen_from_there = Path("/var/lib/pgvip/work/old")
    assert let_in(standby, seen_from_there, primary) == ""
    refused = pair.pgvip(standby, "bundle", "/etc/pgvip/no.bundle", "--yes", primary.name, check=False)
    assert refused.returncode == Exit.REFUSED
    assert "To renew the keys of both hosts: pgvip rotate" in refused.stderr
    begun_s, logs = time.monotonic(), {host.name: host.log() for host in (primary, standby)}
    said = json.loads(pair.pgvip(standby, "rotate", "--json").stdout)
    assert said["ok"], said
    ended_s = time.monotonic()
    assert primary.sql(RECEIVER) == receiver
    assert "certificate" in let_in(standby, seen_from_there, primary)
    assert let_in(standby, Path("/var/lib/pgvip/work/tls"), primary) == ""
    scene.wait_writes()
    assert [event for event in scene.writer.events() if begun_s <= event.sent_s <= ended_s and not event.ok] == []
    assert scene.writer.outage_s(begun_s) < 3.0
    assert pair.status(primary)["record"]["term"] == term
    for host in (primary, standby):
        new = host.log()[len(logs[host.name]) :]
        assert "new keys" in new
        assert "peer-silent" not in new
    shutil.rmtree(old)
    check_wire(primary, standby)
    primary.sql(f"select pg_terminate_backend({receiver})")
    wait_until(lambda: primary.sql(SERIAL) not in ("", serial), 20, "the stream by the new keys")
    scene.finish(swapped=False)


def plain_with_tls(pair: Pair) -> None:
    """A database in service on alpha, with a certificate of the administrator's own that names both hosts."""
    cluster = PlainCluster(pair.alpha)
    cluster.create()
    names = [f"{host}.example.org" for host in ("alpha", "beta")]
    authority, server, _ = make_postgres_certificates("site", [ADDRESSES["alpha"]], names, ())
    data = pair.alpha.directory / "postgresql/data"
    for name, text in (("server.crt", server.certificate), ("server.key", server.key)):
        (data / name).write_text(text)
        (data / name).chmod(0o600)
        shutil.chown(data / name, "postgres")
    for host in pair.hosts.values():
        path = host.directory / "etc/authority.pem"
        path.write_text(authority)
        path.chmod(0o644)
    pair.alpha.sql("alter system set ssl = on")
    pair.alpha.sql("select pg_reload_conf()")
    wait_until(lambda: pair.alpha.sql("show ssl") == "on", 10, "ssl = on")


def test_an_administrator_s_certificate_stays(lab: Lab) -> None:
    pair = Pair(lab, Options())
    for host in pair.hosts.values():
        host.boot(start_daemon=False)
    write(pair, Options())
    plain_with_tls(pair)
    done = pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, check=False)
    assert "the server has a certificate of its own" in done.stderr
    assert 'tls = "own"' in done.stderr
    names = {f"hosts.{name}": {"certificate_name": f"{name}.example.org"} for name in ("alpha", "beta")}
    pair.options = Options(overrides={**names, "postgresql": {"tls": "own", "tls_authority": OWN}})
    write(pair, pair.options)
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, "--allow", f"{NETWORK}=trust", "--restart")
    assert pair.alpha.sql("show ssl_cert_file") == "server.crt"
    pair.start_services(pair.alpha)
    pair.wait_roles(60, alpha="primary_standby")
    shutil.copy2(pair.alpha.directory / "etc/beta.bundle", pair.beta.directory / "etc/beta.bundle")
    pair.pgvip(pair.beta, "clone", BUNDLE)
    pair.start_services(pair.beta)
    pair.wait_healthy()
    assert sessions(pair.alpha)
    for said in sessions(pair.alpha) + sessions(pair.beta):
        assert said.split()[1:] == ["true"]


def write(pair: Pair, options: Options) -> None:
    (pair.alpha.directory / CONFIG).write_text(config_text(options))


@pytest.mark.pair(preset="default", overrides={"postgresql": {"tls": "off"}})
def test_without_tls_there_are_passwords_and_a_warning(pair: Pair) -> None:
    pair.wait_healthy()
    assert not (pair.alpha.directory / "state/work/tls").exists()
    assert (pair.alpha.directory / "etc/pgpass").exists()
    wait_until(lambda: "tls-off" in str(pair.status(pair.alpha)["warnings"]), 30, "the warning")
    assert (pair.alpha.directory / "etc/pgpass.root").stat().st_mode & 0o077 == 0


def want_tls(host: Host, tls: str) -> None:
    """As an administrator: the file, and a reload."""
    (host.directory / CONFIG).write_text(config_text(Options(preset="default", overrides={"postgresql": {"tls": tls}})))
    os.kill(host.service_pid("pgvip"), signal.SIGHUP)


def kinds(host: Host) -> set[str]:
    """Kinds of connection by which pg_hba.conf lets the replication role in."""
    text = (host.directory / "postgresql/data/pg_hba.conf").read_text()
    return {line.split()[0] for line in text.splitlines() if "pgvip_replication " in line and "reject" not in line}


def changed_tls(scene: Scene, first: Host, second: Host, tls: str, kind: str) -> None:
    """One host after the other says so; both let in nothing else in the end, and the stream is new."""
    receiver, term = scene.primary.sql(RECEIVER), scene.pair.status(scene.primary)["record"]["term"]
    begun_s = scene.strike()
    want_tls(first, tls)
    if tls == "pair":
        wait_until(lambda: all(scene.says(host, "the file of ") for host in (first, second)), 20, "both warn")
    assert scene.primary.sql(RECEIVER) == receiver
    want_tls(second, tls)
    wait_until(lambda: kinds(first) == kinds(second) == {kind}, 30, f"{kind}, not {kinds(first)} and {kinds(second)}")
    wait_until(lambda: scene.primary.sql(RECEIVER) not in ("", receiver), 20, "the stream by the new way")
    scene.wait_writes()
    # Commits wait while the stream is made anew: on a machine with much else to do some may be late.
    failed = [event for event in scene.writer.events() if begun_s <= event.sent_s and not event.ok]
    assert [event for event in failed if not event.detail.startswith("Late")] == []
    assert scene.writer.outage_s(begun_s) < 3.0
    assert scene.pair.status(scene.primary)["record"]["term"] == term
    wait_until(lambda: not any(scene.says(host, "postgresql.tls is") for host in (first, second)), 20, "no warning")


@pytest.mark.pair(preset="default", overrides={"postgresql": {"tls": "off"}})
def test_tls_is_switched_on_and_off_again_while_a_client_writes(scene: Scene) -> None:
    primary, standby = scene.primary, scene.standby
    changed_tls(scene, standby, primary, "pair", "hostssl")
    check_wire(primary, standby)
    verifiers = "select count(*) from pg_authid where rolname like 'pgvip%' and rolpassword is not null"
    wait_until(lambda: primary.sql(verifiers) == "0", 20, "no passwords")
    changed_tls(scene, primary, standby, "off", "host")
    wait_until(lambda: "pgvip_replication false" in map(str.strip, sessions(primary)), 20, "a stream without TLS")
    assert primary.sql("show ssl") == "off"
    scene.finish(swapped=False)
