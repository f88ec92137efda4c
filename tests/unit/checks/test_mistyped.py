"""What a first user mistypes, and what only the machine, systemd, an agent or a device can say of it."""

from __future__ import annotations

import argparse
import doctest
import json
import os
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

import pytest

from pgvip.checks import fence_devices, fence_programs, own_host
from pgvip.cli import config_check
from pgvip.config.model import Config, FenceMethod
from pgvip.errors import Exit, PostgresError
from pgvip.system import device_identity, fence_agents, privileges, processes, units
from tests.unit import configs
from tests.unit.system.test_fence_agents import describe, make_agent

MINE = UUID("4c4c4544-0050-3510-8054-b3c04f435831")
OTHER = UUID("11111111-0050-3510-8054-b3c04f435831")


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fenced(config: Config, *methods: FenceMethod) -> Config:
    return replace(config, peer=replace(config.peer, fencing=methods))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """At an address that this machine has."""
    made = configs.make(tmp_path)
    return replace(made, me=replace(made.me, address="127.0.0.1", network=None))


# --- this host -----------------------------------------------------------------------------------------------


def test_an_address_of_another_host_is_named_with_those_of_this_one(config: Config) -> None:
    assert list(own_host.own_address(config)) == []
    here = [str(one) for one in processes.addresses() if not one.is_loopback and not one.is_link_local]
    (found,) = own_host.own_address(replace(config, me=replace(config.me, address="192.0.2.11")))
    assert found.message == (
        'hosts.berlin.address = "192.0.2.11": is not an address of this host, which is taken for berlin'
    )
    assert all(one in found.hint for one in here)


def test_the_prefix_is_that_of_the_machine(config: Config) -> None:
    right, wrong = (replace(config.me, network=ip_network(f"127.0.0.0/{length}")) for length in (8, 24))
    assert list(own_host.own_address(replace(config, me=right))) == []
    (found,) = own_host.own_address(replace(config, me=wrong))
    assert found.message == (
        'hosts.berlin.address = "127.0.0.1/24": has another prefix than on this host, where lo has /8'
    )
    assert found.hint == 'Write address = "127.0.0.1/8".'


# --- the unit ------------------------------------------------------------------------------------------------


SYSTEMCTL = """case "$*" in
    *LoadState*postgresql-15.service) echo loaded ;;
    *LoadState*postgresql@*) echo loaded ;;
    *LoadState*masked.service) echo masked ;;
    *LoadState*) echo not-found ;;
    list-unit-files*) echo "postgresql-15.service disabled"; echo "postgresql@.service indirect" ;;
esac"""


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "programs" / "systemctl", SYSTEMCTL)
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:{os.environ['PATH']}")
    monkeypatch.setattr(units, "has_systemd", lambda: True)
    monkeypatch.setattr(units, "start_files", lambda _data: [Path("/etc/postgresql/15/main/start.conf")])


@pytest.mark.usefixtures("systemd")
@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("postgresql-15.service", "", ""),
        ("postgresql@15-main.service", "", ""),
        ("", "", ""),
        ("postgres-15.service", "is no unit of this host", "Did you mean postgresql@15-main.service?"),
        ("postgresql@15-mian.service", "is not the unit of ", "Did you mean postgresql@15-main.service?"),
        ("masked.service", "is masked", "Run: systemctl unmask masked.service"),
    ],
)
def test_a_unit_must_be_one_that_systemd_knows(config: Config, name: str, what: str, hint: str) -> None:
    found = list(own_host.unit(replace(config, postgres=replace(config.postgres, unit=name))))
    assert [(what in one.message, one.hint) for one in found] == ([(True, hint)] if what else [])
    assert all(one.message.startswith(f'postgresql.unit = "{name}": ') for one in found)


@pytest.mark.usefixtures("systemd")
def test_a_unit_that_resembles_one_of_systemds(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "start_files", lambda _data: [])
    (found,) = own_host.unit(replace(config, postgres=replace(config.postgres, unit="postgresql15.service")))
    assert found.hint == "Did you mean postgresql-15.service?"


# --- agents --------------------------------------------------------------------------------------------------


