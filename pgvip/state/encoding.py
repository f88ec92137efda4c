"""How values are turned into what the json module writes: by their types, each of which is examined once.

Heartbeats and the requests to worker processes are encoded several times a second: a chain of questions for each value
was the largest part of what the daemon's loop did at rest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from functools import cache, partial
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.core.values import Lsn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_KEY = "key"
_Network = IPv4Interface | IPv6Interface | IPv4Network | IPv6Network
"""Addresses with a prefix: a value of the configuration is of either family."""


def key(name: str) -> dict[str, str]:
    """Metadata of a dataclass's field that has another name in JSON ("from" can be no name in Python)."""
    return {_KEY: name}


def name_of(field: dataclasses.Field[Any]) -> str:
    """What a dataclass's field is called in JSON."""
    return str(field.metadata.get(_KEY, field.name))


def encode(value: Any) -> Any:
    """Turn a value into what the json module writes. TypeError for what has no form in JSON."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return _encode_float(value)
    return _encoder(kind)(value)


_PLAIN = frozenset({str, int, bool, type(None)})
"""Written as they are, as most values are."""


@cache
def _encoder(kind: type) -> Callable[[Any], Any]:
    """How values of a type are encoded; looked up once."""
    if issubclass(kind, Enum):
        return _encode_enum
    if issubclass(kind, Lsn | Path | _Network):
        return str
    if issubclass(kind, float):
        return _encode_float
    if issubclass(kind, str | int):
        return _encode_plain
    if dataclasses.is_dataclass(kind):
        return partial(_encode_fields, tuple((name_of(one), one.name) for one in dataclasses.fields(kind)))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return partial(_encode_fields, tuple((name, name) for name in kind._fields))
    if issubclass(kind, tuple | list):
        return _encode_items
    if issubclass(kind, set | frozenset):
        return _encode_set
    if issubclass(kind, dict):
        return _encode_dict
    raise TypeError(f"no JSON form for {kind.__name__}")


def _encode_fields(names: tuple[tuple[str, str], ...], value: object) -> dict[str, Any]:
    return {written: encode(getattr(value, name)) for written, name in names}


def _encode_items(value: Sequence[object]) -> list[Any]:
    return [encode(item) for item in value]


def _encode_set(value: set[object] | frozenset[object]) -> list[Any]:
    return sorted((encode(item) for item in value), key=str)


def _encode_dict(value: Mapping[object, object]) -> dict[str, Any]:
    return {str(encode(key)): encode(item) for key, item in value.items()}


def _encode_enum(value: Enum) -> object:
    return value.value


def _encode_plain(value: object) -> object:
    return value


def _encode_float(value: float) -> float | str:
    if math.isnan(value):
        raise TypeError("no JSON form for NaN")
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value
