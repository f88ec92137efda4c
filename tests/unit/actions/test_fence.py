from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.actions import fence
from pgvip.config.model import Config, FenceMethod
from pgvip.errors import FenceError
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


@pytest.fixture(autouse=True)
def _short_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "SETTLE_S", 0.3)


def power(device: Path) -> str:
    return (device / "power").read_text().strip()


def test_the_first_method_suffices_and_a_repetition_is_harmless(config: Config, devices: tuple[Path, Path]) -> None:
    lines: list[str] = []
    for _ in range(2):
        fence.fence(config, lines.append)
        assert (power(devices[0]), power(devices[1])) == ("off", "on")
    assert lines == ["fence paris: done by " + config.peer.fencing[0].name] * 2


@pytest.mark.parametrize("failures", ["broken", "stuck", "slow"])
def test_the_next_method_is_tried_when_one_fails(config: Config, devices: tuple[Path, Path], failures: str) -> None:
    (devices[0] / failures).touch()
    first, second = config.peer.fencing
    config = replace(config, peer=replace(config.peer, fencing=(replace(first, timeout_s=0.3), second)))
    lines: list[str] = []
    fence.fence(config, lines.append)
    assert (power(devices[0]), power(devices[1])) == ("on", "off")
    assert lines[0].startswith("could not fence paris")


@pytest.mark.parametrize("failures", ["broken", "stuck"])
def test_no_method_that_verifies_means_not_fenced(config: Config, devices: tuple[Path, Path], failures: str) -> None:
    for device in devices:
        (device / failures).touch()
    with pytest.raises(FenceError, match="could not fence paris"):
        fence.fence(config)


def test_an_accepted_order_is_no_proof(config: Config, devices: tuple[Path, Path]) -> None:
    (devices[0] / "stuck").touch()
    config = replace(config, peer=replace(config.peer, fencing=config.peer.fencing[:1]))
    with pytest.raises(FenceError) as caught:
        fence.fence(config)
    assert "did not verify that the power is off" in caught.value.detail
    assert "accepted the order and then said: on" in caught.value.detail


def test_a_status_that_fails_at_first_is_asked_for_again(config: Config, tmp_path: Path) -> None:
    script = f'[ "$1" = status ] || exit 0; [ -e {tmp_path}/asked ] && exit 2; touch {tmp_path}/asked; exit 1'
    method = FenceMethod(command=("/bin/sh", "-c", script, "sh"), timeout_s=2.0)
    fence.fence(replace(config, peer=replace(config.peer, fencing=(method,))))


def test_a_status_that_always_fails_is_no_proof(config: Config) -> None:
    script = '[ "$1" = status ] || exit 0; echo no answer >&2; exit 1'
    method = FenceMethod(command=("/bin/sh", "-c", script, "sh"), timeout_s=2.0)
    with pytest.raises(FenceError) as caught:
        fence.fence(replace(config, peer=replace(config.peer, fencing=(method,))))
    assert "no answer" in caught.value.detail


def test_no_method_at_all_is_never_a_success(config: Config) -> None:
    config = replace(config, peer=replace(config.peer, fencing=()))
    for call in (fence.fence, fence.power_on, fence.test):
        with pytest.raises(FenceError):
            call(config)


def test_power_comes_back_by_the_first_method_that_can(config: Config, devices: tuple[Path, Path]) -> None:
    fence.fence(config)
    (devices[1] / "power").write_text("off\n")
    (devices[0] / "broken").touch()
    fence.power_on(config)
    assert (power(devices[0]), power(devices[1])) == ("off", "on")


def test_status_tells_of_each_method_and_test_fails_for_any(config: Config, devices: tuple[Path, Path]) -> None:
    assert [line.rpartition(": ")[2] for line in fence.status(config).splitlines()] == ["on", "on"]
    assert fence.test(config) == fence.status(config)
    (devices[1] / "broken").touch()
    assert "unable to connect" in fence.status(config).splitlines()[1]
    with pytest.raises(FenceError, match="would not work"):
        fence.test(config)
    assert (power(devices[0]), power(devices[1])) == ("on", "on")




def test_every_method_is_asked_and_timed(config: Config, devices: tuple[Path, Path]) -> None:
    (devices[1] / "slow").touch()
    first, second = config.peer.fencing
    config = replace(config, peer=replace(config.peer, fencing=(first, replace(second, timeout_s=0.3))))
    good, slow = fence.survey(config)
    assert (good.power, good.works, good.timeout_s) == ("on", True, 2.0)
    assert 0 < good.took_s < 1.0
    assert (slow.power, slow.works) == ("", False)
    assert slow.took_s >= 0.3
    assert "0.3 s" in slow.line()
    assert slow.document()["power"] is None
    assert (power(devices[0]), power(devices[1])) == ("on", "on")


def test_an_answer_that_takes_most_of_its_time_does_not_work() -> None:
    late = fence.Answer("ipmi", "on", "", 1.1, 2.0)
    assert not late.works
    assert "too slow" in late.line()
    assert fence.Answer("ipmi", "off", "", 1.0, 2.0).works
