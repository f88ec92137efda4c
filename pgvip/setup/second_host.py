"""What only the second host does: unpack the bundle, and check the first host before anything changes."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.config.load import parse
from pgvip.config.observing import observes
from pgvip.deadlines import wait_until
from pgvip.errors import (
    CommandError,
    ConfigError,
    LinkError,
    PgvipError,
    PostgresError,
    ProbeError,
    RecordError,
    RefusedError,
)
from pgvip.link import tls
from pgvip.link.bundle import remember
from pgvip.rejoin import source
from pgvip.setup import access, enrolment, rotation, server_keys
from pgvip.setup.hands import Hands
from pgvip.state import files
from pgvip.state.last_observed import Observed, forget_observed, save_observed
from pgvip.state.record import PairIdentity, RecordStore, TlsInUse, load_identity, save_identity, save_tls
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.commands import check
from pgvip.system.sql import REPLICATION_ROLE, NoAnswer, connect_peer
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgvip.config.model import Config
    from pgvip.link.bundle import Bundle

ANSWER_S = 10.0
STREAM_S = 30.0
"""For the WAL receiver to come back with new settings: some rounds of the old wal_retrieve_retry_interval."""

FOLLOWED = """
SELECT pg_is_in_recovery(), (
    SELECT host(address::inet) FROM pg_stat_wal_receiver,
           coalesce(substring(conninfo from 'hostaddr=''?([0-9a-fA-F.:]+)'), sender_host) AS address
     WHERE status = 'streaming' AND address ~ '^[0-9a-fA-F.:]+$');
