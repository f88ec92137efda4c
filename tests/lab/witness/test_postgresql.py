"""The witness in PostgreSQL: one winner for each term, whatever happens to clients, server and settings."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.config.witness_config import WitnessConfig
from pgvip.deadlines import Deadline, now_s, wait_until
from pgvip.errors import WitnessError
from pgvip.system.commands import check
from pgvip.witness import double_claim
from pgvip.witness.by_postgresql import PostgresWitness
from pgvip.witness.claims import Question
from pgvip.witness.making import new_id, script
from pgvip.witness.making import run as run_init
from pgvip.witness.register import claim
from tests.lab.witness.servers import DATABASE, ROLE, Server, made

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS, TERMS = 20, 200


@contextmanager
def asking(server: Server, **words: str) -> Iterator[PostgresWitness]:
    """A connection of its own; `words` in place of those of the server."""
    said = f"{server.words} {' '.join(f'{key}={value}' for key, value in words.items())}"
    witness = PostgresWitness(WitnessConfig(postgresql=said, timeout_s=5.0))
    try:
        yield witness
    finally:
        witness.close()


@pytest.mark.nightly
def test_each_of_many_terms_has_one_winner_among_many_threads(server: Server, pair_id: str) -> None:
    ready = threading.Barrier(THREADS)
    answers: list[dict[int, str]] = [{} for _ in range(THREADS)]

    def claim_all(number: int) -> None:
        with asking(server) as witness:
            witness.status(pair_id)
            highest = 0
            for term in range(1, TERMS + 1):
                ready.wait(60)
                found = witness.claim(Question(pair_id, term, f"host-{number}", serial=highest))
                assert found.serial >= max(highest, term)
                highest, answers[number][term] = found.serial, found.winner

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(claim_all, range(THREADS)))
    for term in range(1, TERMS + 1):
        assert len({said[term] for said in answers}) == 1
    assert len({answers[0][term] for term in answers[0]}) > 1, "one thread was first every time: nothing was proven"


def test_a_claim_that_was_answered_survives_the_death_of_the_server(server: Server, pair_id: str) -> None:
    """The answer comes after the commit, and the commit after the disk; the connection of before is not believed."""
    with asking(server) as witness:
        for term in range(1, 4):
            assert witness.claim(Question(pair_id, term, "a")).winner == "a"
            server.kill() if term % 2 else server.stop("immediate")
            server.start()
            assert witness.claim(Question(pair_id, term, "b")).winner == "a"
        assert witness.status(pair_id).serial == 3


def test_the_role_may_claim_and_nothing_else(server: Server, pair_id: str) -> None:
    refused = (
        "SELECT * FROM pgvip_witness.claims", "DELETE FROM pgvip_witness.claims", "TRUNCATE pgvip_witness.claims",
        "UPDATE pgvip_witness.claims SET host = 'b'", "UPDATE pgvip_witness.identity SET id = 'x'",
        "INSERT INTO pgvip_witness.claims VALUES ('p', 1, 'a')", "DROP TABLE pgvip_witness.claims",
        "SELECT pgvip_witness.known('')", "CREATE TABLE x ()", "CREATE TABLE public.x ()", "CREATE TEMP TABLE x ()",
        "CREATE SCHEMA x", "CREATE ROLE x", "SET ROLE pgvip_witness_owner", "SELECT pg_read_file('postgresql.conf')",
        "SELECT lo_create(0)", "COPY (SELECT 1) TO PROGRAM 'true'",
        "CREATE OR REPLACE FUNCTION pgvip_witness.status(p text) RETURNS text LANGUAGE sql AS 'select 1::text'",
    )  # fmt: skip
    tries = [
        f"DO $x$ BEGIN EXECUTE $y${statement}$y$; RAISE EXCEPTION $y$not refused: {statement}$y$; "
        "EXCEPTION WHEN insufficient_privilege OR invalid_schema_name THEN NULL; END $x$"
        for statement in refused
    ]
    server.sql("; ".join([f"SET SESSION AUTHORIZATION {ROLE}", *tries]))
    with asking(server) as witness:
        assert witness.ask("witness_rights", ()) == []
        assert witness.claim(Question(pair_id, 1, "a")).winner == "a"


def test_rights_that_the_role_was_given_are_seen(server: Server) -> None:
    server.sql(f"GRANT DELETE ON pgvip_witness.claims TO {ROLE}; ALTER ROLE {ROLE} CREATEDB; "
               f"GRANT pg_monitor TO {ROLE}; GRANT TEMP ON DATABASE {DATABASE} TO PUBLIC")
    try:
        with asking(server) as witness:
            found = {text for (text,) in witness.ask("witness_rights", ())}
        assert found == {"may delete table claims", "may create databases", "is a member of pg_monitor",
                         "may create temporary tables"}  # fmt: skip
    finally:
        server.sql(f"ALTER ROLE {ROLE} NOCREATEDB; REVOKE pg_monitor FROM {ROLE}")
        made(server)
    with asking(server) as witness:
        assert witness.ask("witness_rights", ()) == []


HOSTILE = {
    "default_transaction_isolation": "serializable", "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on", "synchronous_commit": "off", "statement_timeout": "1ms",
    "lock_timeout": "1ms", "search_path": "nowhere", "row_security": "off", "DateStyle": "German",
    "client_min_messages": "debug5", "standard_conforming_strings": "off", "bytea_output": "escape",
}  # fmt: skip


@pytest.mark.nightly
def test_defaults_of_file_database_and_role_change_nothing(server: Server, pair_id: str) -> None:
    everybody = (f"DATABASE {DATABASE}", f"ROLE {ROLE}", f"ROLE {ROLE} IN DATABASE {DATABASE}")
    defaults = [f"{key} = '{value}'" for key, value in HOSTILE.items()]
    server.sql("; ".join(f"ALTER {whose} SET {one}" for one in defaults for whose in everybody))
    try:
        with asking(server) as witness:
            assert witness.claim(Question(pair_id, 1, "a")) == witness.claim(Question(pair_id, 1, "b"))
            assert len(witness.ask("witness_claims", (pair_id,))[0]) == 3
        assert run_init(server.witness, server.admin, new_id()) != ""
    finally:
        server.sql("; ".join(f"ALTER {whose} RESET ALL" for whose in everybody), "template1")
        made(server)


def test_the_commit_waits_for_the_disk_whatever_the_caller_has_set(server: Server, pair_id: str) -> None:
    """Seen where it counts: at the end of the transaction, by a trigger that runs then."""
    server.sql("CREATE TABLE public.seen (value text); CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql "
               "SECURITY DEFINER AS $$ BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); "
               "RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER see AFTER INSERT ON pgvip_witness.claims "
               "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.see()")
    try:
        server.sql(f"SET synchronous_commit = off; SELECT * FROM pgvip_witness.claim('{pair_id}', 1, 'a', '', 0)")
        assert server.sql("SELECT value FROM public.seen") == "on"
    finally:
        server.sql("DROP TRIGGER see ON pgvip_witness.claims; DROP FUNCTION public.see(); DROP TABLE public.seen")


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("SET fsync = off", "fsync"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "serializable"),
    ],
)
def test_what_could_forget_or_not_see_answers_nothing(server: Server, pair_id: str, before: str, says: str) -> None:
    if before.startswith("SET fsync"):
        server.sql("ALTER SYSTEM SET fsync = off", "postgres")
        server.sql("SELECT pg_reload_conf()", "postgres")
        try:
            wait_until(lambda: server.sql("SHOW fsync") == "off", 5, what="the reload")
            with asking(server) as witness, pytest.raises(WitnessError, match=says):
                witness.claim(Question(pair_id, 1, "a"))
        finally:
            server.sql("ALTER SYSTEM RESET fsync", "postgres")
            server.sql("SELECT pg_reload_conf()", "postgres")
            wait_until(lambda: server.sql("SHOW fsync") == "on", 5, what="the reload")
        return
    with pytest.raises(Exception, match=says):
        server.sql(f"{before}; SELECT * FROM pgvip_witness.claim('{pair_id}', 1, 'a', '', 0); COMMIT")


@pytest.mark.nightly
def test_a_standby_answers_nothing(server: Server, pair_id: str) -> None:
    """It may lack what its primary has answered, the claim of the other host for one."""
    with asking(server) as witness:
        witness.claim(Question(pair_id, 1, "a"))
        server.stop()
        signal_file = server.data / "standby.signal"
        signal_file.touch()
        shutil.chown(signal_file, "postgres")
        server.start()
        try:
            for ask in (lambda: witness.claim(Question(pair_id, 1, "a")), lambda: witness.status(pair_id)):
                with pytest.raises(WitnessError, match="standby"):
                    ask()
        finally:
            server.stop()
            signal_file.unlink()
            server.start()


@pytest.mark.nightly
def test_a_server_that_was_set_back_is_noticed_before_it_gives_a_term_again(
    server: Server, pair_id: str
) -> None:
    """A restored backup knows fewer claims; nothing is written into it, until it has a new id."""
    witness_id = made(server)
    with asking(server) as witness:
        for term in (1, 2):
            assert claim(witness, Question(pair_id, term, "a", witness_id)).serial == term
        copy = server.home / "copy"
        server.stop()
        check(["cp", "-a", server.data, copy], timeout_s=60)
        server.start()
        assert claim(witness, Question(pair_id, 3, "a", witness_id)).winner == "a"
        server.stop("immediate")
        shutil.rmtree(server.data)
        copy.rename(server.data)
        server.start()
        # The other host claims the same term; it has heard of serial 3 when it asked for the status.
        theirs = Question(pair_id, 3, "b", witness_id, 3)
        with pytest.raises(WitnessError, match="older state"):
            claim(witness, theirs)
        assert server.sql(f"SELECT count(*) FROM pgvip_witness.claims WHERE pair = '{pair_id}'") == "2"
        again = run_init(server.witness, server.admin, new_id(), again=True)
        with pytest.raises(WitnessError, match="another witness"):
            claim(witness, theirs)
        assert claim(witness, Question(pair_id, 3, "b", again)).winner == "b"


def test_who_proves_nothing_is_no_witness_and_no_client(server: Server, pair_id: str) -> None:
    other = {"sslcert": f"{server.home}/other.crt", "sslkey": f"{server.home}/other.key"}
    for words, says in (
        ({"host": "elsewhere.test"}, "not verified"),
        ({"sslrootcert": f"{server.home}/other.crt"}, "not verified"),
        (other, "refused"),
    ):
        with asking(server, **words) as witness, pytest.raises(WitnessError, match=says):
            witness.claim(Question(pair_id, 1, "a"))


@pytest.mark.nightly
def test_by_password_and_in_clear_where_it_is_written_out(server: Server, pair_id: str, tmp_path: Path) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:by_password:geheim\n")
    passfile.chmod(0o600)
    place = f"host=witness.test hostaddr=127.0.0.1 port={server.port} dbname={DATABASE}"
    password = f"{place} user=by_password passfile={passfile} sslrootcert={server.home}/root.crt"
    clear = f"{place} user=in_clear sslmode=disable"
    for words, encrypted in ((password, True), (clear, False)):
        config = WitnessConfig(postgresql=words, timeout_s=5.0)
        run_init(config, server.admin, new_id())
        server.sql("ALTER ROLE by_password PASSWORD 'geheim'") if encrypted else None
        witness = PostgresWitness(config)
        assert witness.ask("witness_session", ())[0][0] is encrypted
        assert witness.claim(Question(pair_id, 1, "a")).winner == "a"
        witness.close()


@pytest.mark.nightly
def test_a_server_that_hangs_costs_the_deadline_and_a_broken_connection_nothing(server: Server, pair_id: str) -> None:
    witness = PostgresWitness(replace(server.witness, timeout_s=1.0))
    try:
        witness.claim(Question(pair_id, 1, "a"))
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pgvip_witness'")
        assert witness.claim(Question(pair_id, 1, "b")).winner == "a"
        locks = "BEGIN; LOCK TABLE pgvip_witness.claims; SELECT pg_sleep(3)"
        holder = threading.Thread(target=server.sql, args=(locks,))
        holder.start()
        wait_until(lambda: server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'") != "0", 5)
        began_s = now_s()
        with pytest.raises(WitnessError):
            witness.claim(Question(pair_id, 2, "a"))
        assert now_s() - began_s < 1.5
        holder.join()
        assert witness.claim(Question(pair_id, 2, "b")).winner in "ab"  # the late one may have been carried out
    finally:
        witness.close()


@pytest.mark.nightly
def test_the_script_is_for_psql_and_the_init_for_whoever_is_no_superuser(server: Server, pair_id: str) -> None:
    """Of a managed server the administrator may make roles and databases, and is no superuser."""
    server.sql("CREATE ROLE manager LOGIN CREATEROLE CREATEDB", "postgres")
    server.sql("CREATE DATABASE managed OWNER manager", "postgres")
    config = WitnessConfig(postgresql=server.words.replace(f"dbname={DATABASE}", "dbname=managed user=managed_role"))
    first = run_init(config, f"user=manager host={server.home}", new_id())
    assert run_init(config, "user=manager", new_id()) == first
    text = script(config, new_id())
    argv = ["psql", "-X", "-h", str(server.home), "-p", str(server.port), "-d", "managed", "-U", "postgres"]
    assert first in check(argv, timeout_s=30, user="postgres", input_text=text).stdout
    claim = f"SELECT winner FROM pgvip_witness.claim('{pair_id}', 1, 'a', '', 0)"
    said = server.sql(f"SET SESSION AUTHORIZATION managed_role; {claim}", "managed")
    assert said.splitlines()[-1] == "a"


@pytest.mark.nightly
@pytest.mark.parametrize("database", ["postgres", "crowded"])
def test_a_database_of_others_is_left_alone(server: Server, database: str) -> None:
    if database == "crowded":
        server.sql("CREATE DATABASE crowded", "postgres")
        server.sql("CREATE TABLE theirs ()", database)
    before = server.sql("SELECT datacl FROM pg_database WHERE datname = current_database()", database)
    config = WitnessConfig(postgresql=server.words.replace(f"dbname={DATABASE}", f"dbname={database}"))
    with pytest.raises(Exception, match=r"not the witness's own|used by others"):
        run_init(config, server.admin, new_id())
    assert server.sql("SELECT datacl FROM pg_database WHERE datname = current_database()", database) == before
    assert server.sql("SELECT to_regnamespace('pgvip_witness') IS NULL", database) == "t"


def test_the_trial_says_that_it_is_a_witness(server: Server) -> None:
    done, terms = double_claim.test(lambda: PostgresWitness(server.witness)), double_claim.ROUNDS
    assert (done.terms, done.answers, done.witness_id) == (terms, 4 * terms, made(server))
    assert server.sql(f"SELECT count(*) FROM pgvip_witness.claims WHERE pair = '{done.pair_id}'") == str(terms)


def test_the_trial_finds_a_witness_that_gives_a_term_twice(server: Server) -> None:
    """Proof that the trial can be red: the second claim takes the place of the first."""
    text = server.sql("SELECT pg_get_functiondef('pgvip_witness.claim'::regproc)")
    broken = text.replace("(pair, term) DO NOTHING", "(pair, term) DO UPDATE SET host = excluded.host")
    assert broken != text
    server.sql(broken)
    try:
        with pytest.raises(WitnessError, match="more than one host"):
            double_claim.test(lambda: PostgresWitness(server.witness))
    finally:
        made(server)


def test_the_deadline_is_over_before_a_silent_place_is_waited_for(pair_id: str) -> None:
    """192.0.2.0/24 answers nothing (RFC 5737), or is refused at once."""
    witness = PostgresWitness(WitnessConfig(postgresql="host=192.0.2.77 sslmode=disable", timeout_s=0.4))
    limit = Deadline.after(2.0)
    with pytest.raises(WitnessError):
        witness.claim(Question(pair_id, 1, "a"))
    assert not limit.expired
