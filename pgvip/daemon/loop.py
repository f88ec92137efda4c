"""The daemon: one loop that drains one inbox, decides, and starts what was decided.

Nothing here waits for a probe or an action. Facts that matter wake the loop at once; the rest is processed
with the next heartbeat.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from pgvip.config.model import Config
from pgvip.core.actions import Action, Guard, Result
from pgvip.core.decide import begin, boot_facts, decide
from pgvip.core.knowledge import Knowledge
from pgvip.core.messages import Command, Message
from pgvip.core.observations import Database, Observation, Observations
from pgvip.core.settings import Identity, Inputs, Note
from pgvip.core.values import BootFacts, Durable
from pgvip.daemon.probe_threads import Probed
from pgvip.deadlines import now_s
from pgvip.errors import FormatError
from pgvip.state import codec
from pgvip.status.snapshot import LoopStats, Snapshot

Inbox = SimpleQueue[object]


@dataclass(frozen=True, slots=True)
class Received:
    """A text that came over the peer link."""

    text: str


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The peer link came up or went down."""

    up: bool


@dataclass(frozen=True, slots=True)
class Reload:
    """SIGHUP: read the configuration again."""


@dataclass(frozen=True, slots=True)
class Leave:
    """SIGTERM: end this process. Roles, addresses and PostgreSQL stay as they are."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything through which the loop touches the world; the tests of the loop give their own.

    `keep` is False when the facts could not be kept: then the next daemon of this boot knows none.
    `reload` reads the configuration again. `note` takes what the core reports, `ended` the snapshot of a round that has
    ended; neither may wait. `follow`: what is known before a round, where somebody else decides (`daemon.observer`).
    """

    start: Callable[[Action], None]
    wake: Callable[[str], None]
    send: Callable[[str], None]
    keep: Callable[[BootFacts], bool]
    log: Callable[[str, str], None]
    alive: Callable[[Guard], None]
    reload: Callable[[], None]
    note: Callable[[Note], None]
    ended: Callable[[Snapshot], None]
    follow: Callable[[Knowledge, Observations, float], Knowledge] = lambda known, _seen, _at_s: known


EAGER_S = 0.05
"""Pace of the rounds while a silence is measured: well under what a client notices."""
EAGER_FOR_S = 2.0
"""After the limits have passed, a silence is no news any more and the pace is the heartbeat's again."""

CLOCK_JUMP_S = 1.0
"""More than any slewing moves a clock between two rounds (at most 500 ppm: adjtimex(2))."""

_FIELDS = frozenset(item.name for item in fields(Observations))


