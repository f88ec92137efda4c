"""Both ends of the archive's own TLS connections: nothing at all unless `archive.peer_archive` is "link"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgvip.archive.peer_relay import PeerRelay
from pgvip.archive.peer_server import PROTOCOL, PeerServer
from pgvip.link.tls import load_contexts

if TYPE_CHECKING:
    from pgvip.config.model import Config


class ArchiveLink:
    """Serves this host's archive to the peer, and the peer's to PostgreSQL's user here."""

    def __init__(
        self, config: Callable[[], Config], reachable: Callable[[], bool], log: Callable[[str, str], None]
    ) -> None:
        self._parts: tuple[PeerServer | PeerRelay, ...] = ()
        self._certificates = config().paths.certificates
        if config().archive.enabled and config().archive.by_link:
            contexts = load_contexts(self._certificates, PROTOCOL)
            self._parts = (PeerServer(config, contexts, log), PeerRelay(config, contexts, reachable))

    def start(self) -> None:
        """LinkError when the socket for PostgreSQL's user cannot be made."""
        for part in self._parts:
            part.start()

    def renew(self) -> None:
        """Read the certificates again."""
        for part in self._parts:
            part.renew(load_contexts(self._certificates, PROTOCOL))

    def move(self) -> None:
        """Listen on the address that this host has now."""
        for part in self._parts:
            if isinstance(part, PeerServer):
                part.move()

    def close(self) -> None:
        for part in self._parts:
            part.close()
