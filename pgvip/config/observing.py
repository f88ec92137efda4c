"""`pair.mode = "observe"`: pgvip decides and reports, and changes nothing, beside whoever runs the pair now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pgvip.config.model import WatchdogConfig
from pgvip.config.witness_config import WitnessConfig

if TYPE_CHECKING:
    from pgvip.config.model import Config

NORMAL, OBSERVE = "normal", "observe"
MODES = (NORMAL, OBSERVE)


def observes(config: Config) -> bool:
    """Nothing is changed on this host."""
    return config.mode == OBSERVE


def as_observer(config: Config) -> Config:
    """The configuration without what works by itself: watchdog, address lifetimes, the witness; asynchronous.

    Whether commits wait for the standby is the affair of whoever runs the pair: as a synchronous pair it would be seen
    only once pgvip had set the synchronous names. Unchanged in normal mode.
    """
    if not observes(config):
        return config
    settings = dataclasses.replace(
        config.settings, sync=False, watchdog_required=False, witness_id="", salvage_s=0.0, isolation_demote_s=0.0
    )
    return dataclasses.replace(
        config,
        settings=settings,
        watchdog=WatchdogConfig(mode="off"),
        witness=WitnessConfig(),
        valid_lft_s=0,
        postgres=dataclasses.replace(config.postgres, keep_access=False),
    )
