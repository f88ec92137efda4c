"""The one table of events: every name that appears in the log, the history, hooks and `status`, and what it means.

`docs/events.md` is made from it. A test reads the whole package and goes red for a name that is missing here, or that
nothing uses. Levels are those of syslog (RFC 5424, 6.2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Level(IntEnum):
    """How much an event matters; the numbers are syslog's and journald's."""

    ERROR = 3
    """Service is lost or in danger, or an operator is needed."""
    WARNING = 4
    """Something failed or is missing; the pair continues."""
    NOTICE = 5
    """A role, a right or the power of a host changed, or an operator spoke."""
    INFO = 6
    """What was done on the way."""
    DEBUG = 7
    """Only of use to who looks for a fault of pgvip itself."""

    @property
    def word(self) -> str:
        """The name in lower case, as options and documents have it."""
        return self.name.lower()


WORDS = {level.word: level for level in Level}


@dataclass(frozen=True, slots=True)
class Kind:
    """One row. `hooks`: executables in hooks.d/NAME are called; `kept`: it goes into the history on both hosts.

    `state`: it is in `status` as a warning as long as it lasts; its end is the event `cleared`.
    """

    name: str
    level: Level
    meaning: str
    hooks: bool = False
    kept: bool = True
    state: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it happened. `at`: wall clock, ISO 8601 in UTC; `term`: of this host's record, -1 without one.

    `seq` counts within `series`, which names one unbroken history of `host` (a lost state directory begins another).
    """

    event: str
    level: Level
    text: str
    at: str
    host: str
    pair: str = ""
    term: int = -1
    fields: tuple[tuple[str, str], ...] = field(default=())
    seq: int = 0
    series: str = ""

    def document(self) -> dict[str, Any]:
        """The event as JSON has it everywhere: in the history's files, on the sockets, in `pgvip events --json`."""
        return {
            "seq": self.seq,
            "series": self.series,
            "at": self.at,
            "host": self.host,
            "pair": self.pair,
            "event": self.event,
            "level": self.level.word,
            "term": self.term,
            "text": self.text,
            "fields": dict(self.fields),
        }


def kind(name: str) -> Kind:
    """The row of an event; a name that is not in the table (a newer peer's) is plain information."""
    return EVENTS.get(name) or Kind(name, Level.INFO, "")


def read(document: object) -> Event | None:
    """An event from its document; None when it is none. What it does not know it ignores."""
    if not isinstance(document, dict):
        return None
    words = {name: document.get(name, "") for name in ("event", "text", "at", "host", "pair", "series")}
    seq, term, given = document.get("seq"), document.get("term", -1), document.get("fields", {})
    texts = all(isinstance(word, str) for word in words.values())
    numbers = all(isinstance(number, int) and not isinstance(number, bool) for number in (seq, term))
    if not (texts and numbers and isinstance(given, dict) and words["event"] and words["at"] and words["host"]):
        return None
    fields = tuple((str(name), str(value)) for name, value in given.items())
    level = WORDS.get(str(document.get("level")), Level.INFO)
    return Event(level=level, fields=fields, seq=int(seq or 0), term=int(term), **words)


def _rows(level: Level, *, hooks: bool = False, kept: bool = True, state: bool = False, **meanings: str) -> list[Kind]:
    """Rows of one level and sort; `_` in a name means `-`."""
    named = {name.rstrip("_").replace("_", "-"): text for name, text in meanings.items()}
    return [Kind(name, level, text, hooks, kept, state) for name, text in named.items()]


