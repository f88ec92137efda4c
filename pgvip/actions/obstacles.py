"""What keeps a promotion, a stop or a start of the server waiting for ever, and how each is put out of the way.

Nothing may wait for somebody else: not for a process of the cluster that was stopped (SIGSTOP), a reader that blocks
replay, a WAL client that confirms nothing, or the archiver. Processes of the cluster alone are signalled.
"""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.deadlines import now_s
from pgvip.errors import PostgresError, ProbeError, PromoteError
from pgvip.events.event_log import log
from pgvip.system import pgtools, processes
from pgvip.system.procfs import alive, parent_of, stat_of
from pgvip.system.sql import REPLICATION_ROLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgvip.config.model import Config
    from pgvip.system.procfs import ProcessRef
    from pgvip.system.sql import Session

LOOK_EVERY_S = 0.1
"""How often what may be in the way is looked for; the first time at once."""

ANSWER_S = 2.0

STILL_S = 3.0
"""A startup process that sleeps for so long in a promotion, and waits for no command, waits for one that is dead."""

GRACE_S = 0.5
"""For WAL clients and the archiver to end by themselves, once the shutdown checkpoint is written and the standby has
it: who is well needs some milliseconds."""

TITLE = re.compile(r"post(?:gres|master): (?:[^:]{1,64}: )?(?P<kind>walsender|archiver|startup)(?: (?P<rest>.*))?")
"""Titles of a server's processes (src/backend/utils/misc/ps_status.c), with `cluster_name` or without."""


def wake_stopped(config: Config) -> None:
    """SIGCONT to every process of the cluster that is stopped; what waits for it goes on."""
    woken = []
    for ref in processes.members(config.postgres.data_directory):
        stat = stat_of(ref.pid)
        if stat is not None and stat.state == "T" and processes.send(ref, signal.SIGCONT):
            woken.append(_named(ref))
    if woken:
        log("obstacle", f"processes of PostgreSQL were stopped (SIGSTOP) and were continued: {', '.join(woken)}")


class Promotion:
    """What may be in the way of a promotion that was asked for."""

    def __init__(self, config: Config, session: Session) -> None:
        self._config, self._session = config, session
        self._looked_s = self._moved_s = now_s()
        self._cpu = -1

    def clear(self) -> None:
        """Wake what is stopped, end what blocks replay; PromoteError when the server had to be killed."""
        if now_s() - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s()
        wake_stopped(self._config)
        self._end_blockers()
        if self._hangs():
            processes.kill_cluster(self._config.postgres.data_directory, ANSWER_S)
            raise PromoteError(
                "replay hung while the server was promoted",
                f"It did not move for {STILL_S:g} s; every process was killed.",
                "It is started and promoted again.",
            )

    def _end_blockers(self) -> None:
        with suppress(ProbeError):
            pids = [int(row[0]) for row in self._session.query("replay_blockers", timeout_s=ANSWER_S)]
            children = {ref.pid: ref for ref in processes.members(self._data)[1:]}
            if ended := _end(children[pid] for pid in pids if pid in children):
                log("obstacle", f"sessions that blocked replay were ended: {', '.join(ended)}")

    def _hangs(self) -> bool:
        """The startup process has slept since the last check, used no CPU, and waits for no command of its own."""
        found = _of_kind(self._config, "startup")
        if not found:
            self._moved_s = now_s()
            return False
        stat = stat_of(found[0].pid)
        commands = any(parent_of(ref.pid) == found[0].pid for ref in processes.members(self._data))
        if stat is None or stat.state != "S" or stat.cpu != self._cpu or commands:
            self._moved_s, self._cpu = now_s(), -1 if stat is None else stat.cpu
        return now_s() - self._moved_s >= STILL_S

    @property
    def _data(self) -> Path:
        return self._config.postgres.data_directory


