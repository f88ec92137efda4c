"""Keys and certificates of the peer link, made once by `pgvip init`.

Each host gets a key of its own and a self-signed certificate; each trusts exactly the other's certificate and nothing
else. There is no authority to renew or to lose. The validity has no end (RFC 5280, 4.1.2.5) and no beginning that a
dead clock battery could fall behind, so a wrong clock never cuts the link.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pgvip.link.tls import KeyPair

if TYPE_CHECKING:
    from collections.abc import Iterable

NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
COMMON_NAME_MAX = 64
"""X.520's limit; the name is for people only, the whole certificate is what is compared."""


def make_pair_certificates(hosts: Iterable[str]) -> dict[str, KeyPair]:
    """Make one key and self-signed certificate for each host name. Nothing is written; see `tls.install`."""
    return {host: _make_one(host) for host in hosts}


def _make_one(host: str) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pgvip {host}"[:COMMON_NAME_MAX])])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyPair(key_pem.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode())
