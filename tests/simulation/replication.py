"""Streaming between the two clusters: delayed, cut, slow to flush, slow to notice a dead peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.cluster import Cluster, Stream

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World

TIMEOUT_S = 30.0
"""wal_sender_timeout and wal_receiver_timeout of the simulated servers."""
WINDOW = 20
"""How many packets TCP sends before it waits for an answer (ten at first, RFC 6928, more on a warm connection)."""


class Replication:
    """Every stream of the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stalled: set[str] = set()  # hosts whose standby receives without flushing
        self.prompt: set[str] = set()  # hosts whose receiver is connected as soon as the server is up
        self.trickle: set[str] = set()  # hosts whose standby receives hardly faster than the primary writes

    def seek(self, host: Host) -> None:
        """A standby without a stream tries to connect, again and again."""
        pg, proc = host.pg, host.pg.proc
        world = self.world

        def attempt() -> None:
            if pg.proc != proc or pg.phase != "standby":
                return
            if pg.inbound is not None and pg.inbound.receiver_open:
                return
            peer = host.peer
            reached = world.net.open("connect", host, peer) and world.net.open("stream", host, peer)
            usable = reached and peer.pg.phase == "primary" and not peer.pg.hung
            if usable and not pg.hung and not host.frozen and pg.prefix_of(peer.pg):
                self._connect(host, peer)
            else:
                host.later(world.span(0.3, 1.0), attempt)

        if host.name in self.prompt:
            attempt()
        else:
            host.later(world.span(0.02, 0.3), attempt)

    def _connect(self, host: Host, peer: Host) -> None:
        stream = Stream(peer, host, self.world.now_s)
        old = peer.pg.outbound
        if old is not None:
            old.sender_open = False
        host.pg.inbound = stream
        peer.pg.outbound = stream
        stream.flush_lsn = 0
        host.log("streams from the peer")
        self.push(stream)
        self._keep_alive(stream)

    def push(self, stream: Stream) -> None:
        if not stream.moving:
            stream.moving = True
            self.world.after(self.world.latency_s(), lambda: self._arrive(stream))

    def _passes(self, stream: Stream, source: Host) -> bool:
        """What `source` sends arrives. One way alone goes on until the window is full of what is not acknowledged."""
        sender, receiver, net = stream.sender, stream.receiver, self.world.net
        target = receiver if source is sender else sender
        works = (
            stream.sender_open
            and stream.receiver_open
            and source.powered
            and target.powered
            and net.sends("stream", source)
            and not sender.frozen
            and not receiver.frozen
            and sender.pg.hung != "all"
            and receiver.pg.hung != "all"
        )
        if works and not net.sends("stream", target):
            stream.unanswered += 1
            return stream.unanswered <= WINDOW
        if works:
            stream.unanswered = 0
        return works

    def _arrive(self, stream: Stream) -> None:
        stream.moving = False
        if self._passes(stream, stream.sender):
            self._copy(stream)

    def _copy(self, stream: Stream) -> None:
        source, target = stream.sender.pg, stream.receiver.pg
        stream.heard_s = self.world.now_s
        if len(target.wal) < len(source.wal):
            have = len(target.wal)
            few = target.host.name in self.trickle
            target.wal.extend(source.wal[have : have + 1] if few else source.wal[have:])
            if few and len(target.wal) < len(source.wal):
                self.world.after(self.world.span(0.3, 1.0), lambda: self.push(stream))
            target.history = [start for start in source.history if start[1] <= len(target.wal)]
        if target.flushed < len(target.wal) or stream.flush_lsn < target.flushed:
            stream.receiver.later(self.world.latency_s(), lambda: self._flush(stream))

    def _flush(self, stream: Stream) -> None:
        target = stream.receiver
        if not stream.receiver_open or target.pg.hung == "all" or target.name in self.stalled or target.disk_bad:
            return
        target.pg.flushed = len(target.pg.wal)
        flushed = target.pg.flushed
        self.world.after(self.world.latency_s(), lambda: self._reply(stream, flushed))

    def _reply(self, stream: Stream, flushed: int) -> None:
        if self._passes(stream, stream.receiver) and stream.sender.pg.outbound is stream:
            stream.replied_s = self.world.now_s
            stream.flush_lsn = max(stream.flush_lsn, flushed)
            stream.sender.pg.flushed_by_peer(stream.flush_lsn)

    def _keep_alive(self, stream: Stream) -> None:
        now_s = self.world.now_s
        to, back = self._passes(stream, stream.sender), self._passes(stream, stream.receiver)
        if back:
            stream.replied_s = now_s
        if to:
            self._copy(stream)
        if not (to and back):
            # The end that is gone is answered for by its kernel, as soon as there is one again.
            told = self.world.net.open("stream", stream.sender, stream.receiver)
            if stream.sender_open and (now_s - stream.replied_s > TIMEOUT_S or (told and not stream.receiver_open)):
                self._close_sender(stream)
            if stream.receiver_open and (now_s - stream.heard_s > TIMEOUT_S or (told and not stream.sender_open)):
                self._close_receiver(stream)
        if stream.sender_open or stream.receiver_open:
            self.world.after(1.0, lambda: self._keep_alive(stream))

    def breaks(self) -> None:
        """Every connection ends, for both ends at once."""
        for host in self.world.hosts:
            if host.pg.inbound is not None:
                self._close_sender(host.pg.inbound)
                self._close_receiver(host.pg.inbound)

    def _close_sender(self, stream: Stream) -> None:
        stream.sender_open = False
        if stream.sender.pg.outbound is stream:
            stream.sender.pg.outbound = None

    def _close_receiver(self, stream: Stream) -> None:
        if not stream.receiver_open:
            return
        stream.receiver_open = False
        target = stream.receiver
        if target.name not in self.stalled and not target.disk_bad and not target.frozen and target.pg.hung != "all":
            target.pg.flushed = len(target.pg.wal)  # a receiver that ends flushes what it has
        if stream.receiver.pg.inbound is stream:
            stream.receiver.pg.inbound = None
            self.seek(stream.receiver)

    def receiver_gone(self, stream: Stream) -> None:
        """The standby's server ended: its kernel tells the primary, if the network lets it."""
        stream.receiver_open = False
        if self.world.net.open("stream", stream.receiver, stream.sender):
            self.world.after(self.world.latency_s(), lambda: self._close_sender(stream))

    def sender_gone(self, cluster: Cluster) -> None:
        stream, cluster.outbound = cluster.outbound, None
        if stream is None:
            return
        stream.sender_open = False
        if self.world.net.open("stream", stream.sender, stream.receiver):
            self.world.after(self.world.latency_s(), lambda: self._close_receiver(stream))

    def last_words(self, stream: Stream) -> None:
        """A fast shutdown sends its checkpoint and waits for the standby to have it, while that answers."""
        if self._passes(stream, stream.sender) and stream.sender.pg.outbound is stream:
            self._copy(stream)
