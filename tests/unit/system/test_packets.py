"""Two network namespaces on one cable; the kernels answer for themselves."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pgvip.deadlines import now_s
from pgvip.errors import ProbeError
from pgvip.system import packets
from tests.unit.namespaces import inside, ip, pair_of_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    with pair_of_hosts() as (first, second):
        ip("link", "set", "eth0", "address", "02:00:00:00:00:02", namespace=second)
        ip("address", "add", "10.9.0.100/32", "dev", "eth0", namespace=second)
        ip("address", "add", "fd00:9::100/128", "dev", "eth0", "nodad", namespace=second)
        with inside(first):
            yield first, second


@pytest.mark.parametrize("address", ["10.9.0.2", "10.9.0.100", "fd00:9::2", "fd00:9::100"])
def test_the_holder_answers_at_once(hosts: tuple[str, str], address: str) -> None:
    packets.arp_who_has("eth0", address)  # the first call may load a layer
    start_s = now_s()
    assert packets.arp_who_has("eth0", address, count=3, wait_s=0.5) == "02:00:00:00:00:02"
    assert now_s() - start_s < 1.0


@pytest.mark.parametrize("address", ["10.9.0.77", "fd00:9::77"])
def test_nobody_answers_within_the_time_asked_for(hosts: tuple[str, str], address: str) -> None:
    packets.arp_who_has("eth0", address, count=1)
    start_s = now_s()
    assert packets.arp_who_has("eth0", address, count=3, wait_s=0.04) == ""
    assert 0.12 <= now_s() - start_s < 1.0
    start_s = now_s()
    assert packets.arp_who_has("eth0", address, count=3, wait_s=0.01, longer_s=0.2) == ""
    assert 0.23 <= now_s() - start_s < 1.2


@pytest.mark.parametrize("address", ["10.9.0.1", "fd00:9::1"])
def test_this_hosts_own_address_is_not_someone_elses(hosts: tuple[str, str], address: str) -> None:
    assert packets.arp_who_has("eth0", address, count=2, wait_s=0.05) == ""


def test_an_address_on_both_hosts_is_seen_on_the_other(hosts: tuple[str, str]) -> None:
    ip("address", "add", "10.9.0.100/32", "dev", "eth0", namespace=hosts[0])
    assert packets.arp_who_has("eth0", "10.9.0.100") == "02:00:00:00:00:02"


def test_a_probe_changes_nobodys_cache(hosts: tuple[str, str]) -> None:
    assert packets.arp_who_has("eth0", "10.9.0.2") != ""
    assert "10.9.0.1 " not in ip("neighbour", "show", namespace=hosts[1])


@pytest.mark.parametrize(
    ("address", "own", "family"), [("10.9.0.50", "10.9.0.2", "inet"), ("fd00:9::50", "fd00:9::2", "inet6")]
)
def test_an_announcement_moves_the_address_in_the_neighbours_cache(
    hosts: tuple[str, str], address: str, own: str, family: str
) -> None:
    first, second = hosts
    stale = ("neighbour", "replace", address, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale")
    ip(*stale, namespace=second)
    packets.announce("eth0", address, count=3)
    mac = ip("-br", "link", "show", "eth0", namespace=first).split()[2]
    shown = ip("neighbour", "show", address, namespace=second)
    assert mac in shown, shown


def test_an_announcement_is_a_request_and_a_reply(hosts: tuple[str, str]) -> None:
    with inside(hosts[1]), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ears:
        ears.bind(("eth0", packets.ETH_P_ARP))
        ears.settimeout(2)
        with inside(hosts[0]):
            packets.announce("eth0", "10.9.0.50", count=2)
        frames = [ears.recv(2048) for _ in range(4)]
    sender = frames[0][6:12]
    virtual = socket.inet_aton("10.9.0.50")
    for frame, operation in zip(frames, [1, 2, 1, 2], strict=True):
        assert frame[0:6] == b"\xff" * 6
        assert frame[6:12] == frame[22:28] == sender
        assert frame[20:22] == bytes([0, operation])
        assert frame[28:32] == frame[38:42] == virtual
        assert frame[32:38] == (bytes(6) if operation == 1 else sender)


@pytest.mark.parametrize(
    ("interface", "address"),
    [
        ("eth0", "10.9.0.2"),
        ("eth0", "fd00:9::2"),
        (None, "10.9.0.2"),
        (None, "fd00:9::2"),
        (None, "127.0.0.1"),
        (None, "::1"),
    ],
)
def test_an_echo_is_answered(hosts: tuple[str, str], interface: str | None, address: str) -> None:
    assert packets.ping(interface, address, 2.0)


@pytest.mark.parametrize("interface", ["eth0", None])
@pytest.mark.parametrize("address", ["10.9.0.77", "fd00:9::77"])
def test_silence_is_false_in_time(hosts: tuple[str, str], interface: str | None, address: str) -> None:
    packets.arp_who_has("eth0", address, count=1, wait_s=0.01)
    start_s = now_s()
    assert not packets.ping(interface, address, 0.3)
    assert 0.25 <= now_s() - start_s < 2.0


def test_a_neighbour_that_ignores_echo_is_found_by_arp(hosts: tuple[str, str]) -> None:
    with inside(hosts[1]):
        subprocess.run(["sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"], check=True)
    assert packets.ping("eth0", "10.9.0.2", 1.0)
    assert not packets.ping(None, "10.9.0.2", 0.2)


def test_of_several_targets_any_suffices(hosts: tuple[str, str]) -> None:
    start_s = now_s()
    assert packets.ping_any("eth0", ["10.9.0.77", "fd00:9::77", "10.9.0.2"], 3.0) == "10.9.0.2"
    assert packets.ping_any("eth0", ["10.9.0.77", "192.0.2.1", "fd00:9::2"], 3.0) == "fd00:9::2"
    assert now_s() - start_s < 2.0
    assert packets.ping_any("eth0", ["10.9.0.77", "192.0.2.1"], 0.2) == ""
    assert packets.ping_any(None, ["192.0.2.1", "10.9.0.77"], 0.1) == "", "one could be asked, and was silent"


def test_a_kernel_without_ipv6_asks_its_ipv4_targets(
    hosts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Booted with ipv6.disable=1, a host never had a gateway."""
    real = socket.socket

    def refusing(family: int, *words: int, **more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *words, **more)

    monkeypatch.setattr(socket, "socket", refusing)
    assert packets.ping_any(None, ["10.9.0.2"], 2.0) == "10.9.0.2"
    assert packets.ping_any(None, ["fd00:9::2", "10.9.0.2"], 2.0) == "10.9.0.2"
    with pytest.raises(ProbeError, match="could not send an echo request") as caught:
        packets.ping_any(None, ["fd00:9::2"], 0.2)
    assert "IPv6: [Errno 97]" in str(caught.value)


