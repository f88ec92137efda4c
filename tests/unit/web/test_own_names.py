"""By which names this host answers, and which it refuses."""

from __future__ import annotations

import doctest
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.config.model import HttpConfig
from pgvip.web import own_names as module
from pgvip.web.http import BadRequest
from pgvip.web.listeners import plan_of
from pgvip.web.own_names import check_host, own_names
from tests.unit import configs

REACHED = "198.51.100.7"
"""The address that the client connected to: none of the configuration."""


@pytest.fixture
def names(tmp_path: Path) -> frozenset[str]:
    http = HttpConfig(names=("Pg.Example.org", "2001:DB8::7"))
    config = replace(configs.make(tmp_path), http=http)
    assert plan_of(config).names == own_names(config)
    return own_names(config)


OWN = [
    "", "berlin", "BERLIN.", "berlin:8433", socket.gethostname(), "localhost", "localhost:80", "10.9.0.1",
    "10.9.0.1:8433", "10.9.0.100", "10.9.0.101:1", REACHED, f"{REACHED}:8433", f"[::ffff:{REACHED}]:8433",
    "[::ffff:10.9.0.1]",
    "pg.example.org", "PG.EXAMPLE.ORG:443", "[2001:db8:0::7]:8433", "berlin:",
]  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_own_names_and_addresses_are_answered(names: frozenset[str], host: str) -> None:
    check_host(host, names, REACHED)


FOREIGN = {
    "evil.example": 421, "evil.example:8433": 421, "berlin.evil.example": 421, "paris": 421, "10.9.0.2": 421,
    "127.0.0.1.evil.example": 421, "203.0.113.9": 421, "[2001:db8::8]": 421, "localhost.evil.example": 421,
    "example.org": 421, "xpg.example.org": 421, "..": 421,
    "berlin evil.example": 400, "berlin, evil.example": 400, "user@berlin": 400, "berlin/": 400, "[::1": 400,
    "::1": 400, "berlin:8433:1": 400, "b\xe4rlin": 400, "berlin:port": 400, "[fe80::1%eth0]": 400, '"><script>': 400,
    "x" * 8000: 400,
}  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN, ids=lambda host: host[:30])
def test_what_names_another_host_is_refused(names: frozenset[str], host: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_host(host, names, REACHED)
    assert caught.value.status == FOREIGN[host]
    assert len(caught.value.reason) < 500


def test_the_refusal_says_what_to_do(names: frozenset[str]) -> None:
    with pytest.raises(BadRequest) as caught:
        check_host("db.example.org:8433", names, REACHED)
    assert caught.value.reason == (
        'this host does not answer for "db.example.org"; ask for one of its names or addresses, or add '
        '"db.example.org" to names in [http] of the configuration'
    )


def test_the_address_reached_may_be_an_ipv6_one_of_a_link(names: frozenset[str]) -> None:
    check_host("[fe80::1]:8433", names, "fe80::1%eth0")
    check_host("192.0.2.9", names, "::ffff:192.0.2.9")


def test_doctests() -> None:
    assert doctest.testmod(module) == (0, 1)
