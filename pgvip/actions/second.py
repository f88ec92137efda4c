"""What only the second host does: unpack the bundle, and look at the first host before anything changes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.actions import access, enrol
from pgvip.config_load import parse
from pgvip.errors import CommandError, ConfigError, PgvipError, PostgresError, ProbeError, RecordError, RefusedError
from pgvip.link import tls
from pgvip.record import PairIdentity, RecordStore, load_identity, save_identity
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.commands import check
from pgvip.system.sql import REPLICATION_ROLE, NoAnswer, connect_peer

if TYPE_CHECKING:
    from pgvip.config import Config
    from pgvip.link.bundle import Bundle

ANSWER_S = 10.0
SPACE_RESERVE = 1.1
"""Free space wanted for a clone, times the first host's databases: WAL comes on top while it runs."""


def identity_of(bundle: Bundle) -> PairIdentity:
    """The pair as the bundle tells it."""
    return PairIdentity(bundle.pair_id, bundle.system_id, bundle.first_host, bundle.host)


def configuration(bundle: Bundle, file: Path, host: str | None) -> Config:
    """The bundle's configuration seen from here. ConfigError when another one is in place already."""
    config = parse(bundle.config, host, file)
    if config.me.name != bundle.host:
        raise ConfigError(
            f"this host is {config.me.name}, the bundle is for {bundle.host}",
            hint=f"Use it on {bundle.host}, or say who this is with --host or PGVIP_HOST.",
        )
    try:
        present = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return config
    if present == bundle.config:
        return config
    here = parse(present, host, file)
    if here.settings.digest != config.settings.digest:
        raise ConfigError(
            f"{file} is there already and differs from the first host's",
            "Both hosts need the same configuration.",
            f"Compare, then remove it: mv {file} {file}.old",
        )
    return here


