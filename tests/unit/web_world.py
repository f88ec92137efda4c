"""Status documents for the tests of the web side, made by the real core and the real document."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pgvip.core.decide import begin, decide
from pgvip.core.messages import Heard, Message
from pgvip.core.observations import Database, Observation, Observations, Processes
from pgvip.core.settings import Identity, Inputs, Settings
from pgvip.core.values import NEVER, BootFacts, Durable, Grant, Lsn, Mode, Record, Vip, WalPoint
from pgvip.errors import LinkError
from pgvip.link.link_state import LinkState
from pgvip.status.snapshot import LoopStats
from pgvip.web.http import Request, Response
from pgvip.web.listeners import HttpState
from pgvip.web.site import Site
from pgvip.web.sources import Counts, Limits, Sources
from tests.unit.status.test_document import CONFIG, NOW_S, PRIMARY, RECORD, STANDBY_SAYS, built

Document = dict[str, Any]
PEER_CONFIG = replace(CONFIG, me=CONFIG.peer, peer=CONFIG.me, settings=Settings("beta", "alpha", me_first=False))
SETTINGS = CONFIG.settings
PRIMARY_SAYS = replace(
    STANDBY_SAYS, host="alpha", boot_id="boot1", eligible=False, streaming=False, in_recovery=False, read_write=True,
    point=WalPoint(2, Lsn(1000)), vips=("primary",), digest=SETTINGS.digest, version=SETTINGS.version, gateway_ok=True,
)  # fmt: skip
STANDBY = replace(
    PRIMARY,
    processes=Observation(Processes(installed=True, postmaster="8:9", left=5, standby_signal=True), NOW_S),
    database=Observation(
        Database(
            "8:9", in_recovery=True, point=WalPoint(2, Lsn(900)), replay_lsn=Lsn(800), streaming=True, moved_at_s=NOW_S
        ), NOW_S,
    ),
    held=Observation(frozenset({Vip.STANDBY}), NOW_S),
    fence=Observation("on", NOW_S - 30.0),
)  # fmt: skip

BESIDE = {
    "archiving": {
        "host": "alpha", "waiting_files": 3, "oldest_age_s": 12.5, "failing": False, "failures": 7,
        "last_failed": "0A", "failed_age_s": 900.0, "last_archived": "0B", "archived_age_s": 1.5, "age_s": 4.0,
    },
    "backup": {"host": "beta", "name": "20260101T000000Z", "age_s": 7200.0, "size_bytes": 3 << 30},
    "scheduled": {
        "at": "2026-01-02T02:30:00.000+00:00", "by": "ann", "ordered": "2026-01-01T22:00:00.000+00:00",
        "primary": "alpha", "force": False, "host": "beta", "age_s": 2.0,
    },
    "drill": {"at": "2026-01-01T12:00:00+00:00", "ok": True, "lost": 0, "switchovers": [
        {"outage_s": 0.9}, {"outage_s": 1.25},
    ]},
}  # fmt: skip
"""What daemon.background tells: this host archives, its peer has the backup and the schedule."""


def says(**changes: Any) -> Message:
    """What the standby says, in agreement with this host's version and configuration."""
    known = {"digest": SETTINGS.digest, "version": SETTINGS.version, "gateway_ok": True}
    return replace(STANDBY_SAYS, **{**known, **changes})


def primary(
    message: Message | None = None,
    *,
    record: Record | None = RECORD,
    seen: Observations = PRIMARY,
    heard_s: float = 0.4,
    served: bool = True,
    confirmed: bool = True,
    change: Callable[[Any], None] = lambda _knowledge: None,
) -> Document:
    """A primary's document. `message`: what the peer said `heard_s` ago (None: nothing)."""
    durable = Durable(record, served=served)
    who = Identity("boot1", "run1", NOW_S - 60.0, "p", "7")
    knowledge = begin(who, durable, BootFacts(confirmed, record.term if record and confirmed else 0))
    knowledge.database = replace(knowledge.database, postmaster_since_s=NOW_S - 60)  # it has had its time to answer
    knowledge.peer = replace(knowledge.peer, heard=Heard(message, NOW_S - heard_s) if message else None)
    seen = replace(seen, fence=Observation("on", NOW_S - 30.0), archive=Observation(value=True, at_s=NOW_S - 3.0))
    change(knowledge)
    decision = decide(knowledge, Inputs(seen), SETTINGS, NOW_S)
    return built(decision, seen, **extra())


