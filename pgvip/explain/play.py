"""Both hosts' real cores in virtual time: rounds, messages, actions that take their time, and one fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pgvip.core.actions import Action, Result, WriteState
from pgvip.core.changes import NONE
from pgvip.core.knowledge import Decision
from pgvip.core.settings import Note
from pgvip.core.values import NEVER, Lease, Record, Vip
from pgvip.explain.effects import answers_for, carry_out
from pgvip.explain.needs import Blocker, is_of, of_row
from pgvip.explain.played_pair import Pair, Player
from pgvip.explain.played_server import peer_database, saw

STEP_S = 0.1
HOP_S = 0.004
"""From one daemon's word to the other's round."""
CALM_S = 1.0
"""Nothing under way for this long: the play is over."""
PATIENCE_S = 12.0
"""Beyond detection and delay: when nothing has begun by then, nothing will."""
ROUNDS_MAX = 3000


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a play: a note of a core, or the end of an action."""

    at_s: float
    host: str
    note: Note | None = None
    action: Action | None = None
    ok: bool = True


class Stage(Pair):
    """The pair while it is played."""

    def __init__(
        self, players: tuple[Player, Player], took_s: Mapping[type[Action], float], now_s: float,
        breathe: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(players, now_s)
        self.took_s, self._breathe = took_s, breathe
        self.begun_s = now_s
        self.events: list[Event] = []
        self.records: list[Record] = []
        self.served: list[tuple[float, bool, bool]] = []
        self.wanted: tuple[str, ...] = ()
        self.blockers: dict[str, tuple[Blocker, ...]] = {}
        self._calm_since_s = now_s

    # --- what is so --------------------------------------------------------------------------------------

    def writer(self) -> Player | None:
        """The host on which a client's commit through the primary VIP is acknowledged now."""
        for player in self.players:
            server = player.server
            if not (player.powered and server.read_write and Vip.PRIMARY in server.held):
                continue
            database = server.database
            waits = bool(database and database.sync_names) and not (self.streams and self._flushes())
            if not waits:
                return player
        return None

    def reader(self) -> Player | None:
        """The host on which a query through the standby VIP is answered now."""
        for player in self.players:
            if player.powered and player.server.up and Vip.STANDBY in player.server.held:
                return player
        return None

    def _flushes(self) -> bool:
        return not any(player.k.database.behind_since_s > NEVER and player.server.read_write for player in self.players)

    # --- what happens -----------------------------------------------------------------------------------

    def run(self, fault: Callable[[Stage], None], within_s: float, *, whole: bool = True) -> None:
        """Cause the fault, then go round until nothing is under way any more, or for `within_s`.

        Without `whole` it ends when writes, once gone, are back.
        """
        self._exchange()
        fault(self)
        self._look()
        for _ in range(ROUNDS_MAX):
            woken = self._go_round()
            self._breathe()
            self._look()
            back = self.served[-1][1] and not all(writes for _, writes, _ in self.served)
            if self._is_over(within_s) or (back and not whole):
                return
            due = [at_s for player in self.players for at_s, _ in player.running]
            due += [player.decision.due_s for player in self.players if player.decision and player.powered]
            self.now_s = min([self.now_s + (HOP_S if woken else self._step_s()), *(max(at, self.now_s) for at in due)])

    def _step_s(self) -> float:
        """Short while a silence is measured; else as long as nobody would seem silent, or asleep, by it."""
        settings = self.players[0].settings
        busy = any(player.running for player in self.players)
        early = self.now_s - self.begun_s < settings.dead_after_s + settings.fence_delay_s + 1.0
        delayed = any(player.powered and player.k.fencing.waiting for player in self.players)
        return STEP_S if delayed or (early and not busy) else 0.45 * settings.dead_after_s

    def _exchange(self) -> None:
        """Each has just heard the other: silence counts from the fault on."""
        for player in self.players:
            peer = self.peer_of(player)
            heard = player.k.peer.heard
            if heard is not None and not peer.mute and not player.mute:
                player.k.peer = replace(player.k.peer, heard=replace(heard, at_s=self.now_s))
            player.k.clock = replace(player.k.clock, round_s=self.now_s)
            record = player.k.durable.record
            if record is not None and record.witness_id and not peer.mute and not player.mute:
                player.k.witness = replace(player.k.witness, lease=Lease(record.term, self.now_s))
            if self.streams:
                player.server.change(self.now_s, moved_at_s=self.now_s)

    def _go_round(self) -> bool:
        """One round on each host; True when one of them has news for the other."""
        for player in self.players:
            self._refresh(player)
        woken = False
        for player in self.players:
            if not player.powered or player.mute:
                continue
            ended = [action for at_s, action in player.running if at_s <= self.now_s]
            player.running = [one for one in player.running if one[0] > self.now_s]
            results = tuple(self._end(player, action) for action in ended)
            if results:
                self._refresh(player)
            self._note_blockers(player)
            self._decided(player, player.round(self.now_s, results))
        for player in self.players:
            message, news = player.says(self.now_s) if player.powered and not player.mute else (None, False)
            peer = self.peer_of(player)
            if message is not None and self.linked and peer.powered:
                peer.inbox.append(message)
                woken = woken or news
        return woken

    def _note_blockers(self, player: Player) -> None:
        """For each wanted row of this host: the least that ever prevented it."""
        facts = player.facts(self.now_s)
        for name in self.wanted:
            if is_of(facts, name) and self.blockers.get(name) != ():
                found = of_row(facts, name)
                known = self.blockers.get(name)
                if known is None or len(found) < len(known):
                    self.blockers[name] = found

    def _end(self, player: Player, action: Action) -> Result:
        result = carry_out(self, player, action)
        if isinstance(action, WriteState) and action.durable.record is not None:
            self.records.append(action.durable.record)
        self.events.append(Event(self.now_s, player.name, action=action, ok=result.ok))
        return result

    def _decided(self, player: Player, decision: Decision) -> None:
        self.events += [Event(self.now_s, player.name, note=note) for note in decision.notes]
        for action in decision.actions:
            player.running.append((self.now_s + self.took_s[type(action)], action))

    def _refresh(self, player: Player) -> None:
        """What this host's probes see now."""
        server, peer, now_s = player.server, self.peer_of(player), self.now_s
        server.later(now_s)
        self._stream()
        answers = self.linked and peer.powered and peer.server.up
        seen = server.seen
        if answers and (seen.peer_own.ok() or not peer.mute):
            found = saw(peer_database(peer.server, player.k.who.system_id), now_s)
            vip = Vip.PRIMARY if peer.server.read_write else Vip.STANDBY
            has_vip = vip in peer.server.held
            server.see(peer_own=found, peer_vip=found if has_vip else seen.peer_vip.failed("no answer", now_s))
        elif not answers:
            lost = "no answer"
            server.see(
                peer_own=seen.peer_own.failed(lost, now_s) if seen.peer_own.ok() else seen.peer_own,
                peer_vip=seen.peer_vip.failed(lost, now_s) if seen.peer_vip.ok() else seen.peer_vip,
            )
        macs = {vip: answers_for(self, player, vip) for vip in Vip}
        server.see(arp_primary=saw(macs[Vip.PRIMARY], now_s), arp_standby=saw(macs[Vip.STANDBY], now_s))
        if not seen.fence.failures and seen.fence.at_s > NEVER:
            server.see(fence=saw("on" if peer.powered else "off", now_s))

    def _stream(self) -> None:
        one, other = (player.server for player in self.players)
        if self.streams:
            primary, standby = (one, other) if one.read_write else (other, one)
            standby.follow(primary, self.now_s, sync=self.players[0].settings.sync)
            return
        for player in self.players:
            player.server.unfollowed(self.now_s)

    def _look(self) -> None:
        state = (self.writer() is not None, self.reader() is not None)
        if not self.served or self.served[-1][1:] != state:
            self.served.append((self.now_s, *state))

    def _is_over(self, within_s: float) -> bool:
        passed_s = self.now_s - self.begun_s
        settings = self.players[0].settings
        awaited = any(action.properties.urgent for player in self.players for _, action in player.running)
        acting = (player.k for player in self.players if player.powered and not player.mute)
        busy = awaited or any(k.busy or k.intent.row != NONE.name for k in acting)
        if busy:
            self._calm_since_s = self.now_s
        begun = settings.dead_after_s + settings.fence_delay_s + PATIENCE_S
        calm = self.now_s - self._calm_since_s >= CALM_S
        done = calm and bool(self.served and self.served[-1][1] and self.served[-1][2])
        return (done and passed_s > settings.dead_after_s) or (calm and passed_s > begun) or passed_s > within_s
