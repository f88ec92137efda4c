"""Whether the machine is the one that its section describes: its own address and prefix, the unit of its server."""

from __future__ import annotations

import difflib
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pgvip.config.read import wrong
from pgvip.system import processes, units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config
    from pgvip.errors import ConfigError

_DEBIAN_UNIT = re.compile(r"postgresql@([0-9.]+)-(.+)\.service\Z")


def own_address(config: Config) -> Iterator[ConfigError]:
    """The host carries its own address, with the prefix that the file says."""
    me, key = config.me, f"hosts.{config.me.name}.address"
    present = processes.addresses()
    mine = present.get(ip_address(me.address))
    if mine is None:
        others = ", ".join(f"{one} ({name})" for one, (name, _) in present.items() if _may_be_own(config, one))
        hint = f"Correct it; present here: {others or 'none'}."
        yield wrong(key, me.address, f"is not an address of this host, which is taken for {me.name}", hint)
        return
    interface, length = mine
    if me.network is not None and length not in (me.network.prefixlen, me.network.max_prefixlen):
        hint = f'Write address = "{me.address}/{length}".'
        written = f"{me.address}/{me.network.prefixlen}"
        yield wrong(key, written, f"has another prefix than on this host, where {interface} has /{length}", hint)


def _may_be_own(config: Config, address: processes.Address) -> bool:
    vips = {interface.ip for interface in config.vips.values()}
    return not address.is_loopback and not address.is_link_local and address not in vips


def unit(config: Config) -> Iterator[ConfigError]:
    """The unit of the server is known to systemd, and is that of this data directory."""
    name = config.postgres.unit
    if not name or not units.has_systemd():
        return  # without systemd: setup.enrolment, for init and clone
    state = units.load_state(name)
    wrong_state = state in ("not-found", "bad-setting", "error", "masked")
    if not wrong_state and not _DEBIAN_UNIT.match(name):
        return
    own = sorted(units.debian_units(config.postgres.data_directory))
    if wrong_state:
        known = sorted(units.known_servers())
        close = own or difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(known) or 'none'}."
        what = {"not-found": "is no unit of this host", "masked": "is masked: systemd refuses to start it"}
        hint = f"Run: systemctl unmask {name}" if state == "masked" else hint
        yield wrong("postgresql.unit", name, what.get(state, "cannot be loaded by systemd"), hint)
    elif own and name not in own:
        # Debian's unit is a template: systemd loads it under any name.
        data = config.postgres.data_directory
        yield wrong("postgresql.unit", name, f"is not the unit of {data}", f"Did you mean {own[0]}?")
