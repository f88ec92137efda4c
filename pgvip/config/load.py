"""The TOML file → `Config`, seen from this host; what is wrong with it; what a reload may change.

`load` finds the host by the `host` argument, else PGVIP_HOST, else the host name, else the own addresses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
import tomllib
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip import __version__
from pgvip.config import rules
from pgvip.config.former_vips import with_former
from pgvip.config.model import OVERLAP_S, Config, Host
from pgvip.config.observing import as_observer, observes
from pgvip.config.ownership import changeable
from pgvip.config.read import Table, check_bounds, not_toml, shown
from pgvip.config.safeguards import with_witness
from pgvip.config.sections import Draft, read_draft
from pgvip.core.settings import Settings
from pgvip.core.values import Vip
from pgvip.errors import ConfigError, RecordError
from pgvip.state.record import load_identity, load_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgvip.state.record import PairIdentity

DEFAULT_FILE = Path("/etc/pgvip/pgvip.toml")
HOST_VARIABLE = "PGVIP_HOST"
FILE_VARIABLE = "PGVIP_CONFIG"


def default_file() -> Path:
    """PGVIP_CONFIG, else /etc/pgvip/pgvip.toml."""
    return Path(os.environ.get(FILE_VARIABLE) or DEFAULT_FILE)


def load(path: Path | str | None = None, host: str | None = None) -> Config:
    """Read the file and merge what `init` fixed (which host is first, the pair's id).

    Raises ConfigError: the only mistake, or one that lists them all.
    """
    file = Path(path) if path else default_file()
    config = parse(read_file(file), host, file)
    _refuse_foreign(config)
    return with_former(with_tls_in_use(with_identity(config)))


def _refuse_foreign(config: Config) -> None:
    """ConfigError for root, where others may write the file: it names what is run and mounted, by root too."""
    if os.geteuid() != 0:
        return
    try:
        found = changeable(config.file)
    except OSError as error:
        raise ConfigError(f"cannot inspect the configuration {config.file}", f"{error}.") from error
    if found:
        why, _, hint = found.partition(": ")
        raise ConfigError(
            f"the configuration {config.file} can be changed by others than root",
            f"It names what is run and mounted, also by root, and {why}.",
            f"Run: {hint}",
        )


def read_file(file: Path) -> str:
    """The text of the file; ConfigError when there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = f"Copy the commented sample pgvip.toml there, or name another with --config or {FILE_VARIABLE}."
        raise ConfigError(f"cannot read the configuration {file}", str(error), hint) from error


def parse(text: str, host: str | None = None, file: Path = DEFAULT_FILE) -> Config:
    """The configuration in `text`, without looking at this machine beyond finding out who it is."""
    config, found = _examine(text, host, file)
    raise_all(found, file)
    if config is None:
        raise AssertionError("no configuration and no problem")
    return config


def problems(text: str, host: str | None = None, file: Path = DEFAULT_FILE) -> list[ConfigError]:
    """Every mistake in `text`; empty when it is good. Contradictions are looked for once all values read."""
    return _examine(text, host, file)[1]


def raise_all(found: list[ConfigError], file: Path) -> None:
    """Raise the only problem as it is, several as one error that lists them; nothing when there is none."""
    if len(found) == 1:
        raise found[0]
    if found:
        listed = "\n".join(f"- {error.message}" + (f" ({error.hint})" if error.hint else "") for error in found)
        raise ConfigError(f"{len(found)} mistakes in {file}", f"\n{listed}", "pgvip config check explains each.")


def _examine(text: str, host: str | None, file: Path) -> tuple[Config | None, list[ConfigError]]:
    try:
        values = tomllib.loads(text)
        check_bounds(values)
    except (ValueError, RecursionError) as error:  # endless digits or nesting are no TOMLDecodeError
        return None, [not_toml(text, error, file)]
    found: list[ConfigError] = []
    draft = read_draft(Table("", values, found))
    if found or draft is None:
        return None, found
    try:
        me = find_host({name: h.address for name, h in draft.hosts.items()}, host)
    except ConfigError as error:
        return None, [error]
    config = assemble(draft, me, file)
    found = rules.contradictions(config)
    return as_observer(config), found


def assemble(draft: Draft, me: str, file: Path) -> Config:
    """The draft seen from host `me`. Before `init`, the host itself counts as the first (`init` runs there)."""
    (peer,) = [name for name in draft.hosts if name != me]
    mine, other = draft.hosts[me], draft.hosts[peer]
    settings = dataclasses.replace(
        draft.settings,
        me=me,
        peer=peer,
        me_first=True,
        fencing=bool(other.fencing),
        override=mine.role,
        peer_override=other.role,
        version=__version__,
    )
    postgres = dataclasses.replace(draft.postgres, tls_wanted=draft.postgres.tls)
    if mine.data_directory is not None:
        follows = postgres.config_directory == postgres.data_directory
        configs = mine.data_directory if follows else postgres.config_directory
        postgres = dataclasses.replace(postgres, data_directory=mine.data_directory, config_directory=configs)
    config = Config(
        name=draft.name,
        mode=draft.mode,
        me=mine,
        peer=other,
        vips=draft.vips,
        postgres=postgres,
        settings=settings,
        gateways=draft.gateways,
        archive=draft.archive,
        backup=draft.backup,
        rejoin=draft.rejoin,
        hooks=draft.hooks,
        notify=draft.notify,
        http=draft.http,
        monitor=draft.monitor,
        log=draft.log,
        paths=draft.paths,
        link_port=draft.link_port,
        valid_lft_s=draft.valid_lft_s,
        overlap_s=draft.overlap_s,
        max_slot_wal_keep_mb=draft.max_slot_wal_keep_mb,
        shutdown_handover_s=draft.shutdown_handover_s,
        watchdog=draft.watchdog,
        witness=draft.witness,
        file=file,
    )
    settings = with_witness(settings, config)
    config = dataclasses.replace(config, settings=settings)
    return dataclasses.replace(config, settings=dataclasses.replace(settings, digest=digest(config)))


# --- who am I ----------------------------------------------------------------------------------------------


def find_host(addresses: Mapping[str, str], host: str | None = None) -> str:
    """The name of the section of [hosts] that is this machine; `addresses`: own address of each host.

    A name that is asked for must be there; else the host name (full or short), else the own addresses.
    """
    asked = host or os.environ.get(HOST_VARIABLE, "")
    names = " and ".join(addresses)
    if asked:
        if asked in addresses:
            return asked
        where = "--host" if host else HOST_VARIABLE
        raise ConfigError(
            f"{where} = {shown(asked)}: is no host of this pair", hint=f"The hosts are {names}; name one of them."
        )
    name = socket.gethostname()
    for candidate in (name, name.split(".")[0]):
        if candidate in addresses:
            return candidate
    mine = [key for key, address in addresses.items() if is_own(address)]
    if len(mine) == 1:
        return mine[0]
    what = "carries the addresses of both" if mine else "is neither, by name or by address"
    raise ConfigError(
        f"hosts: this machine ({name}) {what}",
        f"The hosts of the pair are {', '.join(f'{key} ({address})' for key, address in addresses.items())}.",
        f"Name a [hosts.{name.split('.')[0]}] section after this machine, or set {HOST_VARIABLE}.",
    )


def is_own(address: str) -> bool:
    """True when this machine carries the address: a socket can be bound to it (bind(2), EADDRNOTAVAIL)."""
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def with_identity(config: Config) -> Config:
    """The same with what `init` fixed; unchanged before `init`."""
    identity = load_identity(config.paths.identity)
    if identity is None:
        return config
    check_identity(config, identity)
    settings = dataclasses.replace(config.settings, me_first=identity.first == config.me.name)
    return dataclasses.replace(config, settings=settings, pair_id=identity.pair_id)


def with_tls_in_use(config: Config) -> Config:
    """The same with the `postgresql.tls` that is in use in this pair: the file's becomes it step by step.

    Before `init`, and for those who may not read what root keeps of it, it is the file's. RecordError, ConfigError.
    """
    postgres, path = config.postgres, config.paths.tls_in_use
    try:
        kept = load_tls(path) if config.pair_id else None
    except RecordError as failure:
        if not isinstance(failure.__cause__, PermissionError):
            hint = f"See that postgresql.tls in the configuration is what the pair uses, and remove {path}."
            raise RecordError(failure.message, failure.detail, hint) from failure
        kept = None
    if kept is None:
        return config
    postgres = dataclasses.replace(postgres, tls=kept.tls, tls_also=kept.also)
    if "own" in postgres.tls_let_in and postgres.tls_authority is None:
        raise ConfigError(
            f'postgresql.tls = "{postgres.tls_wanted}": "own" is still in use, and tls_authority is missing',
            hint='Leave tls_authority and certificate_name until the change to "off" has ended; from "own" to "pair" '
            'it goes by way of "off".',
        )
    return dataclasses.replace(config, postgres=postgres)


def check_identity(config: Config, identity: PairIdentity) -> None:
    """RecordError when the file names other hosts than `init` did: parity of the terms hangs on the names."""
    if {*identity.names} != {config.me.name, config.peer.name}:
        raise RecordError(
            f"the hosts in {config.file} are not those of this pair",
            f"The file says {config.me.name} and {config.peer.name}; pgvip init fixed {identity.first} as the first "
            f"host and {identity.second} as the second.",
            "Keep the names of the hosts; another pair needs a pgvip init of its own.",
        )


# --- what must be equal on both hosts ----------------------------------------------------------------------


def digest(config: Config) -> str:
    """A short hash of what must be equal on both hosts; the daemons compare it and say when it differs."""
    hosts = sorted((config.me, config.peer), key=lambda host: host.name)
    timing = {
        field.name: getattr(config.settings, field.name)
        for field in dataclasses.fields(Settings)
        if field.name not in _OWN_SETTINGS
    }
    parts = {
        "pair": config.name,
        "hosts": [_host_parts(host) for host in hosts],
        "vips": {vip.value: str(config.vips[vip]) for vip in Vip},
        "port": config.postgres.port,
        "database": config.postgres.database,
        "timing": timing,
        "archive": [config.archive.enabled, str(config.archive.directory), config.archive.compress]
        + [_text(dataclasses.astuple(one)) for one in config.archive.destinations]
        + (["link", config.archive.port] if config.archive.by_link else []),
        "gateways": sorted(config.gateways),
        "link_port": config.link_port,
        "valid_lft_s": config.valid_lft_s,
        "max_slot_wal_keep_mb": config.max_slot_wal_keep_mb,
        **({} if config.overlap_s == OVERLAP_S else {"overlap_s": config.overlap_s}),
        **({} if config.postgres.tls == "pair" else {"tls": config.postgres.tls}),  # as the file has it
        **({"mode": config.mode} if observes(config) else {}),
        **({"witness": _text(dataclasses.astuple(config.witness))} if config.witness.configured else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


_OWN_SETTINGS = {
    *("me", "peer", "me_first", "fencing", "override", "peer_override", "archive_mounted", "digest", "version"),
    *("witness_id", "lease_s", "lease_stop_s", "claim_s", "clock_margin"),  # in [witness], where there is one
}


def _host_parts(host: Host) -> list[object]:
    methods = [[m.agent, list(m.options), list(m.command), m.timeout_s] for m in host.fencing]
    return [host.name, host.address, host.interface, host.role.value, methods]


def _text(value: object) -> str:
    """A part of what the digest is made of: never changed, since both hosts must come to the same."""
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return str(value.value) if isinstance(value, Enum) else str(value)
