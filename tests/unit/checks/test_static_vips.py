"""A VIP that the network configuration raises at boot is named, with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.checks.static_vips import static_vips
from tests.unit import configs

MANAGERS = (
    ("etc/systemd/network/10-eth0.network", "[Network]\nAddress={ip}/32\n"),
    ("etc/systemd/network/10-eth0.network.d/pgvip-addresses.conf", "[Network]\nAddress={ip}/32\n"),
    ("etc/netplan/50-x.yaml", "      addresses:\n        - {ip}/24\n"),
    ("etc/network/interfaces", "iface eth0 inet static\n    address {ip}\n"),
    ("etc/network/interfaces.d/pgvip-addresses", "iface eth0 inet static\n    address {ip}/32\n"),
    ("etc/NetworkManager/system-connections/eth0.nmconnection", "[ipv4]\naddress1={ip}/32\n"),
    ("etc/sysconfig/network-scripts/ifcfg-eth0", "IPADDR1={ip}\n"),
)


@pytest.mark.parametrize(("name", "text"), MANAGERS, ids=[name for name, _ in MANAGERS])
def test_a_vip_in_the_network_configuration_is_named_with_its_file(tmp_path: Path, name: str, text: str) -> None:
    config = configs.make(tmp_path)
    for vip, address in config.vips.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(ip=address.ip))
        [found] = static_vips(config, tmp_path)
        assert found.message.startswith(f'addresses.{vip.value} = "{address.ip}": is in {path} too')


def test_other_addresses_and_comments_are_nothing(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    path = tmp_path / "etc/network/interfaces"
    path.parent.mkdir(parents=True)
    ips = [str(address.ip) for address in config.vips.values()]
    path.write_text("".join(f"address 1{ip}\naddress {ip}9\n# address {ip}\n" for ip in ips))
    (tmp_path / "etc/network/interfaces.d").mkdir()
    (tmp_path / "etc/network/interfaces.d/gone").symlink_to("/nowhere")
    assert list(static_vips(config, tmp_path)) == []
