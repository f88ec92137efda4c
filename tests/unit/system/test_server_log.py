"""What ended a server, and what only ended somebody's session, by lines as PostgreSQL 15 writes them."""

from __future__ import annotations

import pytest

from pgvip.system.server_log import cause

PREFIX = "2026-11-30 11:10:02.431 UTC [1595594] "
READY = "LOG:  database system is ready to accept read-only connections"
STOPPED = ("LOG:  received fast shutdown request", "LOG:  database system is shut down")
BAD_RECORD = "FATAL:  could not access status of transaction 7"


def lines(*texts: str) -> list[str]:
    return [PREFIX + text for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "connection requires a valid client certificate",
        'pg_hba.conf rejects connection for host "10.9.0.2", user "pgvip", database "postgres", no encryption',
        'role "app" is not permitted to log in',
        "canceling authentication due to timeout",
        "expected password response, got message type 88",
        'permission denied for database "postgres"',
        "sorry, too many clients already",
        "connection to client lost",
        "the database system is starting up",
        "terminating connection due to administrator command",
        "could not connect to the primary server: connection refused",
        "could not send end-of-streaming message to primary: SSL connection has been closed unexpectedly",
        "archive command was terminated by signal 15: Terminated",
        "archive command failed with exit code 137",
    ],
)
def test_a_refused_session_or_a_lost_primary_ended_no_server(text: str) -> None:
    assert cause(lines(READY, f"FATAL:  {text}")) == ""


def test_what_ended_it_stands_whatever_sessions_say_after_it() -> None:
    said = cause(lines(READY, BAD_RECORD, "HINT:  Restore it.", "FATAL:  the database system is shutting down"))
    assert said == f"{BAD_RECORD.replace('  ', ' ')}; HINT: Restore it."


@pytest.mark.parametrize("after", [STOPPED, (READY,)])
def test_a_server_that_lived_on_was_not_ended_by_what_was_fatal_before(after: tuple[str, ...]) -> None:
    assert cause(lines("FATAL:  some text of a later version", *after)) == ""
    assert cause(lines("FATAL:  some text of a later version", *after, BAD_RECORD)) == BAD_RECORD.replace("  ", " ")


def test_the_last_words_of_the_startup_process_stand_before_a_late_ready() -> None:
    """The postmaster hears that the state is consistent when the startup process has failed already."""
    ended = ("LOG:  startup process (PID 7) exited with exit code 1", "LOG:  database system is shut down")
    said = cause(
        lines(BAD_RECORD, "HINT:  Restore it.", READY, *ended[:1], "FATAL:  the database system is in recovery mode")
    )
    assert said == f"{BAD_RECORD.replace('  ', ' ')}; HINT: Restore it."
    assert cause(lines(READY, *ended)) == ""
