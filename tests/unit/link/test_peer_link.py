"""Two links on real sockets: they find each other, lose each other, and let nobody else in."""

from __future__ import annotations

import contextlib
import errno
import itertools
import queue
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.errors import LinkError
from pgvip.link.certificates import make_pair_certificates
from pgvip.link.connection import (
    HEADER,
    INSTANCE_BYTES,
    SERIAL,
    Kind,
    frame,
    open_listener,
    open_socket,
    text_frame,
)
from pgvip.link.limits import HANDSHAKE_S, UNPROVEN_MAX
from pgvip.link.link_state import LinkState
from pgvip.link.peer_link import PeerLink
from pgvip.link.tls import NEXT, Contexts, install, load_contexts, trust, write
from pgvip.link.trial import served
from pgvip.state.codec import MAX_BYTES
from tests.unit.descriptors import none_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEAD_S = 0.8
HELLO = frame(Kind.HELLO, b"x" * INSTANCE_BYTES)
_networks = itertools.count(1)


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition was not met in time"
        time.sleep(0.005)


@dataclass
class End:
    """One host's link and what it received."""

    link: PeerLink
    got: queue.Queue[str] = field(default_factory=queue.Queue)
    changes: list[bool] = field(default_factory=list)
    bulk: queue.Queue[bytes] = field(default_factory=queue.Queue)

    def take(self, within_s: float = 3.0) -> str:
        return self.got.get(timeout=within_s)

    def take_until(self, text: str, within_s: float = 3.0) -> None:
        deadline_s = time.monotonic() + within_s
        while self.take(max(0.01, deadline_s - time.monotonic())) != text:
            pass


@dataclass
class Pair:
    """Two hosts on loopback addresses of their own, with certificates for both."""

    alpha: tuple[str, int]
    beta: tuple[str, int]
    contexts: dict[str, Contexts]
    ends: list[End] = field(default_factory=list)

    def end(
        self,
        name: str,
        dead_s: float = DEAD_S,
        contexts: Contexts | None = None,
        on_question: Callable[[str], str] = lambda _text: "",
    ) -> End:
        mine, other = (self.alpha, self.beta) if name == "alpha" else (self.beta, self.alpha)
        end = End(link=None)  # type: ignore[arg-type]  # its link needs its queue first
        end.link = PeerLink(
            mine, other, contexts or self.contexts[name], end.got.put, dead_s=dead_s
        )
        end.link.attach(on_change=end.changes.append, on_bulk=end.bulk.put, on_question=on_question)
        end.link.start()
        self.ends.append(end)
        return end

    def tls_client(self, name: str, to: tuple[str, int], within_s: float = 3.0) -> ssl.SSLSocket:
        """Connect as host `name` would, by hand."""
        mine = self.alpha if name == "alpha" else self.beta
        deadline_s = time.monotonic() + within_s
        while True:
            try:
                raw = socket.create_connection(to, timeout=3.0, source_address=(mine[0], 0))
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline_s
        return self.contexts[name].client.wrap_socket(raw)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Contexts]:
    base = tmp_path_factory.mktemp("tls")
    pairs = make_pair_certificates(["alpha", "beta"])
    for me, peer in (("alpha", "beta"), ("beta", "alpha")):
        install(base / me, pairs[me], pairs[peer].certificate)
    return {me: load_contexts(base / me) for me in ("alpha", "beta")}


@pytest.fixture
def pair(certificates: dict[str, Contexts]) -> Iterator[Pair]:
    number = next(_networks)
    port = free_port()
    made = Pair((f"127.9.{number}.1", port), (f"127.9.{number}.2", port), certificates)
    yield made
    for end in made.ends:
        end.link.close()
    names = [thread.name for thread in threading.enumerate()]
    assert "peer-link" not in names


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def connected(end: End) -> bool:
    return end.link.state().connected


def closed_by_other(sock: socket.socket, within_s: float = 5.0) -> bool:
    """True once the other end closed or reset, whatever it sent before."""
    sock.settimeout(within_s)
    try:
        while sock.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_texts_go_both_ways_and_each_comes_once(pair: Pair) -> None:
    alpha, beta = pair.end("alpha"), pair.end("beta")
    until(lambda: connected(alpha) and connected(beta))
    until(lambda: alpha.link.state().connections == 2 and beta.link.state().connections == 2)
    for number in range(20):
        alpha.link.send(f"a{number}")
        beta.link.send(f"b{number}")
        assert beta.take() == f"a{number}"
        assert alpha.take() == f"b{number}"
    time.sleep(0.05)  # what would come twice, through the second connection, has come by now
    assert alpha.got.empty()
    assert beta.got.empty()


