"""Who may connect, by real connections with the stored keys or passwords, and who may read the files with secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pgvip.checks import exposed
from pgvip.checks.finding import Finding, critical, gathered, ok, unknown, warning
from pgvip.checks.subject import ANSWER_S, Facts
from pgvip.config.model import Config
from pgvip.core.values import Vip
from pgvip.deadlines import now_s
from pgvip.errors import ProbeError
from pgvip.system.sql import DATABASE_ROLE, REPLICATION_ROLE, NoAnswer, connect_peer, connect_peer_replication
from pgvip.system.workers import as_postgres

REFUSED = "refused"
_NOT_YET = "pgvip's roles and keys are not made yet"
_HBA = (
    "see that both hosts have the same addresses in force (pgvip config apply), pgvip's lines in pg_hba.conf there, "
    "and the keys or passwords here; only for lost keys: pgvip bundle on the primary, pgvip join on the other host"
)


def monitoring(facts: Facts) -> Finding:
    """A real connection as role pgvip to the peer's database, at its own address and at its VIP."""
    config = facts.config
    if facts.identity is None:
        return unknown(_NOT_YET, "pgvip init, clone or join")
    began_s = now_s()
    bad = list(_refused(facts, config.peer.address))
    took_s = now_s() - began_s
    vip = Vip.STANDBY if facts.is_primary else Vip.PRIMARY
    if not facts.alone and not bad:
        bad += _refused(facts, str(config.vips[vip].ip))
    return gathered(f"{DATABASE_ROLE} connects to {config.peer.name} in {1000 * took_s:.0f} ms, and by its VIP", bad)


def _refused(facts: Facts, address: str) -> Iterator[Finding]:
    try:
        with connect_peer(facts.config, address) as session:
            session.query("in_recovery", timeout_s=ANSWER_S)
    except NoAnswer as failure:
        yield critical(f"no answer at {address}: {failure.message}", "see that PostgreSQL runs there, and the network",
                       failure.detail)  # fmt: skip
    except ProbeError as failure:
        yield critical(f"{DATABASE_ROLE} is refused at {address}", _HBA, failure.detail)


def replication(facts: Facts) -> Finding:
    """A real replication connection to the peer, as this host's WAL receiver and a rejoin make it."""
    config = facts.config
    if facts.identity is None:
        return unknown(_NOT_YET, "pgvip init, clone or join")
    why, detail = why_no_replication(config)
    if why == REFUSED:
        return critical(f"{REPLICATION_ROLE} is refused at {config.peer.address}", _HBA, detail)
    if why:
        return critical(f"no answer at {config.peer.address}: {why}", "see that PostgreSQL runs there", detail)
    return ok(f"{REPLICATION_ROLE} may replicate from {config.peer.name}")


@as_postgres()
def why_no_replication(config: Config) -> tuple[str, str]:
    """Why PostgreSQL's user, whose WAL receiver it is, gets no connection, and what was said; "" when it does."""
    try:
        with connect_peer_replication(config, config.peer.address) as session:
            session.connect(ANSWER_S)
    except NoAnswer as failure:
        return failure.message, failure.detail
    except ProbeError as failure:
        return REFUSED, failure.detail
    return "", ""


def files(facts: Facts) -> Finding:
    """Passwords, keys and the record are readable by those alone who need them."""
    return gathered("nobody else can read passwords, keys and the record", _files(facts))


def _files(facts: Facts) -> Iterator[Finding]:
    config = facts.config
    for path, owner in exposed.secret_files(config):
        yield from _secret(facts, path, owner, needed=True)
    yield from _secret(facts, config.paths.record, 0, needed=False)
    for one in exposed.others(config):
        yield warning(one.text, one.hint)
    if config.file.exists() and config.file.stat().st_mode & 0o022:
        yield warning(f"{config.file} can be written by others", f"chmod 0644 {config.file}")


def _secret(facts: Facts, path: Path, owner: int, *, needed: bool) -> Iterator[Finding]:
    try:
        status = path.stat()
    except FileNotFoundError:
        if facts.identity is None:
            yield unknown(f"{path} is not there yet", "pgvip init makes what is its own")
        elif needed:
            yield critical(f"{path} is not there", "see docs/setup.md; pgvip bundle brings a host back")
        return
    except OSError as failure:
        yield unknown(f"{path}: {failure.strerror}", "run the check as root")
        return
    for text, hint in exposed.wrong_mode(path, status, owner):
        yield critical(text, hint)
