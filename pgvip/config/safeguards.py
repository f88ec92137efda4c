"""The sections [watchdog] and [witness]: TOML tables → typed values, and what contradicts itself in [witness].

The two are what a pair relies on where nobody can power a host off: docs/witness.md.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pgvip.config.libpq_words import StringError, words_of
from pgvip.config.model import WatchdogConfig
from pgvip.config.read import REQUIRED, Table, missing, read_address, wrong
from pgvip.config.witness_config import WitnessConfig
from pgvip.core.settings import Settings, misfit
from pgvip.errors import ConfigError

if TYPE_CHECKING:
    from pgvip.config.model import Config, Host

EXAMPLE = '"host=witness.example.org dbname=pgvip_witness"'
SSL_MODES = ("verify-full", "verify-ca", "require", "disable")
KEYWORDS = frozenset({
    *("host", "hostaddr", "port", "dbname", "user", "passfile", "channel_binding"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslsni", "ssl_min_protocol_version"),
})  # fmt: skip
"""What `witness.postgresql` may say. The rest is pgvip's, or would come from a file or a list that nobody checks."""
FILES = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir")

LIFETIME_MIN_S = 4
SLOW_S = 2.0
"""A detection of that long has time for a slower witness: the preset "default" has 3 s, "fast" 1 s."""
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def read_watchdog(table: Table) -> WatchdogConfig:
    """The [watchdog] section."""
    default = WatchdogConfig()
    watchdog = WatchdogConfig(
        mode=table.choice("mode", default.mode, ["off", "if-present", "required"]),
        device=table.path("device", default.device, str(default.device)),
        timeout_s=table.whole("timeout_s", default.timeout_s, 1, 600),
    )
    table.finish()
    return watchdog


def read_witness(root: Table, settings: Settings) -> WitnessConfig:
    """The [witness] section; the times that are not written follow those of [timing]."""
    table = root.table("witness")
    slow = settings.dead_after_s >= SLOW_S
    timeout_s = table.number("timeout_s", 0.5 if slow else 0.3, 0.1, 30.0)
    kinds = [name for name in ("postgresql", "command") if table.given(name)]
    table.known += ["postgresql", "command"]
    witness = WitnessConfig(
        postgresql=table.text("postgresql", REQUIRED, EXAMPLE.strip('"')) if "postgresql" in kinds else "",
        command=table.words("command", '["/usr/local/lib/pgvip/witness-s3"]') if "command" in kinds else (),
        id=table.text("id", "", "0123456789abcdef0123456789abcdef"),
        user=table.text("user", WitnessConfig().user, "nobody"),
        timeout_s=timeout_s,
        lease_s=table.number("lease_s", _tenths(shortest_lease_s(settings, timeout_s)), 0.3, 3600.0),
        lease_stop_s=table.number("lease_stop_s", max(0.8 if slow else 0.4, settings.heartbeat_s), 0.2, 60.0),
    )
    table.finish()
    if table.values and len(kinds) != 1:
        what = "has both postgresql and command" if kinds else "has neither postgresql nor command"
        hint = f"Write one of the two: postgresql = {EXAMPLE}, or command = [...]; or remove the section."
        table.problems.append(ConfigError(f"witness {what}", hint=hint))
    return witness if kinds else WitnessConfig()


def shortest_lease_s(settings: Settings, timeout_s: float) -> float:
    """A primary that finds its standby silent must have its answer of the witness before its lease ends."""
    return settings.dead_after_s + 2 * settings.heartbeat_s + timeout_s


def _tenths(value: float) -> float:
    """Rounded up.

    >>> _tenths(1.89), _tenths(5.0)
    (1.9, 5.0)
    """
    return math.ceil(round(value * 10, 6)) / 10


def lifetime_s(witness: WitnessConfig, settings: Settings, hosts: Iterable[Host]) -> int:
    """The default of addresses.valid_lft_s. 0, unless there is a witness and a host that cannot be powered off.

    Then the kernel drops the addresses of a daemon that hangs before the other host raises them: each renewal is for no
    longer than the lease and the time to stop. The kernel counts in whole seconds: where these are few, a stall of one
    second would drop the addresses of a host that serves, and there is no default.
    """
    if not witness.configured or all(host.fencing for host in hosts):
        return 0
    longest = int(round(witness.lease_s + witness.lease_stop_s, 6))
    return longest if longest >= max(settings.dead_after_s, LIFETIME_MIN_S) else 0


def relies_on_watchdog(config: Config) -> bool:
    """Async, and a host that cannot be powered off: its watchdog ends what a daemon that hangs would go on with."""
    return not config.settings.sync and not (config.me.fencing and config.peer.fencing)


def with_witness(settings: Settings, config: Config) -> Settings:
    """What the core needs to know of the witness; one without an id counts nowhere yet."""
    witness = config.witness
    if not witness.configured:
        return settings
    stop_s = float(config.watchdog.timeout_s) if relies_on_watchdog(config) else witness.lease_stop_s
    return dataclasses.replace(
        settings, witness_id=witness.id, lease_s=witness.lease_s, lease_stop_s=stop_s, claim_s=witness.timeout_s
    )