def healthy(**changes: Any) -> Document:
    """A healthy pair, seen from its primary."""
    return primary(says(), **changes)


def solo(**changes: Any) -> Document:
    """The survivor of a pair: alone with both addresses, and its peer is silent."""
    held = Observation(frozenset({Vip.PRIMARY, Vip.STANDBY}), NOW_S)
    assert PRIMARY.database.value is not None
    alone = Observation(replace(PRIMARY.database.value, replica=None), NOW_S)
    given = {"record": replace(RECORD, term=6, mode=Mode.SOLO, cause="solo-by-fence", sync=False), "heard_s": 93.0}
    return primary(says(), seen=replace(PRIMARY, held=held, database=alone), **{**given, **changes})


def standby(
    message: Message | None = PRIMARY_SAYS, *, seen: Observations = STANDBY, record: Record = RECORD
) -> Document:
    """A healthy pair, seen from its standby."""
    who = Identity("boot2", "run2", NOW_S - 60.0, "p", "7")
    grant = Grant(record.term, "boot2", "8:9", NEVER)
    knowledge = begin(who, Durable(record), BootFacts(confirmed=True, confirmed_term=record.term, grant=grant))
    knowledge.peer = replace(knowledge.peer, heard=Heard(message, NOW_S - 0.2) if message else None)
    decision = decide(knowledge, Inputs(seen), PEER_CONFIG.settings, NOW_S)
    return built(decision, seen, PEER_CONFIG, **extra())


def extra() -> dict[str, Any]:
    return {
        "link": LinkState(connected=True, since_s=900.0, heard_s=999.6, connections=2),
        "http": HttpState(("10.0.0.1:8433", "127.0.0.1:8433")),
        "stats": LoopStats(rounds=100, longest_ms=12.345, latest_ms=3.0, began_s=NOW_S - 50),
        "memory_bytes": 67_000_000,
        "cpu_seconds": 1.25,
        "armed": True,
        "pending_restart": {"postgresql": [], "pgvip": []},
        "certificates": {"http": "2026-01-01T12:00:00+00:00"},
        **BESIDE,
    }


@dataclass
class World:
    """A site whose sources a test sets."""

    document: Document | None = field(default_factory=healthy)
    age_s: float = 0.1
    lag_bytes_max: int = 250
    events: list[Document] = field(default_factory=list)
    samples: list[Document] = field(default_factory=list)
    explained: Document = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[float] = field(default_factory=list)

    def sources(self) -> Sources:
        return Sources(
            status=self._status,
            age_s=lambda: self.age_s if self.document is not None else math.inf,
            limits=lambda: Limits(stale_s=3.0, lag_bytes_max=self.lag_bytes_max),
            counts=lambda: Counts({"role": 2, "claim": 1}, {"take-over-by-fence": 1}),
            events=lambda limit: self.events[-limit:],
            samples=self._samples,
            explain=lambda: self.explained,
        )

    def _samples(self, seconds: float) -> list[Document]:
        self.ranges.append(seconds)
        return self.samples

    def _status(self) -> Document:
        self.asked.append("status")
        if self.document is None:
            raise LinkError("the daemon has just started", hint="Try again in a moment.")
        return self.document

    def site(self) -> Site:
        return Site(lambda: CONFIG, self.sources())

    def get(self, path: str, **query: str) -> Response:
        return self.site().respond(Request("GET", path, query), None)
