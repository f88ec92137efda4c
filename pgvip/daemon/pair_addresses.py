"""Addresses on which the two hosts differ, and keys by which they do not know each other: each is named on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgvip.core.values import Vip
from pgvip.core.warning_row import WarningRow, warned
from pgvip.errors import FormatError
from pgvip.state import codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgvip.config.model import Config, Host
    from pgvip.core.settings import StandingWarning
    from pgvip.link.link_state import LinkState


@dataclass(frozen=True, slots=True)
class PairAddresses:
    """What a host has in force. `values`: (key of the file, value), in the order of the file."""

    host: str
    values: tuple[tuple[str, str], ...]
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """A key, and what it is on this host and on the other one."""

    key: str
    here: str
    host: str
    there: str


WARNINGS: tuple[WarningRow[list[Difference]], ...] = (
    WarningRow("addresses-differ", lambda v: v,
               "{it.key} is {it.here} here and {it.there} on {it.host}",
               "write the same in both files and reload both, or on the host whose file is right: pgvip config apply"),
)  # fmt: skip

_BUNDLE = "on the primary: pgvip bundle; then on the other host, while pgvip is stopped there: pgvip join BUNDLE"
KEYS: tuple[WarningRow[tuple[str, str]], ...] = (WarningRow("keys-invalid", lambda v: _whose(*v), "{it}", _BUNDLE),)
"""In place of `peer-silent`: whose keys are not the expected ones."""


def _whose(peer: str, refused: str) -> str:
    if refused == "peer":
        return (
            f"the host at the address of {peer} shows another certificate than this host knows: {peer} has "
            "lost its keys, or has to get the bundle that was made here"
        )
    return refused and (
        f"{peer} does not accept the certificate of this host: this host has lost its keys, or a bundle was made on "
        f"{peer} that was not installed here"
    )


def of(config: Config) -> PairAddresses:
    """What this host has in force."""
    hosts = sorted((config.me, config.peer), key=lambda host: host.name)
    values = [pair for host in hosts for pair in _host_values(host)]
    values += [(f"addresses.{vip.value}", str(config.vips[vip])) for vip in Vip]
    return PairAddresses(config.me.name, (*values, ("addresses.overlap_s", f"{config.overlap_s:g}")))


def _host_values(host: Host) -> list[tuple[str, str]]:
    return [(f"hosts.{host.name}.address", host.address), (f"hosts.{host.name}.interface", host.interface)]


def differing(config: Config, theirs: Mapping[str, Any] | None) -> tuple[StandingWarning, ...]:
    """A warning for each key on which the other host differs, as it said last."""
    if theirs is None:
        return ()
    try:
        peer = codec.decode(PairAddresses, theirs)
    except FormatError:
        return ()  # of another version
    there = dict(peer.values)
    found = [Difference(key, value, peer.host, there[key]) for key, value in of(config).values
             if there.get(key, value) != value]  # fmt: skip
    return warned(WARNINGS, found)


class Compared:
    """What `differing` says, found anew when either side has changed: each round of the loop asks for it."""

    def __init__(self) -> None:
        self._last: tuple[Config, Mapping[str, Any] | None, tuple[StandingWarning, ...]] | None = None

    def warnings(self, config: Config, theirs: Mapping[str, Any] | None) -> tuple[StandingWarning, ...]:
        """For the other host's values as it last said them."""
        last = self._last
        if last is None or last[0] is not config or last[1] is not theirs:
            self._last = last = config, theirs, differing(config, theirs)
        return last[2]


def invalid_keys(config: Config, link: LinkState) -> tuple[StandingWarning, ...]:
    """That the hosts cannot connect because one has other keys than the other knows."""
    return () if link.connected else warned(KEYS, (config.peer.name, link.refused))
