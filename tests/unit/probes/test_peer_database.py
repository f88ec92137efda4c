"""What answers at the peer's address counts only when it proves to be the pair's own; all else is named, for people."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.core.observations import PeerDatabase
from pgvip.probes import peer_database
from pgvip.probes.peer_database import StrangerError
from pgvip.system.sql import NoAnswer
from tests.fuzz.fake_postgres import GREETING, spoken
from tests.unit import configs
from tests.unit.fake_server import PASSWORD, error, message, serving
from tests.unit.verified_pair import ADDRESS, pair, server

SYSTEM_ID = "7300000000000000001"


def look(tmp_path: Path, answer: bytes | None, then: bytes = b"") -> PeerDatabase:
    """At what has the peer's key; what has none does not get as far as an answer."""
    here, there = pair(tmp_path)
    with serving(None) if answer is None else server(there, answer, then) as port:
        config = replace(here, postgres=replace(here.postgres, port=port))
        return peer_database.probe(config, ADDRESS, SYSTEM_ID, 0.5)


def says(system_id: str) -> bytes:
    """The answer of a database to the query of this probe."""
    return spoken(((16, 23, 25), ((b"f", b"3", system_id.encode()),)))


def test_the_pair_s_own_database_answers(tmp_path: Path) -> None:
    assert look(tmp_path, GREETING, says(SYSTEM_ID)) == PeerDatabase(False, 3, SYSTEM_ID)


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ((error("53300", "sorry, too many clients already"),), "too many clients"),
        ((error("28P01", "password authentication failed"),), "password authentication failed"),
        ((error("28000", "no pg_hba.conf entry"),), "no pg_hba.conf entry"),
        ((error("57P03", "the database system is starting up"),), "starting up"),
        ((error("XX000", "could not fork new process"),), "could not fork"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "does not speak PostgreSQL's protocol"),
        ((GREETING, says("7999999999999999999")), "system identifier 7999999999999999999"),
        ((GREETING, spoken(((16, 23, 25), ()))), "It has 0 rows"),
        ((GREETING, spoken(((25, 23, 25), ((b"no", b"3", b"7"),)))), "must be true or false"),
        ((GREETING, error("42501", "permission denied", "ERROR") + message(b"Z", b"I")), "permission denied"),
    ],
    ids=["full", "password", "hba", "starting", "broken", "HTTP", "other cluster", "no row", "type", "forbidden"],
)
def test_what_does_not_prove_to_be_the_peer_is_named_and_counts_for_nothing(
    tmp_path: Path, answers: tuple[bytes, ...], named: str
) -> None:
    with pytest.raises(StrangerError, match=r"something answers at 127\.0\.0\.1: ") as caught:
        look(tmp_path, *answers)
    assert named in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("answer", [b"", None, PASSWORD[:5]], ids=["closed", "silent", "half a message"])
def test_a_connection_that_is_accepted_and_no_more_is_silence(tmp_path: Path, answer: bytes | None) -> None:
    """The kernel of a frozen host does as much."""
    with pytest.raises(NoAnswer):
        look(tmp_path, answer)


def test_what_has_no_key_of_the_pair_s_is_named_whatever_it_answers(tmp_path: Path) -> None:
    here, _ = pair(tmp_path)
    with serving(GREETING, says(SYSTEM_ID)) as port, pytest.raises(StrangerError) as caught:
        peer_database.probe(replace(here, postgres=replace(here.postgres, port=port)), ADDRESS, SYSTEM_ID, 0.5)
    assert "is not verified: server does not support SSL" in caught.value.message


def test_what_hangs_up_is_silence(tmp_path: Path) -> None:
    config = replace(pair(tmp_path)[0], peer=configs.make(tmp_path).peer)
    with socket.create_server((ADDRESS, 0)) as listener:
        config = replace(config, postgres=replace(config.postgres, port=listener.getsockname()[1]))
        threading.Thread(target=hang_up, args=(listener,), daemon=True).start()
        with pytest.raises(NoAnswer):
            peer_database.probe(config, ADDRESS, SYSTEM_ID, 0.5)


def hang_up(listener: socket.socket) -> None:
    """On whoever comes."""
    with suppress(OSError):
        while True:
            listener.accept()[0].close()
