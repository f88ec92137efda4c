"""What each query answers: how many rows, of how many columns, of which types. Nothing else leaves `system/sql.py`.

Whoever answers need not be PostgreSQL, nor of the version that a query was written for: an answer of another shape is
a failed query (`UnexpectedAnswerError`), so that no probe or action meets a column that is missing, null or of an odd
type. One row in the table for each file in `pgvip/sql/`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgvip.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = tuple[Any, ...]

_LSN = re.compile(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}")
_TIMELINE = re.compile(r"[0-9A-F]{8}")
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_INT_MAX = 2**63


class UnexpectedAnswerError(ProbeError):
    """What answered gave rows of another shape than the query has: it is not what it should be."""


@dataclass(frozen=True, slots=True)
class Column:
    """What a column may hold; `says` is for the error."""

    says: str
    fits: Callable[[Any], bool]

    @property
    def or_null(self) -> Column:
        return Column(f"{self.says} or null", lambda value: value is None or self.fits(value))


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT_MAX <= value < _INT_MAX


BOOL = Column("true or false", lambda value: isinstance(value, bool))
INT = Column("a whole number", _is_whole)
COUNT = Column("a number from 0 on", lambda value: _is_whole(value) and value >= 0)
TIMELINE = Column("a timeline", lambda value: _is_whole(value) and 0 < value < 1 << 32)
FLOAT = Column("a finite number", lambda value: isinstance(value, float) and math.isfinite(value))
TEXT = Column("a text", lambda value: isinstance(value, str))
TEXTS = Column("a list of texts", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value))
BYTES = Column("bytes", lambda value: isinstance(value, bytes | memoryview))
LSN = Column("a WAL position", _matches(_LSN))
TIMELINE_HEX = Column("a timeline in eight digits", _matches(_TIMELINE))
HEX = Column("up to eight hexadecimal digits", _matches(re.compile(r"[0-9A-F]{1,8}")))
NUMBER = Column("a whole number as text", _matches(_NUMBER))
ANY = Column("anything", lambda _value: True)


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of an answer, and how many rows it may have."""

    columns: tuple[Column, ...]
    least: int = 0
    most: int | None = None


def one(*columns: Column) -> Shape:
    """Exactly one row."""
    return Shape(columns, 1, 1)


def any_of(*columns: Column) -> Shape:
    """Any number of rows."""
    return Shape(columns)


def at_most_one(*columns: Column) -> Shape:
    """A row or none."""
    return Shape(columns, 0, 1)


NOTHING = Shape((), 0, 0)
"""A command that returns no rows."""

