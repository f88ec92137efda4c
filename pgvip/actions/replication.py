"""Synchronous names, slots, and the proof that the standby has everything.

The order of these against the record is the core's business (docs/protocol.md, [m 10] and [m 16]); each here
verifies that what it did is in force.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pgvip.actions import slots
from pgvip.checks import server_state
from pgvip.core.values import Lsn, WalPoint
from pgvip.deadlines import Deadline, wait_until
from pgvip.errors import PostgresError, ProbeError
from pgvip.probes.database import lsn
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.sql import REPLICATION_ROLE, connect_local

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pgvip.config.model import Config
    from pgvip.system.sql import Session

    Connect = Callable[[Config], AbstractContextManager[Session]]

ANSWER_S = 2.0
RELOAD_S = 10.0
"""For a changed setting to be in effect after SIGHUP."""

POLL_S = 0.01
CORRECT = "See PostgreSQL's log for a wrong line in its configuration files, and correct it."


class Receiver(NamedTuple):
    """One row of replicas.sql."""

    pid: int
    client: str | None
    role: str | None
    state: str
    sync_state: str
    flush_lsn: str | None
    reply_time: str | None


def set_sync_names(config: Config, on: bool) -> None:
    """Set synchronous_standby_names to the peer, or clear it, and see it in effect in a new session.

    One that was set with ALTER SYSTEM, which would win, is reset. Raises PostgresError.
    """
    wanted = pgconf.sync_names(config) if on else ""
    if "synchronous_standby_names" in pgconf.auto_conf_keys(config):
        pgtools.psql(config, "ALTER SYSTEM RESET synchronous_standby_names;")
    pgconf.write(config, sync=on, version=pgtools.major_version(config.postgres.data_directory))
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is None or not processes.send(postmaster, signal.SIGHUP):
        raise PostgresError("there is no server to set synchronous names on")

    def in_effect() -> bool:
        # New each time: it inherits what the postmaster has read, an older session what it has noticed.
        with suppress(ProbeError), connect_local(config) as session:
            return _setting(session, "synchronous_standby_names", ANSWER_S) == wanted
        return False

    what = f"synchronous_standby_names = '{wanted}' in effect"
    try:
        wait_until(in_effect, RELOAD_S, every_s=POLL_S, what=what, error=PostgresError)
    except PostgresError as failure:
        raise PostgresError(failure.message, _why_not_read(config) or failure.detail, CORRECT) from failure


def _why_not_read(config: Config) -> str:
    """What keeps the server from applying its files; "" when that is not known."""
    with suppress(ProbeError), connect_local(config) as session:
        if wrong := server_state.wrong_lines(session):
            return f"PostgreSQL applies no change while a configuration file is wrong: {wrong}."
    return ""


def confirm_grant(config: Config, *, sync: bool, timeout_s: float) -> WalPoint:
    """Prove that the peer's receiver has flushed a position that was written after this call began.

    Returns that position. In sync the names must be in force, before and after a checkpoint: the server
    shows a standby as synchronous a moment before commits wait for it. In async the standby may be
    `lag_bytes_max` behind, but must be heard after the call began. Raises PostgresError when it is not so
    within `timeout_s` (docs/protocol.md, "Eligibility, and handing the standby VIP over").
    """
    deadline = Deadline.after(timeout_s)
    try:
        with connect_local(config, timeout_s) as session:
            if sync:
                _names_in_force(config, session, deadline)
                session.query("checkpoint", timeout_s=deadline.left_s())
                _names_in_force(config, session, deadline)
            return _await_flush(config, session, 0 if sync else config.settings.lag_bytes_max, deadline)
    except ProbeError as failure:
        raise PostgresError("could not confirm what the standby has", str(failure)) from failure


def ensure_slot(config: Config, connect: Connect = connect_local, *, removed: bool = False) -> None:
    """See that this server keeps WAL for the peer: a physical slot, made again when it lost its WAL.

    On a standby as well, where the slot is for the day of its promotion. A peer that is `removed` has none, unless it
    is in use. Slots of others that a clone could not take along are made again. Raises ProbeError.
    """
    name = pgconf.slot_name(config.peer.name)
    with connect(config) as session:
        if removed:
            for unused in (name, slots.copy_slot_name(config.peer.name)):
                session.query("slot_drop", (unused,), timeout_s=ANSWER_S)
        else:
            ensure_slot_in(session, name)
        slots.remake(config, session)
        slots.note(config, session)


def ensure_slot_in(session: Session, name: str, timeout_s: float = ANSWER_S) -> None:
    """See that the server of a session has a physical slot that still holds its WAL; `timeout_s` for each question."""
    rows = session.query("slot_status", (name,), timeout_s=timeout_s)
    if rows and rows[0][0] == "lost":
        session.query("slot_drop", (name,), timeout_s=timeout_s)
    session.query("slot_create", (name, name), timeout_s=timeout_s)


def advance_slot(config: Config, connect: Connect = connect_local) -> None:
    """On a standby: let the slot that it keeps for the peer go on to what is replayed here, and those of others follow.

    Nothing happens on a primary, or while a slot is in use. Raises ProbeError.
    """
    with connect(config) as session:
        session.query("slot_advance", (pgconf.slot_name(config.peer.name),), timeout_s=ANSWER_S)
        if session.query("in_recovery", timeout_s=ANSWER_S)[0][0]:
            slots.follow(config, session)


def _setting(session: Session, name: str, timeout_s: float) -> str:
    return str(session.query("setting", (name,), timeout_s=timeout_s)[0][0])


def _receivers(config: Config, session: Session, deadline: Deadline) -> list[Receiver]:
    """The live receivers that use the peer's name; another of this name acknowledges too (manual, 20.6.2)."""
    rows = session.query("replicas", (config.peer_application_name,), timeout_s=deadline.sooner_s(ANSWER_S))
    found = [receiver for row in rows if (receiver := Receiver(*row)).state == "streaming"]
    # pg_hba.conf lets pgvip's replication role in from the two hosts alone.
    strangers = [receiver for receiver in found if receiver.role != REPLICATION_ROLE]
    if strangers or len({receiver.client for receiver in found}) > 1:
        them = ", ".join(sorted(f"{receiver.role} at {receiver.client}" for receiver in found))
        raise PostgresError(
            f'another standby than the peer calls itself "{config.peer_application_name}"',
            f"Connected are: {them}.",
            "Give every standby but the peer another application_name.",
        )
    return found


