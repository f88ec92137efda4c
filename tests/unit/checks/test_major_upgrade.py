"""The checks of `pgvip upgrade-major`, by facts that are made by hand; the trial itself is in test_major_trial.py."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from pgvip.checks import postgresql
from pgvip.checks.finding import Finding, Level
from pgvip.checks.major_trial import Trial
from pgvip.checks.major_upgrade import CHECKS, UpgradeFacts
from pgvip.config.load import parse
from pgvip.config.model import Config
from pgvip.config.witness_config import WitnessConfig
from pgvip.core.values import Durable, Pause
from pgvip.system import pgtools
from pgvip.system.new_programs import Programs
from tests.unit.config_text import edited

CONFIG = parse(edited(), "db1")
NEW = Programs("18.4", (), ("auto_explain", "plpgsql"), True, "/srv/18/main", 1 << 40, True, True, True)
CONTENT = Trial((), (), (), linked=True)


@dataclass
class Known:
    """What a test says there is to see."""

    config: Config = CONFIG
    old: int = 15
    new: Programs = NEW
    peer_new: Programs = NEW
    directory: Path = Path("/usr/lib/postgresql/18/bin")
    trial: Trial = CONTENT
    settings: dict[str, str] = field(default_factory=dict)
    alone: bool = False
    durable: Durable | None = None
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def local(self, name: str) -> list[tuple[Any, ...]]:
        usual: dict[str, list[tuple[Any, ...]]] = {
            "cluster_bytes": [(10 << 30, 1 << 30)], "database_names": [(1, "postgres"), (5, "app")],
        }  # fmt: skip
        return self.rows.get(name, usual.get(name, []))


def check(name: str, **known: Any) -> Finding:
    (found,) = [one for one in CHECKS if one.name == name]
    return found.function()(cast("UpgradeFacts", Known(**known)))


def levels(name: str, **known: Any) -> str:
    return check(name, **known).level.name


def test_a_pair_that_is_ready() -> None:
    own = [one.name for one in CHECKS if one.where.startswith("major_upgrade.") and one.name != "page"]
    assert {name: levels(name) for name in own} == dict.fromkeys(own, "OK")


def test_every_check_has_its_own_name() -> None:
    assert len({one.name for one in CHECKS}) == len(CHECKS)
    for one in CHECKS:
        assert one.function().__doc__


def test_the_new_programs() -> None:
    assert "is not newer than 15" in check("programs", new=replace(NEW, version="15.2")).text
    lacks = check("programs", new=replace(NEW, missing=("pg_rewind",)))
    assert lacks.text == "missing in /usr/lib/postgresql/18/bin: pg_rewind"
    assert levels("programs", new=replace(NEW, tls=False)) == "CRITICAL"


def test_the_other_host_has_the_same_ones() -> None:
    assert levels("programs-peer", peer_new=replace(NEW, version="18.3")) == "WARNING"
    found = check("programs-peer", peer_new=replace(NEW, version="17.1"))
    assert (found.level, found.text) == (Level.CRITICAL, "PostgreSQL 17.1 there, 18.4 here")


def test_the_new_directory() -> None:
    for bad in (replace(NEW, empty=False), replace(NEW, writable=False)):
        for whose in ("new", "peer_new"):
            found = check("new-directory", **{whose: bad})
            host = CONFIG.me.name if whose == "new" else CONFIG.peer.name
            assert found.level is Level.CRITICAL
            assert f"on {host}" in found.text
    found = check("new-directory", new=replace(NEW, same_disk=False))
    assert (found.level, "has to copy" in found.text) == (Level.WARNING, True)


def test_room_for_links_here_and_for_a_copy_there() -> None:
    some = replace(NEW, free_bytes=5 << 30)
    assert levels("room", new=some) == "OK"
    assert levels("room", new=replace(some, same_disk=False)) == "CRITICAL"
    found = check("room", peer_new=some)
    assert found.level is Level.CRITICAL
    assert f"on {CONFIG.peer.name} has 5.0 GB free" in found.text, found.text


def test_what_the_new_version_says() -> None:
    setting = 'unrecognized configuration parameter "force_parallel_mode"'
    trial = Trial(("it has x",), (setting,), ("line 3: no",), linked=True)
    assert (levels("pg-upgrade", trial=trial), levels("access", trial=trial)) == ("CRITICAL", "CRITICAL")
    found = check("new-settings", trial=trial)
    assert found.level is Level.WARNING
    assert "it is debug_parallel_query now" in found.hint


def test_libraries_on_both_hosts() -> None:
    settings = {"shared_preload_libraries": "auto_explain, pg_cron"}
    found = check("libraries", settings=settings)
    assert found.level is Level.CRITICAL
    assert found.text.count("pg_cron") == 2
    assert "auto_explain" not in found.text
    there = replace(NEW, libraries=(*NEW.libraries, "pg_cron"))
    assert levels("libraries", settings=settings, new=there, peer_new=there) == "OK"
    assert levels("libraries", settings=settings, new=there, peer_new=replace(NEW, libraries=())) == "UNKNOWN"
    rows = {"same_libraries": [("session_preload_libraries", "pg_hint")]}
    assert "pg_hint" in check("libraries", rows=rows).text


def test_slots_of_others() -> None:
    def slot(name: str, kind: str, *, temporary: bool = False) -> tuple[Any, ...]:
        return (name, kind, True, temporary, "reserved", 0)

    rows = {"check_slots": [slot("pgvip_db2", "physical"), slot("a", "physical", temporary=True)]}
    assert levels("slots-kept", rows=rows) == "OK"
    rows = {"check_slots": [slot("app", "logical")]}
    assert "versions before 17 keep none" in check("slots-kept", rows=rows).text
    assert check("slots-kept", rows=rows, old=17).text == "pg_upgrade keeps: app"
    assert levels("slots-kept", rows={"check_slots": [slot("third", "physical")]}, old=17) == "WARNING"


def test_prepared_transactions_and_tablespaces() -> None:
    assert "'x' is prepared in database app" in check("prepared", rows={"prepared": [("x", "app")]}).text
    found = check("tablespaces", rows={"tablespaces": [(16400, "/ts")]})
    assert (found.level, found.hint) == (Level.WARNING, "at the end, remove PG_15_* there too, on both hosts")


def test_the_old_standby_is_the_way_back() -> None:
    assert levels("pair", alone=True) == "CRITICAL"
    assert "pgvip resume" in check("pair", durable=Durable(pause=Pause(active=True))).hint


def test_what_the_page_does_not_cover() -> None:
    here = replace(CONFIG, postgres=replace(CONFIG.postgres, unit="", config_directory=CONFIG.postgres.data_directory))
    assert levels("page", config=here) == "OK"
    assert levels("page", config=replace(here, witness=WitnessConfig(postgresql="host=w"))) == "CRITICAL"
    apart = replace(here, archive=replace(here.archive, directory=Path("/srv/archive")))
    assert "mv /srv/archive /srv/archive.old" in check("page", config=apart).hint
    debian = replace(here.postgres, config_directory=Path("/etc/postgresql/15/main"))
    for postgres in (debian, replace(here.postgres, unit="pgvip-postgres.service")):
        assert levels("page", config=replace(here, postgres=postgres)) == "WARNING"


def test_check_names_data_and_programs_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("15\n")
    monkeypatch.setattr(pgtools, "program_version", lambda _config: 18)  # the real one is in tests/lab
    config = replace(CONFIG, postgres=replace(CONFIG.postgres, data_directory=data))
    facts = Known(config=config)
    facts.identity = None  # type: ignore[attr-defined]  # what this check asks
    found = list(postgresql._cluster(cast("UpgradeFacts", facts)))
    assert [one.level for one in found] == [Level.CRITICAL]
    assert f"the cluster in {data} is of version 15, the programs in " in found[0].text
    assert found[0].text.endswith("are of version 18")
    assert "docs/procedures/upgrade-major.md" in found[0].hint
