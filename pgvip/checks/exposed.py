"""What of the pair's secrets lies open, for `pgvip check` and for the daemon's standing warnings.

Files that others may read, bundles that were left, certificates that expire, fence programs that root must not call.
Only files of this host are read; no program is started and nothing is asked of the network.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.core.warning_row import WarningRow, warned
from pgvip.errors import LinkError, PgvipError
from pgvip.link import bundle
from pgvip.link.expiry import not_after, not_after_der
from pgvip.system import fence_agents, pgtools, server_tls
from pgvip.system.pgping import served_certificate
from pgvip.system.sql import DATABASE_ROLE

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.settings import StandingWarning

BUNDLE_S = 3600.0
"""Long enough to carry a bundle over and to use it."""
ANSWER_S = 2.0
EXPIRES = timedelta(days=30)
"""As certbot, which renews then."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a certificate's validity; None: it cannot be read, as `what` says."""

    name: str
    what: str
    hint: str
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """One thing that lies open. `name`: of the warning."""

    name: str
    text: str
    hint: str


WARNINGS: tuple[WarningRow[Mapping[str, Exposure]], ...] = (
    WarningRow("secret-exposed", lambda v: v.get("secret-exposed"), "{it.text}", "{it.hint}"),
    WarningRow("bundle-left", lambda v: v.get("bundle-left"), "{it.text}", "{it.hint}"),
    WarningRow("key-expires", lambda v: v.get("key-expires"), "{it.text}", "{it.hint}"),
    WarningRow("tls-off", lambda v: v.get("tls-off"), "{it.text}", "{it.hint}"),
    WarningRow("fence-unfit", lambda v: v.get("fence-unfit"), "{it.text}", "{it.hint}"),
)
"""Each stands once, whatever it is about."""


def standing(config: Config, ends: Sequence[Ending] | None = None) -> tuple[StandingWarning, ...]:
    """The daemon's standing warnings. Never raises: what cannot be inspected is one too. `ends`: see `endings`."""
    found = [*files(config), *others(config, ends)]
    gathered = {}
    for name in {one.name for one in found}:
        same = [one for one in found if one.name == name]
        hints = dict.fromkeys(one.hint for one in same if one.hint)
        gathered[name] = Exposure(name, "; ".join(one.text for one in same), "; ".join(hints))
    return warned(WARNINGS, gathered)


def exposures(config: Config) -> list[Exposure]:
    """All of them, each by itself."""
    return [*files(config), *others(config)]


def others(config: Config, ends: Sequence[Ending] | None = None) -> list[Exposure]:
    """All but the modes of files."""
    known = endings(config) if ends is None else ends
    return [*bundles(config), *certificates(known), *wire(config), *fences(config)]


def secret_files(config: Config) -> Iterator[tuple[Path, int]]:
    """Every file with a secret that this host needs, and who alone may read it. PostgresError without that user."""
    root = 0
    if config.postgres.tls == "pair":
        yield config.paths.postgres_keys / server_tls.key_file(DATABASE_ROLE), root
    elif config.paths.passwords.exists() or not config.paths.own_passwords.exists():
        # Those that a change of postgresql.tls has made are in a directory of PostgreSQL's user alone.
        yield config.paths.passwords, pgtools.account(config).pw_uid
    if config.paths.own_passwords.exists():
        yield config.paths.own_passwords, 0
    for method in config.peer.fencing:
        for _, path in method.secret_files:
            yield path, root
    if config.http.listen != "off":
        yield from ((path, root) for path in (config.http.password_file, config.http.key) if path is not None)
    try:
        yield from ((key, root) for key in sorted(config.paths.certificates.glob("*.key")))
    except OSError:
        return  # the daemon has read its key before, or does not run


def files(config: Config) -> Iterator[Exposure]:
    """Files with secrets that others than their one user may read."""
    try:
        for path, owner in secret_files(config):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # said by whoever needs it
            except OSError as failure:
                text = f"{path} cannot be inspected: {failure.strerror}"
                yield Exposure("secret-exposed", text, "see that directory")
                continue
            for text, hint in wrong_mode(path, status, owner):
                yield Exposure("secret-exposed", text, hint)
    except PgvipError as failure:
        yield Exposure("secret-exposed", failure.message, failure.hint)


