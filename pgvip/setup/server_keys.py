"""Keys and certificates with which PostgreSQL's servers and pgvip's roles prove themselves between the hosts.

With `tls = "pair"` each host has an authority of its own (its key exists no longer), a server certificate, and a client
certificate for each role of pgvip's. Both hosts trust the authorities of both. PostgreSQL's user has what its server,
its WAL receiver and its programs need; root has a copy of its own for the daemon.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pgvip.config.observing import observes
from pgvip.core.values import Vip
from pgvip.errors import LinkError, PgvipError, PostgresError
from pgvip.state import files
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.server_tls import (
    AUTHORITIES,
    EITHER,
    LEFT,
    certificate_file,
    client_name,
    key_file,
    server_settings,
)
from pgvip.system.sql import DATABASE_ROLE, REPLICATION_ROLE
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pgvip.config.model import Config, Host

OWN, PEER = "authority.crt", "peer-authority.crt"
SERVER = "server"
BYTES_MAX = 1 << 16
PLACEHOLDER = "/ssl-cert-snakeoil.pem"
"""Debian's self-signed certificate, with which it makes each new cluster: nobody can verify it, nobody misses it."""
_ROOTS = (certificate_file(DATABASE_ROLE), key_file(DATABASE_ROLE), OWN)
"""What root has of a host's keys. The authority is written last: without it nothing counts as made."""


def used(config: Config) -> bool:
    """Whether this pair has keys of its own for PostgreSQL."""
    return config.postgres.tls == "pair"


def problems(config: Config, *, new: bool) -> list[PgvipError]:
    """What stands against `postgresql.tls` here. `new`: there is no cluster yet, whose settings could be read."""
    tls = config.postgres.tls
    if tls == "off":
        return []
    if not pgtools.has_tls(config):
        hint = 'Install one that is, or write tls = "off" in [postgresql]: nothing between the hosts is encrypted then.'
        return [PostgresError(f'postgresql.tls = "{tls}": this PostgreSQL is built without TLS', "", hint)]
    if new:
        return []
    on = pgtools.server_setting(config, "ssl") == "on"
    if tls == "own":
        hint = "Set ssl, ssl_cert_file and ssl_key_file in postgresql.conf and reload, or remove postgresql.tls."
        return [] if on else [PostgresError('postgresql.tls = "own": the server has ssl = off', "", hint)]
    certificate = pgtools.server_setting(config, "ssl_cert_file")
    ours = certificate == dict(server_settings(config))["ssl_cert_file"]
    if not on or ours or certificate.endswith((PLACEHOLDER, certificate_file(LEFT))):
        return []
    hint = (
        'Keep it with tls = "own" and tls_authority = "PATH" in [postgresql]; or set ssl = off in postgresql.conf and '
        "reload, and clients get the pair's certificate."
    )
    return [PostgresError("the server has a certificate of its own", f"ssl_cert_file is {certificate}.", hint)]


def make(config: Config, host: Host) -> dict[str, str]:
    """New keys and certificates of a host, by the names of their files."""
    from pgvip.link.certificates import make_postgres_certificates  # noqa: PLC0415  # slow to import, needed only here

    roles = (DATABASE_ROLE, REPLICATION_ROLE)
    vips = [*(config.vips[vip] for vip in Vip if vip in config.vips), *(one.address for one in config.former_vips)]
    addresses = dict.fromkeys([host.address, *(str(address.ip) for address in vips)])
    clients = {client_name(role, host): role for role in roles}
    authority, server, made = make_postgres_certificates(host.name, addresses, (host.name, EITHER), clients)
    pairs = {SERVER: server, **{clients[name]: pair for name, pair in made.items()}}
    found = {OWN: authority}
    for name, pair in pairs.items():
        found |= {key_file(name): pair.key, certificate_file(name): pair.certificate}
    return found


def ensure_own(config: Config) -> None:
    """Make this host's where there are none. LinkError or PostgresError when that fails."""
    if not is_complete(config):
        install(config, make(config, config.me))


def is_complete(config: Config) -> bool:
    """True when this host has its keys, or needs none."""
    if not used(config):
        return True
    return (config.paths.postgres_keys / OWN).exists() and has_server_key(config)


@as_postgres()
def has_server_key(config: Config) -> bool:
    """Whether PostgreSQL's user has the key of its server."""
    return (config.paths.server_keys / key_file(SERVER)).exists()


def install(config: Config, keys: Mapping[str, str]) -> None:
    """Put this host's keys in place, for PostgreSQL's user and for root; a running server needs a reload then.

    `keys`: as `make` returns them, and PEER for the authority of the other host, as far as it is known.
    """
    install_server(config, keys)
    install_roots(config, keys)


