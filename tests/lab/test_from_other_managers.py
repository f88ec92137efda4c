"""From another manager to pgvip, by its page: on a primary and a standby in service; and what refuses to begin."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.lab import Lab
from tests.lab.network import NETWORK
from tests.lab.nodes import wait_until
from tests.lab.pair import CONFIG, Options, Pair, config_text
from tests.lab.postgres import bin_directory
from tests.lab.test_setup import in_service

pytestmark = [pytest.mark.timeout(240), pytest.mark.nightly]
PAGE = Path(__file__).parents[2] / "docs/procedures/from-other-managers.md"


@pytest.fixture
def pair(lab: Lab) -> Pair:
    """Both hosts booted, with a primary and a standby that pgvip did not make."""
    made = Pair(lab, Options())
    for host in made.hosts.values():
        host.boot(start_daemon=False)
    (made.alpha.directory / CONFIG).write_text(config_text(made.options))
    in_service(made)
    return made


def lines(section: str, number: int = 0) -> list[list[str]]:
    """The commands of a code block of the page, without "pgvip"."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}")[1].split("\n## ")[0]
    block: str = re.findall(r"```\n(.*?)```", text, re.DOTALL)[number]
    found = [line.split() for line in block.splitlines()]
    assert all(words[0] == "pgvip" for words in found)
    return [words[1:] for words in found]


def pending(host: Host) -> str:
    return host.sql("select coalesce(string_agg(name, ' '), '') from pg_settings where pending_restart")


def join(pair: Pair) -> None:
    """Steps 3 and 4: until the pair is whole, and no setting waits."""
    alpha, beta = pair.alpha, pair.beta
    shutil.copy2(alpha.directory / "etc/db2.bundle", beta.directory / "etc/db2.bundle")
    for words in lines("3. The standby"):
        said = pair.pgvip(beta, *words).stdout
    assert "slot by_hand on alpha is no longer used" in said
    alpha.sql("select pg_drop_replication_slot('by_hand')")
    argv = [bin_directory() / "pg_ctl", "-D", DATA_DIRECTORY, "-m", "fast", "-w", "-l", "/tmp/log", "restart"]
    beta.run(argv, user="postgres", timeout_s=60)
    pair.start_services(beta)
    pair.wait_healthy()


def test_a_pair_in_service_comes_with_one_switchover(pair: Pair) -> None:
    alpha = pair.alpha
    server = alpha.postmaster()
    for words in lines("2. The primary"):
        pair.pgvip(alpha, *words, "--allow", f"{NETWORK}=trust")
    pair.start_services(alpha)
    pair.wait_roles(60, alpha="primary_standby")
    join(pair)
    assert alpha.postmaster() == server
    assert "archive_mode" in pending(alpha)
    for words in lines("4. Settings that wait"):
        pair.pgvip(alpha, *words)
    pair.wait_roles(60, alpha="standby", beta="primary")
    pair.wait_healthy()
    assert pending(alpha) + pending(pair.beta) == ""


def test_a_server_outside_of_its_unit_comes_with_one_restart(pair: Pair) -> None:
    alpha = pair.alpha
    alpha.run([bin_directory() / "pg_ctl", "-D", DATA_DIRECTORY, "-m", "fast", "stop"], user="postgres", timeout_s=60)
    for words in lines("2. The primary", 1):
        pair.pgvip(alpha, *words, "--allow", f"{NETWORK}=trust")
    assert alpha.writable()
    assert pending(alpha) == ""
    pair.start_services(alpha)
    pair.wait_roles(60, alpha="primary_standby")
    join(pair)
    assert pending(alpha) + pending(pair.beta) == ""


def test_init_refuses_beside_another_manager(pair: Pair) -> None:
    alpha = pair.alpha
    with alpha.popen(["bash", "-c", "exec -a /usr/bin/repmgrd sleep 600"]) as process:
        wait_until(lambda: "repmgrd" in alpha.run(["ps", "-eo", "args"]).stdout, 10, "the other manager runs")
        done = pair.pgvip(alpha, "init", "--dry-run", check=False)
        assert done.returncode == 5
        assert "repmgr is at work on this host" in done.stderr
        assert "--beside repmgr" in done.stderr
        assert "nothing was changed" in pair.pgvip(alpha, "init", "--dry-run", "--beside", "repmgr").stdout
        process.kill()
