"""What operators ask of the running daemon: a table of requests, each with its handler.

Each request runs in a thread of the operator socket, reads the newest snapshot and puts orders into the
loop's inbox; it changes nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pgvip.core.messages import Order
from pgvip.errors import PgvipError, RefusedError
from pgvip.events import event_log
from pgvip.journal import samples
from pgvip.link.operator_socket import failure
from pgvip.orders import plain
from pgvip.orders.desk import Desk, Document, Handler, Reply
from pgvip.orders.planned import Switchover
from pgvip.orders.power import Power
from pgvip.orders.removing import Removing
from pgvip.orders.schedule import Schedule

READING = frozenset({"status", "history", "events", "explain"})
"""What only reads."""
TEXT_MAX = 500
"""Of what a drill says."""


class Orders:
    """Answers the operator socket. `handlers`: what is answered, by the request's `command`.

    `status`: the status document. `renew_keys`: reads the certificates of the link again. `read_drill`: what a drill
    found is to be seen. `only`: what is answered where pgvip only observes; None for everything.
    """

    def __init__(
        self,
        desk: Desk,
        status: Callable[[], dict[str, Any]],
        renew_keys: Callable[[], None],
        *,
        schedule: Schedule | None = None,
        more: Mapping[str, Handler] | None = None,
        read_drill: Callable[[], None] = lambda: None,
        only: frozenset[str] | None = None,
    ) -> None:
        self._desk, self._build_status, self._schedule, self._only = desk, status, schedule, only
        self._renew_keys, self._read_drill = renew_keys, read_drill
        self._switchovers, power, removing = Switchover(desk), Power(desk), Removing(desk)
        self.handlers: dict[str, Handler] = {
            "status": self._status,
            "order": self._order,
            "switchover": self._switchover,
            "failover": power.failover,
            "promote": power.promote,
            "fence": power.fence,
            "remove-peer": removing.remove,
            "add-peer": removing.add,
            "history": self._history,
            "drill": self._drill,
            "renew-keys": self._keys,
            **(more or {}),
        }

    def handle(self, request: Document, reply: Reply) -> None:
        """Answer one request; the last reply has `ok`."""
        try:
            name = str(request.get("command", ""))
            handler = self.handlers.get(name)
            if handler is None:
                known = ", ".join(sorted(self.handlers))
                raise RefusedError(f"unknown command: {name!r}", hint=f"Known commands: {known}.")
            if self._only is not None and name not in self._only:
                raise RefusedError(
                    'pgvip only observes this pair: pair.mode is "observe"',
                    hint="Use the tool that runs the pair. docs/procedures/observe.md says how pgvip takes it over.",
                )
            reply({"ok": True, **handler(request, reply)})
        except PgvipError as error:
            reply(failure(error))

    def _status(self, _request: Document, _reply: Reply) -> Document:
        return {"status": self._build_status()}

    def _history(self, request: Document, _reply: Reply) -> Document:
        return samples.answer(self._desk.snapshot().config.paths.samples, request)

    def _drill(self, request: Document, _reply: Reply) -> Document:
        """A drill says what it does, so that the log and the events explain the change of roles."""
        text = str(request.get("text", ""))
        if not 0 < len(text) <= TEXT_MAX:
            raise RefusedError(f"the text has {len(text)} characters; 1 to {TEXT_MAX} are wanted")
        event_log.log("drill", text)
        self._read_drill()
        return {"text": text}

    def _keys(self, _request: Document, _reply: Reply) -> Document:
        self._renew_keys()
        event_log.log("link", "the certificates were renewed; the peer needs its new bundle")
        return {"text": "the certificates were read again"}

    def _order(self, request: Document, reply: Reply) -> Document:
        """The plain orders; a switchover by this older request too."""
        if request.get("order") == Order.SWITCHOVER.value:
            return self._switchover(request, reply)
        return plain.handle(self._desk, request, reply)

    def _switchover(self, request: Document, reply: Reply) -> Document:
        schedule = self._schedule
        if request.get("cancel"):
            if schedule is not None and schedule.waiting is not None:
                return {"text": schedule.cancel(request)}
            return self._switchovers.cancel(request, reply)
        if request.get("at"):
            if schedule is None:
                raise RefusedError("nothing can be scheduled here")
            return {"text": schedule.add(request), **self._switchovers.checks()}
        return self._switchovers.handle(request, reply)
