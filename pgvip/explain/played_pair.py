"""The pair that is played, before anything of it moves: two hosts with their real cores, and what is between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pgvip.core.actions import Action, Fence, Result
from pgvip.core.decide import decide
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Decision, Knowledge
from pgvip.core.messages import Command, Message
from pgvip.core.settings import Inputs, Settings
from pgvip.core.values import NEVER, Vip
from pgvip.explain.played_server import Server


class Player:
    """One host. `mute`: nothing is heard of its daemon, so its core is not played."""

    def __init__(self, k: Knowledge, server: Server, settings: Settings, *, mute: bool) -> None:
        self.k, self.server, self.settings, self.mute = k, server, settings, mute
        self.powered = True
        self.decision: Decision | None = None
        self.inbox: list[Message] = []
        self.orders: list[Command] = []
        self.running: list[tuple[float, Action]] = []
        self.strangers: Mapping[Vip, str] = {}
        self._said: Message | None = None
        self._said_s = NEVER

    @property
    def name(self) -> str:
        return self.settings.me

    def facts(self, now_s: float) -> Facts:
        return Facts(self.k, self.server.seen, self.settings, now_s)

    def round(self, now_s: float, results: tuple[Result, ...]) -> Decision:
        """One round of the real core."""
        inputs = Inputs(self.server.seen, tuple(self.inbox), results, tuple(self.orders), "")
        self.inbox, self.orders = [], []
        self.decision = decision = decide(self.k, inputs, self.settings, now_s)
        self.k = decision.knowledge
        return decision

    def says(self, now_s: float) -> tuple[Message | None, bool]:
        """What it would send now, and whether that is news: a change at once, else a heartbeat."""
        if self.decision is None:
            return None, False
        message = self.decision.message
        public = _public(message)
        news = public != self._said
        if not news and now_s - self._said_s < 0.9 * self.settings.heartbeat_s:
            return None, False
        self._said, self._said_s = public, now_s
        return message, news


class Pair:
    """Both hosts at one moment. `crossed`: a host was fenced while its own fence of the other was under way."""

    def __init__(self, players: tuple[Player, Player], now_s: float) -> None:
        self.players, self.now_s = players, now_s
        self.linked = True
        self.registers: dict[int, str] = {}  # a witness is taken to answer, and to have granted nothing of this yet
        self.crossed = False
        self._could_stream = any(player.server.database and _streams(player.server) for player in players)
        for player in players:
            seen = player.server.seen
            watches = ((Vip.PRIMARY, seen.arp_primary), (Vip.STANDBY, seen.arp_standby))
            held = self.peer_of(player).server.held
            player.strangers = {vip: watch.value or "" for vip, watch in watches if vip not in held}

    def peer_of(self, player: Player) -> Player:
        one, other = self.players
        return other if player is one else one

    def of(self, name: str) -> Player:
        return next(player for player in self.players if player.name == name)

    @property
    def streams(self) -> bool:
        """WAL goes from the read-write server to the standby."""
        one, other = (player.server for player in self.players)
        powered = all(player.powered for player in self.players)
        roles = (one.read_write and other.recovering) or (other.read_write and one.recovering)
        return self._could_stream and self.linked and powered and roles

    def power_off(self, player: Player) -> None:
        """Everything of the host is gone at once; an order that its fence device has already got is not."""
        player.powered = False
        self.crossed = self.crossed or any(isinstance(action, Fence) for _, action in player.running)
        player.running, player.inbox = [], []
        player.server.stop(self.now_s, clean=False)
        player.server.hold(frozenset(), self.now_s)


def _streams(server: Server) -> bool:
    database = server.database
    replica = database.replica if database else None
    return database is not None and (database.streaming or (replica is not None and replica.streaming))


def _public(message: Message) -> Message:
    """What of a message is news to the other host."""
    grant = message.grant
    return replace(
        message, seq=0, sent_s=0.0, echo_s=0.0, point=None, replay_lag_s=0.0, gateway_age_s=0.0,
        revoked=None, failing="", failing_hint="", failing_unseen=False, crashes=(),
        grant=None if grant is None else replace(grant, echo_s=0.0, expires_s=None),
    )  # fmt: skip
