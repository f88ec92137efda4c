"""The monitoring history: what is kept, rolled up, thinned, torn and pruned."""

from __future__ import annotations

import doctest
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgvip.cli import output, plot
from pgvip.cli.main import main
from pgvip.config.model import MonitorConfig
from pgvip.config.paths import Paths
from pgvip.core.observations import Observations
from pgvip.errors import Exit, RefusedError
from pgvip.journal import samples
from pgvip.journal.sampler import Sampler
from pgvip.journal.samples import MEASURES, SIZE, Sample, SampleStore, measured, merge, pack, sample_of, unpack
from tests.unit.cli.test_orders import CONFIG
from tests.unit.status.test_document import built, decided, healthy

NOON = 1_750_000_000.0 - 1_750_000_000 % 86_400 + 43_200
"""A noon, UTC."""


def one(at: float, lag_s: float | None = 0.0, **facts: Any) -> Sample:
    return measured(at, 5.0, {"lag_s": lag_s, "lag_bytes": 1000.0}, role="primary", term=4, lsn=1 << 40, **facts)


def filled(directory: Path, first: float, last: float, step_s: float = 5.0) -> SampleStore:
    store = SampleStore(directory)
    for number in range(int((last - first) / step_s)):
        store.append(one(first + number * step_s, lag_s=float(number % 12)))
    return store


def test_doctests() -> None:
    for module in (samples, plot, output):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed


def test_a_record_comes_back_as_it_was() -> None:
    values: dict[str, float | None] = dict.fromkeys(MEASURES, 0.5)
    facts = {"role": "standby", "sync_state": "sync", "term": 2_000_000, "timeline": 7, "lsn": (1 << 63) + 9}
    sample = measured(NOON, 5.0, values, **facts)
    assert list(unpack(pack(sample))) == [sample]
    nothing = Sample(NOON)
    assert list(unpack(pack(nothing))) == [nothing]


def test_a_sample_says_what_status_says() -> None:
    document = healthy()
    first = sample_of(document, NOON, 5.0)
    assert (first.role, first.sync_state, first.term, first.lsn, first.timeline) == ("primary", "sync", 4, 1000, 2)
    assert (first.lag_bytes, first.lag_bytes_max, first.lag_s, first.apply_bytes) == (100, 100, 0.25, 100)
    assert (first.heard_age_s, first.wal_bytes_per_s) == (0.4, None)
    document["me"]["postgresql"]["lsn"] = "0/BB8"
    assert sample_of(document, NOON + 4, 4.0, first).wal_bytes_per_s == 500
    document["me"]["postgresql"]["timeline"] = 3
    assert sample_of(document, NOON + 4, 4.0, first).wal_bytes_per_s is None, "a rate over two timelines"


def test_nothing_known_is_a_sample_too() -> None:
    from pgvip.core.values import Durable

    found = sample_of(built(decided(Durable(), Observations(), confirmed=False), Observations()), NOON, 5.0)
    assert (found.role, found.term, found.lsn, found.lag_bytes, found.heard_age_s) == ("none", None, 0, None, None)
    assert list(unpack(pack(found))) == [found]


def test_merged_samples_keep_the_extremes() -> None:
    both = merge([one(NOON, 1.0), one(NOON + 5, 9.0), one(NOON + 10, None)])
    assert (both.lag_s, both.lag_s_min, both.lag_s_max) == (5.0, 1.0, 9.0)
    assert (both.at, both.span_s, both.role) == (NOON + 10, 15.0, "primary")
    assert merge([one(NOON, None), one(NOON + 5, None)]).lag_s_max is None


def test_a_day_is_kept_finely_and_the_rest_by_minutes(tmp_path: Path) -> None:
    store = filled(tmp_path, NOON, NOON + 2 * 3600)
    end = NOON + 2 * 3600
    fine = store.recent(600, 10_000, end)
    assert [sample.at for sample in fine] == [NOON + 6600 + 5 * number for number in range(1, 120)]
    minutes = store.recent(7 * 86_400, 100_000, end)
    whole = [sample for sample in minutes if sample.span_s == 60.0]
    assert len(whole) == 119
    assert {(sample.lag_s, sample.lag_s_min, sample.lag_s_max) for sample in whole} == {(5.5, 0.0, 11.0)}
    assert sum(sample.span_s for sample in minutes) == 2 * 3600, "the minute that is not over comes from the fine ones"


