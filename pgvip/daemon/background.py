"""What `status` gathers in the background: archiving and base backups of both hosts, and the peer's schedule.

Three threads look: a disk or a database that hangs holds up some of them, a silent peer another, and none holds up
the loop, a health check or whoever asks: what was seen last is reported, with its age.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgvip.actions import last_words
from pgvip.archive import backups, report
from pgvip.checks import exposed
from pgvip.checks.server_state import ServerState
from pgvip.config.observing import observes
from pgvip.core.settings import StandingWarning
from pgvip.core.values import NEVER, Vip
from pgvip.core.warning_row import WarningRow, warned
from pgvip.daemon import backup_age, pair_addresses, server_files
from pgvip.daemon.pair_addresses import PairAddresses
from pgvip.deadlines import now_s
from pgvip.drill import result
from pgvip.errors import FormatError, PgvipError, ProbeError
from pgvip.orders.schedule import GRACE_S
from pgvip.probes import addresses
from pgvip.setup import access, rotation
from pgvip.state import codec
from pgvip.state.record import Scheduled
from pgvip.system import processes
from pgvip.system.kept_local import CHORES
from pgvip.system.reserve import RESERVE, lack_of
from pgvip.text.times import TimeError, of_wall
from pgvip.text.writing import BACKLOG_FILES, waiting

if TYPE_CHECKING:
    from pgvip.config.model import Config

Document = dict[str, Any]
QUESTION = "background"
"""What the peer's daemon is asked for."""
FIRST_S = 2.0
OWN_EVERY_S = 10.0
SERVER_EVERY_S = 15.0
"""A file that was changed is seen, reported by the peer, and past the time that makes it an event within a minute."""
PEER_EVERY_S = 5.0
ANSWER_S = 3.0
ROTATION_S = 600.0
"""More than all steps of a rotation may take."""
PEER_FRESH_S = 30.0
"""What the peer said of its server is repeated here for so long."""


@dataclass(frozen=True, slots=True)
class Archiving:
    """How the archiver of a host does; ages in seconds, None for what has not been."""

    host: str
    waiting_files: int
    oldest_age_s: float | None
    failing: bool
    failures: int
    last_failed: str
    failed_age_s: float | None
    last_archived: str
    archived_age_s: float | None
    age_s: float


@dataclass(frozen=True, slots=True)
class NewestBackup:
    """The newest base backup of a host."""

    host: str
    name: str
    age_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Scheduled):
    """The switchover that waits on a host."""

    host: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Server:
    """What is wrong with a host's PostgreSQL and its configuration, as that host warns of it."""

    host: str
    warnings: tuple[StandingWarning, ...]
    age_s: float


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation of keys that has not ended on a host, and what there is to say of it."""

    host: str
    text: str
    rotation_age_s: float
    age_s: float


PARTS: dict[str, type] = {
    "archiving": Archiving, "backup": NewestBackup, "scheduled": Waiting, "server": Server, "rotation": Rotation,
    "addresses": PairAddresses,
}  # fmt: skip
"""What one host reports of itself."""

_ARCHIVE = "see PostgreSQL's log and the archive's disk; pgvip archive status, pgvip check --only archive-own"
WARNINGS: tuple[WarningRow[Document], ...] = (
    WarningRow("archiving-failing", lambda v: v["failing"] and waiting(v["waiting_files"]),
               "archiving fails ({v[last_failed]}), {it}", _ARCHIVE),
    WarningRow("archive-backlog", lambda v: not v["failing"] and v["waiting_files"] > BACKLOG_FILES
               and waiting(v["waiting_files"]),
               "{it} to be archived: PostgreSQL writes faster than its archive takes them", _ARCHIVE),
)  # fmt: skip
"""Of this host's archiving."""

ROTATION_WARNINGS: tuple[WarningRow[Document], ...] = (
    WarningRow("rotation-unfinished", lambda v: v["text"] if v["rotation_age_s"] >= ROTATION_S else "",
               "pgvip rotate has not ended on {v[host]}: {it}",
               "run pgvip rotate again, on either host: it goes on with what was begun"),
)  # fmt: skip
"""Of either host: both hosts show it."""

ADDRESS_WARNINGS: tuple[WarningRow[list[tuple[Vip, str]]], ...] = (
    WarningRow("vip-elsewhere", lambda v: v, "this host carries the {it[0]} VIP on {it[1]} too",
               "take it from there: the kernel answers ARP for it, and clients may come to this host"),
)  # fmt: skip

PEER_WARNINGS: tuple[WarningRow[Document], ...] = (
    WarningRow("peer-database", lambda v: [one for one in v["warnings"] if v["age_s"] <= PEER_FRESH_S],
               "on {v[host]}: {it[text]}", "on {v[host]}: {it[hint]}"),
)  # fmt: skip
"""Of what the peer warns of in its PostgreSQL: without it, this host would look well."""


