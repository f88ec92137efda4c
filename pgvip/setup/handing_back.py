"""PostgreSQL's files without pgvip: what clients and standbys rely on stays in force, as lines of the administrator's.

pgvip.conf goes, with the line that includes it. What was in it for the administrator's own good (the addresses that the
server listens on, TLS, limits) is written into postgresql.conf in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import ActionError
from pgvip.setup import access
from pgvip.state import files
from pgvip.system import pgconf, server_tls
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pgvip.config.model import Config

KEPT = ("listen_addresses", "port", "wal_log_hints", "max_slot_wal_keep_size", "ssl", *pgconf.STANDBY_KEYS)
"""What stays in force. Another value of the first, of `ssl` or of a standby's limits would lock clients out, or end the
replay; WAL without a bound would fill the disk. Everything else was for pgvip's own work."""

CERTIFICATE = {
    "ssl_cert_file": server_tls.certificate_file(server_tls.LEFT),
    "ssl_key_file": server_tls.key_file(server_tls.LEFT),
}
"""Files of the data directory that take the place of those in pgvip's own."""

COMMENT = "# Of pgvip, which was uninstalled: what was in force. These lines are yours now."
MARKS = (COMMENT, "# pgvip: must stay the last line")
NO_ARCHIVE = {"archive_mode": "off", "archive_command": "/bin/true"}
"""Until the restart that takes archive_mode up, an empty command would keep every WAL file."""


@as_postgres()
def settings(config: Config) -> dict[str, str]:
    """The settings of pgvip.conf, unquoted; {} where there is none."""
    try:
        return values(files.read(config.postgres.config_directory / pgconf.FILE_NAME, pgconf.FILE_BYTES_MAX).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as failure:
        raise ActionError(f"could not read {pgconf.FILE_NAME}", f"{failure}.") from failure


def values(text: str) -> dict[str, str]:
    r"""Read a file that pgvip has written.

    >>> values("# by pgvip\nport = '5432'\narchive_command = 'it''s \\\\x'\n")
    {'port': '5432', 'archive_command': "it's \\x"}
    """
    rows = [line.partition(" = ") for line in text.splitlines() if line and not line.startswith("#")]
    return {key: value[1:-1].replace("''", "'").replace("\\\\", "\\") for key, _, value in rows}


def kept(ours: Mapping[str, str], theirs: frozenset[str], following: Mapping[str, str]) -> dict[str, str]:
    """The lines to write: `ours` is pgvip.conf, `theirs` the names that other files set, `following` a standby's.

    synchronous_standby_names of an earlier time would keep every commit waiting; an archive_command of the
    administrator's comes into force again.
    """
    found = {name: ours[name] for name in KEPT if name in ours}
    if "ssl" in found:
        found |= CERTIFICATE
    if "synchronous_standby_names" in theirs:
        found["synchronous_standby_names"] = ""
    if "archive_command" in ours and not theirs & {"archive_command", "archive_library"}:
        found |= NO_ARCHIVE
    return {**found, **following}


@as_postgres()
def write(config: Config, lines: Mapping[str, str]) -> None:
    """Put the lines in the place of the one that includes pgvip.conf, then remove this file. ActionError."""
    main = config.postgres.config_directory / "postgresql.conf"
    try:
        old = files.read(main, pgconf.FILE_BYTES_MAX).decode(errors="surrogateescape").split("\n")
        if pgconf.INCLUDE in [line.strip(pgconf.BLANKS) for line in old]:
            rest = [line for line in old if line not in MARKS and line.strip(pgconf.BLANKS) != pgconf.INCLUDE]
            while rest and not rest[-1]:
                rest.pop()
            new = [f"{name} = {pgconf.quoted(value)}" for name, value in lines.items()]
            files.write_like(main, "\n".join([*rest, "", COMMENT, *new, ""]), main)
        (main.parent / pgconf.FILE_NAME).unlink(missing_ok=True)
    except OSError as failure:
        raise ActionError(f"could not write {main}", f"{failure}.") from failure


@as_postgres()
def is_done(config: Config) -> bool:
    """postgresql.conf does without pgvip.conf."""
    main = config.postgres.config_directory / "postgresql.conf"
    if not main.exists():
        return True
    lines = files.read(main, pgconf.FILE_BYTES_MAX).decode(errors="surrogateescape").split("\n")
    return pgconf.INCLUDE not in [line.strip(pgconf.BLANKS) for line in lines]


@as_postgres()
def keep_certificate(config: Config) -> None:
    """Copy the server's certificate and key into the data directory, so that pgvip's may be removed. ActionError."""
    names = (server_tls.certificate_file("server"), server_tls.key_file("server"))
    for name, target in zip(names, CERTIFICATE.values(), strict=True):
        source, place = config.paths.server_keys / name, config.postgres.data_directory / target
        try:
            files.write_like(place, source.read_bytes(), source)
        except OSError as failure:
            raise ActionError(f"could not copy {source}", f"{failure}.") from failure


@as_postgres()
def remove_access(config: Config) -> bool:
    """Take pgvip's lines out of pg_hba.conf and pg_ident.conf; True when something changed. ActionError.

    What --allow added for applications stays.
    """
    changed = False
    for path in access.access_files(config):
        changed = _without_block(path) or changed
    return changed


def _without_block(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        if access.BEGIN not in text.splitlines():
            return False
        files.write_like(path, access.without_block(text).encode(errors="surrogateescape"), path)
    except OSError as failure:
        raise ActionError(f"could not write {path}", f"{failure}.") from failure
    return True
