"""The durable record on disk, the facts of one boot beside it, and the pair's identity.

What cannot be read is an error and never "none": a host without a record trusts its peer, a host with a
damaged one must not (PROTOCOL.md, "The record").
"""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pgvip.core.values import BootFacts, Durable, Grant, Lsn, Mode, Pause, Record, WalPoint
from pgvip.errors import RecordError
from pgvip.state import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

VERSION = 1
"""Of the file's form; a newer one is refused."""

BYTES_MAX = 1 << 20

PAUSE_WORDS = ("reason", "at", "until", "by", "host")
"""Texts of a pause; a file of an older version lacks the last three."""


@dataclass(frozen=True, slots=True)
class PairIdentity:
    """What `init` fixed: the pair, the database cluster, both hosts' names, and which of them is "first".

    The first host writes even terms, the second odd ones [m 1], so this never changes afterwards.
    """

    pair_id: str
    system_id: str
    first: str
    second: str

    @property
    def names(self) -> tuple[str, str]:
        return (self.first, self.second)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A switchover for later: when, who ordered it and when (wall clock), who was primary then, and `--force`."""

    at: str
    by: str
    ordered: str
    primary: str
    force: bool = False


FULL = (errno.ENOSPC, errno.EDQUOT)


class InDoubtError(RuntimeError):
    """Which record is on the disk is not known: nobody may go on acting on either.

    Not a PgvipError, so that nothing turns it into a result: the daemon ends, and the next one settles what it
    reads (`RecordStore.settle`) before it acts.
    """


class RecordStore:
    """One host's durable state in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Durable | None:
        """What was last saved; None when nothing ever was. RecordError when it is there and not readable."""
        body = _load(self.path)
        return None if body is None else _parse(self.path, lambda: _durable(body))

    def settle(self) -> Durable | None:
        """What was last saved, as `load`, and made durable: an earlier save may have been in doubt.

        On a full disk it is synced as it is: a daemon that does not start there would be worse. RecordError or
        InDoubtError when it cannot be made durable.
        """
        durable = self.load()
        if durable is None:
            return None
        try:
            files.remove_left_over(self.path)  # the daemon's lock is held: nobody else writes here
            self.save(durable)
        except RecordError as failure:
            if not (isinstance(failure.__cause__, OSError) and failure.__cause__.errno in FULL):
                raise
            _sync_as_it_is(self.path)
        return durable

    def save(self, durable: Durable) -> None:
        """Write it so that a power cut leaves either the old or the new one.

        RecordError: the old one stands. InDoubtError: nobody knows.
        """
        _save(self.path, _durable_body(durable), durable=True)


def load_boot_facts(path: Path, boot_id: str) -> BootFacts:
    """The facts of this boot; empty ones when there are none, or when they are another boot's."""
    body = _load(path)
    if body is None:
        return BootFacts()
    facts_of, facts = _parse(path, lambda: (str(body["boot_id"]), _facts(body["facts"])))
    return facts if facts_of == boot_id else BootFacts()


def save_boot_facts(path: Path, boot_id: str, facts: BootFacts) -> None:
    """Keep the facts for a daemon restart. Atomic, without fsync: a reboot is meant to lose them."""
    grant = facts.grant
    body = {
        "confirmed": facts.confirmed,
        "confirmed_term": facts.confirmed_term,
        "grant": None
        if grant is None
        else {
            "term": grant.term,
            "boot_id": grant.boot_id,
            "postmaster": grant.postmaster,
            "echo_s": None if grant.echo_s == float("-inf") else grant.echo_s,
            "expires_s": grant.expires_s,
        },
        "address_term": facts.address_term,
        "doubt_s": None if facts.doubt_s == float("-inf") else facts.doubt_s,
        "met": facts.met,
        "offset_s": facts.offset_s,
    }
    _save(path, {"boot_id": boot_id, "facts": body}, durable=False)


