"""What --to means, and which backup it takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgvip.archive.backups import Backup
from pgvip.archive.targets import choose, parse
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import RefusedError

MB16 = 1 << 24


@pytest.mark.parametrize(
    ("word", "settings"),
    [
        ("latest", {}),
        ("0/3000060", {"recovery_target_lsn": "0/3000060"}),
        ("lsn:a/3000060", {"recovery_target_lsn": "A/3000060"}),
        ("2026-11-25 22:30:00+01:00", {"recovery_target_time": "2026-11-25 21:30:00.000000+00"}),
        ("2026-11-25T22:30:00.5Z", {"recovery_target_time": "2026-11-25 22:30:00.500000+00"}),
        ("before-upgrade", {"recovery_target_name": "before-upgrade"}),
        ("name:0/1", {"recovery_target_name": "0/1"}),
        ("name:latest", {"recovery_target_name": "latest"}),
        ("2026", {"recovery_target_name": "2026"}),
    ],
)
def test_words(word: str, settings: dict[str, str]) -> None:
    assert parse(word).settings() == settings


def test_a_time_without_a_zone_is_local() -> None:
    wanted = datetime(2026, 11, 25, 22, 30).astimezone().timestamp()
    assert parse("2026-11-25 22:30").at == wanted


@pytest.mark.parametrize("word", ["lsn:3", "time:yesterday", "time:2026-13-40 00:00", "name:", "name:" + 64 * "x"])
def test_mistakes(word: str) -> None:
    with pytest.raises(ValueError, match=r"is no"):
        parse(word)


def backup(number: int, state: str = "good") -> Backup:
    start, stop = (WalPoint(1, Lsn(at * MB16 + 0x28)) for at in (number, number + 1))
    ended = datetime(2026, 11, number, 12, tzinfo=UTC).timestamp()
    return Backup(f"b{number}", "a", state, start, stop, ended - 60, ended)


SOME = [backup(5), backup(1), backup(9, "running"), backup(3)]


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("latest", "b5"),
        ("2026-11-04 00:00Z", "b3"),
        ("2026-11-03 12:00Z", "b3"),
        ("2026-11-03 11:59:30Z", "b1"),
        ("0/4000028", "b3"),
        ("0/4000027", "b1"),
        ("somewhere", "b1"),
    ],
)
def test_newest_backup_before_the_target(to: str, name: str) -> None:
    assert choose(SOME, parse(to)).name == name


def test_operators_choice_is_checked_too() -> None:
    assert choose(SOME, parse("somewhere"), "b5").name == "b5"
    for to, name in (("latest", "b9"), ("latest", "b2"), ("0/1000028", ""), ("2026-11-04 00:00Z", "b5")):
        with pytest.raises(RefusedError):
            choose(SOME, parse(to), name)
