"""The archive's commands on a pair with real daemons, as an operator types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.lab.hosts import DATA_DIRECTORY, SOCKET_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.pair import Pair
from tests.lab.postgres import bin_directory

RESTORED = "/var/lib/postgresql/restored"


def asked(pair: Pair, host: Host, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pair.pgvip(host, *words, "--json").stdout)
    return found


def test_backup_and_restore_by_the_commands(pair: Pair) -> None:
    primary, standby = pair.host_as("primary"), pair.host_as("standby")
    assert pair.pgvip(primary, "backup", check=False).returncode == 5
    assert asked(pair, primary, "backup", "--auto")["made"] is False
    tried = pair.pgvip(standby, "backup", "--dry-run", check=False)
    if "pg_verifybackup does not run" in tried.stderr:
        pytest.skip(tried.stderr)
    assert "would make" in tried.stdout
    made = asked(pair, standby, "backup")
    try:
        for host in (primary, standby):
            listed = asked(pair, host, "backups")["backups"]
            assert [one["name"] for one in listed] == [made["name"]]
        found = asked(pair, primary, "archive", "status")
        assert found["doubts"] == []
        assert found["other_why"] == ""
        pair.pgvip(primary, "archive", "clean", "--dry-run")
        pair.pgvip(primary, "archive", "clean")
        refused = pair.pgvip(standby, "restore", DATA_DIRECTORY, check=False)
        assert refused.returncode == 5
        assert "live data directory" in refused.stderr
        # The other host's index is written by its daemon, in the background.
        wait_until(lambda: not asked(pair, standby, "archive", "status")["other_why"], 90, "the other archive is read")
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        for point, why in ((later, "is in the future"), ("yesterday", "no archived WAL has a restore point")):
            refused = pair.pgvip(standby, "restore", "--to", point, RESTORED, check=False)
            assert (refused.returncode, why in refused.stderr) == (5, True), refused.stderr
        said = asked(pair, standby, "restore", "--dry-run", RESTORED)
        assert said["restored"] is False
        pair.pgvip(standby, "restore", RESTORED)
        # As it is printed, and waiting for it.
        standby.run(["sh", "-c", f"{said['start']} -w"], timeout_s=60)
        control = [bin_directory(pair.options.version) / "pg_ctl", "-D", RESTORED, "-w"]
        ask = ["psql", "-XAtq", "-h", SOCKET_DIRECTORY, "-p", "5433", "-d", "postgres", "-c"]
        assert standby.run([*ask, "select count(*) from lab_rows"], user="postgres").stdout.strip().isdigit()
        standby.run([*control, "-m", "immediate", "stop"], user="postgres", timeout_s=60)
    finally:
        standby.run(["rm", "-rf", "/var/lib/pgvip/archive/backups", RESTORED], timeout_s=60)