def test_what_was_sent_before_the_peer_was_there_arrives_as_the_newest_only(pair: Pair) -> None:
    alpha = pair.end("alpha")
    for number in range(50):
        alpha.link.send(str(number))
    beta = pair.end("beta")
    assert beta.take() == "49"
    time.sleep(0.05)
    assert beta.got.empty()


def test_a_text_is_there_at_once(pair: Pair) -> None:
    alpha, beta = pair.end("alpha"), pair.end("beta")
    until(lambda: connected(alpha) and connected(beta))
    times_s = []
    for number in range(41):
        began_s = time.monotonic()
        alpha.link.send(str(number))
        beta.take_until(str(number))
        times_s.append(time.monotonic() - began_s)
    assert sorted(times_s)[20] < 0.05


def test_big_text_arrives_whole_and_a_bigger_one_is_refused_at_once(pair: Pair) -> None:
    alpha, beta = pair.end("alpha"), pair.end("beta")
    big = "ä" * (MAX_BYTES // 2)
    alpha.link.send(big)
    assert beta.take() == big
    with pytest.raises(LinkError, match="too long"):
        alpha.link.send(big + "x")


def test_silence_drops_the_connection_and_texts_keep_it(pair: Pair) -> None:
    alpha, beta = pair.end("alpha", dead_s=0.4), pair.end("beta", dead_s=60.0)
    until(lambda: connected(alpha) and connected(beta))
    since_s = alpha.link.state().since_s
    for number in range(12):
        beta.link.send(str(number))
        time.sleep(0.06)
    assert alpha.link.state().since_s == since_s
    until(lambda: False in alpha.changes)
    assert "nothing came for 0.4 s" in alpha.link.state().last_error


def test_daemon_that_ends_is_known_at_once_and_its_successor_connects_within_half_a_second(pair: Pair) -> None:
    alpha, beta = pair.end("alpha", dead_s=30.0), pair.end("beta", dead_s=30.0)
    until(lambda: connected(alpha) and connected(beta))
    beta.link.close()
    until(lambda: not connected(alpha), within_s=0.5)
    again = pair.end("beta", dead_s=30.0)
    alpha.link.send("hello again")
    assert again.take(within_s=1.0) == "hello again"
    again.link.send("serials start anew")
    alpha.take_until("serials start anew", within_s=1.0)


def test_last_text_arrives_before_the_close(pair: Pair) -> None:
    alpha, beta = pair.end("alpha"), pair.end("beta")
    until(lambda: connected(alpha) and connected(beta))
    alpha.link.send("leaving")
    alpha.link.close()
    beta.take_until("leaving")


def test_half_open_connection_of_an_earlier_boot_does_not_hold_up_the_new_one(pair: Pair) -> None:
    alpha = pair.end("alpha", dead_s=60.0)
    stale = pair.tls_client("beta", pair.alpha)  # beta before its power-off: never says good-bye
    stale.sendall(HELLO + text_frame(9_000, "old"))
    alpha.take_until("old")
    beta = pair.end("beta", dead_s=60.0)
    alpha.link.send("to the new one")
    assert beta.take(within_s=1.0) == "to the new one"
    beta.link.send("from the new one")
    alpha.take_until("from the new one", within_s=1.0)
    assert closed_by_other(stale)
    stale.close()
    assert alpha.changes == [True]


def test_wrong_certificate_is_refused_both_ways(pair: Pair, tmp_path: Path) -> None:
    stranger = make_pair_certificates(["alpha", "beta"])
    install(tmp_path, stranger["beta"], make_pair_certificates(["alpha"])["alpha"].certificate)
    alpha = pair.end("alpha")
    wrong = pair.end("beta", contexts=load_contexts(tmp_path))
    until(lambda: "certificate" in wrong.link.state().last_error.lower())
    until(lambda: "certificate" in alpha.link.state().last_error.lower())
    alpha.link.send("secret")
    wrong.link.send("forged")
    time.sleep(0.5)
    assert alpha.changes == wrong.changes == []
    assert wrong.got.empty()
    assert alpha.got.empty()


def test_own_certificate_is_not_the_peers(pair: Pair) -> None:
    """A host must not be able to talk to itself (an address taken over by mistake)."""
    alpha = pair.end("alpha")
    until(lambda: alpha.link.state().listening)
    context = pair.contexts["alpha"].client
    raw = socket.create_connection(pair.alpha, timeout=3.0)
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


def test_exact_certificate_is_wanted_even_if_the_trust_store_says_yes(pair: Pair) -> None:
    alpha = pair.end("alpha", contexts=replace(pair.contexts["alpha"], peer_ders=(b"another",)))
    beta = pair.end("beta")
    beta.link.send("x")
    until(lambda: "is not the peer's" in alpha.link.state().last_error)
    assert alpha.got.empty()


def test_plain_and_old_tls_clients_are_refused(pair: Pair) -> None:
    alpha = pair.end("alpha")
    until(lambda: alpha.link.state().listening)
    with socket.create_connection(pair.alpha, timeout=3.0) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert closed_by_other(plain)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)), socket.create_connection(pair.alpha, timeout=3.0) as raw:
        old.wrap_socket(raw)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(pair.alpha, timeout=3.0) as raw, bare.wrap_socket(raw) as no_certificate:
        assert closed_by_other(no_certificate)
    assert alpha.changes == []


