from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pgvip.deadlines import now_s, wait_until
from pgvip.errors import CommandError
from pgvip.system.commands import Lookout, check, describe, run

ROOT = Path(__file__).parents[3]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the second: it went between open and read
        return False
    return state not in "ZX"


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_output_and_exit_code_come_back() -> None:
    done = run(shell("echo out; echo err >&2; exit 3"), timeout_s=5)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert done.said == "err"


def test_check_raises_with_the_commands_own_words() -> None:
    with pytest.raises(CommandError) as caught:
        check(shell("echo the disk is full >&2; exit 4"), timeout_s=5)
    assert caught.value.message == "sh failed with exit code 4"
    assert caught.value.detail == "the disk is full"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(CommandError, match="could not run no-such-program"):
        run(["/nowhere/no-such-program"], timeout_s=5)


def test_standard_input_arrives_whole_and_large() -> None:
    text = "x" * 300_000
    assert run(["wc", "-c"], timeout_s=5, input_text=text).stdout.strip() == "300000"
    assert run(["cat"], timeout_s=5).stdout == ""


def test_standard_input_is_never_in_an_error() -> None:
    with pytest.raises(CommandError) as caught:
        check(shell("cat > /dev/null; exit 1"), timeout_s=5, input_text="password=secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(CommandError) as caught:
        run(shell("cat > /dev/null; sleep 60"), timeout_s=0.2, input_text="password=secret")
    assert "secret" not in str(caught.value)


def test_the_whole_group_is_ended_at_the_deadline(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    start_s = now_s()
    with pytest.raises(CommandError, match=r"did not finish within 0\.3 s"):
        run(shell(f"sleep 60 & echo $! > {pids}; echo $$ >> {pids}; wait"), timeout_s=0.3)
    assert now_s() - start_s < 3
    # The grandchild is nobody's to wait for: killed, it may live a moment.
    assert wait_until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()), 5)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    start_s = now_s()
    with pytest.raises(CommandError):
        run(shell(f"trap '' TERM; echo $$ > {pids}; while :; do sleep 1; done"), timeout_s=0.2)
    assert now_s() - start_s < 4
    assert not alive(int(pids.read_text()))


def test_a_stopped_child_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(CommandError):
        run(shell(f"echo $$ > {pids}; kill -STOP $$"), timeout_s=0.2)
    assert not alive(int(pids.read_text()))


def test_a_daemonised_grandchild_that_holds_the_pipes_delays_nothing() -> None:
    start_s = now_s()
    done = run(shell("setsid sleep 30 & echo $!"), timeout_s=10)
    assert now_s() - start_s < 2
    grandchild = int(done.stdout)
    assert alive(grandchild)
    os.kill(grandchild, signal.SIGKILL)


def test_lines_are_seen_as_they_come() -> None:
    seen: list[tuple[float, str]] = []
    run(
        shell("echo one; sleep 0.3; printf 'two\\rthree' >&2"),
        timeout_s=5,
        on_line=lambda line: seen.append((now_s(), line)),
    )
    assert [line for _, line in seen] == ["one", "two", "three"]
    assert seen[1][0] - seen[0][0] > 0.2


def test_output_without_end_is_bounded() -> None:
    done = run(shell("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end"), timeout_s=10)
    assert len(done.stdout) <= 1 << 20
    assert done.stdout.endswith("x\nend\n")


def test_another_user_is_become_with_a_home() -> None:
    done = check(shell('id -un; id -Gn; echo "$HOME"; pwd'), timeout_s=5, user="nobody")
    account = pwd.getpwnam("nobody")
    assert done.stdout.split() == ["nobody", "nogroup", account.pw_dir, "/"]
    with pytest.raises(CommandError, match="no-such-user"):
        run(["true"], timeout_s=5, user="no-such-user")


def test_the_environment_is_neutral(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    lines = check(["env"], timeout_s=5, env={"PGDATA": "/data"}, cwd=tmp_path).stdout.splitlines()
    assert "LC_ALL=C" in lines
    assert "PGDATA=/data" in lines
    assert not [line for line in lines if line.startswith(("PGHOST", "NOTIFY_SOCKET", "LANG="))]


def test_a_command_can_be_tied_to_its_callers_life(tmp_path: Path) -> None:
    program = (
        "from pgvip.system.commands import run\n"
        f"run(['sh', '-c', 'echo $$ > {tmp_path}/pid; exec sleep 60'], timeout_s=60, die_with_caller=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as caller:
        pid = wait_until(lambda: int((tmp_path / "pid").read_text() or 0) if (tmp_path / "pid").exists() else None, 10)
        assert alive(pid)
        caller.kill()
        caller.wait(5)
    assert wait_until(lambda: not alive(pid), 5)


def test_commands_run_beside_each_other() -> None:
    start_s = now_s()
    threads = [threading.Thread(target=run, args=(["sleep", "0.3"],), kwargs={"timeout_s": 5}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert now_s() - start_s < 4.5


def test_ends_are_described() -> None:
    assert describe(1) == "failed with exit code 1"
    assert describe(-9) == "was ended by signal 9 (SIGKILL)"
    assert describe(-64).startswith("was ended by signal 64")


def test_a_lookout_runs_commands_like_any_other() -> None:
    lookout = Lookout()
    done = lookout.run(shell("echo out; echo err >&2; exit 3"), timeout_s=5)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    start_s = now_s()
    with pytest.raises(CommandError, match=r"sleep did not finish within 0\.2 s"):
        lookout.run(["sleep", "60"], timeout_s=0.2)
    assert now_s() - start_s < 3
    assert lookout.run(["true"], timeout_s=5).returncode == 0, "one that could be ended is forgotten"


def test_a_lookout_starts_nothing_beside_a_hung_command(monkeypatch: pytest.MonkeyPatch) -> None:
    lookout = Lookout()
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda pid, number: None)  # stands in for D state: no signal ends it
        with pytest.raises(CommandError):
            lookout.run(["sleep", "60"], timeout_s=0.1)
    with pytest.raises(CommandError, match="true was not started") as caught:
        lookout.run(["true"], timeout_s=5)
    assert "sleep 60" in caught.value.detail
    hung = int(caught.value.detail.partition("(pid ")[2].partition(")")[0])
    os.kill(hung, signal.SIGKILL)
    wait_until(lambda: not alive(hung), 5)
    assert lookout.run(["true"], timeout_s=5).returncode == 0
