"""Both hosts' power, as a fence device switches it: late, lost, refused, or as asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World

Told = Callable[[bool, str], None]


class Fencing:
    """`moods` names how a host's fence device behaves now: "" as asked, fails, late, lost."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moods: dict[str, str] = {}
        self.fences = 0

    def fence(self, by: Host, told: Told) -> None:
        """`by` asks the device of its peer to switch it off, and to verify that."""
        world, target = self.world, by.peer
        mood = self.moods.get(target.name, "")
        if not world.net.sends("fence", by) or mood == "fails":
            by.later(world.duration_s(0.5, 3.0), lambda: told(False, "the device does not answer"))
            return
        takes_s = world.duration_s(0.1, world.faults.fence_takes_s)
        if mood == "late":
            world.after(takes_s + world.span(1.0, 20.0), lambda: self._off(target, "a late fence"))
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

    def _off(self, target: Host, why: str) -> None:
        world = self.world
        target.power_off(why)
        if world.chance(0.5) or world.healed:  # the method's own "on", or a reset
            world.after(world.span(0.05, 1.0), lambda: self._on(target))
        world.was_fenced(target)

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
