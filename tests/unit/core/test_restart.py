"""What outlives a daemon, and what one that starts does not know."""

from __future__ import annotations

import pytest

from pgvip.core.decide import begin, boot_facts
from pgvip.core.knowledge import Knowledge
from pgvip.core.messages import AddressFree
from pgvip.core.settings import Identity
from pgvip.core.values import NEVER, BootFacts, Durable, Role
from tests.knowing import PART_OF
from tests.unit.core_world import NOW_S, grant, record, standby


def test_what_is_kept_of_a_boot_is_what_this_host_had() -> None:
    assert boot_facts(standby().k) == BootFacts(True, 4, grant("b"), 4, NEVER, met=True)
    unconfirmed = standby().knows(confirmed=False, address=None, doubt_s=5.0, fence_s=7.0, met=False)
    assert boot_facts(unconfirmed.k) == BootFacts(False, 0, grant("b"), -1, 7.0)
    assert boot_facts(standby().durable(record=None).k).confirmed_term == 0


WHO = Identity("boot-b", "run-b-2", 700.0, "pair-1", "7")


def test_a_daemon_begins_with_what_was_kept() -> None:
    kept = BootFacts(confirmed=True, confirmed_term=4, grant=grant("b"), address_term=4, doubt_s=5.0)
    k = begin(WHO, Durable(record()), kept)
    assert (k.confirmed, k.grants.grant, k.grants.address) == (True, grant("b"), AddressFree(4, "boot-b"))
    assert (k.clock.jumped_s, k.power.doubt_s) == (700.0, 5.0)


@pytest.mark.parametrize(
    "kept",
    [BootFacts(False, 4, grant("b"), 4), BootFacts(True, 6, grant("b"), 4)],
    ids=["not confirmed", "the record was rolled back"],
)
def test_a_daemon_that_is_not_confirmed_has_no_promise_either(kept: BootFacts) -> None:
    k = begin(WHO, Durable(record()), kept)
    assert (k.confirmed, k.grants.grant, k.grants.address) == (False, None, None)


def test_an_address_told_free_in_another_term_is_not_kept() -> None:
    assert begin(WHO, Durable(record()), BootFacts(True, 4, None, 3)).grants.address is None


def test_a_host_that_lost_its_record_is_not_confirmed_by_what_was_kept_of_the_boot() -> None:
    for term in (0, 1):
        assert not begin(WHO, Durable(), BootFacts(confirmed=True, confirmed_term=term)).confirmed


def test_a_daemon_that_starts_knows_nothing() -> None:
    k = Knowledge(Identity("boot-a", "run-a", NOW_S), Durable())
    known = {name: getattr(getattr(k, part), name) for name, part in PART_OF.items()}
    moments = {name: at_s for name, at_s in known.items() if name.endswith("_s")}
    assert len(moments) > 10
    assert set(moments.values()) == {NEVER}
    assert [name for name, value in known.items() if name not in moments and value] == [
        "answered_term", "offered", "lost_term", "won_term", "free_term"
    ]  # fmt: skip
    assert k.consent.offered == (-1, NEVER)
    assert (k.witness.lost_term, k.witness.free_term) == (-1, -1)
    assert (k.confirmed, k.peer.answered_term, k.role) == (False, -1, Role.NONE)
    assert (k.who.pair_id, k.who.system_id) == ("", "")
