"""The pinned TLS contexts of the peer link, and the three files they are made of.

In `config.paths.certificates`: `own.key` and `own.crt` of this host, `peer.crt` of the other; while keys are renewed
also `peer-next.crt`, the other host's next one. TLS 1.3 both ways, each end proves its key, and the certificate must be
the peer's to the byte. Only the standard library is imported here: the daemon needs no `cryptography` in memory, only
the commands that make keys do.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgvip.errors import LinkError
from pgvip.state import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HINT = "The files are made by pgvip init on the first host, and by pgvip clone or join on the second."
NEXT = "peer-next.crt"
"""The certificate that the peer is going to have; trusted as well as `peer.crt`, as long as it is there."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A host's private key and certificate, both PEM. The key is kept out of every repr."""

    key: str = field(repr=False)
    certificate: str


@dataclass(frozen=True, slots=True)
class Contexts:
    """What both ends of a connection need. `peer_ders`: the only certificates that are welcome, mostly one."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    peer_ders: tuple[bytes, ...]


def install(directory: Path, own: KeyPair, peer_certificate: str) -> None:
    """Write the three files (0600, each by rename) into `directory` (0700). LinkError when that fails."""
    write(directory, {"own.key": own.key, "own.crt": own.certificate})
    trust(directory, peer_certificate)


def trust(directory: Path, peer_certificate: str) -> None:
    """Have the peer's certificate be this one, and no other. LinkError when that fails."""
    write(directory, {"peer.crt": peer_certificate})
    try:
        (directory / NEXT).unlink(missing_ok=True)
        files.sync_directory(directory)
    except OSError as error:
        raise LinkError(f"cannot remove {directory / NEXT}", f"{error}.") from error


def write(directory: Path, texts: Mapping[str, str]) -> None:
    """Write some of the files (0600, each by rename) into `directory` (0700). LinkError when that fails."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in texts.items():
            files.write(directory / name, text)
    except OSError as error:
        raise LinkError(f"cannot write certificates to {directory}", f"{error}.") from error


def load_contexts(directory: Path) -> Contexts:
    """Read the files. LinkError says which is missing, unreadable, or open to others."""
    key, own, peer, coming = (directory / name for name in ("own.key", "own.crt", "peer.crt", NEXT))
    try:
        if key.stat().st_mode & 0o077:
            raise LinkError(
                f"private key {key} can be read by others",
                f"Its mode is {key.stat().st_mode & 0o777:o}.",
                f"Run chmod 600 {key}, and think about who may have read it.",
            )
        peers = [path.read_text(encoding="ascii").strip() for path in (peer, coming) if path == peer or path.exists()]
        ders = tuple(ssl.PEM_cert_to_DER_cert(text) for text in peers)
        trusted = "\n".join(peers)
        server = _context(ssl.PROTOCOL_TLS_SERVER, key, own, trusted)
        return Contexts(server, _context(ssl.PROTOCOL_TLS_CLIENT, key, own, trusted), ders)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise LinkError(f"cannot read the certificates in {directory}", f"{error}.", HINT) from error


def _context(protocol: ssl._SSLMethod, key: Path, own: Path, peers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False  # the whole certificate is compared, its name says nothing more
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust this certificate itself, as nobody's authority
    context.load_cert_chain(own, key)
    context.load_verify_locations(cadata=peers)
    if protocol is ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # a session is never resumed: each connection proves both keys
    return context