def test_silent_clients_are_dropped_and_do_not_keep_the_peer_out(pair: Pair) -> None:
    alpha = pair.end("alpha")
    until(lambda: alpha.link.state().listening)
    silent = [socket.create_connection(pair.alpha, timeout=3.0) for _ in range(UNPROVEN_MAX * 3)]
    beta = pair.end("beta")
    alpha.link.send("through the crowd")
    assert beta.take(within_s=1.5) == "through the crowd"
    assert all(closed_by_other(sock, HANDSHAKE_S + 1.0) for sock in silent)
    for sock in silent:
        sock.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 100,
        HELLO + HEADER.pack(Kind.TEXT, 2**31),
        HELLO + frame(Kind.TEXT, b"short"),
        HELLO + frame(Kind.TEXT, SERIAL.pack(1) + b"\xff\xfe"),
        text_frame(1, "no hello"),
        frame(Kind.HELLO, b"short"),
        HELLO + text_frame(1, "x" * MAX_BYTES) * 40,
    ],
    ids=["noise", "huge", "short", "not utf-8", "no hello", "short hello", "flood"],
)
def test_garbage_from_the_peer_ends_that_connection_only(pair: Pair, garbage: bytes) -> None:
    alpha = pair.end("alpha")
    with pair.tls_client("beta", pair.alpha) as bad:
        with contextlib.suppress(OSError):  # refused while it was still sending
            bad.sendall(garbage)
        if len(garbage) < MAX_BYTES:  # a flood is cut only when it outruns the reader
            assert closed_by_other(bad)
    beta = pair.end("beta")
    beta.link.send("fine")
    alpha.take_until("fine")


def test_unknown_frames_of_a_newer_peer_are_skipped(pair: Pair) -> None:
    alpha = pair.end("alpha")
    with pair.tls_client("beta", pair.alpha) as newer:
        newer.sendall(frame(Kind.HELLO, b"x" * INSTANCE_BYTES + b"more") + HEADER.pack(77, 3) + b"abc")
        newer.sendall(text_frame(1, "ok"))
        assert alpha.take() == "ok"


def test_frames_arrive_in_pieces(pair: Pair) -> None:
    alpha = pair.end("alpha")
    with pair.tls_client("beta", pair.alpha) as slow:
        for byte in HELLO + text_frame(1, "piece by piece"):
            slow.sendall(bytes([byte]))
        assert alpha.take() == "piece by piece"


def test_port_that_is_taken_is_tried_again(pair: Pair) -> None:
    with socket.socket() as squatter:
        squatter.bind(pair.alpha)
        squatter.listen()
        alpha = pair.end("alpha")
        until(lambda: "cannot listen" in alpha.link.state().listen_error)
        assert not alpha.link.state().listening
    until(lambda: alpha.link.state().listening, within_s=2.0)
    assert not alpha.link.state().listen_error


def test_dialling_goes_on_when_no_descriptor_was_left(pair: Pair) -> None:
    """Not even in a reserve: the daemon must outlive it, and find its peer again."""
    alpha = pair.end("alpha")
    until(lambda: alpha.link.state().listening)
    with none_left():
        until(lambda: "Too many open files" in alpha.link.state().last_error)
    beta = pair.end("beta")
    beta.link.send("hello")
    assert alpha.take() == "hello"


