"""`pgvip watch`: the picture as lines, what the terminal gets, and how it is left."""

from __future__ import annotations

import doctest
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest

from pgvip.cli import watch, watch_text
from pgvip.cli.main import main
from pgvip.cli.watch_text import Picture, frame, text_of
from pgvip.core.observations import Observations
from pgvip.core.values import Durable
from pgvip.errors import Exit
from tests.unit.cli.test_orders import Daemon
from tests.unit.status.test_document import built, decided, healthy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOON = 1_750_000_000.0
LAGS = [(0.001 * (number % 9), 1000.0 * number) for number in range(40)]
EVENTS = [
    {"at": NOON - number, "host": "alpha", "event": "change", "level": "warning" if number == 1 else "info",
     "text": f"number {number}"} for number in range(8)
]  # fmt: skip
WARNINGS = [{"name": "peer-silent", "text": "the peer's daemon does not answer", "hint": "systemctl status pgvip"}]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


def picture(**changes: Any) -> Picture:
    document = {**healthy(), "warnings": WARNINGS}
    return Picture(**{"at": NOON, "status": document, "lags": LAGS, "events": EVENTS, **changes})


def test_doctests() -> None:
    assert doctest.testmod(watch_text) == (0, 1)


@pytest.mark.parametrize(("width", "height"), [(100, 40), (100, 22), (60, 14), (40, 5)])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_screen(width: int, height: int, ascii_only: bool, golden: Callable[[str, str], None]) -> None:
    lines = frame(picture(), width, height, ascii_only=ascii_only)
    assert len(lines) <= height
    assert max(len(line.text) for line in lines) <= width
    text = text_of(lines)
    assert text.isascii() or not ascii_only
    if height > 10:
        assert "hint: systemctl" in text, "a warning is what a low screen must still show"
    if not ascii_only:
        golden(f"watch-{width}x{height}.txt", text + "\n")


def test_styles_mark_what_is_wrong() -> None:
    marked = {line.text.strip().split(":")[0]: line.style for line in frame(picture(), 100, 60)}
    assert marked["peer-silent"] == "warning"
    assert marked["pair shop (sync), term 4"] == "warning"
    assert marked["hint"] == ""
    calm = frame(picture(status={**healthy(), "warnings": []}), 100, 60)
    assert {"no warnings": "quiet", "pair shop (sync), term 4": "title"}.items() <= {
        line.text.split(":")[0]: line.style for line in calm
    }.items()


def test_a_mend_is_never_cut() -> None:
    hint = "see that it is off and stays off, then: pgvip promote --force --without-fence, on the other host"
    status = {**healthy(), "warnings": [{"name": "x", "text": "y", "hint": hint}]}
    shown = " ".join(line.text.strip() for line in frame(picture(status=status), 50, 60))
    assert hint in shown


def test_a_daemon_that_is_gone_leaves_its_last_word() -> None:
    text = text_of(frame(picture(failure="the daemon does not run", age_s=12.0), 100, 60))
    assert "no answer from the daemon: the daemon does not run; what follows is 12 s old" in text
    assert "peer-silent" in text
    nothing = frame(Picture(NOON, failure="the daemon does not run"), 100, 60)
    assert len(nothing) == 3


def test_nothing_known_breaks_nothing() -> None:
    document = built(decided(Durable(), Observations(), confirmed=False), Observations())
    text = text_of(frame(Picture(NOON, document, lags=[(None, None)]), 80, 60))
    assert "no record on this host" in text
    assert "replay lag" not in text
    odd = [{"at": "soon", "text": None}, {}]
    assert "?: " in text_of(frame(picture(events=odd), 100, 60))


def test_the_newest_event_comes_first() -> None:
    shown = [line.text for line in frame(picture(events=list(reversed(EVENTS))), 100, 60) if "number" in line.text]
    assert [line[-1] for line in shown] == list("01234567")


# --- the command ---------------------------------------------------------------------------------------------


