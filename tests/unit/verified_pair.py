"""Two hosts with the keys that `init` and `clone` leave, and a server that proves itself by them."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pgvip.setup import server_keys
from pgvip.system import server_tls
from tests.unit import configs
from tests.unit.fake_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgvip.config.model import Config

ADDRESS = "127.0.0.1"


def berlin(root: Path) -> Config:
    """This host, whose peer `paris` is at 127.0.0.1."""
    made = configs.make(root)
    return replace(made, peer=replace(made.peer, address=ADDRESS))


def pair(root: Path) -> tuple[Config, Config]:
    """Both hosts with their keys, as `init` and `clone` leave them."""
    here = berlin(root / "berlin")
    there = replace(here, me=here.peer, peer=here.me, paths=replace(here.paths, state=root / "paris"))
    for directory in (here.paths.state, there.paths.state):
        directory.mkdir(parents=True)
    server_keys.install(there, server_keys.for_peer(here))
    return here, there


@contextmanager
def server(of: Config, greeting: bytes, then: bytes = b"", heard: list[bytes] | None = None) -> Iterator[int]:
    """A server with the keys of a host; it demands a certificate of its pair, as `ssl_ca_file` and `cert` do."""
    directory = of.paths.server_keys
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(directory / server_tls.AUTHORITIES)
    with serving(greeting, then, tls=context, heard=heard) as port:
        yield port
