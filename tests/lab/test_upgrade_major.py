"""A new major version, by the commands of docs/procedures/upgrade-major.md in their order."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.lab import Lab
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.pair import Options, Pair
from tests.lab.postgres import bin_directory

PAGE = Path(__file__).parents[2] / "docs/procedures/upgrade-major.md"
NEXT = "/var/lib/postgresql/next"
OPTIONS = Options(overrides={"postgresql": {"tls": "off"}})
"""The packages of 16 and 18 are built without TLS."""


def blocks() -> list[tuple[str, str]]:
    """Where each block of the page is run, and its commands; the names are the lab's own."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert found[0][0] == "names"
    return found[1:]


def names(version: str) -> str:
    return (
        f"OLD={bin_directory()} DATA={DATA_DIRECTORY} NEW={bin_directory(version)} NEXT={NEXT}\n"
        f'VIPS="{PRIMARY_VIP} {STANDBY_VIP}"\nPATH=$PATH:{sys.prefix}/bin\ncd /var/lib/postgresql\n'
    )


def run(pair: Pair, host: Host, commands: str, version: str) -> str:
    """Run a block as an operator does; the lab's hosts have no systemd."""
    said = ""
    for part in re.split(r"^(systemctl .*)\n", commands, flags=re.MULTILINE):
        if part == "systemctl stop pgvip":
            host.stop_service("pgvip")
        elif part == "systemctl start pgvip":
            pair.start_services(host)
        elif part.strip():
            said += host.run(["bash", "-euc", names(version) + part], timeout_s=170).stdout
    return said


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["16"])
def test_the_page_word_by_word(lab: Lab, version: str) -> None:
    pair = Pair(lab, OPTIONS)
    pair.create()
    pair.wait_healthy()
    pair.alpha.sql("insert into lab_rows select generate_series(1, 1000)")
    points = set()
    for where, commands in blocks():
        if "vacuumdb" in commands:
            pair.wait_roles(60, alpha="primary_standby")
        if where == "standby" and "clone" in commands:
            assert pair.alpha.sql("select count(*) from lab_rows") == "1000"
            assert pair.alpha.sql("show server_version").startswith(version)
            shutil.copy2(pair.alpha.directory / "etc/next.bundle", pair.beta.directory / "etc/next.bundle")
        for host in (pair.alpha, pair.beta):
            if where in ("both", "primary" if host is pair.alpha else "standby"):
                said = run(pair, host, commands, version)
                if where == "both":
                    points.add(said)
    assert len(points) == 1
    pair.options = replace(OPTIONS, version=version)
    pair.wait_healthy()
    pair.alpha.sql("insert into lab_rows values (1001)")
    assert pair.beta.sql("show server_version").startswith(version)
