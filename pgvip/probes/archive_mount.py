"""Whether the peer's WAL archive is mounted here and its server answers, or is given by the peer's daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.archive import peer_fetch
from pgvip.archive.packing import ArchiveFailed
from pgvip.errors import MountError, ProbeError
from pgvip.system import mounts

if TYPE_CHECKING:
    from pgvip.config.model import Config


def probe(config: Config) -> bool:
    """True when it is mounted and answers; False when nothing is mounted there.

    ProbeError when it is mounted and does not answer in time. Looks through a child process; one that hangs is
    not joined by another. Over the link: True when the peer's daemon answers for it, False when it is not connected,
    else ProbeError.
    """
    archive = config.archive
    if archive.by_link:
        try:
            return peer_fetch.ping(config.paths.archive_socket, archive.timeout_s)
        except (OSError, ArchiveFailed) as failure:
            raise ProbeError(str(failure)) from failure
    if archive.mount_type and mounts.mounted(archive.peer_mount) is None:
        return False
    try:
        mounts.answers(archive.peer_mount, archive.timeout_s)
    except MountError as failure:
        raise ProbeError("the peer's archive does not answer", str(failure).replace("\n", "; ")) from failure
    return True
