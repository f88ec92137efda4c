"""What others read of the running daemon, from the newest snapshot and the facts of this moment."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pgvip.core.settings import StandingWarning
from pgvip.daemon.guardian import Guardian
from pgvip.daemon.views import StatusView
from pgvip.errors import LinkError
from pgvip.link.link_state import LinkState
from pgvip.status.snapshot import Newest
from pgvip.web.listeners import HttpState
from tests.unit.core_world import NOW_S, primary
from tests.unit.orders.test_order_table import snapshot_of


def test_the_document_is_of_the_newest_round_and_this_moment() -> None:
    newest = Newest()
    found: dict[str, Any] = {"drill": {"ok": True}, "warnings": (StandingWarning("x", "y", "z"),)}
    guardian = cast("Guardian", SimpleNamespace(armed=True))
    status = StatusView(newest, lambda: LinkState(connected=True), guardian, lambda: found)
    with pytest.raises(LinkError, match="just started"):
        status()
    assert newest.age_s() == math.inf
    newest.put(snapshot_of(primary()))
    status.http = lambda: HttpState(("127.0.0.1:8433",))
    document = status()
    assert document["link"]["connected"] is True
    assert document["http"]["listening"] == ["127.0.0.1:8433"]
    assert document["watchdog"]["armed"] is True
    assert document["drill"] == {"ok": True}
    assert "x" in [one["name"] for one in document["warnings"]]
    assert 5e6 < document["process"]["memory_bytes"] < 1e9
    assert document["process"]["cpu_seconds"] > 0
    rounds = document["loop"]["rounds"]
    snapshot = snapshot_of(primary(), NOW_S + 1.0)
    snapshot.stats.rounds = rounds + 7
    newest.put(snapshot)
    assert status()["loop"]["rounds"] == rounds + 7