class Start:
    """What may be in the way of a start that was asked for."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._looked_s = now_s()

    def clear(self) -> None:
        """Wake what is stopped."""
        if now_s() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s()
            wake_stopped(self._config)


class Shutdown:
    """What may be in the way of a fast shutdown that is about to be asked for.

    `handover`: the peer waits for the end of the server, and no WAL file of pgvip's archive is waited for.
    """

    def __init__(self, config: Config, *, handover: bool = False) -> None:
        self._config = config
        self._looked_s = self._begun_s = now_s()
        self._closed_s = 0.0
        self._hurries = handover and config.archive.enabled  # the command of another archive is not ours to end
        self._has_all = False
        self._senders = self._to_the_peer() if self._hurries else []

    def clear(self) -> None:
        """Wake what is stopped; end WAL clients and the archiver once the peer has everything."""
        self._let_archiver_go()
        if now_s() - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s()
        wake_stopped(self._config)
        if not self._closed():
            self._closed_s = 0.0
            if now_s() - self._begun_s >= 3 * GRACE_S:
                # The shutdown checkpoint waits for every sender to stop sending; one whose client reads nothing cannot.
                _end(ref for ref in _of_kind(self._config, "walsender") if REPLICATION_ROLE not in _title(ref).split())
            return
        self._closed_s = self._closed_s or now_s()
        waited_s = now_s() - self._closed_s
        if waited_s < GRACE_S:
            return
        late = [*_of_kind(self._config, "walsender"), *_of_kind(self._config, "archiver")]
        if waited_s >= 3 * GRACE_S:
            late += _commands_of(self._config, _of_kind(self._config, "archiver"))
        ended = _end(late)
        if ended and waited_s < GRACE_S + 2 * LOOK_EVERY_S:
            log("obstacle", f"PostgreSQL's stop waited for these and they were ended: {', '.join(ended)}")

    def _let_archiver_go(self) -> None:
        """End the archive command that the end of the server waits for, as soon as the peer has everything.

        The archiver ends with it (pgarch.c: a command that is killed by a signal). Its file is still marked ready, and
        is archived by the rejoin (pgvip.rejoin.unarchived).
        """
        if not self._hurries or any(alive(ref) for ref in self._senders):
            return
        self._has_all = self._has_all or self._closed()
        if self._has_all:  # the archiver may be about to start its last command: it is looked for until the end
            _end(_commands_of(self._config, _of_kind(self._config, "archiver")))

    def _to_the_peer(self) -> list[ProcessRef]:
        senders = _of_kind(self._config, "walsender")
        return [ref for ref in senders if REPLICATION_ROLE in _title(ref).split()]

    def _closed(self) -> bool:
        """The shutdown checkpoint is written, and the peer's receiver has confirmed it: its sender has ended."""
        if self._to_the_peer():
            return False
        with suppress(PostgresError):
            return pgtools.control_data(self._config).clean
        return False


def _of_kind(config: Config, kind: str) -> list[ProcessRef]:
    """The cluster's processes of one kind, by the title that the server gave them."""
    found = []
    for ref in processes.members(config.postgres.data_directory):
        title = TITLE.match(_title(ref))
        if title is not None and title["kind"] == kind:
            found.append(ref)
    return found


def _commands_of(config: Config, parents: Iterable[ProcessRef]) -> list[ProcessRef]:
    """What processes of the cluster have started: archive commands."""
    known = {ref.pid for ref in parents}
    found = []
    for ref in processes.members(config.postgres.data_directory):
        if parent_of(ref.pid) in known:
            known.add(ref.pid)
            found.append(ref)
    return found


def _end(those: Iterable[ProcessRef]) -> list[str]:
    """SIGTERM, as pg_terminate_backend() sends it; returns who got it."""
    named = [(ref, _named(ref)) for ref in those]
    return [text for ref, text in named if processes.send(ref, signal.SIGTERM)]


def _title(ref: ProcessRef) -> str:
    """The title that a process shows; "" when it is gone."""
    try:
        return Path(f"/proc/{ref.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (OSError, ProcessLookupError):
        return ""


def _named(ref: ProcessRef) -> str:
    """A process for people: its pid and what it is."""
    title = _title(ref)
    return f"{ref.pid} ({title.partition(': ')[2][:80] or title[:80] or 'unknown'})"
