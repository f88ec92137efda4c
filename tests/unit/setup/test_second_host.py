from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.config.load import load, parse
from pgvip.config.model import Config
from pgvip.core.values import Durable, Mode, Record
from pgvip.errors import ConfigError
from pgvip.link.bundle import Bundle
from pgvip.setup import second_host
from pgvip.state.record import PairIdentity, RecordStore, save_identity
from tests.unit.config_text import edited

PAIR = PairIdentity("pair-1", "70", "db1", "db2")


@pytest.fixture
def text(tmp_path: Path) -> str:
    edits = (("[paths]", f'[paths]\nstate = "{tmp_path / "state"}"\nrun = "{tmp_path / "run"}"'),)
    return edited(*edits, ("/srv/pg/data", str(tmp_path / "data")))


@pytest.fixture
def bundle(text: str) -> Bundle:
    return Bundle(
        host="db2", first_host="db1", pair_id="pair-1", system_id="70", config=text,
        key="K", certificate="C", peer_certificate="P", passwords="*:*:*:pgvip:x\n",
    )  # fmt: skip


@pytest.fixture
def config(bundle: Bundle, tmp_path: Path) -> Config:
    found = second_host.configuration(bundle, tmp_path / "pgvip.toml", "db2")
    found.paths.state.mkdir()
    return found


def test_bundle_is_for_one_host(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this host is db1, the bundle is for db2"):
        second_host.configuration(bundle, tmp_path / "pgvip.toml", "db1")


def test_the_first_host_can_be_brought_back_by_the_second(bundle: Bundle, config: Config) -> None:
    """Which of the two is first never changes: it decides who writes even terms."""
    assert second_host.identity_of(bundle, config) == PAIR
    back = replace(bundle, host="db1")
    assert second_host.identity_of(back, replace(config, me=config.peer, peer=config.me)) == PAIR
    assert (second_host.ordinal(bundle), second_host.ordinal(back)) == ("second", "first")


def test_a_pair_may_begin_on_the_host_that_the_file_names_second(bundle: Bundle, tmp_path: Path) -> None:
    """`pgvip init` on db2, `pgvip clone` on db1: first is where the pair began, and its host writes even terms."""
    began_on_db2 = replace(bundle, host="db1", first_host="db2")
    file = tmp_path / "pgvip.toml"
    here = second_host.configuration(began_on_db2, file, "db1")
    assert (here.me.name, here.peer.name, second_host.ordinal(began_on_db2)) == ("db1", "db2", "second")
    identity = second_host.identity_of(began_on_db2, here)
    assert identity == PairIdentity("pair-1", "70", "db2", "db1")
    here.paths.state.mkdir()
    save_identity(here.paths.identity, identity)
    file.write_text(bundle.config)
    assert [load(file, name).settings.me_first for name in ("db1", "db2")] == [False, True]
    RecordStore(here.paths.record).save(Durable(record("db2")))
    assert second_host.pair_problems(began_on_db2, here) == []


def test_other_configuration_in_place_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "pgvip.toml"
    file.write_text(bundle.config.replace("192.0.2.20", "192.0.2.21"))
    with pytest.raises(ConfigError, match="differs from the first host's"):
        second_host.configuration(bundle, file, "db2")


def test_equal_or_equivalent_configuration_in_place_stays(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "pgvip.toml"
    file.write_text(bundle.config)
    assert second_host.configuration(bundle, file, "db2").me.name == "db2"
    file.write_text("# a remark\n" + bundle.config)
    here = second_host.configuration(bundle, file, "db2")
    assert here.settings.digest == parse(bundle.config, "db2").settings.digest


def test_fresh_host_may_join(bundle: Bundle, config: Config) -> None:
    assert second_host.pair_problems(bundle, config) == []


def test_host_of_another_pair_is_refused(bundle: Bundle, config: Config) -> None:
    save_identity(config.paths.identity, PAIR)
    assert second_host.pair_problems(bundle, config) == []
    save_identity(config.paths.identity, replace(PAIR, pair_id="pair-2"))
    (found,) = second_host.pair_problems(bundle, config)
    assert "belongs to another pair" in found.message


def record(primary: str) -> Record:
    return Record("pair-1", "70", 3, primary, Mode.SOLO, sync=True)


@pytest.mark.parametrize(
    ("durable", "words"),
    [
        (Durable(record("db1")), []),
        (Durable(record("db2")), ["says that it is primary"]),
        (Durable(record("db1"), hold="wrote in term 1"), ["may hold commits that nobody else has"]),
    ],
)
def test_record_that_says_that_data_may_be_needed(
    bundle: Bundle, config: Config, durable: Durable, words: list[str]
) -> None:
    RecordStore(config.paths.record).save(durable)
    found = second_host.pair_problems(bundle, config)
    assert len(found) == len(words)
    assert all(word in error.message for word, error in zip(words, found, strict=True))


def test_data_directory_is_never_overwritten_unasked(config: Config) -> None:
    data = config.postgres.data_directory
    assert second_host.target_problems(config, allow_replace=False) == []
    data.mkdir()
    assert second_host.target_problems(config, allow_replace=False) == []
    (data / "PG_VERSION").write_text("15\n")
    (found,) = second_host.target_problems(config, allow_replace=False)
    assert found.message == f"{data} is not empty"
    assert second_host.target_problems(config, allow_replace=True) == []


def test_a_bundle_without_keys_for_postgresql_is_refused_at_once(bundle: Bundle, config: Config) -> None:
    (problem,) = second_host.first_host_problems(bundle, config)
    assert problem.message == "the bundle has no keys for PostgreSQL"
    assert "pgvip bundle on db1" in problem.hint
