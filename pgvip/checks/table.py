"""Every check by its name, in the order in which they are shown. A check's module is imported when it is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgvip.checks.facts import Facts
    from pgvip.checks.finding import Finding

Function = Callable[["Facts"], "Finding"]


@dataclass(frozen=True, slots=True)
class Check:
    """`where`: module and function. `what`: the sentence of `--list`."""

    name: str
    where: str
    what: str

    def function(self) -> Function:
        """Import it."""
        module, _, name = self.where.partition(".")
        found: Function = getattr(importlib.import_module(f"pgvip.checks.{module}"), name)
        return found


CHECKS = (
    Check("daemon", "pair.daemon", "the daemon of this host runs"),
    Check("role", "pair.role", "the record is confirmed, and this host is what it says"),
    Check("takeover", "pair.takeover", "the standby would take over now, by pgvip explain"),
    Check("peer", "pair.peer", "the peer's daemon is heard"),
    Check("pause", "pair.pause", "automatic action is not suspended"),
    Check("hold", "pair.hold", "no data waits for an operator"),
    Check("warnings", "pair.warnings", "status has no further warning"),
    Check("configuration", "pair.configuration", "the file fits this host, and is the same on both"),
    Check("versions", "pair.versions", "pgvip and PostgreSQL are the same on both hosts"),
    Check("timing", "fencing.timing", "time-outs are consistent, those of the fence agents too"),
    Check("database", "server.database", "PostgreSQL answers, and connections are left"),
    Check("settings", "server.settings", "PostgreSQL's settings are what pgvip needs"),
    Check("data-directory", "server.data", "the data directory is the pair's, and closed to others"),
    Check("rewind", "server.rewind", "pg_rewind can be used"),
    Check("attached", "replication.attached", "the standby is attached and streams"),
    Check("lag", "replication.lag", "replication lag in bytes and seconds"),
    Check("sync", "replication.sync", "in sync mode commits wait for the standby"),
    Check("slots", "replication.slots", "replication slots are there, in use, and keep no WAL without end"),
    Check("archive-ready", "archive.ready", "WAL files that wait to be archived"),
    Check("archiver", "archive.archiver", "the last attempt to archive worked"),
    Check("archive-own", "archive.own", "PostgreSQL's user can write to this host's archive"),
    Check("archive-peer", "archive.peers", "the peer's archive is mounted, answers in time, can be read"),
    Check("vips", "addresses.holders", "each VIP is held by the host whose role it is"),
    Check("arp", "addresses.arp", "on the network nobody else answers for a VIP"),
    Check("gateway", "addresses.gateway", "a gateway answers this host"),
    Check("fencing", "fencing.devices", "every fence method of the peer answers, and tells the truth"),
    Check("monitoring-connection", "access.monitoring", "role pgvip connects to the peer (pg_hba, password)"),
    Check("replication-connection", "access.replication", "the replication role connects too (pg_hba, password)"),
    Check("files", "access.files", "modes and owners of passwords, keys and record"),
    Check("autostart", "host.autostart", "nothing but pgvip starts PostgreSQL"),
    Check("disk", "host.disk", "space for data, WAL, tablespaces, archive, state"),
    Check("clock", "host.clock", "the two hosts' clocks agree"),
)
BY_NAME = {check.name: check for check in CHECKS}
