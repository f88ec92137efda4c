"""What `pgvip config push` writes on a host so that it is like the other one, and what must wait. Pure.

A standby must have each limit at least as high as its primary has it in force, or its replay stops. So a limit goes up
on the standby first and down on the primary first, with a restart between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgvip.errors import RefusedError
from pgvip.setup.likeness import Kind, differences, is_own
from pgvip.setup.own_settings import LIMITS, LISTS, literal, may_be_copied, shown, words
from pgvip.setup.portrait import ODD

if TYPE_CHECKING:
    from pgvip.setup.portrait import Portrait, Value


@dataclass(frozen=True, slots=True)
class Plan:
    """For one host. `files`: all lines of each file that changes, beside pgvip's own. `settings`: in the words of SQL.

    `texts`: what is done, in words. `later`: what cannot be done before something else. `by_hand`: what is never
    copied. `restart`: settings that need one here.
    """

    source: str
    target: str
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.files and not self.settings


def plan(source: Portrait, target: Portrait) -> Plan:
    """What makes `target` like `source`. RefusedError for a file that cannot be sent as text."""
    found = differences(source, target)
    changed = sorted({one.name for one in found if one.kind is Kind.LINE})
    files = {name: _file(name, source, target) for name in changed}
    texts = [f"{name}: {len(lines)} lines" for name, lines in files.items()]
    settings, later, restart = dict[str, str](), list[str](), list[str]()
    for one in found:
        if one.kind not in (Kind.LIMIT, Kind.SETTING) or not may_be_copied(one.name):
            continue
        value, there = source.settings.get(one.name), target.settings.get(one.name)
        if value is None or there is None:
            later.append(f"{one.name} is not known on {(target if there is None else source).host}: its library first")
        elif why := _too_early(one.name, value, source, target):
            later.append(why)
        else:
            settings[one.name] = _words(one.name, value)
            was, now = (shown(each.value, each.unit) for each in (there, value))
            texts.append(f"{one.name}: {was} -> {now}" + (" (needs a restart)" if value.restart else ""))
            restart += [one.name] if value.restart else []
    by_hand = tuple(one.text for one in found if one.kind is Kind.BY_HAND)
    return Plan(source.host, target.host, files, settings, tuple(texts), tuple(later), by_hand, tuple(restart))


def _file(name: str, source: Portrait, target: Portrait) -> tuple[str, ...]:
    """The source's lines; the target's own ones come first, since the first line that fits decides."""
    own = [line for line in target.files[name] if is_own(line)]
    lines = (*own, *(line for line in source.files[name] if not is_own(line)))
    for host in (source, target):  # also the target's: lines of its own may be among what is not known
        if odd := next((line for line in host.files[name] if ODD in line), None):
            what = f"{name} on {host.host} is too long, or has a line that is no text in UTF-8 or is too long"
            raise RefusedError(what, f"{odd[:80]!r}.", "Copy this file by hand.")
    return lines


def _too_early(name: str, value: Value, source: Portrait, target: Portrait) -> str:
    """Why a limit cannot be copied now; "" where it can, and for every other setting."""
    if name not in LIMITS or source.standby == target.standby:
        return ""
    in_force = source.limits.get(name)
    if in_force is None or not value.value.isdecimal():
        return f"{name}: what is in force on {source.host} is not known"
    wanted = int(value.value)
    if target.standby and wanted < in_force:
        return f"{name} goes down on the primary first: {source.host} still has {in_force} in force; restart it there"
    if not target.standby and wanted > in_force:
        return f"{name} goes up on the standby first: {source.host} has {in_force} in force; restart it there"
    return ""


def _words(name: str, value: Value) -> str:
    """As ALTER SYSTEM takes it; a list with each word by itself, since one that is quoted as a whole is one word."""
    if name in LISTS and value.value:
        return ", ".join(literal(word) for word in words(value.value))
    return literal(value.value)


def script(settings: dict[str, str]) -> str:
    """SQL that sets them; each name is of the table of names (`own_settings.NAME`)."""
    return "".join(f"ALTER SYSTEM SET {name} = {value};\n" for name, value in settings.items())
