"""The document of `explain`: every scenario played twice, as expected and with every time-out used up.

docs/explain.md describes the keys. Times are seconds after the fault; null is "not without an operator".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pgvip.core.actions import Fence
from pgvip.core.changes import ROWS, By, Part
from pgvip.core.conditions import unmet
from pgvip.core.decide import begin
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Decision
from pgvip.core.lease import witnessed
from pgvip.core.observations import Observations
from pgvip.core.removed_peer import NOT_REMOVED, removed
from pgvip.core.settings import Identity
from pgvip.core.values import BootFacts, Durable, Vip
from pgvip.explain import twin
from pgvip.explain.effects import Durations, durations
from pgvip.explain.loss import Loss, loss
from pgvip.explain.needs import Blocker, of_row
from pgvip.explain.play import Stage
from pgvip.explain.played_pair import Player
from pgvip.explain.played_server import Server
from pgvip.explain.scenarios import SCENARIOS, Scenario
from pgvip.explain.sentences import outage_s, steps
from pgvip.text.writing import duration

if TYPE_CHECKING:
    from pgvip.config.model import Config, Host

Document = dict[str, Any]
SETTLE_S = 5.0
"""How long a device may go on saying "on" after an `off` that it accepted (as `actions.fence` waits)."""
WITHIN_S = 60.0
LONGEST_S = 1800.0


class Explainer:
    """What one daemon knows at one moment, ready to be played.

    `measured`: seconds by kind of action. `breathe`: called after each round, to let the daemon's loop go before.
    """

    def __init__(
        self, config: Config, decision: Decision, seen: Observations, now_s: float, measured: Mapping[str, float],
        *, breathe: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.config, self.decision, self.seen, self.now_s = config, decision, seen, now_s
        self.facts = Facts(decision.knowledge, seen, config.settings, now_s)
        self.measured, self.breathe = measured, breathe
        self.times = _durations(config, measured)
        record = self.facts.record or (decision.knowledge.peer.heard and decision.knowledge.peer.heard.message.record)
        self.primary = record.primary if record else config.me.name
        self.standby = config.peer.name if self.primary == config.me.name else config.me.name

    def document(self) -> Document:
        """Everything; see docs/explain.md."""
        found = [self.scenario(scenario) for scenario in SCENARIOS]
        takes = [one for one, scenario in zip(found, SCENARIOS, strict=True) if scenario.takeover]
        return {
            "pair": self.config.name,
            "host": self.config.me.name,
            "primary": self.primary,
            "standby": self.standby,
            "removed": removed(self.facts),
            "takeover_works": all(one["moves"] for one in takes),
            "measured": {kind: round(took_s, 3) for kind, took_s in sorted(self.measured.items())},
            "scenarios": found,
        }

    def scenario(self, scenario: Scenario) -> Document:
        """One of them."""
        stage = self.play(scenario)
        writer = stage.writer()
        # Where nobody serves, the longest play goes on for half an hour of virtual time, and seconds of real CPU.
        slow = self.play(scenario, longest=True) if writer else stage
        moves = writer is not None and writer.name != self.primary
        whole = any(record.handover is not None for record in stage.records if record.primary != self.primary)
        lost = loss(self.facts, moves=moves, served=writer is not None, whole=whole)
        blocked = list(self.blockers(scenario, stage))
        hosts = {"p": self.primary, "s": self.standby}
        title = scenario.title.format(**hosts)
        return {
            "name": scenario.name,
            "title": title,
            "summary": _summary(scenario, stage, lost, blocked, self.primary),
            "steps": [asdict(step) for step in steps(stage, self.config, scenario.happens.format(**hosts))],
            "served_by": writer.name if writer else None,
            "moves": moves,
            "outage_s": outage_s(stage, Vip.PRIMARY),
            "outage_max_s": outage_s(slow, Vip.PRIMARY),
            "read_outage_s": outage_s(stage, Vip.STANDBY),
            "loss": lost.text,
            "loss_bytes": lost.size_bytes,
            "blockers": [asdict(blocker) for blocker in blocked],
            "cautions": list(self.cautions(stage)),
        }

    def play(self, scenario: Scenario, *, longest: bool = False) -> Stage:
        """Play one scenario on a fresh stage. `longest`: with every time-out used up, until writes are back."""
        took_s = self.times.longest if longest else self.times.usual
        mine = Player(
            self.decision.knowledge.copy(), Server(self.seen, self.config.settings, self.now_s), self.config.settings,
            mute=False,
        )  # fmt: skip
        mine.running = [(self.now_s + took_s[type(one)], one) for one in mine.k.work.running]
        stage = Stage((mine, self._peer()), took_s, self.now_s, self.breathe)
        stage.wanted = scenario.rows
        primary, standby = stage.of(self.primary), stage.of(self.standby)
        within_s = LONGEST_S if longest else WITHIN_S
        stage.run(lambda stage: scenario.fault(stage, primary, standby), within_s, whole=not longest)
        return stage

    def _peer(self) -> Player:
        heard = self.decision.knowledge.peer.heard
        message = heard.message if heard else None
        settings = twin.settings_of(self.config.settings, fencing=bool(self.config.me.fencing), message=message)
        if heard is None:
            who = Identity("", "", self.now_s)
            unseen = Server(Observations(), settings, self.now_s)
            silent = Player(begin(who, Durable(), BootFacts()), unseen, settings, mute=True)
            silent.powered = self.seen.peer_own.ok()
            return silent
        k = twin.knowledge(settings, self.decision, self.now_s)
        seen = twin.observations(settings, self.decision, self.seen, self.now_s)
        mute = self.facts.message is None
        peer = Player(k, Server(seen, settings, self.now_s), settings, mute=mute)
        peer.powered = not mute or self.seen.peer_own.ok() or not self.facts.peer_silent
        return peer

    def cautions(self, stage: Stage) -> Iterator[str]:
        """What may come otherwise."""
        if stage.crossed:
            s, fence_s = self.config.settings, self.times.usual[Fence]
            yield (
                f"a fence takes about {fence_s:.1f} s, longer than timing.fence_delay_s = {s.fence_delay_s:g}: "
                f"either may win, or both are powered off and nobody serves until they have booted; a longer "
                f"fence_delay_s avoids that"
            )
        if self._unknown_fence(stage):
            yield (
                f"whether the device that powers {self.config.me.name} off works now is known on "
                f"{self.config.peer.name} only: pgvip fence test there"
            )

    def _unknown_fence(self, stage: Stage) -> bool:
        """The other host fences this one in the play."""
        peer = stage.of(self.config.peer.name)
        return any(event.host == peer.name and event.note and event.note.event == "claim" for event in stage.events)

    # --- why not -------------------------------------------------------------------------------------------

    def blockers(self, scenario: Scenario, stage: Stage) -> Iterator[Blocker]:
        """What prevents the wanted rows, and what they begin."""
        if removed(self.facts):
            (one,) = unmet((NOT_REMOVED,), self.facts)
            yield Blocker(one.name, f"{one.text}: nobody takes over", one.hint)
            return
        if scenario.either and stage.writer() is not None:
            return
        rows = [stage.blockers.get(name) for name in scenario.rows]
        if self.facts.solo and not any(rows):
            rows = [
                of_row(self.facts, scenario.rows[0])
            ]  # true of both hosts, also when the one that would act is mute
        missing = [found for found in rows if found]
        if scenario.either:
            for found in missing:
                yield from found
        elif missing:
            yield from missing[0]
        hit = {"primary-host": self.primary, "standby-host": self.standby}.get(scenario.name)
        for player in stage.players:
            if player.name != hit and (player.powered or player.mute):
                yield from self._of_player(scenario, stage, player, unmet=bool(missing))

    def _of_player(self, scenario: Scenario, stage: Stage, player: Player, *, unmet: bool) -> Iterator[Blocker]:
        me, peer = player.name, player.settings.peer
        if player.mute:
            heard = self.decision.knowledge.peer.heard
            ago = f"for {duration(self.now_s - heard.at_s)}" if heard else "since this daemon started"
            text = f"{me} has not been heard {ago}: what it would do is not known"
            yield Blocker("peer-unknown", text, f"systemctl status pgvip on {me}")
        fences = any(ROWS[name].by is By.FENCE and _acts(stage, player, name) for name in scenario.rows)
        if not fences or (unmet and not scenario.either):
            return
        if not player.settings.fencing and not witnessed(player.facts(self.now_s)):
            text = f"no way to power {peer} off is configured, and nobody acts on silence alone"
            yield Blocker("no-fencing", text, f"configure fencing in section [hosts.{peer}]")
        elif player.settings.fencing and player.server.seen.fence.failures:
            text = f"the fence device of {peer} does not answer {me}: {player.server.seen.fence.reason}"
            yield Blocker("fence-device", text, f"pgvip fence test on {me}")


def explain(
    config: Config, decision: Decision, seen: Observations, now_s: float, measured: Mapping[str, float] | None = None,
    *, breathe: Callable[[], None] = lambda: None,
) -> Document:  # fmt: skip
    """What would happen now, by the real core of both hosts; see `Explainer`."""
    return Explainer(config, decision, seen, now_s, measured or {}, breathe=breathe).document()


def _acts(stage: Stage, player: Player, row: str) -> bool:
    """The row is this host's, and held at some moment."""
    record = player.k.durable.record
    mine = record is not None and (record.primary == player.name) is (ROWS[row].part is Part.PRIMARY)
    return mine and stage.blockers.get(row) == ()


