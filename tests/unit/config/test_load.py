import dataclasses
import os
import re
import socket
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pgvip.checks import configuration
from pgvip.config import load, sections
from pgvip.config.model import Config
from pgvip.core.settings import Settings
from pgvip.core.values import Override, Vip
from pgvip.errors import ConfigError, RecordError
from pgvip.state.record import PairIdentity, TlsInUse, save_identity, save_tls
from tests.unit.config_text import DB1_FENCING, edited

SAMPLE = Path(__file__).parents[3] / "conf" / "pgvip.toml"


def parse(*edits: tuple[str, str], host: str = "db1") -> Config:
    return load.parse(edited(*edits), host)


def test_values_arrive_where_they_belong() -> None:
    config = parse(
        ("[hosts.db2]", '[hosts.db2]\nrole = "standby"'),
        ('mode = "sync"', 'mode = "async"\nlag_s_max = 90\nmax_slot_wal_keep_mb = 512'),
        ("[link]", "[link]\nport = 9000"),
        ("[rejoin]", '[rejoin]\nclone = "never"'),
    )
    assert (config.me.name, config.me.address, config.peer.address) == ("db1", "192.0.2.11", "192.0.2.12")
    assert str(config.vips[Vip.PRIMARY]) == "192.0.2.10/32"
    assert (config.link_port, config.max_slot_wal_keep_mb) == (9000, 512)
    settings = config.settings
    assert (settings.me, settings.peer, settings.sync, settings.lag_s_max) == ("db1", "db2", False, 90)
    assert (settings.override, settings.peer_override) == (Override.AUTO, Override.STANDBY)
    assert (settings.rejoin_clone, settings.archive, settings.fencing) == (False, True, True)
    assert config.me.fencing[0].options == (("ip", "198.51.100.11"),)
    assert config.peer.fencing[0].command == ("/usr/local/sbin/power", "db2")


def test_fast_preset_and_a_key_over_it() -> None:
    settings = parse(("[timing]", '[timing]\npreset = "fast"\ncheck_times = 5')).settings
    assert (settings.interval_s, settings.check_times, settings.hung_after_s) == (0.33, 5, 1.0)


def test_defaults_follow_what_was_made_slower_or_faster() -> None:
    plain = parse().settings
    assert (plain.isolation_demote_s, plain.salvage_s) == (20.0, 5.0)
    slow = parse(("[timing]", "[timing]\ninterval_s = 4\nhung_after_s = 8\nstandby_down_s = 8")).settings
    assert (slow.isolation_demote_s, slow.unfollowed_s) == (24.0, 24.0)
    assert parse(("[timing]", "[timing]\nconsent_s = 4")).settings.salvage_s == 2.0
    said = parse(("[timing]", "[timing]\nisolation_demote_s = 30\nsalvage_s = 1")).settings
    assert (said.isolation_demote_s, said.salvage_s) == (30.0, 1.0)


def test_every_timing_setting_has_a_key() -> None:
    keys = {*sections._SECONDS, *sections._COUNTS}
    others = {
        *("me", "peer", "me_first", "sync", "fencing", "override", "peer_override", "digest", "version"),
        *("rejoin_clone", "archive", "archive_mounted", "veto_timeout_s", "sync_stall_s", "lag_bytes_max", "lag_s_max"),
        *("watchdog_required", "witness_id", "lease_s", "lease_stop_s", "claim_s", "clock_margin"),
    }
    assert keys == {field.name for field in dataclasses.fields(Settings)} - others


def test_fencing_none_on_the_peer_means_no_takeover_on_silence() -> None:
    one = (DB1_FENCING, 'fencing = "none"')
    assert parse(one, host="db2").settings.fencing is False
    assert parse(one, host="db1").settings.fencing is True


def test_data_directory_of_one_host() -> None:
    edit = ("[hosts.db1]", '[hosts.db1]\ndata_directory = "/other/data"')
    mine, theirs = parse(edit).postgres, parse(edit, host="db2").postgres
    assert (mine.data_directory, mine.config_directory) == (Path("/other/data"), Path("/other/data"))
    assert theirs.data_directory == Path("/srv/pg/data")


def test_sample_is_good_and_shows_every_key_with_its_default() -> None:
    text = SAMPLE.read_text()
    plain = load.parse(text, "db1")
    # "# key = value" lines are the defaults: with all of them in force nothing changes
    written = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", text)
    examples = 'data_directory = "/srv|alert = |window = |certificate = |key = |password_file = "/etc/pgvip/http'
    written = re.sub(rf"(?m)^({examples}).*$", "", written)
    values = tomllib.loads(written)
    full = load.parse(written, "db1")
    assert dataclasses.replace(full, settings=plain.settings) == plain
    assert full.settings == plain.settings
    assert {"stop_s", "stuck_s", "preset"} <= values["timing"].keys()


