"""The daemon's part of `pgvip config apply`: the steps of this host, asked for by the operator or by the peer's daemon.

Each host reads its own file: nothing that the peer says becomes configuration here. The command decides on the order
(`setup.apply_order`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgvip.config.reload import changes
from pgvip.daemon import pair_addresses, rotation_desk
from pgvip.deadlines import retry, wait_until
from pgvip.errors import CommandError, ConfigError, LinkError, PgvipError, ProbeError, RefusedError
from pgvip.orders.desk import under_way
from pgvip.setup.apply_order import QUESTION, Look
from pgvip.state import codec

if TYPE_CHECKING:
    from pgvip.daemon.live_config import LiveConfig
    from pgvip.status.snapshot import Snapshot

Document = Mapping[str, Any]
STEP_S = 60.0
ASK_S = 45.0
TAKE_S = 10.0
UNREACHABLE = "See: pgvip status. Where the own address of one host is gone already, run it on that host."
VERIFY_S = 40.0
"""A WAL receiver tries again every few seconds, and the link as soon as the other host has moved."""


class ApplyDesk:
    """`live`: the configuration in force. `reload`: has the file read again, soon. `connected`: the link is up."""

    def __init__(
        self,
        live: LiveConfig,
        snapshot: Callable[[], Snapshot],
        reload: Callable[[], None],
        connected: Callable[[], bool],
        ask: Callable[[Document, float], Document],
    ) -> None:
        self._live, self._snapshot, self._reload = live, snapshot, reload
        self._connected, self._ask = connected, ask

    def handle(self, request: Document, _reply: object) -> Document:
        """To the operator: one step, of this host or of the other one, by `host`."""
        config = self._live()
        if request.get("host") != config.peer.name:
            return self.answer(request)
        question = {"ask": QUESTION, "step": request.get("step")}
        try:
            answer = retry(
                lambda: self._ask(question, ASK_S), on=LinkError, attempts=20, pause_s=0.3, deadline_s=STEP_S
            )
        except LinkError as failure:
            if request.get("step") != "look":
                raise
            why = f"its daemon does not answer ({failure.message})"
            return {"look": codec.encode(Look(config.peer.name, refusal=why, hint=UNREACHABLE, silent=True))}
        if answer.get("ok") is not True:
            hint = str(answer.get("hint", ""))
            raise RefusedError(f"{config.peer.name}: {answer.get('error', '')}", str(answer.get("detail", "")), hint)
        return {key: value for key, value in answer.items() if key != "ok"}

    def answer(self, request: Document) -> Document:
        """One step of this host. PgvipError when it fails; it can be asked for again."""
        step = request.get("step")
        if step == "look":
            return {"look": codec.encode(self._look())}
        if step == "take":
            self._take()
        elif step == "verify":
            self._verify()
        else:
            raise RefusedError("unknown step of a configuration", hint="Run the same version on both hosts.")
        return {}

    def _look(self) -> Look:
        old, snapshot = self._live(), self._snapshot()
        record = snapshot.decision.knowledge.durable.record
        look = Look(old.me.name, primary="" if record is None else record.primary)
        try:
            new, _ = self._live.wanted()
        except PgvipError as failure:
            return replace(look, refusal=" ".join(filter(None, (failure.message, failure.detail))), hint=failure.hint)
        applicable, later = changes(old, new)
        doing = under_way(snapshot)
        return replace(
            look,
            digest=new.settings.digest,
            values=pair_addresses.of(new).values,
            changes=tuple(map(str, applicable)),
            restart=tuple(map(str, later)),
            moves=(new.me.address, new.me.interface) != (old.me.address, old.me.interface),
            refusal=f"a change is under way: {doing}" if doing else "",
            hint="Wait until it is over." if doing else "",
        )

    def _take(self) -> None:
        """Have the loop read the file again, and see that it is in force."""
        new, _ = self._live.wanted()
        self._reload()
        wait_until(lambda: not changes(self._live(), new)[0], TAKE_S, what="the file is in force", error=ConfigError)

    def _verify(self) -> None:
        """Whether this host is connected to the other one as the file says, and follows it where it is the standby."""
        retry(self._proved, on=(LinkError, ProbeError, CommandError), attempts=200, pause_s=0.3, deadline_s=VERIFY_S)

    def _proved(self) -> None:
        config, peer = self._live(), self._live().peer.name
        if not self._connected():
            raise LinkError(f"the daemon of {peer} is not connected")
        rotation_desk.answers(config)
        message = self._snapshot().decision.message
        if message.in_recovery and not message.streaming:
            raise ProbeError(f"PostgreSQL on {config.me.name} does not stream from {peer}")
