"""One hook: its arguments and variables, its failures, and its time limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.deadlines import now_s, wait_until
from pgvip.errors import ActionError
from pgvip.hooks.program import call, refuses


def hook(directory: Path, script: str) -> Path:
    path = directory / "hook"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_arguments_and_words_arrive(tmp_path: Path) -> None:
    script = f'echo "$1 $2 $PGVIP_EVENT $PGVIP_OLD $PGVIP_NEW" > {tmp_path}/said; cat >> {tmp_path}/said'
    words = {"old": "standby", "NEW": "primary\0", "EVENT": "e"}
    call(hook(tmp_path, script), ("role-change", "x\0y"), words, 5.0)
    assert (tmp_path / "said").read_text() == "role-change xy e standby primary\n"


def test_a_failing_hook_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="hook failed with exit code 3") as caught:
        call(hook(tmp_path, "echo no mail server >&2; exit 3"), ("e",), {}, 5.0)
    assert "no mail server" in caught.value.detail


def test_a_hook_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    start_s = now_s()
    with pytest.raises(ActionError, match=r"did not finish within 0\.3 s"):
        call(hook(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait"), ("e",), {}, 0.3)
    assert now_s() - start_s < 5
    status = Path(f"/proc/{int((tmp_path / 'child').read_text())}/status")
    wait_until(lambda: not status.exists() or "State:\tZ" in status.read_text(), 5, what="the child is gone")


def test_a_missing_hook_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ActionError):
        call(tmp_path / "none", ("e",), {}, 1.0)


@pytest.mark.parametrize(
    ("script", "said"),
    [("exit 0", None), ("echo a resync; exit 1", "a resync"), ("exit 1", "no reason given")],
)
def test_a_veto_is_exit_code_1(script: str, said: str | None, tmp_path: Path) -> None:
    assert refuses(hook(tmp_path, script), ("e",), {}, 5.0) == said


@pytest.mark.parametrize("script", ["exit 2", "exit 127", "kill -9 $$", "sleep 60"])
def test_every_other_end_is_no_veto(script: str, tmp_path: Path) -> None:
    with pytest.raises(ActionError):
        refuses(hook(tmp_path, script), ("e",), {}, 0.3)
