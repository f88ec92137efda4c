"""Which files of a directory are hooks, in which order, and which of them root must not call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pgvip.system.executables import listed, refusal


def made(directory: Path, name: str, mode: int = 0o755) -> Path:
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "hooks.d"
    directory.mkdir(mode=0o755)
    return directory


def test_they_come_in_the_order_of_their_names(place: Path) -> None:
    for name in ("20-b", "10-a.sh", "Z", "100-c", "mail"):
        made(place, name)
    assert [each.name for each in listed(place)] == ["10-a.sh", "100-c", "20-b", "Z", "mail"]
    assert not [each for each in listed(place) if each.refused]


def test_what_editors_and_packages_leave_is_no_hook(place: Path) -> None:
    for name in (".hidden", "a~", "a.bak", "a.dpkg-old", "a.ucf-dist", "a.rpmsave", "#a#", "a b", "a.swp"):
        made(place, name)
    (place / "directory").mkdir()
    assert listed(place) == []


def test_no_directory_has_no_hooks(tmp_path: Path) -> None:
    assert listed(tmp_path / "none") == []
    assert listed(made(tmp_path, "file")) == []


def _directory_open(place: Path, _path: Path) -> None:
    place.chmod(0o777)


def _pipe(_place: Path, path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o755)


def _link_elsewhere(place: Path, path: Path) -> None:
    target = made(place.parent, "target", 0o777)
    path.unlink()
    path.symlink_to(target)


def _links_by_way_of_another(place: Path, path: Path) -> None:
    """Root's link leads to another user's link, which leads to root's file: that user chooses what root calls."""
    target, between = made(place.parent, "target"), place.parent / "between"
    between.mkdir()
    (between / "link").symlink_to(target)
    os.chown(between, 65534, 65534)
    path.unlink()
    path.symlink_to(between / "link")


def _link_of_another(place: Path, path: Path) -> None:
    path.rename(place.parent / "real")
    path.symlink_to("../real")
    os.chown(path, 65534, 65534, follow_symlinks=False)


def _circle(place: Path, path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda _place, path: path.chmod(0o775), "can be written by others"),
        (lambda _place, path: path.chmod(0o757), "can be written by others"),
        (lambda _place, path: path.chmod(0o644), "not executable"),
        (lambda _place, path: os.chown(path, 65534, 65534), "belongs to another user"),
        (lambda _place, path: path.unlink() or path.symlink_to("nowhere"), "cannot be inspected"),
        (_pipe, "no file"),
        (_directory_open, "can be written by others"),
        (_link_elsewhere, "can be written by others"),
        (_links_by_way_of_another, "between belongs to another user"),
        (_link_of_another, "belongs to another user"),
        (_circle, "cannot be inspected"),
    ],
    ids=["group", "world", "mode", "owner", "dangling", "fifo", "directory", "link", "way", "link's owner", "circle"],
)
def test_what_others_may_change_is_refused(spoil: Callable[[Path, Path], object], why: str, place: Path) -> None:
    path = made(place, "10-hook")
    assert refusal(path) == ""
    spoil(place, path)
    assert why in refusal(path)
    assert [each.refused for each in listed(place)] == [refusal(path)]
