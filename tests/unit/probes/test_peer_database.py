"""Which refusals of the peer's database are signs of life: a stopped daemon beside it is no reason to fence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.errors import ProbeError
from pgvip.probes import peer_database
from tests.unit import configs
from tests.unit.fake_server import error, serving

ADDRESS = "127.0.0.1"


def look(tmp_path: Path, answer: bytes | None) -> bool | None:
    with serving(answer) as port:
        config = configs.make(tmp_path)
        config = replace(config, postgres=replace(config.postgres, port=port))
        return peer_database.probe(config, ADDRESS, 0.5).in_recovery


@pytest.mark.parametrize("sqlstate", ["53300", "28P01", "28000"])
def test_a_server_that_is_full_or_lets_us_not_in_lives(tmp_path: Path, sqlstate: str) -> None:
    assert look(tmp_path, error(sqlstate, "sorry")) is None


@pytest.mark.parametrize(
    "answer",
    [
        error("57P03", "the database system is starting up"),
        error("XX000", "could not fork new process"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
        None,
    ],
    ids=["starting", "broken", "something else", "closed", "silent"],
)
def test_a_server_that_serves_nobody_and_one_that_is_silent_do_not(tmp_path: Path, answer: bytes | None) -> None:
    with pytest.raises(ProbeError):
        look(tmp_path, answer)