SHAPES: dict[str, Shape] = {
    # --- this host's server, and the peer's: what the daemon looks at
    "database": one(
        *(BOOL, TIMELINE_HEX.or_null, LSN.or_null, LSN.or_null, LSN.or_null, TIMELINE.or_null, INT.or_null),
        *(TEXT.or_null, FLOAT.or_null, BOOL, FLOAT.or_null, TEXT, TEXT, TEXT.or_null, TEXT.or_null, TEXT.or_null),
        *(LSN.or_null, LSN.or_null, FLOAT.or_null, FLOAT.or_null, FLOAT.or_null, COUNT, TEXT, TEXT.or_null, TEXT),
    ),
    "peer_database": one(BOOL, TIMELINE, NUMBER),
    "in_recovery": one(BOOL),
    "standby_minimums": any_of(TEXT, NUMBER),
    "weak_commit": any_of(TEXT, TEXT, TEXT),
    "file_errors": any_of(TEXT, COUNT, TEXT, TEXT),
    "restart_pending": any_of(TEXT, TEXT, TEXT),
    "readiness": one(
        *(COUNT, BOOL, LSN.or_null, LSN.or_null, BOOL, COUNT, COUNT, COUNT, COUNT, BOOL, TEXT, TEXT, TEXT, BOOL, BOOL),
        *(TEXT.or_null, COUNT, COUNT, FLOAT, COUNT),
    ),
    "archiver": one(
        *(TEXT.or_null, FLOAT.or_null, TEXT.or_null, FLOAT.or_null, BOOL, COUNT, FLOAT.or_null, BOOL, COUNT),
    ),
    # --- replication
    "heartbeat": one(COUNT),
    "flushed": one(LSN.or_null),
    "written": one(TIMELINE_HEX, LSN),
    "replicas": any_of(COUNT, TEXT.or_null, TEXT, TEXT.or_null, TEXT.or_null, LSN.or_null, TEXT.or_null),
    "setting": one(TEXT),
    "failover_slots": any_of(TEXT, BOOL, BOOL, LSN),
    "slot_status": at_most_one(TEXT.or_null, BOOL, LSN.or_null),
    "slot_create": at_most_one(ANY),
    "slot_drop": at_most_one(ANY),
    "slot_advance": at_most_one(ANY),
    "slot_copy": at_most_one(ANY),
    "slot_follow": at_most_one(ANY),
    "slots_here": any_of(TEXT, BOOL, LSN.or_null, TEXT.or_null),
    "slots_of_primary": one(HEX, TEXTS, TEXTS),
    "checkpoint": Shape((ANY,), 0, 1),
    "promote": one(BOOL),
    "replay_blockers": any_of(COUNT, TEXT),
    "late_wal_clients": any_of(COUNT, TEXT),
    # --- rejoin
    "source": one(BOOL, NUMBER, TIMELINE_HEX, LSN.or_null, TEXT, TEXTS),
    "rejoin_plan": one(BOOL, COUNT.or_null, TIMELINE.or_null, BOOL),
    "replayed": at_most_one(TIMELINE, COUNT),
    "data_files": any_of(TEXT, BOOL.or_null),
    "listable": one(COUNT),
    "readable": one(COUNT.or_null),
    "wal_segment": one(BOOL),
    "wal_hashes": any_of(BYTES.or_null),
    "wal_bytes": at_most_one(BYTES.or_null),
    "cluster_bytes": one(COUNT, COUNT),
    "tablespaces": any_of(COUNT, TEXT),
    "database_names": any_of(COUNT, TEXT),
    "relation_name": any_of(TEXT),
    # --- the archive, drills
    "wal_needs": any_of(TEXT, TEXT, LSN.or_null, TEXT.or_null),
    "drill_ready": one(BOOL),
    "drill_rows": any_of(INT),
    "drill_write": NOTHING,
    "drill_clean": NOTHING,
    # --- the witness
    "witness_init": one(TEXT),
    "witness_claim": one(TEXT, COUNT, TEXT),
    "witness_status": one(TEXT, COUNT),
    "witness_claims": any_of(COUNT, TEXT, TEXT),
    "witness_session": one(BOOL, TEXT, BOOL, NUMBER),
    "witness_rights": any_of(TEXT),
    # --- checks
    "check_archiver": one(COUNT, COUNT, TEXT, BOOL, FLOAT.or_null),
    "check_clock": one(FLOAT),
    "check_connections": one(COUNT, INT),
    "check_data_directory": one(TEXT),
    "check_pending": any_of(TEXT, BOOL),
    "check_position": one(COUNT),
    "check_read_only": any_of(TEXT),
    "check_ready": one(COUNT),
    "check_receiver": at_most_one(TEXT.or_null, TEXT),
    "check_replication": any_of(TEXT, TEXT.or_null, TEXT.or_null, TEXT.or_null, INT.or_null, FLOAT.or_null),
    "check_settings": any_of(TEXT, TEXT.or_null, BOOL),
    "check_slots": any_of(TEXT, TEXT, BOOL, BOOL, TEXT.or_null, INT.or_null),
    "check_version": one(NUMBER),
    # --- what must be alike on both hosts
    "same_settings": any_of(TEXT, BOOL, TEXT, TEXT, TEXT, TEXT, TEXT, BOOL, BOOL),
    "same_places": one(TEXT, TEXT, TEXT, TEXT, BOOL),
    "same_libraries": any_of(TEXT, TEXT),
    "same_collations": any_of(TEXT, TEXT, TEXT),
    "same_locales": any_of(TEXT),
    # --- a new major version
    "template": one(TEXT, TEXT, TEXT, TEXT, TEXT),
    "prepared": any_of(TEXT, TEXT),
}


def checked(name: str, what: str, rows: Sequence[Row]) -> list[Row]:
    """The rows of the query `name`, when they have its shape. UnexpectedAnswerError says what does not fit."""
    shape = SHAPES[name]
    if len(rows) < shape.least or (shape.most is not None and len(rows) > shape.most):
        raise _unexpected(name, what, f"It has {len(rows)} rows.")
    for row in rows:
        if len(row) != len(shape.columns):
            raise _unexpected(name, what, f"A row has {len(row)} columns, not {len(shape.columns)}.")
        for number, (column, value) in enumerate(zip(shape.columns, row, strict=True), 1):
            if not column.fits(value):
                raise _unexpected(name, what, f"Column {number} must be {column.says}, not {repr(value)[:80]}.")
    return list(rows)


def _unexpected(name: str, what: str, detail: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(f'{what} gave an unexpected answer to query "{name}"', detail)
