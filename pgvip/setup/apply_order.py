"""A changed configuration for a pair in service: in which order both hosts take it (`pgvip config apply`).

First the host whose own address stays: it lets the other one in by its new address before that is used, and by the
former one for a time. Where neither or both move, the standby goes first. Each step can be repeated: a host that has
taken its file has nothing to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

QUESTION = "config-apply"
"""What the daemons are asked for."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the file of a host would change there. `moves`: its own address or interface is another one.

    `silent`: its daemon did not answer, and nothing else is known of it.

    `values`: (key, value) of the addresses in its file. `changes`: what a reload takes; `restart`: what it does not.
    """

    host: str
    primary: str = ""
    digest: str = ""
    values: tuple[tuple[str, str], ...] = ()
    changes: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    moves: bool = False
    silent: bool = False
    refusal: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one host: "take" its file, or "verify" that it is connected as the file says."""

    host: str
    name: str
    title: str


def refuse(looks: Sequence[Look]) -> None:
    """RefusedError when the files must not be taken as they are."""
    for look in looks:
        if look.refusal:
            raise RefusedError(f"{look.host}: {look.refusal}", hint=look.hint)
    first, second = looks
    if first.digest == second.digest:
        return
    there = dict(second.values)
    found = [f"{key} is {value} on {first.host} and {there.get(key)} on {second.host}"
             for key, value in first.values if there.get(key) != value]  # fmt: skip
    detail = "; ".join(found) or "They differ in other keys than addresses."
    raise RefusedError("the files of the two hosts differ", detail, "Write the same file on both hosts, and try again.")


def steps(looks: Sequence[Look]) -> list[Step]:
    """What is to be done, in this order; nothing where both have taken their files."""
    order = sorted(looks, key=lambda look: (look.moves, look.host == look.primary))
    open_ones = [look for look in order if look.changes]
    found = [Step(look.host, "take", f"{look.host}: take {'; '.join(look.changes)}") for look in open_ones]
    if open_ones:
        found += [Step(look.host, "verify", f"{look.host}: connect to the other host") for look in order]
    return found
