"""`pgvip lost-writes`: what this host had as a primary, and the other one did not, before it was rewound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.output import columns, put, put_json, size
from pgvip.cli.steps import require_root
from pgvip.config.load import load
from pgvip.errors import RefusedError
from pgvip.rejoin.lost_commits import File, Rows, SavedSet, Stretch, Tally, names, read, saved_sets
from pgvip.state import codec
from pgvip.system import privileges

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config

HELP = "list the transactions that were lost when this host was rewound"
NEWEST = "latest"
KINDS = ("inserted", "updated", "deleted", "truncated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `lost-writes`."""
    parser.description = (
        "Without SET: list the sets of diverged WAL that this host kept before it was rewound or cloned again (each "
        "host keeps its own). With SET: read it, and say which transactions changed how many rows of which table. "
        "WAL shows which rows, not what was in them; the files stay where they are for whoever wants more. "
        "Example: pgvip lost-writes latest"
    )
    parser.add_argument("set", nargs="?", metavar="SET", help=f"the name of a set, or {NEWEST}")
    parser.add_argument(
        "--transactions", type=int, default=20, metavar="N", help="list at most N of them (default %(default)s; 0: all)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List the sets, or read one. Returns the exit code."""
    require_root()
    config = load(args.config, args.host)
    privileges.become_postgres(config)
    found, unreadable = saved_sets(config.paths.saved)
    if args.set is None:
        _list(config, found, unreadable, as_json=args.json)
        return 0
    saved = _choose(config, found, args.set)
    tally = read(config, saved.directory, saved.pieces, saved.facts.heartbeat_files)
    known = names(config, {file for file, _ in tally.rows})
    limit = args.transactions or len(tally.transactions)
    if args.json:
        put_json(_document(saved, tally, known, limit))
    else:
        put("\n".join([*_heading(saved), *_tables(tally, known), *_transactions(tally, known, limit)]))
    return 0


def _choose(config: Config, found: list[SavedSet], name: str) -> SavedSet:
    if name == NEWEST and found:
        return found[0]
    for saved in found:
        if saved.name == name:
            return saved
    have = ", ".join(saved.name for saved in found) or "none"
    raise RefusedError(
        f'no saved set "{name}" on {config.me.name}',
        f'Sets in "{config.paths.saved}": {have}.',
        f"Sets of {config.peer.name} are kept there: run pgvip lost-writes on that host.",
    )


def _list(config: Config, found: list[SavedSet], unreadable: list[str], *, as_json: bool) -> None:
    if as_json:
        sets = [_facts(saved) for saved in found]
        put_json({"host": config.me.name, "directory": str(config.paths.saved), "sets": sets, "unreadable": unreadable})
        return
    if not found:
        put(f'{config.me.name} has lost no writes: there is no saved WAL in "{config.paths.saved}"')
    for number, saved in enumerate(found):
        put("\n".join([*([""] if number else []), *_heading(saved)]))
    for text in unreadable:
        put(f"cannot be read: {text}")


def _heading(saved: SavedSet) -> list[str]:
    ranges = ", ".join(f"timeline {piece.timeline} from {piece.start} to {piece.end}" for piece in saved.pieces)
    facts = saved.facts
    return [
        f"{saved.name}: {_lost(facts.commits)}",
        f"  {facts.host} followed {facts.followed} at {facts.at}",
        f"  {ranges}: {size(facts.size_bytes)}, kept in {saved.directory}",
    ]


def _lost(commits: int | None) -> str:
    return "the transactions could not be counted" if commits is None else _count(commits, "transaction") + " lost"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _tables(tally: Tally, known: dict[File, str]) -> list[str]:
    if not tally.rows:
        return ["", "No row of any table was changed in it."]
    by_table = _by_table(tally.rows, known)
    rows = [("table", *KINDS), *((table, *(str(count[kind]) for kind in KINDS)) for table, count in by_table.items())]
    return ["", "Rows:", *columns(rows, indent="  ")]


def _by_table(rows: Rows, known: dict[File, str]) -> dict[str, dict[str, int]]:
    """Counts by a table's name, by name; a file without a name has its number."""
    tables: dict[str, dict[str, int]] = {}
    for (file, kind), count in rows.items():
        table = tables.setdefault(known.get(file, str(file)), dict.fromkeys(KINDS, 0))
        table[kind] += count
    return dict(sorted(tables.items()))


def _transactions(tally: Tally, known: dict[File, str], limit: int) -> list[str]:
    shown = tally.transactions[:limit]
    more = "" if len(shown) == tally.commits else f", the first {len(shown)} of them"
    lines = ["", f"{_count(tally.commits, 'transaction')}{more}:"]
    for one in shown:
        what = [
            f"{count} {kind} in {table}"
            for table, counts in _by_table(one.rows, known).items()
            for kind, count in counts.items()
            if count
        ]
        lines.append(f"  {one.xid} at {one.lsn}, {one.at}: {', '.join(what) or 'no rows'}")
    return lines if shown else []


def _facts(saved: SavedSet) -> dict[str, Any]:
    pieces, facts = [codec.encode(Stretch(*one)) for one in saved.pieces], saved.facts
    return {
        "set": saved.name, "directory": str(saved.directory), "at": facts.at, "host": facts.host,
        "followed": facts.followed, "pieces": pieces, "bytes": facts.size_bytes, "commits": facts.commits,
        "heartbeats": facts.heartbeats,
    }  # fmt: skip


def _document(saved: SavedSet, tally: Tally, known: dict[File, str], limit: int) -> dict[str, Any]:
    return {
        **_facts(saved),
        "commits": tally.commits,
        "heartbeats": tally.heartbeats,
        "tables": _by_table(tally.rows, known),
        "transactions": [
            {"xid": one.xid, "lsn": str(one.lsn), "at": one.at, "tables": _by_table(one.rows, known)}
            for one in tally.transactions[:limit]
        ],
    }
