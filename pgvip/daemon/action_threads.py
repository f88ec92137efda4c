"""Runs the actions: each in a thread of its own; its result comes back through the inbox, once.

Actions on the local server take turns, since a start that ended after a verified stop would undo it. A stop
does not queue behind a start that hangs: it ends the server's processes first, which makes the start fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from pgvip.core.actions import Action, Claimed, KillPostgres, Result, StopPostgres, WriteState
from pgvip.core.values import WalPoint
from pgvip.daemon.internal_errors import InternalErrors
from pgvip.deadlines import now_s
from pgvip.errors import PgvipError, PostgresError
from pgvip.state.record import InDoubtError
from pgvip.system.reserve import RESERVE, TASKS

HANDS = 8
"""Threads that wait for actions from the start on: a host whose limit of threads or memory is used up can still fence,
promote and write its record. More actions at a time get threads of their own."""

TEXT_MAX = 2000
"""Characters of a failure that are kept: they travel in messages, which have a limit (link.wire.MAX_BYTES)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action's function may report beyond "it worked"."""

    text: str = ""
    point: WalPoint | None = None
    claimed: Claimed | None = None


Function = Callable[[Action], Outcome | None]


class Workshop:
    """Starts actions and hands back their results. `functions`: one for each kind of action.

    `interrupt` is called before a stop waits for its turn: it ends what a start or promotion waits for. `took_s`: where
    it is noted how long the last action of each kind took that worked; `explain` expects that of the next one.
    `faults`: where an action that fails in no foreseen way is reported; it is a failed one like any other.
    """

    def __init__(
        self,
        functions: Mapping[type[Action], Function],
        interrupt: Callable[[StopPostgres], None],
        inbox: SimpleQueue[object],
        log: Callable[[str, str], None] = lambda _event, _text: None,
        took_s: dict[str, float] | None = None,
        *,
        faults: InternalErrors | None = None,
    ) -> None:
        self._log = log
        self._faults = faults or InternalErrors()
        self._functions = functions
        self._interrupt = interrupt
        self._inbox = inbox
        self._server = threading.Lock()
        self._stops = 0
        self._took_s = {} if took_s is None else took_s
        self._waiting: SimpleQueue[tuple[Action, int]] = SimpleQueue()
        self._idle, self._idle_lock = 0, threading.Lock()

    def prepare(self, hands: int = HANDS) -> None:
        """Start the threads that wait for actions."""
        for number in range(hands):
            threading.Thread(target=self._serve, name=f"action-{number}", daemon=True).start()
            self._idle += 1

    def start(self, action: Action) -> None:
        """Begin `action` and return at once. Where no thread is left the action has failed, and says so."""
        self._stops += isinstance(action, StopPostgres | KillPostgres)
        with self._idle_lock:
            taken = self._idle > 0
            self._idle -= taken
        if taken:
            self._waiting.put((action, self._stops))
            return
        name = f"action-{type(action).__name__}"
        try:
            thread = threading.Thread(target=self._run, args=(action, self._stops), name=name, daemon=True)
            TASKS.room_for(thread.start)
        except RuntimeError as failure:  # the limit of threads: it is tried again, as whatever fails
            text = f"no thread for the action: {failure}; see the limits of the daemon: TasksMax, ulimit -u"
            self._inbox.put(Result(action, ok=False, at_s=now_s(), text=text))

    def _serve(self) -> None:
        """One of the threads that wait."""
        while True:
            self._run(*self._waiting.get())
            with self._idle_lock:
                self._idle += 1

    def _run(self, action: Action, stops: int) -> None:
        began_s, what = now_s(), f"action {type(action).__name__}"
        try:
            with RESERVE.lent():
                outcome = self._do(action, stops) or Outcome()
            result = Result(action, True, now_s(), outcome.text, outcome.point, outcome.claimed)
            self._took_s[type(action).__name__] = result.at_s - began_s
            if not action.properties.routine:
                self._log("done", done(action, result.at_s - began_s, result.text))
        except (PgvipError, OSError) as failure:
            text = str(failure).replace("\n", "; ")[:TEXT_MAX] or type(failure).__name__
            result = Result(action, ok=False, at_s=now_s(), text=text)
        except InDoubtError:
            raise  # which record is on the disk is not known: this process ends, and the next one settles it
        except Exception as fault:  # one of the two runners: what nobody foresaw ends no daemon
            if isinstance(action, WriteState):
                raise  # in doubt as well
            text = self._faults.failed(what, fault)[:TEXT_MAX]
            self._inbox.put(Result(action, ok=False, at_s=now_s(), text=text))
            return
        self._faults.ended(what)
        self._inbox.put(result)

    def _do(self, action: Action, stops: int) -> Outcome | None:
        function = self._functions[type(action)]
        if not action.properties.exclusive:
            return function(action)
        if isinstance(action, StopPostgres) and self._server.locked():
            self._interrupt(action)
        with self._server:
            if stops != self._stops and not isinstance(action, StopPostgres):
                raise PostgresError("a stop was ordered while this waited for its turn")
            return function(action)


def done(action: Action, took_s: float, said: str = "") -> str:
    """An action that has ended well, for people. `said`: what it reports.

    >>> done(StopPostgres(clean=True), 0.25)
    'stop PostgreSQL, with a fast shutdown first (250 ms)'
    """
    return f"{action.words()} ({1000 * took_s:.0f} ms)" + (f": {said}" if said else "")
