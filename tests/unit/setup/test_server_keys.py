"""The keys with which the hosts' servers and pgvip's roles prove themselves: made, put in place, believed by libpq."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest
from cryptography import x509  # the test looks into what the one module that imports it made
from cryptography.x509.oid import ExtendedKeyUsageOID
from psycopg2.extensions import libpq_version

from pgvip.checks import configuration
from pgvip.config.model import Config, FormerVip
from pgvip.core.values import Vip
from pgvip.errors import LinkError, ProbeError
from pgvip.setup import access, server_keys
from pgvip.system import server_tls
from pgvip.system.sql import UnverifiedError, connect_peer, connect_peer_replication
from tests.fuzz.fake_postgres import GREETING, spoken
from tests.unit import configs
from tests.unit.fake_server import PASSWORD, READY, message, serving
from tests.unit.verified_pair import ADDRESS, berlin, pair, server

CLEAR = message(b"R", (3).to_bytes(4, "big"))
"""A request for the password in clear (PostgreSQL manual, 55.7, AuthenticationCleartextPassword)."""
ANSWER = spoken(((16,), ((b"f",),)))
LIMIT_S = 5.0


def ask(config: Config, port: int, address: str = ADDRESS) -> object:
    config = replace(config, postgres=replace(config.postgres, port=port))
    with connect_peer(config, address) as session:
        return session.query("in_recovery", timeout_s=LIMIT_S)[0][0]


def names(pem: str) -> tuple[str, list[str]]:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return certificate.subject.rfc4514_string(), [str(one.value) for one in extension]


def test_a_server_is_called_by_its_host_s_name_and_by_all_its_addresses(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    made = server_keys.make(config, config.peer)
    subject, called = names(made["server.crt"])
    assert subject == "CN=paris"
    assert called == ["paris", "pair.pgvip", "10.9.0.2", "10.9.0.100", "10.9.0.101"]
    client = x509.load_pem_x509_certificate(made["pgvip.crt"].encode())
    assert client.subject.rfc4514_string() == "CN=pgvip@paris"
    for name, usage in (("server", ExtendedKeyUsageOID.SERVER_AUTH), ("pgvip", ExtendedKeyUsageOID.CLIENT_AUTH)):
        certificate = x509.load_pem_x509_certificate(made[f"{name}.crt"].encode())
        assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        assert (certificate.not_valid_before_utc.year, certificate.not_valid_after_utc.year) == (1970, 9999)
    assert not any("authority" in name for name in made if name.endswith(".key"))


def test_an_address_that_is_served_for_a_time_is_named_as_well(tmp_path: Path) -> None:
    former = FormerVip(Vip.PRIMARY, "eth0", ip_interface("10.9.0.99/32"), 1e9)
    made = server_keys.make(configs.make(tmp_path, former_vips=(former,)), configs.make(tmp_path).peer)
    assert names(made["server.crt"])[1][2:] == ["10.9.0.2", "10.9.0.100", "10.9.0.101", "10.9.0.99"]


def test_files_are_private_and_each_has_what_it_needs(tmp_path: Path) -> None:
    here, there = pair(tmp_path)
    for config in (here, there):
        servers, roots = config.paths.server_keys, config.paths.postgres_keys
        assert {one.name for one in servers.iterdir()} == {
            "authorities.crt", "server.crt", "server.key", "pgvip.crt", "pgvip.key",
            "pgvip_replication.crt", "pgvip_replication.key",
        }  # fmt: skip
        assert {one.name for one in roots.iterdir()} == {
            "authorities.crt", "authority.crt", "peer-authority.crt", "pgvip.crt", "pgvip.key",
        }  # fmt: skip
        for one in (*servers.iterdir(), *roots.iterdir()):
            assert one.stat().st_mode & 0o077 == 0
            assert one.owner() == ("nobody" if one.parent == servers else "root")
    own = (here.paths.postgres_keys / "authority.crt").read_text()
    assert (there.paths.postgres_keys / "peer-authority.crt").read_text() == own


def test_own_keys_are_made_once(tmp_path: Path) -> None:
    config = berlin(tmp_path)
    config.paths.state.mkdir()
    assert not server_keys.is_complete(config)
    server_keys.ensure_own(config)
    key = (config.paths.server_keys / "server.key").read_text()
    assert server_keys.is_complete(config)
    server_keys.ensure_own(config)
    assert (config.paths.server_keys / "server.key").read_text() == key


def test_the_peer_is_believed(tmp_path: Path) -> None:
    here, there = pair(tmp_path)
    with server(there, GREETING, ANSWER) as port:
        assert ask(here, port) is False


def test_a_host_behind_a_virtual_address_is_believed_whichever_it_is(tmp_path: Path) -> None:
    """Linux answers for all of 127.0.0.0/8."""
    here, there = pair(tmp_path)
    for one in (here, there):
        with server(one, GREETING, ANSWER) as port:
            assert ask(replace(here, peer=replace(here.peer, address="10.9.0.2")), port) is False


def test_this_host_in_the_peer_s_place_is_not_believed(tmp_path: Path) -> None:
    here, _ = pair(tmp_path)
    with server(here, GREETING) as port, pytest.raises(UnverifiedError, match="not verified") as caught:
        ask(here, port)
    assert 'does not match host name "paris"' in caught.value.detail


def test_a_stranger_with_a_certificate_of_that_name_is_not_believed(tmp_path: Path) -> None:
    here, _ = pair(tmp_path)
    _, fake = pair(tmp_path / "fake")
    heard: list[bytes] = []
    with server(fake, GREETING, heard=heard) as port, pytest.raises(UnverifiedError, match="not verified"):
        ask(here, port)
    assert len(heard) == 1  # the request for TLS, and nothing more


@pytest.mark.parametrize("greeting", [READY, PASSWORD, CLEAR], ids=["lets in", "SCRAM", "clear"])
@pytest.mark.parametrize("connect", [connect_peer, connect_peer_replication])
def test_a_stranger_without_tls_gets_no_login(tmp_path: Path, greeting: bytes, connect: object) -> None:
    here, _ = pair(tmp_path)
    heard: list[bytes] = []
    with serving(greeting, heard=heard) as port:
        config = replace(here, postgres=replace(here.postgres, port=port))
        with pytest.raises(UnverifiedError), connect(config, ADDRESS) as session:  # type: ignore[operator]  # one of two
            session.connect(LIMIT_S)
    assert not any(b"user" in said for said in heard)


def test_the_client_s_certificate_is_demanded(tmp_path: Path) -> None:
    here, there = pair(tmp_path)
    server_keys.install(here, {**server_keys.make(here, here.me), server_keys.PEER: server_keys.own_authority(there)})
    with server(there, GREETING, ANSWER) as port, pytest.raises(ProbeError):
        ask(here, port)


def test_a_new_bundle_ends_what_the_old_keys_are_good_for(tmp_path: Path) -> None:
    here, there = pair(tmp_path)
    keys = server_keys.for_peer(here)
    with server(there, GREETING, ANSWER) as port, pytest.raises(UnverifiedError):
        ask(here, port)
    server_keys.install(there, keys)
    with server(there, GREETING, ANSWER) as port:
        assert ask(here, port) is False


def test_without_keys_the_error_says_so(tmp_path: Path) -> None:
    config = berlin(tmp_path)
    _, fake = pair(tmp_path / "other")
    with pytest.raises(LinkError, match="no keys for PostgreSQL"):
        server_keys.own_authority(config)
    with server(fake, GREETING) as port, pytest.raises(UnverifiedError) as caught:
        ask(config, port)
    assert "authorities.crt" in caught.value.detail


def test_passwords_that_a_change_made_are_used_where_none_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By root, by PostgreSQL's programs, and by workers with the identity of its user."""
    config = configs.make(tmp_path)
    config = replace(config, postgres=replace(config.postgres, tls="off"))
    access.keep_passwords(config, access.new_passwords())

    def passfile(*, program: bool) -> str:
        return server_tls.client_words(config, "pgvip", "10.9.0.2", 15, program=program)["passfile"]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert passfile(program=False) == str(config.paths.own_passwords)
    assert passfile(program=True) == str(config.paths.made_passwords)
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert passfile(program=False) == str(config.paths.made_passwords)
    config.paths.passwords.touch()
    assert passfile(program=False) == passfile(program=True) == str(config.paths.passwords)


