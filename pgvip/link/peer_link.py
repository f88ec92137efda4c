"""The peer link: one thread that owns every socket between the two daemons.

Each host listens and dials. Both connections are used when both come up: a text goes out on each, and the receiver
drops the second copy; so a connection that is stalled or half open never delays what the other can carry. A hello from
a new instance of the peer (it rebooted, its daemon was restarted) ends every connection of the old one at once.

Texts are snapshots: only the newest one waits, an older one that was not sent yet is replaced. A bulk frame goes out on
one connection, after the newest text, and only where nothing is on its way: it never delays a text by more than itself.
Nothing here blocks but `select`; a client that says nothing is dropped by its deadline.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import socket
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pgvip import deadlines
from pgvip.errors import LinkError
from pgvip.link import limits
from pgvip.link.connection import (
    INSTANCE_BYTES,
    Bulk,
    Connection,
    Got,
    Hello,
    Kind,
    Stage,
    ask_frame,
    bulk_frame,
    frame,
    open_listener,
    open_socket,
    text_frame,
    tune,
)
from pgvip.link.link_state import LinkState, refused_by
from pgvip.link.questions import Answered, Asked, Asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.link.tls import Contexts

Address = tuple[str, int]


class PeerLink:
    """Carries texts both ways for as long as it lives.

    `on_text` is called on the link's thread, as are `on_bulk` and `on_change` (True: connected, False: the last
    connection ended); all must only put something into a queue. `on_question` answers what the peer's daemon asks, in a
    thread of its own. `dead_s`: a connection on which nothing came for so long is dropped; it must be a few heartbeats.
    """

    def __init__(
        self, listen: Address, dial: Address, contexts: Contexts, on_text: Callable[[str], None], *, dead_s: float
    ) -> None:
        self._listen, self._dial, self._contexts = listen, dial, contexts
        self._on_text, self._dead_s = on_text, dead_s
        self._bulk, self._closing = b"", False
        self._hello = frame(Kind.HELLO, secrets.token_bytes(INSTANCE_BYTES))
        self._lock = threading.Lock()
        self._newest, self._serial = b"", 0
        self._posted: list[bytes] = []
        self._renewed: tuple[Contexts, bool] | None = None
        self._moved: tuple[Address, Address] | None = None
        self._state = LinkState()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listener: socket.socket | None = None
        self._listen_error = ""
        self._connections: dict[int, Connection] = {}
        self._sent: dict[int, int] = {}
        self._peer_instance, self._peer_serial = b"", 0
        self._dial_at_s = self._listen_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="peer-link", daemon=True)
        self.attach()

    def attach(
        self,
        *,
        on_change: Callable[[bool], None] = lambda _up: None,
        on_bulk: Callable[[bytes], None] = lambda _body: None,
        on_question: Callable[[str], str] = lambda _text: "{}",
    ) -> None:
        """Name the others that are notified, before the start: they are made with this link in hand."""
        self._on_change, self._on_bulk = on_change, on_bulk
        self._asking = Asking(on_question, self._post)

    def start(self) -> None:
        """Begin to listen and to dial; returns at once."""
        self._thread.start()

    def send(self, text: str) -> None:
        """Make `text` the newest snapshot for the peer; never waits. LinkError when it is too long."""
        with self._lock:
            self._newest = text_frame(self._serial + 1, text)
            self._serial += 1
        self._rouse()

    def send_bulk(self, body: bytes) -> None:
        """Send `body` when there is room, in place of one that waits; never waits. LinkError when it is too long."""
        packed = bulk_frame(body)
        with self._lock:
            self._bulk = packed
        self._rouse()

    def ask(self, text: str, timeout_s: float) -> str:
        """Ask the peer's daemon; waits for its answer, in the caller's thread. LinkError when there is none in time."""
        return self._asking.ask(text, timeout_s)

    def _post(self, is_answer: bool, number: int, text: str) -> bool:
        """A question or an answer for every connection that works; False when there is none."""
        packed = ask_frame(Kind.ANSWER if is_answer else Kind.ASK, number, text)
        if self._closing or not self._state.connected:
            return False
        with self._lock:
            self._posted.append(packed)
        self._rouse()
        return True

    def renew(self, contexts: Contexts, *, gently: bool = False) -> None:
        """Use other certificates; connections made with the old ones end (`gently`: one, once another is there)."""
        self._renewed = contexts, gently
        self._rouse()

    def move(self, listen: Address, dial: Address) -> None:
        """Use other addresses; what is connected by the former ones carries on until others are there."""
        self._moved = listen, dial
        self._rouse()

    def state(self) -> LinkState:
        """How the link is doing, from any thread."""
        return self._state

    def close(self) -> None:
        """Hand the newest text to the kernel where a connection takes it, and end the thread (in CLOSE_S)."""
        if self._thread.is_alive():
            self._closing = True
            self._rouse()
            self._thread.join(limits.CLOSE_S)
        elif self._thread.ident is None:
            self._release()

    def _rouse(self) -> None:
        """Wake the link's thread, from any other; one that has ended needs it no more, and its descriptor is gone."""
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    # --- the link's thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        while not self._closing:
            now_s = deadlines.now_s()
            self._take_renewed()
            self._take_moved()
            self._drop_late(now_s)
            self._try_listen(now_s)
            self._try_dial(now_s)
            for key, events in self._selector.select(self._sleep_s(now_s)):
                self._serve(key, events)
            self._send_newest()
            self._send_waiting()
        self._release()

    def _take_renewed(self) -> None:
        renewed, self._renewed = self._renewed, None
        if renewed is not None:
            self._contexts, gently = renewed
            for one in [each for each in self._connections.values() if each.outbound or not gently]:
                one.replaced = gently and one.live
                if not one.replaced:
                    self._drop(one, "the certificates were renewed")
            self._dial_at_s = 0.0

    def _take_moved(self) -> None:
        moved, self._moved = self._moved, None
        if moved is not None:
            self._stop_listening("the address has changed")
            self._listen, self._dial = moved
            for one in [each for each in self._connections.values() if each.outbound]:
                one.replaced = one.live
                if not one.live:
                    self._drop(one, "the addresses have changed")
            self._dial_at_s = self._listen_at_s = 0.0

    def _sleep_s(self, now_s: float) -> float:
        """Until the next thing that time alone brings."""
        due_s = [now_s + self._dead_s, self._dial_at_s if self._outbound() is None else now_s + 60.0]
        due_s += [one.deadline_s for one in self._connections.values()]
        if self._listener is None:
            due_s.append(self._listen_at_s)
        due_s += [now_s + limits.DRAIN_S for one in self._connections.values() if one.live and self._bulk]
        return min(max(0.0, min(due_s) - now_s) + 0.001, 60.0)

    def _serve(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fd == self._wake:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        elif self._listener is not None and key.fd == self._listener.fileno():
            self._accept(self._listener)
        elif key.fd in self._connections:  # else dropped earlier in this round
            self._guarded(self._connections[key.fd], lambda one: self._advance(one, events))

    def _guarded(self, one: Connection, step: Callable[[Connection], None]) -> None:
        """Run one step of one connection; its failure ends that connection and nothing else."""
        try:
            step(one)
        except (OSError, LinkError) as error:  # ssl.SSLError is an OSError
            self._drop(one, str(error).splitlines()[0] or type(error).__name__)
        else:
            if one.fd in self._connections:
                mask = selectors.EVENT_READ if one.stage is not Stage.CONNECTING else 0
                self._selector.modify(one.fd, mask | (selectors.EVENT_WRITE if one.wants_write else 0))

    def _advance(self, one: Connection, events: int) -> None:
        if one.stage is Stage.CONNECTING:
            one.connected()
            one.deadline_s = deadlines.now_s() + limits.HANDSHAKE_S
            one.wrap(self._contexts.client)
        if one.stage is Stage.HANDSHAKE:
            if not one.handshake(self._contexts.peer_ders):
                return
            one.deadline_s = deadlines.now_s() + limits.GREETING_S
            one.queue(self._hello)
        if events & selectors.EVENT_WRITE:
            one.flush()
        for got in one.receive():
            self._take(one, got)
        if one.ended:
            raise LinkError(one.ended)

    def _take(self, one: Connection, got: Got) -> None:
        now_s = deadlines.now_s()
        if isinstance(got, Hello):
            self._greet(one, got.instance)
        elif not one.live:
            raise LinkError(f"{one.remote} spoke before its hello")
        elif isinstance(got, Bulk):
            self._on_bulk(got.body)
        elif isinstance(got, Asked | Answered):
            self._asking.take(got)
        elif got.serial > self._peer_serial:
            self._peer_serial = got.serial
            self._on_text(got.text)
        one.heard_s, one.deadline_s = now_s, now_s + self._dead_s
        self._publish(heard_s=now_s)

    def _greet(self, one: Connection, instance: bytes) -> None:
        """The peer is there. What belongs to an older instance of it, or to an older connection this way, ends."""
        if instance != self._peer_instance:
            self._peer_instance, self._peer_serial = instance, 0
        one.instance = instance
        for other in list(self._connections.values()):
            if other is not one and other.live and (other.instance != instance or other.outbound == one.outbound):
                self._drop(other, "replaced by a newer connection")

    def _send_newest(self) -> None:
        with self._lock:
            newest, serial = self._newest, self._serial
            posted, self._posted = self._posted, []
        for one in list(self._connections.values()):
            one.pending.extend(posted if one.live else ())
            if newest and one.idle and self._sent.get(one.fd, 0) < serial:
                self._sent[one.fd] = serial
                self._guarded(one, lambda each: each.queue(newest))
            while one.pending and one.idle and one.fd in self._connections:
                self._guarded(one, lambda each: each.queue(each.pending.popleft()))

    def _send_waiting(self) -> None:
        """The bulk frame, where the newest text has gone out and arrived."""
        if not self._bulk:
            return
        for one in list(self._connections.values()):
            if one.live and self._sent.get(one.fd, 0) == self._serial and one.drained:
                with self._lock:
                    waiting, self._bulk = self._bulk, b""
                self._guarded(one, partial(Connection.queue, data=waiting))
                return

    # --- making and ending connections ---------------------------------------------------------------

    def _outbound(self) -> Connection | None:
        return next((one for one in self._connections.values() if one.outbound and not one.replaced), None)

    def _try_listen(self, now_s: float) -> None:
        if self._listener is not None or now_s < self._listen_at_s:
            return
        self._listen_at_s = now_s + limits.RETRY_S
        try:
            self._listener = open_listener(self._listen, limits.UNPROVEN_MAX * 2)
        except OSError as error:
            self._listen_error = f"cannot listen on {self._listen[0]} port {self._listen[1]}: {error.strerror}"
            self._publish()
            return
        self._selector.register(self._listener.fileno(), selectors.EVENT_READ)
        self._publish()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(limits.ACCEPTS_MAX):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, ConnectionError):  # nobody is left, or a client that went away again
                return
            except OSError as error:  # no descriptor is left, or the like: do not spin on it
                self._stop_listening(str(error.strerror))
                return
            self._make_room()
            one = Connection(sock, outbound=False, remote=address[0], deadline_s=deadlines.now_s() + limits.HANDSHAKE_S)
            self._begin(one, lambda new: new.wrap(self._contexts.server))

    def _stop_listening(self, why: str) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener.fileno())
            self._listener.close()
            self._listener, self._listen_at_s = None, deadlines.now_s() + limits.RETRY_S
            self._listen_error = f"cannot accept connections: {why}"
            self._publish()

    def _try_dial(self, now_s: float) -> None:
        if now_s < self._dial_at_s or self._outbound() is not None:
            return
        self._dial_at_s = now_s + (limits.RETRY_CONNECTED_S if self._state.connected else limits.RETRY_S)
        try:
            sock = open_socket(self._dial)
        except OSError as error:  # no descriptor is left, not even in the reserve
            self._publish(error=f"connection to {self._dial[0]}: {error.strerror}")
            return
        one = Connection(sock, outbound=True, remote=self._dial[0], deadline_s=now_s + limits.CONNECT_S)
        self._begin(one, self._connect)

    def _connect(self, one: Connection) -> None:
        """From this host's own address: a VIP as the source would break the connection when the VIP moves."""
        one.sock.bind((self._listen[0], 0))
        with contextlib.suppress(BlockingIOError):
            one.sock.connect(self._dial)

    def _begin(self, one: Connection, step: Callable[[Connection], None]) -> None:
        self._connections[one.fd] = one
        self._selector.register(one.fd, selectors.EVENT_READ if not one.outbound else selectors.EVENT_WRITE)
        self._sent.pop(one.fd, None)

        def first(new: Connection) -> None:
            tune(new.sock, self._dead_s)
            step(new)

        self._guarded(one, first)

    def _make_room(self) -> None:
        """A stranger goes first, the oldest of them; so a flood from elsewhere never keeps the peer out."""
        unproven = [one for one in self._connections.values() if not one.outbound and not one.live]
        if len(unproven) >= limits.UNPROVEN_MAX:
            self._drop(min(unproven, key=lambda one: (one.remote == self._dial[0], one.deadline_s)), "too many clients")

    def _drop_late(self, now_s: float) -> None:
        for one in [each for each in self._connections.values() if each.deadline_s <= now_s]:
            what = f"nothing came for {self._dead_s:g} s" if one.live else f"{one.stage.value} took too long"
            self._drop(one, what)

    def _drop(self, one: Connection, why: str) -> None:
        del self._connections[one.fd]
        self._selector.unregister(one.fd)
        one.abort()
        if not any(other.live for other in self._connections.values()):
            self._dial_at_s = min(self._dial_at_s, deadlines.now_s() + limits.RETRY_S)
        if one.remote == self._dial[0] and (refused := refused_by(why)):
            self._state = replace(self._state, refused=refused)
        direction = "to" if one.outbound else "from"
        self._publish(error=f"connection {direction} {one.remote}: {why}")

    def _publish(self, *, error: str = "", heard_s: float = 0.0) -> None:
        """Put a fresh LinkState where other threads read it, and report a change."""
        old, live = self._state, sum(one.live for one in self._connections.values())
        listening, listen_error = self._listener is not None, self._listen_error
        self._state = old.now(
            deadlines.now_s(), live=live, listening=listening, listen_error=listen_error, error=error, heard_s=heard_s
        )
        if old.connected != self._state.connected:
            self._on_change(self._state.connected)

    def _release(self) -> None:
        self._send_newest()
        for one in self._connections.values():
            one.finish()
        if self._listener is not None:
            self._listener.close()
        self._connections.clear()
        self._selector.close()
        with self._lock:
            os.close(self._wake)
            self._wake = -1
