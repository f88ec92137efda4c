"""By which names this host answers HTTP: the Host field of a request must name this host (RFC 9110, 7.2).

A page from elsewhere can point a name of its own at this host's address (DNS rebinding): the browser of whoever opens
that page then reads this host's answers for it. Such a request carries that other name.
"""

from __future__ import annotations

import re
import socket
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from pgvip.web.http import BadRequest

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from pgvip.config.model import Config

_HOST = re.compile(r"(?:\[(?P<ip6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_.-]{1,255}))(?::\d{0,5})?\Z")
"""RFC 3986, 3.2.2: a name or an address, and perhaps a port. Which port does not matter: tunnels have others."""


def own_names(config: Config) -> frozenset[str]:
    """The names and addresses that are this host's, and those that the configuration adds."""
    found = [config.me.name, socket.gethostname(), "localhost", config.me.address, *config.http.names]
    found += [str(vip.ip) for vip in config.vips.values()]
    return frozenset(map(canonical, found))


def canonical(name: str) -> str:
    """Write a name or an address in the one way in which it is compared.

    >>> [canonical(one) for one in ("DB1.", "2001:DB8:0::1", "::ffff:192.0.2.1", "fe80::1%eth0")]
    ['db1', '2001:db8::1', '192.0.2.1', 'fe80::1']
    """
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return name.lower().removesuffix(".")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)


def check_host(host: str, names: AbstractSet[str], reached: str) -> None:
    """BadRequest where a Host field names somebody else. `reached`: the address that the client connected to.

    A request without a Host field passes, as HTTP/1.0 and load balancers send it: browsers always send one.
    """
    if not host:
        return
    match = _HOST.match(host)
    if match is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the Host field is neither a name nor an address")
    asked = match["ip6"] or match["name"]
    if canonical(asked) in names or canonical(asked) == canonical(reached):
        return
    hint = f'ask for one of its names or addresses, or add "{asked}" to names in [http] of the configuration'
    raise BadRequest(HTTPStatus.MISDIRECTED_REQUEST, f'this host does not answer for "{asked}"; {hint}')
