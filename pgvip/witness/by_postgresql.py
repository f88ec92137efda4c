"""A witness in a PostgreSQL anywhere: three functions that `sql/witness_init.sql` makes, and nothing else of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.config.libpq_words import words_of
from pgvip.core.observations import WitnessStatus
from pgvip.deadlines import Deadline
from pgvip.errors import ProbeError, WitnessError
from pgvip.system import session_settings
from pgvip.system.sql import NoAnswer, ServerAnswered, Session, libpq_major
from pgvip.system.sql_shapes import UnexpectedAnswerError
from pgvip.witness.claims import Answer, Question
from pgvip.witness.place import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgvip.config.witness_config import WitnessConfig
    from pgvip.system.sql_shapes import Row

ROLE = "pgvip_witness"
DIRECTORY = Path("/etc/pgvip/witness")
"""Where certificates are unless the connection string says otherwise."""

REQUIRES_METHOD = 16
"""Major version of libpq from which on a client can refuse to answer a request for a password in clear."""

SLOWER = 0.5
"""Part of the deadline that a kept connection gets before a new one is tried: a firewall may have forgotten it."""

REFUSALS = {
    "PW001": "the witness is a standby, which may lack what its primary has answered",
    "PW002": "the witness knows fewer claims than it has reported before: it was restored from an older state",
    "PW003": "another witness answers than the one of this pair",
    "PW004": "the witness runs with fsync = off, and may forget what it answers",
    "PW005": "the witness does not run the claim as read committed",
}
"""Of the functions themselves (errcode in sql/witness_init.sql)."""
HINTS = {
    "PW001": "Name the primary in witness.postgresql.",
    "PW002": "Give it a new id (pgvip witness init --new-id) and let each of its pairs change to it: docs/witness.md.",
    "PW003": "See witness.postgresql; a pair changes its witness as docs/witness.md says.",
    "PW004": "Set fsync = on there.",
}


def connection_words(witness: WitnessConfig, timeout_s: float) -> dict[str, Any]:
    """What connects to it, in libpq's words, without the address."""
    said = words_of(witness.postgresql)
    mode = said.get("sslmode", "verify-full")
    modern = libpq_major() >= REQUIRES_METHOD
    by_password = "passfile" in said
    method = {"require_auth": "scram-sha-256" if by_password else "none"} if modern and mode != "disable" else {}
    if mode == "disable":
        proof: dict[str, str] = {}
    elif by_password:
        proof = {"sslrootcert": str(DIRECTORY / "root.crt"), **method}
    else:
        files = {"sslrootcert": "root.crt", "sslcert": "client.crt", "sslkey": "client.key"}
        proof = {key: str(DIRECTORY / name) for key, name in files.items()} | method
        proof |= {"sslcertmode": "require"} if modern else {}
    return {
        "port": "5432", "user": ROLE, "dbname": ROLE, "sslmode": mode, **proof, **said,
        "password": "",  # nosec B105  # none: the password file is read, and never an administrator's PGPASSWORD
        "gssencmode": "disable", "target_session_attrs": "any", "client_encoding": "UTF8",
        "application_name": "pgvip_witness",
        # A kept connection to a machine that lost power must not look alive for two hours.
        "tcp_user_timeout": 5000, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3,
        "options": session_settings.options(session_settings.of_witness(timeout_s)),
    }  # fmt: skip


class PostgresWitness:
    """The witness as this host asks it. For one thread at a time: the connection is kept."""

    def __init__(self, witness: WitnessConfig) -> None:
        self._timeout_s = witness.timeout_s
        self._words = connection_words(witness, witness.timeout_s)
        self._name = str(self._words["host"])
        self._place = Place(str(self._words.pop("hostaddr", "")) or self._name)
        self._session: Session | None = None

    @property
    def words(self) -> dict[str, Any]:
        """How it connects."""
        return dict(self._words)

    def claim(self, question: Question) -> Answer:
        """Have the register of the term, or learn who has it."""
        asked = (question.pair_id, question.term, question.host, question.witness_id, question.serial)
        ((winner, serial, witness_id),) = self.ask("witness_claim", asked)
        return Answer(winner, serial, witness_id)

    def status(self, pair_id: str) -> WitnessStatus:
        """Which witness answers, and how far it is with this pair."""
        ((witness_id, serial),) = self.ask("witness_status", (pair_id,))
        return WitnessStatus(witness_id, serial)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def ask(self, name: str, params: Sequence[object]) -> list[Row]:
        """Run one of its queries: by the kept connection, else by a new one to each of its addresses."""
        deadline = Deadline.after(self._timeout_s)
        if self._session is not None:
            try:
                return self._query(self._session, name, params, self._timeout_s * SLOWER)
            except NoAnswer:
                self.close()
        failure: WitnessError | None = None
        addresses = self._place.addresses(deadline)
        for number, address in enumerate(addresses):
            session = Session({**self._words, "hostaddr": address}, f"the witness at {self._name}")
            try:
                rows = self._query(session, name, params, deadline.left_s() / (len(addresses) - number))
            except NoAnswer as error:
                detail = f"{address}: {error.detail or error.message}"
                failure = WitnessError(f"the witness at {self._name} did not answer", detail, _HINT_SILENT)
                failure.__cause__ = error
                continue
            self._session = session
            return rows
        assert failure is not None  # there is an address, and it did not answer
        raise failure

    def _query(self, session: Session, name: str, params: Sequence[object], timeout_s: float) -> list[Row]:
        """NoAnswer, or WitnessError for an answer that cannot be used."""
        try:
            return session.query(name, params, timeout_s=timeout_s, reopen=False)
        except NoAnswer:
            raise
        except ServerAnswered as error:
            raise _refusal(self._name, error) from error
        except UnexpectedAnswerError as error:
            raise WitnessError(error.message, error.detail) from error
        except ProbeError as error:  # it is not verified
            raise WitnessError(error.message, error.detail, _HINT_TLS) from error


_HINT_SILENT = "pgvip witness test; nothing changes as long as the two hosts hear each other."
_HINT_TLS = "See sslmode, sslrootcert, sslcert and sslkey in docs/witness.md."


def _refusal(name: str, error: ServerAnswered) -> WitnessError:
    known = REFUSALS.get(error.sqlstate)
    if known is not None:
        return WitnessError(known, error.reason, HINTS.get(error.sqlstate, ""))
    hint = "pgvip witness init" if error.sqlstate in ("3F000", "42883", "42501", "42P01") else ""
    return WitnessError(f"the witness at {name} refused", error.detail or error.message, hint)


def shown(words: Mapping[str, object]) -> str:
    """Where it is, for people."""
    return f"PostgreSQL at {words['host']}:{words.get('port', 5432)}, database {words['dbname']}"
