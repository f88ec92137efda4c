"""What of the configuration does not fit this machine: interfaces, files, programs. Looks, changes nothing."""

from __future__ import annotations

import difflib
import os
import pwd
import shutil
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.checks.fence_programs import fence_programs
from pgvip.checks.own_host import own_address, unit
from pgvip.checks.static_vips import static_vips
from pgvip.config.read import wrong
from pgvip.config.rules import outside
from pgvip.config.safeguards import FILES
from pgvip.errors import ConfigError
from pgvip.events.event_table import EVENTS, VETO
from pgvip.system import processes
from pgvip.system.executables import listed, refusal
from pgvip.witness.by_postgresql import connection_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config


def host_problems(config: Config) -> list[ConfigError]:
    """What does not fit this machine: interface, networks, password files. Looks, changes nothing."""
    machine = (own_address, _interface, unit)
    files = (_password_files, fence_programs, _http_files, _notify_files, _tls_authority, _programs, _packers)
    rules = (*machine, *files, _witness_files, _witness_program)
    return [error for rule in rules for error in rule(config)]


def host_warnings(config: Config) -> list[ConfigError]:
    """What is worth a message and prevents nothing: hooks that are never called, VIPs that the system raises too."""
    return [*_hooks(config), *static_vips(config)]


def _packers(config: Config) -> Iterator[ConfigError]:
    words = {"archive.compress": config.archive.compress}
    words |= {f"archive.destinations ({one.name}).compress": one.compress for one in config.archive.destinations}
    for key, word in words.items():
        if config.archive.enabled and word != "none" and shutil.which(word) is None:
            yield wrong(key, word, "needs a program that is not here", f"Install the package {word} on both hosts.")


def _interface(config: Config) -> Iterator[ConfigError]:
    key, name = f"hosts.{config.me.name}.interface", config.me.interface
    present = [entry for _, entry in socket.if_nameindex()]
    if name not in present:
        others = ", ".join(entry for entry in present if entry != "lo") or "none but lo"
        yield wrong(key, name, "is not an interface of this host", f"Present here: {others}.")
        return
    networks = processes.networks_of(name)
    for vip, interface in config.vips.items():
        if interface.version == 4 and networks and config.me.network is None:
            yield from outside(f"addresses.{vip.value}", interface.ip, config.me, networks)


def _password_files(config: Config) -> Iterator[ConfigError]:
    """Only the peer's methods are used here."""
    for number, method in enumerate(config.peer.fencing, 1):
        for name, path in method.secret_files:
            word = "password_file" if path is method.password_file else f"secrets.{name}"
            key = f"hosts.{config.peer.name}.fencing[{number}].{word}"
            yield from _secret(key, path, f"Write the {name} as one line: install -m 0600 /dev/stdin {path}")


def _http_files(config: Config) -> Iterator[ConfigError]:
    http = config.http
    if http.listen == "off":
        return
    if http.password_file:
        hint = f"Write user:password as one line: install -m 0600 /dev/stdin {http.password_file}"
        yield from _secret("http.password_file", http.password_file, hint)
    if http.key:
        yield from _secret("http.key", http.key, f"Install the private key: install -m 0600 KEY {http.key}")
    if http.certificate and not os.access(http.certificate, os.R_OK):
        yield wrong("http.certificate", str(http.certificate), "cannot be read", "Install it there, readable by root.")


def _notify_files(config: Config) -> Iterator[ConfigError]:
    notify = config.notify
    for number, one in enumerate(notify.webhooks, 1):
        for name, path in (("url_file", one.url_file), ("key_file", one.key_file)):
            if path is not None:
                hint = f"Write it as one line: install -m 0600 /dev/stdin {path}"
                yield from _secret(f"notify.webhooks[{number}].{name}", path, hint)
    if notify.mail and not notify.sendmail.exists():
        hint = "Install a mail system that has it (msmtp-mta, postfix), or take mail out."
        yield wrong("notify.sendmail", str(notify.sendmail), "is not there", hint)


