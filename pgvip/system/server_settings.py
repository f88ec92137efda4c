"""The one table of PostgreSQL's settings that matter to a pair: pinned, refused, or reported, each with its reason.

From it are made: pgvip.conf (pinned), what is taken out of postgresql.auto.conf, what `pgvip init` refuses, what
`pgvip check` judges, which standby may not take over, and docs/postgresql-settings.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """What a setting is about, as docs/postgresql-settings.md groups them."""

    NETWORK = "how the server is reached"
    REPLICATION = "replication and changes of role"
    RECOVERY = "recovery: nothing may end or delay the replay of a standby"
    CLIENTS = "what clients may do"
    ARCHIVE = "the WAL archive (only with archive.enabled)"
    SAFETY = "what keeps data safe"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of PostgreSQL.

    `pinned`: what pgvip.conf says; CONFIGURED for what follows from the pair's configuration, None for what is the
    administrator's. `good`: values of the running server that are well, as pg_settings shows them, () where any is;
    `least`: the same for a number. `level`: how bad another value is. `refused`: `init` does not begin with another
    value. `fit`: a standby on which another value is in force may not take over. `since`, `before`: the first major
    version that has it, and the first that does not.
    """

    name: str
    part: Part
    why: str
    pinned: str | None = None
    good: tuple[str, ...] = ()
    least: int = 0
    level: str = "critical"
    refused: bool = False
    fit: bool = False
    since: int = 0
    before: int = 1000

    def known(self, version: int) -> bool:
        """A server of this major version has it."""
        return self.since <= version < self.before


CONFIGURED = "(by the configuration)"
GOOD_COMMITS = ("on", "remote_apply")
"""synchronous_commit at which an acknowledged commit is flushed on the standby (manual, 20.5.1)."""
ON, OFF, NOTHING = ("on",), ("off",), ("",)
_TARGET = "recovery would end there: a standby drops, or opens itself after, all that comes later"

