"""Stops of real processes called `postgres`: no signal and no answer is a proof that the server has ended well.

pg_controldata is a script that prints what PostgreSQL 15's prints.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres
from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError
from tests.unit import configs
from tests.unit.probes.test_server_processes import Files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgvip.config.model import Config

OBEDIENT = "trap 'exit 0' INT; while :; do sleep 0.01; done"
"""A server that ends at once when it is asked to."""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path)
    yield files
    files.end()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = configs.make(tmp_path)
    return replace(config, postgres=replace(config.postgres, stop_timeout_s=5.0))


def serve(files: Files) -> None:
    pid = files.start(OBEDIENT)
    files.write_pid_file(pid)
    wait_until(lambda: len(files.pids()) > 1, 5)


@pytest.mark.parametrize("state", ["shut down", "shut down in recovery"])
def test_a_clean_stop_is_one_that_the_control_file_confirms(config: Config, files: Files, state: str) -> None:
    files.control(state)
    serve(files)
    postgres.stop(config, clean=True)
    assert files.pids() == set()


@pytest.mark.parametrize("state", ["in production", "in archive recovery", "shutting down"])
def test_a_server_that_ended_without_its_checkpoint_was_not_stopped_cleanly(
    config: Config, files: Files, state: str
) -> None:
    files.control(state)
    serve(files)
    with pytest.raises(PostgresError, match="not by a clean shutdown") as failed:
        postgres.stop(config, clean=True)
    assert state in failed.value.detail


def test_a_server_that_somebody_starts_again_during_the_stop_is_found(config: Config, files: Files) -> None:
    """As a unit with Restart= does: it is there again when the control file is read."""
    files.control("shut down")
    program = config.postgres.bin_directory / "pg_controldata"
    again = f"cd {files.data} && PGSYSCONFDIR=x setsid {files.server} -c 'sleep 60; :' >/dev/null 2>&1 &"
    here = f"until readlink /proc/$!/cwd | grep -q {files.data.name}$; do :; done"
    program.write_text(f'#!/bin/sh\n{again}\n{here}\ncat "$1/global/pg_control"\n')
    serve(files)
    with pytest.raises(PostgresError, match="processes of the cluster are left after the stop") as failed:
        postgres.stop(config, clean=True)
    left = files.pids()
    assert any(str(pid) in failed.value.detail for pid in left)
    for pid in left:
        with suppress(ProcessLookupError):  # the shell that looks for the server is among them, and ends
            os.kill(pid, signal.SIGKILL)


def test_orphans_are_nothing_that_a_clean_stop_could_end(config: Config, files: Files) -> None:
    """They may go on committing, so they are no stopped server; and nothing is killed by a clean stop."""
    files.control("shut down")
    files.start("sleep 60 & wait")
    wait_until(lambda: len(files.pids()) == 2, 5)
    with pytest.raises(PostgresError, match="the postmaster is gone, but processes of the cluster are left"):
        postgres.stop(config, clean=True)
    assert len(files.pids()) == 2


def test_a_stop_of_what_is_down_already_is_a_success(config: Config, files: Files) -> None:
    files.control("in production")
    for clean in (True, False):
        postgres.stop(config, clean=clean)