"""
"""A connection string of pgvip's own has the host's name as host, for its certificate, and its address beside it."""


def identity_of(bundle: Bundle, config: Config) -> PairIdentity:
    """The pair as the bundle describes it; a bundle of `pgvip bundle` may also be for the first host."""
    second = next(host.name for host in (config.me, config.peer) if host.name != bundle.first_host)
    return PairIdentity(bundle.pair_id, bundle.system_id, bundle.first_host, second)


def ordinal(bundle: Bundle) -> str:
    """Which host of the pair the bundle is for, in words."""
    return "first" if bundle.host == bundle.first_host else "second"


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


def make_own(bundle: Bundle, config: Config) -> None:
    """What is root's own, and the places of PostgreSQL's user in there."""
    enrolment.make_directories(config)
    access.write_passwords(config, bundle.passwords)


def install(bundle: Bundle, config: Config, path: Path, hands: Hands) -> None:
    """Configuration, passwords, certificates and identity of this host; an existing configuration stays.

    `path`: where the bundle lies; one that is left there is reported later.
    """
    if not config.file.exists():
        config.file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        files.write(config.file, bundle.config, mode=0o644)
    hands.do()
    rotation.forget(config, keys_follow=True)
    if bundle.server_keys:
        server_keys.install(config, bundle.server_keys)
    tls.install(config.paths.certificates, tls.KeyPair(bundle.key, bundle.certificate), bundle.peer_certificate)
    access.forget_made_passwords(config)
    save_tls(config.paths.tls_in_use, TlsInUse(config.postgres.tls))
    save_identity(config.paths.identity, identity_of(bundle, config))
    if observes(config):
        save_observed(config.paths.state, Observed(config.peer.name))
    else:
        forget_observed(config.paths.state)
    remember(config.paths.state, path)


def pair_problems(bundle: Bundle, config: Config) -> list[PgvipError]:
    """A host that is in a pair already, or whose record says that it may have served."""
    found: list[PgvipError] = []
    identity = load_identity(config.paths.identity)
    if identity is not None and identity != identity_of(bundle, config):
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
        hint = "Examine the data first; pgvip status names the command that clears it."
        found.append(RefusedError("this host's data may hold commits that nobody else has", durable.hold, hint))
    if durable.record.primary == config.me.name:
        hint = "Hand the role over first (pgvip switchover); a returned host is cloned by its daemon."
        found.append(RefusedError(f"this host's record (term {durable.record.term}) says that it is primary", "", hint))
    return found


def first_host_problems(bundle: Bundle, config: Config) -> list[PgvipError]:
    """Whether the first host's database lets both roles in, is read-write, and is the right one.

    Nothing of the bundle needs to be installed: its keys and passwords are tried from a directory of their own.
    """
    if server_keys.used(config) and not bundle.server_keys:
        hint = f"Make a new one: pgvip bundle on {config.peer.name}."
        return [LinkError("the bundle has no keys for PostgreSQL", 'postgresql.tls is "pair".', hint)]
    with tempfile.TemporaryDirectory(prefix="pgvip-") as name:
        trial = _trial(config, Path(name))
        for path in (trial.paths.passwords, trial.paths.own_passwords):
            files.write(path, bundle.passwords)
        if bundle.server_keys:
            server_keys.install_roots(trial, bundle.server_keys)
        try:
            with connect_peer(trial, config.peer.address) as session:
                in_recovery, _, system_id = session.query("peer_database", timeout_s=ANSWER_S)[0]
                version = session.version
            replication_answers(config, bundle.passwords, bundle.server_keys)
        except ProbeError as failure:
            return [_unreachable(config, failure)]
        except CommandError as failure:
            hint = f"Its pg_hba.conf must let {REPLICATION_ROLE} in from {config.me.address}; pgvip init writes that."
            return [PostgresError(f"{config.peer.name} refuses replication", failure.detail, hint)]
    return _unfit(config, version, in_recovery=in_recovery, system_id=system_id, wanted=bundle.system_id)


def _unfit(config: Config, version: int, *, in_recovery: bool, system_id: str, wanted: str) -> list[PgvipError]:
    found: list[PgvipError] = []
    here, peer = enrolment.program_version(config), config.peer.name
    if version != here:
        hint = f"Install PostgreSQL {version} here, and name it with postgresql.bin_directory."
        found.append(PostgresError(f"{peer} runs PostgreSQL {version}, here is {here}", "", hint))
    if in_recovery:
        found.append(PostgresError(f"the database on {peer} is not read-write", "", "Start it there."))
    if system_id != wanted:
        detail = f"Its system identifier is {system_id}, the bundle's is {wanted}."
        found.append(PostgresError(f"{peer} runs another database cluster", detail, "Run pgvip init again."))
    return found


def _unreachable(config: Config, failure: ProbeError) -> PgvipError:
    if isinstance(failure, NoAnswer):
        hint = (
            f"Start the daemon there (systemctl start pgvip), and let port {config.postgres.port} through; a server in "
            f"service listens to the network once it is restarted (pgvip init --restart)."
        )
    else:
        hint = "Take the newest bundle; pg_hba.conf there is written by pgvip init."
    return PostgresError(f"the database on {config.peer.name} does not answer", str(failure), hint)


def _trial(config: Config, directory: Path) -> Config:
    """The configuration with other places for keys and passwords."""
    return replace(config, paths=replace(config.paths, passwords=directory / "passwords", state=directory))


@as_postgres()
def replication_answers(config: Config, passwords: str, keys: Mapping[str, str]) -> None:
    """Open a replication connection as the WAL receiver will: as PostgreSQL's user, by its keys or a password file."""
    with tempfile.TemporaryDirectory(prefix="pgvip-") as name:
        trial = _trial(config, Path(name))
        files.write(trial.paths.passwords, passwords)
        if keys:
            server_keys.install_server(trial, keys)
        _identify(trial)


@as_postgres()
def stream_answers(config: Config) -> None:
    """The same with what is in place."""
    _identify(config)


def _identify(config: Config) -> None:
    identified(config, source.conninfo(config, REPLICATION_ROLE))


