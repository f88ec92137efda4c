"""The daemon's part of `pgvip restart`: the steps of this host's own server.

What the other host may ask for by the link is little: how this host is, and that its PostgreSQL, a standby, is stopped
and started again. A primary is restarted, and a server kept down, only for the operator on this host; and no command of
an operator ever comes by the link.

A step runs in a thread of its own and is asked after: it may take longer than a question, and its end must not depend
on a connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from pgvip.actions.postgres import checkpoint, stop
from pgvip.config.model import Config
from pgvip.core.actions import Rejoin
from pgvip.core.messages import Command, Order
from pgvip.deadlines import retry, wait_until
from pgvip.errors import LinkError, PgvipError, PostgresError, RefusedError
from pgvip.orders import leaving
from pgvip.orders.desk import Desk, Document, under_way
from pgvip.orders.rolling import Do, Look, Pending
from pgvip.state import codec
from pgvip.status.snapshot import Snapshot
from pgvip.system import pgtools
from pgvip.system.sql import connect_local

QUESTION = "restart"
LOOK = "look"
ASK_S = 10.0
ASK_AGAIN_S = 30.0
"""An answer of the peer may be lost with a connection that is made anew; then it is asked again."""
ANSWER_S = 3.0
STAY_S = 30.0
CHECKPOINT_S = 60.0
POLL_S = 0.05


class RestartDesk:
    """Begins steps, and says how they went. `desk`: the loop behind it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._doing = ""
        self._failure: PgvipError | None = None
        self._steps: dict[Do, Callable[[], None]] = {
            Do.CYCLE: self._cycle,
            Do.IN_PLACE: self._in_place,
            Do.DOWN: self._down,
            Do.UP: self._up,
        }

    def handle(self, request: Document, _reply: object) -> Document:
        """To the operator: one step, of this host or of the other one, by `host`."""
        config = self._desk.snapshot().config
        if request.get("host") != config.peer.name:
            return self._begin(request, tuple(self._steps))
        question = {**{key: value for key, value in request.items() if key != "command"}, "ask": QUESTION}
        ask_peer = self._desk.ask_peer
        answer = retry(
            lambda: ask_peer(question, ASK_S), on=LinkError, attempts=100, pause_s=0.3, deadline_s=ASK_AGAIN_S
        )
        if answer.get("ok") is not True:
            hint = str(answer.get("hint", ""))
            raise RefusedError(f"{config.peer.name}: {answer.get('error', '')}", str(answer.get("detail", "")), hint)
        return {key: value for key, value in answer.items() if key != "ok"}

    def answer(self, request: Document) -> Document:
        """To the peer."""
        return self._begin(request, (Do.CYCLE,))

    def _begin(self, request: Document, allowed: tuple[Do, ...]) -> Document:
        """Begin a step; one that is under way, or over for that postmaster, is not begun again."""
        name = str(request.get("step", ""))
        if name == LOOK:
            return {"look": codec.encode(self._look())}
        if name not in [step.value for step in allowed]:
            raise RefusedError(f"{name[:20]!r} is no step that may be ordered from there")
        step = Do(name)
        snapshot = self._desk.snapshot()
        was = str(request.get("postmaster", ""))
        if was and was != snapshot.decision.message.postmaster:
            return {}  # it has been restarted since
        with self._lock:
            if self._doing.startswith(f"{step}: "):
                return {}
            if self._doing:
                raise RefusedError(f"another step of a restart is under way: {self._doing}", hint="Wait for its end.")
            refuse(snapshot, step)
            self._say(step, "begins")
            self._failure = None
        threading.Thread(target=self._run, args=(step,), name="restart", daemon=True).start()
        return {}

    def _run(self, step: Do) -> None:
        try:
            self._steps[step]()
        except PgvipError as failure:
            self._fail(step, failure)
        except OSError as fault:  # this host lacks descriptors or memory, say
            self._fail(step, PostgresError("a step of the restart ended early", f"{fault}.", "See: pgvip status"))
        finally:
            self._doing = ""

    def _fail(self, step: Do, failure: PgvipError) -> None:
        self._failure = failure
        self._desk.log("restart", f"{step} failed: {failure.message}")

    def _say(self, step: Do, text: str) -> None:
        self._doing = f"{step}: {text}"

    # --- what the steps do ------------------------------------------------------------------------------

    def _cycle(self) -> None:
        self._stop_standby(Do.CYCLE)
        self._say(Do.CYCLE, "PostgreSQL starts")
        self._stay()
        self._desk.log("restart", "PostgreSQL, a standby, was restarted by order")

    def _down(self) -> None:
        self._stop_standby(Do.DOWN)
        self._desk.log("restart", "PostgreSQL was stopped by order, and stays down until pgvip restart goes on")

    def _up(self) -> None:
        self._say(Do.UP, "PostgreSQL starts")
        self._stay()

    def _in_place(self) -> None:
        """The core sees a clean stop that it did not ask for, and starts the server again."""
        config = self._desk.snapshot().config
        self._say(Do.IN_PLACE, "checkpoint, so that the stop is short")
        checkpoint(config, CHECKPOINT_S)
        self._say(Do.IN_PLACE, "PostgreSQL stops, and starts again")
        self._desk.log("restart", "PostgreSQL, the primary, is restarted by order")
        stop(config, clean=True)

    def _stop_standby(self, step: Do) -> None:
        """The primary serves alone first, so that no commit waits for a server that is down."""
        before = self._desk.snapshot()
        config = before.config
        self._say(step, leaving.plan(before, ""))
        left = leaving.outcome("")

        def gone() -> str | None:
            now = self._desk.snapshot()
            return left(before, now) if now.decision.knowledge is not before.decision.knowledge else None

        self._desk.order(Command(Order.SHUTDOWN))
        try:
            wait_until(gone, config.shutdown_handover_s, every_s=POLL_S, what="the primary serves alone")
            self._say(step, "PostgreSQL stops")
            stop(config, clean=True)
        except (PgvipError, OSError):
            self._desk.order(Command(Order.STAY))  # what has stopped is started again
            raise

    def _stay(self) -> None:
        self._desk.order(Command(Order.STAY))
        wait_until(
            lambda: not self._desk.snapshot().decision.knowledge.orders.leaving,
            STAY_S, every_s=POLL_S, what="the daemon takes the order", error=PostgresError,
        )  # fmt: skip

    # --- how it is ------------------------------------------------------------------------------------------

    def _look(self) -> Look:
        snapshot, failure = self._desk.snapshot(), self._failure
        record = snapshot.decision.knowledge.durable.record
        found: Mapping[str, Any] = {}
        unknown = ""
        try:
            found = ask(snapshot.config)
        except PgvipError as error:
            unknown = error.message
        return Look(
            host=snapshot.config.me.name,
            primary=record.primary if record else "",
            postmaster=snapshot.decision.message.postmaster,
            leaving=snapshot.decision.knowledge.orders.leaving,
            doing=self._doing,
            failure=failure.message if failure else "",
            detail=failure.detail if failure else "",
            hint=failure.hint if failure else "",
            unknown=unknown,
            **found,
        )


