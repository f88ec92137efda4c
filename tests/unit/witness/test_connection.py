"""How a session at a witness is made: verified by default, pinned, and never by a word of the server's."""

from __future__ import annotations

from typing import Any

import pytest

from pgvip.config.witness_config import WitnessConfig
from pgvip.deadlines import now_s
from pgvip.errors import ConfigError, WitnessError
from pgvip.system import session_settings
from pgvip.system.sql import ServerAnswered, load_sql
from pgvip.witness import making
from pgvip.witness.by_postgresql import HINTS, REFUSALS, PostgresWitness, _refusal, connection_words
from pgvip.witness.claims import Question
from tests.unit.fake_server import READY, error, serving

PLACE = "host=w.example.org"


def words(text: str) -> dict[str, Any]:
    return connection_words(WitnessConfig(postgresql=text), 1.0)


def test_a_certificate_is_the_default() -> None:
    found = words(PLACE)
    directory = "/etc/pgvip/witness"
    assert (found["user"], found["dbname"], found["sslmode"]) == ("pgvip_witness", "pgvip_witness", "verify-full")
    assert (found["sslrootcert"], found["sslkey"]) == (f"{directory}/root.crt", f"{directory}/client.key")
    assert (found["require_auth"], found["sslcertmode"], found["gssencmode"]) == ("none", "require", "disable")


def test_a_password_is_for_whoever_proves_to_know_it_too() -> None:
    found = words(f"{PLACE} passfile=/p")
    assert (found["require_auth"], found["sslmode"]) == ("scram-sha-256", "verify-full")
    assert not {"sslcert", "sslkey", "sslcertmode"} & found.keys()
    assert found["password"] == "", "that of the environment is somebody else's"


def test_what_is_written_wins_but_not_over_what_pgvip_needs() -> None:
    found = words(f"{PLACE} sslmode=verify-ca sslrootcert=system user=x port=5433")
    assert (found["sslmode"], found["sslrootcert"]) == ("verify-ca", "system")
    assert (found["user"], found["port"]) == ("x", "5433")
    assert "synchronous_commit=on" in found["options"]
    assert "sslrootcert" not in words(f"{PLACE} sslmode=disable")


def test_every_session_pins_what_every_other_of_pgvip_pins() -> None:
    pinned = session_settings.of_witness(0.5)
    assert session_settings.IMMUNE.keys() - pinned.keys() == {"idle_session_timeout"}, "new in PostgreSQL 14"
    assert (pinned["synchronous_commit"], pinned["statement_timeout"], pinned["lock_timeout"]) == ("on", "500", "500")


def asked(port: int, timeout_s: float = 1.0) -> PostgresWitness:
    place = f"host=127.0.0.1 port={port} sslmode=disable"
    return PostgresWitness(WitnessConfig(postgresql=place, timeout_s=timeout_s))


@pytest.mark.parametrize(("code", "says"), REFUSALS.items())
def test_each_refusal_of_the_functions_has_its_words(code: str, says: str) -> None:
    found = _refusal("w", ServerAnswered("query failed", "because\nCONTEXT: there", sqlstate=code))
    assert (found.message, found.detail, found.hint) == (says, "because", HINTS.get(code, ""))
    assert f"'{code}'" in load_sql("witness_init", making.OLDEST)


def test_a_server_without_a_witness_says_how_to_make_one() -> None:
    found = _refusal("w", ServerAnswered("query failed", "schema does not exist", sqlstate="3F000"))
    assert (found.message, found.hint) == ("the witness at w refused", "pgvip witness init")


@pytest.mark.parametrize("answer", [None, READY, READY[:-1], error("57P03", "starting up"), b"HTTP/1.1 400\r\n\r\n"])
def test_whatever_is_there_costs_the_deadline_at_most(answer: bytes | None) -> None:
    with serving(answer) as port:
        began_s = now_s()
        with pytest.raises(WitnessError):
            asked(port, 0.5).claim(Question("p", 1, "a"))
        assert now_s() - began_s < 1.5


# --- making one -----------------------------------------------------------------------------------------------------


def test_the_script_is_one_transaction_with_the_role_and_the_id() -> None:
    text = making.script(WitnessConfig(postgresql=f"{PLACE} user=ours"), "ab" * 16)
    lines = text.splitlines()
    assert lines[:2] == ["\\set ON_ERROR_STOP on", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"]
    assert lines[-1] == "COMMIT;"
    assert {"SET LOCAL pgvip_witness.role = 'ours';", f"SET LOCAL pgvip_witness.id = '{'ab' * 16}';"} < {*lines}


def test_a_role_that_would_need_quotes_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a usable name"):
        making.script(WitnessConfig(postgresql=f"{PLACE} user='x y'"), "ab" * 16)


def test_the_administrator_connects_to_the_server_of_the_configuration() -> None:
    config = WitnessConfig(postgresql=f"{PLACE} hostaddr=192.0.2.9 port=5433 dbname=ours sslkey=/k user=ours")
    found = making.admin_words(config, "user=postgres")
    assert (found["host"], found["hostaddr"], found["port"]) == ("w.example.org", "192.0.2.9", "5433")
    assert found["dbname"] == "ours"
    assert (found["user"], found["sslmode"]) == ("postgres", "verify-full")
    assert not {"sslkey", "sslcert", "require_auth"} & found.keys(), "the key is the role's"
    by_socket = making.admin_words(config, "host=/run/postgresql user=postgres")
    assert not {"hostaddr", "sslmode", "sslrootcert"} & by_socket.keys()


@pytest.mark.parametrize(("admin", "says"), [("user", "is no connection string"), ("dbname=x", "names database x")])
def test_a_wrong_administrator_has_its_message(admin: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        making.admin_words(WitnessConfig(postgresql=PLACE), admin)
