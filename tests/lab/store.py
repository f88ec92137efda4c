"""Pairs that tests share: one lives at a time, and each kind is built once and then restored from its disks."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from tests.lab.hosts import remove_tree
from tests.lab.lab import PREFIX, Lab, base_directory, mark_owner
from tests.lab.nodes import LabError
from tests.lab.pair import Options, Pair

HEALTHY_S = 60.0
AGAIN_S = 20.0
"""How long a pair that a test has left may take to be healthy for the next one."""


class PairStore:
    """Gives healthy pairs."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base_directory()))
        mark_owner(self.directory)
        self.templates: dict[str, Path] = {}
        self.live: Pair | None = None

    def get(self, options: Options) -> Pair:
        """The pair that is there, when it fits and is healthy; else a fresh one."""
        if self.live is not None:
            if self.live.options == options:
                with contextlib.suppress(LabError):
                    self.tidy(self.live)
                    return self.live
            self.discard()
        self.live = self.make(options)
        return self.live

    def tidy(self, pair: Pair) -> None:
        """Undo what a test may have left behind, and see the healthy state."""
        lab = pair.lab
        lab.switch.heal()
        lab.fence.soothe()
        for host in pair.hosts.values():
            host.heal()
            host.boot()
        pair.wait_healthy(AGAIN_S)

    def make(self, options: Options) -> Pair:
        """A new lab with a pair from its template."""
        lab = Lab().__enter__()
        pair = Pair(lab, options)
        try:
            template = self.templates.get(repr(options))
            if template is None:
                pair.create()
                pair.wait_healthy(HEALTHY_S)
                self.keep(pair)
            else:
                pair.restore(template)
            pair.start()
            pair.wait_healthy(HEALTHY_S)
            lab.arp.start()
        except BaseException:
            lab.close()
            raise
        return pair

    def keep(self, pair: Pair) -> None:
        """Make a template of the pair's disks."""
        template = self.directory / str(len(self.templates))
        pair.stop()
        for host in pair.hosts.values():
            host.power_off()
        pair.save(template)
        self.templates[repr(pair.options)] = template

    def discard(self) -> None:
        """Take the live pair down."""
        if self.live is not None:
            self.live.lab.close()
            self.live = None

    def close(self) -> None:
        """Everything removed."""
        self.discard()
        remove_tree(self.directory)
