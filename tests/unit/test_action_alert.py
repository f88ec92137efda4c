from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.actions import alert
from pgvip.deadlines import now_s
from pgvip.errors import ActionError


def hook(directory: Path, script: str) -> Path:
    path = directory / "hook"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_event_and_its_words_arrive(tmp_path: Path) -> None:
    script = f'echo "$1 $PGVIP_EVENT $PGVIP_OLD $PGVIP_NEW" > {tmp_path}/said; cat >> {tmp_path}/said'
    alert.call(hook(tmp_path, script), "role-changed", {"old": "standby", "NEW": "primary"}, 5.0)
    assert (tmp_path / "said").read_text() == "role-changed role-changed standby primary\n"


def test_a_failing_hook_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="alert hook failed for event e") as caught:
        alert.call(hook(tmp_path, "echo no mail server >&2; exit 1"), "e", {}, 5.0)
    assert "no mail server" in caught.value.detail


def test_a_hook_that_hangs_is_ended(tmp_path: Path) -> None:
    start_s = now_s()
    with pytest.raises(ActionError):
        alert.call(hook(tmp_path, "sleep 60"), "e", {}, 0.2)
    assert now_s() - start_s < 3


def test_a_missing_hook_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ActionError):
        alert.call(tmp_path / "none", "e", {}, 1.0)