def test_sockets_of_the_link_are_made_from_what_was_set_aside(pair: Pair) -> None:
    with none_left(set_aside=20), open_listener(pair.beta, 1) as listener, open_socket(pair.beta) as sock:
        assert sock.connect_ex(pair.beta) in {0, errno.EINPROGRESS}
        assert listener.getsockname() == pair.beta


def test_one_open_direction_is_enough(pair: Pair) -> None:
    """A firewall lets only alpha dial: beta's own attempts go to a port where nobody is."""
    beta = End(link=None)  # type: ignore[arg-type]  # its link needs its queue first
    nowhere = (pair.alpha[0], free_port())
    beta.link = PeerLink(pair.beta, nowhere, pair.contexts["beta"], beta.got.put, dead_s=DEAD_S)
    beta.link.start()
    pair.ends.append(beta)
    alpha = pair.end("alpha")
    alpha.link.send("there")
    beta.take_until("there")
    beta.link.send("and back")
    alpha.take_until("and back")
    assert beta.link.state().connections == 1


def test_send_never_waits_for_a_peer_that_does_not_read(pair: Pair) -> None:
    alpha = pair.end("alpha", dead_s=60.0)
    with pair.tls_client("beta", pair.alpha) as deaf:
        deaf.sendall(HELLO + text_frame(1, "here"))
        alpha.take_until("here")
        began_s = time.monotonic()
        for number in range(300):
            alpha.link.send(f"{number}" + "x" * 60_000)
        assert time.monotonic() - began_s < 3.0


def test_rest_costs_next_to_nothing(pair: Pair) -> None:
    alpha, beta = pair.end("alpha"), pair.end("beta")
    until(lambda: alpha.link.state().connections == 2 == beta.link.state().connections)
    began_s = time.process_time()
    for number in range(5):
        alpha.link.send(str(number))
        beta.link.send(str(number))
        time.sleep(0.2)
    assert time.process_time() - began_s < 0.3  # both hosts, one second, the fast preset's heartbeat


def test_close_before_start_and_twice(pair: Pair) -> None:
    link = PeerLink(pair.alpha, pair.beta, pair.contexts["alpha"], print, dead_s=1.0)
    assert link.state() == LinkState()
    link.close()
    end = pair.end("alpha")
    end.link.close()
    end.link.close()


def test_new_keys_are_used_at_once_and_the_old_ones_are_void(pair: Pair, tmp_path: Path) -> None:
    alpha, beta = pair.end("alpha"), pair.end("beta")
    beta.link.send("with old keys")
    alpha.take_until("with old keys")
    fresh = make_pair_certificates(["alpha", "beta"])
    for me, peer in (("alpha", "beta"), ("beta", "alpha")):
        install(tmp_path / me, fresh[me], fresh[peer].certificate)
    alpha.link.renew(load_contexts(tmp_path / "alpha"))
    until(lambda: not alpha.link.state().connected)
    beta.link.send("still with old keys")
    until(lambda: "certificate" in alpha.link.state().last_error.lower())
    assert not alpha.link.state().connected
    beta.link.renew(load_contexts(tmp_path / "beta"))
    alpha.take_until("still with old keys")


def test_a_host_moves_to_another_address_without_losing_the_link(pair: Pair) -> None:
    alpha, beta = (pair.end(name, dead_s=20.0) for name in ("alpha", "beta"))
    until(lambda: alpha.link.state().connections == 2 and beta.link.state().connections == 2)
    moved = (pair.beta[0].replace(".2", ".3"), pair.beta[1])
    beta.link.move(moved, pair.alpha)
    until(lambda: beta.link.state().listening)
    alpha.link.move(pair.alpha, moved)
    until(lambda: served_at(pair, moved))
    until(lambda: alpha.link.state().connections == 2 and beta.link.state().connections == 2)
    for end, other in ((alpha, beta), (beta, alpha)):
        end.link.send("from the new address")
        other.take_until("from the new address")
    assert alpha.changes == beta.changes == [True]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(pair.beta, timeout=3.0).close()


