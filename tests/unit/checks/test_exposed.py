"""What lies open of the secrets of a pair: by real files with real modes."""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pgvip.checks import exposed, fence_programs
from pgvip.checks.exposed import BUNDLE_S, exposures
from pgvip.config.model import Config, FenceMethod, HttpConfig
from pgvip.daemon.background import Background
from pgvip.errors import LinkError
from pgvip.link import bundle
from pgvip.link.certificates import make_pair_certificates
from pgvip.link.expiry import not_after
from tests.unit import configs
from tests.unit.fake_server import serving
from tests.unit.system.test_fence_agents import describe, make_agent


def secret(path: Path, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("tops3cret\n")
    path.chmod(mode)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A host all of whose secrets are as they should be."""
    made = configs.make(tmp_path)
    made = replace(made, postgres=replace(made.postgres, user="nobody"))
    secret(made.paths.postgres_keys / "pgvip.key")
    secret(made.paths.certificates / "own.key")
    agent = make_agent(tmp_path / "device")
    describe(agent.parent)
    method = FenceMethod(agent=str(agent), secrets=(("secret_key", secret(tmp_path / "fence.key")),))
    http = HttpConfig(listen="own", password_file=secret(tmp_path / "http.password"), key=secret(tmp_path / "http.key"))
    return replace(made, peer=replace(made.peer, fencing=(method,)), http=http)


def names(config: Config) -> list[str]:
    return [one.name for one in exposures(config)]


def test_nothing_lies_open_where_all_is_well(config: Config) -> None:
    assert exposures(config) == []
    assert len(list(exposed.secret_files(config))) == 5


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    ("spoil", "told"),
    [(lambda path: path.chmod(0o640), "has mode 0640"), (lambda path: os.chown(path, 12345, 12345), "does not belong")],
    ids=["mode", "owner"],
)
def test_a_secret_that_others_may_read(config: Config, number: int, spoil: Callable[[Path], None], told: str) -> None:
    path, _ = list(exposed.secret_files(config))[number]
    spoil(path)
    (found,) = exposures(config)
    assert (found.name, str(path) in found.text, told in found.text) == ("secret-exposed", True, True)
    assert str(path) in found.hint
    assert "tops3cret" not in str(found)


def test_no_such_user_is_said_and_ends_nothing(config: Config) -> None:
    """Whose password file is inspected."""
    config = replace(config, postgres=replace(config.postgres, user="nobody-at-all", tls="off"))
    (found,) = exposed.files(config)
    assert "does not exist" in found.text


def test_a_bundle_that_was_left_is_remembered(config: Config, tmp_path: Path) -> None:
    config.paths.state.mkdir(exist_ok=True)
    elsewhere, default = secret(tmp_path / "else where" / "b\nundle"), secret(config.paths.state / "bundle")
    bundle.remember(config.paths.state, elsewhere)
    bundle.remember(config.paths.state, elsewhere)
    assert names(config) == []  # just made, or just used
    for path in (elsewhere, default):
        os.utime(path, (time.time() - BUNDLE_S - 10,) * 2)
    assert names(config) == ["bundle-left", "bundle-left"]
    elsewhere.unlink()
    (found,) = exposures(config)
    assert str(default) in found.text


@pytest.mark.parametrize("text", ["", "x", '"relative"', "5\n[]", "[" * 99999, '"/tmp/\\u0000"'])
def test_a_note_of_bundles_that_is_garbled_ends_nothing(config: Config, text: str) -> None:
    config.paths.state.mkdir(exist_ok=True)
    (config.paths.state / bundle.PLACES).write_text(text)
    assert names(config) == []


def test_the_note_of_bundles_is_bounded(config: Config, tmp_path: Path) -> None:
    config.paths.state.mkdir(exist_ok=True)
    for number in range(bundle.PLACES_MAX + 5):
        bundle.remember(config.paths.state, tmp_path / str(number))
    found = bundle.remembered(config.paths.state)
    assert (len(found), found[-1].name) == (bundle.PLACES_MAX, str(bundle.PLACES_MAX + 4))


# --- certificates -----------------------------------------------------------------------------------------------


def certificate(path: Path, end: datetime) -> Path:
    """A self-signed one with this end."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db1")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(77)
        .not_valid_before(datetime(1971, 1, 1, tzinfo=UTC)).not_valid_after(end).sign(key, hashes.SHA256())
    )  # fmt: skip
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.write_bytes(b"# ours\n" + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    "end", [datetime(1999, 12, 31, tzinfo=UTC), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
            datetime(2050, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)],
)  # fmt: skip
def test_the_end_of_a_certificate_is_read(tmp_path: Path, end: datetime) -> None:
    assert not_after(certificate(tmp_path / "crt", end)) == end


def test_the_links_own_certificates_have_no_end(tmp_path: Path) -> None:
    path = tmp_path / "own.crt"
    path.write_text(make_pair_certificates(["a"])["a"].certificate)
    assert not_after(path).year == 9999


