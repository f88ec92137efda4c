"""`pgvip witness status`: which witness answers, how fast, and what it has given to this pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.output import columns, put, put_json
from pgvip.config.load import load
from pgvip.core.values import Serial
from pgvip.deadlines import now_s
from pgvip.errors import Exit, RefusedError
from pgvip.state.record import RecordStore
from pgvip.witness.by_postgresql import PostgresWitness, shown
from pgvip.witness.register import backend

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config
    from pgvip.config.witness_config import WitnessConfig

HELP = "show which witness answers, and the terms of this pair that were claimed"
EXIT_CODES = {1: "it does not answer, or is not the one of this pair", 4: "", 5: "no witness is configured"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `witness status`."""
    parser.description = (
        "Ask the witness, from this host: its id, how many terms of this pair have been claimed, the last of them, "
        "how long the answer took, and what this host remembers of it. Run it on both hosts. Nothing is claimed. "
        "Example: pgvip witness status"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Ask and print. Returns the exit code."""
    config = load(args.config, args.host)
    document = _document(config)
    if args.json:
        put_json(document)
    else:
        put("\n".join(_lines(document)))
    return int(Exit.OK if document["ok"] else Exit.FAILED)


def required(config: Config) -> WitnessConfig:
    """The configured witness; RefusedError without one."""
    if not config.witness.configured:
        hint = f"Write a [witness] section into {config.file}; docs/witness.md has recipes."
        raise RefusedError("no witness is configured", hint=hint)
    return config.witness


def where(witness: WitnessConfig) -> str:
    """The witness in one line."""
    if witness.command:
        return f"{' '.join(witness.command)}, as user {witness.user}"
    return shown(PostgresWitness(witness).words)


def _document(config: Config) -> dict[str, Any]:
    witness = required(config)
    durable, pair_id = RecordStore(config.paths.record).load(), config.pair_id or "none"
    before = durable.serial if durable else Serial()
    asked, began_s = backend(witness), now_s()
    try:
        status = asked.status(pair_id)
        took_s = now_s() - began_s
        claims = None
        if isinstance(asked, PostgresWitness):
            rows = asked.ask("witness_claims", (pair_id,))
            claims = [{"term": term, "host": host, "at": at} for term, host, at in rows]
    finally:
        asked.close()
    same = witness.id in ("", status.witness_id)
    known = before.witness_id == status.witness_id
    older = known and status.serial < before.granted
    return {
        "ok": same and not older, "where": where(witness), "witness_id": status.witness_id, "serial": status.serial,
        "took_s": round(took_s, 4), "timeout_s": witness.timeout_s, "pair_id": config.pair_id or None, "claims": claims,
        "configured_id": witness.id or None, "highest_serial": before.granted if known else None, "other": not same,
        "older": older,
    }  # fmt: skip


def _lines(found: dict[str, Any]) -> list[str]:
    rows = [
        ("witness", found["witness_id"]),
        ("where", found["where"]),
        ("answer", f"{1000 * found['took_s']:.0f} ms, of {1000 * found['timeout_s']:.0f}"),
        ("claims", f"{found['serial']} terms of this pair" if found["pair_id"] else "this host belongs to no pair yet"),
    ]
    if found["other"]:
        rows.append(("WRONG", f"witness.id names {found['configured_id']}: see [witness] in the configuration"))
    elif found["older"]:
        before = f"it has reported {found['highest_serial']} claims before"
        said = f"{before}: it was restored from an older state (docs/witness.md)"
        rows.append(("WRONG", said))
    if not found["configured_id"]:
        rows.append(("id", f'not in the configuration yet: id = "{found["witness_id"]}" in [witness]'))
    listed = [("", f"term {one['term']}", one["host"], one["at"]) for one in found["claims"] or []]
    return [*columns(rows), *columns(listed)]
