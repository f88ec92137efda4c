import os
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgvip.actions import postgres
from pgvip.errors import CommandError
from pgvip.setup import enrolment
from pgvip.system import pgtools, processes, units
from tests.unit import configs


def cluster(root: Path, name: str, data: str, start: str | None) -> Path:
    directory = root / "15" / name
    directory.mkdir(parents=True)
    (directory / "postgresql.conf").write_text(f"#data_directory = 'x'\ndata_directory = '{data}'\t# here\nport = 1\n")
    if start is not None:
        (directory / "start.conf").write_text(start)
    return directory / "start.conf"


def test_start_file_of_the_cluster_with_this_data_directory(tmp_path: Path) -> None:
    wanted = cluster(tmp_path, "main", "/srv/data", "# a comment\nauto\n")
    cluster(tmp_path, "other", "/srv/other", "auto\n")
    assert units.start_files(Path("/srv/data"), tmp_path) == [wanted]
    assert units.start_files(Path("/srv/none"), tmp_path) == []


def test_start_word_is_auto_without_a_file(tmp_path: Path) -> None:
    assert units.start_word(cluster(tmp_path, "a", "/a", None)) == "auto"
    assert units.start_word(cluster(tmp_path, "b", "/b", "# auto\nmanual # by hand\n")) == "manual"


def test_taking_over_makes_it_manual(tmp_path: Path) -> None:
    file = cluster(tmp_path, "main", "/srv/data", "auto\n")
    units.take_over(units.AutoStart("it", "hint", file))
    assert units.start_word(file) == "manual"


@pytest.mark.parametrize(("said", "word"), [("no", ""), ("on-failure", "on-failure"), ("always", "always")])
def test_a_unit_that_systemd_would_restart_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, word: str
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$*" = "show --property=Restart --value pg.service" ] && echo {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert units.restarts("pg.service") == word


@pytest.mark.parametrize(("said", "stopping"), [("stopping", True), ("running", False), ("degraded", False)])
def test_a_shutdown_of_the_machine_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, stopping: bool
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$*" = "is-system-running" ] && echo {said}\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(units, "has_systemd", lambda: True)
    assert units.stopping() is stopping


def test_a_systemd_that_says_nothing_is_no_word_of_a_shutdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(units, "has_systemd", lambda: True)
    with pytest.raises(CommandError):
        units.stopping()
    monkeypatch.setattr(units, "has_systemd", lambda: False)
    assert units.stopping() is False


@pytest.mark.parametrize(
    ("state", "after", "words"),
    [
        ("loaded", "network.target pg.service basic.target", ""),
        ("loaded", "network.target mypg.service", "is not ordered after pg.service"),
        ("not-found", "", "is not installed"),
    ],
)
def test_a_shutdown_that_would_not_wait_for_the_hand_over_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, after: str, words: str
) -> None:
    program = tmp_path / "systemctl"
    asked = "show --property=LoadState,After pgvip-handover.service"
    program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo LoadState={state} && echo "After={after}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    said = units.handover_order("pg.service")
    assert words in said
    assert bool(said) is bool(words)


def test_a_unit_is_not_stopped_by_its_job_while_the_machine_shuts_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That job is queued behind the hand-over, which waits for this very stop."""
    called: list[str] = []
    config = configs.make(tmp_path)
    config = replace(config, postgres=replace(config.postgres, unit="pg.service"))
    monkeypatch.setattr(processes, "postmaster", lambda _data: None if called else object())
    monkeypatch.setattr(postgres, "_checkpoint_first", lambda _config: None)
    monkeypatch.setattr(postgres, "check", lambda argv, **_: called.append(" ".join(argv)))
    monkeypatch.setattr(postgres, "_signal_postmaster", lambda _config, number: called.append(number.name))
    monkeypatch.setattr(processes, "cluster_processes", lambda _data: [])
    monkeypatch.setattr(processes, "members", lambda _data: [])
    monkeypatch.setattr(processes, "look", lambda _data: processes.Cluster(None, 0))
    monkeypatch.setattr(pgtools, "control_data", lambda _config: SimpleNamespace(state="shut down", clean=True))
    for stopping, wanted in ((True, "SIGINT"), (False, "systemctl stop --no-block pg.service"), (None, "systemctl")):
        monkeypatch.setattr(units, "stopping", partial(said, stopping))
        postgres.stop(config, clean=True)
        assert called.pop().startswith(wanted)


def said(stopping: bool | None, timeout_s: float) -> bool:
    assert timeout_s <= units.TIMEOUT_S
    if stopping is None:
        raise CommandError("systemctl is-system-running said nothing")
    return stopping


UNITS = Path(__file__).parents[3] / "systemd"
EXPOSURE = {"pgvip": 46, "pgvip-handover": 20, "pgvip-postgres": 35}
"""Tenths, by systemd-analyze security of systemd 252: 4.6, 1.6 and 3.2 (docs/security.md)."""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", EXPOSURE)
def test_units_stay_as_confined_as_they_are(unit: str, tmp_path: Path) -> None:
    text = (UNITS / f"{unit}.service").read_text()
    for program in ("/opt/pgvip/venv/bin/pgvip", "/usr/bin/postgres"):  # not here, and systemd wants them to be
        text = text.replace(program, "/bin/true")
    path = tmp_path / f"{unit}.service"
    path.write_text(text)
    argv = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE[unit]}", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{done.stdout[-200:]}{done.stderr}"
    assert done.stderr == ""  # neither an unknown setting nor a value that is not understood


def test_a_systemd_that_does_not_answer_is_not_one_that_does_not_know_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that has just booted: the operator looks for a wrong name otherwise."""
    (tmp_path / "systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(units, "has_systemd", lambda: True)
    monkeypatch.setattr(units, "TIMEOUT_S", 0.2)
    config = configs.make(tmp_path)
    served = replace(config, postgres=replace(config.postgres, unit="postgresql@15-main.service"))
    (problem,) = enrolment.unit_problems(served)
    assert "did not answer" in problem.message
    assert "systemctl show postgresql@15-main.service" in problem.hint
