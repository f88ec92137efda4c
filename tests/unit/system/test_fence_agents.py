"""A real agent, as a script that keeps the power of a pretended host in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pgvip.config.model import FenceMethod
from pgvip.deadlines import now_s
from pgvip.errors import FenceError
from pgvip.system import fence_agents

AGENT = """#!/bin/sh
# an agent of ClusterLabs' API: key=value on standard input, no arguments; no action means reboot
here=$(dirname "$0")
action=reboot password=
[ $# -eq 0 ] || { echo "arguments: $*" >&2; exit 1; }
while IFS='=' read -r key value; do
    echo "$key=$value" >> "$here/input"
    case "$key" in action) action=$value ;; password) password=$value ;; esac
done
[ -e "$here/debug" ] && echo "debug: password=$password" >&2
[ -e "$here/slow" ] && sleep 60
[ -e "$here/broken" ] && { echo "unable to connect" >&2; exit 1; }
case "$action" in
    status) [ "$(cat "$here/power")" = on ] && exit 0 || exit 2 ;;
    off|on) [ -e "$here/stuck" ] || echo "$action" > "$here/power" ;;
    *) exit 1 ;;
esac
"""


def make_agent(directory: Path) -> Path:
    """An agent whose host is on; files beside it called slow, broken, stuck and debug change its ways."""
    directory.mkdir(exist_ok=True)
    (directory / "power").write_text("on\n")
    agent = directory / "fence_test"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    return agent


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return make_agent(tmp_path / "device").parent


def method(device: Path, **changes: object) -> FenceMethod:
    return FenceMethod(**({"agent": str(device / "fence_test"), "timeout_s": 5.0} | changes))  # type: ignore[arg-type]  # by name


def test_power_is_what_status_says(device: Path) -> None:
    assert fence_agents.power(method(device)) == "on"
    (device / "power").write_text("off\n")
    assert fence_agents.power(method(device)) == "off"


def test_orders_and_options_go_in_by_standard_input(device: Path) -> None:
    fence_agents.order(method(device, options=(("ip", "10.0.0.9"), ("plug", "7"))), "off")
    assert (device / "input").read_text().splitlines() == ["action=off", "ip=10.0.0.9", "plug=7"]
    assert (device / "power").read_text() == "off\n"


def test_an_action_among_the_options_cannot_replace_the_order(device: Path) -> None:
    fence_agents.power(method(device, options=(("action", "reboot"),)))
    assert (device / "input").read_text() == "action=status\n"


def test_errors_carry_the_agents_words(device: Path) -> None:
    (device / "broken").touch()
    with pytest.raises(FenceError, match="status failed with exit code 1") as caught:
        fence_agents.power(method(device))
    assert caught.value.detail == "unable to connect"
    with pytest.raises(FenceError, match="off failed with exit code 1"):
        fence_agents.order(method(device), "off")


def test_an_old_agent_s_python_warnings_do_not_hide_its_reason(device: Path) -> None:
    agent = device / "fence_test"
    agent.write_text(
        f"#!{sys.executable}\nimport sys, warnings\n"
        "warnings.warn('to be removed', DeprecationWarning)\nsys.exit('unable to connect')\n",
    )
    with pytest.raises(FenceError) as caught:
        fence_agents.power(method(device))
    assert caught.value.detail == "unable to connect"


def test_a_time_out_is_a_failure(device: Path) -> None:
    (device / "slow").touch()
    start_s = now_s()
    with pytest.raises(FenceError, match="did not finish within"):
        fence_agents.order(method(device, timeout_s=0.2), "off")
    assert now_s() - start_s < 3


def test_a_missing_agent_is_a_failure() -> None:
    with pytest.raises(FenceError, match="could not run fence_nowhere"):
        fence_agents.power(FenceMethod(agent="fence_nowhere"))


def test_a_command_gets_the_action_as_its_last_argument(device: Path) -> None:
    script = f'echo "$1 $2" >> {device}/calls; [ "$2" = status ] && exit 2 || exit 0'
    command = method(device, agent="", command=("/bin/sh", "-c", script, "sh", "host7"))
    fence_agents.order(command, "off")
    assert fence_agents.power(command) == "off"
    assert (device / "calls").read_text() == "host7 off\nhost7 status\n"


def test_the_password_is_read_from_a_private_file_and_never_shown(device: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tops3cret\nsecond line\n")
    secret.chmod(0o600)
    for name in ("debug", "broken"):
        (device / name).touch()
    with pytest.raises(FenceError) as caught:
        fence_agents.power(method(device, password_file=secret))
    assert "password=tops3cret" in (device / "input").read_text()
    assert "tops3cret" not in str(caught.value)
    assert "password=***" in caught.value.detail


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_password_that_others_can_read_is_refused(device: Path, tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tops3cret\n")
    secret.chmod(mode)
    with pytest.raises(FenceError, match="can be read by others"):
        fence_agents.power(method(device, password_file=secret))
    assert not (device / "input").exists()


def test_a_missing_password_file_is_named(device: Path, tmp_path: Path) -> None:
    with pytest.raises(FenceError, match="could not read password file") as caught:
        fence_agents.power(method(device, password_file=tmp_path / "none"))
    assert "No such file" in caught.value.detail
