"""Real interfaces in namespaces of the test's own."""

from __future__ import annotations

import select
import threading
from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import TYPE_CHECKING

import pytest

from pgvip.deadlines import wait_until
from pgvip.errors import ProbeError, VipError
from pgvip.system import netlink
from pgvip.system.netlink import AddressWatch
from tests.unit.namespaces import cable, inside, ip, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

V4 = ip_interface("10.9.0.100/32")
V6 = ip_interface("fd00:9::100/128")


@pytest.fixture
def host() -> Iterator[str]:
    with namespace() as name:
        cable(name, "eth0")
        ip("address", "add", "10.9.0.1/24", "dev", "eth0", namespace=name)
        with inside(name):
            yield name


@pytest.mark.parametrize("address", [V4, V6])
def test_an_address_comes_and_goes_and_both_can_be_repeated(host: str, address: netlink.Interface) -> None:
    assert address.ip not in netlink.held("eth0")
    for _ in range(2):
        netlink.add_address("eth0", address)
        assert address.ip in netlink.held("eth0")
    for _ in range(2):
        netlink.drop_address("eth0", address)
        assert address.ip not in netlink.held("eth0")
    assert IPv4Address("10.9.0.1") in netlink.held("eth0"), "the host's own address stays"


def test_the_address_is_labelled_and_never_expires(host: str) -> None:
    netlink.add_address("eth0", V4)
    shown = ip("address", "show", "dev", "eth0", "to", "10.9.0.100", namespace=host)
    assert "10.9.0.100/32" in shown
    assert "eth0:vip" in shown
    assert "valid_lft forever preferred_lft forever" in shown


def test_a_long_interface_name_gets_no_label(host: str) -> None:
    cable(host, "longinterface0")
    netlink.add_address("longinterface0", V4)
    assert V4.ip in netlink.held("longinterface0")


def test_an_ipv6_address_is_usable_at_once_and_no_source(host: str) -> None:
    netlink.add_address("eth0", V6)
    shown = ip("address", "show", "dev", "eth0", "to", "fd00:9::100", namespace=host)
    assert "nodad" in shown
    assert "tentative" not in shown
    assert "deprecated" in shown
    assert "valid_lft forever preferred_lft 0sec" in shown


@pytest.mark.parametrize("address", [V4, V6])
def test_a_lease_is_renewed_made_endless_and_ended_by_the_kernel(host: str, address: netlink.Interface) -> None:
    def valid() -> str:
        shown = ip("address", "show", "dev", "eth0", "to", str(address.ip), namespace=host)
        return shown.partition("valid_lft ")[2].split()[0]

    netlink.add_address("eth0", address, valid_lft_s=500)
    assert valid() in ("500sec", "499sec")
    netlink.add_address("eth0", address, valid_lft_s=700)
    assert valid() in ("700sec", "699sec")
    netlink.add_address("eth0", address)
    assert valid() == "forever"
    netlink.add_address("eth0", address, valid_lft_s=1)
    wait_until(lambda: address.ip not in netlink.held("eth0"), 10, every_s=0.1, what="kernel drops it")


def test_an_address_with_another_prefix_is_dropped_too(host: str) -> None:
    ip("address", "add", "10.9.0.100/24", "dev", "eth0", namespace=host)
    netlink.drop_address("eth0", V4)
    assert netlink.held("eth0") & {V4.ip} == set()


def test_the_same_address_on_another_interface_is_not_ours(host: str) -> None:
    cable(host, "eth1")
    ip("address", "add", "10.9.0.100/32", "dev", "eth1", namespace=host)
    assert V4.ip not in netlink.held("eth0")
    netlink.drop_address("eth0", V4)
    assert V4.ip in netlink.held("eth1")


def test_a_missing_interface_is_an_error_and_not_an_empty_answer(host: str) -> None:
    with pytest.raises(ProbeError, match="no interface eth9"):
        netlink.held("eth9")
    with pytest.raises(VipError, match="no interface eth9"):
        netlink.add_address("eth9", V4)
    with pytest.raises(VipError, match="no interface eth9"):
        netlink.drop_address("eth9", V4)


def test_what_the_kernel_refuses_is_an_error(host: str) -> None:
    with pytest.raises(VipError, match="could not add"):
        netlink.add_address("eth0", ip_interface("ff02::1/128"))


def test_changes_by_others_are_noticed(host: str) -> None:
    with AddressWatch() as watch:
        assert not watch.read()
        ip("address", "add", "10.9.0.100/32", "dev", "eth0", namespace=host)
        assert select.select([watch], [], [], 2)[0] == [watch]
        assert watch.read()
        assert not watch.read()
        ip("address", "delete", "10.9.0.100/32", "dev", "eth0", namespace=host)
        assert select.select([watch], [], [], 2)[0] == [watch]
        assert watch.read()
        ip("address", "add", "fd00:9::100/128", "dev", "eth0", namespace=host)
        assert select.select([watch], [], [], 2)[0] == [watch]
        assert watch.read()
        ip("link", "set", "eth0", "down", namespace=host)
        assert select.select([watch], [], [], 2)[0] == [watch]


def test_an_overrun_counts_as_a_change(host: str) -> None:
    with AddressWatch() as watch:
        watch._socket.setsockopt(1, 8, 2048)  # SOL_SOCKET, SO_RCVBUF: small, so that it overruns
        for _ in range(40):
            netlink.add_address("eth0", V4)
            netlink.drop_address("eth0", V4)
        assert watch.read()
        assert not watch.read()
        netlink.add_address("eth0", V4)
        assert watch.read(), "it goes on after the overrun"


def test_threads_do_not_disturb_each_other(host: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        address = ip_interface(f"10.9.1.{number}/32")
        try:
            with inside(host):
                for _ in range(5):
                    netlink.add_address("eth0", address)
                    netlink.drop_address("eth0", address)
        except BaseException as failure:  # noqa: BLE001  # carried to the main thread
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert netlink.held("eth0") >= {IPv4Address("10.9.0.1")}
    assert not any(isinstance(address, IPv6Address) and address in V6.network for address in netlink.held("eth0"))
