"""The peer's archive over TLS: real sockets, certificates, files and readers; what is no WAL file is not given."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgvip.archive import inventory, packing, peer_fetch, peer_relay, peer_server, peer_wire, restore_wal
from pgvip.archive.memory import DIRECTORY, INDEX
from pgvip.archive.packing import ArchiveFailed
from pgvip.archive.peer_wire import GET, SALVAGED, Ask
from pgvip.deadlines import wait_until
from pgvip.errors import ArchiveError, LinkError, ProbeError
from pgvip.link import tls
from pgvip.link.certificates import make_pair_certificates
from pgvip.link.connection import SEGMENT_BYTES
from pgvip.link.peer_link import PeerLink
from pgvip.link.tls import install, load_contexts
from pgvip.probes import archive_mount
from tests.unit.archive.peer_hosts import Hosts, make_hosts, serving, threads

NAME = "000000010000000000000001"
HISTORY = "00000002.history"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that does much else, a handshake takes its time."""
    for module in (peer_server, peer_relay):
        for limit in ("HANDSHAKE_S", "ASK_S"):
            monkeypatch.setattr(module, limit, 30.0)
    monkeypatch.setattr(peer_relay, "CONNECT_S", 10.0)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with serving(make_hosts(tmp_path)) as made:
        # It listens a moment after its start.
        wait_until(lambda: answers(made), 30, what="the archive")
        yield made
    wait_until(lambda: not threads(), 30, what="no thread is left")


def answers(hosts: Hosts) -> bool:
    try:
        return archive_mount.probe(hosts.mine)
    except ProbeError:
        return False


def fetch(hosts: Hosts, name: str, target: Path, what: str = GET) -> bool:
    return peer_fetch.fetch(hosts.daemon, Ask(what, name), target, 60.0)


# --- what it is for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", packing.PACKINGS)
def test_a_segment_comes_back_plain_however_it_is_packed(hosts: Hosts, tmp_path: Path, word: str) -> None:
    content = os.urandom(1_500_000) + bytes(1_500_000)
    source = tmp_path / NAME
    source.write_bytes(content)
    packed = packing.PACKINGS[word]
    packing.pack(source, hosts.archive / (NAME + packed.suffix), packed)
    target = tmp_path / "RECOVERYXLOG"
    assert fetch(hosts, NAME, target)
    assert target.read_bytes() == content
    assert [path.name for path in tmp_path.glob("RECOVERYXLOG*")] == [target.name]


