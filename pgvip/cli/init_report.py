"""What `pgvip init` says in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.system import units

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config


def next_steps(config: Config, bundle: Path, *, stopped: bool) -> str:
    """What comes next on both hosts. `stopped`: the database is new, and down again."""
    start = "systemctl enable --now pgvip" if units.has_systemd() else "pgvip run"
    down = "The database is stopped; the daemon starts it.\n" if stopped else ""
    return (
        f"{down}Next, on {config.me.name}: {start}\n"
        f"Then copy {bundle} as root to {config.peer.name} (it holds secrets: delete it here then),\n"
        f"and there: pgvip clone BUNDLE   (or, if it streams from here already: pgvip join BUNDLE)"
    )
