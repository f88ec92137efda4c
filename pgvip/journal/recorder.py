"""Where the daemon's events go besides the log: into the history, to the peer, to hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgvip.config.model import Config
from pgvip.core.values import Role
from pgvip.deadlines import now_s
from pgvip.events import event_log
from pgvip.events.event_table import Event, kind
from pgvip.hooks.calls import Hooks
from pgvip.journal.announcer import Announcer
from pgvip.journal.event_store import EventStore
from pgvip.journal.exchange import Exchange
from pgvip.journal.repeats import Repeats

if TYPE_CHECKING:
    from pgvip.core.settings import StandingWarning
    from pgvip.status.snapshot import Newest


class Recorder:
    """Hears every event of this process from `start` on.

    `config` is asked again each time. `send` hands frames to the link. `warnings`: those that stand beside the core's.
    `notify`, which its maker may set before `start`, hears what hooks hear, and must not wait.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        boot_id: str,
        newest: Newest,
        send: Callable[[bytes], None],
        warnings: Callable[[], tuple[StandingWarning, ...]] = tuple,
    ) -> None:
        first = config()
        self.notify: Callable[[Event], None] = lambda _event: None
        self._config, self._newest, self._warnings, self._boot_id = config, newest, warnings, boot_id[:12]
        self.store = EventStore(first.paths.events, first.me.name, first.peer.name, event_log.log)
        self.exchange = Exchange(self.store, send)
        self.store.on_own = self.exchange.own_event
        self.hooks = Hooks(config, newest, event_log.log)
        self._announcer = Announcer(event_log.log, self._boot_id)
        self._repeats = Repeats()

    def start(self) -> None:
        """Take in the history so far, and listen."""
        self.store.start()
        role = self._last_role()
        self.hooks = Hooks(self._config, self._newest, event_log.log, role.value)
        self._announcer = Announcer(event_log.log, self._boot_id, role)
        self.hooks.start()
        self.exchange.start()
        event_log.listen(self._hear)
        self._newest.listen(lambda snapshot: self._announcer.look(snapshot, self._warnings()))

    def close(self) -> None:
        """Let what was reported be written."""
        event_log.unlisten(self._hear)
        self.exchange.close()
        self.store.close()

    def _hear(self, event: Event) -> None:
        told = self._repeats.let_through(event, now_s())
        if told is None:
            return
        if kind(told.event).kept:
            self.store.append(told)
        self.hooks.hear(told)
        self.notify(told)

    def _last_role(self) -> Role:
        """The role that was in effect in this boot when the daemon before this one ended: its restart is no change."""
        last = self.store.latest_own("role-change")
        words = dict(last.fields) if last else {}
        same_boot = words.get("boot") == self._boot_id
        return Role(words["new"]) if same_boot and words.get("new") in {*Role} else Role.NONE
