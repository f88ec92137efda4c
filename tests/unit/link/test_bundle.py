"""The bundle keeps its secrets and says what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import pytest

from pgvip.errors import LinkError
from pgvip.link.bundle import Bundle, read_bundle, write_bundle

if TYPE_CHECKING:
    from pathlib import Path

BUNDLE = Bundle(
    host="beta",
    first_host="alpha",
    pair_id="p-1",
    system_id="7",
    config="[pair]\nname = 'größe'\n",
    key="SECRET-KEY",
    certificate="own",
    peer_certificate="peer",
    passwords="SECRET-PASSWORD",
    extra={"slot": "pgvip_beta"},
)


def test_round_trip_is_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "beta.bundle"
    old = os.umask(0)
    try:
        write_bundle(path, BUNDLE)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_bundle(path) == BUNDLE
    assert [one.name for one in tmp_path.iterdir()] == ["beta.bundle"]


def test_bigger_than_a_message_is_fine(tmp_path: Path) -> None:
    big = dataclasses.replace(BUNDLE, config="#" * 200_000)
    write_bundle(tmp_path / "b", big)
    assert read_bundle(tmp_path / "b") == big


def test_secrets_are_not_in_the_repr() -> None:
    assert "SECRET" not in repr(BUNDLE)


def test_bundle_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b"
    write_bundle(path, BUNDLE)
    path.chmod(0o640)
    with pytest.raises(LinkError, match="can be read by others") as caught:
        read_bundle(path)
    assert "chmod 600" in caught.value.hint


def test_bundle_of_another_user_is_refused(tmp_path: Path) -> None:
    """Its configuration names what runs as root; in /tmp everybody may have made the file that scp then wrote into."""
    path = tmp_path / "b"
    write_bundle(path, BUNDLE)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        with pytest.raises(LinkError, match="belongs to another user") as caught:
            read_bundle(path)
        assert "as root" in caught.value.hint


def test_bundle_that_is_a_fifo_holds_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b", 0o600)
    with pytest.raises(LinkError, match="cannot read the bundle"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize("text", ["", "[]", '{"host": "SECRET"}', '{"host": ["SECRET"]}', "\ufffd" * 10])
def test_what_is_no_bundle_is_said_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(LinkError, match="is not a bundle") as caught:
        read_bundle(path)
    assert "SECRET" not in str(caught.value)


def test_missing_binary_and_newer_files(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with pytest.raises(LinkError, match="cannot read the bundle"):
        read_bundle(path)
    path.write_bytes(b"\xff\xfe\x00")
    path.chmod(0o600)
    with pytest.raises(LinkError, match="cannot read the bundle"):
        read_bundle(path)
    write_bundle(path, BUNDLE)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "format": 2}))
    with pytest.raises(LinkError, match="format 2"):
        read_bundle(path)
    with pytest.raises(LinkError, match="cannot write the bundle"):
        write_bundle(tmp_path / "none" / "b", BUNDLE)
