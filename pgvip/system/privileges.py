"""Root's side of pgvip: who keeps what when it begins to work with a cluster.

Kept are addresses, ARP, mounts, fencing, power, units, the watchdog, hooks and the record. What PostgreSQL's user can
write to is worked on by workers with this user's identity (pgvip.system.workers), and the kernel sees to it.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from pgvip.errors import PostgresError
from pgvip.system import capabilities, worker, workers

if TYPE_CHECKING:
    from pgvip.config.model import Config


def give_up(config: Config) -> None:
    """Give up what root's side does without, and have workers from now on. Before there is a second thread."""
    if os.geteuid() == 0:
        capabilities.give_up()
    workers.engage(config.postgres.user)


def become_postgres(config: Config) -> None:
    """Be PostgreSQL's user from now on: a command that needs nothing of root's once it has read its configuration."""
    if os.geteuid() != 0:
        return
    try:
        pwd.getpwnam(config.postgres.user)
    except KeyError:
        raise PostgresError(f'system user "{config.postgres.user}" does not exist') from None
    worker.become(config.postgres.user)
