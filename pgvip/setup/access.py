"""Who may connect for pgvip: passwords (not with certificates), and pgvip's lines in pg_hba.conf and pg_ident.conf.

The lines are the same on both hosts (`samehost` means whatever addresses the server has), so that a
clone or a rewind, which copies them, copies nothing wrong.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.core.values import Vip
from pgvip.deadlines import now_s
from pgvip.errors import ActionError
from pgvip.state import files
from pgvip.system import pgtools, processes
from pgvip.system.server_tls import client_name, password_file
from pgvip.system.sql import DATABASE_ROLE, REPLICATION_ROLE
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgvip.config.model import Config
    from pgvip.system.processes import ProcessRef

BEGIN = "# BEGIN pgvip: written by pgvip init, clone and join; changes in here are lost"
END = "# END pgvip"
ALLOWED = "# pgvip init --allow"
FILES = ("pg_hba.conf", "pg_ident.conf")
"""As `access_files` returns them; the bundle's words for them."""

MAP, CERTIFICATE_MAP = "pgvip", "pgvip_certificate"
ITERATIONS = 4096
"""Of PBKDF2, as PostgreSQL's own (src/include/common/scram-common.h)."""

SALT_BYTES = 16
PASSWORDS_BYTES_MAX = 1 << 16
METHODS = ("scram-sha-256", "md5", "cert", "ldap", "radius", "gss", "trust", "reject")


# --- passwords ---------------------------------------------------------------------------------------------


def ensure_passwords(config: Config) -> str:
    """The text of the password file; made with new random passwords where there is none. "" where none are used.

    It belongs to PostgreSQL's user, whose WAL receiver reads it, and to nobody else.
    """
    if config.postgres.tls == "pair":
        return ""
    path = password_file(config)
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        text = ""
    if has_passwords(text):
        if os.geteuid() == 0 and not config.paths.own_passwords.exists():
            write_passwords(config, text)  # of an earlier version
        return text
    text = new_passwords()
    write_passwords(config, text)
    return text


def has_passwords(text: str) -> bool:
    """Whether a password file of ours has those of both roles."""
    return all(password_of(text, role) for role in (DATABASE_ROLE, REPLICATION_ROLE))


def new_passwords() -> str:
    """The text of a password file with new ones."""
    roles = (DATABASE_ROLE, REPLICATION_ROLE)
    return "".join(f"*:*:*:{role}:{secrets.token_urlsafe(32)}\n" for role in roles)


def own_passwords(config: Config) -> str:
    """The passwords that root has; "" without any. ActionError when they cannot be read."""
    try:
        text = files.read(config.paths.own_passwords, PASSWORDS_BYTES_MAX).decode("ascii")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as failure:
        raise ActionError(f"could not read {config.paths.own_passwords}", f"{failure}.") from failure
    return text if has_passwords(text) else ""


def keep_passwords(config: Config, text: str) -> None:
    """Have these passwords on this host, for a change of `postgresql.tls` while the daemon runs. ActionError.

    The daemon gives no file away, so those of PostgreSQL's user are in its own directory. Where `init` or a bundle has
    put a file, that one stays.
    """
    given, own = config.paths.passwords, config.paths.own_passwords
    if given.exists():
        if own_passwords(config) == text:
            return
        hint = f"Copy {given} and {own} from the primary, with their owners and modes."
        raise ActionError(f"the passwords in {own} are not those of the pair", hint=hint)
    try:
        files.write(own, text)
    except OSError as failure:
        raise ActionError(f"could not write {own}", f"{failure}.") from failure
    _make_passwords(config, text)


@as_postgres()
def _make_passwords(config: Config, text: str) -> None:
    path, account = config.paths.made_passwords, pgtools.account(config)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, text, owner=(account.pw_uid, account.pw_gid) if os.geteuid() == 0 else None)
    except OSError as failure:
        raise ActionError(f"could not write {path}", f"{failure}.") from failure


@as_postgres()
def forget_made_passwords(config: Config) -> None:
    """Remove what `keep_passwords` has made: a bundle brings the pair's."""
    config.paths.made_passwords.unlink(missing_ok=True)


def passwords_ready(config: Config) -> bool:
    """True when the password files are there, or none are needed."""
    return config.postgres.tls == "pair" or config.paths.own_passwords.exists()