@as_postgres()
def identified(config: Config, conninfo: str) -> str:
    """What a server says to IDENTIFY_SYSTEM: its system identifier first. CommandError."""
    program = pgtools.tool(config, "psql")
    words = f"{conninfo} replication=true"
    command: list[str | Path] = [program, "-X", "-A", "-t", "-d", words, "-c", "IDENTIFY_SYSTEM"]
    return check(command, timeout_s=ANSWER_S).stdout


def target_problems(config: Config, *, allow_replace: bool) -> list[PgvipError]:
    """A data directory that is in use, or that a clone would overwrite."""
    data = config.postgres.data_directory
    if enrolment.is_running(config) or processes.cluster_processes(data):
        unit = config.postgres.unit
        stop = f"Stop it first (systemctl stop {unit})" if unit else "Stop it first"
        return [PostgresError(f"a server runs in {data}", hint=f"{stop}, or use pgvip join if it streams.")]
    if not enrolment.is_empty(data) and not allow_replace:
        hint = "Use --replace, which keeps it under another name, or pgvip join if it streams."
        return [PostgresError(f"{data} is not empty", hint=hint)]
    configs = config.postgres.config_directory
    if configs != data and not pgtools.is_there(configs / "postgresql.conf"):
        hint = f"Run pg_createcluster --start-conf manual {' '.join(configs.parts[-2:])}, then use --replace."
        return [PostgresError(f"there is no postgresql.conf in {configs}", hint=hint)]
    return []


@as_postgres()
def set_stranger_aside(config: Config, system_id: str) -> Path | None:
    """Rename a data directory that is no copy of the pair's cluster; the clone itself never touches such a one.

    Returns its new name, or None when there was nothing to do.
    """
    data = config.postgres.data_directory
    if enrolment.is_empty(data):
        return None
    try:
        if pgtools.control_data(config).system_id == system_id:
            return None
    except PostgresError:
        pass  # not even a cluster
    kept = data.with_name(f"{data.name}.replaced-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    try:
        files.rename(data, kept)
    except OSError as failure:
        raise PostgresError(f"could not rename {data}", f"{failure}.", "Move it away by hand.") from failure
    return kept


# --- join ----------------------------------------------------------------------------------------------------


def standby_problems(bundle: Bundle, config: Config) -> list[PgvipError]:
    """Whether this host's server is a standby of the pair's cluster that streams from the first host."""
    if enrolment.is_empty(config.postgres.data_directory) or not enrolment.is_running(config):
        return [PostgresError("no server runs here", hint="Start the standby, or use pgvip clone.")]
    found = enrolment.misplaced(config, bundle.system_id)
    if found:
        return found
    found = enrolment.weak_settings(config)
    followed = pgtools.psql(config, FOLLOWED).strip()
    in_recovery, _, host = followed.partition("|")
    if in_recovery != "t":
        found.append(PostgresError("this server is not a standby", "", "Use pgvip clone --replace."))
    elif host != config.peer.address:
        hint = f"Set its primary_conninfo to {config.peer.address}, or use pgvip clone --replace."
        detail = f"It follows {host or 'nobody'}."
        found.append(PostgresError(f"this standby does not stream from {config.peer.address}", detail, hint))
    return found


def old_slot(config: Config) -> str:
    """The slot on the first host that this standby used so far; "" when it is ours, or there was none."""
    name = pgtools.server_setting(config, "primary_slot_name")
    return "" if name == pgconf.slot_name(config.me.name) else name


def await_stream(config: Config) -> None:
    """Wait until the WAL receiver streams by our own connection string and slot. PostgresError when it does not."""
    slot = pgconf.slot_name(config.me.name)
    wait_until(
        lambda: slot in pgtools.psql(config, "SELECT slot_name FROM pg_stat_wal_receiver WHERE status = 'streaming';"),
        STREAM_S,
        every_s=0.2,
        what=f"streaming from {config.peer.name} with slot {slot}",
        error=PostgresError,
    )
