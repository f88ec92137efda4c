"""`pgvip witness test`: claim terms of a pair that does not exist, twice at the same time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pgvip.cli.output import put, put_json
from pgvip.cli.witness_status import required, where
from pgvip.config.load import load
from pgvip.errors import Exit
from pgvip.system import privileges
from pgvip.witness.double_claim import ROUNDS, test
from pgvip.witness.register import backend

if TYPE_CHECKING:
    import argparse

HELP = "try the witness: no term may be given to two hosts"
EXIT_CODES = {1: "it does not answer, or gives a term twice", 4: "", 5: "no witness is configured"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `witness test`."""
    parser.description = (
        f"Claim {ROUNDS} terms of a pair that does not exist, each by two hosts at the same time, and then again: each "
        "must have one winner, which stays. Run it on both hosts, before the pair relies on the witness and after each "
        "change of it. The claims stay there, as all do. Example: pgvip witness test"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be claimed, claim nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Try it and print how it went. Returns the exit code."""
    config = load(args.config, args.host)
    witness = required(config)
    if args.dry_run:
        text = f"would claim {ROUNDS} terms of a pair that does not exist, {4 * ROUNDS} times: {where(witness)}"
        put_json({"ok": True, "dry_run": True, "where": where(witness)}) if args.json else put(text)
        return int(Exit.OK)
    privileges.give_up(config)  # as the daemon that will ask
    done = test(partial(backend, witness))
    if args.json:
        put_json({
            "ok": True, "where": where(witness), "witness_id": done.witness_id, "pair_id": done.pair_id,
            "terms": done.terms, "answers": done.answers, "slowest_s": round(done.slowest_s, 4),
            "timeout_s": witness.timeout_s,
        })  # fmt: skip
        return int(Exit.OK)
    put(f"witness {done.witness_id}: each of {done.terms} terms had one winner, which stayed")
    put(f"{done.answers} answers, the slowest in {1000 * done.slowest_s:.0f} ms of {1000 * witness.timeout_s:.0f}")
    return int(Exit.OK)
