"""The witness: it answers, is the one of this pair, has forgotten nothing, and its role may do nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from pgvip.checks.finding import Finding, Perf, critical, gathered, warning
from pgvip.checks.subject import Facts, Skipped
from pgvip.config.witness_config import WitnessConfig
from pgvip.core.observations import WitnessStatus
from pgvip.core.values import Serial
from pgvip.deadlines import now_s
from pgvip.errors import WitnessError
from pgvip.witness.by_postgresql import PostgresWitness
from pgvip.witness.register import backend

SLOW = 0.5
"""Part of `timeout_s` that an answer should leave: a claim writes, and comes when the network fails."""


def witness(facts: Facts) -> Finding:
    """Everything that can be known without a claim."""
    config = facts.config.witness
    if not config.configured:
        raise Skipped("no witness is configured")
    known = facts.durable.serial if facts.durable else Serial()  # before it is asked: later it can only be higher
    pair_id = facts.config.pair_id or "none"
    asked, began_s = backend(config), now_s()
    try:
        status = asked.status(pair_id)
        took_s = now_s() - began_s
        bad = [*_identity(config, status), *_forgotten(status, known), *_other(facts, status)]
        bad += [*_slow(config, took_s), *_hangs(facts)]
        if isinstance(asked, PostgresWitness):
            bad += [*_session(asked), *_rights(asked)]
    except WitnessError as failure:
        hint = failure.hint or "pgvip witness status"
        return critical(f"{failure.message}: nobody takes over from a silent host", hint, failure.detail)
    finally:
        asked.close()
    perf = (Perf("witness", took_s, "s", critical=config.timeout_s), Perf("claims", status.serial, "c"))
    return gathered(f"witness {status.witness_id} answers, {status.serial} claims of this pair", bad, perf)


def _identity(config: WitnessConfig, status: WitnessStatus) -> Iterator[Finding]:
    if not config.id:
        hint = f'write id = "{status.witness_id}" into [witness] on both hosts, and restart the daemons'
        yield warning("witness.id is not written: nothing relies on the witness yet", hint)
    elif config.id != status.witness_id:
        text = f"it is witness {status.witness_id}, and witness.id names {config.id}"
        yield critical(text, "see [witness] in the configuration; docs/witness.md says how a pair changes its witness")


def _other(facts: Facts, status: WitnessStatus) -> Iterator[Finding]:
    record = facts.durable.record if facts.durable else None
    counts = record.witness_id if record else ""
    if counts not in ("", status.witness_id):
        text = f"witness {counts} counts in this term, and it is {status.witness_id}"
        yield critical(text, "docs/witness.md says how a pair changes its witness", "No term can be claimed.")


def _forgotten(status: WitnessStatus, known: Serial) -> Iterator[Finding]:
    if known.witness_id == status.witness_id and status.serial < known.granted:
        text = f"it counts {status.serial} claims of this pair, and has reported {known.granted}"
        hint = "it was restored from an older state: pgvip witness init --new-id, see docs/witness.md"
        yield critical(text, hint, "It may give a term to two hosts.")


def _hangs(facts: Facts) -> Iterator[Finding]:
    """Only a watchdog ends what a daemon that hangs would go on with."""
    config = facts.config
    if config.watchdog.mode == "off" and not (config.me.fencing and config.peer.fencing):
        text = "no fencing and no watchdog: while a daemon hangs, its server goes on beside the one that takes over"
        hint = 'write mode = "if-present" in [watchdog]; in sync it can acknowledge nothing meanwhile'
        yield warning(text, hint)


def _slow(config: WitnessConfig, took_s: float) -> Iterator[Finding]:
    if took_s > config.timeout_s * SLOW:
        yield warning(f"it took {took_s:.2f} s, of witness.timeout_s = {config.timeout_s:g}", "raise timeout_s")


def _session(asked: PostgresWitness) -> Iterator[Finding]:
    ((encrypted, _version, same_machine, _number),) = asked.ask("witness_session", ())
    if not encrypted:
        yield warning("the connection is not encrypted", "leave sslmode out, and see docs/witness.md")
    if same_machine:
        yield critical("it runs on this very host, and is lost with it", "move it to a third machine")


def _rights(asked: PostgresWitness) -> Iterator[Finding]:
    found = sorted({str(text) for (text,) in asked.ask("witness_rights", ())})
    if found:
        yield warning(f"its role {', '.join(found[:5])}", "pgvip witness init says how a role is made that may not")