def _durations(config: Config, measured: Mapping[str, float]) -> Durations:
    postgres = config.postgres
    fence_s = max(_fence_s(config.me), _fence_s(config.peer))
    known = dict(measured)
    if Fence.__name__ not in known and "fence-status" in known:
        # An order and the proof are two calls at least; agents wait for the power to go besides.
        known[Fence.__name__] = max(2 * known["fence-status"], 0.1) + _POWER_WAIT_S
    return durations(
        known, start_s=postgres.start_timeout_s, stop_s=config.settings.stop_s, promote_s=postgres.promote_timeout_s,
        fence_s=fence_s, salvage_s=config.settings.salvage_s, veto_s=config.settings.veto_timeout_s,
    )  # fmt: skip


_POWER_WAIT_S = 2.0
"""`power_wait` of fence_ipmilan (FACTS: fence agents)."""


def _fence_s(host: Host) -> float:
    """How long all methods of a host may take, one after the other, the last of them with success."""
    return sum(2 * method.timeout_s + SETTLE_S for method in host.fencing)


def _summary(scenario: Scenario, stage: Stage, lost: Loss, blocked: list[Blocker], primary: str) -> str:
    """One sentence that a tired person reads at once."""
    writer, gone_s = stage.writer(), outage_s(stage, Vip.PRIMARY)
    if writer is None or gone_s is None:
        why = "; ".join(dict.fromkeys(blocker.text for blocker in blocked)) or "see the steps"
        return f"NOBODY would serve writes: {why}"
    if writer.name != primary:
        return f"{writer.name} takes over: no writes for about {gone_s:.1f} s; lost: {lost.text}"
    if blocked and scenario.takeover:
        return f"{primary} would have to come back by itself, in about {gone_s:.1f} s: {blocked[0].text}"
    if gone_s == 0:
        return f"{primary} serves on, without an interruption" + (f" ({blocked[0].text})" if blocked else "")
    return f"{primary} serves on: no writes for about {gone_s:.1f} s; lost: {lost.text}"
