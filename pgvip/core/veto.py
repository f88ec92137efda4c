"""The veto hooks before a takeover by fence: asked as its wait begins, heeded, and not waited for beyond the limit."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import AskVeto
from pgvip.core.changes import NOT_VETOED, Change
from pgvip.core.knowledge import Veto
from pgvip.core.round import Round
from pgvip.core.values import NEVER


def permitted(r: Round, row: Change) -> bool:
    """No veto hook stands against what `row` is about to do.

    Whoever has not answered within `veto_timeout_s` has nothing against it: a hook that hangs prevents no failover.
    """
    k = r.k
    if NOT_VETOED not in row.when or not r.inputs.seen.veto.value:
        return True
    veto = k.fencing.veto
    if veto is None or veto.since_s != k.fencing.waiting_since_s:
        veto = Veto(r.attempt(), k.fencing.waiting_since_s, refused=veto.refused if veto else "")
        k.fencing = replace(k.fencing, veto=veto)
        r.start(AskVeto(veto.attempt))
    if not veto.allowed and r.now_s - veto.since_s >= r.s.veto_timeout_s:
        veto = replace(veto, allowed=True, refused="")
        k.fencing = replace(k.fencing, veto=veto)
        r.note("veto-late", f"no answer of the veto hooks within {r.s.veto_timeout_s:g} s: {row.name} goes on")
    return veto.allowed


def answered(r: Round, attempt: str, refused: str) -> None:
    """They have answered; `refused`: who is against it, and why. Who answers too late is not heard."""
    veto = r.k.fencing.veto
    if veto is None or veto.attempt != attempt or veto.allowed:
        return
    again_s = r.now_s + r.s.fence_retry_s if refused else NEVER
    veto = replace(veto, allowed=not refused, refused=refused, until_s=again_s)
    r.k.fencing = replace(r.k.fencing, veto=veto)
