"""Whether the peer's fence device answers, so that a broken one is known before it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import FenceError, ProbeError
from pgvip.system import fence_agents

if TYPE_CHECKING:
    from pgvip.config.model import Config


def probe(config: Config) -> str:
    """What the first method that answers says of the peer's power: "on" or "off". ProbeError when none does."""
    failures = []
    for method in config.peer.fencing:  # all of them: a fence must not be the first to ask
        fence_agents.metadata(method, again=True)
    for method in config.peer.fencing:
        try:
            return fence_agents.power(method)
        except FenceError as failure:
            failures.append(f"{failure.message}: {failure.detail}".rstrip(": "))
    reason = "; ".join(failures) or "No fence method is configured."
    raise ProbeError(f"no fence device of {config.peer.name} answers", reason)
