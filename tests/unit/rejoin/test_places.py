"""The exchange of old and new content, cut short before any of its steps, and failing in any of them."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from pgvip.errors import RejoinError
from pgvip.rejoin.places import Place, refuse_what_cannot_be_exchanged
from pgvip.system.commands import run
from tests.unit import configs

STEPS_MAX = 20


class PowerLossError(BaseException):
    """Nothing tidies up after it."""


def files(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(params=["beside", "inside", "below the top"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    data = tmp_path / "data"
    for directory, word in ((data, "old"), (tmp_path / "made", "new")):
        (directory / "base").mkdir(parents=True)
        (directory / "base" / "1").write_text(word)
        (directory / "PG_VERSION").write_text(word)
    made = Place.of(data)
    if request.param != "beside":
        replaced = data / "base" if request.param == "below the top" else data
        made = Place(data, data / "pgsql_tmp.pgvip-new", replaced / "pgsql_tmp.pgvip-replaced", inside=True)
        (data / "lost+found").mkdir()
    (tmp_path / "made").rename(made.new)
    return made


def check_exchanged(place: Place) -> None:
    assert files(place.replaced) == {"base/1": "old", "PG_VERSION": "old"}
    new = {name: text for name, text in files(place.data).items() if "pgvip" not in name}
    assert new == {"base/1": "new", "PG_VERSION": "new"}
    assert not place.waiting
    assert not place.inside or (place.data / "lost+found").is_dir()


@pytest.mark.parametrize("step", range(STEPS_MAX))
def test_exchange_that_was_cut_short_is_finished(place: Place, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    rename, done = Path.rename, 0

    def cut(path: Path, target: Path) -> Path:
        nonlocal done
        if done == step:
            raise PowerLossError
        done += 1
        return rename(path, target)

    with monkeypatch.context() as patch, suppress(PowerLossError):
        patch.setattr(Path, "rename", cut)
        place.exchange()
    place.exchange()
    check_exchanged(place)


@pytest.mark.parametrize("step", range(STEPS_MAX))
def test_exchange_that_failed_has_the_old_content_or_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    rename, done = Path.rename, 0

    def fail(path: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == step + 1:
            raise OSError(errno.EIO, "the disk does not want to")
        return rename(path, target)

    failed = False
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        try:
            place.exchange()
        except OSError:
            failed = True
    if failed and place.new.exists():
        assert (place.data / "PG_VERSION").read_text() == "old"
        assert (place.data / "base" / "1").read_text() == "old"
    place.exchange()
    check_exchanged(place)


def test_data_that_can_be_renamed_are_where_they_were_after_the_trial(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    config.postgres.data_directory.mkdir()
    (config.postgres.data_directory / "PG_VERSION").write_text("15")
    refuse_what_cannot_be_exchanged(config)
    assert files(tmp_path) == {"data/PG_VERSION": "15"}
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_rename_to_another_file_system_is_refused_before_the_copy(tmp_path: Path) -> None:
    """As in a container whose image holds the data directory: an overlay renames no directory of a lower layer."""
    config = configs.make(tmp_path / "merged")
    for name in ("lower/data", "upper", "work", "merged"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower" / "data" / "PG_VERSION").write_text("15")
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work,redirect_dir=off"
    if run(["mount", "-t", "overlay", "-o", layers, "pgvip-test", tmp_path / "merged"], timeout_s=10.0).returncode:
        pytest.skip("no overlay can be mounted here")
    try:
        with pytest.raises(RejoinError, match="cannot be renamed: Invalid cross-device link") as caught:
            refuse_what_cannot_be_exchanged(config)
        assert "mount point" in caught.value.hint
        assert [path.name for path in (tmp_path / "merged").iterdir()] == ["data"]
    finally:
        run(["umount", tmp_path / "merged"], timeout_s=10.0)
