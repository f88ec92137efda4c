"""`pgvip uninstall`, by its page: the database goes on without pgvip, also after the next boot."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.network import NETWORK, PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import wait_until
from tests.lab.pair import BUNDLE, Pair
from tests.lab.postgres import WITHOUT_TLS, bin_directory
from tests.lab.scene import Scene
from tests.lab.store import PairStore

PAGE = Path(__file__).parents[2] / "docs/procedures/uninstall.md"
DEBIAN = "etc-postgresql/15/main"
ROLE = "standby_of_mine"


def commands(section: str, number: int = 0) -> list[str]:
    """The lines of a code block of a section of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}")[1].split("\n## ")[0]
    block: str = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)[number]
    return block.splitlines()


def follow_page(pair: Pair, host: Host, lines: list[str]) -> str:
    """Run the page's lines on a host; systemd, which stops the daemon there, is not in the lab."""
    said = ""
    for line in lines:
        if line.startswith("pgvip uninstall --yes"):
            host.stop_service("pgvip")
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
        assert words[0] == "pgvip"
        names = {"db1": pair.alpha.name, "db2": pair.beta.name}
        words = [names.get(word, word.replace("192.0.2.11", pair.alpha.address)) for word in words[1:]]
        said = pair.pgvip(host, *words).stdout
    return said


def refusal(pair: Pair, host: Host) -> str:
    done = pair.pgvip(host, "uninstall", "--yes", host.name, check=False)
    assert done.returncode == 5, done.stdout
    return done.stderr


def settle(scene: Scene) -> tuple[Host, Host]:
    """alpha is primary, as on the page; both hosts have Debian's start.conf, and slots and roles of others."""
    pair = scene.pair
    if scene.primary is not pair.alpha:
        pair.pgvip(scene.primary, "switchover")
        pair.wait_roles(alpha="primary", beta="standby")
    for host in pair.hosts.values():
        directory = host.directory / DEBIAN
        directory.mkdir(parents=True)
        (directory / "postgresql.conf").write_text(f"data_directory = '{DATA_DIRECTORY}'\n")
        (directory / "start.conf").write_text("# set by pgvip, which decides when this cluster may start\nmanual\n")
        host.run(["chown", "-R", "postgres:", "/etc/postgresql"])
    pair.alpha.sql("select pg_create_physical_replication_slot('of_others', true)")
    pair.alpha.sql("create database of_others")
    query = "select slot_name from pg_replication_slots"
    wait_until(lambda: "of_others" in pair.beta.sql(query), 30, "copy of the slot")
    return pair.alpha, pair.beta


def let_in(primary: Host) -> None:
    """The role and the slot of the page, and a line for the role."""
    for line in commands("First the standby", 1):
        primary.sql(line)
    path = primary.directory / "postgresql/data/pg_hba.conf"
    path.write_text(path.read_text() + f"host replication {ROLE} {NETWORK} trust\n")
    primary.sql("select pg_reload_conf()")


def check_primary(scene: Scene, alpha: Host) -> None:
    assert alpha.sql("select count(*) from pg_roles where rolname like 'pgvip%'") == "0"
    assert alpha.sql("select to_regnamespace('pgvip') is null") == "t"
    assert "pgvip" not in alpha.sql("select string_agg(slot_name, ' ') from pg_replication_slots")
    assert alpha.sql("show synchronous_standby_names") == ""
    assert alpha.sql("show listen_addresses") == "*"
    assert alpha.sql("show ssl") == ("off" if scene.pair.options.version in WITHOUT_TLS else "on")
    waiting = "cannot be changed without restarting|could not be applied"  # archive_mode, recovery targets
    assert alpha.sql(f"select name, error from pg_file_settings where error !~ '{waiting}'") == ""
    hba = (alpha.directory / "postgresql/data/pg_hba.conf").read_text()
    assert "pgvip init --allow" in hba
    assert "BEGIN pgvip" not in hba
    assert {PRIMARY_VIP, STANDBY_VIP} <= alpha.addresses()
    assert not (alpha.directory / "state/record.json").exists()
    assert list((alpha.directory / "state/archive").iterdir())
    assert (alpha.directory / DEBIAN / "start.conf").read_text() == "auto\n"
    scene.writer.wait_success()


