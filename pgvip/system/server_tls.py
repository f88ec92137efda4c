"""How pgvip's connections to PostgreSQL over the network prove who is at either end: words for libpq and the server.

The keys are made by `pgvip.setup.server_keys`. Each process uses its own copy: root's is closed to PostgreSQL's user,
and a key that another user owns is refused by libpq.

With `tls = "pair"` the server's certificate is verified by name, and the name is that of the host, not its address: so
every libpq can compare it (addresses only from 15 on), and a host that took over the address of the other is found out.
A virtual address belongs to either host, so both certificates have one more name for that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgvip.config.model import Config, Host

EITHER = "pair.pgvip"
"""What both hosts' certificates call the server behind a virtual address. No host has a dot in its name."""

AUTHORITIES = "authorities.crt"
"""File with the authorities of both hosts: who may be a server, and who may be a client."""

LEFT = "pgvip-server"
"""Name, in the data directory, of the certificate and key that `pgvip uninstall` leaves to the server."""

REQUIRES_METHOD = 16
"""Major version of libpq from which on a client can refuse to answer a request for a password in clear."""


def key_file(role: str) -> str:
    """Name of the key of a role, or of the server."""
    return f"{role}.key"


def certificate_file(role: str) -> str:
    """Name of the certificate of a role, or of the server."""
    return f"{role}.crt"


def client_name(role: str, host: Host) -> str:
    """What a client certificate says: the role, and the host whose it is."""
    return f"{role}@{host.name}"


def client_words(config: Config, role: str, address: str, libpq: int, *, program: bool = False) -> dict[str, str]:
    """What connects `role` to the server at `address`, in libpq's words (manual, 34.1.2).

    `libpq`: its major version. `program`: PostgreSQL's own programs use it, as PostgreSQL's user.
    """
    modern = libpq >= REQUIRES_METHOD
    tls = config.postgres.tls
    if tls == "pair":
        own = os.geteuid() == 0 and not program
        directory = config.paths.postgres_keys if own else config.paths.server_keys
        return {
            "host": _name(config, address),
            "hostaddr": address,
            "sslmode": "verify-full",
            "sslrootcert": str(directory / AUTHORITIES),
            "sslcert": str(directory / certificate_file(role)),
            "sslkey": str(directory / key_file(role)),
            # The server asks for the certificate and for nothing else: no password exists.
            **({"sslcertmode": "require", "require_auth": "none"} if modern else {}),
        }
    password = {
        "passfile": str(_program_passwords(config) if program else password_file(config)),
        **({"require_auth": "scram-sha-256"} if modern else {}),
    }
    if tls == "off":
        return {"host": address, **password}
    host = next((host for host in (config.me, config.peer) if host.address == address), None)
    names = {} if host is None else {"host": host.certificate_name or host.name}
    return {
        "host": address, **names, "hostaddr": address,
        # Which certificate is behind a virtual address is not known; the exchange by SCRAM proves the server as well.
        "sslmode": "verify-ca" if host is None else "verify-full",
        "sslrootcert": str(config.postgres.tls_authority),
        **password,
    }


def _name(config: Config, address: str) -> str:
    return next((host.name for host in (config.me, config.peer) if host.address == address), EITHER)


def password_file(config: Config) -> Path:
    """The password file that this process may read: root has a copy of its own (libpq wants the mode 0600)."""
    own = config.paths.own_passwords
    return own if os.geteuid() == 0 and own.exists() else _program_passwords(config)


def _program_passwords(config: Config) -> Path:
    """The password file for PostgreSQL's user: made by `init` or a bundle, else by a change of `postgresql.tls`."""
    given = config.paths.passwords
    return given if given.exists() else config.paths.made_passwords


SETTINGS = ("ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file")
"""What `server_settings` may set."""


def server_settings(config: Config) -> tuple[tuple[str, str], ...]:
    """The server's settings (manual, 20.3.3). All of them change by a reload."""
    if "pair" not in config.postgres.tls_let_in:
        return ()
    directory = config.paths.server_keys
    return (
        ("ssl", "on"),
        ("ssl_cert_file", str(directory / certificate_file("server"))),
        ("ssl_key_file", str(directory / key_file("server"))),
        ("ssl_ca_file", str(directory / AUTHORITIES)),
    )
