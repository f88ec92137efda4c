"""One connection to the peer's daemon by hand, to see that each end accepts the certificate of the other."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pgvip.errors import LinkError

if TYPE_CHECKING:
    from pgvip.link.tls import Contexts


def served(source: str, dial: tuple[str, int], contexts: Contexts, timeout_s: float) -> bytes:
    """The certificate (DER) of the peer, whose daemon accepts that of this host. LinkError says what fails.

    The peer's link says hello as soon as it has accepted the certificate; this end says none, so nothing else begins.
    """
    try:
        with (
            socket.create_connection(dial, timeout_s, source_address=(source, 0)) as plain,
            contexts.client.wrap_socket(plain) as secured,
        ):
            if not secured.recv(1):
                raise LinkError(f"the daemon at {dial[0]} ended the connection")
            found = secured.getpeercert(binary_form=True) or b""
    except OSError as failure:  # ssl.SSLError is one
        raise LinkError(f"the daemon at {dial[0]} does not accept this host's certificate", f"{failure}.") from failure
    if found not in contexts.peer_ders:
        raise LinkError(f"the certificate of {dial[0]} is not the peer's")
    return found