def test_a_target_without_a_route_cannot_be_asked(hosts: tuple[str, str]) -> None:
    with pytest.raises(ProbeError, match=r"could not send an echo request"):
        packets.ping(None, "192.0.2.1", 0.2)


def test_a_missing_interface_is_an_error(hosts: tuple[str, str]) -> None:
    with pytest.raises(ProbeError, match="eth9"):
        packets.arp_who_has("eth9", "10.9.0.2")
    with pytest.raises(ProbeError, match="eth9"):
        packets.announce("eth9", "10.9.0.2")
    with pytest.raises(ProbeError, match="eth9"):
        packets.ping("eth9", "10.9.0.77", 0.2)


def test_an_interface_that_is_down_is_an_error(hosts: tuple[str, str]) -> None:
    ip("link", "set", "eth0", "down", namespace=hosts[0])
    with pytest.raises(ProbeError):
        packets.arp_who_has("eth0", "10.9.0.2")


def test_probes_run_beside_each_other(hosts: tuple[str, str]) -> None:
    answers: list[str] = []

    def probe(address: str) -> None:
        with inside(hosts[0]):
            answers.append(packets.arp_who_has("eth0", address))
            answers.append(str(packets.ping("eth0", address, 1.0)))

    threads = [threading.Thread(target=probe, args=(address,)) for address in ("10.9.0.2", "10.9.0.100") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(answers)) == ["02:00:00:00:00:02", "True"]
    assert len(answers) == 16


def test_the_module_loads_quickly_and_quietly() -> None:
    program = "import sys, pgvip.system.packets; print('scapy.layers.inet6' in sys.modules, 'scapy.all' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "False False\n"
    assert done.stderr == ""


@pytest.fixture
def full() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a queue that takes nothing more; only the reader's doing makes room."""
    sender, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, reader:
        sender.setblocking(False)
        reader.settimeout(5)
        with suppress(BlockingIOError):
            while True:
                sender.send(b"before")
        yield sender, reader


def test_a_full_queue_delays_a_frame(full: tuple[socket.socket, socket.socket]) -> None:
    sender, reader = full
    found: list[bytes] = []

    def drain() -> None:
        while not found or found[-1] != b"frame":
            found.append(reader.recv(100))

    thread = threading.Timer(packets.SEND_S / 4, drain)
    thread.start()
    packets._send(sender, b"frame")
    thread.join(5)
    assert found[-1] == b"frame"


def test_a_queue_that_stays_full_is_an_error_in_time(full: tuple[socket.socket, socket.socket]) -> None:
    start_s = now_s()
    with pytest.raises(BlockingIOError):
        packets._send(full[0], b"frame")
    assert packets.SEND_S <= now_s() - start_s < 10 * packets.SEND_S