def test_a_restart_in_the_middle_of_a_minute_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, NOON, NOON + 90)
    monkeypatch.setattr(time, "time", lambda: NOON + 90)
    store = SampleStore(tmp_path)
    for number in range(18, 48):
        store.append(one(NOON + 5 * number, float(number % 12)))
    whole = [sample for sample in store.recent(2 * 86_400, 100_000, NOON + 240) if sample.span_s == 60.0]
    assert [sample.at for sample in whole] == [NOON + 55, NOON + 115, NOON + 175]


def test_points_are_few_and_cover_the_time(tmp_path: Path) -> None:
    store = filled(tmp_path, NOON, NOON + 3600)
    few = store.recent(3600, 10, NOON + 3600)
    assert len(few) == 10
    assert max(sample.lag_s_max or 0.0 for sample in few) == 11.0
    assert store.recent(3600, 10, NOON + 90_000) == []


def test_a_long_time_is_thinned_file_by_file_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SampleStore(tmp_path)
    until = NOON + 5 * 3600
    every = [one(NOON + 60 * number, float(number % 7), timeline=1 + (number > 200)) for number in range(300)]
    for sample in every:
        tier_path = samples.FINE.path(tmp_path, sample.at)
        with tier_path.open("ab") as file:
            file.write(pack(sample))
    stored = [sample for path in sorted(tmp_path.iterdir()) for sample in unpack(path.read_bytes())]
    sizes: list[int] = []
    whole = samples.thin

    def counted(found: Any, *rest: Any) -> list[Sample]:
        sizes.append(len(found))
        return whole(found, *rest)

    monkeypatch.setattr(samples, "thin", counted)
    seconds = 5 * 3600 + 60.0  # 43 parts, whose borders are not those of the files
    found = store.recent(seconds, 43, until)
    expected = whole(stored, until - seconds, until, 43)
    assert [(sample.at, sample.timeline, sample.span_s, sample.lag_s_max) for sample in found] == [
        (sample.at, sample.timeline, sample.span_s, sample.lag_s_max) for sample in expected
    ]
    assert [sample.lag_s for sample in found] == pytest.approx([sample.lag_s for sample in expected])
    assert max(sizes) == 60  # an hour, not five


@pytest.mark.parametrize("damage", ["torn", "zeroed", "flipped"])
def test_a_power_cut_costs_the_records_that_it_hit(tmp_path: Path, damage: str) -> None:
    filled(tmp_path, NOON, NOON + 50)
    (file,) = tmp_path.glob("fine-*")
    data = bytearray(file.read_bytes())
    if damage == "torn":
        file.write_bytes(data[:-30])
    elif damage == "zeroed":
        file.write_bytes(bytes(data[:-SIZE]) + bytes(SIZE))
    else:
        data[-20] ^= 0x10
        file.write_bytes(data)
    store = SampleStore(tmp_path)
    assert len(store.recent(600, 1000, NOON + 60)) == 9
    store.append(one(NOON + 55))
    assert file.stat().st_size % SIZE == 0
    found = store.recent(600, 1000, NOON + 60)
    assert len(found) == 10
    assert found[-1] == one(NOON + 55)


def test_old_files_go_and_a_wrong_clock_deletes_nothing(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, keep_days=2)
    for hour in range(100):
        store.append(one(NOON + 3600 * hour))
    assert len(list(tmp_path.glob("fine-*"))) == 25
    assert len(list(tmp_path.glob("minute-*"))) == 3
    before = {path.name for path in tmp_path.glob("fine-*")}
    store.append(one(86_400.0))  # a boot with the clock at 1970
    assert {path.name for path in tmp_path.glob("fine-*")} >= before - {min(before)}
    assert store.recent(3600 * 3, 100, NOON + 3600 * 99 + 1)


def test_files_of_nobody_else_are_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    filled(tmp_path, NOON, NOON + 10)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("request_", "said"), [
    ({"seconds": 0}, "seconds is not a positive number: 0"), ({"seconds": "1h"}, "not a positive number: '1h'"),
    ({"seconds": math.inf}, "not a positive number: inf"), ({"points": 0}, "points is not a number from 1 to 3000: 0"),
    ({"points": 2.5}, "points is not"), ({"points": 3001}, "points is not"),
])  # fmt: skip
def test_requests_are_checked(tmp_path: Path, request_: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        samples.answer(tmp_path, request_)


def test_requests_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, NOON, NOON + 60)
    monkeypatch.setattr(time, "time", lambda: NOON + 60)
    (last,) = samples.answer(tmp_path, {"seconds": 60, "points": 1})["samples"]
    assert (last["role"], last["lag_s_max"], last["lsn_text"]) == ("primary", 11.0, "100/0")
    assert samples.answer(tmp_path / "none", {}) == {"samples": []}


