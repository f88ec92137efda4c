"""A real agent, as a script that keeps the power of a pretended host in a file."""

from __future__ import annotations

import doctest
import os
import sys
from pathlib import Path

import pytest

from pgvip.config.model import FenceMethod
from pgvip.deadlines import now_s
from pgvip.errors import FenceError
from pgvip.system import agent_metadata, fence_agents

AGENT = """#!/bin/sh
# an agent of ClusterLabs' API: key=value on standard input, no arguments; no action means reboot
here=$(dirname "$0")
action=reboot password=
[ $# -eq 0 ] || { echo "arguments: $*" >&2; exit 1; }
while IFS='=' read -r key value; do
    if [ "$key=$value" = action=metadata ]; then
        echo asked >> "$here/asked"
        cat "$here/metadata" 2>/dev/null
        exit
    fi
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


METADATA = """<?xml version="1.0" ?>
<resource-agent name="fence_test" shortdesc="An agent">
<parameters>
  <parameter name="ip"><content type="string"/><shortdesc lang="en">IP address or hostname</shortdesc></parameter>
  <parameter name="pin"><content type="password"/></parameter>
  <parameter name="secret_key"><content type="string"/><shortdesc lang="en">Secret Key.</shortdesc></parameter>
  <parameter name="zpass"><content type="string"/><shortdesc lang="en">Login password</shortdesc></parameter>
  <parameter name="password_script"><content type="string"/><shortdesc>Get the password so</shortdesc></parameter>
  <parameter name="use_sudo"><content type="boolean"/><shortdesc>Use sudo (without password)</shortdesc></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off"/>{reboot}<action name="status"/></actions>
</resource-agent>
"""


def describe(device: Path, *, power: bool = True) -> None:
    """Give the agent metadata: of one that cuts the power, or of a fabric agent."""
    (device / "metadata").write_text(METADATA.format(reboot='<action name="reboot"/>' if power else ""))


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


def test_any_parameter_may_come_from_a_file_and_none_is_shown(device: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("key", "password")]
    for file, text in zip(files, ("tops3cret-longer", "tops3cret"), strict=True):
        file.write_text(f"{text}\n")
        file.chmod(0o600)
    for name in ("debug", "broken"):
        (device / name).touch()
    one = method(device, password_file=files[1], secrets=(("secret_key", files[0]),))
    assert one.secret_files == (("password", files[1]), ("secret_key", files[0]))
    with pytest.raises(FenceError) as caught:
        fence_agents.power(one)
    assert {"secret_key=tops3cret-longer", "password=tops3cret"} < {*(device / "input").read_text().splitlines()}
    assert "tops3cret" not in str(caught.value)


def test_a_fabric_agent_is_no_fence(device: Path) -> None:
    """It takes a host's disks away, and `status` says off: the host goes on with what it has in memory."""
    describe(device, power=False)
    with pytest.raises(FenceError, match="cuts no power and is no fence") as caught:
        fence_agents.power(method(device))
    assert "no action reboot" in caught.value.detail
    for action in ("off", "on"):
        with pytest.raises(FenceError, match="cuts no power"):
            fence_agents.order(method(device), action)
    assert not (device / "input").exists()


def test_a_fence_waits_for_no_metadata_and_its_proof_does(device: Path) -> None:
    """A takeover does not wait for what a probe could have asked before; a fabric agent proves nothing all the same."""
    describe(device, power=False)
    fence_agents.order(method(device), "off")
    assert not (device / "asked").exists()
    with pytest.raises(FenceError, match="cuts no power"):
        fence_agents.power(method(device))


def test_metadata_are_asked_for_once_for_each_version_of_the_agent(device: Path) -> None:
    assert fence_agents.metadata(method(device)) is None
    describe(device)
    assert fence_agents.metadata(method(device)) is None
    assert fence_agents.metadata(method(device), again=True) is not None
    for _ in range(3):
        assert fence_agents.power(method(device)) == "on"
    assert (device / "asked").read_text().count("asked") == 2
    describe(device, power=False)
    os.utime(device / "fence_test", (1, 1))
    with pytest.raises(FenceError, match="cuts no power"):
        fence_agents.power(method(device))


def test_secrets_are_known_from_the_agents_own_metadata(device: Path) -> None:
    describe(device)
    names = ("ip", "pin", "secret_key", "zpass", "password_script", "use_sudo")
    one = method(device, options=tuple((name, "1") for name in names))
    assert fence_agents.secrets_in_clear(one, fence_agents.metadata(one)) == ["pin", "secret_key", "zpass"]
    assert fence_agents.secrets_in_clear(one, None) == []


@pytest.mark.parametrize(
    "text",
    ["", "usage: agent", "<a", "<other/>", "<a>" * 9999, '<!DOCTYPE a [<!ENTITY b "c">]><resource-agent/>'],
    ids=["empty", "usage", "garbled", "other", "deep", "entity"],
)
def test_what_is_no_metadata_says_nothing(text: str) -> None:
    assert agent_metadata.parse(text) is None


@pytest.mark.parametrize("agent", [True, False])
def test_a_program_that_others_may_change_is_not_called(device: Path, agent: bool) -> None:
    program = device / "fence_test"
    program.chmod(0o757)
    one = method(device) if agent else method(device, agent="", command=(str(program),))
    for call in (fence_agents.power, lambda one: fence_agents.order(one, "off")):
        with pytest.raises(FenceError, match="is not called") as caught:
            call(one)
        assert f"chmod go-w {program}" in caught.value.hint
    assert not (device / "input").exists()
    assert not (device / "asked").exists()


def test_a_missing_password_file_is_named(device: Path, tmp_path: Path) -> None:
    with pytest.raises(FenceError, match="could not read the secret in") as caught:
        fence_agents.power(method(device, password_file=tmp_path / "none"))
    assert "No such file" in caught.value.detail


def test_doctests() -> None:
    assert doctest.testmod(agent_metadata) == (0, 1)
