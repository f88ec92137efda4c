"""Who served while pgvip only observed (`pair.mode = "observe"`): read before this host acts again.

Whoever runs the pair meanwhile may have moved the role. The record on disk does not know of it, and a daemon that acted
on it would stop the server that clients use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pgvip.errors import FormatError, RecordError
from pgvip.state import codec, files

NAME = "observed.json"
BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Observed:
    """The host that was seen to serve last, and since when (wall clock); "" for nobody."""

    primary: str = ""
    at: str = ""


def load_observed(state: Path) -> Observed | None:
    """What was kept; None where pgvip has not observed since it acted last. RecordError when it cannot be read."""
    path = state / NAME
    try:
        return codec.from_json(Observed, files.read(path, BYTES_MAX))
    except FileNotFoundError:
        return None
    except (OSError, FormatError) as failure:
        hint = f"If the record names the host that serves now (pgvip status), remove {path}."
        raise RecordError(f"could not read {path}", f"{failure}.", hint) from failure


def save_observed(state: Path, observed: Observed) -> None:
    """Keep it. RecordError."""
    path = state / NAME
    try:
        files.write(path, codec.to_json(observed))
    except OSError as failure:
        raise RecordError(f"could not write {path}", f"{failure}.") from failure


def forget_observed(state: Path) -> None:
    """This host acts again."""
    try:
        (state / NAME).unlink(missing_ok=True)
    except OSError as failure:
        raise RecordError(f"could not remove {state / NAME}", f"{failure}.") from failure
