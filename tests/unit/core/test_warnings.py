"""The warnings of `status`: which of them the peer shows as well, when each begins and ends, and what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core.actions import Promote, Rejoin
from pgvip.core.conditions import names
from pgvip.core.knowledge import Claim, Why
from pgvip.core.observations import Observation
from pgvip.core.settings import StandingWarning
from pgvip.core.values import Lsn, Mode, Vip
from pgvip.core.warning_row import warned
from pgvip.core.warnings import BOTH, TABLE, reported
from tests.unit.core_world import HERE, NOW_S, Host, failing, primary, saw, standby

MAC = "02:00:00:00:00:99"


def text(host: Host, name: str) -> str:
    """The text of the warning in the status of this round; "" when it does not stand."""
    row = next(row for row in TABLE if row.name == name)
    found = warned((row,), host.facts, **names(host.facts))
    return found[0].text if found else ""


def hint(host: Host, name: str) -> str:
    row = next(row for row in TABLE if row.name == name)
    return warned((row,), host.facts, **names(host.facts))[0].hint


def test_the_peer_shows_what_may_keep_clients_from_committing() -> None:
    assert {
        "vip-taken", "stray", "no-record", "vip-answers", "fence-failing", "action-failing", "state-hangs",
        "commits-wait", "no-data", "database-hung", "database-unseen", "commits-stalled", "connections-slow",
        "database-down", "isolated", "hand-backs", "not-served", "watchdog-required", "sync-names",
        "heartbeat-failing", "no-client-sessions", "resources", "lease-over", "claim-failing", "claim-barred",
        "witness-rolled-back",
    } == BOTH  # fmt: skip


def test_the_peer_is_told_the_first_of_them_with_its_hint() -> None:
    paused, absent = StandingWarning("paused", "it is paused"), StandingWarning("no-data", "it is gone", "mount it")
    assert reported((paused, absent, StandingWarning("no-record", "it is lost"))) == absent
    assert reported((paused,)) is None
    told = standby().processes(installed=False).round().message
    assert (told.failing, told.failing_hint) == ("there is no data directory", "mount it, or pgvip clone")


def test_what_texts_may_name() -> None:
    nobody = primary().durable(record=None).knows(heard=None).sees(database=Observation())
    assert names(nobody.facts) == {
        "me": "a", "peer": "b", "primary": "nobody", "hold": "", "peer_unfit": "", "claim": "",
        "unfit": "its PostgreSQL has not been asked yet",
    }  # fmt: skip
    host = standby().durable(hold="both wrote").database(unfit="it is broken").hears(unfit="so is this")
    assert names(host.facts) == {
        "me": "b", "peer": "a", "primary": "a", "hold": "both wrote", "peer_unfit": "so is this",
        "unfit": "it is broken", "claim": "",
    }  # fmt: skip


# --- addresses and sessions -------------------------------------------------------------------------------------


def answered(age_s: float, **of_host: Any) -> Host:
    """A primary that holds its address, for which somebody else answered so long ago."""
    return primary(**of_host).holds(Vip.PRIMARY).sees(arp_primary=saw(MAC, NOW_S - age_s))


def test_an_address_that_somebody_else_answers_for_is_named_while_the_answer_is_fresh() -> None:
    assert text(answered(15.0), "vip-twice") == f"{MAC} answers for the primary VIP too, which a holds"
    assert text(answered(15.1), "vip-twice") == ""
    checked = primary().holds().knows(checked={Vip.PRIMARY: (NOW_S - 2.0, MAC)})
    assert text(checked, "vip-taken") == f"{MAC} answers for the primary VIP"


UNSURE: dict[str, Host] = {
    "an address that is not here": answered(1.0).holds(),
    "an address of which it is not known whether it is here": answered(1.0).sees(held=Observation()),
    "a probe that has failed since": answered(1.0).sees(arp_primary=failing(MAC, NOW_S - 1, 1)),
    "an answer from before the address was touched": answered(1.0).knows(ended={"primary": NOW_S - 0.5}),
    "nobody's answer": answered(1.0).sees(arp_primary=saw("")),
}


@pytest.mark.parametrize("what", UNSURE)
def test_what_does_not_show_that_an_address_is_held_twice(what: str) -> None:
    assert text(UNSURE[what], "vip-twice") == ""


def refused(failures: int = 2) -> Host:
    """A primary whose clients get no session."""
    return primary().holds(Vip.PRIMARY).sees(clients=replace(failing(value=True, failures=failures), reason="refused"))


def test_clients_that_get_no_session_are_named_after_two_probes_where_there_could_be_some() -> None:
    assert text(refused(), "no-client-sessions") == "clients get no session through the VIPs of a: refused"
    for host in (
        refused(failures=1),
        refused().holds(),
        refused().sees(database=Observation()),
        primary().holds(Vip.PRIMARY),
    ):
        assert text(host, "no-client-sessions") == ""


# --- the own database ---------------------------------------------------------------------------------------------


def unseen(**watch: Any) -> Host:
    """A standby whose database has not answered for six seconds, twice."""
    return standby().sees(database=replace(failing(since_s=NOW_S - 6, failures=2), **watch))


def test_a_database_that_does_not_answer_is_named_after_two_failures_also_without_a_reason() -> None:
    words = "the local database does not answer pgvip: "
    assert text(unseen(), "database-unseen") == words + "no answer"
    assert text(unseen(reason=""), "database-unseen") == words + "no answer"
    assert text(unseen(reason="timed out"), "database-unseen") == words + "timed out"


def test_the_time_without_an_answer_counts_from_the_latest_that_explains_it() -> None:
    started = replace(standby().k.who, started_s=NOW_S - 5)
    for host in (
        unseen(failures=1),
        unseen(at_s=NOW_S - 5),
        unseen(failing_since_s=NOW_S - 5),
        unseen().knows(who=started),
        unseen().knows(awake_s=NOW_S - 5),
        unseen().durable(record=None),
        unseen().knows(running=(Rejoin(),)),
    ):
        assert text(host, "database-unseen") == ""


def test_new_connections_that_wait_are_named_as_soon_as_a_server_could_hang() -> None:
    slow = primary().sees(connection=Observation(True, NOW_S - 3.0, 2, NOW_S, NOW_S - 2.0, "no answer"))
    assert text(slow, "connections-slow")


# --- commits ------------------------------------------------------------------------------------------------------


def waiting(for_s: float = 6.0, **of_host: Any) -> Host:
    """A primary whose standby has flushed nothing for so long."""
    host = primary(**of_host).replica(flush_lsn=Lsn(HERE - 8)).knows(unflushed_since_s=NOW_S - for_s)
    return host.database_moved(NOW_S - for_s)


def test_commits_that_wait_say_what_keeps_this_primary_from_going_on_alone() -> None:
    words, see = "commits wait for b, which flushes nothing: ", "see pgvip status and PostgreSQL's log on both hosts"
    under_way = waiting()
    assert (text(under_way, "commits-wait"), hint(under_way, "commits-wait")) == (
        words + "the change is under way", see,
    )  # fmt: skip
    blocked = waiting().knows(blockers=(("solo-by-consent", "b follows"),))
    assert (text(blocked, "commits-wait"), hint(blocked, "commits-wait")) == (words + "b follows", see)
    unfenced = waiting().configured(fencing=False).knows(heard=None)
    assert (text(unfenced, "commits-wait"), hint(unfenced, "commits-wait")) == (
        words + "there is no way to fence it", "bring its daemon back: systemctl status pgvip there",
    )  # fmt: skip


def test_a_missing_fence_keeps_nobody_waiting_while_the_daemon_answers_nor_a_silent_daemon_one_with_a_fence() -> None:
    for host in (waiting().configured(fencing=False), waiting().knows(heard=None)):
        assert text(host, "commits-wait").endswith("the change is under way")


def test_commits_that_wait_for_nobody_are_not_said_to_wait() -> None:
    for host in (waiting(sync=False), waiting(mode=Mode.SOLO), waiting().database(sync_names=""), waiting(5.9)):
        assert text(host, "commits-wait") == ""


def test_commits_that_were_not_waited_for_are_the_primary_s_to_tell() -> None:
    why = "synchronous_standby_names was '' at 1:0/1000"
    assert text(primary().knows(unwaited=why), "unwaited").startswith(why)
    assert text(standby().knows(unwaited=why), "unwaited") == ""


# --- what a promotion left out, servers that stray ----------------------------------------------------------------


def test_what_a_promotion_left_out_is_named_before_and_after_it_is_written() -> None:
    words = "the promotion left timeline 1"
    for host in (primary().knows(lacks=words), primary().durable(hold=words, lacks=True)):
        assert text(host, "early-fork") == f"{words}: nothing is served here"
    assert text(primary().durable(hold="both wrote"), "early-fork") == ""
    assert text(primary().durable(hold=words, lacks=True), "hold") == ""
    assert text(primary().durable(hold="both wrote"), "hold") == "both wrote"


@pytest.mark.parametrize(("times", "end"), [(1, ""), (2, ""), (3, "; it is not rejoined again")])
def test_a_server_that_strays_is_told_with_how_often_and_why(times: int, end: str) -> None:
    words = "PostgreSQL on this standby became read-write without the right to it"
    host = standby().knows(strays=times, stray_why="by hand")
    assert text(host, "stray") == f"{words}, {times} times in a row (by hand){end}"
    assert text(primary().knows(strays=times, stray_why="by hand"), "stray") == ""


# --- the peer -----------------------------------------------------------------------------------------------------


def test_what_the_peer_would_say_is_not_said_for_it() -> None:
    silent = primary().knows(heard=None)
    for name in ("peer-hold", "peer-failing", "peer-unfit", "peer-cannot", "version-differs", "configuration-differs"):
        assert text(silent, name) == ""


def test_a_fence_that_fails_is_told_from_the_second_try_on() -> None:
    claim = Claim("take-over-by-fence", 4, Why.SILENCE, takeover=True, attempt="x", since_s=NOW_S)
    assert text(standby().knows(claim=claim), "fence-failing") == ""
    assert "in 1 tries" in text(standby().knows(claim=replace(claim, tries=2)), "fence-failing")


def test_a_promotion_that_is_under_way_is_no_stray() -> None:
    promoting = standby().knows(running=(Promote(),)).round()
    assert promoting.k.promotion.strays == 0
    assert text(promoting, "stray") == ""


# --- what this host lacks, what it cannot read, why it serves alone -----------------------------------------------


def test_what_probes_lack_is_named_once_while_it_is_recent() -> None:
    lately = Observation(True, NOW_S - 60).lacking("too many open files", NOW_S - 15)
    long_ago = Observation(True, NOW_S - 60).lacking("no memory", NOW_S - 15.1)
    host = primary().sees(gateway=lately, heartbeat=lately, arp_standby=long_ago)
    words = "pgvip on this host lacks what its own probes need, so less is known: "
    assert text(host, "resources") == f"{words}too many open files (gateway, heartbeat)"
    both = host.sees(heartbeat=Observation(True, NOW_S - 60).lacking("no memory", NOW_S))
    assert text(both, "resources") == f"{words}no memory; too many open files (gateway, heartbeat)"
    assert text(host.sees(gateway=saw(value=True), heartbeat=lately.failed("no answer", NOW_S)), "resources") == ""


@pytest.mark.parametrize(("failures", "stands"), [(1, False), (2, True)])
def test_an_archive_behind_the_link_is_named_after_two_failures(failures: int, stands: bool) -> None:
    host = standby().configured(archive_mounted=False).sees(archive=failing(failures=failures))
    assert bool(text(host, "archive-unread")) is stands
    assert text(host.configured(archive_mounted=True), "archive-unread") == ""
    assert text(host.knows(heard=None), "archive-unread") == "", "the peer itself is missed"


def test_a_primary_alone_says_why_and_what_large_packets_do() -> None:
    host = primary(Mode.SOLO).knows(blockers=(("pair", "b does not follow"),))
    assert text(host, "alone") == "this primary serves alone: b does not follow"
    assert hint(host, "alone") == "see pgvip status on b"
    cut = host.hears(database_ok=True)
    assert "large packets" in hint(cut.sees(peer_own=failing(failures=2)), "alone")
    assert "large packets" not in hint(cut.sees(peer_own=failing(failures=1)), "alone")
    for other in (
        host.knows(blockers=()),
        host.knows(confirmed=False),
        host.knows(heard=None),
        primary().knows(blockers=(("pair", "b does not follow"),)),
        standby(Mode.SOLO).knows(blockers=(("pair", "b does not follow"),)),
    ):
        assert text(other, "alone") == ""


def test_a_warning_is_of_a_server_that_is_seen_unless_it_says_so() -> None:
    """What the daemon's own parts warn of is shown beside a refusal of the database, too."""
    assert not StandingWarning("messages-failing", "no mail").unseen