def test_host_is_found_by_argument_variable_name_and_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGVIP_HOST", raising=False)
    hosts = {"a": "127.0.0.1", "b": "192.0.2.12"}
    assert load.find_host(hosts) == "a"
    assert load.find_host(hosts, "b") == "b"
    monkeypatch.setenv("PGVIP_HOST", "b")
    assert load.find_host(hosts) == "b"
    assert load.find_host(hosts, "a") == "a"
    monkeypatch.delenv("PGVIP_HOST")
    short = socket.gethostname().split(".")[0]
    assert load.find_host({"a": "127.0.0.1", short: "192.0.2.12"}) == short


@pytest.mark.parametrize(
    ("hosts", "asked", "message"),
    [
        ({"a": "192.0.2.11", "b": "192.0.2.12"}, None, "is neither, by name or by address"),
        ({"a": "127.0.0.1", "b": "127.0.0.2"}, None, "carries the addresses of both"),
        ({"a": "192.0.2.11", "b": "192.0.2.12"}, "c", '--host = "c": is no host of this pair'),
    ],
)
def test_host_that_is_not_found(
    monkeypatch: pytest.MonkeyPatch, hosts: dict[str, str], asked: str | None, message: str
) -> None:
    monkeypatch.delenv("PGVIP_HOST", raising=False)
    with pytest.raises(ConfigError, match=re.escape(message)):
        load.find_host(hosts, asked)


def test_digest_is_equal_on_both_hosts_and_follows_what_must_be_equal() -> None:
    mine = parse().settings.digest
    assert mine == parse(host="db2").settings.digest
    assert mine == parse(("[rejoin]", "[rejoin]\nbandwidth_mb_s = 5")).settings.digest
    assert mine != parse(("192.0.2.20", "192.0.2.21")).settings.digest
    assert mine != parse(("[hosts.db2]", '[hosts.db2]\nrole = "primary"')).settings.digest
    link = parse(("[archive]", '[archive]\npeer_archive = "link"')).settings.digest
    assert mine != link
    assert link != parse(("[archive]", '[archive]\npeer_archive = "link"\nport = 9434')).settings.digest
    assert mine == parse(("[postgresql]", '[postgresql]\ntls = "pair"')).settings.digest
    assert mine != parse(("[postgresql]", '[postgresql]\ntls = "off"')).settings.digest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pgvip.toml"
    path.write_text(edited(("[paths]", f'[paths]\nstate = "{tmp_path}"')))
    return path


def test_identity_of_init_is_merged(file: Path) -> None:
    before = load.load(file, "db2")
    assert (before.pair_id, before.settings.me_first) == ("", True)
    save_identity(before.paths.identity, PairIdentity("pair-1", "70", "db1", "db2"))
    assert load.load(file, "db1").settings.me_first is True
    after = load.load(file, "db2")
    assert (after.pair_id, after.settings.me_first, after.file) == ("pair-1", False, file)


def test_the_tls_in_use_is_kept_apart_from_that_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, off = load.load(file, "db1").paths, file.read_text().replace("[postgresql]", '[postgresql]\ntls = "off"')
    paths.certificates.mkdir()
    save_tls(paths.tls_in_use, TlsInUse("pair", also="off"))
    assert load.load(file, "db1").postgres.tls_let_in == {"pair"}, "before init it is the file's"
    save_identity(paths.identity, PairIdentity("pair-1", "70", "db1", "db2"))
    digest = load.load(file, "db1").settings.digest
    file.write_text(off)
    postgres = load.load(file, "db1").postgres
    assert (postgres.tls, postgres.tls_also, postgres.tls_wanted) == ("pair", "off", "off")
    assert postgres.tls_changes
    assert load.load(file, "db1").settings.digest != digest
    save_tls(paths.tls_in_use, TlsInUse("off"))
    assert not load.load(file, "db1").postgres.tls_changes

    def refused(_path: Path) -> None:
        raise RecordError("could not read") from PermissionError()

    monkeypatch.setattr(load, "load_tls", refused)
    assert load.load(file, "db1").postgres.tls == "off", "archive-wal runs as PostgreSQL's user"


