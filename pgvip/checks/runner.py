"""Run checks side by side, each bounded in time; whatever one trips over becomes its finding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from pgvip.checks.check_table import OF_PEER
from pgvip.checks.finding import Finding, Level, critical, unknown
from pgvip.checks.subject import Skipped
from pgvip.deadlines import Deadline
from pgvip.errors import PgvipError
from pgvip.system.sql import NoAnswer
from pgvip.text.writing import moment

if TYPE_CHECKING:
    from pgvip.checks.check_table import Check
    from pgvip.checks.subject import Facts

AT_ONCE = 8
WAIT_S = 2.0
LIMIT_S = 60.0
"""For all together; a fence device may take 40 s."""


def run(
    checks: Sequence[Check], facts: Facts, limit_s: float = LIMIT_S,
    on_wait: Callable[[Sequence[str]], None] = lambda _names: None,
) -> list[Finding]:  # fmt: skip
    """Every check's finding, in the order given. One that hangs is left behind and is UNKNOWN.

    `on_wait`: called every WAIT_S with the checks that have not ended.
    """
    done: SimpleQueue[Finding] = SimpleQueue()
    slots = threading.Semaphore(AT_ONCE)

    def work(check: Check) -> None:
        with slots:
            done.put(replace(one(check, facts), name=check.name))

    for check in sorted(checks, key=lambda check: not check.waits):  # what others do meanwhile costs no time
        threading.Thread(target=work, args=(check,), name=f"check-{check.name}", daemon=True).start()
    found: dict[str, Finding] = {}
    deadline = Deadline.after(limit_s)
    while len(found) < len(checks):
        try:
            finding = done.get(timeout=deadline.sooner_s(WAIT_S))
        except Empty:
            if deadline.expired:
                break
            on_wait([check.name for check in checks if check.name not in found])
            continue
        found[finding.name] = finding
    late = unknown(f"it did not end within {limit_s:g} s", "a disk, a mount or a device hangs: see the other checks")
    return [found.get(check.name, replace(late, name=check.name)) for check in checks]


def one(check: Check, facts: Facts) -> Finding:
    """One check's finding; what cannot be inspected is UNKNOWN with the reason, and never OK."""
    try:
        if check.name in OF_PEER and (at := facts.removed):
            return Finding(Level.OK, f"not checked: {facts.config.peer.name} is removed since {moment(at)}")
        return check.function()(facts)
    except Skipped as skipped:
        return Finding(Level.OK, skipped.message)
    except NoAnswer as failure:
        hint = failure.hint or ("see the checks database and peer" if facts.identity else "")
        return unknown(f"not known: {failure.message}", hint, failure.detail)
    except PgvipError as error:
        if check.name == "daemon" and facts.identity is not None:
            return critical(error.message, error.hint, error.detail)
        return unknown(f"not known: {error.message}", error.hint, error.detail)
    except OSError as failure:
        return unknown(f"not known: {failure}", "run the check as root")
