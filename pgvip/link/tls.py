"""The pinned TLS contexts of the peer link, and the three files they are made of.

In `config.paths.certificates`: `own.key` and `own.crt` of this host, `peer.crt` of the other; while keys are renewed
also `peer-next.crt`, the other host's next one. TLS 1.3 both ways, each end proves its key, and the certificate must be
the peer's to the byte. Only the standard library is imported here: the daemon needs no `cryptography` in memory, only
the commands that make keys do.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
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


def load_contexts(directory: Path, protocol: str = "") -> Contexts:
    """Read the files. LinkError says which is missing, unreadable, or open to others.

    `protocol`: its name for ALPN (RFC 7301), which both ends must speak; the link's own has none.
    """
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
        server, client = (
            _context(kind, key, own, trusted) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
        )
        if protocol:
            server.set_alpn_protocols([protocol])
            client.set_alpn_protocols([protocol])
        return Contexts(server, client, ders)
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


def wrapped(sock: socket.socket, contexts: Contexts, *, server_side: bool) -> ssl.SSLSocket:
    """TLS on a connected socket; the handshake is still to come (`prove`)."""
    context = contexts.server if server_side else contexts.client
    return context.wrap_socket(
        sock, server_side=server_side, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )


def prove(sock: ssl.SSLSocket, contexts: Contexts, protocol: str, timeout_s: float) -> None:
    """Shake hands within `timeout_s`. LinkError or OSError: the other end is not the peer."""
    sock.settimeout(timeout_s)
    sock.do_handshake()
    if sock.getpeercert(binary_form=True) not in contexts.peer_ders:
        raise LinkError("the certificate is not the peer's")
    # A connection that somebody has led to another port of the peer's ends here.
    if sock.selected_alpn_protocol() != protocol:
        raise LinkError(f"the other end does not speak {protocol}")


def end(sock: socket.socket) -> None:
    """Wake the thread that waits on a socket, from another one: it gets an error, and closes it."""
    with contextlib.suppress(OSError):  # ended already
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # that of SSLSocket changes the other thread's object


def reset(sock: socket.socket) -> None:
    """Close with a reset: both kernels forget it at once, with what was not sent."""
    with contextlib.suppress(OSError):  # gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
