"""New keys for a pair in service: the order in which both hosts take the steps of `rotation`.

First both hosts get their next keys and trust them beside the old ones; then the standby uses its next keys, then the
primary; when each has proved itself to the other, both trust the new ones alone. Until both hosts have them, another
call begins anew with other keys; from then on it goes on with these.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgvip.errors import RefusedError
from pgvip.setup import rotation
from pgvip.state import codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgvip.config.model import Config

NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Look:
    """Where a host is (see `rotation.Rotation`), and what stands against it: `refusal`, with its `hint`."""

    host: str
    primary: str = ""
    done: str = ""
    prepared: str = ""
    using: str = ""
    refusal: str = ""
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one host. `words`: what it is asked with; the next keys are among them."""

    host: str
    name: str
    title: str
    words: Mapping[str, Any] = field(repr=False)


def refuse(looks: Sequence[Look]) -> None:
    """RefusedError when a host cannot renew its keys now."""
    for look in looks:
        if look.refusal:
            raise RefusedError(f"{look.host}: {look.refusal}", look.detail, look.hint)
    numbers = {look.using for look in looks} - {""}
    for number in numbers:
        for look in looks:
            if number not in (look.using, look.prepared, look.done):
                detail = f"{look.host} knows nothing of rotation {number}, whose keys the other host uses."
                raise RefusedError("the hosts are not in the same rotation", detail, rotation.HINT)


def unfinished(looks: Sequence[Look]) -> str:
    """The rotation to go on with, or "" for a new one."""
    prepared = {look.prepared for look in looks}
    both = prepared.pop() if len(prepared) == 1 else ""
    return next((look.using for look in looks if look.using), both)


def steps(config: Config, looks: Sequence[Look]) -> list[Step]:
    """What is to be done, in this order."""
    number = unfinished(looks)
    names = [config.me.name, config.peer.name]
    primary = next((look.primary for look in looks if look.primary), names[0])
    order = sorted(names, key=lambda name: name == primary)
    found = list[Step]()
    if not number:
        number = secrets.token_hex(NUMBER_BYTES)
        own, peer = rotation.make(config)
        for name, mine, theirs in ((names[0], own, peer), (names[1], peer, own)):
            words = {"next": codec.encode(rotation.next_of(number, mine, theirs.public))}
            found.append(Step(name, "prepare", f"{name}: trust the next keys beside those in use", words))
    open_ones = [name for name in order if number not in [look.done for look in looks if look.host == name]]
    words = {"number": number}
    for name in open_ones:
        other = next(each for each in names if each != name)
        found.append(Step(name, "use", f"{name}: use its next keys", words))
        found.append(Step(name, "verify", f"{name}: connect to {other} by them", {}))
        found.append(Step(other, "verify", f"{other}: connect to {name}, which shows them", words))
    found += [Step(name, "finish", f"{name}: trust the new keys alone", words) for name in open_ones]
    found += [Step(name, "verify", f"{name}: connect to the other host", {}) for name in order]
    return found
