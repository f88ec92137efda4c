"""`scripts/bench`: what it makes of logs and of /proc."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.chaos.timeline import from_log
from tests.lab.bench import cpu_s, medians, parts_of, pss_mb, table, writes_again_s

LOG = """\
2026-11-30 14:55:20.000+00:00 record: term 2->4 pair(alpha): pair
2026-11-30 14:55:23.600+00:00 peer-silent: the primary does not answer
2026-11-30 14:55:23.610+00:00 claim: take over by fence
2026-11-30 14:55:23.900+00:00 done: power the peer off (280 ms)
2026-11-30 14:55:23.950+00:00 record: term 4->5 solo(beta)
2026-11-30 14:55:24.000+00:00 done: promote PostgreSQL (40 ms)
2026-11-30 14:55:24.050+00:00 done: raise the standby VIP (10 ms)
2026-11-30 14:55:24.100+00:00 done: raise the primary VIP (10 ms)
"""


def test_the_parts_of_an_outage_are_the_first_lines_after_the_fault() -> None:
    events = list(from_log("beta", LOG, 0.0))
    struck_s = events[0].at_s + 1
    assert parts_of(events, struck_s, struck_s + 3.2) == {
        "found": 2.6, "claim": 2.61, "fence": 2.9, "record": 2.95, "promoted": 3.0, "address": 3.1, "first write": 3.2,
    }  # fmt: skip
    assert parts_of(events, struck_s, struck_s + 0.1) == {"first write": 0.1}


def test_the_outage_ends_where_the_longest_gap_does() -> None:
    assert writes_again_s([1.0, 1.1, 1.2, 3.0, 3.1], 1.15) == 3.0
    assert writes_again_s([], 1.0) == 1.0


def test_a_child_that_ended_is_counted() -> None:
    before = cpu_s([os.getpid()])
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    assert cpu_s([os.getpid()]) - before >= 0.15  # whole ticks
    assert pss_mb([os.getpid()]) > 1
    assert cpu_s([1 << 30]) == pss_mb([1 << 30]) == 0


def round_with(outage_s: float, load: float) -> dict[str, object]:
    fault = {"fault": "switchover", "write_outage_s": outage_s, "healthy_after_s": 4.0, "parts": {"claim": 0.1}}
    rest = {"alpha": {"daemon_percent": 0.5, "pss_mb": 44.0}, "beta": {"daemon_percent": 0.7, "pss_mb": 43.0}}
    return {"faults": [fault], "rest": rest, "commands_s": {"pgvip check": 0.9}, "load_before": load, "wrong": [],
            "longest_round_ms": 20.0}  # fmt: skip


def test_checkouts_stand_beside_each_other() -> None:
    now = medians([round_with(0.3, 1.0), round_with(0.2, 1.0), round_with(0.9, 2.0)])
    assert table({"here": now, "against": medians([round_with(0.5, 1.5)])}, 3) == [
        "| median of 3 | here | against |",
        "|---|---|---|",
        "| switchover: write outage, s | 0.3 | 0.5 |",
        "| switchover: healthy again, s | 4 | 4 |",
        "| switchover: - claim | 0.1 | 0.1 |",
        "| daemon at rest, % of a core | 0.7 | 0.7 |",
        "| memory (PSS), MB | 44 | 44 |",
        "| pgvip check, s | 0.9 | 0.9 |",
        "| longest round, ms | 20 | 20 |",
        "| load of the machine | 1 | 1.5 |",
    ]
