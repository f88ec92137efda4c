"""The operator's alert hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import ActionError, CommandError
from pgvip.system.commands import check

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def call(hook: Path, event: str, env: Mapping[str, str], timeout_s: float) -> None:
    """Call the hook with the event's name; `env` goes along as PGVIP_* variables (keys in any case).

    ActionError when it fails or is not over in time; nothing depends on its success.
    """
    words = {f"PGVIP_{key.upper()}": value.replace("\0", "") for key, value in env.items()}
    try:
        check([hook, event], timeout_s=timeout_s, env=words | {"PGVIP_EVENT": event})
    except CommandError as failure:
        raise ActionError(f"alert hook failed for event {event}", str(failure).replace("\n", "; ")) from failure
