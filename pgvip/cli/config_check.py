"""`pgvip config check`: every mistake in the configuration, with its hint; and what this machine lacks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pgvip.checks.configuration import host_problems, host_warnings
from pgvip.cli.output import put, put_json
from pgvip.config.load import default_file, load, problems, read_file
from pgvip.errors import ConfigError, Exit, PgvipError, RecordError

HELP = "check the configuration: every mistake with its hint"
EXIT_CODES = {0: "the file is good; warnings were named", 3: "something is wrong: each mistake was named", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `config check`."""
    parser.description = "Check the configuration file and this host against it. Example: pgvip config check"
    parser.add_argument("file", nargs="?", type=Path, help="another file than the one in use")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--file-only", action="store_true", help="do not inspect this host (interface, password files)")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong. Returns 0, or 3 when something is."""
    file = Path(args.file or args.config or default_file())
    found = check(file, args.host, file_only=args.file_only)
    warned = [] if found or args.file_only else host_warnings(load(file, args.host))
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
    return [] if file_only else [*host_problems(config)]