def answering(daemon: Daemon, *, events: bool = True) -> Callable[[Any], None]:
    """Reply by what was asked last."""

    def answer(reply: Callable[[dict[str, Any]], None]) -> None:
        command = daemon.asked[-1]["command"]
        if command == "status":
            reply({"ok": True, "status": healthy()})
        elif command == "history":
            reply({"ok": True, "samples": [{"lag_s": 0.5, "lag_bytes": 10.0}]})
        elif events:
            reply({"ok": True, "events": EVENTS})
        else:
            reply({"ok": False, "error": "unknown command: 'events'", "detail": "", "hint": "", "exit_code": 5})

    return answer


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    made.answer = answering(made)
    made.server.start()
    yield made
    made.server.close()


def test_once_is_plain_text(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.run("watch", "--once") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "alpha is primary" in shown
    assert "change: number 0" in shown
    assert "at most 500 ms" in shown, "the history's last minutes begin the graph"


def test_a_daemon_without_events_is_watched_too(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answer = answering(daemon, events=False)
    assert daemon.run("watch", "--once") == 0
    assert "last events" not in capsys.readouterr().out


def test_once_without_a_daemon_is_exit_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Daemon(tmp_path).run("watch", "--once") == Exit.UNREACHABLE
    assert "no answer from the daemon: the pgvip daemon does not run on this host" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1e9", "nan"])
def test_intervals_have_limits(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["watch", f"--interval={text}"])
    assert caught.value.code == Exit.USAGE
    assert f'"{text}" is not an interval from 0.2 to 3600 seconds' in capsys.readouterr().err


class Terminal:
    """`pgvip watch` in a pseudo-terminal."""

    def __init__(self, daemon: Daemon, lines: int = 24, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(lines, 80)
        self.before = termios.tcgetattr(slave)
        argv = [sys.executable, "-m", "pgvip.cli.main", "--config", str(daemon.file), "watch", *words]
        env = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", "COVERAGE_PROCESS_START": ""}
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no thread runs in the child
        )  # fmt: skip
        self.slave = slave
        self.text = ""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_until(self, pattern: str, limit_s: float = 20.0) -> str:
        """What came until the pattern did; the rest stays."""
        end_s = time.monotonic() + limit_s
        while not (found := re.search(pattern, self.text, re.DOTALL)):
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"no {pattern!r} in {self.text[-2000:]!r}"
            if select.select([self.master], [], [], left_s)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        seen, self.text = self.text[: found.end()], self.text[found.end() :]
        return seen

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal(daemon: Daemon) -> Iterator[Terminal]:
    made = Terminal(daemon, 24, "--interval", "0.2")
    yield made
    made.close()


def test_q_quits_and_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    shown = terminal.read_until("no warnings|warnings")
    assert shown.startswith("\x1b[?1049h")
    assert termios.tcgetattr(terminal.slave)[3] & termios.ICANON == 0
    terminal.type("q")
    terminal.read_until(r"\x1b\[\?25h\x1b\[\?1049l")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_ctrl_c_leaves_it_too(terminal: Terminal) -> None:
    terminal.read_until("alpha is primary")
    terminal.type("\x03")
    terminal.read_until(r"\x1b\[\?1049l")
    assert terminal.process.wait(10) == 130
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_only_what_changed_is_sent(terminal: Terminal) -> None:
    terminal.read_until("alpha is primary")
    terminal.read_until(r"\x1b\[1;1H.*?\x1b\[1;1H")  # the clock in the first line has moved on
    later = terminal.read_until(r"\x1b\[1;1H.*?\x1b\[1;1H")
    assert "alpha is primary" not in later
    assert "\x1b[2J" not in later


def test_another_size_is_drawn_at_once(terminal: Terminal) -> None:
    terminal.read_until("q quits")
    terminal.resize(10, 50)
    terminal.read_until(r"\x1b\[2J.*q quits   \d+ more lines")
    os.kill(terminal.process.pid, 0)


def test_ctrl_z_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.read_until("alpha is primary")
    terminal.type("\x1a")
    terminal.read_until(r"\x1b\[\?1049l")
    os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.read_until(r"\x1b\[\?1049h.*alpha is primary")
    terminal.type("q")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_the_source_keeps_as_many_lags_as_are_drawn(daemon: Daemon) -> None:
    source = watch.Source(daemon.file.parent / "run" / "pgvip.sock")
    for _ in range(watch_text.GRAPH_MAX + 5):
        last = source.look()
    assert len(last.lags) == watch_text.GRAPH_MAX
