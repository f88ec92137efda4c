"""A headless Chromium over its debugging pipe (Chrome DevTools Protocol), with nothing but the standard library."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
ANSWER_S = 30.0
Message = dict[str, Any]


class Chromium:
    """One browser with one page. `seen`: all events of the page so far."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        self.seen: list[Message] = []
        self._number = 0
        self._held = b""
        self._session = ""
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        # Chromium reads its file descriptor 3 and writes 4 (--remote-debugging-pipe).
        shell = f'exec "$@" 3<&{to_child} 4>&{from_child} {to_child}<&- {from_child}>&-'
        words = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words], pass_fds=(to_child, from_child), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)

    def __enter__(self) -> Self:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._in)
        os.close(self._out)

    def ask(self, method: str, **params: Any) -> Message:
        """Send a command and return its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until_s = time.monotonic() + ANSWER_S
        while True:
            found = self._read(until_s)
            if found.get("id") == number:
                assert "error" not in found, found
                result: Message = found["result"]
                return result
            self.seen.append(found)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def show(self, url: str, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Load a page, and wait until it is there."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.ask("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def wait(self, script: str, deadline_s: float = 20.0) -> None:
        """Wait until an expression is true in the page."""
        until_s = time.monotonic() + deadline_s
        while not self.evaluate(script):
            assert time.monotonic() < until_s, f"not within {deadline_s:g} s: {script}"
            time.sleep(0.05)

    def events(self, method: str) -> list[Message]:
        return [one["params"] for one in self.seen if one.get("method") == method]

    def _read(self, until_s: float) -> Message:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._in, 1 << 16)
            assert data, "the browser has ended"
            self._held += data
        line, _, self._held = self._held.partition(b"\0")
        found: Message = json.loads(line)
        return found
