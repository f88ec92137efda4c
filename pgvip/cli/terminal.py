"""A whole-screen view in a terminal: only lines that changed are sent, so that it neither flickers nor needs bandwidth.

Escape sequences are those of ECMA-48 and xterm's alternate screen, which every terminal in use knows; curses would
need a terminfo entry for the far end of each ssh session.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any, Self

from pgvip.cli.colour import styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.cli.watch_text import Line

ENTER = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"
LEAVE = "\x1b[?25h\x1b[?1049l"
CLEAR_REST = "\x1b[K"
FALLBACK = os.terminal_size((80, 24))


class Screen:
    """A context manager: the terminal is as before at its end, also after an error or Ctrl-Z.

    `colour`: whether lines have looks (NO_COLOR, no-color.org).
    """

    def __init__(self, *, colour: bool = True) -> None:
        self._colour = colour
        self._shown: list[str] = []
        self._size = FALLBACK
        self._keys = sys.stdin.isatty()
        self._before: list[Any] = []
        self._pipe = (-1, -1)
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP):  # `wait` heeds them: a handler may not write
            self._handlers[number] = signal.signal(number, lambda _number, _frame: None)
        # Also where the caller's shell had it ignored (a script's background): a screen can be left by Ctrl-C.
        self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for descriptor in self._pipe:
            os.close(descriptor)

    def size(self) -> os.terminal_size:
        """Columns and lines now."""
        try:
            found = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return FALLBACK
        return found if found.columns and found.lines else FALLBACK

    def draw(self, lines: Sequence[Line]) -> None:
        """Bring the screen from what it shows to these lines, in one write."""
        size = self.size()
        parts = []
        if size != self._size:
            self._size, self._shown = size, []
            parts.append("\x1b[2J")
        wanted = [self._styled(line) for line in lines[: size.lines]]
        wanted += [""] * (len(self._shown) - len(wanted))
        for number, text in enumerate(wanted):
            if number >= len(self._shown) or self._shown[number] != text:
                parts.append(f"\x1b[{number + 1};1H{text}{CLEAR_REST}")
        self._shown = wanted
        self._write("".join(parts))

    def wait(self, seconds: float) -> str:
        """Wait for a key, at most `seconds`. Returns it, or "" after the time or when the window has another size."""
        sources = [self._pipe[0], *([sys.stdin.fileno()] if self._keys else [])]
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._pipe[0] in ready:
            numbers = os.read(self._pipe[0], 4096)
            if signal.SIGTSTP in numbers:
                self._suspend()
            if signal.SIGCONT in numbers:
                self._take()
            return ""
        if not ready:
            return ""
        typed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
        self._keys = bool(typed)  # at its end nothing is typed any more
        return typed[:1]

    def _take(self) -> None:
        if self._keys:
            self._before = self._before or termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        self._shown = []
        self._write(ENTER)

    def _give_back(self) -> None:
        self._write(LEAVE)
        if self._before:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal back; SIGCONT takes it again."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _styled(self, line: Line) -> str:
        return styled(line.text, line.style) if self._colour else line.text

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
