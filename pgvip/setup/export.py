"""The NFS export of this host's archive: one file of pgvip's own in /etc/exports.d, for the peer alone, read-only.

The peer's mount asks for NFS version 4 first and takes 3 where the server has no other (nfs(5), `nfsvers`).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import CommandError, MountError
from pgvip.state import files
from pgvip.system import pgtools
from pgvip.system.commands import check

if TYPE_CHECKING:
    from pgvip.config.model import Config

FILE = Path("/etc/exports.d/pgvip.exports")
EXPORTFS_S = 20.0
FSID = 8432
"""The same export after a restore or a new disk keeps working mounts."""


def line(config: Config) -> str:
    """Write the export as in exports(5): whoever asks from the peer's address reads as PostgreSQL's user."""
    owner = pgtools.account(config)
    options = f"ro,sync,no_subtree_check,all_squash,anonuid={owner.pw_uid},anongid={owner.pw_gid},fsid={FSID}"
    path = re.sub(r'[\s"\\#]', lambda found: f"\\{ord(found[0]):03o}", str(config.archive.directory))
    return f"{path} {config.peer.address}({options})"


def text(config: Config) -> str:
    """Write the whole file."""
    head = f"# Written by pgvip (--exports, or pgvip archive export): the WAL archive, for {config.peer.name} alone."
    return f"{head}\n{line(config)}\n"


def is_current(config: Config, file: Path = FILE) -> bool:
    """True when the file says so already."""
    return file.exists() and file.read_text(encoding="utf-8", errors="replace") == text(config)


def export(config: Config, file: Path = FILE) -> None:
    """Write the file and have the NFS server read it; done already is fine. MountError when that fails."""
    if shutil.which("exportfs", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        hint = "Install it (Debian: nfs-kernel-server, RHEL: nfs-utils), then run pgvip archive export."
        raise MountError("there is no NFS server on this host (exportfs is missing)", hint=hint)
    try:
        if not is_current(config, file):
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            files.write(file, text(config), mode=0o644)
        check(["exportfs", "-ra"], timeout_s=EXPORTFS_S)
        said = check(["exportfs", "-v"], timeout_s=EXPORTFS_S).stdout
    except OSError as failure:
        raise MountError(f"could not write {file}", f"{failure}.") from failure
    except CommandError as failure:
        raise MountError("could not put the export in force", str(failure), f"It is written in {file}.") from failure
    if str(config.archive.directory) not in said:
        what, detail = "the archive is not exported although exportfs succeeded", f"exportfs -v says: {said.strip()}"
        raise MountError(what, detail, "See that the NFS server runs: systemctl enable --now nfs-server")
