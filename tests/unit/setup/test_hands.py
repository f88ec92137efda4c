"""What set-up commands do with all of root's rights: the one child, and directories in places of root's alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.deadlines import wait_until
from pgvip.errors import ActionError, PostgresError
from pgvip.setup.hands import Hands
from pgvip.system import own_directories
from tests.unit.configs import make


def test_it_is_done_once_and_in_another_process(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    hands = Hands(lambda: file.write_text(str(os.getpid())))
    assert not file.exists(), "nothing before it is wanted"
    hands.do()
    assert file.read_text() == str(hands._pid) != str(os.getpid())


def test_what_fails_there_is_said_here(tmp_path: Path) -> None:
    def fail() -> None:
        raise PostgresError("no", "It is full.", "Make space.")

    with pytest.raises(ActionError, match="no") as told:
        Hands(fail).do()
    assert (told.value.detail, told.value.hint) == ("It is full.", "Make space.")
    with pytest.raises(ActionError, match="No such file"):
        Hands((tmp_path / "absent").read_text).do()


def test_it_ends_with_a_command_that_wants_nothing(tmp_path: Path) -> None:
    file = tmp_path / "made"
    hands = Hands(file.touch)
    os.close(hands._order)
    wait_until(lambda: os.waitpid(hands._pid, os.WNOHANG)[0] == hands._pid, 10)
    assert not file.exists()
    os.close(hands._answer)


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives anything away")


@ROOT
def test_a_directory_in_a_directory_of_roots_is_given_away(tmp_path: Path) -> None:
    config = make(tmp_path)  # its user is nobody
    place = tmp_path / "deep" / "below" / "place"
    assert own_directories.make(config, place, mode=0o750)
    status = place.stat()
    assert (status.st_uid != 0, status.st_mode & 0o777) == (True, 0o750)
    assert place.parent.stat().st_uid == 0
    assert not own_directories.make(config, place, mode=0o700), "it is there"
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o711)
    assert not own_directories.make(config, empty, mode=0o700)
    assert (empty.stat().st_uid != 0, empty.stat().st_mode & 0o777) == (True, 0o711)


@ROOT
def test_nothing_is_made_or_given_where_others_can_change_the_way(tmp_path: Path) -> None:
    config = make(tmp_path)
    theirs, shared, real = tmp_path / "theirs", tmp_path / "shared", tmp_path / "real"
    for directory in (theirs, shared, real):
        directory.mkdir()
    os.chown(theirs, 65534, 65534)
    shared.chmod(0o777)
    (tmp_path / "link").symlink_to(real)
    (real / "full").mkdir()
    (real / "full" / "file").touch()
    for path in (theirs / "new", theirs / "deep" / "new", shared / "new", tmp_path / "link" / "new", real / "full"):
        assert not own_directories.make(config, path, mode=0o700)
    assert not any(path.exists() for path in (theirs / "new", theirs / "deep", shared / "new", real / "new"))
    assert (real / "full").stat().st_uid == 0, "it is in use"
    nobody = replace(config, postgres=replace(config.postgres, user="no-such-user"))
    with pytest.raises(PostgresError, match="does not exist"):
        own_directories.make(nobody, real / "new", mode=0o700)
