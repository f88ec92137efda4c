"""The one codec of everything that is kept or sent as JSON: strict about types, lenient about fields it does not know.

Driven by the type hints of dataclasses, so a new field needs nothing here. A field that is missing gets the default of
its dataclass (an older peer, during a rolling upgrade); one without a default, or of the wrong type, is a FormatError
that names it. What came from elsewhere is bounded in size, depth and digits, whatever its type, so no input reaches the
program as another exception. JSON has no infinities: they are "inf" and "-inf".
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Any, TypeVar

from pgvip.core.values import Lsn
from pgvip.errors import FormatError
from pgvip.state import files
from pgvip.state.encoding import encode, key, name_of

if typing.TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["encode", "key"]

T = TypeVar("T")

MAX_BYTES = 64 * 1024
"""The longest message, in bytes of UTF-8. A heartbeat has about 1.5 kB; etcd's limit for a whole request is 1.5 MB."""
DEPTH_MAX = 32
"""Of lists and objects in each other; the deepest document of pgvip has about ten."""
DIGITS_MAX = 20
"""Of a whole number; 64 bits have 20."""

_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_INT_MAX = 2**63 - 1
_INFINITIES = {"inf": math.inf, "-inf": -math.inf}


# --- to JSON -------------------------------------------------------------------------------------------------


def to_json(value: object, *, max_bytes: int = MAX_BYTES) -> str:
    """One line of JSON, in ASCII. FormatError when it is longer than `max_bytes`."""
    return _bounded(json.dumps(encode(value), separators=(",", ":"), allow_nan=False), max_bytes)


def to_text(value: object) -> str:
    """Lines of JSON, for a file that people may read."""
    return json.dumps(encode(value), indent=1, allow_nan=False) + "\n"


def plain_to_json(document: Mapping[str, Any], *, max_bytes: int = MAX_BYTES) -> str:
    """As `to_json`, for what has JSON's own types already: large documents are written many times faster."""
    try:
        return _bounded(json.dumps(document, separators=(",", ":"), allow_nan=False), max_bytes)
    except ValueError as error:
        raise FormatError("no JSON form", str(error)) from error


def plain_to_line(document: Mapping[str, Any]) -> bytes:
    """As `plain_to_json`, in UTF-8: words of any language stay short. A lone surrogate becomes a question mark."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _bounded(text: str, max_bytes: int) -> str:
    if len(text) > max_bytes:
        raise FormatError(f"too long: {len(text)} bytes, at most {max_bytes}")
    return text


# --- from JSON -----------------------------------------------------------------------------------------------


def parse(text: str | bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read JSON without a type. FormatError for all that is not JSON, and for what no document of pgvip has.

    That is: numbers without end, endless nesting, endless digits, half characters.
    """
    if len(text) > max_bytes:
        raise FormatError(f"too long: {len(text)} bytes, at most {max_bytes}")
    try:
        said = text.decode() if isinstance(text, bytes) else text
        value = json.loads(
            said,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_finite,
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are of it
        raise FormatError("not JSON", str(error)) from error
    if not _is_plain(said):
        _check(value)
    return value


def parse_object(text: str | bytes, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """As `parse`; also a FormatError when it is no object."""
    value = parse(text, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", f"it is {text[:80]!r}")
    return value


def from_json(cls: type[T], text: str | bytes, *, complete: bool = False, max_bytes: int = MAX_BYTES) -> T:
    """Read a value of type `cls` from JSON text; see `decode`."""
    return decode(cls, parse(text, max_bytes=max_bytes), complete=complete)


def from_file(cls: type[T], path: Path, *, max_bytes: int) -> T:
    """Read a value of type `cls` from a file of JSON. OSError, or FormatError."""
    return from_json(cls, files.read(path, max_bytes), max_bytes=max_bytes)


def decode(cls: type[T], value: object, *, complete: bool = False, later: Container[str] = ()) -> T:
    """Turn parsed JSON into a value of type `cls`. FormatError names the field and what it holds.

    `complete`: a missing field is an error even if it has a default, unless it is one of `later` ("Durable.kept_off"),
    which files of older versions lack.
    """
    return typing.cast("T", _Decoder(complete, later).value(cls, value, cls.__name__))


def decode_as(hint: Any, value: object, where: str) -> Any:
    """As `decode`, for any type hint; `where`: what the value is called in an error."""
    return _Decoder(complete=False, later=()).value(hint, value, where)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"a whole number has {len(digits)} digits, at most {DIGITS_MAX}")
    return int(digits)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:DIGITS_MAX]} is too large a number")
    return value


def _too_deep() -> FormatError:
    return FormatError("nested too deep", f"at most {DEPTH_MAX} levels are read")


def _is_plain(text: str) -> bool:
    """No character of it can be half a one, and it opens too few lists and objects to be nested too deep."""
    return text.isascii() and "\\u" not in text and text.count("[") + text.count("{") <= DEPTH_MAX