def witness_contradictions(config: Config) -> Iterator[ConfigError]:
    """Everything that is wrong with a [witness] that could be read."""
    if not config.witness.configured:
        return
    if config.witness.id and not _ID.fullmatch(config.witness.id):
        hint = "Write what pgvip witness init or pgvip witness status prints."
        yield wrong("witness.id", config.witness.id, "is no id of a witness", hint)
    yield from _program(config.witness) if config.witness.command else _connection(config)
    yield from _times(config)


def _program(witness: WitnessConfig) -> Iterator[ConfigError]:
    if not witness.command[0].startswith("/"):
        hint = "Write the whole path of the program first."
        yield wrong("witness.command", list(witness.command), "does not begin with an absolute path", hint)
    if witness.user == "root":
        hint = "Name a user that owns nothing else; the program's secrets are readable by its group."
        yield wrong("witness.user", witness.user, "is root", hint, "The program talks to another machine.")


def _connection(config: Config) -> Iterator[ConfigError]:
    key, text = "witness.postgresql", config.witness.postgresql
    if text.partition("://")[0] in ("postgresql", "postgres"):
        yield ConfigError(f"{key} is a URI", hint=f"Write it in keywords: {EXAMPLE}.")
        return
    try:
        words = words_of(text)
    except StringError as error:
        yield ConfigError(f"{key} is no connection string: {error}", hint=f"Write {EXAMPLE}.")
        return
    yield from _keywords(key, words)
    yield from _place(config, key, words)


def _keywords(key: str, words: dict[str, str]) -> Iterator[ConfigError]:
    """Values are not shown: one of them may be a password."""
    for name in sorted(words.keys() - KEYWORDS):
        if name == "password":
            hint = "Put it into a password file of libpq, mode 0600, and write passfile=/etc/pgvip/witness/pgpass."
            yield ConfigError(f"{key}: a password is written into the configuration", hint=hint)
            continue
        yield ConfigError(f"{key}: {name} cannot be set", hint=f"Remove it. Known here: {', '.join(sorted(KEYWORDS))}.")
    for name in FILES:
        if name in words and not words[name].startswith("/") and (name, words[name]) != ("sslrootcert", "system"):
            hint = f"Write {name}=/etc/pgvip/witness/..."
            yield wrong(f"{key} ({name})", words[name], "is not an absolute path", hint)
    mode = words.get("sslmode", SSL_MODES[0])
    if mode not in SSL_MODES:
        hint = f"Write one of {', '.join(SSL_MODES)}; without it, it is verify-full."
        yield wrong(f"{key} (sslmode)", mode, "leaves open whether the connection is encrypted", hint)
    port = words.get("port", "5432")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        yield wrong(f"{key} (port)", port, "is no port", "Write a number from 1 to 65535.")
    if "hostaddr" in words and read_address(words["hostaddr"]) is None:
        yield wrong(f"{key} (hostaddr)", words["hostaddr"], "is not an IP address", "Write one, or remove it.")


def _place(config: Config, key: str, words: dict[str, str]) -> Iterator[ConfigError]:
    """A witness of one host, or two witnesses, would be none."""
    host = words.get("host", "")
    if not host:
        yield missing(f"{key} (host)", f"Write {EXAMPLE}.")
    elif "," in host:
        hint = "Name one server; what several hosts answer must be one register."
        yield wrong(f"{key} (host)", host, "names several servers", hint)
    elif host.startswith(("/", "@")):
        yield wrong(f"{key} (host)", host, "is a socket of this machine", "Name a server that both hosts reach.")
    pair = {one.address: f"{one.name}'s own address" for one in (config.me, config.peer)}
    pair |= {one.name: f"the host {one.name}" for one in (config.me, config.peer)}
    pair |= {str(interface.ip): f"the {vip.value} VIP" for vip, interface in config.vips.items()}
    for place in sorted({host, words.get("hostaddr", host)}):
        if place in pair:
            hint = "Name a third machine: this one is lost with the host that it must judge."
            yield wrong(f"{key} (host)", place, f"is {pair[place]}", hint)


def _times(config: Config) -> Iterator[ConfigError]:
    s, witness = config.settings, config.witness
    if relies_on_watchdog(config) and config.watchdog.mode != "required":
        hint = 'Write mode = "required", or configure fencing of both hosts, or replication.mode = "sync".'
        detail = "A daemon that hangs would go on serving beside its peer, and what it commits would be lost."
        yield wrong("watchdog.mode", config.watchdog.mode, "is too little for async with a witness", hint, detail)
        return
    what, hint = misfit(dataclasses.replace(s, witness_id=witness.id or "any"))
    if what:
        yield ConfigError(f"[witness] {what}", hint=f"{hint[:1].upper()}{hint[1:]}.")
    longest_s = s.loses_within_s * (1 + s.clock_margin)
    if config.valid_lft_s > longest_s:
        what = f"is longer than (lease_s + lease_stop_s) * (1 + clock_margin) = {longest_s:g} s"
        detail = "The kernel would drop the address of a daemon that hangs after its peer has raised it."
        yield wrong("addresses.valid_lft_s", config.valid_lft_s, what, f"Write at most {int(longest_s)}, or 0.", detail)