def test_an_agent_that_does_not_exist(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "sbin" / "fence_ipmilan", "exit 0")
    monkeypatch.setattr(fence_agents, "PATH", str(tmp_path / "sbin"))
    (found,) = fence_programs.fence_programs(fenced(config, FenceMethod(agent="fence_impilan")))
    assert found.message == 'hosts.paris.fencing[1].agent = "fence_impilan": is not a program of this host'
    assert found.hint == "Did you mean fence_ipmilan?"
    (found,) = fence_programs.fence_programs(fenced(config, FenceMethod(agent="power-strip")))
    assert found.hint.endswith("Agents here: fence_ipmilan.")
    (found,) = fence_programs.fence_programs(fenced(config, FenceMethod(command=("/nowhere/pdu", "7"))))
    assert found.message == 'hosts.paris.fencing[1].command = "/nowhere/pdu": is not a program of this host'


def test_an_option_that_the_agent_does_not_know(config: Config, tmp_path: Path) -> None:
    agent = make_agent(tmp_path / "device")
    describe(tmp_path / "device")
    good = FenceMethod(agent=str(agent), options=(("ip", "::1"), ("use-sudo", "1")), secrets=(("pin", tmp_path),))
    assert list(fence_programs.fence_programs(fenced(config, good))) == []
    bad = replace(good, options=(("ipp", "::1"), ("lanplus", "1")), secrets=(("pinn", tmp_path),))
    found = list(fence_programs.fence_programs(fenced(config, bad)))
    key = "hosts.paris.fencing[1]"
    assert [one.message for one in found] == [
        f"{key}.options.ipp is no parameter of {agent}, by its own metadata",
        f"{key}.options.lanplus is no parameter of {agent}, by its own metadata",
        f"{key}.secrets.pinn is no parameter of {agent}, by its own metadata",
    ]
    assert [one.hint for one in found] == [
        "Did you mean ip?",
        "It knows: ip, password_script, pin, secret_key, use_sudo, zpass.",
        "Did you mean pin?",
    ]


def test_an_agent_that_says_nothing_of_its_options_is_let_be(config: Config, tmp_path: Path) -> None:
    agent = make_agent(tmp_path / "device")
    assert list(fence_programs.fence_programs(fenced(config, FenceMethod(str(agent), (("any", "1"),))))) == []


# --- devices -------------------------------------------------------------------------------------------------


@pytest.fixture
def bmc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ipmitool that answers for the address 198.51.100.11 with this machine's UUID; it keeps its arguments."""
    kept = tmp_path / "asked"
    answer = 'echo "System GUID  : 44454c4c-5000-1035-8054-b3c04f435831"; echo "GUID Encoding: SMBIOS"'
    text = f'echo "$*" >> {kept}\ncase "$*" in *198.51.100.11*) {answer} ;; *) echo "no answer" >&2; exit 1 ;; esac'
    program(tmp_path / "sbin" / "ipmitool", text)
    monkeypatch.setattr(device_identity, "PATH", f"{tmp_path / 'sbin'}:/usr/bin:/bin")
    (tmp_path / "uuid").write_text(f"{MINE}\n")
    mine = device_identity.own_uuid
    monkeypatch.setattr(device_identity, "own_uuid", lambda: mine(tmp_path / "uuid"))
    return kept


def test_exchanged_devices_are_found_by_asking_the_device_who_it_is(config: Config, bmc: Path) -> None:
    options = (("ip", "198.51.100.11"), ("username", "pgvip"), ("cipher", "3"), ("lanplus", "1"))
    own = FenceMethod(agent="fence_ipmilan", options=options, password_file=Path("/etc/pgvip/secret"))
    (found,) = fence_devices.own_devices(fenced(config, own))
    assert found.message == (
        "hosts.paris.fencing[1]: the device of fence_ipmilan is that of this host, berlin"
    )
    assert "exchanged" in found.hint
    told = "-I lanplus -H 198.51.100.11 -U pgvip -C 3 -f /etc/pgvip/secret mc guid\n"
    assert bmc.read_text() == told
    other = replace(own, options=(("ip", "198.51.100.12"), *options[1:]))
    assert list(fence_devices.own_devices(fenced(config, other))) == []


