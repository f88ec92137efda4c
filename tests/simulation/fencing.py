"""Both hosts' power, as a fence device switches it: late, lost, refused, or as asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World

Told = Callable[[bool, str], None]
QUEUE_S = 50.0
"""How long a device keeps a command that it has not carried out."""


class Fencing:
    """`moods` names how a host's fence device behaves now: "" as asked, fails, late, lost, "after boot".

    `switches_on`: whether a device itself switches a host on again: half (of the times), never, always.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.moods: dict[str, str] = {}
        self.fences = 0
        self.switches_on = "half"
        self._queued: dict[str, tuple[float, int]] = {}

    def fence(self, by: Host, told: Told) -> None:
        """`by` asks the device of its peer to switch it off, and to verify that."""
        world, target = self.world, by.peer
        mood = self.moods.get(target.name, "")
        if not world.net.sends("fence", by) or mood == "fails":
            by.later(world.duration_s(0.5, 3.0), lambda: told(False, "the device does not answer"))
            return
        takes_s = world.duration_s(0.1, world.faults.fence_takes_s)
        if mood == "late":
            boot = by.boots
            world.after(takes_s + world.span(1.0, 20.0), lambda: self._late(by, boot, "a late fence"))
            by.later(takes_s, lambda: told(False, "timed out"))
            return
        if mood == "after boot":
            self._queued[target.name] = (world.now_s + QUEUE_S, by.boots)
            by.later(takes_s, lambda: told(False, "timed out"))
            return

        def done() -> None:
            self.fences += 1
            self._off(target, f"fenced by {by.name}")
            if mood == "lost":
                by.later(world.duration_s(0.5, 2.0), lambda: told(False, "the answer was lost"))
            else:
                by.later(world.duration_s(0.01, world.faults.fence_answer_s), lambda: told(True, ""))

        world.after(takes_s, done)

    def booted(self, target: Host) -> None:
        """A command that its device had kept is carried out now that the host is back."""
        until_s, boot = self._queued.pop(target.name, (0.0, 0))
        if self.world.now_s < until_s:
            delay_s = self.world.span(0.05, 8.0)
            self.world.after(delay_s, lambda: self._late(target.peer, boot, "a fence of before its boot"))

    def _late(self, by: Host, boot: int, why: str) -> None:
        """After the end of all faults, not for one who has booted since: who cannot know of it cannot repair it."""
        if not (self.world.healed and by.boots != boot):
            self._off(by.peer, why)

    def heal(self) -> None:
        """Devices do as they are asked, and have forgotten what they were asked before."""
        self.moods.clear()
        self._queued.clear()

    def _off(self, target: Host, why: str) -> None:
        world = self.world
        target.power_off(why)
        on = world.chance(0.5) if self.switches_on == "half" else self.switches_on == "always"
        if on:  # the method's own "on", or a reset
            world.after(world.span(0.05, 1.0), lambda: self._on(target))
        elif world.healed and not target.peer.powered:
            world.after(world.span(5.0, 20.0), self._buttons)
        world.was_fenced(target)

    def _buttons(self) -> None:
        """Somebody presses them: both hosts are off, and no device switches on by itself."""
        for host in self.world.hosts:
            self._on(host)

    def _on(self, target: Host) -> None:
        if self.world.may_power_on(target):
            target.power_on()

    def power_on(self, by: Host, told: Told) -> None:
        world, target = self.world, by.peer
        if not world.net.sends("fence", by) or self.moods.get(target.name) == "fails":
            by.later(world.duration_s(0.5, 2.0), lambda: told(False, "the device does not answer"))
            return

        def done() -> None:
            self._on(target)
            by.later(0.05, lambda: told(True, ""))

        world.after(world.duration_s(0.1, 1.0), done)
