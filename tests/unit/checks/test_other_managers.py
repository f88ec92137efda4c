"""Whom `init` and `join` find beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgvip.checks import other_managers
from pgvip.system import pgtools
from tests.unit import configs

if TYPE_CHECKING:
    from pathlib import Path

ALL = other_managers.TABLE


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/usr/bin/python3 /usr/bin/patroni /etc/patroni.yml", "patroni"),
        ("/opt/venv/bin/python -m patroni config.yml", "patroni"),
        ("/usr/lib/postgresql/15/bin/repmgrd -f /etc/repmgr.conf", "repmgr"),
        ("/usr/bin/pg_autoctl run", "pg_auto_failover"),
        ("/usr/sbin/keepalived --dont-fork", "keepalived"),
        ("/usr/sbin/pacemakerd", "pacemaker"),
        ("/usr/sbin/corosync -f", "pacemaker"),
        ("/usr/bin/vip-manager --config x", "vip-manager"),
    ],
)
def test_a_daemon_is_found_by_its_program(tmp_path: Path, line: str, name: str) -> None:
    found = other_managers.found([(7, line.split())], [], ALL, configs.make(tmp_path))
    assert [one.message.split()[0] for one in found] == [name]
    assert "process 7 (" in found[0].detail
    assert f"--beside {name}" in found[0].hint
    assert "10.9.0.100" in found[0].hint


@pytest.mark.parametrize("line", ["vi /etc/patroni.yml", "patronictl list", "less keepalived", "postgres: repmgr", ""])
def test_what_only_has_the_name_is_none(tmp_path: Path, line: str) -> None:
    assert other_managers.found([(7, line.split())], [], ALL, configs.make(tmp_path)) == []


@pytest.mark.parametrize("unit", ["patroni.service", "patroni@main.service", "repmgrd.service", "repmgr15.service"])
def test_a_unit_that_the_next_boot_starts_is_found(tmp_path: Path, unit: str) -> None:
    (found,) = other_managers.found([], [unit, "postgresql.service"], ALL, configs.make(tmp_path))
    assert f"unit {unit} is enabled" in found.detail


def test_one_that_does_something_else_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_managers, "_commands", lambda: [(7, ["keepalived"]), (8, ["repmgrd"])])
    found = other_managers.problems(configs.make(tmp_path), ["keepalived"])
    assert [one.message.split()[0] for one in found] == ["repmgr"]


def test_traces_in_the_cluster_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configs.make(tmp_path)
    assert other_managers.warnings(config) == []
    for name in ("patroni.dynamic.json", "postgresql.conf"):
        config.postgres.data_directory.mkdir(exist_ok=True)
        (config.postgres.data_directory / name).touch()
    monkeypatch.setattr(pgtools, "server_setting", lambda *_: "pg_stat_statements, repmgr")
    said = [what for what, _ in other_managers.warnings(config)]
    assert said[0].startswith("patroni has managed this cluster: ")
    assert said[1:] == ["the server loads a library of repmgr"]
