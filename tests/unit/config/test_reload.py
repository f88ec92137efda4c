"""What a reload says that it changes: the file's own keys and values, and no secret."""

from __future__ import annotations

import dataclasses
import doctest
import tomllib
from ipaddress import ip_interface
from pathlib import Path

import pytest

from pgvip.config import load, reload
from pgvip.config import toml as toml_text
from pgvip.config.model import ArchiveDestination, Config, FenceMethod
from pgvip.config.toml import HIDDEN, toml
from pgvip.core.values import Override
from tests.unit.config_text import DB1_FENCING, GOOD, edited

POWER = 'command = ["/usr/local/sbin/power", "db2"]'


def parse(*edits: tuple[str, str], host: str = "db1") -> Config:
    return load.parse(edited(*edits), host)


def said(*edits: tuple[str, str]) -> list[str]:
    applied, refused = reload.changes(parse(), parse(*edits))
    return [str(one) for one in (*applied, *refused)]


def test_reload_applies_what_it_can_and_keeps_the_rest() -> None:
    old = parse()
    new = parse(
        ("[hosts.db1]", '[hosts.db1]\nrole = "standby"'),
        ("192.0.2.20", "192.0.2.21"),
        ("[timing]", "[timing]\ncheck_times = 4"),
        ("timeout_s = 20", "timeout_s = 25"),
        ("[archive]", "[archive]\nenabled = false"),
    )
    applicable, refused = reload.changes(old, new)
    assert {"settings.check_times", "me.role", "peer.fencing", "vips.standby"} <= {c.key for c in applicable}
    assert {c.key for c in refused} == {"archive.enabled"}
    merged = reload.reloaded(old, new)
    assert reload.changes(merged, new) == ([], refused)
    assert reload.changes(old, merged) == (applicable, [])
    assert merged.settings.archive
    assert merged.settings.override is Override.STANDBY


def test_another_tls_is_what_is_wanted_and_not_yet_what_is_used() -> None:
    edit = '[postgresql]\ntls = "own"\ntls_authority = "/etc/ssl/ours.pem"\nkeep_access = false'
    old, new = parse(), parse(("[postgresql]", edit), ("[hosts.db2]", '[hosts.db2]\ncertificate_name = "x.example"'))
    used = dataclasses.replace(new, postgres=dataclasses.replace(new.postgres, tls="pair"))  # as `load` gives it
    applied, refused = reload.changes(old, used)
    assert 'postgresql.tls: "pair" -> "own"' in map(str, applied)
    assert refused == []
    merged = reload.reloaded(old, used)
    assert merged.postgres == used.postgres
    assert merged.peer == used.peer


def test_nothing_changes_between_equal_files() -> None:
    assert reload.changes(parse(), parse()) == ([], [])


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (("[hosts.db1]", '[hosts.db1]\nrole = "standby"'), 'hosts.db1.role: "auto" -> "standby"'),
        (("192.0.2.20", "192.0.2.21"), 'addresses.standby: "192.0.2.20" -> "192.0.2.21"'),
        (("[timing]", "[timing]\ncheck_times = 4"), "timing.check_times: 3 -> 4"),
        (("[timing]", "[timing]\ninterval_s = 1.5"), "timing.interval_s: 1 -> 1.5"),
        (("[timing]", "[timing]\nshutdown_handover_s = 90"), "timing.shutdown_handover_s: 60 -> 90"),
        (('mode = "sync"', 'mode = "async"'), 'replication.mode: "sync" -> "async"'),
        (('mode = "sync"', 'mode = "sync"\nlag_s_max = 9'), "replication.lag_s_max: 60 -> 9"),
        (('mode = "sync"', 'mode = "sync"\nmax_slot_wal_keep_mb = 99'), "replication.max_slot_wal_keep_mb: 8192 -> 99"),
        (("[archive]", "[archive]\nenabled = false"), "archive.enabled: true -> false"),
        (("[rejoin]", '[rejoin]\nclone = "never"'), 'rejoin.clone: "now" -> "never"'),
        (("[rejoin]", '[watchdog]\nmode = "required"\n[rejoin]'), 'watchdog.mode: "off" -> "required"'),
        (("[rejoin]", '[hooks]\nalert = "/x"\n[rejoin]'), 'hooks.alert: not set -> "/x"'),
        (("[rejoin]", "[hooks]\nveto_timeout_s = 3\n[rejoin]"), "hooks.veto_timeout_s: 2 -> 3"),
        (('["192.0.2.1"]', '["192.0.2.1", "192.0.2.2"]'),
         'gateway.targets: ["192.0.2.1"] -> ["192.0.2.1", "192.0.2.2"]'),
        (("[link]", "[link]\nport = 9"), "link.port: 8432 -> 9"),
        (('/srv/pg/data"', '/srv/pg/data"\nport = 5433'), "postgresql.port: 5432 -> 5433"),
        (("timeout_s = 20 }", "timeout_s = 25 }"),
         f"hosts.db2.fencing: [{{ {POWER}, timeout_s = 20 }}] -> [{{ {POWER}, timeout_s = 25 }}]"),
        ((DB1_FENCING, 'fencing = "none"'),
         f'hosts.db1.{DB1_FENCING.replace(" =", ":", 1)} -> "none"'),
    ],
)  # fmt: skip
def test_a_change_is_told_as_the_file_writes_it(edit: tuple[str, str], told: str) -> None:
    assert told in said(edit)


