"""Where the HTTP server listens, by configuration: sockets, TLS, password. Opened as far as it works, tried again."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pgvip.errors import ConfigError
from pgvip.web.own_names import own_names

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config, HttpConfig

LOOPBACK = "127.0.0.1"
BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted: the addresses and port to listen on, how to serve there, and by which names."""

    addresses: tuple[str, ...]
    http: HttpConfig
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HttpState:
    """Of the server, for `status`. `listening`: as "address:port"; `error`: why it is not all that is wanted, or ""."""

    listening: tuple[str, ...] = ()
    error: str = ""


@dataclass(slots=True)
class Opened:
    """The sockets by address, and what every connection needs. `secret`: user:password, or None."""

    port: int = 0
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    secret: bytes | None = None

    def close(self, address: str) -> None:
        with contextlib.suppress(OSError):
            self.sockets.pop(address).close()


def plan_of(config: Config) -> Plan:
    """Make the plan that `[http]` asks for.

    The loopback is there with the own address too: commands and agents on the host itself ask there.
    """
    own = config.me.address
    everywhere = "0.0.0.0" if ip_address(own).version == 4 else "::"  # noqa: S104 # nosec B104 # by order
    addresses = {"off": (), "loopback": (LOOPBACK,), "own": (own, LOOPBACK), "all": (everywhere,)}
    return Plan(addresses[config.http.listen], config.http, own_names(config))


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Read the certificate; None where TLS is not wanted. ConfigError when it cannot be used."""
    if certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and newer (ssl, "Changed in version 3.10")
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"cannot use the certificate {certificate} with the key {key}", f"{error}.") from error
    return context


def read_secret(file: Path | None) -> bytes | None:
    """Read `user:password`; None where no password is wanted. ConfigError when the file has none."""
    if file is None:
        return None
    try:
        line = file.read_bytes().splitlines()[:1]
    except OSError as error:
        raise ConfigError(f"cannot read the password file {file}", f"{error}.") from error
    if not line or not line[0].partition(b":")[2] or line[0].startswith(b":"):
        raise ConfigError(f"the password file {file} is not user:password", hint="Write both into its first line.")
    return line[0]


def listen(address: str, port: int) -> socket.socket:
    """Open a listening socket; OSError as bind(2) says."""
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def shown(address: str, port: int) -> str:
    """Write an address with its port.

    >>> shown("192.0.2.11", 8433), shown("::1", 8433)
    ('192.0.2.11:8433', '[::1]:8433')
    """
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def open_all(opened: Opened, plan: Plan) -> str:
    """Bring `opened` to the plan as far as it goes; what is wrong, or "".

    Neither is served without TLS what is to be served with it, nor without its password what has one: then nothing
    new is opened, and what was served before goes on as it was, or ends where the plan does not want it.
    """
    for address in [one for one in opened.sockets if one not in plan.addresses or opened.port != plan.http.port]:
        opened.close(address)
    if not plan.addresses:
        return ""
    try:
        context = tls_context(plan.http.certificate, plan.http.key)
        secret = read_secret(plan.http.password_file)
    except ConfigError as error:
        return str(error)
    opened.port, opened.context, opened.secret = plan.http.port, context, secret
    wrong = []
    for address in plan.addresses:
        if address in opened.sockets:
            continue
        try:
            opened.sockets[address] = listen(address, plan.http.port)
        except OSError as error:
            wrong.append(f"{shown(address, plan.http.port)}: {error.strerror or error}")
    return f"cannot listen on {', '.join(wrong)}" if wrong else ""
