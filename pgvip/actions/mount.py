"""Mounting the peer's WAL archive; a dead server hangs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.system import mounts

if TYPE_CHECKING:
    from pgvip.config.model import Config


def mount(config: Config) -> None:
    """Mount the peer's export; done already is fine. MountError when it is not there afterwards.

    Without a `mount_type` nothing is mounted: the administrator has arranged for it.
    """
    archive = config.archive
    if not archive.enabled or archive.by_link or not archive.mount_type:
        return
    words = {"peer": config.peer.address, "directory": str(archive.directory)}
    source = archive.mount_source.format(**words)
    mounts.mount(archive.mount_type, source, archive.mount_options, archive.peer_mount, archive.timeout_s)


def unmount(config: Config) -> None:
    """Drop the mount lazily, dead or alive; none there is fine. MountError when it is still there."""
    if config.archive.enabled and not config.archive.by_link and config.archive.mount_type:
        mounts.unmount(config.archive.peer_mount, config.archive.timeout_s)
