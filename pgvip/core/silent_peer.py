"""What is said of a peer whose daemon is silent: why that is so, where it is known, and what fits it."""

from __future__ import annotations

from pgvip.core.facts import Facts

INIT = "pgvip init"
"""The cause of a pair's first record, which one host makes alone."""


def silence(v: Facts) -> dict[str, str] | None:
    """`text` and `hint`; None while the peer is heard."""
    if v.message is not None:
        return None
    peer, power, heard = v.s.peer, v.k.power, v.k.peer.heard
    if v.k.durable.kept_off:
        return _said("powered off, by an operator's order", f"pgvip fence on switches {peer} on")
    if power.peer_off:
        hint = "it is switched on again by itself; if it does not come back, see its console and its power"
        return _said("powered off: this host has fenced it", hint)
    if heard is None and not v.k.peer.met and v.record is not None and v.record.cause == INIT:
        hint = f"pgvip clone on {peer}, with the bundle of pgvip init; then start pgvip there"
        return _said("not set up yet, or pgvip has not been started there", hint)
    if heard is not None and heard.message.leaving:
        return _said("shut down in order", f"start {peer} when it is to serve again")
    return {"text": "the peer's daemon does not answer", "hint": "systemctl status pgvip on the peer"}


def _said(state: str, hint: str) -> dict[str, str]:
    return {"text": f"the peer is {state}", "hint": hint}
