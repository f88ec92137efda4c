"""The table of PostgreSQL's settings, and the page that is made from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pgvip.system import server_settings
from pgvip.system.server_settings import BY_NAME, TABLE

REPOSITORY = Path(__file__).parents[3]
TARGETS = ("recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time",
           "recovery_target_xid")  # fmt: skip


def names(version: int, *, archive: bool = True) -> set[str]:
    return {setting.name for setting in server_settings.pinned(version, archive=archive)}


def test_each_setting_is_there_once_with_a_reason() -> None:
    assert len(BY_NAME) == len(TABLE)
    assert all(setting.why for setting in TABLE)
    assert all(setting.pinned is not None or setting.good or setting.least for setting in TABLE)


def test_nothing_that_ends_or_delays_recovery_is_left_to_others() -> None:
    assert {*TARGETS, "recovery_target_action", "recovery_min_apply_delay", "recovery_end_command"} <= names(15)
    assert {setting.name for setting in server_settings.needed_to_take_over()} >= set(TARGETS)


def test_a_server_gets_only_what_its_version_knows() -> None:
    assert "promote_trigger_file" in names(15)
    assert "promote_trigger_file" not in names(16)
    assert "archive_library" not in names(14)
    assert "idle_replication_slot_timeout" in names(18) - names(17)


def test_without_pgvips_archive_the_administrators_settings_of_theirs_stay() -> None:
    assert names(15) - names(15, archive=False) == {
        "archive_mode", "archive_library", "archive_command", "restore_command", "archive_cleanup_command",
    }  # fmt: skip


def test_the_page_is_up_to_date() -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "settings-table"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
