"""What is in force where nothing is configured."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from pgvip.core.settings import Settings
from pgvip.core.values import Override
from tests.unit.core_world import settings

WITNESS = {"lease_s", "lease_stop_s", "claim_s", "clock_margin"}
"""Those of a pair with a witness: what is told of them follows the times of detection."""
SAMPLE = Path(__file__).parents[3] / "conf" / "pgvip.toml"


def test_what_operators_are_told_of_the_defaults_is_what_the_core_takes() -> None:
    sample = SAMPLE.read_text(encoding="utf-8").partition("\n[monitor]")[0]  # which has an interval_s of its own
    told = dict(re.findall(r"^# (\w+) = ([\d.]+)", sample, re.MULTILINE))
    default = settings()
    names = [field.name for field in fields(Settings) if isinstance(field.default, int | float)]
    names = [name for name in names if name not in WITNESS]
    numbers = [name for name in names if not isinstance(getattr(default, name), bool)]
    assert {name: float(told[name]) for name in numbers} == {name: float(getattr(default, name)) for name in numbers}


def test_what_is_not_configured_is_in_force() -> None:
    default = settings()
    assert (default.sync, default.fencing, default.rejoin_clone, default.archive) == (True, True, True, True)
    assert (default.override, default.peer_override) == (Override.AUTO, Override.AUTO)
    assert (default.digest, default.version) == ("", "")