def boot_without_pgvip(pair: Pair, host: Host) -> None:
    """As the distribution does, which reads start.conf."""
    host.power_off()
    host.boot(start_daemon=False)
    argv = [bin_directory(pair.options.version) / "pg_ctl", "-D", DATA_DIRECTORY, "-w", "-l", "/tmp/log", "start"]
    host.run(argv, user="postgres", timeout_s=60)


def test_a_pair_goes_on_without_pgvip(scene: Scene, pairs: PairStore) -> None:
    """The page's way with a standby that follows on: no restart, no outage, and all of it again after a boot."""
    pair, (alpha, beta) = scene.pair, settle(scene)
    assert "counts on this standby" in refusal(pair, beta)
    assert "pgvip leave" in refusal(pair, alpha)
    let_in(alpha)
    servers = (alpha.postmaster(), beta.postmaster())
    scene.strike()
    lines = commands("First the standby")
    follow_page(pair, beta, lines[:-1])
    assert "follows this server" not in pair.pgvip(beta, "uninstall", "-n").stdout
    assert "still follows this server" in refusal(pair, alpha)
    follow_page(pair, beta, commands("First the standby", 2))
    assert alpha.sql("select usename, state from pg_stat_replication") == f"{ROLE}|streaming"
    assert beta.sql("select count(*) from pg_replication_slots") == "0"
    alpha.sql("create table pgvip.of_others ()")
    assert "table pgvip.of_others in schema pgvip" in refusal(pair, alpha)
    alpha.sql("drop table pgvip.of_others")
    said = follow_page(pair, alpha, commands("Then the primary"))
    assert f"ip address add {PRIMARY_VIP}" in said
    assert "WAL is no longer archived" in said
    check_primary(scene, alpha)
    assert (alpha.postmaster(), beta.postmaster()) == servers
    assert scene.writer.outage_s(scene.struck_s) < 2, pair.describe()
    assert scene.fenced(alpha) + scene.fenced(beta) == 0
    scene.stop()
    for host in (alpha, beta):
        boot_without_pgvip(pair, host)
    assert alpha.writable()
    wait_until(lambda: alpha.sql("select usename, state from pg_stat_replication") == f"{ROLE}|streaming", 30, "stream")
    assert "of_others" in alpha.sql("select string_agg(slot_name, ' ') from pg_replication_slots")
    assert not scene.lost(alpha)
    pairs.discard()


@pytest.mark.nightly
def test_a_standby_that_is_not_needed_is_stopped_and_the_pair_can_be_made_again(scene: Scene, pairs: PairStore) -> None:
    pair, (alpha, beta) = scene.pair, settle(scene)
    said = follow_page(pair, beta, commands("First the standby"))
    assert "standby's, whose server is stopped" in said
    assert not beta.postmaster()
    assert "manual" in (beta.directory / DEBIAN / "start.conf").read_text()
    follow_page(pair, alpha, commands("Then the primary"))
    check_primary(scene, alpha)
    assert scene.fenced(beta) == 0
    again = pair.pgvip(alpha, "uninstall", "--yes", alpha.name).stdout
    assert "in no pair: nothing is left to do" in again
    scene.stop()
    assert not scene.lost(alpha)
    (alpha.directory / "etc/beta.bundle").unlink()
    pair.pgvip(alpha, "init", "--bundle", BUNDLE)
    pair.start_services(alpha)
    pair.wait_roles(60, alpha="primary_standby")
    shutil.copy2(alpha.directory / "etc/beta.bundle", beta.directory / "etc/beta.bundle")
    pair.pgvip(beta, "clone", BUNDLE, "--replace")
    pair.start_services(beta)
    pair.wait_healthy()
    pairs.discard()
