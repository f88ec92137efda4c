"""What is proved before a start.

pg_controldata is a script that prints what PostgreSQL 15's prints.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import prepare
from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError
from tests.unit import configs
from tests.unit.probes.test_server_processes import Files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgvip.config.model import Config


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path)
    (files.data / "PG_VERSION").write_text("15\n")
    files.control("shut down")
    yield files
    files.end()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configs.make(tmp_path)


def test_a_start_that_fails_makes_no_primary(config: Config, files: Files) -> None:
    (files.data / "standby.signal").touch()
    with pytest.raises(PostgresError):
        prepare.prepare(config, standby=False, sync=False, system_id="7300000000000000001")
    assert (files.data / "standby.signal").exists()


def test_nothing_is_written_while_processes_of_the_cluster_are_left(config: Config, files: Files) -> None:
    files.start("sleep 60 & wait")
    wait_until(lambda: len(files.pids()) == 2, 5)
    with pytest.raises(PostgresError, match="are left from an earlier run"):
        prepare.prepare(config, standby=True, sync=False, system_id="")
    assert not (files.data / "standby.signal").exists()


def test_data_that_are_not_whole_are_not_started_until_they_are(config: Config, files: Files) -> None:
    (files.data / "standby.signal").touch()
    prepare.mark_unusable(config, "rewind")
    assert prepare.why_unusable(config) == "rewind"
    assert not (files.data / "standby.signal").exists()
    with pytest.raises(PostgresError, match="not whole") as refused:
        prepare.prepare(config, standby=True, sync=False, system_id="")
    assert "An earlier rewind was interrupted" in refused.value.detail
    prepare.mark_usable(config)
    assert prepare.why_unusable(config) == ""
    with pytest.raises(PostgresError) as later:
        prepare.prepare(config, standby=True, sync=False, system_id="")
    assert "not whole" not in later.value.message


def test_programs_of_another_version_are_named_before_the_control_data_are_read(config: Config, files: Files) -> None:
    """What they read there may be wrong, and "clone this host again" would be the wrong advice."""
    config = replace(config, postgres=replace(config.postgres, user=pwd.getpwuid(os.geteuid()).pw_name))
    program = config.postgres.bin_directory / "postgres"
    program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.4'\n")
    program.chmod(0o755)
    with pytest.raises(PostgresError, match=r"is of version 15, the programs in .*/bin are of version 18") as refused:
        prepare.prepare(config, standby=True, sync=False, system_id="another")
    assert "docs/procedures/upgrade-major.md" in refused.value.hint
    assert files.reads() == 0
    program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n")
    with pytest.raises(PostgresError, match="another database cluster") as stranger:
        prepare.prepare(config, standby=True, sync=False, system_id="another")
    assert "If pg_upgrade has made it: docs/procedures/upgrade-major.md" in stranger.value.hint