def served_at(pair: Pair, address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=3.0, source_address=(pair.alpha[0], 0)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_certificate_that_is_not_the_expected_one_is_known_on_both_ends(pair: Pair, tmp_path: Path) -> None:
    """As after a bundle that was not installed: one end has another key, and knows the other's."""
    fresh = make_pair_certificates(["beta"])["beta"]
    own = pair.contexts["beta"].peer_ders[0]
    install(tmp_path, fresh, ssl.DER_cert_to_PEM_cert(own))
    alpha, wrong = pair.end("alpha"), pair.end("beta", contexts=load_contexts(tmp_path))
    until(lambda: alpha.link.state().refused == "peer")
    until(lambda: wrong.link.state().refused == "own")
    wrong.link.renew(pair.contexts["beta"])
    until(lambda: connected(alpha) and connected(wrong))
    assert alpha.link.state().refused == wrong.link.state().refused == ""


def test_certificates_are_renewed_on_both_ends_without_losing_the_link(pair: Pair, tmp_path: Path) -> None:
    first, new = (make_pair_certificates(["alpha", "beta"]) for _ in range(2))
    for me, peer in (("alpha", "beta"), ("beta", "alpha")):
        install(tmp_path / me, first[me], first[peer].certificate)
    alpha, beta = (pair.end(me, dead_s=20.0, contexts=load_contexts(tmp_path / me)) for me in ("alpha", "beta"))
    until(lambda: alpha.link.state().connections == 2 and beta.link.state().connections == 2)
    ends, old = {"alpha": (alpha, "beta"), "beta": (beta, "alpha")}, load_contexts(tmp_path / "alpha")

    def renew(me: str) -> None:
        link = ends[me][0].link
        link.renew(load_contexts(tmp_path / me), gently=True)
        until(lambda: link._renewed is None and not any(one.replaced for one in tuple(link._connections.values())))
        until(lambda: all(end.link.state().connections == 2 for end, _ in ends.values()))

    for me, (_, peer) in ends.items():
        write(tmp_path / me, {NEXT: new[peer].certificate})
        renew(me)
    for me in ends:
        write(tmp_path / me, {"own.key": new[me].key, "own.crt": new[me].certificate})
        renew(me)
    for me, (_, peer) in ends.items():
        trust(tmp_path / me, new[peer].certificate)
        renew(me)
    alpha.link.send("by new keys")
    beta.take_until("by new keys")
    assert alpha.changes == beta.changes == [True]
    with pytest.raises(LinkError, match="does not accept"):
        served(pair.alpha[0], pair.beta, replace(old, peer_ders=()), 3.0)
    contexts = load_contexts(tmp_path / "alpha")
    assert served(pair.alpha[0], pair.beta, contexts, 3.0) == ssl.PEM_cert_to_DER_cert(new["beta"].certificate)
    with pytest.raises(LinkError, match="is not the peer's"):
        served(pair.alpha[0], pair.beta, replace(contexts, peer_ders=(b"another",)), 3.0)


# --- questions -------------------------------------------------------------------------------------------------


def test_a_question_is_answered_once_whatever_the_number_of_connections(pair: Pair) -> None:
    asked: list[str] = []

    def answer(text: str) -> str:
        asked.append(text)
        return text.upper()

    alpha, beta = pair.end("alpha", dead_s=20.0), pair.end("beta", dead_s=20.0, on_question=answer)
    until(lambda: alpha.link.state().connections == 2 and beta.link.state().connections == 2)
    assert alpha.link.ask("ready?", 5.0) == "READY?"
    assert alpha.link.ask("again?", 5.0) == "AGAIN?"
    assert asked == ["ready?", "again?"]


def test_a_question_that_takes_long_holds_up_neither_texts_nor_others(pair: Pair) -> None:
    go_on = threading.Event()

    def answer(text: str) -> str:
        if text == "slow":
            go_on.wait(10)
        return text

    alpha, beta = pair.end("alpha", dead_s=20.0), pair.end("beta", dead_s=20.0, on_question=answer)
    until(lambda: connected(alpha) and connected(beta))
    with pytest.raises(LinkError, match="no answer within"):
        alpha.link.ask("slow", 0.3)
    assert alpha.link.ask("quick", 5.0) == "quick"
    alpha.link.send("heartbeat")
    beta.take_until("heartbeat")
    go_on.set()


def test_without_a_connection_a_question_fails_at_once(pair: Pair) -> None:
    alpha = pair.end("alpha")
    with pytest.raises(LinkError, match="not connected"):
        alpha.link.ask("ready?", 5.0)


def test_a_question_too_long_is_refused_where_it_is_asked(pair: Pair) -> None:
    alpha, beta = pair.end("alpha", dead_s=20.0), pair.end("beta", dead_s=20.0)
    until(lambda: connected(alpha) and connected(beta))
    with pytest.raises(LinkError, match="too long"):
        alpha.link.ask("x" * (MAX_BYTES + 1), 5.0)