@pytest.mark.parametrize(
    "body", ["", "MAA=", "MIIB", "MAMCAQE=", "MIIB!!!", "/////w==", "MIT/////"]
)
def test_a_certificate_that_is_none_is_named(tmp_path: Path, body: str) -> None:
    path = tmp_path / "crt"
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    with pytest.raises(LinkError, match="cannot read the certificate"):
        not_after(path)


@pytest.mark.parametrize(
    ("days", "told"), [(-1, "has expired"), (29.5, "expires in 29 days"), (31, ""), (None, "cannot read")]
)
def test_a_certificate_that_ends_soon_is_a_warning(
    config: Config, tmp_path: Path, days: float | None, told: str
) -> None:
    path = tmp_path / "http.crt"
    if days is not None:
        certificate(path, datetime.now(tz=UTC) + timedelta(days=days))
    config = replace(config, http=replace(config.http, certificate=path))
    found = exposures(config)
    assert [one.name for one in found] == (["key-expires"] if told else [])
    assert all(told in one.text and "reload" in one.hint for one in found)


@pytest.mark.parametrize(("days", "told"), [(-1, "has expired"), (29.5, "expires in 29 days"), (31, "")])
def test_the_certificate_that_the_administrator_s_server_shows_is_watched(
    config: Config, tmp_path: Path, days: float, told: str
) -> None:
    path = certificate(tmp_path / "server.crt", datetime.now(tz=UTC) + timedelta(days=days))
    authority = certificate(tmp_path / "authority.crt", datetime.now(tz=UTC) + timedelta(days=400))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_suffix(".key"))
    with serving(b"", tls=context) as port:
        postgres = replace(config.postgres, port=port, tls="own", tls_authority=authority)
        config = replace(config, postgres=postgres, me=replace(config.me, address="127.0.0.1"))
        found = list(exposed.certificates(exposed.endings(config)))
    assert [one.name for one in found] == (["key-expires"] if told else [])
    assert all(told in one.text and "ssl_cert_file" in one.text for one in found)
    assert list(exposed.certificates(exposed.endings(config))) == []  # nobody listens there now


def test_an_authority_that_cannot_be_read_is_a_warning(config: Config, tmp_path: Path) -> None:
    postgres = replace(config.postgres, tls="own", tls_authority=tmp_path / "authority.crt", port=1)
    config = replace(config, postgres=postgres, me=replace(config.me, address="127.0.0.1"))
    (found,) = exposed.certificates(exposed.endings(config))
    assert "cannot read the certificate" in found.text


def test_tls_off_is_a_standing_warning(config: Config) -> None:
    config = replace(config, postgres=replace(config.postgres, tls="off"))
    assert "tls-off" in names(config)
    assert any(one.name == "tls-off" and "postgresql.tls" in one.text for one in exposed.standing(config))


# --- fences -----------------------------------------------------------------------------------------------------


def test_a_fabric_agent_is_reported_once_it_is_known(config: Config, tmp_path: Path) -> None:
    describe(tmp_path / "device", power=False)
    assert names(config) == []  # nothing is started for it
    (problem,) = fence_programs.fence_programs(config)
    assert problem.message == f"hosts.paris.fencing[1]: {config.peer.fencing[0].name} cuts no power and is no fence"
    assert "Use an agent of the host's power" in problem.hint
    (found,) = exposures(config)
    assert (found.name, found.text) == ("fence-unfit", problem.message)


def test_an_option_that_is_a_secret_by_the_agents_metadata_is_refused(config: Config) -> None:
    (method,) = config.peer.fencing
    config = replace(config, peer=replace(config.peer, fencing=(replace(method, options=(("zpass", "tops3cret"),)),)))
    (problem,) = fence_programs.fence_programs(config)
    (found,) = exposures(config)
    assert "fencing[1].options.zpass: a secret is written into the configuration" in problem.message
    for text in (str(problem), str(found)):
        assert "secrets = { zpass = " in text
        assert "tops3cret" not in text


def test_a_fence_program_that_others_may_change_is_reported(config: Config) -> None:
    program = Path(config.peer.fencing[0].agent)
    program.chmod(0o757)
    (problem,) = fence_programs.fence_programs(config)
    (found,) = exposures(config)
    assert found.name == "fence-unfit"
    assert "is not called" in problem.message
    assert f"chmod go-w {program}" in problem.hint
    assert f"chmod go-w {program}" in found.hint


def test_the_daemon_shows_each_name_once(config: Config) -> None:
    for path, _ in exposed.secret_files(config):
        path.chmod(0o644)
    config = replace(config, archive=replace(config.archive, enabled=False))
    seen = Background(lambda: config, lambda: None, lambda _request, _timeout_s: {})
    assert seen.warnings() == ()
    seen.look()
    (found,) = seen.warnings()
    assert (found.name, found.text.count("has mode 0644")) == ("secret-exposed", 5)
    assert json.dumps(found.text)
