"""What every order needs of the running daemon, and the words in which it is asked and answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pgvip.config.model import Config
from pgvip.core.actions import AddVip, Promote
from pgvip.core.messages import Command
from pgvip.core.values import Vip
from pgvip.errors import LinkError, RefusedError
from pgvip.orders.prechecks import Readiness
from pgvip.status.snapshot import Newest, Snapshot

Document = Mapping[str, Any]
Reply = Callable[[dict[str, Any]], None]
Handler = Callable[[Document, Reply], Document]
"""Takes a request, may reply with lines of `progress`, returns what the last reply has beside `ok`."""

TEXT_MAX = 500
"""Of a reason: it is kept in the record's file and sent to the peer with every heartbeat."""
WAIT_MAX_S = 3600.0


def _no_peer(_request: Document, _timeout_s: float) -> Document:
    raise LinkError("the peer's daemon is not connected")


def _no_look(_config: Config, _fence: str) -> Readiness:
    raise LinkError("the local database is not checked")


class Inbox(Protocol):
    """The loop's, which takes orders."""

    def put(self, command: Command, /) -> None:
        """Returns at once; the loop takes it with its next round."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The loop behind the operator's socket. `ask_peer`: a small question to the peer's daemon, with its time limit.

    `look`: asks the local server whether it is ready; its second word is how the fence device was seen.
    """

    newest: Newest
    inbox: Inbox
    ask_peer: Callable[[Document, float], Document] = _no_peer
    look: Callable[[Config, str], Readiness] = _no_look
    log: Callable[[str, str], None] = lambda _event, _text: None

    def snapshot(self) -> Snapshot:
        """The newest round; LinkError before the first."""
        return self.newest.sure()

    def order(self, command: Command) -> None:
        """Put an order into the loop's inbox."""
        self.inbox.put(command)


def words(request: Document, name: str) -> str:
    """A text of a request, of a bounded length."""
    text = str(request.get(name, ""))
    if len(text) > TEXT_MAX:
        raise RefusedError(f"the text is too long: {len(text)} characters, at most {TEXT_MAX}")
    return text


def wait_s(request: Document, usual_s: float = 60.0) -> float:
    """How long the caller wants to wait for the outcome."""
    given = request.get("wait_s", usual_s)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise RefusedError(f"wait_s is not a number of seconds: {given!r}")
    return min(float(given), WAIT_MAX_S)


def under_way(snapshot: Snapshot) -> str:
    """A change of role that this host is in the middle of, in words; "" for none."""
    k = snapshot.decision.knowledge
    if k.fencing.claim is not None:
        return f"{snapshot.config.peer.name} is being fenced ({k.fencing.claim.change})"
    if k.consent.giving_up is not None:
        return f"{snapshot.config.me.name} gives up its role ({k.consent.giving_up.change})"
    if k.orders.switchover is not None:
        return "a switchover was ordered"
    if k.orders.force or k.orders.fence_order is not None:
        return f"a fence of {snapshot.config.peer.name} was ordered"
    if any(isinstance(action, Promote) for action in k.work.running):
        return f"{snapshot.config.me.name} is being promoted"
    if AddVip(Vip.PRIMARY) in k.work.running:
        return f"{snapshot.config.me.name} raises the primary address"
    return ""
