"""What of the addresses differs between the hosts, and whose keys are not valid, is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pgvip.core.settings import StandingWarning
from pgvip.core.warnings import distinct
from pgvip.daemon import pair_addresses
from pgvip.link.link_state import LinkState, refused_by
from pgvip.state import codec
from tests.unit import configs

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config


def said(config: Config, other: Config) -> list[str]:
    theirs: Any = codec.encode(pair_addresses.of(other))
    return [one.text for one in pair_addresses.differing(config, theirs)]


def seen_from_the_peer(config: Config) -> Config:
    return replace(config, me=config.peer, peer=config.me)


def test_each_address_that_differs_is_named_with_both_values(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    other = seen_from_the_peer(config)
    assert said(config, other) == []
    moved = replace(other, me=replace(other.me, address="10.9.0.3"), overlap_s=5.0)
    assert said(config, moved) == [
        "hosts.paris.address is 10.9.0.2 here and 10.9.0.3 on paris",
        "addresses.overlap_s is 600 here and 5 on paris",
    ]
    assert pair_addresses.differing(config, None) == ()
    assert pair_addresses.differing(config, {"host": 1}) == ()


def test_it_is_compared_anew_when_either_side_has_changed(tmp_path: Path) -> None:
    config, compared = configs.make(tmp_path), pair_addresses.Compared()
    other = seen_from_the_peer(config)
    theirs: Any = codec.encode(pair_addresses.of(other))
    assert compared.warnings(config, None) == ()
    assert compared.warnings(config, theirs) == ()
    moved: Any = codec.encode(pair_addresses.of(replace(other, overlap_s=5.0)))
    found = compared.warnings(config, moved)
    assert len(found) == 1
    assert compared.warnings(config, moved) is found
    assert compared.warnings(replace(config, overlap_s=5.0), moved) == ()


@pytest.mark.parametrize(
    ("why", "whose"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:992)", "peer"),
        ("certificate of 10.9.0.2 is not the peer's", "peer"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2576)", "own"),
        ("nothing came for 3 s", ""),
        ("closed by the peer", ""),
    ],
)
def test_whose_certificate_was_refused(why: str, whose: str) -> None:
    assert refused_by(why) == whose


def test_invalid_keys_stand_in_place_of_a_silent_peer(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    assert pair_addresses.invalid_keys(config, LinkState()) == ()
    (theirs,) = pair_addresses.invalid_keys(config, LinkState(refused="peer"))
    (own,) = pair_addresses.invalid_keys(config, LinkState(refused="own"))
    assert "paris has lost its keys" in theirs.text
    assert "this host has lost its keys" in own.text
    silent = StandingWarning("peer-silent", "the peer's daemon does not answer", "", unseen=True)
    assert distinct((silent, theirs)) == (theirs,)
    assert distinct((silent,)) == (silent,)
    assert pair_addresses.invalid_keys(config, LinkState(connected=True, refused="own")) == ()
    refused = LinkState(refused="peer")
    assert refused.now(1.0, live=1, listening=True, listen_error="").refused == ""
    assert refused.now(1.0, live=0, listening=True, listen_error="").refused == "peer"
