"""Keys and certificates of the pair: of the peer link, and of the connections between the hosts' PostgreSQL servers.

For the link each host gets a key of its own and a self-signed certificate; each trusts exactly the other's certificate
and nothing else. PostgreSQL and libpq take an authority: each host has one of its own, which signs the certificates of
this host and whose key is then thrown away. So there is no authority to renew, to lose or to steal. The validity has no
end (RFC 5280, 4.1.2.5) and no beginning that a dead clock battery could fall behind: a wrong clock never cuts anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
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
"""X.520's limit. A client's name, which is compared, is shorter: a role of pgvip's and a host's name of 40 at most."""

_SIGNS = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


def make_pair_certificates(hosts: Iterable[str]) -> dict[str, KeyPair]:
    """Make one key and self-signed certificate for each host name. Nothing is written; see `tls.install`."""
    return {host: _make_one(host) for host in hosts}


def make_postgres_certificates(
    host: str, addresses: Iterable[str], names: Iterable[str], clients: Iterable[str]
) -> tuple[str, KeyPair, dict[str, KeyPair]]:
    """A host's authority (PEM), the key pair of its PostgreSQL server, and one for each client name.

    `addresses`, `names`: by which the server may be reached. The authority's key is not returned: nobody has it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name(f"pgvip authority of {host}")
    constraint = x509.BasicConstraints(ca=True, path_length=0)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = _signed(issuer, issuer, key, key, [(constraint, True), (_SIGNS, True), (identifier, False)])
    san = x509.SubjectAlternativeName(
        [*map(x509.DNSName, names), *(x509.IPAddress(ip_address(address)) for address in addresses)]
    )
    server = _leaf(host, issuer, key, ExtendedKeyUsageOID.SERVER_AUTH, san)
    return authority, server, {name: _leaf(name, issuer, key, ExtendedKeyUsageOID.CLIENT_AUTH) for name in clients}


def _leaf(
    name: str, issuer: x509.Name, signer: ec.EllipticCurvePrivateKey, usage: x509.ObjectIdentifier,
    *more: x509.ExtensionType,
) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.ExtendedKeyUsage([usage]), True),
        # A later authority of this host has the same name: they are told apart by their keys.
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        *((one, False) for one in more),
    ]
    return KeyPair(_pem(key), _signed(_name(name), issuer, key, signer, extensions))


def _make_one(host: str) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"pgvip {host}")
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    constraint = x509.BasicConstraints(ca=False, path_length=None)
    return KeyPair(_pem(key), _signed(name, name, key, key, [(constraint, True), (usage, False)]))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:COMMON_NAME_MAX])])


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> str:
    """A certificate in PEM, valid at any time that a clock may show."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
