"""A configuration for tests of one host: `make(tmp_path, ...)`."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from pgvip.config.model import ArchiveConfig, Config, Host, PostgresConfig
from pgvip.config.paths import Paths
from pgvip.core.settings import Settings
from pgvip.core.values import Vip

if TYPE_CHECKING:
    from pathlib import Path


def make(root: Path, **changes: Any) -> Config:
    """Everything below `root`; this host is `berlin` at 10.9.0.1, the peer `paris` at 10.9.0.2."""
    data = root / "data"
    config = Config(
        name="test",
        me=Host("berlin", "10.9.0.1", "eth0"),
        peer=Host("paris", "10.9.0.2", "eth0"),
        vips={Vip.PRIMARY: ip_interface("10.9.0.100/32"), Vip.STANDBY: ip_interface("10.9.0.101/32")},
        postgres=PostgresConfig(data, root / "bin", data, root, user="nobody"),
        settings=Settings("berlin", "paris", me_first=True),
        gateways=("10.9.0.2",),
        archive=ArchiveConfig(peer_mount=root / "peer", directory=root / "archive", timeout_s=2.0),
        paths=Paths(root / "state", root / "run", root / "pgpass"),
    )
    return replace(config, **changes)
