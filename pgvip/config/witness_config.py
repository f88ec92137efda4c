"""The witness as the configuration has it (docs/witness.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """Something third that both hosts reach: a `postgresql` (libpq's keywords), or a `command`, or neither.

    `id`: what `pgvip witness init` gave it; "" while there is none, and then nothing relies on it. `user`: the system
    user that the command runs as. `timeout_s`: for one answer. `lease_s`: how long a host serves without an answer of
    its peer; `lease_stop_s`: how long it may take to stop then (docs/witness.md).
    """

    postgresql: str = ""
    command: tuple[str, ...] = ()
    id: str = ""
    user: str = "nobody"
    timeout_s: float = 0.5
    lease_s: float = 4.5
    lease_stop_s: float = 0.8

    @property
    def configured(self) -> bool:
        return bool(self.postgresql or self.command)
