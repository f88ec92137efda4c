"""A real neighbour at the other end of a cable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.errors import ProbeError
from pgvip.probes import gateway
from tests.unit import configs
from tests.unit.namespaces import inside, ip, pair_of_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config


@pytest.fixture
def peer() -> Iterator[str]:
    with pair_of_hosts() as (first, second):
        ip("link", "set", "eth0", "address", "02:00:00:00:00:02", namespace=second)
        with inside(first):
            yield second


@pytest.fixture
def config(tmp_path: Path, peer: str) -> Config:
    return configs.make(tmp_path)


def test_the_gateway_is_any_target_that_answers(config: Config, peer: str) -> None:
    assert gateway.probe(config) == "10.9.0.2"
    assert gateway.probe(replace(config, gateways=("10.9.0.77", "10.9.0.2"))) == "10.9.0.2"
    quick = replace(config, gateways=("10.9.0.77",), settings=replace(config.settings, interval_s=0.2))
    with pytest.raises(ProbeError, match="no gateway target answers"):
        gateway.probe(quick)
    ip("link", "set", "eth0", "down", namespace=peer)
    with pytest.raises(ProbeError):
        gateway.probe(replace(quick, gateways=("10.9.0.2",)))