def _names_in_force(config: Config, session: Session, deadline: Deadline) -> None:
    wanted = pgconf.sync_names(config)
    shown = _setting(session, "synchronous_standby_names", deadline.sooner_s(ANSWER_S))
    if shown != wanted:
        raise PostgresError("synchronous_standby_names is not set to the peer", f"It is '{shown}', not '{wanted}'.")
    states = [receiver.sync_state for receiver in _receivers(config, session, deadline)]
    if not any(state in ("sync", "quorum") for state in states):
        raise PostgresError(
            "the peer is not the synchronous standby", f"Its states: {', '.join(states) or 'not connected'}."
        )


def _await_flush(config: Config, session: Session, lag_bytes_max: int, deadline: Deadline) -> WalPoint:
    """Write a record now, and wait until the peer has flushed it (or nearly so, by `lag_bytes_max`)."""
    before = {
        receiver.pid: (receiver.flush_lsn, receiver.reply_time) for receiver in _receivers(config, session, deadline)
    }
    session.query("heartbeat", timeout_s=deadline.left_s())
    point = _written(session, deadline)

    def flushed() -> bool:
        for receiver in _receivers(config, session, deadline):
            if (receiver.flush_lsn, receiver.reply_time) == before.get(receiver.pid):
                # Nothing was heard since the call began: an old row, perhaps of a receiver that is dead.
                continue
            if lsn(receiver.flush_lsn) + lag_bytes_max >= point.lsn:
                return True
        return False

    wait_until(flushed, deadline.left_s(), every_s=POLL_S, what=f"flush of {point} by the peer", error=PostgresError)
    return point


def _written(session: Session, deadline: Deadline) -> WalPoint:
    """The position that is flushed here, with its timeline."""
    timeline, position = session.query("written", timeout_s=deadline.sooner_s(ANSWER_S))[0]
    return WalPoint(int(timeline, 16), Lsn.parse(position))