def ask(config: Config) -> dict[str, Any]:
    """What the server and its programs say: versions, and what waits for a restart."""
    with connect_local(config) as session:
        running = str(session.query("setting", ("server_version",), timeout_s=ANSWER_S)[0][0])
        rows = session.query("restart_pending", timeout_s=ANSWER_S)
    pending = tuple(Pending(*map(str, row)) for row in rows)
    return {
        "running": running.partition(" ")[0],
        "installed": pgtools.full_version(config),
        "pending": pending,
    }


def refuse(snapshot: Snapshot, step: Do) -> None:
    """RefusedError when this host is not what the step needs."""
    k, me = snapshot.decision.knowledge, snapshot.config.me.name
    record = k.durable.record
    if record is None or not k.confirmed:
        raise RefusedError(f"{me} has no confirmed record", hint="See: pgvip status")
    if k.durable.pause.active:
        raise RefusedError("the pair is paused: pgvip starts no server", hint="End it first: pgvip resume")
    doing = under_way(snapshot)
    if doing:
        raise RefusedError(f"a change is under way: {doing}", hint="Wait until it is over.")
    if any(isinstance(action, Rejoin) for action in k.work.running):
        raise RefusedError(f"{me} is being rewound or cloned", hint="Wait until it follows.")
    if (record.primary == me) is not (step is Do.IN_PLACE):
        role = "primary" if record.primary == me else "standby"
        raise RefusedError(f"{me} is {role} now", hint="See: pgvip status")