@pytest.mark.parametrize("tls", ["own", "off"])
def test_a_password_is_never_sent_in_clear(tmp_path: Path, tls: str) -> None:
    """What was reproduced: the server of a stranger asks for it."""
    authority = tmp_path / "authority.pem"
    here, there = pair(tmp_path)
    authority.write_text(server_keys.own_authority(there))
    postgres = replace(here.postgres, tls=tls, tls_authority=authority if tls == "own" else None)
    config = replace(here, postgres=postgres)
    config.paths.own_passwords.write_text("*:*:*:*:SECRET\n")
    config.paths.own_passwords.chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(there.paths.server_keys / "server.crt", there.paths.server_keys / "server.key")
    heard: list[bytes] = []
    with serving(CLEAR, tls=context, heard=heard) as port, pytest.raises(UnverifiedError) as caught:
        ask(config, port)
    assert "authentication method requirement" in caught.value.detail
    assert any(b"user" in said for said in heard)
    assert not any(b"SECRET" in said for said in heard)


def test_own_verifies_the_administrator_s_certificate_by_its_name(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    peer = replace(config.peer, certificate_name="db2.example.org")
    postgres = replace(config.postgres, tls="own", tls_authority=Path("/etc/ssl/ours.pem"))
    config = replace(config, peer=peer, postgres=postgres)
    words = server_tls.client_words(config, "pgvip", "10.9.0.2", 16)
    assert (words["host"], words["hostaddr"]) == ("db2.example.org", "10.9.0.2")
    assert words["sslmode"] == "verify-full"
    assert words["sslrootcert"] == "/etc/ssl/ours.pem"
    assert words["require_auth"] == "scram-sha-256"
    assert server_tls.client_words(config, "pgvip", "10.9.0.1", 16)["host"] == "berlin"
    at_vip = server_tls.client_words(config, "pgvip", "10.9.0.100", 15)
    assert (at_vip["host"], at_vip["sslmode"]) == ("10.9.0.100", "verify-ca")
    assert "require_auth" not in at_vip
    assert server_tls.server_settings(config) == ()


def test_an_older_libpq_is_asked_for_what_it_knows(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    old, new = (server_tls.client_words(config, "pgvip", "10.9.0.2", libpq, program=True) for libpq in (15, 16))
    assert new.items() - old.items() == {("sslcertmode", "require"), ("require_auth", "none")}
    assert old["sslmode"] == "verify-full"
    assert old["sslkey"].startswith(str(config.paths.server_keys))
    assert libpq_version() >= 16_00_00


def postgres(config: Config, directory: Path, *, ssl_library: str = "OpenSSL", **settings: str) -> Config:
    """A server's program that says its settings."""
    directory.mkdir()
    program = directory / "postgres"
    cases = "".join(f"{name}) echo '{value}';; " for name, value in {**settings, "ssl_library": ssl_library}.items())
    program.write_text(f'#!/bin/sh\nfor name; do :; done\ncase "$name" in {cases} esac\n')
    program.chmod(0o755)
    return replace(config, postgres=replace(config.postgres, bin_directory=directory, user="root"))


@pytest.mark.parametrize(
    ("tls", "settings", "named"),
    [
        ("pair", {"ssl": "off", "ssl_cert_file": "server.crt"}, ""),
        ("pair", {"ssl": "on", "ssl_cert_file": "/etc/ssl/certs/ssl-cert-snakeoil.pem"}, ""),
        ("pair", {"ssl": "on", "ssl_cert_file": "server.crt"}, "the server has a certificate of its own"),
        ("pair", {"ssl_library": ""}, "built without TLS"),
        ("own", {"ssl": "on"}, ""),
        ("own", {"ssl": "off"}, "the server has ssl = off"),
        ("own", {"ssl_library": ""}, "built without TLS"),
        ("off", {"ssl_library": ""}, ""),
    ],
)
def test_what_stands_against_it_is_found_before_anything_changes(
    tmp_path: Path, tls: str, settings: dict[str, str], named: str
) -> None:
    config = postgres(configs.make(tmp_path), tmp_path / "programs", **settings)
    config = replace(config, postgres=replace(config.postgres, tls=tls))
    found = server_keys.problems(config, new=False)
    assert [named in one.message for one in found] == ([True] if named else [])
    assert all(one.hint for one in found)


def test_own_certificates_of_an_earlier_run_are_no_obstacle(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    path = str(config.paths.server_keys / "server.crt")
    assert server_keys.problems(postgres(config, tmp_path / "programs", ssl="on", ssl_cert_file=path), new=False) == []


def test_an_authority_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    config = replace(config, postgres=replace(config.postgres, tls="own", tls_authority=tmp_path / "none.pem"))
    (problem,) = configuration._tls_authority(config)
    assert problem.message == f'postgresql.tls_authority = "{tmp_path}/none.pem": cannot be read'
    (tmp_path / "none.pem").touch()
    assert list(configuration._tls_authority(config)) == []
