"""Until when a certificate is valid, read without a library: the daemon does not load `cryptography` for one date."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgvip.errors import LinkError

if TYPE_CHECKING:
    from pathlib import Path

BYTES_MAX = 1 << 20
SEQUENCE, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
"""Tags of DER (X.690) that are met on the way."""
_FIRST = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def not_after(path: Path) -> datetime:
    """The end of the validity of the first certificate in a PEM file. LinkError when there is none."""
    try:
        with path.open(encoding="ascii") as file:
            found = _FIRST.search(file.read(BYTES_MAX))
        return _end(ssl.PEM_cert_to_DER_cert(found[0] if found else ""))
    except (OSError, ValueError, IndexError) as failure:
        raise LinkError(f"cannot read the certificate {path}", f"{failure}.") from failure


def not_after_der(der: bytes) -> datetime:
    """The end of the validity of a certificate. LinkError when it is none."""
    try:
        return _end(der)
    except (ValueError, IndexError) as failure:
        raise LinkError("cannot read a certificate", f"{failure}.") from failure


def _end(der: bytes) -> datetime:
    """RFC 5280, 4.1: Certificate { tbsCertificate { [version], serial, algorithm, issuer, validity { from, to } ..."""
    body = _children(_children(der)[0][1])[0][1]
    parts = [part for part in _children(body) if part[0] != VERSION]
    tag, text = _children(parts[3][1])[1]
    if tag not in (UTC_TIME, GENERALIZED_TIME):
        raise ValueError("no time where the validity ends")
    said = text.decode("ascii")
    if tag == UTC_TIME:  # two digits of the year: 50 to 99 are of the last century (RFC 5280, 4.1.2.5.1)
        said = ("19" if said[:2] >= "50" else "20") + said
    return datetime.strptime(said, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each element, one after the other."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("it ends too early")
        found.append((tag, data[at : at + length]))
        at += length
    return found
