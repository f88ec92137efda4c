"""Knowledge with other values in its parts, by the names of the fields alone: no two parts have a field of one name."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from pgvip.core.knowledge import Knowledge
from pgvip.core.settings import Identity
from pgvip.core.values import Durable

_EMPTY = Knowledge(Identity("", "", 0.0), Durable())
WHOLE = ("who", "durable", "confirmed", "role")
"""What stands in no part."""
PARTS = tuple(
    each.name for each in fields(Knowledge) if is_dataclass(getattr(_EMPTY, each.name)) and each.name not in WHOLE
)
PART_OF = {leaf.name: part for part in PARTS for leaf in fields(getattr(_EMPTY, part))}
"""The part of each field."""


def knowing(k: Knowledge, **changes: Any) -> Knowledge:
    """A copy with other values."""
    k, of_parts = k.copy(), dict[str, dict[str, Any]]()
    for name, value in changes.items():
        if name in WHOLE:
            setattr(k, name, value)
        else:
            of_parts.setdefault(PART_OF[name], {})[name] = value
    for part, values in of_parts.items():
        setattr(k, part, replace(getattr(k, part), **values))
    return k
