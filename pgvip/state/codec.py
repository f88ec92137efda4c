"""Values of the core as JSON and back: strict about types, lenient about fields it does not know.

Driven by the type hints of the dataclasses, so a new field of `Message` needs nothing here. A field that
is missing gets the default of its dataclass (an older peer, during a rolling upgrade); one without a default, or of
the wrong type, is a LinkError that names it. JSON has no infinities: they travel as "inf" and "-inf".
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from pgvip.core.messages import Message
from pgvip.core.values import Lsn
from pgvip.errors import LinkError
from pgvip.state.json_text import parse

T = TypeVar("T")

MAX_BYTES = 64 * 1024
"""The longest message, in bytes of UTF-8. A heartbeat has about 1.5 kB; etcd's limit for a whole request is 1.5 MB."""

_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_INT_MAX = 2**63 - 1
_INFINITIES = {"inf": math.inf, "-inf": -math.inf}


def encode(value: object) -> Any:
    """Turn a value into what the json module writes. TypeError for what has no place on the wire."""
    if value is None or isinstance(value, Enum | str | int | float):
        return _encode_scalar(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: encode(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: encode(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, frozenset):
        return sorted((encode(item) for item in value), key=str)
    if isinstance(value, dict):
        return {str(encode(key)): encode(item) for key, item in value.items()}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def to_json(value: object, *, max_bytes: int = MAX_BYTES) -> str:
    """One line of JSON. LinkError when it is longer than `max_bytes`."""
    text = json.dumps(encode(value), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    if len(text) > max_bytes:
        raise LinkError(f"message is too long: {len(text)} bytes, at most {max_bytes}")
    return text


def message_from_json(text: str) -> Message:
    """Read a peer's message. LinkError says which field is wrong."""
    return from_json(Message, text)


def from_json(cls: type[T], text: str, *, complete: bool = False, max_bytes: int = MAX_BYTES) -> T:
    """Read a value of type `cls` from JSON text; see `decode`."""
    if len(text) > max_bytes:
        raise LinkError(f"message is too long: {len(text)} bytes, at most {max_bytes}")
    return decode(cls, parse(text), complete=complete)


def decode(cls: type[T], value: object, *, complete: bool = False) -> T:
    """Turn parsed JSON into a value of type `cls`. LinkError names the field and what it holds.

    `complete`: a missing field is an error even if it has a default (a file that only this version writes).
    """
    return typing.cast("T", _decode(cls, value, cls.__name__, complete))


def _encode_scalar(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Lsn):
        return str(value)
    return _encode_float(value) if isinstance(value, float) else value


def _encode_float(value: float) -> float | str:
    if math.isnan(value):
        raise TypeError("no JSON form for NaN")
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _wrong(where: str, expected: str, value: object) -> LinkError:
    return LinkError(f"wrong value for {where}", f"It must be {expected}, not {repr(value)[:80]}.")


def _decode(hint: Any, value: object, where: str, complete: bool) -> Any:
    """Decode by one type hint; `where` is the path of the field, for the error."""
    scalar = _SCALARS.get(hint)
    if scalar is not None:
        return scalar(value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            choices = ", ".join(repr(one.value) for one in hint)
            raise _wrong(where, f"one of {choices}", value) from None
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hasattr(hint, "_fields")):
        return _decode_fields(hint, value, where, complete)
    return _decode_generic(hint, value, where, complete)


def _decode_fields(cls: Any, value: object, where: str, complete: bool) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    given: dict[str, object] = {}
    for name, (hint, required) in _plan(cls).items():
        if name in value:
            given[name] = _decode(hint, value[name], f"{where}.{name}", complete)
        elif required or complete:
            raise LinkError(f"missing value for {where}.{name}")
    return cls(**given)


def _decode_generic(hint: Any, value: object, where: str, complete: bool) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_optional(arguments, value, where, complete)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        key_hint, item_hint = arguments
        return {
            _decode(key_hint, key, f"{where} key", complete): _decode(item_hint, item, f"{where}[{key}]", complete)
            for key, item in value.items()
        }
    if origin in (tuple, frozenset):
        return origin(_decode_items(arguments, value, where, complete))
    raise TypeError(f"no JSON form for {hint} ({where})")


def _decode_optional(arguments: tuple[Any, ...], value: object, where: str, complete: bool) -> Any:
    (hint,) = (one for one in arguments if one is not type(None))  # X | None is the only union in the model
    return None if value is None else _decode(hint, value, where, complete)


def _decode_items(arguments: tuple[Any, ...], value: object, where: str, complete: bool) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    hints = list(arguments)
    if len(hints) == 1 or hints[-1] is Ellipsis:
        hints = hints[:1] * len(value)
    if len(hints) != len(value):
        raise _wrong(where, f"a list of {len(hints)}", value)
    return [
        _decode(hint, item, f"{where}[{index}]", complete)
        for index, (hint, item) in enumerate(zip(hints, value, strict=True))
    ]


def _read_bool(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false", value)
    return value


def _read_int(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _INT_MAX:
        raise _wrong(where, "a whole number", value)
    return value


def _read_float(value: object, where: str) -> float:
    if isinstance(value, str) and value in _INFINITIES:
        return _INFINITIES[value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:  # NaN fails this too
        raise _wrong(where, "a number", value)
    return float(value)


def _read_str(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "a text", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate would fail much later, where it is printed or stored
            raise _wrong(where, "a text of whole characters", value) from None
    return value


def _read_lsn(value: object, where: str) -> Lsn:
    if not isinstance(value, str) or not _LSN.fullmatch(value):
        raise _wrong(where, "a WAL position", value)
    return Lsn.parse(value)


_SCALARS: dict[Any, Any] = {bool: _read_bool, int: _read_int, float: _read_float, str: _read_str, Lsn: _read_lsn}


@cache
def _plan(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Name → (type, required) for each field of a dataclass or NamedTuple."""
    hints = typing.get_type_hints(cls)
    if hasattr(cls, "_fields"):
        return {name: (hints[name], name not in cls._field_defaults) for name in cls._fields}
    missing = dataclasses.MISSING
    return {
        one.name: (hints[one.name], one.default is missing and one.default_factory is missing)
        for one in dataclasses.fields(cls)
    }
