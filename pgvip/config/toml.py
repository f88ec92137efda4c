"""Values as the configuration file writes them, for people to read; secrets are left out."""

from __future__ import annotations

import dataclasses
import json
import re
from enum import Enum
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = "(hidden)"
SECRET_NAME = re.compile(
    r"(passwd|password|passphrase|secret|token|community|credentials?|api_?key|(\A|[_-])key)\Z", re.IGNORECASE
)
"""Names whose values are secrets: parameters of fence agents, options of commands."""
_ASSIGNED = re.compile(r"(?P<name>-{0,2}[\w.-]+)(?P<sign>[=:])(?P<value>.+)\Z", re.DOTALL)
_IN_URL = re.compile(r"(?P<before>\w+://[^/@\s:]*:)[^@/\s]*@")


def toml(value: object) -> str:
    """One value in one line (toml.io, v1.0); a key that is left out of the file reads `not set`.

    >>> toml(3.0), toml(True), toml("a"), toml(("x", "y")), toml(None)
    ('3', 'true', '"a"', '["x", "y"]', 'not set')
    """
    if value is None:
        return "not set"
    if isinstance(value, Enum):
        return toml(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple | list):
        words = without_secrets([str(one) for one in value]) if all(isinstance(one, str) for one in value) else value
        return f"[{', '.join(map(toml, words))}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _table({one.name: getattr(value, one.name) for one in dataclasses.fields(value) if _is_set(value, one)})
    if isinstance(value, dict):
        return _table(value)
    if isinstance(value, IPv4Interface | IPv6Interface) and value.network.num_addresses == 1:
        value = value.ip
    return json.dumps(str(value), ensure_ascii=False)


def _is_set(value: object, one: dataclasses.Field[object]) -> bool:
    """It is not what the file gets by leaving it out."""
    return bool(getattr(value, one.name) != one.default)


def _table(values: dict[str, object]) -> str:
    parts = []
    for name, value in values.items():
        if name in ("options", "secrets") and isinstance(value, tuple):
            value = dict(value)  # noqa: PLW2901 - pairs here, a table in the file
        if name == "secrets" and isinstance(value, dict):  # its values are files, whatever its names
            files = ", ".join(f"{one} = {toml(file)}" for one, file in value.items())
            parts.append(f"secrets = {{ {files} }}")
            continue
        parts.append(f"{name} = {toml(HIDDEN if SECRET_NAME.search(name) else value)}")
    return f"{{ {', '.join(parts)} }}" if parts else "{}"


def without_secrets(words: Sequence[str]) -> list[str]:
    """A command's arguments: not what follows --password, nor what is in password=, nor a URL's password."""
    shown = []
    hide = False
    for word in words:
        assigned = _ASSIGNED.match(word)
        if hide:
            shown.append(HIDDEN)
        elif assigned and SECRET_NAME.search(assigned["name"]):
            shown.append(f"{assigned['name']}{assigned['sign']}{HIDDEN}")
        else:
            shown.append(_IN_URL.sub(rf"\g<before>{HIDDEN}@", word))
        hide = not hide and word.startswith("-") and not assigned and bool(SECRET_NAME.search(word))
    return shown
