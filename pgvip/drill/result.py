"""What a drill found: kept in the state directory for `status` and for auditors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgvip.errors import ActionError, FormatError
from pgvip.state import codec, files

BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Switched:
    """One switchover as the client saw it. `usual_s`: its longest gap before; `ready_s`: until the pair was whole."""

    old: str
    new: str
    outage_s: float
    usual_s: float
    ready_s: float


@dataclass(slots=True)
class Result:
    """What the drill found."""

    at: str
    outage_max_s: float
    rows: int = 0
    lost: int = 0
    ok: bool = False
    failure: str = ""
    switchovers: list[Switched] = field(default_factory=list)


def keep(path: Path, result: Result) -> None:
    """Keep it, durably. ActionError when that fails."""
    try:
        files.write(path, codec.to_text(result), mode=0o640)
    except OSError as failure:
        raise ActionError(f"could not write {path}", f"{failure}.") from failure


def last(path: Path) -> dict[str, Any] | None:
    """What the last drill on this host found, as JSON has it; None without one, or when the file is not readable."""
    try:
        found: dict[str, Any] = codec.encode(codec.from_file(Result, path, max_bytes=BYTES_MAX))
    except (OSError, FormatError):
        return None
    return found
