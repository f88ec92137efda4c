"""The pinned TLS contexts of the peer link, and the three files they are made of.

In `config.paths.certificates`: `own.key` and `own.crt` of this host, `peer.crt` of the other. TLS 1.3 both ways, each
end proves its key, and the certificate must be the peer's to the byte. Only the standard library is imported here:
the daemon needs no `cryptography` in memory, only `init` does.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgvip.errors import LinkError
from pgvip.state import files

if TYPE_CHECKING:
    from pathlib import Path

HINT = "The files are made by pgvip init on the first host, and by pgvip clone or join on the second."


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A host's private key and certificate, both PEM. The key is kept out of every repr."""

    key: str = field(repr=False)
    certificate: str


@dataclass(frozen=True, slots=True)
class Contexts:
    """What both ends of a connection need. `peer_der`: the only certificate that is welcome."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    peer_der: bytes


def install(directory: Path, own: KeyPair, peer_certificate: str) -> None:
    """Write the three files (0600, each by rename) into `directory` (0700). LinkError when that fails."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in (("own.key", own.key), ("own.crt", own.certificate), ("peer.crt", peer_certificate)):
            files.write(directory / name, text)
    except OSError as error:
        raise LinkError(f"cannot write certificates to {directory}", f"{error}.") from error


def load_contexts(directory: Path) -> Contexts:
    """Read the three files. LinkError says which is missing, unreadable, or open to others."""
    key, own, peer = (directory / name for name in ("own.key", "own.crt", "peer.crt"))
    try:
        if key.stat().st_mode & 0o077:
            raise LinkError(
                f"private key {key} can be read by others",
                f"Its mode is {key.stat().st_mode & 0o777:o}.",
                f"Run chmod 600 {key}, and think about who may have read it.",
            )
        peer_der = ssl.PEM_cert_to_DER_cert(peer.read_text(encoding="ascii").strip())
        server = _context(ssl.PROTOCOL_TLS_SERVER, key, own, peer)
        return Contexts(server, _context(ssl.PROTOCOL_TLS_CLIENT, key, own, peer), peer_der)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise LinkError(f"cannot read the certificates in {directory}", f"{error}.", HINT) from error


def _context(protocol: ssl._SSLMethod, key: Path, own: Path, peer: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False  # the whole certificate is compared, its name says nothing more
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust this certificate itself, as nobody's authority
    context.load_cert_chain(own, key)
    context.load_verify_locations(peer)
    if protocol is ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # a session is never resumed: each connection proves both keys
    return context
