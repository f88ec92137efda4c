"""What the pre-checks need to know, gathered: this host's own report and server, and the peer's, asked just now."""

from __future__ import annotations

from collections.abc import Sequence

from pgvip import __version__
from pgvip.checks import server_state
from pgvip.config.model import Config
from pgvip.core.values import Lsn
from pgvip.errors import FormatError, LinkError, PgvipError
from pgvip.orders.desk import Desk, under_way
from pgvip.orders.prechecks import Facts, Readiness, Side
from pgvip.state import codec
from pgvip.status.snapshot import Snapshot
from pgvip.system import pgconf
from pgvip.system.sql import connect_local
from pgvip.system.sql_shapes import Row

LOOK_S = 3.0
"""For all queries to the local server."""
PEER_S = 5.0
FRESH_S = 5.0
"""A peer's heartbeat that is older says nothing of now."""


def look(config: Config, fence: str) -> Readiness:
    """Ask the local server; ProbeError when it does not answer. `fence`: see `Readiness`."""
    name = config.peer_application_name
    with connect_local(config) as session:
        row = session.query("readiness", (pgconf.slot_name(config.peer.name), name, name), timeout_s=LOOK_S)[0]
        blockers = session.query("replay_blockers", timeout_s=LOOK_S)
        late = session.query("late_wal_clients", timeout_s=LOOK_S)
        wrong = server_state.wrong_lines(session)
    (version, in_recovery, lsn, replay_lsn, *rest) = row
    (paused, senders_max, senders, slots_max, slots, peer_slot, logical, state, sync, *more) = rest
    (checksums, hints, failing, ready, sessions, oldest_s, prepared) = more
    return Readiness(
        host=config.me.name,
        pgvip=__version__,
        digest=config.settings.digest,
        version=version,
        in_recovery=in_recovery,
        lsn=Lsn.parse(lsn or "0/0"),
        replay_lsn=Lsn.parse(replay_lsn or "0/0"),
        replay_paused=paused,
        senders_max=senders_max,
        senders=senders,
        slots_max=slots_max,
        slots=slots,
        peer_slot=peer_slot,
        logical_slots=logical,
        replica_state=state,
        replica_sync=sync,
        checksums=checksums,
        wal_log_hints=hints,
        archive_failing=failing or "",
        archive_ready=ready,
        sessions=sessions,
        oldest_s=oldest_s,
        prepared=prepared,
        fence=fence,
        replay_blockers=_those(blockers),
        late_clients=_those(late),
        wrong_settings=wrong,
    )


def _those(rows: Sequence[Row]) -> str:
    return ", ".join(f"{who} (pid {pid})" for pid, who in rows[:10])


def fence_word(snapshot: Snapshot) -> str:
    """How this host's last probe of its peer's fence device went (`Readiness.fence`)."""
    watch = snapshot.seen.fence
    if not snapshot.config.settings.fencing:
        return "none"
    return watch.reason if watch.failures else "" if watch.ok() else "not asked yet"


def gather(desk: Desk) -> Facts:
    """Both hosts, as they are now; what could not be asked is missing, with its reason."""
    snapshot = desk.snapshot()
    config, heard = snapshot.config, snapshot.decision.knowledge.peer.heard
    fresh = heard is not None and snapshot.at_s - heard.at_s <= FRESH_S
    mine, why = None, ""
    try:
        mine = desk.look(config, fence_word(snapshot))
    except PgvipError as failure:
        why = failure.message
    theirs, their_why = _theirs(desk)
    return Facts(
        config.settings,
        Side(config.me.name, snapshot.decision.message, mine, why),
        Side(config.peer.name, heard.message if heard and fresh else None, theirs, their_why),
        under_way(snapshot),
    )


def _theirs(desk: Desk) -> tuple[Readiness | None, str]:
    try:
        answer = desk.ask_peer({"ask": "readiness"}, PEER_S)
        if not answer.get("ok"):
            return None, str(answer.get("error", "no reason given"))
        return codec.decode(Readiness, answer.get("readiness")), ""
    except (LinkError, FormatError) as failure:
        return None, failure.message
