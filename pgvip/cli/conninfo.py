"""`pgvip conninfo`: connection strings for applications, from the configuration alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.connections import BY, FORMATS, NOTES, TO, Wanted, connection
from pgvip.cli.output import put, put_json
from pgvip.config.load import load
from pgvip.core.values import Vip
from pgvip.errors import ConfigError, Exit

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config

HELP = "print connection strings for applications (libpq, JDBC, SQLAlchemy, pgx, node-postgres)"
EXIT_CODES = {4: "", 5: ""}
TITLES = {
    ("read-write", "vip"): "writes, by the primary VIP (the usual way)",
    ("read-only", "vip"): "reads, by the standby VIP (a surviving host carries it too)",
    ("read-write", "hosts"): "writes, by both hosts' own addresses (from networks that the VIPs do not reach)",
    ("read-only", "hosts"): "reads, by both hosts' own addresses",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `conninfo`."""
    parser.description = (
        "Print connection strings with the time-outs that end a session to a dead host soon. With --format, --to and "
        "--by it is one string and nothing else. Passwords are never printed: use a password file. "
        'Example: psql "$(pgvip conninfo --format libpq --to read-write --by vip --dbname shop --user app)"'
    )
    parser.add_argument("--format", choices=FORMATS, help="one driver only")
    parser.add_argument("--to", choices=TO, help="for writes, or for reads")
    parser.add_argument("--by", choices=BY, help="by the VIP, or by both hosts' own addresses")
    parser.add_argument("--dbname", default="", metavar="NAME", help="database (default: postgresql.database)")
    parser.add_argument("--user", default="", metavar="NAME", help="role (default: what the driver takes)")
    parser.add_argument("--balance", action="store_true", help="reads by hosts go to either host at random")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print them. Returns the exit code."""
    config = load(args.config, args.host)
    forms = [args.format] if args.format else list(FORMATS)
    kinds = [(to, by) for by in BY for to in TO if args.to in (None, to) and args.by in (None, by)]
    found = {
        kind: {form: connection(form, _wanted(config, *kind, args)) for form in forms} for kind in kinds
    }  # fmt: skip
    if args.json:
        strings = [{"to": to, "by": by, "strings": found[to, by]} for to, by in kinds]
        document = {"pair": config.name, "connections": strings, "notes": {form: NOTES[form] for form in forms}}
        put_json(document)
    elif args.format and len(kinds) == 1:
        text = found[kinds[0]][args.format]
        if text is None:
            raise ConfigError(f"{args.format} has no string by {args.by}", f"{NOTES[args.format]}.", "Use --by vip.")
        put(text)
    else:
        _show(found, forms)
    return int(Exit.OK)


def _show(found: dict[tuple[str, str], dict[str, str | None]], forms: list[str]) -> None:
    for kind, strings in found.items():
        put(f"{TITLES[kind]}\n")
        for form, text in strings.items():
            for line in (text or "(not possible with this driver)").splitlines():
                put(f"  {form:<11} {line}")
                form = ""  # noqa: PLW2901 - only the first line is named
        put()
    put("notes\n")
    for form in forms:
        put(f"  {form:<11} {NOTES[form]}")


def _wanted(config: Config, to: str, by: str, args: argparse.Namespace) -> Wanted:
    vip = Vip.PRIMARY if to == "read-write" else Vip.STANDBY
    own = tuple(host.address for host in sorted((config.me, config.peer), key=lambda host: host.name))
    return Wanted(
        hosts=(str(config.vips[vip].ip),) if by == "vip" else own,
        port=config.postgres.port,
        to=to,
        by=by,
        dbname=args.dbname or config.postgres.database,
        user=args.user,
        balance=args.balance,
        name=config.name,
    )
