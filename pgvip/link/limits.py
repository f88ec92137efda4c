"""Times and numbers of the peer link."""

RETRY_S = 0.3
"""Between two attempts to dial, or to listen where the address is not there yet."""
RETRY_CONNECTED_S = 3.0
"""The same while the peer's own connection works: the second one is only a reserve."""
DRAIN_S = 0.05
"""While a bulk frame waits: no event reports when the other end's kernel has acknowledged what was sent before."""
CONNECT_S = 1.0
HANDSHAKE_S = 2.0
"""About 20 ms on an idle host; a starved one gets a hundred times that."""
GREETING_S = 2.0
"""From the handshake to the hello."""
UNPROVEN_MAX = 8
"""Connections that have not proven to be the peer's; the oldest stranger makes room for the next one."""
ACCEPTS_MAX = 4
"""Accepted in one round, so that a flood leaves time for the rest."""
CLOSE_S = 0.5
