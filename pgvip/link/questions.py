"""Questions to the peer's daemon and its answers, sent after the heartbeats and never in their way.

A question goes out on every connection that works, and is answered once: copies are known by their number. What asks
waits in a thread of its own; what answers runs in one too, so the link's thread never waits for either.
"""

from __future__ import annotations

import secrets
import struct
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pgvip.errors import FormatError, LinkError
from pgvip.state import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NUMBER = struct.Struct(">Q")
ANSWERING_MAX = 4
"""Questions that are being answered at the same time; another one is dropped, and whoever asks says so in the end."""
REMEMBERED = 64
"""Numbers of questions whose copies are known as such."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The other end asks."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The other end answers."""

    number: int
    text: str


def ask_document(link: Link, request: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
    """Ask with a JSON object; LinkError when no answer comes in time, or one that is none."""
    answer = link.ask(codec.plain_to_json(request), timeout_s)
    try:
        return codec.parse_object(answer, max_bytes=len(answer))
    except FormatError as failure:
        raise LinkError("did not understand the peer's answer", f"{failure}.") from failure


class Link(Protocol):
    """What carries questions."""

    def ask(self, text: str, timeout_s: float) -> str:
        """The peer's answer; LinkError when none comes in time."""


class Asking:
    """What is asked and answered over one link.

    `answer` is called in a thread of its own with the text of a question. `post(is_answer, number, text)` hands a frame
    to the link's thread, and is False where nobody is connected.
    """

    def __init__(self, answer: Callable[[str], str], post: Callable[[bool, int, str], bool]) -> None:
        self._answer, self._post = answer, post
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[threading.Event, list[str]]] = {}
        self._seen: deque[int] = deque(maxlen=REMEMBERED)
        self._slots = threading.BoundedSemaphore(ANSWERING_MAX)

    def ask(self, text: str, timeout_s: float) -> str:
        """Ask the peer's daemon and wait for its answer. LinkError when none comes in time."""
        number, came, answers = secrets.randbits(64), threading.Event(), list[str]()
        with self._lock:
            self._waiting[number] = (came, answers)
        try:
            if not self._post(False, number, text):
                raise LinkError("the peer's daemon is not connected", hint="See the peer link in pgvip status.")
            if not came.wait(timeout_s):
                raise LinkError(f"the peer's daemon gave no answer within {timeout_s:g} s")
        finally:
            with self._lock:
                del self._waiting[number]
        return answers[0]

    def take(self, got: Asked | Answered) -> None:
        """Called on the link's thread with what came; returns at once."""
        if isinstance(got, Answered):
            with self._lock:
                came, answers = self._waiting.get(got.number, (None, []))
            if came is not None and not came.is_set():
                answers.append(got.text)
                came.set()
        elif got.number not in self._seen:
            self._seen.append(got.number)
            if self._slots.acquire(blocking=False):
                try:
                    threading.Thread(target=self._reply, args=(got,), name="peer-question", daemon=True).start()
                except RuntimeError:  # the limit of threads: no answer is better than no daemon
                    self._slots.release()

    def _reply(self, asked: Asked) -> None:
        try:
            self._post(True, asked.number, self._answer(asked.text))
        finally:
            self._slots.release()
