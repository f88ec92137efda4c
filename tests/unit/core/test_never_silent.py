"""Why clients cannot commit is said, and told to the peer, whose status shows it as well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.values import Lsn, Mode, Vip
from tests.unit.core_world import HERE, NOW_S, Host, failing, primary, saw, standby


def text_of(host: Host, name: str) -> str:
    assert host.last is not None
    return next((warning.text for warning in host.last.warnings if warning.name == name), "")


def stalled(for_s: float = 6.0) -> Host:
    host = primary().replica(flush_lsn=Lsn(HERE - 8)).knows(unflushed_since_s=NOW_S - for_s)
    return host.database_moved(NOW_S - for_s)


def test_commits_that_wait_name_what_keeps_the_primary_from_going_on_alone() -> None:
    host = stalled().sees(gateway=failing("192.0.2.1")).round()
    assert text_of(host, "commits-wait") == (
        "commits wait for b, which flushes nothing: no gateway answers a"
    )
    assert "gateway.targets" in host.warnings()["commits-wait"]
    assert text_of(stalled().round(), "commits-wait").endswith(": b follows")


SHORT = (stalled(5.9), primary(), primary(Mode.SOLO), standby(), primary(sync=False))


@pytest.mark.parametrize("host", SHORT, ids=range(len(SHORT)))
def test_commits_that_do_not_wait_for_long_name_nothing(host: Host) -> None:
    assert not text_of(host.round(), "commits-wait")


def test_a_standby_whose_daemon_is_silent_and_that_cannot_be_fenced_is_named() -> None:
    host = stalled().configured(fencing=False).knows(heard=None).round()
    assert "no way to fence" in text_of(host, "commits-wait")


def test_a_database_that_does_not_answer_is_named_over_restarts_with_the_reason() -> None:
    refused = replace(failing(since_s=NOW_S - 6), reason="login refused")
    assert text_of(standby().sees(database=refused).round(), "database-unseen").endswith(": login refused")
    short = replace(failing(since_s=NOW_S - 5.9), reason="login refused")
    assert not text_of(standby().sees(database=short).round(), "database-unseen")
    assert not text_of(standby().sees(database=replace(refused, failures=1)).round(), "database-unseen")


def test_a_write_of_the_record_that_does_not_end_is_named() -> None:
    host = primary().knows(writing=primary().k.durable)
    assert not text_of(host.knows(writing_since_s=NOW_S - 4.9).round(), "state-hangs")
    assert text_of(host.knows(writing_since_s=NOW_S - 5).round(), "state-hangs")


def test_what_keeps_clients_from_committing_is_told_to_the_peer() -> None:
    told = stalled().sees(gateway=failing("192.0.2.1")).round().message
    assert told.failing == "commits wait for b, which flushes nothing: no gateway answers a"
    shown = standby().hears(failing=told.failing, failing_hint=told.failing_hint).round()
    assert text_of(shown, "peer-failing") == f"a reports: {told.failing}"
    assert shown.warnings()["peer-failing"] == f"on a: {told.failing_hint}"
    assert shown.message.failing == "", "and not told back"
    assert primary().round().message.failing == ""


def test_that_clients_get_no_session_is_told_to_the_peer() -> None:
    host = primary().holds(Vip.PRIMARY).sees(clients=failing(value=True)).round()
    assert host.message.failing == text_of(host, "no-client-sessions") != ""


def test_what_is_told_is_short() -> None:
    long = replace(failing(since_s=NOW_S - 60), reason="x" * 9000)
    assert len(standby().sees(database=long).round().message.failing) == 500


def test_a_silent_gateway_alone_is_no_outage() -> None:
    assert not text_of(primary().sees(gateway=saw("192.0.2.1", NOW_S - 99)).round(), "commits-wait")
