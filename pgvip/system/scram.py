"""SCRAM verifiers, made here so that no password is ever part of an SQL statement (RFC 5802, RFC 7677)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 64
"""Our passwords are 192 random bits: stretching adds nothing, and the daemons connect every second
(PostgreSQL's default of 4096 costs 5 ms of CPU each time)."""


def new_password() -> str:
    """A random password without characters that a password file would need escaped."""
    return secrets.token_urlsafe(24)


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """Return what PostgreSQL stores for a password (pg_authid.rolpassword), for ASCII passwords.

    >>> verifier("pencil", b"0123456789abcdef", 1)[:46]
    'SCRAM-SHA-256$1:MDEyMzQ1Njc4OWFiY2RlZg==$Ta2fp'
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