def install(bundle: Bundle, config: Config) -> None:
    """Configuration, passwords, certificates and identity of this host; an existing configuration stays."""
    if not config.file.exists():
        config.file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = config.file.with_name(f".{config.file.name}.new")
        temporary.write_text(bundle.config, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(config.file)
    enrol.make_directories(config)
    access.write_passwords(config, bundle.passwords)
    tls.install(config.paths.certificates, tls.KeyPair(bundle.key, bundle.certificate), bundle.peer_certificate)
    save_identity(config.paths.identity, identity_of(bundle))


def pair_problems(bundle: Bundle, config: Config) -> list[PgvipError]:
    """A host that is in a pair already, or whose record says that it may have served."""
    found: list[PgvipError] = []
    identity = load_identity(config.paths.identity)
    if identity is not None and identity != identity_of(bundle):
        found.append(
            RecordError(
                f"this host belongs to another pair ({identity.first} and {identity.second})",
                hint=f"If that pair is gone, move {config.paths.state} aside.",
            )
        )
    durable = RecordStore(config.paths.record).load()
    if durable is None or durable.record is None:
        return found
    if durable.hold:
        hint = "Look at the data first; pgvip status names the command that clears it."
        found.append(RefusedError("this host's data may hold commits that nobody else has", durable.hold, hint))
    if durable.record.primary == config.me.name:
        hint = "Hand the role over first (pgvip switchover); a returned host is cloned by its daemon."
        found.append(RefusedError(f"this host's record (term {durable.record.term}) says that it is primary", "", hint))
    return found


def first_host_problems(bundle: Bundle, config: Config) -> list[PgvipError]:
    """Whether the first host's database can be reached by both roles, is read-write, and is the right one.

    Needs the passwords in place.
    """
    session = connect_peer(config, config.peer.address)
    try:
        with session:
            in_recovery, _, system_id = session.query("peer_database", timeout_s=ANSWER_S)[0]
            version = session.version
        _replication_answers(config)
    except ProbeError as failure:
        return [_unreachable(config, failure)]
    except CommandError as failure:
        hint = f"Its pg_hba.conf must let {REPLICATION_ROLE} in from {config.me.address}; pgvip init writes that."
        return [PostgresError(f"{config.peer.name} refuses replication", failure.detail, hint)]
    found: list[PgvipError] = []
    here = enrol.program_version(config)
    if version != here:
        hint = f"Install PostgreSQL {version} here, and name it with postgresql.bin_directory."
        found.append(PostgresError(f"{config.peer.name} runs PostgreSQL {version}, here is {here}", "", hint))
    if in_recovery:
        found.append(PostgresError(f"the database on {config.peer.name} is not read-write", "", "Start it there."))
    if system_id != bundle.system_id:
        detail = f"Its system identifier is {system_id}, the bundle's is {bundle.system_id}."
        found.append(PostgresError(f"{config.peer.name} runs another database cluster", detail, "Run pgvip init anew."))
    return found


def _unreachable(config: Config, failure: ProbeError) -> PgvipError:
    if isinstance(failure, NoAnswer):
        hint = f"Start the daemon there (systemctl start pgvip), and let port {config.postgres.port} through."
    else:
        hint = "Take the newest bundle; pg_hba.conf there is written by pgvip init."
    return PostgresError(f"the database on {config.peer.name} does not answer", str(failure), hint)


def _replication_answers(config: Config) -> None:
    """Open a replication connection, as the WAL receiver will: as PostgreSQL's user, with the same password file."""
    conninfo = {
        "host": config.peer.address,
        "port": config.postgres.port,
        "user": REPLICATION_ROLE,
        "dbname": "replication",
        "replication": "true",
        "passfile": config.paths.passwords,
        "connect_timeout": 5,
        "gssencmode": "disable",
    }
    words = " ".join(f"{key}={value}" for key, value in conninfo.items())
    command: list[str | Path] = [pgtools.tool(config, "psql"), "-X", "-A", "-t", "-d", words, "-c", "IDENTIFY_SYSTEM"]
    check(command, timeout_s=ANSWER_S, user=config.postgres.user)


def space_problems(config: Config) -> list[PgvipError]:
    """A file system that would not hold the first host's databases."""
    with connect_peer(config, config.peer.address) as session:
        needed_bytes = int(session.query("cluster_size", timeout_s=60.0)[0][0] * SPACE_RESERVE)
    directory = config.postgres.data_directory
    while not directory.exists():
        directory = directory.parent
    figures = os.statvfs(directory)
    free_bytes = figures.f_bavail * figures.f_frsize
    if free_bytes >= needed_bytes:
        return []
    detail = f"{directory} has {free_bytes >> 20} MB free, a clone needs about {needed_bytes >> 20} MB."
    return [PostgresError("there is not enough space for a clone", detail, "Make room first.")]


def target_problems(config: Config, *, replace: bool) -> list[PgvipError]:
    """A data directory that is in use, or that a clone would overwrite."""
    data = config.postgres.data_directory
    if enrol.is_running(config) or processes.cluster_processes(data):
        return [PostgresError(f"a server runs in {data}", hint="Stop it first, or use pgvip join if it streams.")]
    if not enrol.is_empty(data) and not replace:
        hint = "Use --replace, which keeps it under another name, or pgvip join if it streams."
        return [PostgresError(f"{data} is not empty", hint=hint)]
    configs = config.postgres.config_directory
    if configs != data and not (configs / "postgresql.conf").exists():
        hint = f"Run pg_createcluster --start-conf manual {' '.join(configs.parts[-2:])}, then use --replace."
        return [PostgresError(f"there is no postgresql.conf in {configs}", hint=hint)]
    return []


def set_aside(config: Config) -> Path | None:
    """Rename the data directory; nothing is deleted. Returns the new name, None when there was nothing."""
    data = config.postgres.data_directory
    if not data.exists():
        return None
    if enrol.is_empty(data):
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    kept = data.with_name(f"{data.name}.replaced-{stamp}")
    data.rename(kept)
    data.mkdir(mode=0o700)
    shutil.copystat(kept, data)
    pgtools.give(config, data)
    pgconf.sync_directory(data.parent)
    return kept
