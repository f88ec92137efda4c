"""JSON text that came from elsewhere, read without trust. Kept apart: the commands must start fast."""

from __future__ import annotations

import json
from typing import Any

from pgvip.errors import LinkError


def parse(text: str | bytes) -> Any:
    """Parse JSON text; LinkError for all that is not JSON (NaN, endless nesting and endless digits included)."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise LinkError("not a JSON message", f"{error}.") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
