"""The question whether the other host has the programs of a new major version, over the link's own form."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgvip.config.model import Config
from pgvip.daemon.programs_desk import ProgramsDesk
from pgvip.errors import FormatError, LinkError, PgvipError, RefusedError
from pgvip.orders.desk import Desk
from pgvip.orders.peer_questions import PeerQuestions
from pgvip.state import codec
from pgvip.status.snapshot import Newest
from tests.unit import configs

Document = Mapping[str, Any]


class Commands:
    """What the desk of the questions hands on: nothing here."""

    def put(self, command: object) -> None:
        raise AssertionError(command)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = configs.make(tmp_path)
    (tmp_path / "data/base").mkdir(parents=True)
    (tmp_path / "data/PG_VERSION").write_text("15\n")
    return replace(made, postgres=replace(made.postgres, user=pwd.getpwuid(os.geteuid()).pw_name))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory in which there is a server's program, and one of its libraries."""
    directory = tmp_path / "new/bin"
    directory.mkdir(parents=True)
    (directory / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.4'\n")
    (directory / "postgres").chmod(0o755)
    (tmp_path / "new/lib").mkdir()
    (tmp_path / "new/lib/plpgsql.so").touch()
    return directory


def desk(config: Config) -> ProgramsDesk:
    """That of a host whose peer answers by the same configuration."""
    other = ProgramsDesk(lambda: config, lambda _question, _timeout_s: {})
    questions = PeerQuestions(Desk(Newest(), Commands()), {"programs": other.answer})

    def ask(question: Document, _timeout_s: float) -> Document:
        return codec.parse_object(questions.answer(codec.plain_to_json(question)))

    return ProgramsDesk(lambda: config, ask)


def test_the_other_host_says_what_it_has(config: Config, installed: Path) -> None:
    found = desk(config).handle({"directory": str(installed)}, None)["programs"]
    assert (found["version"], found["libraries"], found["empty"]) == ("18.4", ["plpgsql"], True)
    assert found["data"] == f"{config.postgres.data_directory}-18"
    assert "initdb" in found["missing"]
    assert "postgres" not in found["missing"]


def test_where_the_new_data_would_be_is_not_empty(config: Config, installed: Path, tmp_path: Path) -> None:
    found = desk(config).handle({"directory": str(installed), "data": str(tmp_path / "new")}, None)["programs"]
    assert (found["data"], found["empty"]) == (str(tmp_path / "new"), False)


def test_a_lack_there_is_an_answer(config: Config, tmp_path: Path) -> None:
    with pytest.raises(PgvipError, match="there is no PostgreSQL in") as refused:
        desk(config).handle({"directory": str(tmp_path / "nothing")}, None)
    assert refused.value.hint == "Install the new version."


def test_a_program_that_others_may_write_to_is_not_called(config: Config, installed: Path, tmp_path: Path) -> None:
    """The other host names the directory: what somebody has put there is not run for it."""
    (installed / "postgres").write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    (installed / "postgres").chmod(0o777)
    with pytest.raises(PgvipError, match="is not called"):
        desk(config).handle({"directory": str(installed)}, None)
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("directory", [None, 3, "bin", "", "/" + 5000 * "a", "/a\0b"])
def test_what_is_no_path_is_refused(config: Config, directory: object) -> None:
    for call in (desk(config).answer, lambda request: desk(config).handle(request, None)):
        with pytest.raises(RefusedError, match="no absolute path"):
            call({"directory": directory})


def test_a_silent_host_and_an_odd_answer(config: Config, installed: Path) -> None:
    def silent(_question: Document, _timeout_s: float) -> Document:
        raise LinkError("the peer's daemon is not connected")

    with pytest.raises(LinkError):
        ProgramsDesk(lambda: config, silent).handle({"directory": str(installed)}, None)
    good = desk(config).answer({"directory": str(installed)})["programs"]
    for odd in ({}, {"programs": {**good, "version": "18\x1b[2J"}}, {"programs": {**good, "missing": 3}}):
        with pytest.raises(FormatError):
            ProgramsDesk(lambda: config, lambda _q, _s, odd=odd: {"ok": True, **odd}).handle(  # type: ignore[misc]  # a default binds it
                {"directory": str(installed)}, None
            )