# --- the thread ----------------------------------------------------------------------------------------------


def sampler(directory: Path, age_s: Callable[[], float], said: list[str]) -> Sampler:
    config = SimpleNamespace(monitor=MonitorConfig(5.0, 30), paths=Paths(state=directory))
    return Sampler(
        lambda: config,  # type: ignore[arg-type, return-value]  # two fields are enough
        healthy,
        age_s,
        lambda event, text: said.append(f"{event}: {text}"),
    )


def test_the_sampler_skips_what_is_not_there_and_knows_gaps(tmp_path: Path) -> None:
    ages_s = [0.2, math.inf, 0.2, 4.9, 5.1]
    made = sampler(tmp_path, lambda: ages_s.pop(0), [])
    for at in (0, 5, 10, 1000, 1005):
        made.record(NOON + at)
    found = SampleStore(tmp_path / "history").recent(2000, 1000, NOON + 1006)
    assert [(sample.at - NOON, sample.span_s) for sample in found] == [(0, 5), (10, 10), (1000, 5)]
    assert [sample.wal_bytes_per_s for sample in found] == [None, 0.0, None]


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "history").write_text("in the way")
    made = sampler(tmp_path, lambda: 0.0, said)
    for number in range(3):
        made.record(NOON + 5 * number)
    assert [line.split(":")[0] for line in said] == ["history-failed"]
    (tmp_path / "history").unlink()
    made.record(NOON + 15)
    assert len(SampleStore(tmp_path / "history").recent(60, 10, NOON + 16)) == 1


def test_the_thread_samples_and_ends(tmp_path: Path) -> None:
    import threading

    looked = threading.Event()
    config = SimpleNamespace(monitor=MonitorConfig(0.05, 30), paths=Paths(state=tmp_path))

    def look() -> dict[str, Any]:
        looked.set()
        return healthy()

    made = Sampler(lambda: config, look, lambda: 0.0, lambda _event, _text: None)  # type: ignore[arg-type, return-value] # as above
    made.start()
    assert looked.wait(10)
    made.close()
    assert SampleStore(tmp_path / "history").recent(60, 10)


# --- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`pgvip history` at a known moment, without a daemon."""
    file = tmp_path / "pgvip.toml"
    file.write_text(CONFIG.format(directory=tmp_path))
    filled(tmp_path / "state" / "history", NOON, NOON + 3600)
    monkeypatch.setattr(time, "time", lambda: NOON + 3600)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setenv("COLUMNS", "80")
    yield lambda *words: main(["--config", str(file), "--host", "alpha", "history", *words])
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.parametrize("words", [["--since", "30min"], ["--table", "--since", "2min"], ["--ascii"]])
def test_what_is_shown(command: Any, words: list[str], capsys: pytest.CaptureFixture[str], golden: Any) -> None:
    assert command(*words) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines()) or "--table" in words
    assert shown.isascii() or "--ascii" not in words
    golden(f"history{'-'.join(words).replace('--', '-')}.txt", shown)


def test_machines_get_every_sample(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import csv
    import json

    assert command("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["samples"]) == 719
    assert document["samples"][0]["lsn_text"] == "100/0"
    assert command("--csv", "--points", "3") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 3
    assert rows[0]["role"] == "primary"
    assert rows[0]["wal_bytes_per_s"] == ""


def test_nothing_in_that_time_is_exit_1(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (tmp_path / "state" / "history").iterdir():
        file.unlink()
    assert command() == Exit.FAILED
    assert "no samples in the last 1 h 0 min in " in capsys.readouterr().err
    assert command("--json") == Exit.FAILED


@pytest.mark.parametrize(("words", "said"), [
    (["--since", "yesterday"], "'yesterday' is not a time. Write a duration (90s, 10min, 1h30min"),
    (["--since", "2999-01-01"], "'2999-01-01' is not in the past. It is "),
    (["--since", "45"], "'45' is not a time"),
    (["--points", "0"], '"0" is not a positive number'),
    (["--json", "--csv"], "not allowed with"),
])  # fmt: skip
def test_mistakes_are_named(command: Any, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command(*words)
    assert caught.value.code == Exit.USAGE
    assert said in capsys.readouterr().err


def test_numbers_are_as_exact_as_they_are_shown() -> None:
    exact = measured(NOON, 5.0, {"lag_bytes": 123_456_789_012.0})
    (kept,) = unpack(pack(exact))
    assert kept.lag_bytes is not None
    assert math.isclose(kept.lag_bytes, 123_456_789_012.0, rel_tol=1e-6)