def test_histories_labels_and_partial_segments_are_given_and_salvaged_wal_is_in_its_folder(
    hosts: Hosts, tmp_path: Path
) -> None:
    for name in (HISTORY, f"{NAME}.00000028.backup", f"{NAME}.partial"):
        (hosts.archive / name).write_text(name, encoding="utf-8")
        assert fetch(hosts, name, tmp_path / "got")
        assert (tmp_path / "got").read_text(encoding="utf-8") == name
    assert not fetch(hosts, NAME, tmp_path / "got", SALVAGED)
    (hosts.archive / "salvage").mkdir()
    assert not fetch(hosts, NAME, tmp_path / "got", SALVAGED)
    (hosts.archive / "salvage" / NAME).write_bytes(b"rest")
    assert fetch(hosts, NAME, tmp_path / "got", SALVAGED)
    assert (tmp_path / "got").read_bytes() == b"rest"
    assert not fetch(hosts, NAME, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_list_is_that_of_the_directory(hosts: Hosts) -> None:
    for number in range(300):
        (hosts.archive / f"{number:024X}").write_bytes(b"x" * number)
    (hosts.archive / HISTORY).write_text("1\t0/3000000\tno recovery target specified\n", encoding="utf-8")
    direct, linked = inventory.look(hosts.other, hosts.archive), inventory.look(hosts.mine, None)
    assert linked.complete
    assert sorted(linked.files, key=str) == sorted(direct.files, key=str)
    assert linked.histories == direct.histories
    assert len(linked.files) == 301


def test_restore_command_fetches_over_the_link(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove, sizes = tls.prove, list[tuple[bool, int]]()

    def sized(sock: ssl.SSLSocket, *rest: Any) -> None:
        sizes.append((sock.server_side, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)))
        prove(sock, *rest)

    monkeypatch.setattr(tls, "prove", sized)
    (hosts.archive / NAME).write_bytes(b"wal" * 100_000)
    wal = tmp_path / "pg_wal"
    wal.mkdir()
    words = ["--directory", str(hosts.mine.archive.directory), "--flag", str(tmp_path / "flag")]
    words += ["--peer-link", str(hosts.daemon)]
    assert restore_wal.main([*words, NAME, str(wal / "RECOVERYXLOG")]) == 0
    assert (wal / "RECOVERYXLOG").read_bytes() == b"wal" * 100_000
    assert {end for end, _ in sizes} == {True, False}
    assert max(size for _, size in sizes) <= SEGMENT_BYTES  # of either end, as those of the link
    other = NAME.replace("1", "2")
    assert restore_wal.main([*words, "--strict", other, str(wal / "none")]) == 1
    (hosts.archive / DIRECTORY / INDEX).unlink()  # as where nothing is mounted over there: not "there is none"
    assert restore_wal.main([*words, "--strict", other, str(wal / "none")]) == restore_wal.STOP
    assert restore_wal.main([*words, "--strict", "--without", str(hosts.daemon), other, str(wal / "none")]) == 1
    assert [path.name for path in wal.iterdir()] == ["RECOVERYXLOG"]


def test_a_bulk_transfer_delays_no_heartbeat(hosts: Hosts, tmp_path: Path) -> None:
    """Both in one process, so that they share the interpreter, which is worse than two hosts."""
    with (hosts.archive / NAME).open("wb") as file:
        file.truncate(128 << 20)
    got: list[float] = []
    ends = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for here, there in ((hosts.mine, hosts.other), (hosts.other, hosts.mine)):
        addresses = (here.me.address, port), (there.me.address, port)
        contexts = load_contexts(here.paths.certificates)
        ends.append(PeerLink(*addresses, contexts, lambda text: got.append(time.monotonic() - float(text)), dead_s=5.0))
        ends[-1].start()
    try:
        wait_until(lambda: all(end.state().connected for end in ends), 30, what="the link")
        fetching = threading.Thread(target=fetch, args=(hosts, NAME, tmp_path / "got"))
        fetching.start()
        while fetching.is_alive():
            ends[0].send(str(time.monotonic()))
            fetching.join(0.02)
    finally:
        for end in ends:
            end.close()
    assert (tmp_path / "got").stat().st_size == 128 << 20
    assert len(got) >= 10
    assert sorted(got)[len(got) // 2] < 0.25, f"{sorted(got)}"


def test_certificates_are_renewed_while_it_runs(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path)
    server, relay = hosts.serve(), hosts.relay()
    try:
        wait_until(lambda: answers(hosts), 30, what="the archive")
        pairs = make_pair_certificates(["berlin", "paris"])
        for part, config in ((server, hosts.other), (relay, hosts.mine)):
            install(config.paths.certificates, pairs[config.me.name], pairs[config.peer.name].certificate)
            part.renew(load_contexts(config.paths.certificates, peer_server.PROTOCOL))
            assert answers(hosts) is (part is relay)
    finally:
        relay.close()
        server.close()


# --- what it refuses -------------------------------------------------------------------------------------------

BAD = [
    *("get ../../etc/shadow", "get /etc/shadow", f"get {NAME}/../x", f"get .pgvip/{INDEX}", "get backups", "get ."),
    *(f"get {NAME.lower()}a", f"get {NAME}\0", f"get {NAME}.zst", f"get {NAME} ", f"get  {NAME}", "get", "get "),
    *(f"put {NAME}", "list x", "ping 1", "", "GET " + NAME, f"salvaged ../{NAME}", "get " + "A" * 500, "get \u0661"),
    f"get {NAME}\r",
]


def reply(sock: socket.socket, line: bytes) -> bytes:
    """All that comes back for a line, until the other end closes."""
    found = b""
    with contextlib.suppress(OSError):
        sock.sendall(line + b"\n")
        while data := sock.recv(65536):
            found += data
    return found


@pytest.mark.parametrize("line", BAD)
def test_what_is_no_wal_file_is_not_given(hosts: Hosts, line: str) -> None:
    """Neither to the peer itself, which could be broken into, nor to PostgreSQL's user here."""
    (hosts.archive / NAME).write_bytes(b"secret")
    with hosts.dial(hosts.contexts["berlin"].client) as sock:
        assert reply(sock, line.encode()) == b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5.0)
        client.connect(str(hosts.daemon))
        assert reply(client, line.encode()) == b""


def test_links_and_what_is_no_regular_file_are_not_followed(hosts: Hosts, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (hosts.archive / NAME).symlink_to(secret)
    os.mkfifo(hosts.archive / HISTORY)
    (hosts.archive / f"{NAME}.partial").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / NAME).write_bytes(b"secret")
    (hosts.archive / "salvage").symlink_to(elsewhere)
    for name, what in ((NAME, GET), (HISTORY, GET), (f"{NAME}.partial", GET), (NAME, SALVAGED)):
        with pytest.raises(ArchiveFailed):
            fetch(hosts, name, tmp_path / "got", what)
        assert not (tmp_path / "got").exists()


def test_a_file_larger_than_any_segment_is_not_sent(hosts: Hosts, tmp_path: Path) -> None:
    with (hosts.archive / NAME).open("wb") as file:
        file.truncate(peer_wire.FILE_MAX_BYTES + 1)
    with pytest.raises(ArchiveFailed, match="no WAL file has more"):
        fetch(hosts, NAME, tmp_path / "got")


def test_a_stranger_gets_nothing(hosts: Hosts, tmp_path: Path) -> None:
    (hosts.archive / NAME).write_bytes(b"secret")
    other = make_pair_certificates(["berlin", "mallory"])
    install(tmp_path / "mallory", other["berlin"], other["mallory"].certificate)
    without = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    without.check_hostname, without.verify_mode = False, ssl.CERT_NONE
    without.set_alpn_protocols([peer_server.PROTOCOL])
    foreign = load_contexts(tmp_path / "mallory", peer_server.PROTOCOL).client
    foreign.verify_mode = ssl.CERT_NONE
    for context in (None, without, foreign):
        with contextlib.suppress(OSError), hosts.dial(context) as sock:
            assert b"secret" not in reply(sock, f"get {NAME}".encode())
    # of the pair, but led here from the port of the daemons' link
    with hosts.dial(load_contexts(hosts.mine.paths.certificates).client) as sock:
        assert reply(sock, f"get {NAME}".encode()) == b""
    assert fetch(hosts, NAME, tmp_path / "got")


def test_a_stranger_in_the_peers_place_is_not_believed(tmp_path: Path) -> None:
    """Whoever took over the peer's address has another certificate: not a byte of its answer arrives."""
    hosts = make_hosts(tmp_path)
    pairs = make_pair_certificates(["berlin", "paris"])
    install(tmp_path / "mallory", pairs["paris"], pairs["berlin"].certificate)
    hosts.contexts["paris"] = load_contexts(tmp_path / "mallory", peer_server.PROTOCOL)
    with serving(hosts):
        (hosts.archive / NAME).write_bytes(b"forged")

        def refused() -> bool:
            with pytest.raises(ArchiveFailed, match="cannot reach the archive of paris") as caught:
                fetch(hosts, NAME, tmp_path / "got")
            return "certificate" in str(caught.value)

        wait_until(refused, 10, what="a refusal of the certificate")
    assert not (tmp_path / "got").exists()


def test_silent_strangers_make_room_for_the_peer(hosts: Hosts, tmp_path: Path) -> None:
    (hosts.archive / NAME).write_bytes(b"wal")
    strangers = [hosts.dial(None) for _ in range(3 * peer_server.UNPROVEN_MAX)]
    try:
        began_s = time.monotonic()
        assert fetch(hosts, NAME, tmp_path / "got")
        assert time.monotonic() - began_s < 15.0  # it did not wait for the strangers' time to pass
        wait_until(lambda: threads().count("archive-server") <= peer_server.UNPROVEN_MAX + 1, 5, what="few threads")
    finally:
        for sock in strangers:
            sock.close()


def test_who_does_not_read_is_given_up_and_the_others_are_served(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_server, "STALL_S", 10.0)
    with (hosts.archive / NAME).open("wb") as file:
        file.truncate(64 << 20)
    (hosts.archive / HISTORY).write_bytes(b"1")
    slow = [hosts.dial(hosts.contexts["berlin"].client) for _ in range(peer_server.ANSWERS_MAX)]
    try:
        for sock in slow:
            sock.sendall(f"get {NAME}\n".encode())
            sock.recv(1)
        monkeypatch.setattr(peer_server, "STALL_S", 0.5)
        with pytest.raises(ArchiveFailed, match="busy with other answers"):
            fetch(hosts, HISTORY, tmp_path / "got")
        wait_until(lambda: _has(hosts, HISTORY, tmp_path / "got"), 30, what="room")
    finally:
        for sock in slow:
            sock.close()


def _has(hosts: Hosts, name: str, target: Path) -> bool:
    try:
        return fetch(hosts, name, target)
    except ArchiveFailed:
        return False


def test_other_users_of_this_host_are_turned_away(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hosts.daemon.stat().st_mode & 0o777 == 0o666
    monkeypatch.setattr("pgvip.archive.peer_relay._caller", lambda _sock: 4711)
    with pytest.raises((ArchiveFailed, OSError)):
        peer_fetch.ping(hosts.daemon, 5.0)


def test_each_obstacle_is_named(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path)
    with pytest.raises(ProbeError, match="the pgvip daemon of this host does not run"):
        archive_mount.probe(hosts.mine)
    relay = hosts.relay()
    try:
        with pytest.raises(ProbeError, match=re.escape("cannot reach the archive of paris at")):
            archive_mount.probe(hosts.mine)
        hosts.connected = False
        assert not archive_mount.probe(hosts.mine)
        with pytest.raises(ArchiveError, match="could not read the archive of paris") as caught:
            inventory.look(hosts.mine, None)
        assert "the daemon of paris is not connected" in str(caught.value)
        hosts.connected = True
        server = hosts.serve()
        try:
            wait_until(lambda: answers(hosts), 30, what="the archive")
            (hosts.archive / DIRECTORY / INDEX).unlink()
            (hosts.archive / DIRECTORY).rmdir()
            hosts.archive.rmdir()
            with pytest.raises(ProbeError, match="No such file or directory"):
                archive_mount.probe(hosts.mine)
        finally:
            server.close()
    finally:
        relay.close()


def test_a_port_that_is_taken_is_reported_once_and_tried_again(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path)
    with socket.socket() as other:
        other.bind((hosts.other.me.address, hosts.other.archive.port))
        other.listen()
        server = hosts.serve()
        try:
            wait_until(lambda: bool(hosts.logged), 20, what="a report")
            assert "Address already in use" in hosts.logged[0][1]
            other.close()
            with serving_relay(hosts):
                wait_until(lambda: answers(hosts), 30, what="the archive")
            assert len(hosts.logged) == 1
        finally:
            server.close()


@contextlib.contextmanager
def serving_relay(hosts: Hosts) -> Iterator[None]:
    relay = hosts.relay()
    try:
        yield
    finally:
        relay.close()


# --- answers that are not whole ---------------------------------------------------------------------------------


class Fake:
    """A daemon's socket that answers with given bytes."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.answer = answer
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    client.recv(peer_wire.ASK_MAX_BYTES)
                    client.sendall(self.answer)


HEAD = peer_wire.frame(peer_wire.HEAD, NAME.encode())
PART = peer_wire.frame(peer_wire.DATA, b"wal")
END = peer_wire.frame(peer_wire.END)


@pytest.mark.parametrize("answer", [
    b"", HEAD, HEAD + PART, HEAD + PART[:-1], HEAD + PART + END[:-1], END, PART + END, HEAD + HEAD + END,
    HEAD + PART + peer_wire.frame(peer_wire.MISSING), peer_wire.frame(peer_wire.HEAD, b"../../x") + PART + END,
    peer_wire.frame(peer_wire.HEAD, NAME.replace("1", "2").encode()) + END, peer_wire.frame(6), b"\1\xff\xff\xff\xff",
    HEAD + PART + peer_wire.failed("its disk failed"), peer_wire.failed("\x1b[2J"),
    peer_wire.frame(peer_wire.HEAD, f"{NAME}.gz".encode()) + PART + END,
])  # fmt: skip
def test_what_was_half_sent_is_not_taken(tmp_path: Path, answer: bytes) -> None:
    wal = tmp_path / "pg_wal"
    wal.mkdir()
    fake = Fake(tmp_path / "socket", answer)
    with pytest.raises(ArchiveFailed):
        peer_fetch.fetch(tmp_path / "socket", Ask(GET, NAME), wal / "got", 5.0)
    (tmp_path / "own").mkdir()
    words = ["--directory", str(tmp_path / "own"), "--flag", str(tmp_path / "flag"), "--strict", NAME, str(wal / "x")]
    assert restore_wal.main(["--peer-link", str(tmp_path / "socket"), *words]) == restore_wal.STOP
    fake.listener.close()
    assert not (wal / "x").exists()


def test_more_than_a_segment_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_wire, "FILE_MAX_BYTES", 5)
    Fake(tmp_path / "socket", HEAD + PART + PART + END)
    with pytest.raises(ArchiveFailed, match="longer than any WAL file"):
        peer_fetch.fetch(tmp_path / "socket", Ask(GET, NAME), tmp_path / "got", 5.0)
    assert (tmp_path / "got").stat().st_size <= 5


def test_an_answer_that_stops_ends_with_its_time(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()  # nobody accepts
    began_s = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        peer_fetch.fetch(tmp_path / "socket", Ask(GET, NAME), tmp_path / "got", 0.3)
    assert time.monotonic() - began_s < 15.0
    listener.close()


def test_a_promotion_ends_a_fetch_at_once(tmp_path: Path) -> None:
    """The flag appears while the peer's archive does not answer: nothing is left, and nothing is waited for."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    (tmp_path / "own").mkdir()
    flag = tmp_path / "flag"
    threading.Timer(0.3, flag.touch).start()
    words = ["--directory", str(tmp_path / "own"), "--flag", str(flag), "--timeout", "30"]
    began_s = time.monotonic()
    assert restore_wal.main(["--peer-link", str(tmp_path / "socket"), *words, NAME, str(tmp_path / "x")]) == 1
    assert time.monotonic() - began_s < 15.0
    listener.close()


def test_a_connection_that_is_led_to_the_daemons_link_is_refused(hosts: Hosts) -> None:
    """It has the peer's certificate, and does not speak the archive's protocol."""
    one, two = socket.socketpair()
    other = tls.wrapped(two, load_contexts(hosts.other.paths.certificates), server_side=True)
    mine = tls.wrapped(one, hosts.contexts["berlin"], server_side=False)
    helper = threading.Thread(target=other.do_handshake)
    helper.start()
    with pytest.raises(LinkError, match="does not speak pgvip-archive/1"):
        tls.prove(mine, hosts.contexts["berlin"], peer_server.PROTOCOL, 5.0)
    helper.join()
    mine.close()
    other.close()
