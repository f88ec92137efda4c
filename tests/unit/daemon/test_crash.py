"""What a fault in one of the daemon's threads does."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from pgvip.daemon.crash import CrashHandler
from pgvip.events import event_log
from pgvip.web.http import REQUEST_THREAD


class Store:
    """Notes that the last event was waited for."""

    closed = 0

    def close(self, _within_s: float) -> None:
        self.closed += 1


@pytest.mark.parametrize(("name", "exits"), [("probe-disks", [1]), (REQUEST_THREAD, []), ("http", [1])])
def test_a_fault_ends_the_daemon_but_for_one_in_an_answer(
    name: str, exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(event_log, "log", lambda event, text: logged.append((event, text)))
    store = Store()
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back at the end
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    CrashHandler(store).install()  # type: ignore[arg-type]  # stands for the one with files

    def fail() -> None:
        raise ZeroDivisionError

    thread = threading.Thread(target=fail, name=name)
    thread.start()
    thread.join(5.0)
    assert left == exits
    assert store.closed == len(exits)
    [(event, text)] = logged
    assert event == ("crash" if exits else "http-crash")
    assert "ZeroDivisionError" in text


class HalfMade:
    """As an event loop for whose sockets there was no descriptor."""

    def __del__(self) -> None:
        raise AttributeError("no attribute '_ssock'")


def test_what_a_finalizer_raises_is_one_line_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(event_log, "log", lambda event, text: logged.append((event, text)))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back at the end
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    CrashHandler(Store()).install()  # type: ignore[arg-type]  # stands for the one with files
    HalfMade()
    [(event, text)] = logged
    assert event == "cleanup-failed"
    assert "AttributeError: no attribute '_ssock'; in <function HalfMade.__del__" in text
    assert "Traceback" not in capfd.readouterr().err
