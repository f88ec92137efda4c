"""Both hosts have the same files and settings of PostgreSQL: what differs is reported, and copied on order.

The commands are those of docs/procedures/same-on-both.md.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.pages import commands
from tests.lab.scene import Scene

HBA = f"{DATA_DIRECTORY}/pg_hba.conf"
REPORTED_WITHIN_S = 90.0
LINE = "host shop shop 198.51.100.0/24 scram-sha-256"
OURS = {"access-differs", "settings-differ", "hosts-differ"}


def warned(scene: Scene, host: Host) -> dict[str, str]:
    found = scene.pair.status(host)["warnings"]
    return {one["name"]: one["text"] for one in found if one["name"] in OURS}


def differ(scene: Scene, host: Host) -> list[str]:
    said = scene.pair.pgvip(host, "config", "diff", "--json", check=False)
    document = json.loads(said.stdout)
    assert document["same"] is (said.returncode == 0)
    return [one["text"] for one in document["differences"] if one["kind"] != "machine"]


def pending(scene: Scene, host: Host) -> list[str]:
    found: list[str] = scene.pair.status(host)["pending_restart"]["postgresql"]
    return found


def refuse_a_file_that_is_wrong(scene: Scene) -> None:
    """What PostgreSQL would not take on the other host stays away from there."""
    path, theirs = scene.primary.path(HBA), scene.standby.path(HBA)
    before, there = path.read_text(), theirs.read_text()
    path.write_text(f"{before}host all all all trusty\n")
    said = scene.pair.pgvip(scene.primary, "config", "push", check=False)
    assert "PostgreSQL would refuse" in said.stderr, said.stdout + said.stderr
    assert said.returncode
    assert theirs.read_text() == there
    path.write_text(before)


def put_back(scene: Scene, files: dict[Host, str]) -> None:
    """As it was: the next test has the same pair."""
    for host, text in files.items():
        host.path(HBA).write_text(text)
        for name in ("max_connections", "vacuum_cost_delay"):
            host.sql(f"alter system reset {name}")
        host.sql("select pg_reload_conf()")
        for kept in host.path(DATA_DIRECTORY).glob("*.replaced-*"):
            kept.unlink()


def test_what_differs_is_reported_on_both_hosts_and_copied(scene: Scene) -> None:
    primary, standby = scene.primary, scene.standby
    assert differ(scene, primary) == []
    whole = {host: host.path(HBA).read_text() for host in (primary, standby)}
    hba = primary.path(HBA)
    hba.write_text(f"{hba.read_text()}{LINE}\n")
    primary.sql("alter system set max_connections = 150")
    primary.sql("alter system set vacuum_cost_delay = '3ms'")
    primary.sql("select pg_reload_conf()")
    for host in (primary, standby):
        wait_until(lambda host=host: len(warned(scene, host)) >= 2, REPORTED_WITHIN_S, f"warnings of {host.name}", 0.3)  # type: ignore[misc]  # a default binds it
        said = warned(scene, host)
        assert LINE in said["access-differs"]
        assert "max_connections" in said["settings-differ"]
        assert "vacuum_cost_delay" in said["settings-differ"]
        assert len(differ(scene, host)) == 3
    files = {path: standby.path(path).read_text() for path in (HBA, f"{DATA_DIRECTORY}/postgresql.auto.conf")}
    page = [words for _, words in commands("same-on-both")]
    for words in [line[1:] for line in page if line[0] == "pgvip"]:
        found = scene.pair.pgvip(standby, *words, check=False)
        if words[:2] != ["config", "push"] or "--dry-run" in words:
            assert {path: standby.path(path).read_text() for path in files} == files, words
        assert found.returncode == (0 if words[:2] == ["config", "push"] or not differ(scene, standby) else 1), words
    assert LINE in standby.path(HBA).read_text()
    assert standby.path(HBA).read_text().startswith("# BEGIN pgvip")
    for path, text in files.items():
        [kept] = standby.path(path).parent.glob(f"{Path(path).name}.replaced-*")
        assert kept.read_text() == text
        assert kept.owner() == "postgres"
    assert standby.sql("select setting from pg_settings where name = 'vacuum_cost_delay'") == "3"
    assert differ(scene, primary) == []
    for host in (primary, standby):
        wait_until(lambda host=host: not warned(scene, host), REPORTED_WITHIN_S, f"no warnings of {host.name}", 0.3)  # type: ignore[misc]  # a default binds it
        wait_until(lambda host=host: pending(scene, host) == ["max_connections"], 30, f"pending on {host.name}", 0.3)  # type: ignore[misc]  # a default binds it
        assert scene.says(host, "not in force before PostgreSQL is restarted: max_connections")
    refuse_a_file_that_is_wrong(scene)
    put_back(scene, whole)
    for host in (primary, standby):
        wait_until(lambda host=host: not pending(scene, host), 90, f"nothing pending on {host.name}", 0.3)  # type: ignore[misc]  # a default binds it
    scene.finish(swapped=False)
