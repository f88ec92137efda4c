"""Adopting a record that was heard: whatever it takes from this host is given up first, verified."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core import consent, fencing
from pgvip.core.rights import keeps_standby_vip, takes_from_me
from pgvip.core.round import Round
from pgvip.core.values import Mode, Vip


def adopt(r: Round) -> None:
    """Adopt a higher record that was heard, after giving up whatever it takes, verified."""
    v = r.facts()
    target = v.higher
    if target is None or r.k.intent.writing is not None:
        return
    if r.k.fencing.claim is not None:
        fencing.end_claim(r, "a higher term was heard")
    if r.k.consent.giving_up is not None:
        r.k.consent = replace(r.k.consent, giving_up=None)
    lost = target.primary != r.s.me
    if lost and not consent.give_up_writing(r, clean=False):
        return
    taken = () if keeps_standby_vip(target, r.s.me) else ((Vip.PRIMARY, Vip.STANDBY) if lost else (Vip.STANDBY,))
    if not consent.give_up_addresses(r, taken):
        return
    durable = r.k.durable
    hold = durable.hold
    if takes_from_me(r.facts(), target):
        hold = f"term {target.term} took the role from this host without its consent, after it had served"
    stays = not lost and v.primary
    r.write(
        replace(
            durable,
            record=target,
            served=durable.served and stays,
            complete=durable.complete and stays,
            hold=hold,
            handbacks=0 if target.mode is Mode.PAIR else durable.handbacks,
            removed=durable.removed if stays else "",
        )
    )
