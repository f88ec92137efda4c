"""A new major version, by the commands of docs/procedures/upgrade-major.md in their order."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.lab import Lab
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import wait_until
from tests.lab.pair import CONFIG, Options, Pair
from tests.lab.postgres import bin_directory

PAGE = Path(__file__).parents[2] / "docs/procedures/upgrade-major.md"
NEXT = "/var/lib/postgresql/next"
OPTIONS = Options(overrides={"postgresql": {"tls": "off"}})
"""The packages of 16 and 18 are built without TLS."""


def blocks() -> list[tuple[str, str]]:
    """Where each block of the page is run, and its commands; the names are the lab's own."""
    found = re.findall(r"^```([a-z-]+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert found[0][0] == "names"
    return found[1:]


def names(version: str) -> str:
    return (
        f"OLD={bin_directory()} DATA={DATA_DIRECTORY} NEW={bin_directory(version)} NEXT={NEXT}\n"
        f'VIPS="{PRIMARY_VIP} {STANDBY_VIP}" PAIR=lab PRIMARY=alpha\n'
        f"PATH=$PATH:{sys.prefix}/bin\ncd /var/lib/postgresql\n"
    )


def answers(pair: Pair, host: Host) -> bool:
    return pair.pgvip(host, "status", check=False).returncode == 0


def run(pair: Pair, host: Host, commands: str, version: str) -> str:
    """Run a block as an operator does; the lab's hosts have no systemd."""
    said = ""
    for part in re.split(r"^(systemctl .*)\n", commands, flags=re.MULTILINE):
        if part == "systemctl stop pgvip":
            host.stop_service("pgvip")
        elif part == "systemctl start pgvip":
            pair.start_services(host)
            wait_until(partial(answers, pair, host), 30, "the daemon is ready, for which systemctl waits")
        elif part.strip():
            said += host.run(["bash", "-euc", names(version) + part], timeout_s=170).stdout
    return said


@pytest.fixture
def pair(lab: Lab) -> Pair:
    made = Pair(lab, OPTIONS)
    made.create()
    made.wait_healthy()
    made.alpha.sql("insert into lab_rows select generate_series(1, 1000)")
    return made


def upgrade(pair: Pair, version: str) -> None:
    """As far as the way back is open."""
    points = set()
    for where, commands in blocks():
        if "vacuumdb" in commands:
            pair.wait_roles(60, alpha="primary_standby")
        for host, part in ((pair.alpha, "primary"), (pair.beta, "standby")):
            if where in ("both", part) and "pgvip clone" not in commands:
                said = run(pair, host, commands, version)
                if where == "both":
                    points.add(said)
    assert len(points) == 1
    assert pair.alpha.sql("select count(*) from lab_rows") == "1000"
    assert pair.alpha.sql("show server_version").startswith(version)


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["16", "18"])
def test_there(pair: Pair, version: str) -> None:
    upgrade(pair, version)
    shutil.copy2(pair.alpha.directory / "etc/next.bundle", pair.beta.directory / "etc/next.bundle")
    (last,) = [commands for where, commands in blocks() if where == "standby" and "pgvip clone" in commands]
    run(pair, pair.beta, last, version)
    pair.options = replace(OPTIONS, version=version)
    pair.wait_healthy()
    pair.alpha.sql("insert into lab_rows values (1001)")
    assert pair.beta.sql("show server_version").startswith(version)
    # Programs that do not fit the data are named with them.
    config = pair.alpha.directory / CONFIG
    good = config.read_text()
    config.write_text(good.replace(str(bin_directory(version)), str(bin_directory())))
    for words in (("check", "--only", "data-directory"), ("init",)):
        said = pair.pgvip(pair.alpha, *words, check=False)
        text = f"is of version {version}, the programs in {bin_directory()} are of version 15"
        assert text in said.stdout + said.stderr
    config.write_text(good)
    refuse_to_start(pair, version)
    # Who has not put the old state aside is sent to the page, not to the other host, and not to a copy of it.
    for name in ("identity.json", "record.json"):
        shutil.copy2(pair.alpha.directory / "state/old" / name, pair.alpha.directory / "state" / name)
    refused = pair.pgvip(pair.alpha, "init", check=False).stderr
    assert "If pg_upgrade has made it" in refused
    assert "is at work already" not in refused


def refuse_to_start(pair: Pair, version: str) -> None:
    """The daemon of a host whose programs do not fit its data says so, and starts nothing."""
    host, config = pair.beta, pair.beta.directory / CONFIG
    pair.pgvip(host, "leave")
    host.stop_service("pgvip")
    pg_ctl = bin_directory(version) / "pg_ctl"
    host.run([pg_ctl, "-D", NEXT, "-m", "fast", "-w", "stop"], user="postgres", timeout_s=60, check=False)
    config.write_text(config.read_text().replace(str(bin_directory(version)), str(bin_directory())))
    pair.start_services(host)
    wanted = f"is of version {version}, the programs in {bin_directory()} are of version 15"
    wait_until(lambda: wanted in pair.pgvip(host, "status", check=False).stdout, 30, "the reason in status", 0.5)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_by_the_steps_that_the_command_prints(pair: Pair) -> None:
    """As they come, without any name to fill in; the settings of the old files are among them."""
    version = "18"
    pair.alpha.sql("alter system set work_mem = '5MB'")
    pair.alpha.sql("alter system set vacuum_defer_cleanup_age = 0")  # 15 has it, 18 does not
    words = ("upgrade-major", "--to", bin_directory(version), "--data", NEXT, "--json")
    document = json.loads(pair.pgvip(pair.alpha, *words).stdout)
    found = {one["name"]: one for one in document["checks"]}
    assert "vacuum_defer_cleanup_age" in found["new-settings"]["text"]
    assert document["outage"]["relations"] > 0
    assert "is the standby" in pair.pgvip(pair.beta, *words, check=False).stdout
    points = set()
    for step in document["steps"]:
        if step["section"] == "The way back":
            continue
        host = pair.hosts[step["host"]]
        if step["section"] == "The other host":
            shutil.copy2(pair.alpha.directory / "etc/next.bundle", pair.beta.directory / "etc/next.bundle")
        if "vacuumdb" in step["commands"]:
            pair.wait_roles(60, alpha="primary_standby")
        said = run(pair, host, step["commands"], version)
        if "pg_controldata" in step["commands"]:
            points.add(said)
    assert len(points) == 1
    pair.options = replace(OPTIONS, version=version)
    pair.wait_healthy()
    for host in (pair.alpha, pair.beta):
        assert host.sql("select count(*) from lab_rows") == "1000"
        assert host.sql("show work_mem") == "5MB"
        assert host.sql("show server_version").startswith(version)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_and_back(pair: Pair) -> None:
    upgrade(pair, "16")
    pair.alpha.sql("insert into lab_rows values (1001)")
    leave, come, follow = [(where, commands) for where, commands in blocks() if where.endswith("-back")]
    run(pair, pair.alpha, leave[1], "16")
    run(pair, pair.beta, come[1], "16")
    assert pair.beta.writable()
    assert pair.beta.sql("select count(*) from lab_rows") == "1000"
    shutil.copy2(pair.beta.directory / "etc/back.bundle", pair.alpha.directory / "etc/back.bundle")
    run(pair, pair.alpha, follow[1], "16")
    pair.wait_healthy()
    assert pair.alpha.sql("select count(*) from lab_rows") == "1000"
