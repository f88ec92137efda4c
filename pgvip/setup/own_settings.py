"""Which settings of PostgreSQL are compared between the hosts, which may be copied, and how a value is read. Pure."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

LIMITS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
"""A standby needs each at least as high as its primary has it in force, or its replay stops (manual, 27.4.3)."""
OWN = frozenset({
    "application_name", "bonjour_name", "cluster_name", "event_source", "listen_addresses", "port", "syslog_ident",
    "primary_conninfo", "primary_slot_name", "synchronous_standby_names", "synchronized_standby_slots",
    "restore_command", "unix_socket_directories", "unix_socket_group", "unix_socket_permissions", "log_filename",
})  # fmt: skip
"""A host's own, or what follows from its role."""
OWN_ENDINGS = ("_file", "_directory", "_dir")
OWN_BEGINNINGS = ("ssl", "recovery_")
"""Places on a host's disks, its certificate, and where a recovery ends."""
MACHINE = frozenset({
    "shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "autovacuum_work_mem", "huge_pages",
    "huge_page_size", "wal_buffers", "temp_buffers", "logical_decoding_work_mem", "hash_mem_multiplier",
    "effective_io_concurrency", "maintenance_io_concurrency", "random_page_cost", "seq_page_cost", "io_method",
    "io_workers", "max_parallel_workers", "max_parallel_workers_per_gather", "max_parallel_maintenance_workers",
    "dynamic_shared_memory_type", "shared_memory_type", "min_dynamic_shared_memory", "jit",
})  # fmt: skip
"""They follow from the machine, which may differ: shown, and no warning."""
BY_HAND_ENDINGS = ("_command", "_library", "_libraries", "_program")
BY_HAND = frozenset({"dynamic_library_path", "extension_control_path", "jit_provider"})
"""What makes a server load or run something: no other host sets it."""
MODULES = frozenset({
    "auth_delay", "auto_explain", "isn", "pg_prewarm", "pg_stat_statements", "pg_trgm", "pgaudit", "plpgsql",
    "postgres_fdw", "sepgsql",
})  # fmt: skip
"""Extensions whose settings run nothing. Of every other one that is not known: plperl.on_init is code, which the server
runs, and basebackup_to_shell.command is a command."""
LISTS = frozenset({"search_path", "temp_tablespaces", "createrole_self_grant"})
"""Of those that may be copied, the ones whose values are lists, each word quoted by itself (guc.h, GUC_LIST_QUOTE)."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?")

_NUMBER = re.compile(r"\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*")
_BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_TIMES = {"us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_BOOLEANS = {"on": "on", "true": "on", "yes": "on", "1": "on", "off": "off", "false": "off", "no": "off", "0": "off"}


def compared(name: str, ours: frozenset[str]) -> bool:
    """Whether a setting is compared. `ours`: what pgvip.conf sets."""
    own = name in ours or name in OWN or name.endswith(OWN_ENDINGS) or name.startswith(OWN_BEGINNINGS)
    return not own and NAME.fullmatch(name) is not None


def may_be_copied(name: str) -> bool:
    """Whether another host's value may be written here."""
    return compared(name, frozenset()) and not by_hand(name)


def by_hand(name: str) -> bool:
    """A setting makes the server load or run something, or may do so."""
    module, dot, _ = name.partition(".")
    return name in BY_HAND or name.endswith(BY_HAND_ENDINGS) or (bool(dot) and module not in MODULES)


def canonical(text: str, unit: str, kind: str) -> str:
    """A value of a file as pg_settings shows it: in the setting's own unit. What is not understood stays as it is.

    >>> canonical("128MB", "8kB", "integer"), canonical("1min", "ms", "integer"), canonical("100", "", "integer")
    ('16384', '60000', '100')
    >>> canonical("TRUE", "", "bool"), canonical("0.50", "", "real"), canonical("Warning", "", "enum")
    ('on', '0.5', 'warning')
    >>> canonical("1.5", "kB", "bogus"), canonical("lots", "kB", "integer")
    ('1.5', 'lots')
    """
    if kind == "bool":
        return _BOOLEANS.get(text.lower(), text.lower())
    if kind == "enum":
        return text.lower()
    if kind not in ("integer", "real"):
        return text
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    try:
        number = Decimal(found[1]) * _scale(found[2], unit)
    except (InvalidOperation, KeyError):
        return text
    return str(round(number)) if kind == "integer" else f"{number.normalize():f}"


def _scale(given: str, unit: str) -> Decimal:
    """How many of a setting's units one of the given is. KeyError for what is no unit of it."""
    if not given or given == unit:
        return Decimal(1)
    count, name = re.match(r"(\d*)(.*)", unit).groups()  # type: ignore[union-attr]  # it matches every text
    table = _BYTES if name in _BYTES else _TIMES
    return Decimal(table[given]) / (Decimal(count or 1) * table[name])


def words(text: str) -> list[str]:
    """The words of a list, without their quotes.

    >>> words('"$user", public'), words("")
    (['$user', 'public'], [])
    """
    return [word.strip().strip('"') for word in text.split(",") if word.strip()]


def literal(text: str) -> str:
    """As SQL has a text.

    >>> print(literal("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"


def shown(value: str, unit: str) -> str:
    """A value for people.

    >>> shown("16384", "8kB"), shown("60000", "ms"), shown("", ""), shown("on", ""), shown("-1", "kB")
    ('128 MB', '60000 ms', "''", 'on', '-1')
    """
    count, name = re.match(r"(\d*)(.*)", unit).groups()  # type: ignore[union-attr]  # it matches every text
    if name in _BYTES and value.isdecimal() and int(value):
        size = int(value) * int(count or 1) * _BYTES[name]
        best = max((one for one in _BYTES if size % _BYTES[one] == 0), key=lambda one: _BYTES[one])
        return f"{size // _BYTES[best]} {best}"
    if not value or value.startswith("-"):
        return value or "''"
    return f"{value} {unit}".strip()
