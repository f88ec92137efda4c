"""What answers at the peer's address counts only when it proves to be the pair's own; all else is named, for people."""

from __future__ import annotations

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

ADDRESS = "127.0.0.1"
SYSTEM_ID = "7300000000000000001"


def look(tmp_path: Path, answer: bytes | None, then: bytes = b"") -> PeerDatabase:
    with serving(answer, then) as port:
        config = configs.make(tmp_path)
        config = replace(config, postgres=replace(config.postgres, port=port))
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