def test_a_damaged_tls_in_use_says_what_to_do(file: Path) -> None:
    paths = load.load(file, "db1").paths
    save_identity(paths.identity, PairIdentity("pair-1", "70", "db1", "db2"))
    paths.certificates.mkdir()
    paths.tls_in_use.write_text("{")
    with pytest.raises(RecordError) as caught:
        load.load(file, "db1")
    assert f"remove {paths.tls_in_use}" in caught.value.hint


def test_the_authority_of_a_certificate_in_use_stays_in_the_file(file: Path) -> None:
    paths = load.load(file, "db1").paths
    save_identity(paths.identity, PairIdentity("pair-1", "70", "db1", "db2"))
    paths.certificates.mkdir()
    save_tls(paths.tls_in_use, TlsInUse("own"))
    text = file.read_text()
    file.write_text(text.replace("[postgresql]", '[postgresql]\ntls = "off"'))
    with pytest.raises(ConfigError, match='"own" is still in use'):
        load.load(file, "db1")
    file.write_text(text.replace("[postgresql]", '[postgresql]\ntls = "off"\ntls_authority = "/etc/ssl/ours.pem"'))
    assert load.load(file, "db1").postgres.tls == "own"


def test_renamed_host_is_refused(file: Path) -> None:
    save_identity(load.load(file, "db1").paths.identity, PairIdentity("pair-1", "70", "old", "db2"))
    with pytest.raises(RecordError, match="are not those of this pair"):
        load.load(file, "db1")


@pytest.mark.parametrize("what", ["file", "directory"])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [(lambda path: path.chmod(path.stat().st_mode | 0o020), "can be written by others"),
     (lambda path: os.chown(path, 65534, 65534), "belongs to another user")],
    ids=["group", "owner"],
)  # fmt: skip
def test_a_file_that_others_may_write_is_not_believed_by_root(
    tmp_path: Path, what: str, spoil: Callable[[Path], None], why: str
) -> None:
    directory = tmp_path / "pgvip"
    directory.mkdir()
    path = directory / "pgvip.toml"
    path.write_text(edited())
    assert load.load(path, "db1").file == path
    spoil(path if what == "file" else directory)
    with pytest.raises(ConfigError, match="can be changed by others than root") as caught:
        load.load(path, "db1")
    assert why in caught.value.detail
    assert "Run: ch" in caught.value.hint


def test_a_file_that_others_may_write_is_refused_without_a_fence_too(tmp_path: Path) -> None:
    """It still names what root mounts (and mount calls mount.TYPE), and whose programs run as whom."""
    path = tmp_path / "pgvip.toml"
    power = 'fencing = [{ command = ["/usr/local/sbin/power", "db2"], timeout_s = 20 }]'
    edits = [(DB1_FENCING, 'fencing = "none"'), (power, 'fencing = "none"')]
    path.write_text(edited(*edits))
    assert load.load(path, "db1").me.fencing == ()
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="can be changed by others"):
        load.load(path, "db1")


def test_whoever_is_not_root_reads_it_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """restore_command and archive_command, as PostgreSQL's user: they call nothing of the file as root."""
    path = tmp_path / "pgvip.toml"
    path.write_text(edited())
    path.chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert load.load(path, "db1").name == "orders"


def test_missing_file_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration") as raised:
        load.load(tmp_path / "none.toml")
    assert "sample" in raised.value.hint


def test_password_file_must_be_there_private_and_mine(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    edit = (DB1_FENCING, f'fencing = [{{ agent = "fence_a", password_file = "{secret}" }}]')
    config = parse(edit, host="db2")

    def found() -> list[str]:
        return [error.message for error in configuration._password_files(config)]

    key = f'hosts.db1.fencing[1].password_file = "{secret}"'
    assert found() == [f"{key}: cannot be read: No such file or directory"]
    secret.write_text("x\n")
    secret.chmod(0o644)
    assert found() == [f"{key}: can be read by others (mode 0644)"]
    secret.chmod(0o600)
    assert found() == []
    os.chown(secret, 65534, -1)
    assert found() == [f"{key}: belongs to another user"]


def test_interface_must_exist_and_carry_the_network() -> None:
    config = parse(('interface = "lo"', 'interface = "nowhere0"'))
    messages = [error.message for error in configuration.host_problems(config)]
    assert 'hosts.db1.interface = "nowhere0": is not an interface of this host' in messages


def test_no_programs_where_they_should_be(tmp_path: Path) -> None:
    config = parse(("/usr/lib/postgresql/15/bin", str(tmp_path)))
    (found,) = configuration._programs(config)
    assert found.message == f'postgresql.bin_directory = "{tmp_path}": has no postgres'
