"""The warnings of a pair with a witness."""

from __future__ import annotations

from pgvip.core import lease
from pgvip.core.actions import ClaimTerm
from pgvip.core.facts import Facts
from pgvip.core.warning_row import WarningRow


def _lease_over(v: Facts) -> bool:
    return v.primary and v.k.confirmed and not lease.leased(v)


def _barred(v: Facts) -> str:
    """Why this host may not ask for the register of its pair's term, other than for the witness's count."""
    return lease.no_claim(v) if v.pair and not v.k.witness.rolled_back else ""


def _unanswered(v: Facts) -> str:
    """What the last try of an open claim came to."""
    claim, failures = v.k.fencing.claim, v.k.work.failures.get(ClaimTerm)
    return failures.text if claim is not None and not claim.won and failures is not None else ""


def _silent(v: Facts) -> str:
    watch = v.seen.witness
    return watch.reason or "no answer" if lease.witnessed(v) and watch.failures >= 2 else ""


def _other(v: Facts) -> str:
    """The witness that answers, where the record counts another one."""
    watch = v.seen.witness
    if v.record is None or not v.record.witness_id or not watch.ok() or watch.value is None:
        return ""
    return watch.value.witness_id if watch.value.witness_id != v.record.witness_id else ""


WITNESS: tuple[WarningRow[Facts], ...] = (
    WarningRow("lease-over", _lease_over,
               "{peer} has not been heard in time, nor has the witness given {me} the term: {me} does not serve",
               "bring {peer}, the link to it or the witness back: {me} serves again by itself; if none comes back: "
               "pgvip promote --force --without-witness where the right data is", both=True),
    WarningRow("claim-failing", _unanswered, "the witness does not answer the claim of {me}: {it}",
               "pgvip witness status; nothing changes hands before the witness or {peer} answers", both=True),
    WarningRow("claim-barred", _barred, "the witness does not give {me} this term: {it}",
               "bring {peer} back: the term is left by consent then", both=True),
    WarningRow("witness-rolled-back", lambda v: v.k.witness.rolled_back,
               "{it}: it was restored or made anew, and nobody claims",
               "make a new one (pgvip witness init) and configure its id on both hosts", both=True),
    WarningRow("witness-silent", _silent, "the witness does not answer: {it}",
               "pgvip witness status; while both hosts hear each other nobody needs it"),
    WarningRow("witness-differs", _other, "the witness that answers is {it}, and another one counts in this term",
               "see [witness] in the configuration of {me}; which one counts changes by way of solo"),
)  # fmt: skip
"""Beside those of `warnings`."""
