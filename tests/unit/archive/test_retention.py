"""What may go, and above all what may not."""

from __future__ import annotations

import pytest

from pgvip.archive.backups import Backup
from pgvip.archive.listing import Stored
from pgvip.archive.retention import DAY_S, Need, Rules, backup_doubts, judge, needs_of, superfluous
from pgvip.core.values import Lsn, WalPoint

MB16 = 1 << 24
NOW = 1_800_000_000.0
RULES = Rules(MB16, keep_days=0.0)


def wal(number: int, days: float = 9.0, timeline: int = 1, suffix: str = "") -> Stored:
    name = f"{timeline:08X}00000000{number:08X}{suffix}"
    return Stored(name, f"{name}.lz4", MB16, NOW - days * DAY_S)


def need(segment: int, offset: int = 0x28) -> Need:
    return Need("slot", Lsn(segment * MB16 + offset))


def gone(files: list[Stored], needs: list[Need], rules: Rules = RULES, pending: tuple[str, ...] = ()) -> list[str]:
    return [file.name for file in judge(files, needs, pending, rules, NOW).files]


@pytest.mark.parametrize("offset", [0, 0x28, MB16 - 1])
def test_the_segment_that_is_needed_and_all_after_it_stay(offset: int) -> None:
    files = [wal(number) for number in range(1, 8)]
    assert gone(files, [need(4, offset)]) == [wal(1).name, wal(2).name, wal(3).name]
    assert gone(files, [need(1, offset)]) == []


def test_the_oldest_need_counts() -> None:
    files = [wal(number) for number in range(1, 8)]
    verdict = judge(files, [need(6), Need("backup", Lsn(3 * MB16)), need(5)], (), RULES, NOW)
    assert [file.name for file in verdict.files] == [wal(1).name, wal(2).name]
    assert verdict.oldest.who == "backup"
    assert verdict.size_bytes == 2 * MB16


def test_timelines_do_not_matter_and_histories_stay() -> None:
    """As pg_archivecleanup: by the number, not by the name."""
    history = Stored("00000002.history", "00000002.history", 50, NOW - 99 * DAY_S)
    label, partial = wal(2, suffix=".00000028.backup"), wal(2, suffix=".partial")
    strange = Stored("notes.txt", "notes.txt", 5, 0.0)
    files = [wal(1), wal(2, timeline=2), label, partial, history, strange, wal(5), wal(4, timeline=3)]
    assert sorted(gone(files, [need(4)])) == sorted([wal(1).name, wal(2, timeline=2).name, label.name, partial.name])


def test_young_files_stay_and_leave_no_hole() -> None:
    files = [wal(1, 9), wal(2, 3), wal(3, 9), wal(4, 9)]
    assert gone(files, [need(5)], Rules(MB16, keep_days=7.0)) == [wal(1).name]


def test_an_hour_old_is_too_young_whatever_the_rules_say() -> None:
    files = [wal(1, 0.03), wal(2, 0.05)]
    assert gone(files, [need(5)], Rules(MB16, keep_days=0.0, max_mb=1)) == []
    assert gone([wal(1, 0.05)], [need(5)]) == [wal(1, 0.05).name]


def test_size_takes_the_oldest_first_and_never_what_is_needed() -> None:
    files = [wal(number, 2) for number in range(1, 9)]
    rules = Rules(MB16, keep_days=7.0, max_mb=5 * 16)
    assert gone(files, [need(7)], rules) == [wal(1).name, wal(2).name, wal(3).name]
    verdict = judge(files, [need(2)], (), rules, NOW)
    assert [file.name for file in verdict.files] == [wal(1).name]
    assert verdict.over_mb == 32


def test_what_is_owed_stays() -> None:
    assert gone([wal(1), wal(2), wal(3)], [need(9)], pending=(wal(2).name,)) == [wal(1).name, wal(3).name]


def backup(number: int, host: str = "a", state: str = "good", days: float = 0.0) -> Backup:
    point = WalPoint(1, Lsn(number * MB16 + 0x28))
    ended = NOW - days * DAY_S if days else NOW - (100 - number) * DAY_S
    return Backup(f"b{number}", host, state, point, point, ended, ended if state == "good" else 0.0)


def names(found: list[Backup]) -> list[str]:
    return [one.name for one in found]


def test_the_newest_stay() -> None:
    some = [backup(number) for number in (3, 1, 4, 2)]
    assert names(superfluous(some, "a", 2, 0.0, NOW)) == ["b2", "b1"]
    assert names(superfluous(some, "a", 9, 0.0, NOW)) == []


@pytest.mark.parametrize("keep", [0, 1])
def test_the_last_good_one_stays_whatever_is_configured(keep: int) -> None:
    some = [backup(1), backup(2, state="incomplete"), backup(3, state="running")]
    assert superfluous(some, "a", keep, 0.0, NOW) == []


def test_both_hosts_count_and_each_removes_its_own() -> None:
    some = [backup(1, "a"), backup(2, "b"), backup(3, "a"), backup(4, "b")]
    assert names(superfluous(some, "a", 2, 0.0, NOW)) == ["b1"]
    assert names(superfluous(some, "b", 2, 0.0, NOW)) == ["b2"]


def test_days_keep_more_than_the_number() -> None:
    some = [backup(1, days=20), backup(2, days=5), backup(3, days=2), backup(4, days=1)]
    assert names(superfluous(some, "a", 1, 7.0, NOW)) == ["b1"]


def test_backups_need_wal_from_their_start_also_while_they_are_made() -> None:
    some = [backup(1), backup(2, state="running"), backup(3, state="incomplete")]
    assert [need.lsn // MB16 for need in needs_of(some)] == [1, 2]


def test_without_a_backup_where_one_is_wanted_nothing_goes() -> None:
    assert backup_doubts([backup(1, state="running")], 1)
    assert not backup_doubts([backup(1, "b")], 1)
    assert not backup_doubts([], 0)
