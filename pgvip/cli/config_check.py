"""`pgvip config check`: every mistake in the configuration, with its hint; and what this machine lacks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.checks.configuration import host_problems, host_warnings
from pgvip.checks.fence_devices import own_devices, slow_fences
from pgvip.cli.output import put, put_json
from pgvip.config.load import default_file, load, problems, read_file
from pgvip.config.read import wrong
from pgvip.errors import ConfigError, Exit, PgvipError, PostgresError, RecordError
from pgvip.system import privileges

if TYPE_CHECKING:
    from pgvip.config.model import Config

HELP = "check the configuration: every mistake with its hint"
EXIT_CODES = {0: "the file is good; warnings were named", 3: "something is wrong: each mistake was named", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `config check`."""
    parser.description = "Check the configuration file and this host against it. Example: pgvip config check"
    parser.add_argument("file", nargs="?", type=Path, help="another file than the one in use")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--file-only", action="store_true", help="do not inspect this host and its devices")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong. Returns 0, or 3 when something is."""
    file = Path(args.file or args.config or default_file())
    found = check(file, args.host, file_only=args.file_only)
    warned = [] if found or args.file_only else warnings(load(file, args.host))
    if args.json:
        document = {"file": str(file), "ok": not found, "problems": _listed(found), "warnings": _listed(warned)}
        put_json(document, indent=2)
    elif found:
        put("\n\n".join(map(str, found)))
        put(f"\n{len(found)} {'mistake' if len(found) == 1 else 'mistakes'} in {file}")
    else:
        config = load(file, args.host)
        digest = f"digest {config.settings.digest}, to be the same on both hosts"
        put(f"{file} is good (this host is {config.me.name}; {digest})")
        put("".join(f"\nwarning: {error}\n" for error in warned), end="")
    return Exit.CONFIG if found else Exit.OK


def _listed(found: Sequence[PgvipError]) -> list[dict[str, str]]:
    return [{"message": error.message, "detail": error.detail, "hint": error.hint} for error in found]


def check(file: Path, host: str | None, *, file_only: bool) -> list[PgvipError]:
    """Every mistake in the file; then, when there is none, what does not fit this host or this pair."""
    try:
        found: list[PgvipError] = [*problems(read_file(file), host, file)]
        if found:
            return found
        config = load(file, host)
    except (ConfigError, RecordError) as error:
        return [error]
    if file_only:
        return []
    try:
        privileges.give_up(config)
    except PostgresError as error:  # there is no such user
        hint = "Create it, or write the name of the system user that runs PostgreSQL."
        return [wrong("postgresql.user", config.postgres.user, "is no user of this host", hint, f"{error.message}.")]
    return [*host_problems(config), *_of_devices(config, own_devices)]


def warnings(config: Config) -> list[ConfigError]:
    """What is worth a message, and no mistake."""
    return [*host_warnings(config), *_of_devices(config, slow_fences)]


def _of_devices(config: Config, rule: Callable[[Config], Iterable[ConfigError]]) -> list[ConfigError]:
    """Devices answer over the network: a slow one takes seconds."""
    if config.peer.fencing and sys.stderr.isatty():
        put(f"asking {', '.join(method.name for method in config.peer.fencing)}", file=sys.stderr, flush=True)
    return list(rule(config))
