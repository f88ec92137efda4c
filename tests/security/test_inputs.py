"""The inputs that each ended the daemon once: a failure of what was asked, with its cause, and nothing more.

No right is needed to run these. `tests/fuzz/` has the neighbours of each.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.core.messages import Message
from pgvip.errors import FormatError, PostgresError, ProbeError
from pgvip.events.event_table import Event, Level
from pgvip.journal.event_store import EventStore, Wanted, stored
from pgvip.state import codec
from pgvip.system import packets, pgconf, processes, stopped_wal, wal_files
from pgvip.system.sql import UnverifiedError, connect_local
from tests.unit.configs import make

DEEP = ["[" * 100_000, '{"a":' * 100_000, '{"version": ' + "1" * 5_000 + "}"]
EVENT = Event("restart", Level.INFO, "x", "2026-11-25T10:00:00.000Z", "berlin", "pair", 4, series="s")
PORT = 5432
NO_HISTORY = [b"", b"\n", bytes(4096), b"\xff\xfe\xff\xfe\n", b"1\t0/g\t\n", b"\xc2\xb2\t0/1\tx\n", b"2\t0/1\tx\n"]


@pytest.mark.parametrize("data", NO_HISTORY)
def test_a_history_file_that_is_empty_or_garbled(tmp_path: Path, data: bytes) -> None:
    config = make(tmp_path)
    wal = config.postgres.data_directory / "pg_wal"
    wal.mkdir(parents=True)
    (wal / "00000002.history").write_bytes(data)
    with pytest.raises(FormatError, match=r"00000002\.history is damaged"):
        wal_files.read_history(wal, 2)
    with pytest.raises(PostgresError, match="history"):
        stopped_wal.local_history(config, 2)


@pytest.mark.parametrize("text", ["²", "٣\n", "-1\n", "", "\0", "9" * 5_000, "1\n"])
def test_a_pid_file_that_names_no_process_of_the_cluster(tmp_path: Path, text: str) -> None:
    (tmp_path / "postmaster.pid").write_text(text)
    assert processes.postmaster(tmp_path) is None
    assert processes.look(tmp_path) == processes.Cluster(None, 0)


def test_a_configuration_file_of_ours_that_is_not_utf8(tmp_path: Path) -> None:
    config = make(tmp_path)
    directory = config.postgres.config_directory
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "postgresql.conf").write_bytes(b"cluster_name = 'caf\xe9'\n")
    (directory / pgconf.FILE_NAME).write_bytes(b"port = 1 # caf\xe9\nmax_connections = '\xb2'\narchive_command = 'x'\n")
    assert pgconf.refresh_commands(config)
    pgconf.write(config, sync=True, version=17)
    assert b"caf\xe9" in (directory / "postgresql.conf").read_bytes()
    assert b"\xb2" not in (directory / pgconf.FILE_NAME).read_bytes()


@pytest.mark.parametrize("text", DEEP, ids=["list", "object", "digits"])
def test_json_of_the_peer_that_is_deep_or_endless(text: str) -> None:
    with pytest.raises(FormatError):
        codec.from_json(Message, text[: 60 * 1024])
    with pytest.raises(FormatError):
        codec.parse_object(text, max_bytes=1 << 20)


@pytest.mark.parametrize("text", DEEP, ids=["list", "object", "digits"])
def test_a_line_of_the_journal_that_is_deep_or_endless(tmp_path: Path, text: str) -> None:
    """It is left out; what stands before and after it is read."""
    lines = [json.dumps(replace(EVENT, seq=number).document()) for number in (1, 2)]
    (tmp_path / "berlin.jsonl").write_text("\n".join([lines[0], text, lines[1], ""]))
    assert [event.seq for event in stored(tmp_path, "berlin")] == [1, 2]
    store = EventStore(tmp_path, "berlin", "paris", lambda _name, _text: None)
    store.start()
    store.close()
    assert [event.seq for event in store.find(Wanted())] == [1, 2]


def test_another_user_s_server_on_the_local_socket_is_not_the_clusters(tmp_path: Path) -> None:
    """socket_directory may be /tmp: while PostgreSQL is down, everybody may serve there."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    config = make(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / f".s.PGSQL.{PORT}"))
        listener.listen(4)
        told = {}
        for user in (me, "postgres" if me != "postgres" else "root"):
            postgres = replace(config.postgres, user=user, socket_directory=tmp_path, port=PORT)
            with pytest.raises(ProbeError) as failed, connect_local(replace(config, postgres=postgres)) as session:
                session.query("in_recovery", timeout_s=0.5)
            told[user] = type(failed.value) is UnverifiedError
        assert told.pop(me) is False, "it is silent"
        assert list(told.values()) == [True]


def arp(hardware: int = 1, protocol: int = 0x0800, sizes: tuple[int, int] = (6, 4), operation: int = 2) -> bytes:
    """An ARP packet in its Ethernet frame (RFC 826)."""
    head = struct.pack(">HHBBH", hardware, protocol, *sizes, operation)
    return bytes(12) + b"\x08\x06" + head + bytes.fromhex("525400000001 0a090064") + bytes(10)


def test_an_arp_frame_of_another_form_is_no_answer() -> None:
    whole = arp()
    assert packets.read_arp(whole) == ("52:54:00:00:00:01", "10.9.0.100")
    for end in range(14 + 8 + 20):
        mac, _ip = packets.read_arp(whole[:end])
        assert len(mac) in (0, 17), end
    others = [arp(sizes=sizes) for sizes in ((0, 0), (6, 16), (255, 255))]
    for odd in (*others, arp(hardware=0xFFFF), arp(protocol=0x86DD)):
        assert packets.read_arp(odd) == ("", "")