@dataclass(frozen=True, slots=True)
class _Seen:
    parts: Document = field(default_factory=dict)
    at_s: float = NEVER

    def of(self, name: str, at_s: float) -> Document | None:
        """One part, its ages as of `at_s`."""
        part = self.parts.get(name)
        return None if part is None else aged(part, at_s - self.at_s)


class Background:
    """`scheduled`: what waits on this host. `ask`: asks the peer's daemon. `more`: further warnings."""

    def __init__(
        self,
        config: Callable[[], Config],
        scheduled: Callable[[], Scheduled | None],
        ask: Callable[[Mapping[str, Any], float], Mapping[str, Any]],
        more: Callable[[], tuple[StandingWarning, ...]] = tuple,
    ) -> None:
        self._config, self._scheduled, self._ask, self._more = config, scheduled, ask, more
        self._own, self._peer = _Seen(), _Seen()
        self._drill: Document | None = None
        self._exposed: tuple[StandingWarning, ...] = ()
        self._certificates: dict[str, str] = {}
        self._elsewhere: tuple[StandingWarning, ...] = ()
        self._server, self._own_server = ServerState(), _Seen()
        self._server_warnings: tuple[StandingWarning, ...] = ()
        self._compared = pair_addresses.Compared()
        self._backups_seen = False
        self._lines: list[str] | None = None
        self._ended = threading.Event()
        self._changed = threading.Event()

    def start(self) -> None:
        """Begin to look, in three threads."""
        for name, look, every_s, waken in (
            ("background", self.look, OWN_EVERY_S, self._ended),
            ("background-server", self.look_server, SERVER_EVERY_S, self._changed),
            ("background-peer", self.look_peer, PEER_EVERY_S, self._ended),
        ):
            threading.Thread(target=self._run, args=(look, every_s, waken), name=name, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._changed.set()

    def wake(self) -> None:
        """The configuration has changed: PostgreSQL's files follow now."""
        self._changed.set()

    def _run(self, look: Callable[[], None], every_s: float, waken: threading.Event) -> None:
        pause_s = FIRST_S
        while True:
            waken.wait(pause_s)
            if self._ended.is_set():
                return
            if waken is self._changed:
                waken.clear()
            try:
                with RESERVE.lent():
                    look()
            except OSError as failure:
                if not lack_of(failure):
                    raise  # else what was seen last stands, and ages; the probes report the lack
            pause_s = every_s

    # --- looking ---------------------------------------------------------------------------------------------

    def read_drill(self) -> None:
        """What the last drill from this host found; a drill that ends has this called, so that it shows at once."""
        self._drill = result.last(self._config().paths.drill)

    def look(self) -> None:
        """At this host's archiver and backups. What cannot be seen is not reported."""
        config = self._config()
        self.read_drill()
        parts = {"archiving": archiving(config)} if config.archive.enabled else {}
        self._backups_seen = False
        with suppress(PgvipError, OSError):
            parts["backup"], self._backups_seen = backup(config), config.archive.enabled
        self._own = _Seen({**parts, "rotation": rotation_here(config)}, now_s())
        ends = exposed.endings(config)
        self._certificates = {one.name: one.end.isoformat() for one in ends if one.end is not None}
        self._exposed = exposed.standing(config, ends)
        self._elsewhere = elsewhere(config)

    def look_server(self) -> None:
        """At this host's PostgreSQL and its configuration files; pgvip's own lines are put back there."""
        config = self._config()
        found: tuple[StandingWarning, ...] = ()
        if not observes(config):  # else these settings are not pgvip's affair
            server_files.reset_recovery(config)
            with server_files.WRITING:
                config = self._config()
                self._lines, changed = access.hba_lines(config), self._lines not in (None, access.hba_lines(config))
                moved = server_files.admit(config) if changed else ()
                kept = (*server_files.follow(config), *moved, *server_files.keep(config))
            found = (*kept, *self._server.warnings(config))
        for_peer = (*found, *_why_down(config))
        self._own_server = _Seen({"server": codec.encode(Server(config.me.name, for_peer, 0.0))}, now_s())
        self._server_warnings = found

    def look_peer(self) -> None:
        """Ask the peer's daemon for the same, and its schedule; without an answer the last one stands, and ages."""
        try:
            answer = self._ask({"ask": QUESTION}, ANSWER_S)
        except PgvipError:
            return
        if answer.get("ok") is True:
            self._peer = _Seen({name: checked(answer.get(name), kind) for name, kind in PARTS.items()}, now_s())

    def answer(self, _request: Mapping[str, Any]) -> Mapping[str, Any]:
        """To the peer's question."""
        at_s = now_s()
        own = {name: self._own.of(name, at_s) for name in ("archiving", "backup", "rotation")}
        return {
            **own,
            "scheduled": self._own_schedule(),
            "server": self._own_server.of("server", at_s),
            "addresses": codec.encode(pair_addresses.of(self._config())),
        }

    @property
    def pending(self) -> tuple[str, ...]:
        """Settings of this host's PostgreSQL that wait for its restart."""
        return self._server.pending

    # --- telling ----------------------------------------------------------------------------------------------

    def facts(self) -> Document:
        """What the status document takes: of both hosts what is the pair's."""
        at_s = now_s()
        return {
            "archiving": self._own.of("archiving", at_s) or self._peer.of("archiving", at_s),
            "backup": self._newest_backup(at_s),
            "scheduled": self._own_schedule() or self._peer_schedule(at_s),
            "drill": self._drill,
            "certificates": self._certificates,
            "warnings": self.warnings(),
        }

    def warnings(self) -> tuple[StandingWarning, ...]:
        """What is wrong with this host's archiving, with both PostgreSQL and in pgvip, and lies open of its secrets."""
        at_s = now_s()
        part, theirs = self._own.parts.get("archiving"), self._peer.of("server", at_s)
        rotating = self._own.of("rotation", at_s) or self._peer.of("rotation", at_s)
        return (
            *(warned(WARNINGS, part) if part else ()),
            *self._server_warnings,
            *(warned(PEER_WARNINGS, theirs) if theirs else ()),
            *self._exposed,
            *(warned(ROTATION_WARNINGS, rotating) if rotating else ()),
            *self._elsewhere,
            *self._lacking_backups(at_s),
            *self._compared.warnings(self._config(), self._peer.parts.get("addresses")),
            *self._more(),
        )

    def _newest_backup(self, at_s: float) -> Document | None:
        """Of both hosts."""
        known = [one for seen in (self._own, self._peer) if (one := seen.of("backup", at_s)) is not None]
        return min(known, key=lambda one: float(one["age_s"]), default=None)

    def _lacking_backups(self, at_s: float) -> tuple[StandingWarning, ...]:
        """Nothing while this host's own cannot be seen."""
        if not self._backups_seen:
            return ()
        heard = self._peer.at_s > NEVER
        return backup_age.lacking(self._config(), self._newest_backup(at_s), peer_heard=heard)

    def _own_schedule(self) -> Document | None:
        waiting = self._scheduled()
        return None if waiting is None else {**asdict(waiting), "host": self._config().me.name, "age_s": 0.0}

    def _peer_schedule(self, at_s: float) -> Document | None:
        """The peer's, until its time is over: a peer that has been silent since does not do it any more."""
        part = self._peer.of("scheduled", at_s)
        if part is None:
            return None
        try:
            over_s = (datetime.now(tz=UTC) - of_wall(part["at"])).total_seconds()
        except TimeError:
            return None
        return part if over_s <= GRACE_S else None


def rotation_here(config: Config) -> Document | None:
    """The rotation of keys that has not ended on this host; None without one."""
    text, rotation_age_s = rotation.unfinished(config)
    host = config.me.name
    return {"host": host, "text": text, "rotation_age_s": rotation_age_s, "age_s": 0.0} if text else None


def elsewhere(config: Config) -> tuple[StandingWarning, ...]:
    """VIPs on other interfaces of this host; nothing where that cannot be seen."""
    with suppress(ProbeError):
        return warned(ADDRESS_WARNINGS, addresses.elsewhere(config))
    return ()


def archiving(config: Config) -> Document | None:
    """How the local archiver does; None for a standby, which archives nothing, and while the database is silent."""
    found = report.archiver(config, CHORES.lent)
    if found is None or found["in_recovery"]:
        return None
    return {
        "host": config.me.name,
        "waiting_files": found["waiting_files"],
        "oldest_age_s": found["waiting_s"],
        "failing": found["failing"],
        "failures": found["failures"],
        "last_failed": found["last_failed"] or "",
        "failed_age_s": found["failed_ago_s"],
        "last_archived": found["last_archived"] or "",
        "archived_age_s": found["archived_ago_s"],
        "age_s": 0.0,
    }


def backup(config: Config) -> Document | None:
    """The newest verified base backup of this host; None without one. PgvipError, OSError."""
    good = [one for one in backups.own(config) if one.good] if config.archive.enabled else []
    if not good:
        return None
    newest = max(good, key=lambda one: one.ended_at)
    age_s = max(0.0, datetime.now(tz=UTC).timestamp() - newest.ended_at)
    return {"host": config.me.name, "name": newest.name, "age_s": age_s, "size_bytes": newest.size_bytes}


def _why_down(config: Config) -> tuple[StandingWarning, ...]:
    """What ended a server that does not run, for the peer; this host's own warning is that of the action that fails."""
    if processes.postmaster(config.postgres.data_directory) is not None:
        return ()
    said = last_words.fatal(config)
    hint = "correct what PostgreSQL names; it is started again by itself"
    return (StandingWarning("action-failing", f"PostgreSQL does not run: {said}", hint),) if said else ()


def aged(part: Document, by_s: float) -> Document:
    """The same with every age advanced."""
    return {
        key: round(value + max(0.0, by_s), 3) if key.endswith("age_s") and value is not None else value
        for key, value in part.items()
    }


def checked(part: object, kind: type) -> Document | None:
    """What the peer says, if it is what this version knows; else None."""
    try:
        found: Document = codec.encode(codec.decode(kind, part))
    except FormatError:
        return None
    return found