_TABLE: tuple[Kind, ...] = (
    # --- roles and records
    *_rows(
        Level.NOTICE,
        hooks=True,
        role_change="this host's role is in effect: a primary is read-write and holds its VIP, a standby recovers",
        demoted="this host is primary no more: PostgreSQL is not read-write and the primary VIP is dropped",
        claim="the witness is going to be asked, or the peer to be fenced, so that this host may go on alone",
        fenced="the peer is verified off",
        order="an operator gave an order",
        files_copied="pgvip config push has copied PostgreSQL's files and settings of the other host to this one",
        rejoined="this host's data follow the peer's history again",
    ),
    *_rows(
        Level.NOTICE,
        record="this host's record changed: who may serve, in which mode, by which change",
        role="this host's role by the record changed; `role-change` follows once it is in effect",
        confirmed="this host knows that its record is the pair's current one",
        intent="a row of the table of changes holds: this host wants that change",
        claim_ended="a claim was abandoned before its fence counted",
        giving_up="this host gives up what a change takes from it, by consent",
        address_former="a VIP got another address; until when the former one is served as well",
        called_off="a hand-over was called off; the old primary serves on",
        salvaged="async: the standby got the WAL that it lacked from a dead server before it took over",
        schedule="an operator scheduled a switchover; later, the steps of carrying it out",
        schedule_cancelled="a scheduled switchover was cancelled",
        schedule_due="the time of a scheduled switchover has come",
        schedule_done="a scheduled switchover ended well",
        restart="PostgreSQL was restarted, or stopped for a command, by `pgvip restart`; or that failed",
        pause_ended="a pause ended by itself, at the time that was set",
        power_off="the peer is powered off, as an operator ordered",
        claimed="the witness has said whose the register of a term is",
        lease_ended="a host has killed its server, since the peer had not been heard in time",
        isolation="an isolated primary of a pair stops its server: no gateway, and no answer of the peer by any path",
        contact="an isolated primary has heard something again, and may serve",
        archive_clean="archived WAL and base backups that nobody needs were removed",
        archive_command="PostgreSQL's archive and restore commands were made those of the configuration",
        watchdog="the watchdog was armed, disarmed, or could not be",
        drill="a drill is announced, begins or has ended, with its verdict",
        switchover_dropped="an ordered switchover did not come about in time",
        settings="the primary's settings were raised: this standby is restarted with them",
        postgresql="this host's PostgreSQL died, was stopped, was killed as hung, or runs again, whoever did it",
    ),
    *_rows(
        Level.WARNING,
        hooks=True,
        fence_failed="a fence failed or could not be verified; it is tried again",
        force_failed="a forced promotion could not fence the peer; nothing changed",
        remove_dropped="an order to remove the peer was dropped: this host does not serve alone any more",
        fence_order_failed="an ordered fence of the peer failed; nothing changed",
        schedule_called_off="a scheduled switchover was refused or called off when its time had come",
        schedule_dropped="a scheduled switchover did not take place: its time passed while the daemon was down",
        rejoin_failed="a clone that was interrupted could not be finished",
    ),
    # --- the daemon and its parts
    *_rows(Level.NOTICE, hooks=True, start="the daemon started"),
    *_rows(
        Level.NOTICE,
        address_dropped="an address that pgvip had raised, and that is configured no more, was dropped",
        leave="the daemon ends; PostgreSQL and the addresses stay as they are",
        reload="a value of the configuration changed, or needs a restart of the daemon",
        cleared="what a warning said is so no more",
    ),
    *_rows(
        Level.INFO,
        crash_restart="PostgreSQL restarts itself after a crash from now on (pause, stopped daemon), or no more",
        done="an action ended well, with the time it took",
        would='what pgvip would do now, and does not: pair.mode is "observe"',
        observed='pair.mode is "observe", and another host is read-write than the decisions so far would have it',
        http="where health checks, metrics and the status page are served changed",
        link="the connection to the peer's daemon came up or went down, or its keys were renewed",
        fence="what a fence device answered",
        power_on="what a fence device answered when the peer was to be switched on",
        rejoin="progress of a rewind or a clone",
        awake="the daemon had no rounds for a while (a stopped process, a paused machine)",
        hook="a hook ended well",
    ),
    *_rows(
        Level.WARNING,
        action_failed="an action failed; it is tried again after a wait",
        http_failed="HTTP is not served where it should be; it is tried again",
        http_crash="a fault of pgvip itself in an answer over HTTP: that client got none, and the daemon continues",
        cleanup_failed="an object could not clean up after itself (descriptors are short, say): nothing depends on it",
        revoked="the primary has withdrawn the right to take over: its synchronous names were changed",
        clock_jump="the clocks moved apart: the lease to take over was dropped, and is granted again",
        configuration="something in the configuration does not fit this machine",
        reload_failed="a reload was refused: nothing of the changed file is applied, and the old one stays in force",
        work_crash="a fault of pgvip itself in a probe or an action: it counts as failed, and the daemon continues",
        bad_message="the peer's daemon sent what could not be read",
        hook_failed="a hook failed, or was ended at its time limit",
        hook_refused="a hook was not called: others than root may change it, or it cannot be executed",
        hook_dropped="hooks were not called: too many were waiting",
        fence_order_dropped="an ordered fence of the peer could not be begun in time",
        power_order_dropped="the peer could not be switched on in time, as an operator ordered",
        facts_failed="what this boot knows could not be kept for a restart of the daemon, or not be read after it",
        archive_link="this host cannot give its archive to the other host over the link",
        maintenance_failed="a part of the archive's maintenance failed; it comes again",
        watchdog_reset="the last reset of this host was made by its watchdog",
        starts_at_boot="something starts PostgreSQL at boot, before the pair has agreed who serves",
        history_failed="the replication history could not be kept (first of several failures)",
        veto_late="no veto hook answered in time: the takeover continues",
        obstacle="what a promotion, a start or a stop of PostgreSQL waited for was woken, ended or killed",
        events_lost="events are missing in the history: its disk was full, failed or hung",
    ),
    *_rows(
        Level.WARNING,
        hooks=True,
        settings_reset="somebody had set by ALTER SYSTEM what would end or delay a standby's recovery; it was reset",
        access_restored="pgvip's lines were missing in pg_hba.conf or pg_ident.conf, and were put back",
    ),
    *_rows(Level.WARNING, kept=False, notify_failed="the state of the daemon could not be reported to systemd"),
    *_rows(Level.INFO, kept=False, chore_failed="a chore (slots, announcements) failed; it comes again by itself"),
    *_rows(Level.ERROR, crash="a fault of pgvip itself: the daemon ends and is started again"),
    # --- states: warnings of `status`
    *_rows(
        Level.ERROR,
        hooks=True,
        state=True,
        records_differ="both hosts have a record of the same term, and they differ",
        early_fork="this host's promotion left out what it had flushed: nothing is served here",
        hold="this host's data may hold acknowledged commits that nobody else has",
        vip_answers="somebody else answers for the primary VIP, so this lone primary does not start",
        database_down="the primary's database is down and the other host may not take over",
        database_hung="the local database or its disks do not answer",
        primary_lost="the primary answers by no path, and this standby does not hold all that it had",
        cannot_fence="the peer answers by no path, and there is no way to fence it",
        fence_failing="the silent peer could not be fenced so far",
        not_served="primary by the record, but not known to hold all that the role needs",
        hand_backs="the role was handed back too often",
        lease_over="this primary has not heard its peer in time, nor won the term from the witness, and does not serve",
        witness_rolled_back="the witness counts fewer claims than before: it was restored, and nobody claims",
        claim_failing="the witness does not answer this host's claim",
        claim_barred="the witness does not give this host the term of the pair",
        isolated="this primary hears nothing from anywhere, and does not serve",
        watchdog_required="this host may not begin to serve without its watchdog",
        vetoed="a veto hook puts the takeover off",
        settings_wrong="a configuration file of PostgreSQL has a wrong line: no change of a setting is applied",
        database_refuses="PostgreSQL answers, and refuses pgvip",
        replication_refused="the primary refuses the replication of this standby",
        database_waits="PostgreSQL runs and has taken no connections for a minute",
        peer_database="the peer warns of its PostgreSQL or the configuration of it",
    ),
    *_rows(
        Level.WARNING,
        hooks=True,
        state=True,
        unconfirmed="the peer has not confirmed this host's record since this boot",
        no_record="this host has no record and waits for the confirmed primary's",
        foreign_message="messages of another pair arrive",
        action_failing="an action failed several times in a row",
        no_data="there is no data directory",
        alone="this primary serves alone",
        commits_stalled="this primary commits nothing, although it answers",
        connections_slow="new connections to the local database are not answered, although its sessions are",
        watchdog_unusable="the watchdog cannot be used",
        not_eligible="this standby may not take over",
        peer_hold="the other host's data may hold acknowledged commits that nobody else has",
        stray="this standby's PostgreSQL became read-write without the right to it",
        peer_failing="the other host reports something for which clients may be unable to commit",
        database_unseen="the local database does not answer pgvip",
        state_hangs="a write of the record does not end",
        resources="pgvip on this host lacks descriptors, memory or threads for its own probes",
        commits_wait="commits wait for a standby that flushes nothing",
        peer_unfit="the standby reports that its server may not take over",
        settings_pending="a setting was changed and is not in force before PostgreSQL is restarted",
        restart_pending="pgvip's configuration was changed in what is not in force before the daemon is restarted",
        configuration_refused="a reload was refused, and the configuration file is still not what is in force",
        access_differs="pg_hba.conf or pg_ident.conf differs: who may connect is not the same on both hosts",
        settings_differ="settings of PostgreSQL are not the same on both hosts",
        hosts_differ="a library, a directory, a locale or a version of collations is not the same on both hosts",
        settings_overridden="ALTER SYSTEM has set what pgvip sets",
        settings_unwritten="pgvip's settings for PostgreSQL cannot be written: what was changed is not in force",
        access_missing="pgvip's lines in pg_hba.conf or pg_ident.conf were changed, and are not put back",
        lag="this standby lags more than the limit",
        witness_silent="the witness does not answer",
        witness_differs="the witness that answers is not the one that counts",
        fence_status="the peer's fence device does not answer",
        sync_names="somebody changed synchronous_standby_names",
        unwaited="commits may have been acknowledged that the standby lacks, since the synchronous names were changed",
        weak_commits="a setting lets acknowledged commits get lost",
        heartbeat_failing="this primary cannot write its heartbeat row",
        crashing="PostgreSQL crashed several times in the last ten minutes",
        peer_silent="the peer's daemon does not answer",
        removed_peer="a peer that an operator removed answers; it does not serve",
        peer_cannot="the peer cannot give up what a change takes",
        configuration_differs="the two hosts' files differ",
        addresses_differ="the two hosts have different addresses in force, which are named",
        keys_invalid="a host shows a certificate that is not the one that the other host knows: one has lost its keys",
        version_differs="the two hosts run different versions of pgvip",
        no_client_sessions="clients get no session through the VIPs that this host holds",
        vip_twice="another host answers for an address that this host holds",
        vip_elsewhere="this host carries a VIP on another interface than the configured one",
        vip_taken="somebody else answers for an address that this host should raise",
        archiving_failing="this host's server cannot archive its WAL",
        internal_error="a fault of pgvip itself in a probe or an action; its event work-crash says where",
        archive_unread="the other host's archive cannot be read over the link",
        archive_backlog="many WAL files wait to be archived",
        fence_unfit="a configured way to fence is not used: its program is no fence, or others than root may change it",
        secret_exposed="a file with a secret can be read by others, or a secret is written into the configuration",  # noqa: S106 # nosec B106 # a meaning
        bundle_left="a bundle, which holds secrets, is still on a disk of this host",
        key_expires="a certificate expires within 30 days, or has expired",
        rotation_unfinished="pgvip rotate was interrupted, or has prepared next keys: the old ones are still valid",
        tls_change="a change of postgresql.tls has not ended, or the two hosts' files differ in it",
        tls_off="replication and logins between the hosts are neither encrypted nor verified, by configuration",
        stranger="something answers in place of the silent peer and is not known to be the peer; it counts for nothing",
        backup_missing="no good base backup of this pair is known, although backup.max_age_days asks for one",
        backup_old="the newest base backup of this pair is older than backup.max_age_days",
        messages_failing="a message of [notify] could not be sent",
        no_fencing="no way to fence is configured: no takeover on silence",
    ),
    *_rows(
        Level.NOTICE,
        hooks=True,
        state=True,
        paused="automatic action is paused",
        leaving="this host is shutting down: it takes no role and starts no server",
        kept_off="the peer was powered off by an operator's order, and is not switched on by itself",
        alone_by_choice="the configuration lets the peer serve alone",
    ),
)

EVENTS: dict[str, Kind] = {row.name: row for row in _TABLE}

VETO = "veto-takeover"
"""No event: the directory of the hooks that are asked before a takeover by fence."""
