import base64
import getpass
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.config.model import Config, FormerAddress
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import ActionError
from pgvip.setup import access
from tests.unit import configs
from tests.unit.system.test_processes import Cluster

RFC_7677_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def test_verifier_is_that_of_the_standard() -> None:
    """RFC 7677, 3: user, pencil, 4096 rounds; keys as PostgreSQL computes them for it."""
    assert access.scram_verifier("pencil", RFC_7677_SALT) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_verifiers_of_one_password_differ() -> None:
    assert access.scram_verifier("x") != access.scram_verifier("x")


def with_passwords(tmp_path: Path, tls: str = "off") -> Config:
    made = configs.make(tmp_path)
    return replace(made, postgres=replace(made.postgres, tls=tls))


def test_no_password_exists_where_certificates_are_used(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    assert access.ensure_passwords(config) == ""
    access.write_passwords(config, "")
    assert access.passwords_ready(config)
    assert list(tmp_path.iterdir()) == []


def test_passwords_are_made_once_and_kept_private(tmp_path: Path) -> None:
    config = with_passwords(tmp_path)
    assert not access.passwords_ready(config)
    text = access.ensure_passwords(config)
    assert access.ensure_passwords(config) == text
    assert access.passwords_ready(config)
    words = {role: access.password_of(text, role) for role in ("pgvip", "pgvip_replication")}
    assert min(map(len, words.values())) >= 40
    assert len(set(words.values())) == 2
    status = config.paths.passwords.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert config.paths.passwords.owner() == config.postgres.user


def test_incomplete_password_file_is_made_anew(tmp_path: Path) -> None:
    config = with_passwords(tmp_path)
    config.paths.passwords.write_text("*:*:*:pgvip:old\n")
    text = access.ensure_passwords(config)
    assert access.password_of(text, "pgvip") != "old"
    assert access.password_of(text, "pgvip_replication")


def test_lines_are_the_same_on_both_hosts(tmp_path: Path) -> None:
    mine = configs.make(tmp_path)
    theirs = configs.make(tmp_path, me=mine.peer, peer=mine.me)
    assert access.hba_lines(mine) == access.hba_lines(theirs)
    assert access.ident_lines(mine) == access.ident_lines(theirs)


def fields(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


WAYS = {"pair": ("hostssl", "cert"), "own": ("hostssl", "scram-sha-256"), "off": ("host", "scram-sha-256")}


@pytest.mark.parametrize("tls", WAYS)
def test_a_host_cannot_follow_itself_or_a_virtual_address(tmp_path: Path, tls: str) -> None:
    rows = fields(access.hba_lines(with_passwords(tmp_path, tls)))
    replication = [row[:1] + row[3:5] for row in rows if row[1] == "replication" and row[0] != "local"]
    kind, method = WAYS[tls]
    refused = [replication.index(["host", who, "reject"]) for who in ("samehost", "10.9.0.100/32", "10.9.0.101/32")]
    allowed = [replication.index([kind, f"10.9.0.{n}/32", method]) for n in (1, 2)]
    assert max(refused) < min(allowed)
    assert replication[-1] == ["host", "all", "reject"]


@pytest.mark.parametrize("tls", WAYS)
def test_both_roles_may_connect_to_the_database_from_the_hosts_alone(tmp_path: Path, tls: str) -> None:
    """The replication role for the worker that synchronizes logical failover slots (17 and newer)."""
    kind, method = WAYS[tls]
    rows = [row for row in fields(access.hba_lines(with_passwords(tmp_path, tls))) if row[:2] == [kind, "postgres"]]
    both = [row[3] for row in rows if row[2] == "pgvip,pgvip_replication"]
    assert both == ["10.9.0.1/32", "10.9.0.2/32"]
    assert {row[2] for row in rows if row[3] not in both} == {"pgvip"}
    assert {row[4] for row in rows} == {method}


def test_nothing_but_a_reject_fits_a_connection_without_tls(tmp_path: Path) -> None:
    for tls in ("pair", "own"):
        rows = fields(access.hba_lines(with_passwords(tmp_path, tls)))
        assert {row[4] for row in rows if row[0] == "host"} == {"reject"}


def test_while_tls_changes_the_encrypted_comes_by_certificate_and_the_rest_by_password(tmp_path: Path) -> None:
    config = with_passwords(tmp_path)
    for tls, also in (("off", "pair"), ("pair", "off")):
        change = replace(config, postgres=replace(config.postgres, tls=tls, tls_also=also))
        rows = [row for row in fields(access.hba_lines(change)) if row[0] != "local" and "reject" not in row]
        assert [row[0] for row in rows] == ["hostssl", "host"] * (len(rows) // 2)
        assert {(row[0], row[4]) for row in rows} == {("hostssl", "cert"), ("host", "scram-sha-256")}
        assert all(row[1:4] == after[1:4] for row, after in zip(rows[::2], rows[1::2], strict=True))
        assert access.CERTIFICATE_MAP in str(access.ident_lines(change))
    own = replace(config, postgres=replace(config.postgres, tls="own", tls_also="off"))
    assert access.hba_lines(own) == access.hba_lines(config)


def test_passwords_that_were_given_are_not_replaced_by_a_daemon(tmp_path: Path) -> None:
    config = with_passwords(tmp_path)
    text, other = access.new_passwords(), access.new_passwords()
    access.keep_passwords(config, text)
    assert access.own_passwords(config) == text
    assert config.paths.made_passwords.read_text() == text
    access.keep_passwords(config, other)
    assert config.paths.made_passwords.read_text() == other
    access.forget_made_passwords(config)
    assert not config.paths.made_passwords.exists()
    access.write_passwords(config, text)
    access.keep_passwords(config, text)
    with pytest.raises(ActionError, match="are not those of the pair"):
        access.keep_passwords(config, other)
    assert config.paths.passwords.read_text() == config.paths.own_passwords.read_text() == text


def test_a_role_is_that_of_either_host_s_certificate(tmp_path: Path) -> None:
    rows = [row for row in fields(access.ident_lines(configs.make(tmp_path))) if row[0] != access.MAP]
    assert rows == [
        [access.CERTIFICATE_MAP, '"pgvip@berlin"', "pgvip"],
        [access.CERTIFICATE_MAP, '"pgvip@paris"', "pgvip"],
        [access.CERTIFICATE_MAP, '"pgvip_replication@berlin"', "pgvip_replication"],
        [access.CERTIFICATE_MAP, '"pgvip_replication@paris"', "pgvip_replication"],
    ]
    assert len(access.ident_lines(with_passwords(tmp_path))) == 2


def test_names_that_are_keywords_are_quoted(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    assert access._word("replication") == '"replication"'
    assert access._word("my db") == '"my db"'
    assert access._word(config.postgres.database) == "postgres"


def test_block_goes_to_the_top_replaces_itself_and_can_be_taken_out() -> None:
    old = "# comment\nhost all all all md5\n"
    once = access.with_block(old, ["first"])
    assert once.splitlines()[:3] == [access.BEGIN, "first", access.END]
    assert access.with_block(once, ["first"]) == once
    assert access.with_block(once, ["second"]) == access.with_block(old, ["second"])
    assert access.without_block(once) == old


def test_allowed_network_is_added_once_at_the_end() -> None:
    allowed = [access.parse_allowed("192.0.2.0/24"), access.parse_allowed("2001:db8::/64=trust")]
    text = access.with_allowed("host all all all md5\n", allowed)
    assert access.with_allowed(text, allowed) == text
    last = [line.split() for line in text.splitlines()[-3:] if not line.startswith("#")]
    assert last == [
        ["host", "all", "all", "192.0.2.0/24", "scram-sha-256"],
        ["host", "all", "all", "2001:db8::/64", "trust"],
    ]


@pytest.mark.parametrize("word", ["192.0.2.1/24", "nonsense", "192.0.2.0/24=truts"])
def test_bad_network_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"host bits|IPv4|unknown method"):
        access.parse_allowed(word)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """pg_hba.conf and pg_ident.conf outside of the data directory, as Debian has them."""
    (tmp_path / "etc").mkdir()
    found = tmp_path / "etc/pg_hba.conf", tmp_path / "etc/pg_ident.conf"
    found[0].write_text("host all all 192.0.2.0/24 md5\n")
    found[1].write_text("# none\n")
    monkeypatch.setattr(access, "access_files", lambda _: found)
    return found


def test_bundle_carries_who_may_connect_without_our_block(tmp_path: Path, files: tuple[Path, Path]) -> None:
    files[0].write_text(access.with_block("host all app 198.51.100.0/24 scram-sha-256\n", ["ours"]))
    assert access.others_lines(configs.make(tmp_path)) == {
        "pg_hba.conf": "host all app 198.51.100.0/24 scram-sha-256\n", "pg_ident.conf": "# none\n",
    }  # fmt: skip


def test_second_host_lets_in_whom_the_first_does(tmp_path: Path, files: tuple[Path, Path]) -> None:
    config = configs.make(tmp_path)
    lines = {"pg_hba.conf": "host all app 198.51.100.0/24 scram-sha-256\n", "pg_ident.conf": "# none\n"}
    (kept,) = access.adopt_lines(config, lines)
    assert kept.read_text() == "host all all 192.0.2.0/24 md5\n"
    access.write_access(config)
    assert "host all app 198.51.100.0/24 scram-sha-256" in files[0].read_text().splitlines()
    assert "192.0.2.0/24" not in files[0].read_text()
    before = files[0].read_text()
    assert access.adopt_lines(config, lines) == []  # done already
    assert files[0].read_text() == before


def in_data(config: Config, files: tuple[Path, Path]) -> Config:
    return replace(config, postgres=replace(config.postgres, data_directory=files[0].parent))


def test_files_that_the_copy_brought_are_left_alone(tmp_path: Path, files: tuple[Path, Path]) -> None:
    config = in_data(configs.make(tmp_path), files)
    assert access.adopt_lines(config, {"pg_hba.conf": "host all all 0.0.0.0/0 trust\n"}) == []
    assert files[0].read_text() == "host all all 192.0.2.0/24 md5\n"


def test_a_bundle_of_an_older_pgvip_carries_none(tmp_path: Path, files: tuple[Path, Path]) -> None:
    assert access.adopt_lines(configs.make(tmp_path), {}) == []
    assert files[0].read_text() == "host all all 192.0.2.0/24 md5\n"


def test_a_host_is_let_in_by_its_former_address_for_a_time(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    former = (FormerAddress("10.9.0.7", now_s() + 60), FormerAddress("10.9.0.8", now_s() - 1))
    lines = access.hba_lines(replace(config, former_addresses=former))
    assert [line for line in lines if "10.9.0.7/32" in line and "cert" in line]
    assert not [line for line in lines if "10.9.0.8/32" in line]
    assert [line for line in lines if "10.9.0.7" not in line] == access.hba_lines(config)


def test_where_a_server_reads_its_access_files_is_asked_once_while_it_runs(tmp_path: Path) -> None:
    """Two programs each time otherwise; another server may read others."""
    cluster, config = Cluster(tmp_path), configs.make(tmp_path)
    config = replace(config, postgres=replace(config.postgres, user=getpass.getuser()))
    calls = tmp_path / "calls"
    program = config.postgres.bin_directory / "postgres"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho x >> {calls}\nfor last; do :; done\necho "/etc/$last"\n')
    program.chmod(0o755)

    def asked() -> int:
        before = calls.read_text().count("x") if calls.exists() else 0
        assert access.access_files(config) == (Path("/etc/hba_file"), Path("/etc/ident_file"))
        return calls.read_text().count("x") - before

    assert [asked(), asked()] == [2, 2], "without a server the files may change at any time"
    for _ in range(2):
        pid = cluster.start("sleep 61")
        cluster.write_pid_file(pid)
        wait_until(lambda pid=pid: pid in cluster.pids(), 5)  # type: ignore[misc]  # a bound default
        assert [asked(), asked()] == [2, 0]
        cluster.end()
