"""Reading TOML tables into typed values, collecting every mistake instead of stopping at the first.

A wrong value leaves a `ConfigError` that names the key, the value and the hint, and the reading goes on
with the default.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgvip.config.model import Interface

Address = IPv4Address | IPv6Address

DEPTH_MAX = 32
"""The sample has five levels."""

REQUIRED = object()
"""Default of a key that must be written."""


def check_bounds(values: object) -> None:
    """ValueError for tables and lists nested without end, and for numbers beyond TOML's 64 bits (toml.io, v1.0)."""
    level = [values]
    for _ in range(DEPTH_MAX):
        if any(isinstance(one, int) and not -(1 << 63) <= one < 1 << 63 for one in level):
            raise ValueError("a whole number needs more than 64 bits")
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [value for one in inner for value in one]
        if not level:
            return
    raise ValueError(f"tables and lists are nested more than {DEPTH_MAX} levels deep")


_HEADER = re.compile(r"^[ \t]*\[[ \t]*([^\[\]\n]+?)[ \t]*\]", re.MULTILINE)
_AT_LINE = re.compile(r"\(at line (\d+),")


def not_toml(text: str, error: Exception, file: Path) -> ConfigError:
    r"""Why `text` is no TOML: a section or a key that stands twice, or else the line that tomllib names.

    >>> print(not_toml("[a]\\n[b]\\n[a]\\n", ValueError("Cannot declare ('a',) twice"), Path("f")).message)
    f: section [a] stands twice, in lines 1 and 3
    """
    line = int(found[1]) if (found := _AT_LINE.search(str(error))) else 0
    written = text.splitlines()[line - 1].strip() if 0 < line <= text.count("\n") + 1 and text else ""
    if str(error).startswith("Cannot declare"):  # else what looks like a section may be within a string of many lines
        seen: dict[str, int] = {}
        for header in _HEADER.finditer(text):
            name, number = header[1], text.count("\n", 0, header.start(1)) + 1
            if name in seen:
                what = f"{file}: section [{name}] stands twice, in lines {seen[name]} and {number}"
                hint = "Put the keys of both into one section; or correct the name, if one of them is another section."
                return ConfigError(what, hint=hint)
            seen[name] = number
    if str(error).startswith("Cannot overwrite a value"):
        what = f"{file}: a key in line {line} stands twice in its section"
        return ConfigError(what, f"The line is: {_without_value(written)}.", "Remove one of the two lines.")
    return ConfigError(f"{file} is not valid TOML", f"{error}.", "Repair that line; strings need quotes.")


def _without_value(line: str) -> str:
    """The key alone: the value may be a secret."""
    return line.partition("=")[0].strip() + " = ..." if "=" in line else line


