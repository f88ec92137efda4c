"""What `pgvip uninstall` and `scripts/uninstall` leave and what they take, by files."""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest

from pgvip.cli.uninstall import Removing
from pgvip.config.model import Config, Host
from pgvip.core.values import Durable, Mode, Record
from pgvip.errors import RefusedError
from pgvip.setup import access, handing_back, removal, static_addresses
from pgvip.state.last_observed import NAME, Observed, save_observed
from pgvip.state.record import RecordStore
from pgvip.system import pgconf, units
from tests.unit import configs

ROOT = Path(__file__).parents[3]
ADDRESSES = [ip_interface("10.9.0.100/32"), ip_interface("fd00::100/128")]


def files(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_administrators_lines_stay_and_pgvips_become_theirs(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    (tmp_path / "data").mkdir()
    main = tmp_path / "data/postgresql.conf"
    main.write_text("shared_buffers = 1GB\n# mine\n")
    (tmp_path / "data/pgvip.conf").write_text(pgconf.render(config, sync=True, version=15))
    pgconf.ensure_include(main)
    ours = handing_back.settings(config)
    assert not handing_back.is_done(config)
    handing_back.write(config, handing_back.kept(ours, frozenset(), {}))
    text = main.read_text()
    assert text.startswith("shared_buffers = 1GB\n# mine\n\n")
    assert "listen_addresses = '*'" in text
    assert "max_slot_wal_keep_size = " in text
    assert "archive_mode = 'off'" in text
    assert "ssl_cert_file = 'pgvip-server.crt'" in text
    for name in ("pgvip.conf", "primary_conninfo", "restore_command", "synchronous_standby_names", "last line"):
        assert name not in text, name
    assert handing_back.is_done(config)
    assert files(tmp_path / "data").keys() == {"postgresql.conf"}
    handing_back.write(config, {"port": "1"})  # a repetition
    assert main.read_text() == text


def test_what_was_set_before_comes_into_force_again_but_for_what_stops_commits() -> None:
    ours = {"listen_addresses": "*", "archive_mode": "on", "archive_command": "pgvip", "wal_level": "x"}
    lines = handing_back.kept(ours, frozenset({"synchronous_standby_names", "archive_command"}), {})
    assert lines == {"listen_addresses": "*", "synchronous_standby_names": ""}
    assert handing_back.kept(ours, frozenset(), {"primary_conninfo": "host=x"}) == {
        "listen_addresses": "*", "archive_mode": "off", "archive_command": "/bin/true", "primary_conninfo": "host=x",
    }  # fmt: skip


def test_values_are_read_as_they_were_written() -> None:
    strange = "a 'b' \\ c"
    assert handing_back.values(f"x = {pgconf.quoted(strange)}\n") == {"x": strange}


def test_pgvips_lines_go_and_those_of_applications_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configs.make(tmp_path)
    hba, ident = tmp_path / "pg_hba.conf", tmp_path / "pg_ident.conf"
    before = access.with_allowed("local all all peer\n", [("10.0.0.0/8", "md5")])
    hba.write_text(access.with_block(before, access.hba_lines(config)))
    ident.write_text(access.with_block("", access.ident_lines(config)))
    monkeypatch.setattr(access, "access_files", lambda _config: (hba, ident))
    assert handing_back.remove_access(config)
    assert hba.read_text() == before
    assert ident.read_text().strip() == ""
    assert not handing_back.remove_access(config)


# --- who may go ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primary", "mode", "standby", "says"),
    [
        ("berlin", Mode.SOLO, False, ""),
        ("paris", Mode.SOLO, True, ""),
        ("paris", Mode.PAIR, True, "pgvip leave"),
        ("berlin", Mode.PAIR, False, "On paris: pgvip leave"),
        ("paris", Mode.SOLO, False, "the record says that paris is primary"),
        ("berlin", Mode.SOLO, True, "the record says that this host is primary"),
    ],
)
def test_a_host_that_the_pair_counts_on_stays(
    tmp_path: Path, primary: str, mode: Mode, standby: bool, says: str
) -> None:
    config = configs.make(tmp_path)
    (tmp_path / "state").mkdir()
    RecordStore(config.paths.record).save(Durable(Record("p", "s", 4, primary, mode, sync=True)))
    found = removal.pair_problems(config, standby=standby)
    assert bool(found) is bool(says)
    assert all(says in str(one) for one in found)


def test_a_host_without_a_record_may_go(tmp_path: Path) -> None:
    assert removal.pair_problems(configs.make(tmp_path), standby=True) == []


def test_only_pgvips_own_slots_are_named(tmp_path: Path) -> None:
    assert removal.own_slots(configs.make(tmp_path)) == {
        "pgvip_berlin", "pgvip_paris", "pgvip_copy_berlin", "pgvip_copy_paris",
    }  # fmt: skip


def test_the_state_that_says_who_serves_is_moved_and_nothing_else(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    for name in ("record.json", "identity.json", "tls/own.key", "archive/0001", "work/x", "saved/y"):
        path = config.paths.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    aside = removal.put_state_aside(config)
    assert files(aside).keys() == {"record.json", "identity.json", "tls/own.key"}
    rest = {name for name in files(config.paths.state) if not name.startswith("uninstalled-")}
    assert rest == {"archive/0001", "work/x", "saved/y"}
    assert aside.stat().st_mode & 0o077 == 0


def test_the_cluster_is_started_at_boot_again(tmp_path: Path) -> None:
    file = tmp_path / "start.conf"
    units.make_manual(file)
    units.make_automatic(file)
    assert units.start_word(file) == "auto"


# --- addresses --------------------------------------------------------------------------------------------------


def put(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_each_manager_of_networks_has_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.if_nametoindex", lambda _name: 7)

    def recipe(name: str) -> static_addresses.Recipe:
        return static_addresses.recipe("eth0", ADDRESSES, tmp_path / name)

    none = recipe("none")
    assert none.text == "ip address add 10.9.0.100/32 dev eth0\nip address add fd00::100/128 dev eth0"
    put(tmp_path, "ifupdown/etc/network/interfaces", "source /etc/network/interfaces.d/*\niface eth0 inet dhcp\n")
    one = recipe("ifupdown")
    assert "iface eth0 inet static\n    address 10.9.0.100/32\niface eth0 inet6 static" in one.text
    assert one.file == tmp_path / "ifupdown/etc/network/interfaces.d/pgvip-addresses"
    put(tmp_path, "plain/etc/network/interfaces", "iface eth0 inet dhcp\n")
    assert recipe("plain").file is None
    put(tmp_path, "networkd/run/systemd/netif/links/7", "NETWORK_FILE=/run/systemd/network/10-eth.network\n")
    one = recipe("networkd")
    place = tmp_path / "networkd/etc/systemd/network/10-eth.network.d/pgvip-addresses.conf"
    assert one.file == place
    what, hint = static_addresses.by_hand(one)
    assert f"(systemd-networkd, in {place})" in what  # a [Network] section alone does not say where it belongs
    assert hint.splitlines()[-1].strip() == "(networkctl reload)"
    static_addresses.write(one)
    assert "[Network]\nAddress=10.9.0.100/32\nAddress=fd00::100/128\n" in place.read_text()
    put(tmp_path, "netplan/etc/netplan/50-x.yaml")
    put(tmp_path, "netplan/run/systemd/netif/links/7", "NETWORK_FILE=/run/systemd/network/10-netplan-eth0.network\n")
    assert (recipe("netplan").manager, recipe("netplan").file) == ("netplan", None)
    (tmp_path / "nm/run/NetworkManager").mkdir(parents=True)
    assert "+ipv4.addresses 10.9.0.100/32 +ipv6.addresses fd00::100/128" in recipe("nm").text


# --- scripts/uninstall ----------------------------------------------------------------------------------------------


def uninstall(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "scripts/uninstall"), "--root", str(root), "--prefix", str(root / "opt/pgvip"), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def test_the_program_goes_and_data_stay(tmp_path: Path) -> None:
    names = ["etc/systemd/system/pgvip.service", "etc/systemd/system/pgvip-handover.service",
             "etc/systemd/system/pgvip-postgres.service", "usr/local/share/man/man1/pgvip.1",
             "usr/local/share/man/man1/pgvip-init.1", "usr/local/share/bash-completion/completions/pgvip",
             "opt/pgvip/venv/bin/pgvip", "opt/pgvip/share/LICENSE"]  # fmt: skip
    theirs = ["etc/systemd/system/other.service", "usr/local/share/man/man1/other.1", "etc/pgvip/pgvip.toml",
              "var/lib/pgvip/archive/0001", "opt/pgvip/mine"]  # fmt: skip
    for name in (*names, *theirs):
        put(tmp_path, name)
    (tmp_path / "usr/local/bin").mkdir()
    (tmp_path / "usr/local/bin/pgvip").symlink_to(tmp_path / "opt/pgvip/venv/bin/pgvip")
    before = files(tmp_path)
    done = uninstall(tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "(would) units pgvip.service" in done.stdout
    assert files(tmp_path) == before
    assert uninstall(tmp_path).returncode == 0
    assert sorted(files(tmp_path)) == sorted(theirs)
    assert not (tmp_path / "usr/local/bin/pgvip").is_symlink()
    assert uninstall(tmp_path).returncode == 0  # a repetition


def test_a_command_and_a_unit_that_are_in_use_stay(tmp_path: Path) -> None:
    put(tmp_path, "etc/systemd/system/pgvip-postgres.service")
    put(tmp_path, "etc/pgvip/pgvip.toml", '[postgresql]\nunit = "pgvip-postgres.service"\n')
    put(tmp_path, "srv/pgvip")
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/pgvip").symlink_to(tmp_path / "srv/pgvip")
    assert uninstall(tmp_path).returncode == 0
    assert (tmp_path / "etc/systemd/system/pgvip-postgres.service").exists()
    assert (tmp_path / "usr/local/bin/pgvip").is_symlink()


def test_wrong_usage_is_refused(tmp_path: Path) -> None:
    assert uninstall(tmp_path, "--nonsense").returncode == 2


# --- pair.mode = "observe" ----------------------------------------------------------------------------------------


def options(**changes: object) -> argparse.Namespace:
    given = {"yes": None, "follow": "", "slot": "", "not_at_boot": False, "static_addresses": False,
             "drop_addresses": False, "dry_run": False}  # fmt: skip
    return argparse.Namespace(**(given | changes))


@pytest.fixture
def observed(tmp_path: Path) -> Config:
    """A standby that another tool runs, and that pgvip has only observed."""
    config = configs.make(tmp_path, me=Host("berlin", "10.9.0.1", "lo"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/standby.signal").touch()
    (tmp_path / "state").mkdir()
    save_observed(config.paths.state, Observed("paris"))
    return config


@pytest.mark.parametrize("mode", ["observe", "normal"])
def test_of_a_pair_that_was_only_observed_only_the_daemon_and_its_state_go(observed: Config, mode: str) -> None:
    removing = Removing(replace(observed, mode=mode), options(), print)
    removing.check()
    titles = [step.title for step in removing.steps()]
    assert [title.partition(":")[0] for title in titles] == ["daemon", "record, identity and keys"]
    assert "only observed" in removing.kind
    with pytest.raises(RefusedError, match="pgvip has only observed this pair"):
        Removing(observed, options(follow="host=x"), print).check()


def test_a_pair_that_pgvip_ran_before_it_only_observed_is_not_taken_from_the_tool_that_runs_it(
    observed: Config,
) -> None:
    RecordStore(observed.paths.record).save(Durable(Record("p", "s", 4, "paris", Mode.SOLO, sync=True)))
    with pytest.raises(RefusedError, match="pgvip only observes this pair") as caught:
        Removing(replace(observed, mode="observe"), options(), print).check()
    assert 'mode = "normal"' in caught.value.hint


def test_that_it_was_only_observed_is_known_until_the_identity_is_gone(observed: Config) -> None:
    observed.paths.identity.write_text("{}")
    removal.put_state_aside(observed)
    assert not observed.paths.identity.exists()
    assert not (observed.paths.state / NAME).exists()
    assert removal.STATE_FILES.index(NAME) < removal.STATE_FILES.index("identity.json"), "moved after it"