def forget_boot_facts(path: Path) -> None:
    """Remove facts that are not true any more and could not be replaced: the next daemon knows as much as after a boot.

    That needs no space. RecordError when not even this is possible.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as failure:
        raise RecordError(f"could not remove {path}", f"{failure}.") from failure


def load_identity(path: Path) -> PairIdentity | None:
    """The identity that `init` or `clone` wrote; None before that."""
    body = _load(path)
    if body is None:
        return None
    names = ("pair_id", "system_id", "first", "second")
    return _parse(path, lambda: PairIdentity(**{name: str(body[name]) for name in names}))


def save_identity(path: Path, identity: PairIdentity) -> None:
    """Fix the identity, durably."""
    names = ("pair_id", "system_id", "first", "second")
    _save(path, {name: getattr(identity, name) for name in names}, durable=True)


def load_scheduled(path: Path) -> Scheduled | None:
    """The scheduled switchover that was kept; None for none. RecordError when the file is not readable."""
    body = _load(path)
    if body is None:
        return None
    names = ("at", "by", "ordered", "primary")
    return _parse(path, lambda: Scheduled(**{name: str(body[name]) for name in names}, force=_boolean(body["force"])))


def save_scheduled(path: Path, scheduled: Scheduled) -> None:
    """Keep a scheduled switchover, durably."""
    _save(path, asdict(scheduled), durable=True)


# --- values to JSON and back -----------------------------------------------------------------------------


def _durable_body(durable: Durable) -> dict[str, Any]:
    record, pause = durable.record, durable.pause
    return {
        "record": None if record is None else _record_body(record),
        "served": durable.served,
        "complete": durable.complete,
        "hold": durable.hold,
        "pause": {name: getattr(pause, name) for name in ("serial", "active", *PAUSE_WORDS)},
        "handbacks": durable.handbacks,
        "kept_off": durable.kept_off,
    }


def _record_body(record: Record) -> dict[str, Any]:
    point = record.handover
    return {
        "pair_id": record.pair_id,
        "system_id": record.system_id,
        "term": record.term,
        "primary": record.primary,
        "mode": record.mode.value,
        "sync": record.sync,
        "from_term": record.from_term,
        "handover": None if point is None else {"timeline": point.timeline, "lsn": str(point.lsn)},
        "cause": record.cause,
        "at": record.at,
    }


def _durable(body: dict[str, Any]) -> Durable:
    pause = body["pause"]
    return Durable(
        record=None if body["record"] is None else _record(body["record"]),
        served=_boolean(body["served"]),
        complete=_boolean(body["complete"]),
        hold=str(body["hold"]),
        pause=Pause(
            int(pause["serial"]),
            _boolean(pause["active"]),
            **{name: str(pause[name]) for name in PAUSE_WORDS if name in pause},
        ),
        handbacks=int(body["handbacks"]),
        kept_off=_boolean(body.get("kept_off", False)),
    )


def _record(body: dict[str, Any]) -> Record:
    point = body["handover"]
    return Record(
        pair_id=str(body["pair_id"]),
        system_id=str(body["system_id"]),
        term=int(body["term"]),
        primary=str(body["primary"]),
        mode=Mode(body["mode"]),
        sync=_boolean(body["sync"]),
        from_term=None if body["from_term"] is None else int(body["from_term"]),
        handover=None if point is None else WalPoint(int(point["timeline"]), Lsn.parse(point["lsn"])),
        cause=str(body["cause"]),
        at=str(body["at"]),
    )


def _facts(body: dict[str, Any]) -> BootFacts:
    grant = body["grant"]
    return BootFacts(
        confirmed=_boolean(body["confirmed"]),
        confirmed_term=int(body["confirmed_term"]),
        grant=None
        if grant is None
        else Grant(
            term=int(grant["term"]),
            boot_id=str(grant["boot_id"]),
            postmaster=str(grant["postmaster"]),
            echo_s=float("-inf") if grant["echo_s"] is None else float(grant["echo_s"]),
            expires_s=None if grant["expires_s"] is None else float(grant["expires_s"]),
        ),
        address_term=int(body.get("address_term", -1)),
        doubt_s=float("-inf") if body.get("doubt_s") is None else float(body["doubt_s"]),
        met=bool(body.get("met")),
        offset_s=None if body.get("offset_s") is None else float(body["offset_s"]),
    )


def _boolean(value: object) -> bool:
    """A JSON boolean and nothing else: "false" would be true."""
    if not isinstance(value, bool):
        raise TypeError(f"not a boolean: {value!r}")
    return value


# --- files -------------------------------------------------------------------------------------------------

HINT = "Do not delete it on the host that may serve; see the documentation on a lost record."


def _load(path: Path) -> dict[str, Any] | None:
    """The body of a file that `_save` wrote; None when there is no file."""
    try:
        raw = files.read(path, BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise RecordError(f"could not read {path}", f"{failure}.", HINT) from failure
    return _parse(path, lambda: _opened(raw))


def _opened(raw: bytes) -> dict[str, Any]:
    """Check version and checksum; ValueError says what is wrong."""
    envelope = json.loads(raw)
    if envelope["version"] != VERSION:
        raise ValueError(f"its version is {envelope['version']}, this program knows {VERSION}")
    body = envelope["body"]
    if not isinstance(body, dict):
        raise TypeError("its body is not an object")
    if envelope["sha256"] != _checksum(body):
        raise ValueError("its checksum does not fit")
    return body


def _parse(path: Path, read: Callable[[], T]) -> T:
    """Run a reader; whatever it trips over becomes a RecordError that names the file."""
    try:
        return read()
    except (ValueError, KeyError, TypeError) as failure:
        raise RecordError(f"{path} is damaged", f"{type(failure).__name__}: {failure}.", HINT) from failure


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _save(path: Path, body: dict[str, Any], *, durable: bool) -> None:
    """Temporary file beside it, rename; with `durable` an fsync of the file before and of the directory after."""
    text = json.dumps({"version": VERSION, "sha256": _checksum(body), "body": body}, indent=1) + "\n"
    try:
        files.write(path, text, durable=durable)
    except files.UnsyncedError as failure:
        raise InDoubtError(f"{path} may hold its old or its new content after a power cut: {failure}") from failure
    except OSError as failure:
        raise RecordError(f"could not write {path}", f"{failure}.") from failure


def _sync_as_it_is(path: Path) -> None:
    try:
        files.sync(path)
        files.sync_directory(path.parent)
    except OSError as failure:
        raise RecordError(f"could not sync {path}", f"{failure}.") from failure