TABLE: tuple[Setting, ...] = (
    Setting("listen_addresses", Part.NETWORK, "the addresses come and go while the server runs", CONFIGURED, fit=True),
    Setting("port", Part.NETWORK, "both hosts and clients use this one", CONFIGURED),
    Setting("hot_standby", Part.RECOVERY, "a standby could not be asked, nor read from", "on", ON),
    Setting("wal_log_hints", Part.REPLICATION, "pg_rewind needs it on a cluster without checksums", "on"),
    Setting("restart_after_crash", Part.REPLICATION,
            "re-initialised in place, a primary would show commits that the standby lacks, and nobody looked",
            "off", OFF),
    Setting("synchronous_standby_names", Part.REPLICATION, "pgvip sets and clears it with the pair's record",
            CONFIGURED),
    Setting("synchronized_standby_slots", Part.REPLICATION,
            "no subscriber of a failover slot gets what the standby lacks, and nobody had after a takeover",
            CONFIGURED, since=17),
    Setting("primary_conninfo", Part.REPLICATION, "a standby follows the peer's own address, never a VIP", CONFIGURED),
    Setting("primary_slot_name", Part.REPLICATION, "the peer keeps WAL for this host in it", CONFIGURED),
    Setting("recovery_target_timeline", Part.RECOVERY, "a standby follows its primary through a change of role",
            "latest"),
    Setting("recovery_target", Part.RECOVERY, _TARGET, "", NOTHING, fit=True),
    Setting("recovery_target_lsn", Part.RECOVERY, _TARGET, "", NOTHING, fit=True),
    Setting("recovery_target_name", Part.RECOVERY, _TARGET, "", NOTHING, fit=True),
    Setting("recovery_target_time", Part.RECOVERY, _TARGET, "", NOTHING, fit=True),
    Setting("recovery_target_xid", Part.RECOVERY, _TARGET, "", NOTHING, fit=True),
    Setting("recovery_target_action", Part.RECOVERY, "with promote, a standby would open itself at a target", "pause"),
    Setting("recovery_target_inclusive", Part.RECOVERY, "it belongs to a target", "on"),
    Setting("recovery_min_apply_delay", Part.RECOVERY, "a takeover would wait for the delay", "0", ("0",), fit=True),
    Setting("recovery_end_command", Part.RECOVERY, "a takeover would wait for it, and it may do anything", ""),
    Setting("promote_trigger_file", Part.RECOVERY, "a file of somebody else would open a standby", "", before=16),
    Setting("wal_retrieve_retry_interval", Part.REPLICATION,
            "decides whether a promotion takes 0.05 or 5 s: the startup process sleeps it out", "100ms", ("100",),
            level="warning"),
    Setting("wal_receiver_status_interval", Part.REPLICATION, "a primary sees soon what its standby has", "1s"),
    Setting("wal_receiver_timeout", Part.REPLICATION, "a standby notices soon that its primary is gone", "10s"),
    Setting("max_slot_wal_keep_size", Part.REPLICATION, "the slot of an absent peer must not fill the disk",
            CONFIGURED),
    Setting("idle_replication_slot_timeout", Part.REPLICATION,
            "the slot of an absent peer is bounded in bytes, not in time", "0", since=18),
    Setting("default_transaction_read_only", Part.CLIENTS, "every write of a client would fail on the primary", "off"),
    Setting("archive_mode", Part.ARCHIVE, "pgvip's archive takes each WAL file", "on"),
    Setting("archive_library", Part.ARCHIVE, "it would take the place of archive_command", "", since=15),
    Setting("archive_command", Part.ARCHIVE, "pgvip archive-wal", CONFIGURED),
    Setting("restore_command", Part.ARCHIVE, "pgvip restore-wal, which gets out of the way of a promotion", CONFIGURED),
    Setting("archive_cleanup_command", Part.ARCHIVE, "it may remove WAL that the peer still needs, or hang", ""),
    Setting("wal_level", Part.SAFETY, "a standby and pg_rewind need it", None, ("replica", "logical"), refused=True),
    Setting("fsync", Part.SAFETY, "a power cut would lose or damage data", None, ON, refused=True),
    Setting("full_page_writes", Part.SAFETY, "a power cut would damage data, and pg_rewind needs it", None, ON,
            refused=True),
    Setting("zero_damaged_pages", Part.SAFETY, "damage would be hidden and replicated", None, OFF),
    Setting("synchronous_commit", Part.SAFETY,
            "in sync mode commits would not wait for the standby; pgvip refuses to start such a server",
            None, GOOD_COMMITS, refused=True),
    Setting("max_wal_senders", Part.SAFETY, "the standby, a base backup and a check need one each", None, least=3),
    Setting("max_replication_slots", Part.SAFETY, "the standby needs one", None, least=2),
)  # fmt: skip
"""In the order of pgvip.conf. Not pinned on purpose: `wal_level`, which may be `logical`, the numbers of WAL senders
and slots, whose defaults do, and `wal_sender_timeout`, which belongs to other receivers too (primary_conninfo has it).
"""

COMMIT = "synchronous_commit"
BY_NAME = {setting.name: setting for setting in TABLE}


def pinned(version: int, *, archive: bool) -> tuple[Setting, ...]:
    """What pgvip.conf has for a server of a major version, in its order."""
    return tuple(
        setting
        for setting in TABLE
        if setting.pinned is not None and setting.known(version) and (archive or setting.part is not Part.ARCHIVE)
    )


def judged() -> tuple[Setting, ...]:
    """What a running server is judged by."""
    return tuple(setting for setting in TABLE if setting.good or setting.least)


def of_recovery() -> frozenset[str]:
    """What may end or delay the recovery of a standby, or open it."""
    return frozenset(setting.name for setting in TABLE if setting.part is Part.RECOVERY)


def needed_to_take_over() -> tuple[Setting, ...]:
    """What must be in force on a standby that may take over."""
    return tuple(setting for setting in TABLE if setting.fit)
