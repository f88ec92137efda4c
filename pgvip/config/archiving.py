"""The sections [archive] and [backup] of the configuration file: TOML tables → typed values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgvip.config.model import ArchiveConfig, ArchiveDestination, BackupConfig
from pgvip.config.read import REQUIRED, Table

if TYPE_CHECKING:
    from pathlib import Path

COMPRESS = ("none", "zstd", "lz4", "gzip")
"""As in archive.packing; a test compares them."""

NAME = re.compile(r"[a-z0-9_-]{1,40}")
"""It becomes a file's name."""

_DESTINATIONS_HINT = (
    'Write a list, [{ name = "far", directory = "/mnt/far", compress = "zstd" }, '
    '{ name = "store", command = ["/usr/local/bin/put", "%p", "%f"] }].'
)


def read_archive(table: Table) -> ArchiveConfig:
    """The [archive] section."""
    default = ArchiveConfig()
    archive = ArchiveConfig(
        enabled=table.flag("enabled", default.enabled),
        directory=table.path("directory", default.directory, str(default.directory)),
        peer_archive=table.choice("peer_archive", default.peer_archive, ["nfs", "link"]),
        port=table.whole("port", default.port, 1, 65535),
        peer_mount=table.path("peer_mount", default.peer_mount, str(default.peer_mount)),
        mount_type=table.text("mount_type", default.mount_type, "nfs"),
        mount_source=table.text("mount_source", default.mount_source, default.mount_source),
        mount_options=table.text("mount_options", default.mount_options, default.mount_options),
        timeout_s=table.number("timeout_s", default.timeout_s, 0.5, 600.0),
        compress=table.choice("compress", default.compress, COMPRESS),
        destinations=read_destinations(table),
        clean=table.choice("clean", default.clean, ["auto", "never"]),
        keep_days=table.number("keep_days", default.keep_days, 0.0, 36500.0),
        keep_max_mb=table.whole("keep_max_mb", default.keep_max_mb, 0, 1 << 40),
    )
    table.finish()
    return archive


def read_destinations(table: Table) -> tuple[ArchiveDestination, ...]:
    """The further archives, each with a name of its own."""
    value = table.take("destinations", [], _DESTINATIONS_HINT)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        table.bad("destinations", "is not a list of destinations", _DESTINATIONS_HINT)
        return ()
    found = tuple(
        read_destination(Table(f"{table.key}.destinations[{number}]", entry, table.problems))
        for number, entry in enumerate(value, 1)
    )
    names = [one.name for one in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        table.bad("destinations", f'"{name}" is there twice', "Give each destination a name of its own.")
    return found


def read_destination(table: Table) -> ArchiveDestination:
    """One further archive: a directory, or a command."""
    default = ArchiveDestination("")
    name = table.text("name", REQUIRED, "far")
    if name and (not NAME.fullmatch(name) or name == "archive"):
        table.bad("name", "is not a usable name", 'Write small letters, digits, _ and -; not "archive", the first one.')
    command = _command(table, "command", '["/usr/local/bin/put", "%p", "%f"]')
    restore = _command(table, "restore", '["/usr/local/bin/get", "%f", "%p"]')
    one = ArchiveDestination(
        name=name,
        directory=table.optional_path("directory", "/mnt/far/wal"),
        command=command,
        restore=restore,
        compress=table.choice("compress", default.compress, COMPRESS),
        required=table.flag("required", default.required),
        timeout_s=table.number("timeout_s", default.timeout_s, 0.5, 3600.0),
    )
    if bool(one.directory) == bool(one.command):
        table.bad("name", "has neither a directory nor a command, or both", "Give the destination one of the two.")
    if one.command and one.compress != "none":
        table.bad("compress", "does not go with a command", "Let the command compress; it gets the plain file.")
    if one.directory and one.restore:
        table.bad("restore", "does not go with a directory", "Remove it: pgvip reads the directory itself.")
    table.finish()
    return one


def _command(table: Table, key: str, example: str) -> tuple[str, ...]:
    """The words of a command, absolute in the first; () when the key is absent."""
    if not table.given(key):
        table.known.append(key)
        return ()
    words = table.words(key, example)
    if words and not words[0].startswith("/"):
        table.bad(key, "does not begin with an absolute path", f"Write {key} = {example}.")
    if words and not any("%p" in word for word in words):
        table.bad(key, "does not name the file (%p)", f"Write {key} = {example}.")
    return words


def read_backup(table: Table, archive: Path) -> BackupConfig:
    """The [backup] section; backups lie beside the WAL unless it says otherwise, so that the peer can read them."""
    default = BackupConfig()
    backup = BackupConfig(
        directory=table.path("directory", archive / "backups", "/var/lib/pgvip/archive/backups"),
        keep=table.whole("keep", default.keep, 0, 1000),
        keep_days=table.number("keep_days", default.keep_days, 0.0, 36500.0),
        bandwidth_mb_s=table.whole("bandwidth_mb_s", default.bandwidth_mb_s, 0, 1024),
        timeout_s=table.number("timeout_s", default.timeout_s, 60.0, 30 * 86400.0),
        max_age_days=table.number("max_age_days", default.max_age_days, 0.0, 3650.0),
    )
    table.finish()
    return backup
