"""Where the local daemon listens, found without reading the whole configuration.

So `status` and the orders start fast, and still reach a daemon whose file was broken since it started.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

RUN = "/run/pgvip"
"""The same defaults as config.Paths and config_load, which take ten times as long to import; a test compares them."""
STATE = "/var/lib/pgvip"
FILE = "/etc/pgvip/pgvip.toml"


def daemon_socket(args: argparse.Namespace) -> Path:
    """Path of the operator's socket. ConfigError when the file says nothing usable."""
    return _path(args, "run", RUN) / "pgvip.sock"


def state_directory(args: argparse.Namespace) -> Path:
    """Where this host keeps what outlives a reboot. ConfigError when the file says nothing usable."""
    return _path(args, "state", STATE)


def _path(args: argparse.Namespace, key: str, default: str) -> Path:
    """One key of the section [paths]."""
    file = Path(args.config or os.environ.get("PGVIP_CONFIG") or FILE)
    try:
        paths = tomllib.loads(file.read_text(encoding="utf-8")).get("paths", {})
        found = paths.get(key, default) if isinstance(paths, dict) else None
    except (OSError, ValueError, RecursionError):  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        found = None
    if isinstance(found, str):
        return Path(found)
    from pgvip.config.load import load  # noqa: PLC0415 - slow to import; it knows the words for what is wrong

    return Path(getattr(load(args.config, args.host).paths, key))