def _tls_authority(config: Config) -> Iterator[ConfigError]:
    path = config.postgres.tls_authority
    if path is not None and not os.access(path, os.R_OK):
        hint = "Install the PEM file with the authority of the server's certificate there, readable by all."
        yield wrong("postgresql.tls_authority", str(path), "cannot be read", hint)


def _witness_files(config: Config) -> Iterator[ConfigError]:
    """Of a witness in PostgreSQL: keys and passwords are root's alone, certificates are there."""
    if not config.witness.postgresql:
        return
    words = connection_words(config.witness, config.witness.timeout_s)
    for name in FILES:
        path = str(words.get(name, ""))
        key = f"witness.postgresql ({name})"
        if name in ("passfile", "sslkey") and path:
            yield from _secret(key, Path(path), f"Install it: install -m 0600 FILE {path}; see docs/witness.md")
        elif path.startswith("/") and not os.access(path, os.R_OK):
            yield wrong(key, path, "cannot be read", f"Install it there, or name another: {name}=...")


def _witness_program(config: Config) -> Iterator[ConfigError]:
    witness = config.witness
    if not witness.command:
        return
    program = Path(witness.command[0])
    if refused := refusal(program):
        why, _, hint = refused.partition(": ")
        do = f"Run: {hint}" if hint else "Install it, root's alone to write."
        yield ConfigError(f"witness.command: {program} is not called", f"The daemon is root's, and {why}.", do)
    try:
        pwd.getpwnam(witness.user)
    except KeyError:
        hint = f"Make it: useradd --system --no-create-home --shell /usr/sbin/nologin {witness.user}"
        yield wrong("witness.user", witness.user, "does not exist", hint)


def _secret(key: str, path: Path, hint: str) -> Iterator[ConfigError]:
    """A file that only root may read."""
    try:
        status = path.stat()
    except OSError as error:
        yield wrong(key, str(path), f"cannot be read: {error.strerror}", hint)
        return
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        yield wrong(key, str(path), f"can be read by others (mode {mode})", f"Run: chmod 0600 {path}")
    elif status.st_uid != os.geteuid():
        yield wrong(key, str(path), "belongs to another user", f"Run: chown root: {path}")


def _programs(config: Config) -> Iterator[ConfigError]:
    programs = ("postgres", "pg_ctl", "pg_controldata", "pg_basebackup", "pg_rewind", "pg_waldump")
    absent = [program for program in programs if not (config.postgres.bin_directory / program).exists()]
    if absent:
        hint = "Name the directory that holds PostgreSQL's programs, as in /usr/lib/postgresql/15/bin."
        yield wrong("postgresql.bin_directory", str(config.postgres.bin_directory), f"has no {absent[0]}", hint)


def _hooks(config: Config) -> Iterator[ConfigError]:
    """Hooks that would never be called: of an event that does not exist, or refused."""
    directory, alert = config.hooks.directory, config.hooks.alert
    if alert is not None and (refused := refusal(alert)):
        yield _never_called(alert, refused, "take hooks.alert out")
    try:
        events = sorted(path.name for path in directory.iterdir() if path.is_dir())
        found = [(event, each) for event in events for each in listed(directory / event)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield wrong("hooks.directory", str(directory), f"cannot be read: {error.strerror}", "Let root read it.")
        return
    known = {VETO, *(name for name, row in EVENTS.items() if row.hooks)}
    for event in events:
        if event not in known:
            close = difflib.get_close_matches(event, known, 1)
            hint = f"Did you mean {close[0]}?" if close else "docs/events.md lists the events that have hooks."
            yield ConfigError(f"{directory / event}: no event of that name calls hooks", hint=hint)
    for _event, each in found:
        if each.refused:
            yield _never_called(each.path, each.refused, "remove the file")


def _never_called(path: Path, refused: str, otherwise: str) -> ConfigError:
    why, _, hint = refused.partition(": ")
    do = f"Run: {hint}" if hint else "Repair it"
    return ConfigError(f"{path}: this hook is never called", f"{why}.", f"{do}; or {otherwise}.")