def shown(value: object) -> str:
    """A value as it is in the file, shortened to one line.

    >>> shown("a"), shown(True), shown([1])
    ('"a"', 'true', '[1]')
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def wrong(key: str, value: object, what: str, hint: str, detail: str = "") -> ConfigError:
    """A mistake in the value of one key."""
    return ConfigError(f"{key} = {shown(value)}: {what}", detail, hint)


def missing(key: str, hint: str) -> ConfigError:
    """A mistake of omission."""
    return ConfigError(f"{key} is missing", hint=hint)


def unknown(key: str, name: str, known: Sequence[str]) -> ConfigError:
    """A key that nobody reads, with the closest one that somebody does."""
    close = difflib.get_close_matches(name, known, 1)
    where = f"{key}.{name}" if key else name
    if close:
        full = f"{key}.{close[0]}" if key else close[0]
        return ConfigError(f"{where} is not a known key", hint=f"Did you mean {full}?")
    return ConfigError(f"{where} is not a known key", hint=f"Remove it. Known here: {', '.join(sorted(known))}.")


@dataclass
class Table:
    """One TOML table being read. Every key asked for counts as known; `finish` reports the others."""

    key: str
    values: Mapping[str, object]
    problems: list[ConfigError]
    known: list[str] = field(default_factory=list)

    def full(self, name: str) -> str:
        """The dotted name of a key of this table."""
        return f"{self.key}.{name}" if self.key else name

    def given(self, name: str) -> bool:
        return name in self.values

    def bad(self, name: str, what: str, hint: str, detail: str = "") -> None:
        """Note that the value of `name` is wrong."""
        self.problems.append(wrong(self.full(name), self.values.get(name), what, hint, detail))

    def problem(self, name: str, what: str, hint: str) -> None:
        """Note that something about `name` is wrong, without its value."""
        self.problems.append(ConfigError(f"{self.full(name)} {what}", hint=hint))

    def take(self, name: str, default: object, hint: str) -> object:
        """The raw value or the default; a required one that is missing is noted and gives None."""
        self.known.append(name)
        if name in self.values:
            return self.values[name]
        if default is REQUIRED:
            self.problems.append(missing(self.full(name), hint))
            return None
        return default

    def text(self, name: str, default: object = "", example: str = "") -> str:
        """A string of one line."""
        hint = f'Write {name} = "{example}" (a string in quotes).' if example else "Write a string in quotes."
        value = self.take(name, default, hint)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.bad(name, "is not a string", hint)
            return default if isinstance(default, str) else ""
        if any(ord(c) < 32 for c in value) or (not value.strip() and default is REQUIRED):
            self.bad(name, "is empty or holds control characters", hint)
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A number of some unit, from `low` to `high`."""
        value = self.take(name, default, "")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.bad(name, "is not a number", f"Write a number from {low:g} to {high:g}, without quotes.")
            return default
        if not low <= value <= high:
            self.bad(name, "is out of range", f"Write a number from {low:g} to {high:g}; the default is {default:g}.")
            return default
        return float(value)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self.take(name, default, "")
        if isinstance(value, bool) or not isinstance(value, int):
            self.bad(name, "is not a whole number", f"Write a whole number from {low} to {high}, without quotes.")
            return default
        if not low <= value <= high:
            self.bad(name, "is out of range", f"Write a number from {low} to {high}; the default is {default}.")
            return default
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.take(name, default, "")
        if not isinstance(value, bool):
            self.bad(name, "is neither true nor false", "Write true or false, without quotes.")
            return default
        return value

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        """One of a few words."""
        value = self.take(name, default, "")
        if value not in choices:
            close = difflib.get_close_matches(str(value), choices, 1)
            words = ", ".join(f'"{c}"' for c in choices)
            hint = f'Did you mean "{close[0]}"? Known: {words}.' if close else f"Write one of {words}."
            self.bad(name, "is not one of the known words", hint)
            return default
        return str(value)

    def path(self, name: str, default: object, example: str = "") -> Path:
        """An absolute path; nothing is looked up."""
        path = Path(self.text(name, str(default) if isinstance(default, Path) else default, example))
        if path.parts and (not path.is_absolute() or ".." in path.parts):
            self.bad(name, "is not an absolute path", f"Write the whole path, as in {example or '/var/lib/...'}.")
        return path

    def optional_path(self, name: str, example: str = "") -> Path | None:
        """An absolute path, or None when the key is absent or empty."""
        path = self.path(name, "", example)
        return path if path.parts else None

    def words(self, name: str, example: str, default: object = REQUIRED) -> tuple[str, ...]:
        """A list of strings; a required one is not empty."""
        hint = f"Write {name} = {example}."
        value = self.take(name, default, hint)
        if value is None or value is default:
            return ()
        if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
            self.bad(name, "is not a list of strings", hint)
            return ()
        if not value and default is REQUIRED:
            self.bad(name, "is empty", hint)
        return tuple(value)

    def table(self, name: str) -> Table:
        """A table of this table; an absent one reads as empty."""
        value = self.take(name, {}, "")
        if not isinstance(value, dict):
            self.bad(name, "is not a table", f"Write a [{self.full(name)}] section.")
            value = {}
        return Table(self.full(name), value, self.problems)

    def finish(self) -> None:
        """Report every key that nobody asked for."""
        self.problems.extend(unknown(self.key, name, self.known) for name in self.values if name not in self.known)


def read_interface(table: Table, name: str, example: str) -> Interface | None:
    """An address of IPv4 or IPv6 with or without `/prefix`; without, one host (/32, /128)."""
    text = table.text(name, REQUIRED, example)
    if not text:
        return None
    try:
        interface = ip_interface(text)
    except ValueError:
        hint = f'Write an address as in {name} = "{example}"; names are not looked up.'
        table.bad(name, "is not an IP address", hint)
        return None
    address = interface.ip
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        table.bad(name, "is not the address of a host", f'Write an address as in {name} = "{example}".')
        return None
    return interface


def read_address(text: str) -> Address | None:
    """The address, or None when it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None
