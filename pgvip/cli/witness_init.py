"""`pgvip witness init`: make a witness, or print the SQL that makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.output import put, put_json
from pgvip.cli.witness_status import required, where
from pgvip.config.load import load
from pgvip.errors import Exit, RefusedError
from pgvip.witness import making
from pgvip.witness.by_command import CommandWitness

if TYPE_CHECKING:
    import argparse

    from pgvip.config.witness_config import WitnessConfig

HELP = "make a witness, or print the SQL for it"
EXIT_CODES = {1: "failed, and nothing changed", 4: "", 5: "no witness is configured"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `witness init`."""
    parser.description = (
        "Print the SQL that makes the witness of [witness], for psql in its database; with --admin run it. It makes "
        "the role that pgvip connects as, a schema and its functions, and gives the witness its id, unless it has one: "
        "it can be repeated, and many pairs share one witness. A program as witness is called with init and a new id. "
        "docs/witness.md has recipes. Example: pgvip witness init --admin 'user=postgres'"
    )
    parser.add_argument(
        "--admin", metavar="CONNINFO", default=None,
        help="connect as an administrator, in libpq's keywords, and run it; server and database are those of the "
             "configuration unless this says otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--new-id", action="store_true", help="a new id, after a restore; each of its pairs must be configured with it"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Make it or print the SQL. Returns the exit code."""
    config = load(args.config, args.host)
    return _run(args, required(config))


def _run(args: argparse.Namespace, witness: WitnessConfig) -> int:
    new = making.new_id()
    if witness.command:
        return _by_command(args, witness, new)
    sql = making.script(witness, new, again=args.new_id)
    if args.admin is None and not args.dry_run:
        put_json({"ok": True, "sql": sql}) if args.json else put(sql)
        return int(Exit.OK)
    words = making.admin_words(witness, args.admin or "")
    at = f"{words['host']}:{words['port']}, database {words['dbname']}"
    if args.dry_run:
        text = f"would make the witness, or complete it, at {at}"
        put_json({"ok": True, "dry_run": True, "where": at, "sql": sql}) if args.json else put(text)
        return int(Exit.OK)
    return _say(args, making.run(witness, args.admin, new, again=args.new_id), new, at)


def _by_command(args: argparse.Namespace, witness: WitnessConfig, new: str) -> int:
    if args.admin is not None or args.new_id:
        raise RefusedError("--admin and --new-id are for a witness in PostgreSQL", hint="See docs/witness.md.")
    if args.dry_run:
        text = f"would call {where(witness)}, with init and a new id"
        put_json({"ok": True, "dry_run": True, "where": where(witness)}) if args.json else put(text)
        return int(Exit.OK)
    return _say(args, CommandWitness(witness).init(new).witness_id, new, where(witness))


def _say(args: argparse.Namespace, found: str, new: str, at: str) -> int:
    if args.json:
        put_json({"ok": True, "where": at, "witness_id": found, "new": found == new})
    else:
        put(f"witness {found} {'is made' if found == new else 'was there already'} at {at}")
        put(f'Now, on both hosts: id = "{found}" in section [witness]; then pgvip witness test')
    return int(Exit.OK)
