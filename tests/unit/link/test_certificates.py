"""Keys, certificates and the files they are kept in. What they are for is in test_link_peer."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509  # the test looks into what the one module that imports it made
from cryptography.hazmat.primitives.asymmetric import ec

from pgvip.errors import LinkError
from pgvip.link.certificates import make_pair_certificates
from pgvip.link.tls import install, load_contexts

if TYPE_CHECKING:
    from pathlib import Path


def test_validity_outlives_every_clock_and_keys_differ() -> None:
    made = make_pair_certificates(["alpha", "a-host-with-a-very-long-name." * 5])
    keys = set()
    for pair in made.values():
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        assert certificate.not_valid_before_utc.year == 1970
        assert certificate.not_valid_after_utc.year == 9999
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        keys.add(key.public_numbers().x)
    assert len(keys) == 2


def test_key_is_not_in_the_repr() -> None:
    pair = make_pair_certificates(["alpha"])["alpha"]
    assert "PRIVATE" in pair.key
    assert "PRIVATE" not in repr(pair)


def test_files_are_private_and_can_be_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "tls"
    for _ in range(2):
        made = make_pair_certificates(["alpha", "beta"])
        install(directory, made["alpha"], made["beta"].certificate)
        assert {one.name: one.stat().st_mode & 0o777 for one in directory.iterdir()} == {
            "own.key": 0o600,
            "own.crt": 0o600,
            "peer.crt": 0o600,
        }
        assert directory.stat().st_mode & 0o777 == 0o700
        assert load_contexts(directory).peer_ders == (ssl.PEM_cert_to_DER_cert(made["beta"].certificate),)


def test_contexts_take_tls_1_3_and_a_certificate_only(tmp_path: Path) -> None:
    made = make_pair_certificates(["alpha", "beta"])
    install(tmp_path, made["alpha"], made["beta"].certificate)
    contexts = load_contexts(tmp_path)
    for context in (contexts.server, contexts.client):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_missing_broken_mixed_and_open_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="cannot read the certificates") as caught:
        load_contexts(tmp_path)
    assert "pgvip init" in caught.value.hint
    made = make_pair_certificates(["alpha", "beta"])
    install(tmp_path, made["alpha"], made["beta"].certificate)
    (tmp_path / "own.key").chmod(0o640)
    with pytest.raises(LinkError, match="can be read by others"):
        load_contexts(tmp_path)
    (tmp_path / "own.key").chmod(0o600)
    (tmp_path / "peer.crt").write_text("nonsense")
    with pytest.raises(LinkError, match="cannot read the certificates"):
        load_contexts(tmp_path)
    install(tmp_path, made["alpha"], made["beta"].certificate)
    (tmp_path / "own.key").write_text(made["beta"].key)
    with pytest.raises(LinkError, match="cannot read the certificates"):
        load_contexts(tmp_path)


def test_directory_that_cannot_be_is_a_link_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pair = make_pair_certificates(["alpha"])["alpha"]
    with pytest.raises(LinkError, match="cannot write certificates"):
        install(tmp_path / "file" / "tls", pair, pair.certificate)