def write_passwords(config: Config, text: str) -> None:
    """Write the libpq password file (manual, 34.16), mode 0600, by rename. ActionError when that fails.

    Nothing without passwords: pgvip's roles log in by certificate then.
    """
    if not text:
        return
    path, owner = config.paths.passwords, pgtools.account(config)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        files.write(path, text, owner=(owner.pw_uid, owner.pw_gid))
        files.write(config.paths.own_passwords, text)
    except OSError as failure:
        raise ActionError(f"could not write {path}", f"{failure}.") from failure


def password_of(text: str, role: str) -> str:
    """The password of a role in a password file of ours; "" when it is not there."""
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 5 and words[3] == role:
            return words[4]
    return ""


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL stores for a password (RFC 5803), so that the password itself never reaches a log.

    >>> scram_verifier("pencil", bytes(16))[:44]
    'SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$'
    """
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    words = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{words[0]}${words[1]}:{words[2]}"


# --- pg_hba.conf and pg_ident.conf -----------------------------------------------------------------------------


def hba_lines(config: Config) -> list[str]:
    """Our entries, which come before all others: the first that fits decides (manual, 21.1)."""
    former = {one.address for one in config.former_addresses if now_s() < one.until_s}
    hosts = sorted({config.me.address, config.peer.address, *former})
    vips = [str(config.vips[vip].ip) for vip in Vip]
    database = _word(config.postgres.database)
    ours = f"{DATABASE_ROLE},{REPLICATION_ROLE}"
    ways = _ways(config.postgres.tls_let_in)
    rows = [
        ("local", "all", _word(config.postgres.user), "", "peer"),
        ("local", "all", DATABASE_ROLE, "", f"peer map={MAP}"),
        # pgvip backup: "all" above does not cover replication (manual, 21.1).
        ("local", "replication", _word(config.postgres.user), "", "peer"),
        # A host that follows itself, or whoever holds an address, would loop.
        ("host", "replication", ours, "samehost", "reject"),
        *(("host", "replication", ours, _network(vip), "reject") for vip in vips),
        *((kind, "replication", REPLICATION_ROLE, _network(host), method) for host in hosts for kind, method in ways),
        # The replication role as well: from 17 on, a standby asks for logical failover slots by primary_conninfo.
        *((kind, database, ours, _network(host), method) for host in hosts for kind, method in ways),
        *((kind, database, DATABASE_ROLE, _network(vip), method) for vip in vips for kind, method in ways),
        ("host", "replication", ours, "all", "reject"),
        ("host", "all", ours, "all", "reject"),
    ]
    return [f"{first:<7} {name:<15} {user:<25} {address:<22} {last}" for first, name, user, address, last in rows]


def _ways(let_in: frozenset[str]) -> list[tuple[str, str]]:
    """Kinds of connection and methods, for `PostgresConfig.tls_let_in`. The first that fits decides.

    While "pair" becomes "off", or the reverse, what is encrypted comes by certificate and the rest by password.
    """
    by_certificate, by_password = f"cert map={CERTIFICATE_MAP}", "scram-sha-256"
    if let_in == {"own"}:
        return [("hostssl", by_password)]
    certificates = [("hostssl", by_certificate)] if "pair" in let_in else []
    return certificates if let_in == {"pair"} else [*certificates, ("host", by_password)]


def ident_lines(config: Config) -> list[str]:
    """Let root, which the daemon runs as, in as role `pgvip` (peer authentication, by the kernel's word).

    PostgreSQL's user as well, with whose identity the daemon's workers run: it is the superuser anyway. And from the
    network each role by the certificate that either host has for it.
    """
    rows = [(MAP, _word(user), DATABASE_ROLE) for user in ("root", config.postgres.user)]
    if "pair" in config.postgres.tls_let_in:
        hosts = sorted((config.me, config.peer), key=lambda host: host.name)
        rows += [
            (CERTIFICATE_MAP, f'"{client_name(role, host)}"', role)
            for role in (DATABASE_ROLE, REPLICATION_ROLE)
            for host in hosts
        ]
    return [f"{name:<17} {user:<31} {role}" for name, user, role in rows]


def with_block(text: str, lines: Sequence[str]) -> str:
    """A file's text with our block at its top, in place of an earlier one."""
    return "\n".join([BEGIN, *lines, END, "", without_block(text)])


def without_block(text: str) -> str:
    """A file's text without our block."""
    kept, inside = [], False
    for line in text.splitlines():
        if line == BEGIN:
            inside = True
        if not inside:
            kept.append(line)
        if line == END:
            inside = False
    return "\n".join(kept).strip("\n") + "\n"


def with_allowed(text: str, allowed: Sequence[tuple[str, str]]) -> str:
    """A pg_hba.conf with a line for applications from each (network, method), once, at its end."""
    for network, method in allowed:
        line = f"{'host':<7} {'all':<15} {'all':<25} {network:<22} {method}"
        if line not in text.splitlines():
            text = text.rstrip("\n") + f"\n{ALLOWED}\n{line}\n"
    return text


def parse_allowed(word: str) -> tuple[str, str]:
    """`CIDR` or `CIDR=METHOD` of --allow; ValueError says what is wrong.

    >>> parse_allowed("192.0.2.0/24")
    ('192.0.2.0/24', 'scram-sha-256')
    """
    network, _, method = word.partition("=")
    if method and method not in METHODS:
        raise ValueError(f"unknown method {method}; known: {', '.join(METHODS)}")
    return str(ip_network(network)), method or METHODS[0]


def access_files(config: Config) -> tuple[Path, Path]:
    """Where the server reads pg_hba.conf and pg_ident.conf; asked once of each server that runs (two programs).

    It knows no others before it is started again.
    """
    data = config.postgres.data_directory
    postmaster = processes.postmaster(data)
    known = _FILES.get(data)
    if known is not None and postmaster is not None and known[0] == postmaster:
        return known[1]
    files = Path(pgtools.server_setting(config, "hba_file")), Path(pgtools.server_setting(config, "ident_file"))
    if postmaster is not None:
        _FILES[data] = postmaster, files
    return files


_FILES: dict[Path, tuple[ProcessRef, tuple[Path, Path]]] = {}
"""By data directory: a server, and what it reads."""


@as_postgres()
def write_access(config: Config, allowed: Sequence[tuple[str, str]] = ()) -> bool:
    """See that both files carry our lines; True when something changed (the server then needs a reload)."""
    hba, ident = access_files(config)
    changed = _rewrite(hba, lambda text: with_allowed(with_block(text, hba_lines(config)), allowed))
    return _rewrite(ident, lambda text: with_block(text, ident_lines(config))) or changed


@as_postgres()
def is_complete(config: Config) -> bool:
    """Both files carry our lines. ActionError when that cannot be seen."""
    wanted = (hba_lines(config), ident_lines(config))
    try:
        texts = [path.read_text(encoding="utf-8", errors="surrogateescape") for path in access_files(config)]
    except OSError as failure:
        raise ActionError("could not read pg_hba.conf and pg_ident.conf", f"{failure}.") from failure
    return all(with_block(text, lines) == text for text, lines in zip(texts, wanted, strict=True))


@as_postgres()
def others_lines(config: Config) -> dict[str, str]:
    """What both files say besides our blocks, for the bundle: who may connect here must be let in there too.

    On Debian these files lie outside of the data directory, so that no copy of the database brings them along, and
    after a takeover the applications would be refused. Raises ActionError.
    """
    found = {}
    for key, path in zip(FILES, access_files(config), strict=True):
        try:
            found[key] = without_block(path.read_text(encoding="utf-8", errors="replace"))
        except OSError as failure:
            raise ActionError(f"could not read {path}", f"{failure}.") from failure
    return found


@as_postgres()
def adopt_lines(config: Config, lines: Mapping[str, str]) -> list[Path]:
    """Have both files say what the other host's say; the old ones stay beside them, under the names returned.

    A file inside of the data directory is left alone: the copy has brought it.
    """
    kept = []
    for key, path in zip(FILES, access_files(config), strict=True):
        if key not in lines or path.is_relative_to(config.postgres.data_directory):
            continue
        if without_block(path.read_text(encoding="utf-8", errors="replace")) == lines[key]:
            continue
        old = path.with_name(f"{path.name}.replaced-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
        files.write_like(old, path.read_bytes(), path)
        _rewrite(path, lambda _, text=lines[key]: text)  # type: ignore[misc]  # a default binds it
        kept.append(old)
    return kept


def _rewrite(path: Path, edit: Callable[[str], str]) -> bool:
    try:
        old = path.read_text(encoding="utf-8", errors="surrogateescape")
        new = edit(old)
        if new == old:
            return False
        files.write_like(path, new, path)
    except OSError as failure:
        raise ActionError(f"could not write {path}", f"{failure}.") from failure
    return True


def _network(address: str) -> str:
    return str(ip_network(address))


def _word(name: str) -> str:
    """A name as pg_hba.conf wants it: quoted where it would mean something else."""
    plain = name.replace("_", "").replace("-", "").isalnum()
    keyword = name in ("all", "replication", "sameuser", "samerole", "samegroup")
    return name if plain and not keyword else f'"{name}"'
