"""Two hosts on loopback addresses, each with an archive and both ends of the archive's TLS connections."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgvip.archive.memory import DIRECTORY, INDEX
from pgvip.archive.peer_relay import PeerRelay
from pgvip.archive.peer_server import PROTOCOL, PeerServer
from pgvip.config.model import Config
from pgvip.link.certificates import make_pair_certificates
from pgvip.link.tls import Contexts, install, load_contexts
from tests.unit import configs

Socket = socket.socket
_networks = itertools.count(1)


@dataclass
class Hosts:
    """`mine` asks, `other` gives."""

    mine: Config
    other: Config
    contexts: dict[str, Contexts]
    logged: list[tuple[str, str]] = field(default_factory=list)
    connected: bool = True

    @property
    def archive(self) -> Path:
        return self.other.archive.directory

    @property
    def daemon(self) -> Path:
        return self.mine.paths.archive_socket

    def serve(self) -> PeerServer:
        server = PeerServer(lambda: self.other, self.contexts["paris"], lambda *words: self.logged.append(words))
        server.start()
        return server

    def relay(self) -> PeerRelay:
        relay = PeerRelay(lambda: self.mine, self.contexts["berlin"], lambda: self.connected)
        relay.start()
        return relay

    def dial(self, context: ssl.SSLContext | None) -> Socket:
        """By hand, from the right address; None: without TLS."""
        address = (self.other.me.address, self.other.archive.port)
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                sock = socket.create_connection(address, timeout=5.0, source_address=(self.mine.me.address, 0))
                break
        return sock if context is None else context.wrap_socket(sock, suppress_ragged_eofs=False)


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("archive-")]


def make_hosts(root: Path) -> Hosts:
    number = next(_networks)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pairs = make_pair_certificates(["berlin", "paris"])
    found, contexts = {}, {}
    for name, other in (("berlin", "paris"), ("paris", "berlin")):
        config = configs.make(root / name)
        addresses = {"berlin": f"127.10.{number}.1", "paris": f"127.10.{number}.2"}
        archive = replace(config.archive, peer_archive="link", port=port, timeout_s=60.0)
        (archive.directory / DIRECTORY).mkdir(parents=True)
        (archive.directory / DIRECTORY / INDEX).write_text("{}", encoding="utf-8")
        found[name] = replace(
            config,
            me=replace(config.me, name=name, address=addresses[name]),
            peer=replace(config.peer, name=other, address=addresses[other]),
            archive=archive,
            postgres=replace(config.postgres, user=pwd.getpwuid(os.geteuid()).pw_name),
        )
        install(config.paths.certificates, pairs[name], pairs[other].certificate)
        contexts[name] = load_contexts(config.paths.certificates, PROTOCOL)
    return Hosts(found["berlin"], found["paris"], contexts)


@contextlib.contextmanager
def serving(hosts: Hosts) -> Iterator[Hosts]:
    """Both ends at work; afterwards no thread is left."""
    server, relay = hosts.serve(), hosts.relay()
    try:
        yield hosts
    finally:
        relay.close()
        server.close()