def test_every_key_has_the_name_of_a_section_of_the_file() -> None:
    sections = {*tomllib.loads(GOOD), "backup", "hooks", "http", "log", "monitor", "notify", "watchdog", "witness"}
    config = parse()
    for key in reload._flat(config):
        if key not in reload._DERIVED | reload._FIXED | {"pair_id"}:
            assert reload._written(key, config).split(".")[0] in sections, key


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ip_interface("192.0.2.10/24"), '"192.0.2.10/24"'),
        (Path("/a b"), '"/a b"'),
        ((), "[]"),
        ('say "hm"', '"say \\"hm\\""'),
        (FenceMethod(agent="f", options=(("ip", "x"), ("passwd", "s3cret"))),
         f'{{ agent = "f", options = {{ ip = "x", passwd = "{HIDDEN}" }} }}'),
        (FenceMethod(agent="f", options=(("ip", "x"), ("secret_key", "s3cret"))),
         f'{{ agent = "f", options = {{ ip = "x", secret_key = "{HIDDEN}" }} }}'),
        (FenceMethod(agent="f", secrets=(("secret_key", Path("/etc/pgvip/k")),)),
         '{ agent = "f", secrets = { secret_key = "/etc/pgvip/k" } }'),
        (FenceMethod(command=("/p", "--password", "s3cret", "b")),
         f'{{ command = ["/p", "--password", "{HIDDEN}", "b"] }}'),
        (ArchiveDestination("s3", command=("put", "token=s3cret", "https://me:s3cret@x/y")),
         f'{{ name = "s3", command = ["put", "token={HIDDEN}", "https://me:{HIDDEN}@x/y"] }}'),
    ],
)  # fmt: skip
def test_values_are_toml_without_secrets(value: object, text: str) -> None:
    assert toml(value) == text
    assert "s3cret" not in toml(value)


def test_doctests() -> None:
    assert doctest.testmod(toml_text) == (0, 1)


def test_a_reload_shows_no_parameter_that_is_a_secret() -> None:
    """A file of before this was refused may be in force still: neither its old value nor a new one is shown."""
    method = FenceMethod(agent="fence_aws", options=(("region", "eu"), ("secret_key", "s3cret-old")))
    old = parse()
    old = dataclasses.replace(old, peer=dataclasses.replace(old.peer, fencing=(method,)))
    for options in ((("region", "eu"), ("secret_key", "s3cret-new")), (("region", "us"), ("secret_key", "s3cret-new"))):
        peer = dataclasses.replace(old.peer, fencing=(dataclasses.replace(method, options=options),))
        [change], _ = reload.changes(old, dataclasses.replace(old, peer=peer))
        assert "s3cret" not in str(change)
        assert ('region = "us"' in str(change)) is (("region", "us") in options)


def test_a_secret_that_changed_is_told_without_it() -> None:
    old, new = (parse(('power", "db2"', f'power", "password={one}"')) for one in ("a", "b"))
    [change], _ = reload.changes(old, new)
    assert str(change) == "hosts.db2.fencing: changed in what is not shown"
