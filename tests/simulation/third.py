"""The witness as a place of its own: its registers, its answers that are late or lost, and what hosts do by themselves.

A claim that was sent is carried out, now or later, whatever becomes of the one who sent it. A host's watchdog and the
kernel's own lease on addresses act where its daemon does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgvip.core.actions import Claimed, Guard
from pgvip.core.facts import Facts
from pgvip.core.observations import WitnessStatus
from pgvip.core.rights import standby_address, write_right
from pgvip.core.values import Vip

if TYPE_CHECKING:
    from pgvip.core.knowledge import Decision
    from tests.simulation.machine import Host
    from tests.simulation.world import World

Told = Callable[[Claimed | None, str], None]
WITNESS_ID = "witness-1"


class Third:
    """`moods`: what becomes of the claims of each host: "" as asked, late, lost (the answer), refused."""

    once = True
    """A register is written once [m 18]."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.registers: dict[int, str] = {}
        self.serial = 0
        self.up = True
        self.moods: dict[str, str] = {}

    def reached(self, by: Host) -> bool:
        return self.up and self.world.net.sends("witness", by)

    def status(self, by: Host) -> WitnessStatus | None:
        return WitnessStatus(WITNESS_ID, self.serial) if self.reached(by) else None

    def claim(self, by: Host, term: int, told: Told) -> None:
        """`by` asks for the register of `term`."""
        world, mood, limit_s = self.world, self.moods.get(by.name, ""), by.settings.claim_s

        def silent() -> None:
            by.later(limit_s, lambda: told(None, "no answer"))

        if not self.reached(by) or mood == "refused":
            silent()
        elif mood == "late":
            silent()
            world.after(world.span(0.5, 20.0), lambda: self._late(by.name, term))
        elif mood == "lost":
            silent()
            world.after(world.latency_s(), lambda: self._late(by.name, term))
        else:
            takes_s = world.latency_s()
            world.after(takes_s, lambda: self._answer(by, term, told, limit_s - takes_s))

    def _late(self, host: str, term: int) -> None:
        """It is carried out, and nobody is told."""
        if self.up:
            self._carried_out(host, term)

    def _answer(self, by: Host, term: int, told: Told, left_s: float) -> None:
        """It is carried out; the answer finds its way back, or the time is over."""
        claimed = self._carried_out(by.name, term)
        takes_s = self.world.latency_s()
        if self.reached(by) and takes_s < left_s:
            by.later(takes_s, lambda: told(claimed, ""))
        else:
            by.later(max(0.0, left_s), lambda: told(None, "no answer in time"))

    def _carried_out(self, host: str, term: int) -> Claimed:
        self.serial += term not in self.registers
        winner = self.registers.setdefault(term, host) if self.once else host
        self.world.log("w", f"term {term} is asked for by {host}, and is that of {winner}")
        return Claimed(winner, self.serial)

    def restored(self, claims: int) -> None:
        """An old backup of it is brought back: its newest registers are gone."""
        for term in sorted(self.registers)[-claims:]:
            del self.registers[term]
            self.serial -= 1
        self.world.log("w", f"the witness is RESTORED, with {self.serial} claims")


class Keeper:
    """What a host does by itself: its watchdog resets it, its kernel drops addresses, when no round renews them."""

    def __init__(self, host: Host, *, watchdog: bool) -> None:
        self.host = host
        self.world = host.world
        self.watchdog = watchdog
        self._armed = False
        self._fed_s = 0.0
        self._renewed_s = dict.fromkeys(Vip, 0.0)
        self._boot = 0

    @property
    def limit_s(self) -> float:
        return self.host.settings.lease_stop_s

    def decided(self, decision: Decision) -> None:
        """A round: the watchdog is fed by its word, the addresses are renewed while this host has a right to them."""
        host, now_s = self.host, self.world.now_s
        if host.boots != self._boot:
            self._boot, self._armed = host.boots, False
        daemon = host.daemon
        assert daemon is not None
        facts = Facts(decision.knowledge, daemon.seen, host.settings, host.clock_s)
        for vip, right in ((Vip.PRIMARY, write_right(facts)), (Vip.STANDBY, standby_address(facts))):
            if right:
                self._renewed_s[vip] = now_s
                self.world.after(self.limit_s, lambda vip=vip: self._expires(vip))  # type: ignore[misc]  # bound now
        if not self.watchdog:
            return
        if decision.guard in (Guard.FEED, Guard.GIVE):
            self._armed = self._armed or decision.guard is Guard.FEED
            self._fed_s = now_s
            self.world.after(self.limit_s, lambda boot=host.boots: self._resets(boot))  # type: ignore[misc]  # as above
        elif decision.guard is Guard.FREE:
            self._armed = False

    def _expires(self, vip: Vip) -> None:
        host = self.host
        if vip in host.held and self.world.now_s - self._renewed_s[vip] >= self.limit_s - 1e-6:
            host.held.discard(vip)
            host.log(f"the kernel drops the {vip.value} VIP, which nobody renews")

    def _resets(self, boot: int) -> None:
        host, world = self.host, self.world
        late = world.now_s - self._fed_s >= self.limit_s - 1e-6
        if not (late and self.watchdog and self._armed and host.powered and host.boots == boot):
            return
        host.power_off("its watchdog")
        world.after(world.span(0.1, 2.0), lambda: host.power_on() if world.may_power_on(host) else None)
