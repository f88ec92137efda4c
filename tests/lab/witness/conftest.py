"""The server that the tests of the witness share; each uses pairs of its own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.lab.witness.servers import Server, made, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def shared() -> Iterator[Server]:
    """The distribution's PostgreSQL, which has TLS, with a witness in it."""
    running = make_server()
    try:
        made(running)
        yield running
    finally:
        running.close()


@pytest.fixture
def server(shared: Server) -> Server:
    """It runs, whatever the last test has left."""
    if not (shared.data / "postmaster.pid").exists():
        shared.start()
    return shared


@pytest.fixture
def pair_id() -> str:
    return uuid.uuid4().hex
