"""The facts that a restart of the daemon must not lose, in a file of this boot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgvip.errors import RecordError
from pgvip.events import event_log
from pgvip.state.record import forget_boot_facts, load_boot_facts, save_boot_facts
from pgvip.system.reserve import RESERVE

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.core.values import BootFacts


def _unknown(why: str) -> None:
    event_log.log("facts-failed", f"{why}; the peer is asked again, as after a boot")


class KeptFacts:
    """`path`: the file; `boot_id`: the boot that it holds for."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path, self._boot_id = path, boot_id
        self._kept = True

    def load(self) -> BootFacts:
        """What the daemon before this one kept in this boot."""
        return load_boot_facts(self._path, self._boot_id, _unknown)

    def revoke(self) -> None:
        """Of what the peer granted nothing is left: whoever runs the pair while pgvip only observes may change it.

        That this host is confirmed stays, or the next daemon would stop its server; who serves then is known from
        `state.last_observed`.
        """
        facts = self.load()
        revoked = replace(facts, grant=None, address_term=-1, free_term=-1)
        if revoked != facts:
            self.keep(revoked)

    def keep(self, facts: BootFacts) -> bool:
        """False when it could not be kept. A full /run ends no daemon: a takeover may be under way."""
        try:
            with RESERVE.lent():
                save_boot_facts(self._path, self._boot_id, facts)
        except RecordError as failure:
            forget_boot_facts(self._path)
            if self._kept:
                event_log.log("facts-failed", f"{failure}; a restart of the daemon would ask the peer again")
            self._kept = False
        else:
            self._kept = True
        return self._kept
