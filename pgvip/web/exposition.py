"""The text format of Prometheus, version 0.0.4: families of samples in, text out. Pure.

(prometheus.io, "Exposition formats".) Our own dozen lines, since the client library costs 13 MB in the daemon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Family:
    """One metric: its samples by labels. `kind`: gauge or counter. A value of None is not known, and left out."""

    name: str
    kind: str
    text: str
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def add(self, value: object, **labels: str) -> None:
        """Add one sample; booleans become 0 and 1."""
        if value is None:
            return
        assert isinstance(value, bool | int | float), f"{self.name}: {value!r}"
        self.samples.append((labels, float(value)))


def expose(families: Iterable[Family], common: Mapping[str, str]) -> str:
    """Write all families that have a sample; `common`: labels of every one."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        lines += [f"# HELP {family.name} {_help(family.text)}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels({**common, **labels})} {number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def number(value: float) -> str:
    """Write a value.

    >>> number(3.0), number(0.25), number(float("inf"))
    ('3', '0.25', '+Inf')
    """
    if math.isinf(value) or math.isnan(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items()) + "}"


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _help(text).replace('"', '\\"')
