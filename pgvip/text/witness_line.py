"""What status and the status page say of the witness, in one line."""

from __future__ import annotations

from typing import Any

from pgvip.text.writing import duration


def witness_line(document: dict[str, Any]) -> str:
    """By the `witness` of the status document; "" where there is none.

    >>> witness_line({"witness": {"configured": None, "counts": None}})
    ''
    >>> watched = {"ok": True, "value": "ab", "age_s": 3.0, "reason": ""}
    >>> witness_line({"witness": {"configured": "ab", "counts": "ab", "serial": 4, **watched}})
    'ab answers, 4 terms claimed (asked 3 s ago)'
    >>> witness_line({"witness": {"configured": "ab", "counts": None, "serial": None, **watched}})
    'ab counts when both hosts form a pair again'
    """
    witness = document.get("witness") or {}
    configured, counts = witness.get("configured"), witness.get("counts")
    if not configured and not counts:
        return ""
    if configured != counts:
        text = f"{configured or 'none'} counts when both hosts form a pair again"
        return f"{text}; now {counts}" if counts else text
    if witness["ok"] is None:
        return f"{counts}, not asked yet"
    if not witness["ok"]:
        return f"{counts} does not answer: {witness['reason']}"
    claimed, asked = witness["serial"] or 0, duration(witness["age_s"])
    return f"{witness['value']} answers, {claimed} terms claimed (asked {asked} ago)"
