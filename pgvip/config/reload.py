"""What a reload changes: which keys, from what to what in the words of the file, and which of them need a restart."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.config.safeguards import with_witness
from pgvip.config.toml import toml
from pgvip.core.settings import misfit

if TYPE_CHECKING:
    from pgvip.config.model import Config


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value differs. `key`: of `Config`; `written`: of the file; `old`, `new`: as the file has them."""

    key: str
    written: str
    old: str
    new: str

    def __str__(self) -> str:
        if self.old == self.new:
            return f"{self.written}: changed in what is not shown"
        return f"{self.written}: {self.old} -> {self.new}"


_RELOADABLE = (
    "settings.",
    "gateways",
    "vips",
    "overlap_s",
    "rejoin.",
    "hooks.",
    "notify.",
    "http.",
    "monitor.",
    "log.",
    "archive.timeout_s",
    "archive.mount_options",
    "archive.compress",
    "archive.destinations",
    "archive.clean",
    "archive.keep_days",
    "archive.keep_max_mb",
    "backup.",
    "postgres.start_timeout_s",
    "postgres.stop_timeout_s",
    "postgres.promote_timeout_s",
    "postgres.keep_access",
    "postgres.tls_wanted",
    "postgres.tls_authority",
    "me.role",
    "me.fencing",
    "me.certificate_name",
    "me.address",
    "me.network",
    "me.interface",
    "peer.address",
    "peer.network",
    "peer.interface",
    "peer.role",
    "peer.fencing",
    "peer.certificate_name",
    "max_slot_wal_keep_mb",
    "shutdown_handover_s",
)
_FIXED = {"settings.me", "settings.peer", "settings.me_first"}
_DERIVED = {
    *("settings.digest", "settings.version", "file", "former_vips", "former_addresses"),
    *("settings.archive", "settings.archive_mounted"),
    *("settings.watchdog_required", "settings.rejoin_clone", "settings.fencing"),
    *("settings.override", "settings.peer_override"),
    *("postgres.tls", "postgres.tls_also"),
    *(f"settings.{name}" for name in ("witness_id", "lease_s", "lease_stop_s", "claim_s", "clock_margin")),
}
"""Nobody writes these: they follow from keys that are named themselves."""
_SECTIONS = {
    "postgres": "postgresql",
    "vips": "addresses",
    "name": "pair.name",
    "mode": "pair.mode",
    "gateways": "gateway.targets",
    "link_port": "link.port",
    "valid_lft_s": "addresses.valid_lft_s",
    "overlap_s": "addresses.overlap_s",
    "max_slot_wal_keep_mb": "replication.max_slot_wal_keep_mb",
    "shutdown_handover_s": "timing.shutdown_handover_s",
}
_SETTINGS = {
    "sync": "replication.mode",
    "lag_bytes_max": "replication.lag_bytes_max",
    "lag_s_max": "replication.lag_s_max",
    "sync_stall_s": "replication.sync_stall_s",
    "veto_timeout_s": "hooks.veto_timeout_s",
}
"""The settings of the core that are not in [timing]."""


def changes(old: Config, new: Config) -> tuple[list[Change], list[Change]]:
    """What differs: (what SIGHUP can change while running, what needs a restart of the daemon)."""
    before, after = _flat(old), _flat(new)
    applicable: list[Change] = []
    refused: list[Change] = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key) or key in _DERIVED:
            continue
        change = Change(key, _written(key, old), _shown(key, before.get(key)), _shown(key, after.get(key)))
        can = key.startswith(_RELOADABLE) and key not in _FIXED
        (applicable if can else refused).append(change)
    return applicable, refused


def reloaded(old: Config, new: Config) -> Config:
    """The running configuration after SIGHUP: `new` where that is possible, `old` elsewhere."""
    hosts = {
        name: dataclasses.replace(now, name=was.name, data_directory=was.data_directory)
        for name, was, now in (("me", old.me, new.me), ("peer", old.peer, new.peer))
    }
    postgres = dataclasses.replace(
        old.postgres,
        start_timeout_s=new.postgres.start_timeout_s,
        stop_timeout_s=new.postgres.stop_timeout_s,
        promote_timeout_s=new.postgres.promote_timeout_s,
        keep_access=new.postgres.keep_access,
        tls=new.postgres.tls,
        tls_also=new.postgres.tls_also,
        tls_wanted=new.postgres.tls_wanted,
        tls_authority=new.postgres.tls_authority,
    )
    archive = dataclasses.replace(
        new.archive,
        enabled=old.archive.enabled,
        directory=old.archive.directory,
        peer_archive=old.archive.peer_archive,
        port=old.archive.port,
        peer_mount=old.archive.peer_mount,
        mount_type=old.archive.mount_type,
        mount_source=old.archive.mount_source,
    )
    settings = dataclasses.replace(
        new.settings,
        me=old.settings.me,
        peer=old.settings.peer,
        me_first=old.settings.me_first,
        archive=old.settings.archive,
        archive_mounted=old.settings.archive_mounted,
        watchdog_required=old.settings.watchdog_required,
        witness_id=old.settings.witness_id,
        lease_s=old.settings.lease_s,
        lease_stop_s=old.settings.lease_stop_s,
        claim_s=old.settings.claim_s,
    )
    return dataclasses.replace(
        old,
        me=hosts["me"],
        peer=hosts["peer"],
        postgres=postgres,
        archive=archive,
        backup=new.backup,
        settings=settings,
        vips=new.vips,
        overlap_s=new.overlap_s,
        gateways=new.gateways,
        rejoin=new.rejoin,
        hooks=new.hooks,
        notify=new.notify,
        http=new.http,
        monitor=new.monitor,
        log=new.log,
        max_slot_wal_keep_mb=new.max_slot_wal_keep_mb,
        shutdown_handover_s=new.shutdown_handover_s,
    )


def unfit(config: Config) -> str:
    """Why a configuration that `reloaded` gave must not hold; "" where it may.

    The lease of a witness stays until a restart, so what it depends on must still fit it.
    """
    settings = config.settings
    if not settings.witness_id:
        return ""
    stop_s = with_witness(settings, config).lease_stop_s
    if stop_s > settings.lease_stop_s:
        return f"a host that hangs would need {stop_s:g} s to stop, and lease_stop_s = {settings.lease_stop_s:g} holds"
    return misfit(settings)[0]


def _flat(config: Config) -> dict[str, object]:
    """Every value under its dotted name."""
    flat: dict[str, object] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for inner in dataclasses.fields(value):
                flat[f"{field.name}.{inner.name}"] = getattr(value, inner.name)
        elif isinstance(value, dict):
            flat.update({f"{field.name}.{key.value}": entry for key, entry in value.items()})
        else:
            flat[field.name] = value
    return flat


def _written(key: str, config: Config) -> str:
    """What the file calls a key of `Config`."""
    section, _, name = key.partition(".")
    if section in ("me", "peer"):
        host = f"hosts.{getattr(config, section).name}"
        return f"{host}.address (network)" if name == "network" else f"{host}.{name}"
    if section == "settings":
        return _SETTINGS.get(name, f"timing.{name}")
    if key == "postgres.tls_wanted":
        return "postgresql.tls"
    return ".".join(filter(None, (_SECTIONS.get(section, section), name)))


def _shown(key: str, value: object) -> str:
    if key == "settings.sync":
        value = "sync" if value else "async"
    if key.endswith(".fencing"):
        value = value or "none"
    return toml(value)
