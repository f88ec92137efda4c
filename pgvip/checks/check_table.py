"""Every check by its name, in the order in which they are shown. A check's module is imported when it is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgvip.checks.finding import Finding
    from pgvip.checks.subject import Facts

Function = Callable[["Facts"], "Finding"]


@dataclass(frozen=True, slots=True)
class Check:
    """`where`: module and function. `what`: the sentence of `--list`. `waits`: on a device or on the daemon."""

    name: str
    where: str
    what: str
    waits: bool = False

    def function(self) -> Function:
        """Import it."""
        module, _, name = self.where.partition(".")
        found: Function = getattr(importlib.import_module(f"pgvip.checks.{module}"), name)
        return found


CHECKS = (
    Check("daemon", "daemons.daemon", "the daemon of this host runs"),
    Check("role", "daemons.role", "the record is confirmed, and this host is what it says"),
    Check("takeover", "daemons.takeover", "the standby would take over now, by pgvip explain", waits=True),
    Check("peer", "daemons.peer", "the peer's daemon is heard"),
    Check("pause", "daemons.pause", "automatic action is not suspended"),
    Check("hold", "daemons.hold", "no data waits for an operator"),
    Check("warnings", "daemons.warnings", "status has no further warning"),
    Check("configuration", "daemons.configuration", "the file fits this host, and is the same on both"),
    Check("versions", "daemons.versions", "pgvip and PostgreSQL are the same on both hosts"),
    Check("timing", "fence_devices.timing", "time-outs are consistent, those of the fence agents too"),
    Check("database", "postgresql.database", "PostgreSQL answers, and connections are left"),
    Check("heartbeat", "postgresql.heartbeat", "the primary's heartbeat row is there, and pgvip may write it"),
    Check("settings", "postgresql.settings", "PostgreSQL's settings are what pgvip needs"),
    Check("same-files", "alike.same_files", "PostgreSQL's files and settings are the same on both hosts", waits=True),
    Check("same-hosts", "alike.same_hosts", "libraries, tablespaces, locales, disks fit on both", waits=True),
    Check("data-directory", "postgresql.data", "the data directory is the pair's, closed to others, fits the programs"),
    Check("rewind", "postgresql.rewind", "pg_rewind can be used"),
    Check("attached", "streaming.attached", "the standby is attached and streams"),
    Check("lag", "streaming.lag", "replication lag in bytes and seconds"),
    Check("sync", "streaming.sync", "in sync mode commits wait for the standby"),
    Check("slots", "streaming.slots", "replication slots are there, in use, and keep no WAL without end"),
    Check("archive-ready", "wal_archive.ready", "WAL files that wait to be archived"),
    Check("archiver", "wal_archive.archiver", "the last attempt to archive worked"),
    Check("archive-own", "wal_archive.own", "PostgreSQL's user can write to this host's archive"),
    Check("archive-peer", "wal_archive.peers", "the peer's archive is mounted or given over the link, can be read"),
    Check("backup", "base_backups.newest", "a good base backup is there, and young enough, where [backup] asks for it"),
    Check("vips", "vips.holders", "each VIP is held by the host whose role it is"),
    Check("arp", "vips.arp", "on the network nobody else answers for a VIP", waits=True),
    Check("gateway", "vips.gateway", "a gateway answers this host", waits=True),
    Check("fencing", "fence_devices.devices", "every fence method of the peer answers, and is right", waits=True),
    Check("witness", "witnesses.witness", "the witness answers, is the pair's, its role may only claim", waits=True),
    Check("monitoring-connection", "logins.monitoring", "role pgvip connects to the peer (pg_hba, keys)"),
    Check("replication-connection", "logins.replication", "the replication role connects too (pg_hba, keys)"),
    Check("files", "logins.files", "modes and owners of secrets and record; bundles left; expiry; TLS off"),
    Check("autostart", "machine.autostart", "nothing but pgvip starts PostgreSQL"),
    Check("disk", "machine.disk", "space for data, WAL, tablespaces, archive, state"),
    Check("clock", "machine.clock", "the two hosts' clocks agree"),
)
BY_NAME = {check.name: check for check in CHECKS}
OF_PEER = frozenset({
    "takeover", "peer", "versions", "same-files", "same-hosts", "attached", "lag", "sync", "archive-peer", "fencing",
    "monitoring-connection", "replication-connection", "clock",
})  # fmt: skip
"""Checks of the other host, by their names: they are skipped where that one is removed."""