def _check(value: object) -> None:
    """Level by level: depth and characters."""
    level: list[object] = [value]
    for _depth in range(DEPTH_MAX + 1):
        inner: list[object] = []
        for one in level:
            if isinstance(one, str):
                _whole_characters(one)
            elif isinstance(one, dict):
                inner += one.keys()
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return
        level = inner
    raise _too_deep()


def _whole_characters(value: str) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate would fail much later, where it is printed or stored
            raise FormatError("a text with half a character", f"it is {value[:80]!a}") from None


def _wrong(where: str, expected: str, value: object) -> FormatError:
    return FormatError(f"wrong value for {where}", f"it must be {expected}, not {repr(value)[:80]}")


@dataclasses.dataclass(frozen=True, slots=True)
class _Decoder:
    """Decodes by type hints; `where` is the path of the field, for the error."""

    complete: bool
    later: Container[str]

    def value(self, hint: Any, value: object, where: str) -> Any:
        scalar = _SCALARS.get(hint)
        if scalar is not None:
            return scalar(value, where)
        form = _form(hint)
        if form is _Form.ENUM:
            try:
                return hint(value)
            except ValueError:
                choices = ", ".join(repr(one.value) for one in hint)
                raise _wrong(where, f"one of {choices}", value) from None
        if form is _Form.FIELDS:
            return self._fields(hint, value, where)
        return self._generic(hint, value, where)

    def _fields(self, cls: Any, value: object, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        given: dict[str, object] = {}
        for name, (written, hint, required) in _plan(cls).items():
            inner = f"{where}.{written}"
            if written in value:
                given[name] = self.value(hint, value[written], inner)
            elif required or (self.complete and inner not in self.later):
                raise FormatError(f"missing value for {inner}")
        return cls(**given)

    def _generic(self, hint: Any, value: object, where: str) -> Any:
        origin, arguments = _parts(hint)
        if origin in (typing.Union, types.UnionType):
            if value is None and type(None) in arguments:
                return None
            inner = tuple(one for one in arguments if one is not type(None))
            if set(inner) <= set(_ADDRESSES):
                return _read_address(inner, value, where)
            (one,) = inner  # X | None is the only other union in the model
            return self.value(one, value, where)
        if origin in (dict, Mapping):
            if not isinstance(value, dict):
                raise _wrong(where, "an object", value)
            key_hint, item_hint = arguments
            return {
                self.value(key_hint, one, f"{where} key"): self.value(item_hint, item, f"{where}[{one}]")
                for one, item in value.items()
            }
        if origin in (tuple, list, frozenset, Sequence):
            items = self._items(arguments, value, where)
            return tuple(items) if origin is Sequence else origin(items)
        raise TypeError(f"no JSON form for {hint} ({where})")

    def _items(self, arguments: tuple[Any, ...], value: object, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        hints = list(arguments)
        if len(hints) == 1 or hints[-1] is Ellipsis:
            hints = hints[:1] * len(value)
        if len(hints) != len(value):
            raise _wrong(where, f"a list of {len(hints)}", value)
        return [
            self.value(hint, item, f"{where}[{index}]")
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
    return value


def _read_path(value: object, where: str) -> Path:
    return Path(_read_str(value, where))


def _read_any(value: object, _where: str) -> object:
    return value


def _read_lsn(value: object, where: str) -> Lsn:
    if not isinstance(value, str) or not _LSN.fullmatch(value):
        raise _wrong(where, "a WAL position", value)
    return Lsn.parse(value)


_ADDRESSES: dict[Any, Any] = {
    IPv4Interface: ip_interface,
    IPv6Interface: ip_interface,
    IPv4Network: ip_network,
    IPv6Network: ip_network,
}


def _read_address(kinds: tuple[Any, ...], value: object, where: str) -> object:
    try:
        return _ADDRESSES[kinds[0]](_read_str(value, where))
    except ValueError:
        raise _wrong(where, "an address with its prefix", value) from None


_SCALARS: dict[Any, Any] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_str,
    Lsn: _read_lsn,
    Path: _read_path,
    Any: _read_any,
}


class _Form(Enum):
    """How a type that is no scalar is read."""

    ENUM = "enum"
    FIELDS = "fields"
    GENERIC = "generic"


@cache
def _form(hint: Any) -> _Form:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Form.ENUM
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hasattr(hint, "_fields")):
        return _Form.FIELDS
    return _Form.GENERIC


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A generic type's origin and its arguments."""
    return typing.get_origin(hint), typing.get_args(hint)


@cache
def _plan(cls: Any) -> dict[str, tuple[str, Any, bool]]:
    """Name → (name in JSON, type, required) for each field of a dataclass or NamedTuple."""
    hints = typing.get_type_hints(cls)
    if hasattr(cls, "_fields"):
        return {name: (name, hints[name], name not in cls._field_defaults) for name in cls._fields}
    missing = dataclasses.MISSING
    return {
        one.name: (name_of(one), hints[one.name], one.default is missing and one.default_factory is missing)
        for one in dataclasses.fields(cls)
    }
