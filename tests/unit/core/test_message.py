"""What a host tells its peer and its operator: every state that needs an operator names its command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.core.actions import (
    AddVip,
    ClaimTerm,
    DropVip,
    Kind,
    Promote,
    Rejoin,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    WriteState,
    name_of,
)
from pgvip.core.knowledge import Failures, Veto
from pgvip.core.messages import AddressFree, Message, Order, Request, Stopped, Want
from pgvip.core.observations import Observation, PeerDatabase, WitnessStatus
from pgvip.core.settings import StandingWarning
from pgvip.core.values import NEVER, Durable, Lsn, Mode, Override, Pause, Role, Serial, Vip, WalPoint
from pgvip.core.warning_row import WarningRow
from pgvip.core.warnings import TABLE, distinct, standing
from tests.unit.core_world import (
    HERE,
    NOW_S,
    PAIR_ID,
    POSTMASTER,
    STALLED,
    SYSTEM_ID,
    TERM,
    WITNESS_ID,
    Host,
    attempt,
    claiming,
    failing,
    grant,
    primary,
    record,
    role_wish,
    saw,
    solo_wish,
    standby,
    witnessed,
)


def twice_failed(host: Host, kind: Kind) -> Host:
    return host.knows(failures={kind: Failures(3, NOW_S + 60, "it did not work")})


def fence_fails() -> Host:
    host = claiming(standby())
    return host.done(attempt(host), ok=False).round(after_s=6.0)


def stalled_without_a_gateway() -> Host:
    """Commits wait for a standby that flushes nothing, and this primary may not go on alone."""
    host = primary().replica(flush_lsn=Lsn(HERE - 8)).sees(gateway=failing("192.0.2.1"))
    return host.knows(unflushed_since_s=NOW_S - 6).database_moved(NOW_S - 6)


CLAIM = ClaimTerm("run-a/1", WITNESS_ID, TERM)


def asked() -> Host:
    """A primary that has asked the witness for its term."""
    return witnessed(primary()).silence(3.0).round().written()


NEEDS_OPERATOR: dict[str, tuple[Callable[[], Host], str, str]] = {
    "the primary of a pair boots and its peer never comes back": (
        lambda: primary().reboots().round(after_s=60.0), "unconfirmed", "pgvip promote --force"),
    "a solo primary is lost for good": (
        lambda: standby(Mode.SOLO).silence().round(), "primary-lost", "pgvip promote --force"),
    "a solo primary's database is lost after it served": (
        lambda: primary(Mode.SOLO).down().round(), "database-down", "pgvip promote --force on the other host"),
    "a switchover's winner dies for good": (
        lambda: standby(Mode.SOLO, me="a", term=5).silence().round(), "primary-lost", "pgvip promote --force"),
    "the primary's database is lost while the standby is not eligible": (
        lambda: twice_failed(primary().hears(eligible=False).down(), StartPostgres).round(),
        "database-down", "pgvip promote --force on the other host"),
    "the primary is lost while the standby is not eligible": (
        lambda: standby().knows(grant=None).silence().round(), "primary-lost", "pgvip promote --force"),
    "a database refuses to start": (
        lambda: twice_failed(standby().down(), StartPostgres).round(), "action-failing", "PostgreSQL's log"),
    "no fence can be confirmed and the peer stays silent": (fence_fails, "fence-failing", "pgvip fence confirm"),
    "no fence is configured and the peer stays silent": (
        lambda: standby().configured(fencing=False).silence().round(), "cannot-fence", "--without-fence"),
    "a record is lost": (
        lambda: primary().durable(record=None).round(), "no-record", "pgvip promote --force"),
    "a disk was restored": (
        lambda: primary().told(record=record("b", Mode.SOLO, 4)), "records-differ", "pgvip promote --force"),
    "something else answers for the address at a solo boot": (
        lambda: primary(Mode.SOLO).reboots().sees(arp_primary=saw("02:00:00:00:00:99")).round(after_s=9.0),
        "vip-answers", "pgvip promote --force"),
    "both sides wrote after a force": (
        lambda: standby().durable(hold="both wrote").round(), "hold", "pgvip hold clear"),
    "diverged data can be neither rewound nor rebuilt": (
        lambda: twice_failed(standby().down(), Rejoin).round(), "action-failing", "pgvip rejoin --clone"),
    "the record of the pair's primary was rolled back": (
        lambda: standby(me="a", term=5).durable(record=record("a", Mode.PAIR, 6)).knows(blocked_since_s=NOW_S - 30)
        .round(), "not-served", "promote --force"),
    "the host that won the term is lost before it served": (
        lambda: witnessed(primary().down(), heard_s=60.0).silence().knows(lost_term=TERM).round(),
        "lease-over", "pgvip promote --force --without-witness"),
    "the witness was restored": (
        lambda: witnessed(primary()).durable(serial=Serial(WITNESS_ID, 7)).sees(
            witness=saw(WitnessStatus(WITNESS_ID, 6))).round(), "witness-rolled-back", "pgvip witness init"),
    "the role was handed back too often": (
        lambda: standby(Mode.SOLO, me="a", term=5).durable(record=record("a", Mode.SOLO, 6, from_term=5), handbacks=3)
        .round(), "hand-backs", "promote --force"),
}  # fmt: skip


@pytest.mark.parametrize("state", NEEDS_OPERATOR)
def test_a_state_that_needs_an_operator_is_named_with_its_command(state: str) -> None:
    host, name, hint = NEEDS_OPERATOR[state]
    assert hint in host().warnings().get(name, "(not named)")


def test_a_healthy_pair_has_nothing_to_complain_of() -> None:
    for sync in (True, False):
        for host in (primary(sync=sync), standby(sync=sync)):
            assert host.round().warnings() == {}


OTHERS: dict[str, Callable[[], Host]] = {
    "paused": lambda: primary().durable(pause=Pause(1, active=True)).round(),
    "kept-off": lambda: primary(Mode.SOLO).durable(kept_off=True).knows(heard=None).round(),
    "removed-peer": lambda: primary(Mode.SOLO).durable(removed="2026-01-01T00:00:00+00:00").round(),
    "no-fencing": lambda: primary().configured(fencing=False).round(),
    "no-data": lambda: standby().processes(installed=False).round(),
    "connections-slow": lambda: primary().sees(connection=failing(value=True, since_s=NOW_S - 5)).round(),
    "database-hung": lambda: primary().sees(connection=failing(value=True)).round(),
    "not-eligible": lambda: standby().knows(grant=None).round(),
    "early-fork": lambda: primary(Mode.SOLO).durable(hold="the promotion left timeline 1", lacks=True).round(),
    "stray": lambda: standby().database(in_recovery=False).round(),
    "peer-failing": lambda: standby().hears(failing="the record cannot be written", failing_hint="see it").round(),
    "database-unseen": lambda: standby().sees(database=failing(since_s=NOW_S - 7)).round(),
    "resources": lambda: primary().sees(connection=saw(True).lacking("Too many open files", NOW_S - 1)).round(),
    "state-hangs": lambda: primary().knows(writing=primary().k.durable, writing_since_s=NOW_S - 5).round(),
    "commits-wait": lambda: stalled_without_a_gateway().round(),
    "peer-hold": lambda: primary().hears(hold="both wrote").round(),
    "peer-unfit": lambda: primary().hears(unfit="its replay is paused", eligible=False).round(),
    "lag": lambda: standby().database(replay_lag_s=61.0).round(),
    "alone": lambda: primary(Mode.SOLO).told(database_ok=False),
    "fence-status": lambda: primary().sees(fence=failing()).round(),
    "sync-names": lambda: primary().database(sync_names="").round(),
    "unwaited": lambda: primary().database(sync_names="").round().database(sync_names="peer").round(),
    "peer-silent": lambda: primary().knows(heard=None).round(),
    "stranger": lambda: standby().silence().sees(stranger=saw("something answers at 192.0.2.11: refused")).round(),
    "configuration-differs": lambda: primary().hears(digest="x").round(),
    "version-differs": lambda: primary().hears(version="0").round(),
    "peer-cannot": lambda: primary().hears(cannot="StopPostgres: D state").round(),
    "vip-taken": lambda: primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "02:00:00:00:00:99")}).round(),
    "foreign-message": lambda: primary().told(pair_id="another"),
    "leaving": lambda: primary().knows(leaving=True).round(),
    "vetoed": lambda: standby().silence().knows(veto=Veto("x", NOW_S, refused="10-storage: resync")).round(),
    "isolated": lambda: primary().knows(isolated=True).silence().sees(gateway=failing("192.0.2.1")).round(),
    "watchdog-required": lambda: standby().configured(watchdog_required=True).sees(watchdog=failing()).round(),
    "watchdog-unusable": lambda: standby().sees(watchdog=failing()).round(),
    "weak-commits": lambda: primary().sees(commits=saw("synchronous_commit=off for app")).round(),
    "heartbeat-failing": lambda: primary().sees(heartbeat=saw("permission denied for sequence heartbeat")).round(),
    "archive-unread": lambda: standby().configured(archive_mounted=False).sees(archive=failing()).round(),
    "commits-stalled": lambda: primary().sees(heartbeat=STALLED).round(),
    "no-client-sessions": lambda: primary().holds(Vip.PRIMARY).sees(clients=failing(value=True)).round(),
    "vip-twice": lambda: primary().holds(Vip.PRIMARY).sees(arp_primary=saw("02:00:00:00:00:99")).round(),
    "crashing": lambda: primary().knows(crashes=(NOW_S - 9, NOW_S - 1)).hears(crashes=(90.0,)).round(),
    "alone-by-choice": lambda: standby().configured(peer_override=Override.PRIMARY_STANDBY).round(),
    "lease-over": lambda: witnessed(primary(), heard_s=9.0).silence().round(),
    "claim-failing": lambda: asked().done(CLAIM, ok=False, text="no route"),
    "claim-barred": lambda: witnessed(primary()).knows(lost_term=TERM).round(),
    "witness-silent": lambda: witnessed(primary()).sees(witness=failing()).round(),
    "witness-differs": lambda: witnessed(primary()).sees(witness=saw(WitnessStatus("another", 1))).round(),
}
"""For each warning that needs no operator at once a host that has it."""


def test_every_warning_of_the_table_has_its_case() -> None:
    assert {name for _, name, _ in NEEDS_OPERATOR.values()} | set(OTHERS) == {row.name for row in TABLE}


def warning(name: str, *, unseen: bool = False) -> StandingWarning:
    return StandingWarning(name, name, unseen=unseen)


def test_of_two_warnings_for_one_cause_the_more_specific_one_stands() -> None:
    unseen, refuses = warning("database-unseen", unseen=True), warning("database-refuses")
    other, waits = warning("lag", unseen=True), warning("database-waits")
    assert distinct((unseen, other)) == (unseen, other)
    assert distinct((unseen, other, refuses)) == (other, refuses)
    assert distinct((unseen, waits)) == (waits,)
    theirs, record = warning("peer-database"), warning("peer-failing")
    silent = warning("peer-failing", unseen=True)
    assert distinct((silent, theirs)) == (theirs,)
    assert distinct((record, theirs)) == (record, theirs), "another cause"


def test_a_warning_says_whether_it_is_about_a_server_that_is_not_seen() -> None:
    """By what it found, and on the other host as well: its text may be anything."""
    refused = failing(since_s=NOW_S - 6)
    for host, wanted in (
        (standby().sees(database=refused), True),
        (twice_failed(standby().down(), StartPostgres), True),
        (twice_failed(standby().down(), Rejoin), False),
        (standby().processes(installed=False), False),
    ):
        message = host.round().message
        assert message.failing_unseen is wanted, message.failing
        heard = {name: getattr(message, name) for name in ("failing", "failing_hint", "failing_unseen")}
        [theirs] = [one for one in standing(primary().hears(**heard).facts) if one.name == "peer-failing"]
        assert theirs.unseen is wanted, theirs.text


def test_what_this_host_lacks_itself_is_no_hung_server() -> None:
    """A primary without descriptors sees nothing of its server, and neither stops it nor hands it over."""
    lacks = {
        name: saw(value, NOW_S - 60).lacking("Too many open files", NOW_S)
        for name, value in (("connection", True), ("disks", True), ("heartbeat", ""))
    }
    host = primary().sees(**lacks).round()
    assert not host.facts.hung
    assert not host.facts.stalled
    assert not host.message.invite
    assert host.warnings().keys() == {"resources"}


def test_a_primary_alone_says_when_it_cannot_reach_a_database_that_runs() -> None:
    """The daemons hear each other by small packets; large ones, or one port, are lost."""
    cut = failing(PeerDatabase(in_recovery=True, system_id=SYSTEM_ID))
    host = primary(Mode.SOLO).database(replica=None).sees(peer_own=cut)
    assert "large packets" in host.round().warnings()["alone"]
    assert "large packets" not in host.hears(database_ok=False).round().warnings()["alone"]


def test_no_text_of_a_warning_is_left_unfilled() -> None:
    hosts = [*(make() for make, _, _ in NEEDS_OPERATOR.values()), *(make() for make in OTHERS.values())]
    told = [warning for host in hosts if host.last for warning in host.last.warnings]
    assert all(warning.text and "{" not in warning.text + warning.hint for warning in told)


@pytest.mark.parametrize("name", OTHERS)
def test_a_concern_is_raised_where_it_is_due(name: str) -> None:
    assert name in OTHERS[name]().warnings()


# --- the message ------------------------------------------------------------------------------------------------


def test_a_question_is_asked_until_it_is_answered() -> None:
    assert primary().round().message.question == ""
    assert primary().reboots().round().message.question.startswith("boot-a-2/")


def test_the_address_is_told_free_only_by_a_confirmed_primary_of_a_pair_that_is_seen_not_to_hold_it() -> None:
    assert primary().round().message.address_free == AddressFree(4, "boot-b")
    for host in (
        primary().holds(*Vip),
        primary().sees(held=failing()),
        primary().knows(confirmed=False),
        primary(Mode.SOLO).holds(),
        standby(),
        primary().knows(heard=None),
    ):
        assert host.round().message.address_free is None


def test_a_standby_has_the_checkpoint_only_on_its_timeline_and_flushed() -> None:
    goal = Stopped(4, WalPoint(1, HERE))
    assert standby().told(stopped=goal).message.has_checkpoint == goal
    assert standby().told(stopped=Stopped(4, WalPoint(1, Lsn(HERE + 1)))).message.has_checkpoint is None
    assert standby().told(stopped=Stopped(4, WalPoint(2, HERE))).message.has_checkpoint is None
    assert standby().told(stopped=Stopped(3, WalPoint(1, HERE))).message.has_checkpoint is None


def test_cannot_is_said_after_repeated_failures_when_something_is_to_be_given_up() -> None:
    stuck = twice_failed(standby().holds(), WriteState)
    assert stuck.round().message.cannot == ""
    assert "WriteState" in stuck.told(request=solo_wish()).message.cannot


def test_cannot_is_said_when_giving_up_takes_too_long() -> None:
    host = primary().told(request=role_wish(reason="take-over-by-order"))
    assert host.must_start(StopPostgres).clean
    limit_s = host.s.stop_s + host.s.consent_s
    assert host.round(after_s=limit_s - 1).message.cannot == ""
    assert host.round(after_s=limit_s + 1).message.cannot != ""


def test_an_offer_stands_while_the_role_is_being_given_up() -> None:
    host = primary().order(Order.SWITCHOVER)
    assert host.message.invite == "hand-over-switchover"
    assert host.told(request=role_wish()).message.invite == "hand-over-switchover"


RESUMED = Pause(2, active=False, reason="done", at="then")


def marked(host: Host) -> Host:
    """With what a healthy host has of its own."""
    host = host.configured(digest="d1", version="1.2", override=Override.PRIMARY).durable(pause=RESUMED)
    return host.sees(gateway=saw("192.0.2.1", NOW_S - 0.5))


def plain(me: str) -> Message:
    """What both hosts of the healthy pair say alike."""
    return Message(
        pair_id=PAIR_ID, system_id=SYSTEM_ID, host=me, boot_id=f"boot-{me}", run_id=f"run-{me}", seq=1, sent_s=NOW_S,
        record=record(), confirmed=True, invite_term=4, postmaster=POSTMASTER[me], database_ok=True,
        point=WalPoint(1, HERE), gateway_ok=True, gateway_age_s=0.5, pause=RESUMED, override=Override.PRIMARY,
        digest="d1", version="1.2",
    )  # fmt: skip


def test_the_whole_word_of_a_primary() -> None:
    free = AddressFree(4, "boot-b")
    said = replace(plain("a"), grant=grant("b"), address_free=free, read_write=True, vips=("primary",))
    assert marked(primary()).round().message == said


def test_the_whole_word_of_a_standby() -> None:
    said = replace(
        plain("b"), eligible=True, in_recovery=True, streaming=True, replay_lag_s=1.5, vips=("standby",), hold="both"
    )
    assert marked(standby().durable(hold="both")).database(replay_lag_s=1.5).round().message == said


def test_the_word_of_a_host_whose_database_is_gone() -> None:
    said = marked(standby()).down().round().message
    assert (said.postmaster, said.point, said.replay_lag_s, said.database_ok) == ("", None, 0.0, False)
    assert not said.eligible


def test_each_heartbeat_has_the_next_number() -> None:
    host = primary()
    numbers = []
    for _ in range(3):
        host = host.round()
        numbers.append(host.message.seq)
    assert numbers == [1, 2, 3]


def test_a_host_that_shuts_down_says_so() -> None:
    assert not standby().round().message.leaving
    assert standby().order(Order.SHUTDOWN).message.leaving


def test_addresses_are_not_named_while_nobody_has_looked() -> None:
    assert primary(Mode.SOLO).round().message.vips == ("primary", "standby")
    assert primary().sees(held=failing()).round().message.vips == ()


def test_a_gateway_that_does_not_answer_has_no_age() -> None:
    said = primary().sees(gateway=failing("192.0.2.1")).round().message
    assert (said.gateway_ok, said.gateway_age_s) == (False, 0.0)


def test_a_host_that_has_not_looked_yet_names_no_server() -> None:
    assert primary().sees(processes=failing(), database=failing()).round().message.postmaster == ""


def test_a_database_that_takes_no_new_connection_is_not_well() -> None:
    hung = primary().sees(connection=failing(value=True))
    assert hung.facts.responding
    assert not hung.round().message.database_ok


# --- the role ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "role"),
    [
        (primary(), Role.PRIMARY),
        (primary(Mode.SOLO), Role.PRIMARY_STANDBY),
        (standby(), Role.STANDBY),
        (standby(Mode.SOLO), Role.STANDBY),
        (primary().knows(confirmed=False), Role.NONE),
        (primary().durable(record=None), Role.NONE),
    ],
    ids=str,
)
def test_a_change_of_role_is_told_once(host: Host, role: Role) -> None:
    other = Role.NONE if role is not Role.NONE else Role.PRIMARY
    changed = host.knows(role=other).round()
    assert changed.k.role is role
    told = changed.said("role")
    assert (told["old"], told["new"]) == (other.value, role.value)
    assert not changed.round().said("role")


def test_the_page_for_users_has_every_one_of_these_states() -> None:
    page = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = page.partition("## States that need an operator")[2]
    for _host, name, _hint in NEEDS_OPERATOR.values():
        assert f"`{name}`" in table


# --- warnings -----------------------------------------------------------------------------------------------


def taken(at_s: float = NOW_S, mac: str = "02:00:00:00:00:99") -> Host:
    """A primary that should raise its address, for which somebody else answered."""
    return primary().holds().knows(checked={Vip.PRIMARY: (at_s, mac)})


NOT_TOLD: dict[str, tuple[Host, str]] = {
    "fence-failing, at the first try": (claiming(standby()), "fence-failing"),
    "cannot-fence, of a solo primary": (primary(Mode.SOLO).configured(fencing=False).silence(), "cannot-fence"),
    "primary-lost, before it was confirmed": (
        standby().knows(grant=None, confirmed=False).silence(),
        "primary-lost",
    ),
    "database-down, of a standby": (standby(Mode.SOLO).down(), "database-down"),
    "database-down, of a pair that hands over": (primary().down(), "database-down"),
    "database-down, before it was confirmed": (primary(Mode.SOLO).knows(confirmed=False).down(), "database-down"),
    "database-down, of one that runs": (primary(Mode.SOLO), "database-down"),
    "alone, while the standby is welcome": (primary(Mode.SOLO), "alone"),
    "alone, of a pair": (primary(), "alone"),
    "alone, while the peer is away": (primary(Mode.SOLO).knows(heard=None), "alone"),
    "hand-backs, of one that serves": (primary().durable(handbacks=9), "hand-backs"),
    "lag, of a primary": (primary().database(replay_lag_s=99.0), "lag"),
    "lag, of the standby of a solo primary": (standby(Mode.SOLO).database(replay_lag_s=99.0), "lag"),
    "vip-answers, of a pair": (
        primary().reboots().sees(arp_primary=saw("02:00:00:00:00:99")),
        "vip-answers",
    ),
    "vip-taken, in a pause": (taken().durable(pause=Pause(1, active=True)), "vip-taken"),
    "vip-taken, of an address that is here": (taken().holds(Vip.PRIMARY), "vip-taken"),
    "vip-taken, without the right": (taken().knows(confirmed=False), "vip-taken"),
    "vip-taken, while a newer record is adopted": (
        taken().knows(heard_record=record("a", Mode.SOLO, 9), writing=Durable(None)), "vip-taken"),
    "vip-taken, by a check of long ago": (taken(NOW_S - 2.1), "vip-taken"),
    "vip-taken, where nobody answered": (taken(mac=""), "vip-taken"),
    "vip-answers, where nobody was asked yet": (
        primary(Mode.SOLO).knows(confirmed=False).sees(arp_primary=Observation()), "vip-answers"),
    "heartbeat-failing, of a standby": (standby().sees(heartbeat=saw("refused")), "heartbeat-failing"),
    "heartbeat-failing, without the right": (
        primary().sees(heartbeat=saw("refused")).knows(confirmed=False), "heartbeat-failing",
    ),
    "archive-unread, once": (
        standby().configured(archive_mounted=False).sees(archive=failing(failures=1)), "archive-unread"),
    "archive-unread, of a mount": (standby().sees(archive=failing()), "archive-unread"),
    "archive-unread, of a peer that is not there": (
        standby().configured(archive_mounted=False).knows(heard=None).sees(archive=failing()), "archive-unread"),
    "commits-stalled, of a daemon that has just started": (
        primary().sees(heartbeat=STALLED).knows(
            who=replace(primary().k.who, started_s=NOW_S - 5), postmaster_since_s=NOW_S - 90), "commits-stalled"),
    "commits-stalled, for a moment": (primary().sees(heartbeat=saw("", NOW_S - 10.1)), "commits-stalled"),
    "commits-stalled, of a standby": (standby().sees(heartbeat=STALLED), "commits-stalled"),
    "commits-stalled, of a server that has just started": (
        primary().sees(heartbeat=STALLED).knows(postmaster_since_s=NOW_S - 5), "commits-stalled",
    ),
    "commits-stalled, after a time without rounds": (
        primary().sees(heartbeat=STALLED).knows(awake_s=NOW_S - 5), "commits-stalled",
    ),
    "commits-stalled, before one was tried": (primary().sees(heartbeat=Observation()), "commits-stalled"),
    "commits-stalled, refused": (
        primary().sees(heartbeat=saw("lock timeout")), "commits-stalled",
    ),
    "not-served, at once": (
        standby(me="a", term=5).durable(record=record("a", Mode.PAIR, 6)).knows(blocked_since_s=NOW_S - 2.9),
        "not-served",
    ),
}


@pytest.mark.parametrize("case", NOT_TOLD)
def test_a_concern_is_not_raised_where_it_is_not_due(case: str) -> None:
    host, name = NOT_TOLD[case]
    assert name not in host.round().warnings()


@pytest.mark.parametrize(
    ("pause", "words"),
    [
        (Pause(1, active=True), "automatic action is paused: no reason given"),
        (Pause(1, active=True, reason="new disks"), "automatic action is paused: new disks"),
        (
            Pause(1, active=True, reason="new disks", by="ann", until="2026-02-01T00:00:00+00:00"),
            "automatic action is paused by ann, until 2026-02-01T00:00:00+00:00: new disks",
        ),
    ],
    ids=["bare", "a reason", "all"],
)
def test_a_pause_is_told_with_what_is_known_of_it(pause: Pause, words: str) -> None:
    host = primary().durable(pause=pause).round()
    assert host.last is not None
    assert words in [warning.text for warning in host.last.warnings]


def text_of(host: Host, name: str) -> str:
    assert host.last is not None
    return next((warning.text for warning in host.last.warnings if warning.name == name), "")


def test_a_heartbeat_that_is_refused_is_told_with_the_server_s_reason() -> None:
    told = text_of(primary().sees(heartbeat=saw('schema "pgvip" does not exist')).round(), "heartbeat-failing")
    assert told == 'the heartbeat row cannot be written: schema "pgvip" does not exist'


def test_commits_that_stall_are_told_with_their_time_whether_an_attempt_has_ended_or_not() -> None:
    told = "this primary has committed nothing for 11 s"
    for watch in (saw("", NOW_S - 11), Observation("", NOW_S - 11, 3, NOW_S, NOW_S - 10, "no answer in time")):
        assert text_of(primary().sees(heartbeat=watch).round(), "commits-stalled") == told


def test_a_standby_that_may_not_take_over_names_the_reason() -> None:
    ungranted = text_of(standby().knows(grant=None).round(), "not-eligible")
    assert ungranted == "this standby may not take over: b is not eligible: a has not said that it holds all it needs"
    unguarded = standby().configured(watchdog_required=True).sees(watchdog=failing()).round()
    assert "may not begin to serve without its watchdog" in text_of(unguarded, "not-eligible")
    assert not unguarded.message.guarded


def test_both_hosts_name_what_keeps_the_standby_from_replaying_all_that_it_flushed() -> None:
    paused = standby().database(replay_paused=True).round()
    told = text_of(paused, "not-eligible")
    assert told == "this standby may not take over: b is not fit to take over: its replay is paused"
    assert (paused.message.eligible, paused.message.unfit) == (False, "its replay is paused")
    other = primary().hears(unfit=paused.message.unfit, eligible=False).round()
    assert text_of(other, "peer-unfit") == "b may not take over: its replay is paused"


def test_a_watchdog_is_told_with_its_reason() -> None:
    told = standby().sees(watchdog=failing()).round()
    assert text_of(told, "watchdog-unusable") == "the watchdog cannot be used: no answer"
    silent = standby().sees(watchdog=replace(failing(), reason="")).round()
    assert text_of(silent, "watchdog-unusable") == "the watchdog cannot be used: no reason given"


def test_warnings_of_actions_stand_in_the_order_of_their_names_and_a_hint_may_be_missing() -> None:
    failures = {kind: Failures(2, NOW_S + 60, "no") for kind in (WriteState, AddVip(Vip.PRIMARY), Rejoin)}
    told = standby().knows(failures=failures).round()
    assert told.last is not None
    found = [warning.text for warning in told.last.warnings if warning.name == "action-failing"]
    assert [text.removeprefix("could not ").split()[0] for text in found] == ["raise", "make", "write"]
    hints = {warning.hint for warning in told.last.warnings if warning.name == "action-failing"}
    assert "see what it says, and pgvip check" in hints
    assert "" not in hints
    assert WarningRow("x", lambda _facts: True, "text").hint == ""


def test_a_role_that_cannot_be_served_is_told_after_its_time() -> None:
    host = standby(me="a", term=5).durable(record=record("a", Mode.PAIR, 6)).knows(blocked_since_s=NOW_S - 3.0)
    assert text_of(host.round(), "not-served")


def test_an_action_that_failed_twice_is_an_operator_s_concern() -> None:
    once = primary().knows(failures={AddVip(Vip.PRIMARY): Failures(1, NOW_S + 60, "no")})
    assert "action-failing" not in once.round().warnings()
    twice = primary().knows(failures={AddVip(Vip.PRIMARY): Failures(2, NOW_S + 60, "no")})
    assert "action-failing" in twice.round().warnings()


@pytest.mark.parametrize("kind", [SetSyncNames, Promote, AddVip(Vip.PRIMARY)], ids=str)
def test_what_only_another_role_wants_is_no_failure_for_ever(kind: Kind) -> None:
    """A primary that failed in it, and is the standby since: nobody tries it again, so that nothing would clear it."""
    failed = standby().knows(failures={kind: Failures(2, NOW_S - 59.0, "no")}).round()
    assert "action-failing" in failed.warnings()
    later = standby().knows(failures={kind: Failures(2, NOW_S - 60.0, "no")}).round()
    assert "action-failing" not in later.warnings()
    assert later.k.work.failures == {}
    under_way = standby().knows(failures={kind: Failures(2, NOW_S - 60.0, "no"), WriteState: Failures(2, 0.0, "no")})
    assert WriteState in under_way.round().k.work.failures


def test_a_host_whose_peer_is_alone_by_choice_says_why_it_is_never_eligible() -> None:
    beside = standby().configured(peer_override=Override.PRIMARY_STANDBY)
    assert "alone-by-choice" in beside.round().warnings()
    itself = primary().configured(override=Override.PRIMARY_STANDBY)
    assert "alone-by-choice" not in itself.round().warnings()


# --- requests, questions ------------------------------------------------------------------------------------


def test_a_request_for_the_role_names_term_boot_postmaster_and_eligibility() -> None:
    asked = standby().told(invite="hand-over-switchover", invite_term=4).message.request
    assert asked == Request(Want.HANDOVER, 4, "boot-b", POSTMASTER["b"], eligible=True, reason="take-over-by-consent")


def test_a_request_to_serve_alone_claims_no_eligibility() -> None:
    asked = primary().knows(unfollowed_since_s=NOW_S - 60).replica(state="catchup").round().message.request
    assert asked == Request(Want.SOLO, 4, "boot-a", POSTMASTER["a"], eligible=False, reason="solo-by-consent")


def test_a_role_that_is_handed_back_is_asked_for_without_a_claim_to_be_eligible() -> None:
    asked = standby(Mode.SOLO).told(invite="hand-back", invite_term=4).message.request
    assert asked == Request(Want.HANDOVER, 4, "boot-b", POSTMASTER["b"], eligible=False, reason="take-back")


def test_nothing_is_requested_without_a_reason_to() -> None:
    assert primary().round().message.request is None
    assert standby().round().message.request is None
    assert claiming(standby()).message.request is None


def test_an_answer_echoes_the_question_unless_this_host_claims_or_writes_or_has_no_record() -> None:
    asked = "boot-a-2/run-a-2"
    assert standby().told(question=asked).message.answer == asked
    assert standby().told(question="").message.answer == ""
    giving = standby().holds().told(question=asked, request=solo_wish())
    assert giving.k.intent.writing is not None
    assert giving.message.answer == ""
    assert standby().durable(record=None).told(question=asked).message.answer == ""
    assert standby().knows(alarm="they differ").told(question=asked).message.answer == ""


# --- what this host cannot give up --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [WriteState, StopPostgres, DropVip(Vip.PRIMARY), DropVip(Vip.STANDBY)], ids=name_of)
def test_whatever_a_give_up_takes_may_be_what_cannot_be_done(kind: Kind) -> None:
    stuck = standby().knows(failures={kind: Failures(3, NOW_S + 60, "stuck")})
    assert stuck.told(request=solo_wish()).message.cannot == f"{name_of(kind)}: stuck"
    assert stuck.round().message.cannot == "", "nobody asks for it"
    twice = standby().knows(failures={kind: Failures(2, NOW_S + 60, "stuck")})
    assert twice.told(request=solo_wish()).message.cannot == ""


def test_a_start_that_fails_keeps_nobody_from_giving_up() -> None:
    stuck = standby().knows(failures={StartPostgres: Failures(9, NOW_S + 60, "no")})
    assert stuck.told(request=solo_wish()).message.cannot == ""


def test_what_cannot_be_given_up_is_said_although_nobody_asks_any_more() -> None:
    giving = standby().told(request=solo_wish())
    stuck = giving.knows(failures={DropVip(Vip.STANDBY): Failures(3, NOW_S + 60, "stuck")})
    assert stuck.told(request=None).message.cannot == "DropVip(standby): stuck"


def test_a_give_up_without_a_clean_stop_has_only_the_time_of_a_consent() -> None:
    giving = standby().told(request=solo_wish())
    assert giving.round(after_s=9.9).message.cannot == ""
    assert "takes too long" in giving.round(after_s=10.0).message.cannot


def test_a_record_that_cannot_be_written_keeps_also_from_beginning_to_give_up() -> None:
    writing = standby().order(Order.PAUSE).knows(failures={WriteState: Failures(3, NOW_S + 60, "stuck")})
    assert writing.message.cannot == ""
    told = writing.told(request=solo_wish())
    assert told.k.consent.giving_up is None
    assert told.message.cannot == "WriteState: stuck"


# --- probes that should look at once ------------------------------------------------------------------------


def test_once_two_heartbeats_are_missing_the_peer_s_database_is_asked_at_once() -> None:
    asked_before = saw(PeerDatabase(in_recovery=True, system_id=SYSTEM_ID), NOW_S - 2)
    host = primary().sees(peer_own=asked_before, peer_vip=asked_before).database(moved_at_s=NOW_S - 2)

    def woken(age_s: float, asked_s: float = -2.0) -> set[str]:
        heard = host.k.peer.heard
        assert heard is not None
        quiet = host.knows(heard=replace(heard, at_s=NOW_S - age_s), round_s=NOW_S)
        quiet = quiet.sees(peer_own=saw(PeerDatabase(in_recovery=True, system_id=SYSTEM_ID), NOW_S + asked_s))
        last = quiet.round().last
        assert last is not None
        return {name for name in last.wake if name.startswith("peer")}

    assert woken(1.1) == {"peer_own", "peer_vip"}
    assert woken(1.0) == set()
    assert woken(1.1, asked_s=-1.1) == set(), "it was asked since"
    never = primary().knows(heard=None).round().last
    assert never is not None
    assert "peer_own" not in never.wake, "there is nobody to miss"


def test_the_peer_s_database_is_asked_again_after_a_sign_of_life_that_came_later() -> None:
    """A link that breaks wakes the probe at once, and the last WAL may be seen after that."""
    host = primary()
    heard = host.k.peer.heard
    assert heard is not None
    quiet = host.knows(heard=replace(heard, at_s=NOW_S - 1.5), round_s=NOW_S)

    def woken(moved_s: float, awake_s: float = NEVER) -> bool:
        failed: Observation[PeerDatabase] = Observation().failed("no answer", NOW_S - 1.4)
        seen = quiet.sees(peer_own=failed, peer_vip=failed).database(moved_at_s=NOW_S + moved_s)
        last = seen.knows(awake_s=awake_s).round().last
        assert last is not None
        return "peer_own" in last.wake

    assert woken(-1.3)
    assert not woken(-1.5)
    assert woken(-1.5, awake_s=NOW_S - 1.3), "this daemon stood still, and has not asked since"


def test_the_own_database_is_looked_at_when_the_peer_waits_for_its_position() -> None:
    host = standby().told(stopped=Stopped(4, WalPoint(1, HERE)))
    assert host.last is not None
    assert "database" in host.last.wake
    assert Vip.STANDBY in host.facts.held
