"""Hooks: executables of the operator's, called for events, and asked before a takeover.

Nothing waits for an event's hooks: they run one after the other in lanes of their own, roles in one and everything else
in another, each hook with its time limit. Only the veto hooks are waited for, for `veto_timeout_s` in all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING

from pgvip.config.model import Config
from pgvip.config.observing import observes
from pgvip.core.values import Role, Vip
from pgvip.deadlines import Deadline, now_s
from pgvip.errors import PgvipError
from pgvip.events.event_table import VETO, Event, kind
from pgvip.hooks.program import call, refuses
from pgvip.system.executables import Executable, listed, refusal

if TYPE_CHECKING:
    from pgvip.status.snapshot import Newest, Snapshot

Log = Callable[[str, str, tuple[tuple[str, str], ...]], None]

ROLE_EVENTS = ("role-change", "demoted")
WAITING_MAX = 100
"""Events whose hooks have not been called yet; more are dropped, and said to be."""
SHORTEST_S = 0.05
"""A veto hook that is due when the time is nearly over still gets this."""


@dataclass(frozen=True, slots=True)
class Call:
    """An event with the words for its hooks, as things stood when it happened."""

    event: str
    role: str
    words: Mapping[str, str]


class Hooks:
    """Calls hooks. `role`: the one in effect when this daemon started."""

    def __init__(
        self,
        config: Callable[[], Config],
        newest: Newest,
        log: Log,
        role: str = Role.NONE.value,
    ) -> None:
        self._config, self._newest, self._log = config, newest, log
        self._role = self._old_role = role
        self._lanes: dict[str, Queue[Call]] = {name: Queue(WAITING_MAX) for name in ("roles", "events")}

    def start(self) -> None:
        for name, lane in self._lanes.items():
            threading.Thread(target=self._run, args=(lane,), name=f"hooks-{name}", daemon=True).start()

    def hear(self, event: Event) -> None:
        """Call the event's hooks soon. From any thread; never waits."""
        if event.event == "role-change":
            words = dict(event.fields)
            self._old_role, self._role = words.get("old", self._role), words.get("new", self._role)
        if not kind(event.event).hooks or observes(self._config()):
            return
        words = event_words(event, self._role, self._old_role) | pair_words(self._config(), self._newest.get())
        lane = self._lanes["roles" if event.event in ROLE_EVENTS else "events"]
        try:
            lane.put_nowait(Call(event.event, self._role, words))
        except Full:
            self._log("hook-dropped", f"{event.event}: {WAITING_MAX} events are waiting for their hooks", ())

    def _run(self, lane: Queue[Call]) -> None:
        while True:
            self.call(lane.get())

    def call(self, one: Call) -> None:
        """Call the hooks of one event in their order, and the alert hook."""
        config = self._config()
        for found in self._found(config, one.event):
            arguments = (one.event, one.role, config.name)
            self._tried(one.event, found.path, partial(call, found.path, arguments, one.words, config.hooks.timeout_s))
        for alert in self._allowed(alerts(config), one.event):
            name = alert_name(one.event)
            do = partial(call, alert.path, (name,), {**one.words, "EVENT": name}, config.hooks.timeout_s)
            self._tried(one.event, alert.path, do)

    def ask_veto(self) -> str:
        """Ask the veto hooks whether this host may take over: who is against it and why, or ""."""
        config = self._config()
        deadline = Deadline.after(config.settings.veto_timeout_s)
        words = veto_words(config, self._role) | pair_words(config, self._newest.get())
        for found in self._found(config, VETO):
            limit_s = max(SHORTEST_S, deadline.left_s())
            arguments = (VETO, self._role, config.name)
            refused = self._tried(VETO, found.path, partial(refuses, found.path, arguments, words, limit_s))
            if refused is not None:
                return f"{found.name}: {refused}"
        return ""

    def _found(self, config: Config, event: str) -> list[Executable]:
        """The hooks of an event that may be called; the others are reported."""
        try:
            every = listed(config.hooks.directory / event)
        except OSError as failure:
            self._log("hook-failed", f"{event}: {failure}", (("hook_event", event),))
            return []
        return self._allowed(every, event)

    def _allowed(self, every: list[Executable], event: str) -> list[Executable]:
        for each in every:
            if each.refused:
                self._log("hook-refused", f"{each.path}: {each.refused}", (("hook_event", event),))
        return [each for each in every if not each.refused]

    def _tried(self, event: str, path: Path, do: Callable[[], str | None]) -> str | None:
        """What the hook says, None when it has nothing to say or failed; how it ended is an event."""
        began_s = now_s()
        words = (("hook", str(path)), ("hook_event", event))
        try:
            said = do()
        except (PgvipError, OSError) as failure:
            self._log("hook-failed", f"{event}: {failure}".replace("\n", "; "), words)
            return None
        self._log("hook", f"{event}: {path.name} in {1000 * (now_s() - began_s):.0f} ms", words)
        return said


# --- which hooks, and the words that they get -------------------------------------------------------------------------


def alerts(config: Config) -> list[Executable]:
    """The executable that is called for every event with hooks, where there is one."""
    alert = config.hooks.alert
    return [Executable(alert, refusal(alert))] if alert else []


def alert_name(event: str) -> str:
    """The event's name as `hooks.alert` gets it."""
    return "role" if event == "role-change" else event


def event_words(event: Event, role: str, old_role: str) -> dict[str, str]:
    """What an event says of itself; keys without PGVIP_."""
    fields = {name.upper().replace("-", "_"): value for name, value in event.fields}
    changed = event.event == "role-change"
    return fields | {
        "EVENT": event.event,
        "LEVEL": event.level.word,
        "TEXT": event.text,
        "DETAIL": fields.get("CAUSE", "") if changed else event.text,
        "AT": event.at,
        "TERM": str(event.term),
        "CAUSE": fields.get("CAUSE", ""),
        "ROLE": role,
        "NEW_ROLE": role,
        "OLD_ROLE": old_role if changed else role,
    }


def veto_words(config: Config, role: str) -> dict[str, str]:
    """What a veto hook is asked about."""
    text = f"{config.peer.name} does not answer: shall {config.me.name} fence it and take over?"
    same = {"EVENT": VETO, "TEXT": text, "DETAIL": text, "CAUSE": "take-over-by-fence", "ROLE": role, "OLD_ROLE": role}
    return same | {"NEW_ROLE": Role.PRIMARY_STANDBY.value, "TIMEOUT_S": f"{config.settings.veto_timeout_s:g}"}


def pair_words(config: Config, snapshot: Snapshot | None) -> dict[str, str]:
    """What every hook gets about the pair, as this host knows it now."""
    record = snapshot.decision.knowledge.durable.record if snapshot else None
    held = (snapshot.seen.held.value if snapshot else None) or frozenset()
    return {
        "PAIR": config.name,
        "HOST": config.me.name,
        "PEER": config.peer.name,
        "ADDRESS": config.me.address,
        "PEER_ADDRESS": config.peer.address,
        "INTERFACE": config.me.interface,
        "PRIMARY_VIP": str(config.vips[Vip.PRIMARY].ip),
        "STANDBY_VIP": str(config.vips[Vip.STANDBY].ip),
        "VIPS_HELD": " ".join(str(config.vips[vip].ip) for vip in Vip if vip in held),
        "PRIMARY": record.primary if record else "",
        "MODE": record.mode.value if record else "",
        "PORT": str(config.postgres.port),
        "DATA_DIRECTORY": str(config.postgres.data_directory),
        "CONFIG": str(config.file),
    }