def wrong_mode(path: Path, status: os.stat_result, owner: int) -> Iterator[tuple[str, str]]:
    """What is wrong with mode and owner of a file that only `owner` may read: text and hint."""
    if stat.S_IMODE(status.st_mode) & 0o077:
        hint = f"chmod 0600 {path}; renew the secret (pgvip's own keys: pgvip rotate)"
        yield f"{path} has mode {stat.S_IMODE(status.st_mode):04o}", hint
    if status.st_uid != owner and not (owner == 0 and status.st_uid == os.geteuid()):
        user = pwd.getpwuid(owner).pw_name
        yield f"{path} does not belong to {user}", f"chown {user} {path}"


def bundles(config: Config) -> Iterator[Exposure]:
    """Bundles that this host has written or read, and that are still there."""
    for path in (config.paths.state / "bundle", *bundle.remembered(config.paths.state)):
        try:
            age_s = datetime.now(tz=UTC).timestamp() - path.lstat().st_mtime
        except OSError:
            continue  # it is gone, or where nobody looks
        if age_s > BUNDLE_S:
            text = f"bundle {path} is still there; it holds private keys"
            yield Exposure("bundle-left", text, f"delete it once it has been used: rm {path}")


def endings(config: Config) -> list[Ending]:
    """When each certificate ends that people have to renew. Those that pgvip makes have no end."""
    http, postgres, found = config.http, config.postgres, []
    if http.certificate is not None and http.listen != "off":
        hint = "renew it, then: systemctl reload pgvip"
        found.append(_ending("http", http.certificate, hint))
    if postgres.tls == "own" and postgres.tls_authority is not None:
        hint = "install the authority's new certificate, on both hosts"
        found.append(_ending("authority", postgres.tls_authority, hint))
        served = served_certificate(config.me.address, postgres.port, ANSWER_S)
        # Without one the server does not run, or speaks no TLS: said by those who connect to it.
        with suppress(LinkError):
            if served is not None:
                what, hint = "PostgreSQL's certificate (ssl_cert_file)", "renew it, then: SELECT pg_reload_conf()"
                found.append(Ending("postgresql", what, hint, not_after_der(served)))
    return found


def _ending(name: str, path: Path, hint: str) -> Ending:
    try:
        return Ending(name, f"certificate {path}", hint, not_after(path))
    except LinkError as failure:
        return Ending(name, failure.message, hint)


def certificates(found: Sequence[Ending]) -> Iterator[Exposure]:
    """Those that have ended, end soon, or cannot be read."""
    for one in found:
        left = None if one.end is None else one.end - datetime.now(tz=UTC)
        if left is None:
            yield Exposure("key-expires", one.what, one.hint)
        elif left < timedelta(0):
            yield Exposure("key-expires", f"{one.what} has expired", one.hint)
        elif left < EXPIRES:
            yield Exposure("key-expires", f"{one.what} expires in {left.days} days", one.hint)


def wire(config: Config) -> Iterator[Exposure]:
    """What goes between the hosts in clear because the configuration says so."""
    if config.postgres.tls == "off":
        text = 'postgresql.tls = "off": replication and logins between the hosts are neither encrypted nor verified'
        yield Exposure("tls-off", text, 'write tls = "pair" on both hosts and reload; see docs/security.md')


def fences(config: Config) -> Iterator[Exposure]:
    """Ways to fence the peer that are never used, and secrets among their options, as far as the agents are known."""
    for number, method in enumerate(config.peer.fencing, 1):
        key = f"hosts.{config.peer.name}.fencing[{number}]"
        found = fence_agents.known_metadata(method)
        refused = fence_agents.program_refusal(method)
        fabric = fence_agents.fabric(method, found)
        if refused:
            why, _, hint = refused.partition(": ")
            yield Exposure("fence-unfit", f"{key}: {method.name} is not called as root: {why}", hint)
        if fabric is not None:
            yield Exposure("fence-unfit", f"{key}: {fabric.message}", fabric.hint)
        for option in fence_agents.secrets_in_clear(method, found):
            text = f"{key}.options.{option} is a secret, and is written into the configuration"
            hint = f'put it into a file: secrets = {{ {option} = "/etc/pgvip/..." }}'
            yield Exposure("secret-exposed", text, hint)