def install_server(config: Config, keys: Mapping[str, str]) -> None:
    """The part of PostgreSQL's user."""
    mine = {name: text for name, text in keys.items() if name not in (OWN, PEER)}
    write_server_keys(config, {**mine, AUTHORITIES: _both(keys)})


def install_roots(config: Config, keys: Mapping[str, str]) -> None:
    """Root's part."""
    peer = {PEER: keys[PEER]} if PEER in keys else {}
    _write_roots(config, {AUTHORITIES: _both(keys), **peer, **{name: keys[name] for name in _ROOTS}})


def _both(keys: Mapping[str, str]) -> str:
    return keys[OWN] + keys.get(PEER, "")


def trust_peer(config: Config, authority: str) -> None:
    """Accept the other host's new certificates here, and its old ones no longer.

    What is connected stays. A running server needs a reload then (`reload`).
    """
    own = own_authority(config)
    write_server_keys(config, {AUTHORITIES: own + authority})
    _write_roots(config, {AUTHORITIES: own + authority, PEER: authority})


def trust(config: Config, authorities: str) -> None:
    """Accept certificates of these authorities here, of whichever host. A running server needs a reload then."""
    write_server_keys(config, {AUTHORITIES: authorities})
    _write_roots(config, {AUTHORITIES: authorities})


def use(config: Config, keys: Mapping[str, str]) -> None:
    """Put this host's keys in place, and leave whom it trusts. A running server needs a reload then."""
    write_server_keys(config, {name: text for name, text in keys.items() if name not in (OWN, PEER)})
    _write_roots(config, {name: keys[name] for name in _ROOTS if name != OWN})


def settle(config: Config, own: str, peer: str) -> None:
    """From now on these are the authorities of both hosts, and the only ones. A running server needs a reload then."""
    trust(config, own + peer)
    _write_roots(config, {PEER: peer, OWN: own} if peer else {OWN: own})


def authorities(config: Config) -> tuple[str, str]:
    """The authorities of this host and of the other one, in use now; "" for what there is not."""
    texts = []
    for name in (OWN, PEER):
        try:
            texts.append(files.read(config.paths.postgres_keys / name, BYTES_MAX).decode("ascii"))
        except FileNotFoundError:
            texts.append("")
        except (OSError, ValueError) as failure:
            raise LinkError(f"cannot read {config.paths.postgres_keys / name}", f"{failure}.") from failure
    return texts[0], texts[1]


def names() -> frozenset[str]:
    """The files of a host's keys, as `make` returns them."""
    roles = (SERVER, DATABASE_ROLE, REPLICATION_ROLE)
    return frozenset({OWN, *map(key_file, roles), *map(certificate_file, roles)})


def own_authority(config: Config) -> str:
    """The authority of this host, for the other one. LinkError when there is none."""
    try:
        return files.read(config.paths.postgres_keys / OWN, BYTES_MAX).decode("ascii")
    except (OSError, ValueError) as failure:
        hint = "pgvip init makes them on the first host; on the other, pgvip join with a new bundle of pgvip bundle."
        raise LinkError("this host has no keys for PostgreSQL", f"{failure}.", hint) from failure


def for_peer(config: Config) -> dict[str, str]:
    """New keys for the other host, as its bundle brings them; this host trusts them from now on, and no older ones."""
    if not used(config):
        return {}
    ensure_own(config)
    made = make(config, config.peer)
    trust_peer(config, made[OWN])
    reload(config)
    return {**made, PEER: own_authority(config)}


def reload(config: Config) -> None:
    """Have a running server read its keys again. Without psql: nothing here is to depend on a login.

    Nothing where pgvip only observes: that server does not use them.
    """
    if observes(config):
        return
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is not None:
        processes.send(postmaster, pgconf.RELOAD)


def _write_roots(config: Config, texts: Mapping[str, str]) -> None:
    directory = config.paths.postgres_keys
    try:
        config.paths.certificates.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        for name, text in texts.items():
            files.write(directory / name, text)
    except OSError as failure:
        raise LinkError(f"cannot write certificates to {directory}", f"{failure}.") from failure


@as_postgres()
def write_server_keys(config: Config, texts: Mapping[str, str]) -> None:
    """Write files for PostgreSQL's user (0600, each by rename). PostgresError when that fails."""
    directory, owner = config.paths.server_keys, pgtools.account(config)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in texts.items():
            files.write(directory / name, text)
            _give(directory / name, owner.pw_uid, owner.pw_gid)
        _give(directory, owner.pw_uid, owner.pw_gid)
    except OSError as failure:
        raise PostgresError(f"cannot write keys to {directory}", f"{failure}.") from failure


def _give(path: Path, uid: int, gid: int) -> None:
    """To PostgreSQL's user, where this is not that user (tests, and trials in root's directories)."""
    if os.geteuid() == 0:
        os.chown(path, uid, gid)