def test_a_bmc_with_the_address_that_this_machines_own_driver_says(tmp_path: Path, bmc: Path) -> None:
    driver = tmp_path / "ipmi0"
    assert device_identity.own_addresses(driver) == frozenset()
    driver.touch()
    lines = "Set in Progress         : Set Complete\nIP Address Source       : Static Address\n"
    said = f"{lines}IP Address              : 198.51.100.11\nSubnet Mask             : 0.0.0.0\n"
    program(tmp_path / "sbin" / "ipmitool", f"cat <<'END'\n{said}END")
    own = device_identity.own_addresses(driver)
    assert own == {"198.51.100.11"}
    for address, found in (("198.51.100.11", True), ("198.51.100.12", False)):
        method = FenceMethod(agent="fence_ipmilan", options=(("ip", address),))
        assert device_identity.is_own(method, None, own) is found
    assert bmc.parent == tmp_path


@pytest.mark.usefixtures("bmc")
def test_what_a_device_does_not_say_is_not_known() -> None:
    strip = FenceMethod(agent="fence_apc", options=(("ip", "pdu"), ("plug", "3")))
    assert device_identity.is_own(strip, MINE) is None
    other = FenceMethod(agent="fence_virsh", options=(("ip", "kvm1"), ("plug", str(OTHER))))
    assert device_identity.is_own(other, MINE) is False
    assert device_identity.is_own(other, None) is None


@pytest.mark.usefixtures("bmc")
def test_a_hypervisor_names_a_machine_by_its_uuid(config: Config) -> None:
    swapped = FenceMethod(agent="fence_virsh", options=(("ip", "kvm1"), ("plug", str(MINE).upper())))
    assert len(list(fence_devices.own_devices(fenced(config, swapped)))) == 1


@pytest.mark.parametrize("text", ["", "none", "00000000-0000-0000-0000-000000000000", "ffffffff" * 4])
def test_a_machine_without_a_uuid_of_its_own_asks_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "uuid").write_text(text)
    assert device_identity.own_uuid(tmp_path / "uuid") is None
    assert device_identity.own_uuid(tmp_path / "absent") is None


def test_uuids_are_compared_in_every_order_of_bytes() -> None:
    assert doctest.testmod(device_identity).failed == 0


def test_a_fence_that_outlasts_the_delay_comes_with_the_value_to_set(config: Config, tmp_path: Path) -> None:
    agent = make_agent(tmp_path / "device")
    text = '<parameter name="power_wait"><content type="second" default="2"/></parameter></parameters>'
    describe(tmp_path / "device")
    file = tmp_path / "device" / "metadata"
    file.write_text(file.read_text().replace("</parameters>", text))
    method = FenceMethod(agent=str(agent), timeout_s=10.0)
    (found,) = fence_devices.slow_fences(fenced(config, method))
    assert found.message.startswith("timing.fence_delay_s = 0.5: hosts.paris.fencing[1]")
    assert found.hint.startswith("Write fence_delay_s = 3 to rule that out")
    patient = replace(config, settings=replace(config.settings, fence_delay_s=3.0))
    assert list(fence_devices.slow_fences(fenced(patient, method))) == []


# --- the command ---------------------------------------------------------------------------------------------


def test_a_user_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    def absent(_config: Config) -> None:
        raise PostgresError('system user "postgers" does not exist')

    monkeypatch.setattr(privileges, "give_up", absent)
    monkeypatch.setattr(config_check, "problems", lambda *_: [])
    monkeypatch.setattr(config_check, "load", lambda *_: config)
    file = tmp_path / "pgvip.toml"
    file.write_text("")
    (found,) = config_check.check(file, None, file_only=False)
    assert found.message == 'postgresql.user = "nobody": is no user of this host'


def test_config_check_lists_what_the_machine_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config_check, "problems", lambda *_: [])
    monkeypatch.setattr(config_check, "load", lambda *_: fenced(config, FenceMethod(agent="fence_none")))
    file = tmp_path / "pgvip.toml"
    file.write_text("")
    args = argparse.Namespace(file=file, config=None, host=None, json=True, file_only=False)
    assert config_check.run(args) == Exit.CONFIG
    found = [one["message"] for one in json.loads(capsys.readouterr().out)["problems"]]
    assert 'hosts.paris.fencing[1].agent = "fence_none": is not a program of this host' in found
