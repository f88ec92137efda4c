from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.config.model import Config, FenceMethod
from pgvip.errors import ProbeError
from pgvip.probes import fence_status
from tests.unit import configs
from tests.unit.system.test_fence_agents import make_agent


@pytest.fixture
def devices(tmp_path: Path) -> tuple[Path, Path]:
    return make_agent(tmp_path / "bmc").parent, make_agent(tmp_path / "pdu").parent


@pytest.fixture
def config(tmp_path: Path, devices: tuple[Path, Path]) -> Config:
    methods = tuple(FenceMethod(agent=str(device / "fence_test"), timeout_s=2.0) for device in devices)
    config = configs.make(tmp_path)
    return replace(config, peer=replace(config.peer, fencing=methods))


def test_the_probe_takes_the_first_answer(config: Config, devices: tuple[Path, Path]) -> None:
    assert fence_status.probe(config) == "on"
    (devices[0] / "broken").touch()
    (devices[1] / "power").write_text("off\n")
    assert fence_status.probe(config) == "off"
    (devices[1] / "broken").touch()
    with pytest.raises(ProbeError, match="no fence device of paris answers") as caught:
        fence_status.probe(config)
    assert caught.value.detail.count("unable to connect") == 2



def test_no_method_at_all_is_an_error(config: Config) -> None:
    with pytest.raises(ProbeError):
        fence_status.probe(replace(config, peer=replace(config.peer, fencing=())))
