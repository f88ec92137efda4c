"""What comes over the network: ARP and ND frames, frames and messages of the peer link, questions, frames of events."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pgvip.archive import packing, peer_fetch, peer_wire
from pgvip.core.messages import Message
from pgvip.core.values import Mode
from pgvip.daemon.background import checked
from pgvip.errors import FormatError, LinkError, RefusedError
from pgvip.journal.event_store import EventStore
from pgvip.journal.exchange import Exchange
from pgvip.link.connection import Bulk, Connection, Hello, Kind, Text, ask_frame, frame, text_frame
from pgvip.link.questions import Answered, Asked
from pgvip.orders.desk import Desk
from pgvip.orders.peer_questions import PeerQuestions
from pgvip.orders.prechecks import Readiness
from pgvip.setup.likeness import differences
from pgvip.setup.portrait import Portrait, Value
from pgvip.setup.portrait import checked as checked_portrait
from pgvip.setup.push_plan import plan, script
from pgvip.state import codec
from pgvip.system import packets
from tests.fuzz.cases import documents, fuzz, numbers, raw
from tests.unit.core_world import heard_from, record, role_wish

# --- packets --------------------------------------------------------------------------------------------------

ARP = bytes(12) + bytes.fromhex("0806 0001 0800 06 04 0002 525400000001 0a090064") + bytes(28)
ND = bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + IPv6Address("fd00::64").packed + bytes.fromhex("0201 525400000001")
ECHO = bytes([0x45]) + bytes(19) + bytes([0, 0, 0, 0, 1, 2, 0, 3])


def test_the_samples_are_right() -> None:
    assert packets.read_arp(ARP) == ("52:54:00:00:00:01", "10.9.0.100")
    assert packets.read_advertisement(ND) == ("52:54:00:00:00:01", IPv6Address("fd00::64"))
    assert packets.read_echo_reply(ECHO, IPv4Address("10.9.0.2"), 258)[1] == 3


@fuzz(data=raw(ARP, ND, ECHO), ident=numbers(0, 65535))
def test_packets(data: bytes, ident: int) -> None:
    mac, ip = packets.read_arp(data)
    assert (mac == "") == (ip == "")
    assert mac == "" or (len(mac) == 17 and str(IPv4Address(ip)) == ip)
    mac, _target = packets.read_advertisement(data)
    assert len(mac) in (0, 17)
    for address in (IPv4Address("10.9.0.2"), IPv6Address("fd00::2")):
        assert 0 <= packets.read_echo_reply(data, address, ident)[1] < 65536


# --- frames of the peer link ----------------------------------------------------------------------------------


MESSAGE = heard_from("b", record(mode=Mode.PAIR), request=role_wish())
FRAMES = (
    frame(Kind.HELLO, bytes(16)) + text_frame(1, codec.to_json(MESSAGE)),
    frame(Kind.HELLO, bytes(16)) + ask_frame(Kind.ASK, 7, '{"ask":"readiness"}') + frame(Kind.BULK, b"{}"),
    ask_frame(Kind.ANSWER, 7, "{}") + struct.pack(">BI", 9, 2) + b"xx",
)


@fuzz(data=raw(*FRAMES))
def test_frames(data: bytes) -> None:
    with socket.socket() as unused, suppress(LinkError):
        one = Connection(unused, outbound=False, remote="10.9.0.2", deadline_s=0.0)
        for at in range(0, len(data), 700):
            one._in += data[at : at + 700]
            assert all(isinstance(part, Hello | Text | Bulk | Asked | Answered) for part in one._frames())


# --- messages, questions, answers -----------------------------------------------------------------------------

WRITTEN = json.loads(codec.to_json(MESSAGE))


@fuzz(text=documents(WRITTEN, json.loads(codec.to_json(heard_from("a", None)))))
def test_messages(text: str) -> None:
    """What is no message is refused; what is one has the types that its fields say, and can be sent on."""
    with suppress(FormatError):
        message = codec.from_json(Message, text)
        assert type(message.in_recovery) is bool
        assert type(message.seq) is int
        assert codec.from_json(Message, codec.to_json(message)) == message


READINESS = dict.fromkeys(("version", "senders", "slots"), 0) | {"host": "b", "lsn": "0/0", "in_recovery": True}
BACKGROUND = {"host": "b", "name": "x", "age_s": 1.0, "size_bytes": 3}


@fuzz(text=documents({"ok": True, "readiness": READINESS, "backup": BACKGROUND}))
def test_answers(text: str) -> None:
    with suppress(FormatError):
        answer = codec.parse_object(text)
        checked(answer.get("backup"), dict[str, Any])
        codec.decode(Readiness, answer.get("readiness"))


@fuzz(text=documents({"ask": "readiness"}, {"ask": "checkpoint", "limit_s": 3}, {"ask": "background"}))
def test_questions(text: str) -> None:
    """Every question gets an answer, which fits into a frame."""
    questions = PeerQuestions(cast("Desk", SimpleNamespace()), {"background": lambda _request: {}})
    for name in ("readiness", "checkpoint"):  # what they do with the database is tested elsewhere
        questions.handlers[name] = lambda _request: {}
    assert isinstance(json.loads(questions.answer(text))["ok"], bool)


HERE = Portrait(
    "a", 15, files={"pg_hba.conf": ("host all all ::/0 md5",), "pg_ident.conf": ()}, limits={"max_connections": 100},
    settings={"max_connections": Value("100", restart=True), "work_mem": Value("8", "kB"), "geqo": Value("on")},
)  # fmt: skip
THERE = replace(
    HERE, host="b", standby=True, files={"pg_hba.conf": ("host all all ::/0 trust # x",), "pg_ident.conf": ("m a b",)},
    settings={"max_connections": Value("200", in_file=True), "geqo": Value("off", in_file=True)}, libraries=("x",),
    directories={"/d": 7}, tablespaces=("/t",), locales={"C": True}, collations={"libc": "2"}, made={"libc": "1"},
)  # fmt: skip


@fuzz(text=documents(json.loads(codec.to_json(THERE)), json.loads(codec.to_json(HERE))))
def test_descriptions_of_the_other_host(text: str) -> None:
    """They are compared; a copy has lines and settings that may be copied, each of them one line."""
    with suppress(FormatError, RefusedError):
        there = checked_portrait(codec.from_json(Portrait, text))
        said = [one.text for one in (*differences(HERE, there), *differences(there, HERE))]
        assert not any(sign in text for text in said for sign in "\n\r\x1b\0")
        made = plan(there, HERE)
        assert made.files.keys() <= {"pg_hba.conf", "pg_ident.conf"}
        assert made.settings.keys() <= HERE.settings.keys()
        assert script(made.settings).count("\n") == len(made.settings)
        assert not any("\n" in line for lines in made.files.values() for line in lines)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    made = EventStore(Path(tmp_path_factory.mktemp("events")), "a", "b", lambda _name, _text: None)
    made.start()
    yield made
    made.close()


EVENT = {
    "seq": 1, "series": "ab", "at": "2026-01-01T00:00:00.000Z", "host": "b", "pair": "shop", "event": "link",
    "level": "info", "term": 4, "text": "up", "fields": {"a": "b"},
}  # fmt: skip
EVENT_FRAME = {"series": "ab", "have": {"series": "cd", "seq": 0}, "after": 0, "ask": True, "events": [EVENT, EVENT]}


@fuzz(text=documents(EVENT_FRAME))
def test_frames_of_events(store: EventStore, text: str) -> None:
    sent: list[bytes] = []
    exchange = Exchange(store, sent.append)
    exchange.link_changed(up=True)
    asked = exchange.take(text.encode(errors="replace"))
    exchange.tell(asked=asked)
    assert all(len(one) <= codec.MAX_BYTES for one in sent)


# --- the archive over the link --------------------------------------------------------------------------------

SEGMENT = "000000010000000000000001"
ANSWER = b"".join(
    [
        peer_wire.frame(peer_wire.HEAD, SEGMENT.encode()),
        peer_wire.frame(peer_wire.DATA, b"wal" * 9),
        peer_wire.frame(peer_wire.END),
    ]
)


@fuzz(line=raw(f"get {SEGMENT}".encode(), b"salvaged 00000002.history", b"list", b"ping"))
def test_a_question_to_the_archive_names_a_wal_file_or_nothing(line: bytes) -> None:
    try:
        what, name = peer_wire.read_ask(line)
    except peer_wire.WireError:
        return
    assert "/" not in name
    assert not name.startswith(".")
    assert bool(name) == (what in (peer_wire.GET, peer_wire.SALVAGED))
    assert name.isascii()
    assert peer_wire.Ask(what, name).line() == line + b"\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pg_wal")


@fuzz(data=raw(ANSWER))
def test_an_answer_of_the_archive_is_taken_whole_or_not(directory: Path, data: bytes) -> None:
    parts = iter([data[:7], data[7:]])
    said, target = "", directory / "got"
    target.unlink(missing_ok=True)
    try:
        found = peer_fetch.take(peer_fetch.frames_of(lambda: next(parts, b"")), SEGMENT, target)
    except packing.ArchiveFailed as failure:
        said, found = str(failure), target.exists()
    assert said.isprintable()
    assert found == target.exists()
    assert not found or target.stat().st_size < len(data)
    assert set(directory.iterdir()) <= {target}
