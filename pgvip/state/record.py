"""The durable record on disk, the facts of one boot beside it, and the pair's identity.

What cannot be read is an error and never "none": a host without a record trusts its peer, a host with a
damaged one must not (docs/protocol.md, "The record").
"""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pgvip.core.values import BootFacts, Durable
from pgvip.errors import FormatError, RecordError
from pgvip.state import codec, files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

VERSION = 1
"""Of the file's form; a newer one is refused."""

BYTES_MAX = 1 << 20

LATER = (
    "Durable.kept_off", "Durable.lacks", "Durable.pause.until", "Durable.pause.by", "Durable.pause.host",
    "Durable.record.witness_id", "Durable.claimed_term", "Durable.serial", "Durable.removed",
)  # fmt: skip
"""Fields that came later: a file of an older version lacks them."""


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


@dataclass(frozen=True, slots=True)
class Restarting:
    """A restart of PostgreSQL that was begun (`pgvip restart`): kept where it was ordered, until it is over.

    `primary`: who was primary then. `before`: the postmaster of each host that is to be restarted. `back`: the role
    returns in the end. `lowered`: the limits for which the primary is restarted first. `command`: runs on this host
    while its PostgreSQL is down; `ran`: it has ended well.
    """

    at: str
    by: str
    primary: str
    before: dict[str, str]
    back: bool = False
    lowered: tuple[str, ...] = ()
    command: str = ""
    ran: bool = False


@dataclass(frozen=True, slots=True)
class TlsInUse:
    """See `PostgresConfig.tls`. `passwords_left`: pgvip's roles may still have passwords that nothing uses."""

    tls: str
    also: str = ""
    passwords_left: bool = False


@dataclass(frozen=True, slots=True)
class _KeptFacts:
    """The facts of one boot in their file."""

    boot_id: str
    facts: BootFacts


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What stands around each of these in its file."""

    version: int
    sha256: str
    body: dict[str, Any]


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
        return _load(Durable, self.path)

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
        _save(self.path, durable, durable=True)


def load_boot_facts(path: Path, boot_id: str, tell: Callable[[str], None] = lambda _why: None) -> BootFacts:
    """The facts of this boot; empty ones when there are none, or when they are another boot's.

    What cannot be read is not known, as after a boot; the reason is reported.
    """
    try:
        kept = _load(_KeptFacts, path, read=_decode_facts)
    except RecordError as failure:
        tell(f"{failure.message}: {failure.detail.rstrip('.')}")
        return BootFacts()
    return kept.facts if kept is not None and kept.boot_id == boot_id else BootFacts()


def save_boot_facts(path: Path, boot_id: str, facts: BootFacts) -> None:
    """Keep the facts for a daemon restart. Atomic, without fsync: a reboot is meant to lose them."""
    _save(path, _KeptFacts(boot_id, facts), durable=False)


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
    return _load(PairIdentity, path)


def save_identity(path: Path, identity: PairIdentity) -> None:
    """Fix the identity, durably."""
    _save(path, identity, durable=True)


def load_scheduled(path: Path) -> Scheduled | None:
    """The scheduled switchover that was kept; None for none. RecordError when the file is not readable."""
    return _load(Scheduled, path)


def save_scheduled(path: Path, scheduled: Scheduled) -> None:
    """Keep a scheduled switchover, durably."""
    _save(path, scheduled, durable=True)


def load_restart(path: Path) -> Restarting | None:
    """The restart that has not ended; None for none. RecordError when the file is not readable."""
    return _load(Restarting, path)


def save_restart(path: Path, restarting: Restarting) -> None:
    """Keep it, durably."""
    _save(path, restarting, durable=True)


def load_tls(path: Path) -> TlsInUse | None:
    """Which `postgresql.tls` is in use; None where nothing was kept. RecordError when the file is not readable."""
    return _load(TlsInUse, path)


def save_tls(path: Path, tls: TlsInUse) -> None:
    """Keep it, durably."""
    _save(path, tls, durable=True)


# --- files -------------------------------------------------------------------------------------------------

HINT = "Do not delete it on the host that may serve; see the documentation on a lost record."


def _decode(cls: type[T], body: object) -> T:
    return codec.decode(cls, body, complete=True, later=LATER)


def _decode_facts(cls: type[T], body: object) -> T:
    """Facts that are missing are not known; null meant those that never happened."""
    return codec.decode(cls, _without_nulls(body))


def _without_nulls(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(item) for name, item in value.items() if item is not None}


def _load(cls: type[T], path: Path, *, read: Callable[[type[T], object], T] = _decode) -> T | None:
    """What `_save` wrote; None when there is no file. RecordError when it cannot be read."""
    try:
        text = files.read(path, BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise RecordError(f"could not read {path}", f"{failure}.", HINT) from failure
    try:
        return read(cls, _opened(text))
    except FormatError as failure:
        raise RecordError(f"{path} is damaged", f"{failure}.", HINT) from failure


def _opened(text: bytes) -> object:
    """The body, when version and checksum are right; FormatError says what is wrong."""
    envelope = codec.from_json(_Envelope, text, max_bytes=BYTES_MAX)
    if envelope.version != VERSION:
        raise FormatError(f"its version is {envelope.version}, this program knows {VERSION}")
    if envelope.sha256 != _checksum(envelope.body):
        raise FormatError("its checksum does not fit")
    return envelope.body


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _save(path: Path, value: object, *, durable: bool) -> None:
    """RecordError when it could not be written; InDoubtError when it is not known which content is there."""
    body = codec.encode(value)
    text = codec.to_text(_Envelope(VERSION, _checksum(body), body))
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