class Daemon:
    """The loop and its state."""

    def __init__(
        self,
        config: Callable[[], Config],
        inbox: Inbox,
        outside: Outside,
        *,
        who: Identity,
        durable: Durable,
        facts: BootFacts,
    ) -> None:
        self._config, self._inbox, self._outside = config, inbox, outside
        self._knowledge: Knowledge = begin(who, durable, facts)
        self._decided_due_s = math.inf
        self._seen = Observations()
        self._facts = replace(facts, offset_s=None)
        self._said: Message | None = None
        self._heard: Message | None = None
        self._stats = LoopStats()
        self._offset_s = time.time() - now_s() if facts.offset_s is None else facts.offset_s
        self._leaving = False
        self._urgent = True
        self._messages: list[Message] = []
        self._results: list[Result] = []
        self._commands: list[Command] = []

    def run(self) -> None:
        """Go round until ordered to leave."""
        signal.signal(signal.SIGHUP, lambda _number, _frame: self._inbox.put(Reload()))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._inbox.put(Leave()))
        due_s = now_s()
        while not self._leaving:
            self._drain(due_s)
            began_s = now_s()
            self._stats.latest_ms = max(self._stats.latest_ms, (began_s - due_s) * 1000)
            self._round(began_s)
            self._stats.longest_ms = max(self._stats.longest_ms, (now_s() - began_s) * 1000)
            self._stats.rounds += 1
            due_s = began_s + self._pace_s(began_s)

    def _pace_s(self, at_s: float) -> float:
        """Until the next round without an event: a heartbeat; less while a silence or a delay is being measured."""
        settings, k = self._config().settings, self._knowledge
        quiet_s = at_s - k.peer.heard.at_s if k.peer.heard else 0.0
        measured_s = settings.dead_after_s + settings.fence_delay_s + EAGER_FOR_S
        left_s = max(0.0, self._decided_due_s - at_s)  # a lease ends, or a wait
        measuring = 2 * settings.heartbeat_s < quiet_s < measured_s
        return min(settings.heartbeat_s, left_s, EAGER_S if measuring or k.fencing.waiting else settings.heartbeat_s)

    def _drain(self, due_s: float) -> None:
        """Take events in until one is urgent or the next heartbeat is due; then whatever else is there."""
        self._urgent = False
        while not self._urgent and (left_s := due_s - now_s()) > 0:
            try:
                self._take(self._inbox.get(timeout=left_s))
            except Empty:
                break
        while not self._inbox.empty():
            self._take(self._inbox.get())

    def _take(self, event: object) -> None:
        if isinstance(event, Probed):
            self._probed(event)
        elif isinstance(event, Received):
            self._received(event.text)
        elif isinstance(event, Result):
            self._results.append(event)
            self._urgent = True
            for name in event.action.properties.probes:
                self._outside.wake(name)
        elif isinstance(event, Command):
            self._commands.append(event)
            self._urgent = True
        elif isinstance(event, LinkChanged):
            self._link_changed(event)
        elif isinstance(event, Reload):
            self._outside.reload()
            for name in ("leftovers", "peer_own", "peer_vip"):  # there may be other addresses now
                self._outside.wake(name)
            self._urgent = True
        elif isinstance(event, Leave):
            self._leaving = self._urgent = True
        else:
            raise AssertionError(f"unknown event {event!r}")  # noqa: TRY004 - a mistake of the program, never caught

    def _probed(self, event: Probed) -> None:
        if event.name not in _FIELDS:  # a chore, of no interest to the core
            if event.reason:
                self._outside.log("chore-failed", f"{event.name}: {event.reason}")
            return
        old: Observation[object] = getattr(self._seen, event.name)
        if event.lack:  # this host's own: what it would have observed is unknown
            lacking: dict[str, Any] = {event.name: old.lacking(event.lack, event.at_s)}
            self._seen = replace(self._seen, **lacking)
            return
        failed = old.failed(event.reason, event.at_s, event.tried_s) if event.reason else None
        new = failed or old.succeeded(event.value, event.at_s)
        change: dict[str, Any] = {event.name: new}
        self._seen = replace(self._seen, **change)
        if event.reason:
            self._urgent |= not old.failures or event.name in ("connection", "disks", "processes")
        else:
            self._urgent |= (
                bool(old.failures) or _significant_value(old.value) != _significant_value(new.value) or self._busy()
            )
        if event.name == "processes" and new.value is not None and new.value != old.value:
            self._outside.wake("database")
            self._outside.wake("connection")

    def _busy(self) -> bool:
        """Something is under way: then every observation may be the one that it waits for."""
        k = self._knowledge
        if self._heard is not None and self._heard.stopped is not None:
            return True  # the peer waits until this database says that it has everything
        return k.busy or any(action.properties.urgent for action in k.work.running)

    def _received(self, text: str) -> None:
        try:
            message = codec.from_json(Message, text)
        except FormatError as failure:
            self._outside.log("bad-message", failure.message)
            return
        self._messages.append(message)
        old, self._heard = self._heard, message
        self._urgent |= old is None or _significant(old) != _significant(message) or self._busy()

    def _link_changed(self, event: LinkChanged) -> None:
        self._outside.log("link", "up" if event.up else "down")
        self._said = None
        for name in ("peer_own", "peer_vip"):
            self._outside.wake(name)
        self._urgent = True

    def _round(self, at_s: float) -> None:
        config, wall = self._config(), datetime.now(tz=UTC)
        inputs = Inputs(
            self._seen,
            tuple(self._messages),
            tuple(self._results),
            tuple(self._commands),
            wall.isoformat(timespec="milliseconds"),
            self._clock_jumped(wall.timestamp() - at_s),
        )
        self._messages, self._results, self._commands = [], [], []
        known = self._outside.follow(self._knowledge, self._seen, at_s)
        decision = decide(known, inputs, config.settings, at_s)
        self._knowledge, self._decided_due_s = decision.knowledge, decision.due_s
        self._keep(decision.knowledge)
        for note in decision.notes:
            self._outside.note(note)
        for action in decision.actions:
            self._outside.start(action)
        for name in decision.wake:
            self._outside.wake(name)
        self._say(decision.message, at_s)
        self._outside.alive(decision.guard)
        self._outside.ended(Snapshot(config, decision, self._seen, at_s, self._stats))

    def _clock_jumped(self, offset_s: float) -> bool:
        """The wall clock and CLOCK_BOOTTIME moved apart since the last round: a paused machine, or a set clock."""
        jumped = abs(offset_s - self._offset_s) > CLOCK_JUMP_S
        self._offset_s = offset_s
        return jumped

    def _keep(self, k: Knowledge) -> None:
        """Boot facts outlive this process, not this boot. A lease's renewal alone is kept only now and then."""
        kept = boot_facts(k, self._config().settings.lease_s)
        if kept == self._facts:
            return
        if self._outside.keep(replace(kept, offset_s=self._offset_s)):
            self._facts = kept

    def _say(self, message: Message, at_s: float) -> None:
        said = self._said
        due = said is None or at_s - said.sent_s >= 0.9 * self._config().settings.heartbeat_s
        if due or (said is not None and _significant(said) != _significant(message)):
            self._outside.send(codec.to_json(message))
            self._said = message


def _significant(message: Message) -> tuple[object, ...]:
    """What of a message calls for action at once: all but clocks, counters and positions."""
    grant = message.grant
    return (
        message.run_id,
        message.record,
        message.confirmed,
        message.claiming,
        message.question,
        message.answer,
        message.request,
        message.invite,
        message.cannot,
        message.stopped,
        message.has_checkpoint,
        (grant.term, grant.boot_id, grant.postmaster) if grant else None,
        message.revoked is not None,
        message.address_free,
        message.eligible,
        message.postmaster,
        message.read_write,
        message.in_recovery,
        message.database_ok,
        message.streaming,
        message.gateway_ok,
        message.vips,
        message.pause,
        message.hold,
        message.leaving,
        message.unfit,
    )


def _significant_value(value: object) -> object:
    """What of an observation's value calls for action at once: a database's positions do not."""
    if not isinstance(value, Database):
        return value
    replica = value.replica
    return (
        value.postmaster,
        value.in_recovery,
        value.streaming,
        value.sync_names,
        value.slot_lost,
        value.replay_paused,
        value.unfit,
        value.recovery_target,
        (replica.state, replica.sync_state) if replica else None,
    )
