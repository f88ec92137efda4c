"""What operators order of the peer's power: off, by a claim where its role is affected, so that it stays off; or on.

An order gives no right: where powering the peer off changes the record, the table's rows by fence ask for the ordinary
one. Only a primary that serves alone may switch the other off without a claim, since nothing changes hands.
"""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import Fence, PowerOn, Subject
from pgvip.core.changes import TIME_TO_CONSENT
from pgvip.core.removed_peer import removed
from pgvip.core.rights import write_right
from pgvip.core.round import Round
from pgvip.core.values import NEVER


def orders(r: Round) -> None:
    """Write down whether the peer is to stay off; drop what could not be begun in time."""
    v, k = r.facts(), r.k
    order = k.orders.fence_order
    if order is not None and k.fencing.claim is None and r.now_s >= order.until_s:
        order = None
        k.orders = replace(k.orders, fence_order=None)
        r.note("fence-order-dropped", "the ordered fence of the peer could not be begun in time")
    if k.orders.power_order_until_s > NEVER and r.now_s >= k.orders.power_order_until_s:
        k.orders = replace(k.orders, power_order_until_s=NEVER)
        r.note("power-order-dropped", "the peer could not be switched on in time, as an operator ordered")
    wanted = k.durable.kept_off
    if order is not None:
        wanted = order.off
    elif k.orders.power_order_until_s > NEVER:
        wanted = False
    elif not v.is_running(Fence) and not k.power.peer_off and v.message is not None:
        wanted = False  # it runs: the fence failed, or somebody switched it on
    if wanted != k.durable.kept_off:
        r.write(replace(k.durable, kept_off=wanted))


def off(r: Round) -> None:
    """A primary that serves alone powers the other host off, as ordered."""
    v, k = r.facts(), r.k
    order = k.orders.fence_order
    if order is None or not k.durable.kept_off or k.fencing.claim is not None or k.intent.writing is not None:
        return
    if not (v.solo and write_right(v)) or not r.s.fencing or v.is_running(PowerOn) or removed(v):
        return
    cleared = v.database is not None and not v.database.sync_names and not v.stale(v.seen.database, Subject.NAMES)
    if not cleared and TIME_TO_CONSENT.test(v):
        return  # commits would wait for the one that loses its power
    if r.start(Fence(r.attempt())):
        k.orders = replace(k.orders, fence_order=None)
        k.power = replace(k.power, fence_s=r.now_s)
        r.note("power-off", f"powering {r.s.peer} off, as an operator ordered")
