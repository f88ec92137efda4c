"""What `pgvip uninstall` asks before it begins, and what it takes away: only what pgvip has made.

Data, archive, base backups, saved WAL and the configuration file stay. A host that its peer still counts on is refused.
"""

from __future__ import annotations

import re
import shutil
import signal
import time
from typing import TYPE_CHECKING

from pgvip.actions import slots
from pgvip.config.observing import observes
from pgvip.core.values import Durable, Mode
from pgvip.deadlines import wait_until
from pgvip.errors import ActionError, CommandError, MountError, PgvipError, PostgresError, RefusedError
from pgvip.setup import enrolment, export, observe_setup, second_host
from pgvip.state import files, last_observed
from pgvip.state.record import RecordStore, load_identity
from pgvip.system import mounts, pgconf, pgtools, processes, sql, units
from pgvip.system.commands import check

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pgvip.config.model import Config

SQL_TIMEOUT_S = 60.0
SYSTEMD_S = 60.0
DAEMON_UNITS = ("pgvip.service", "pgvip-handover.service")
OWN_UNIT = "pgvip-postgres.service"
NAMED_MAX = 10
ROLES = (sql.DATABASE_ROLE, sql.REPLICATION_ROLE, "pgvip_owner")
ACTIVE = """
SELECT string_agg(slot_name, ', ') FROM pg_replication_slots WHERE active AND slot_name = ANY (:'slots'::name[]);
"""
DROP_SLOTS = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
 WHERE NOT active AND slot_name = ANY (:'slots'::name[]);
"""
WITH_RIGHTS = """
SELECT datname FROM pg_database WHERE datallowconn AND oid IN (
    SELECT dbid FROM pg_shdepend JOIN pg_roles ON pg_roles.oid = refobjid
     WHERE refclassid = 'pg_authid'::regclass AND rolname = ANY (:'roles'::name[]));
"""
HAVE_ROLES = """
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ANY (:'roles'::name[])) OR to_regnamespace('pgvip') IS NOT NULL;
"""
OTHERS_SET = "SELECT name FROM pg_file_settings WHERE sourcefile NOT LIKE '%/' || :'file';"
FOLLOWS = """
SELECT 1 FROM pg_stat_wal_receiver
 WHERE status = 'streaming' AND conninfo NOT LIKE '%' || :'role' || '%' AND coalesce(slot_name, '') = :'slot';
"""
SLOT = re.compile(r"[a-z0-9_]{0,63}")
STATE_FILES = (
    *("record.json", last_observed.NAME, "identity.json", "scheduled.json", "followed-slots.json", "bundle", "tls"),
)


# --- may it be done ----------------------------------------------------------------------------------------------


def is_standby(config: Config) -> bool:
    """The cluster here is a standby, by its files: a server that is down says so too."""
    data = config.postgres.data_directory
    if enrolment.is_empty(data):
        return False
    return pgtools.is_there(data / "standby.signal") or pgtools.control_data(config).in_recovery


def pair_problems(config: Config, *, standby: bool) -> list[PgvipError]:
    """A host on which the pair still rests; what an operator is to do first."""
    durable = RecordStore(config.paths.record).load()
    record, me, peer = durable.record if durable else None, config.me.name, config.peer.name
    if record is None:
        return []  # not yet a host of a pair, or no longer
    if record.mode is Mode.SOLO and record.primary == (peer if standby else me):
        return []
    if standby and record.primary == me:
        hint = "Start the daemon and let it bring this host to its role; pgvip status says what it waits for."
        return [RefusedError("the record says that this host is primary, and its database is a standby", "", hint)]
    if not standby and record.primary == peer:
        hint = f"Start the daemon: it makes this host follow {peer}, or says what keeps it from that."
        return [RefusedError(f"the record says that {peer} is primary, and this database is not a standby", "", hint)]
    if standby:
        detail = f"{peer} may be waiting for it with every commit, and powers this host off when it is gone."
        return [RefusedError(f"{peer} counts on this standby", detail, "Run pgvip leave here first.")]
    hint = f"On {peer}: pgvip leave, then pgvip uninstall. Then run this again."
    return [RefusedError(f"{peer} is the standby of this primary, and may take its role over", "", hint)]


def only_observed(config: Config) -> bool:
    """Nothing on this host is pgvip's but its state: another tool runs the pair."""
    return observe_setup.has_only_observed(config, RecordStore(config.paths.record).load() or Durable())


def observing_problems(config: Config) -> list[PgvipError]:
    """A pair that pgvip ran before and only observes now: what it has made there may serve another tool."""
    if not observes(config) or only_observed(config):
        return []
    what = 'pgvip only observes this pair: pair.mode is "observe", and what it had made before is still there'
    detail = "To take that away is a change of PostgreSQL, which another tool may run now."
    hint = 'Where none does: write mode = "normal", leave pgvip stopped, and run this again.'
    return [RefusedError(what, detail, hint)]


def server_problems(config: Config, *, standby: bool) -> list[PgvipError]:
    """A server that does not run where it must, objects of others, a standby that still follows."""
    if enrolment.is_empty(config.postgres.data_directory):
        return []
    if not enrolment.is_running(config):
        if standby:
            return []
        hint = "Start it: pgvip's daemon does, or its unit."
        return [PostgresError("the server does not run, and pgvip's roles and slots are in it", "", hint)]
    if standby:
        return []
    found: list[PgvipError] = []
    if active := _ask(config, ACTIVE, slots=_array(own_slots(config))).strip():
        hint = f"On {config.peer.name}: pgvip uninstall; it stops that standby, or has it follow in another way."
        found.append(PostgresError(f"{config.peer.name} still follows this server (slot {active})", "", hint))
    if others := _script(config, "uninstall_others").strip().splitlines():
        more = [f"and {len(others) - NAMED_MAX} more"] if len(others) > NAMED_MAX else []
        hint = "Give them to another role (REASSIGN OWNED, ALTER ... SET SCHEMA), or drop them."
        what = "pgvip's schema or roles have objects that pgvip did not make"
        found.append(PostgresError(what, "\n" + "\n".join(f"- {one}" for one in [*others[:NAMED_MAX], *more]), hint))
    return found


def following_problems(config: Config, conninfo: str, slot: str) -> list[PgvipError]:
    """A standby that is to follow by a connection string of the administrator's: whether that leads anywhere."""
    system_id = pgtools.control_data(config).system_id
    if SLOT.fullmatch(slot) is None:
        return [RefusedError(f"not the name of a slot: {slot}", hint="It has lower-case letters, digits, underscores.")]
    if any(role in conninfo for role in ROLES) or slot.startswith(slots.OWN_PREFIX):
        return [RefusedError("pgvip's own roles and slots go: --follow needs a role of yours, --slot a slot of yours")]
    if not enrolment.is_running(config):
        return [PostgresError("the server does not run", "", "Start it, so that it is seen to follow.")]
    try:
        said = second_host.identified(config, conninfo)
    except CommandError as failure:
        hint = "It needs a role with REPLICATION, and a line for it in pg_hba.conf (database replication) there."
        return [PostgresError("the server that --follow names refuses replication", failure.detail, hint)]
    if system_id not in said:
        return [PostgresError("the server that --follow names is another database cluster")]
    return []


# --- what goes -------------------------------------------------------------------------------------------------


def stop_daemon(config: Config) -> None:
    """Stop the daemon, and disable it; no role moves by that. Without systemd it must be stopped already."""
    if units.has_systemd():
        present = [unit for unit in DAEMON_UNITS if units.load_state(unit) == "loaded"]
        if present:
            check(["systemctl", "disable", "--now", *present], timeout_s=SYSTEMD_S)
    enrolment.refuse_daemon(config)


def drop_slots(config: Config, *, standby: bool) -> None:
    """Drop the slots that pgvip keeps for the hosts; on a standby also its copies of the primary's."""
    names = own_slots(config)
    if standby:
        names |= slots.copies(config)
    _ask(config, DROP_SLOTS, slots=_array(names))


def own_slots(config: Config) -> frozenset[str]:
    """Names of the slots that pgvip makes for its hosts."""
    hosts = (config.me.name, config.peer.name)
    return frozenset(name(host) for host in hosts for name in (pgconf.slot_name, slots.copy_slot_name))


def _array(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _ask(config: Config, query: str, **words: str) -> str:
    """Ask with psql's variables; the words are names that need no escape."""
    return pgtools.psql(config, "".join(f"\\set {name} '{word}'\n" for name, word in words.items()) + query)


def drop_roles(config: Config) -> None:
    """Drop the schema, then take the roles' rights in every database where they have some, then drop the roles."""
    _script(config, "uninstall")
    for database in _ask(config, WITH_RIGHTS, roles=_array(ROLES)).splitlines():
        _script(config, "uninstall_rights", database)
    drop = f"DROP ROLE IF EXISTS {', '.join(ROLES)};"
    pgtools.psql(config, f"SET synchronous_commit = 'local';\nSET client_min_messages = warning;\n{drop}")


def have_roles(config: Config) -> bool:
    """Whether one of the roles or the schema is there."""
    return _ask(config, HAVE_ROLES, roles=_array(ROLES)).strip() == "t"


def _script(config: Config, name: str, database: str = "") -> str:
    text = sql.load_sql(name, enrolment.program_version(config))
    return pgtools.psql(config, text, timeout_s=SQL_TIMEOUT_S, database=database)


def others_set(config: Config) -> frozenset[str]:
    """Names of the settings that other files than pgvip.conf set; what is not known may be one that stops commits."""
    if not enrolment.is_running(config):
        return frozenset({"synchronous_standby_names"})
    return frozenset(_ask(config, OTHERS_SET, file=pgconf.FILE_NAME).split())


def reread_access(config: Config) -> None:
    """Have a running server read pg_hba.conf again."""
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is not None:
        processes.send(postmaster, signal.SIGHUP)


def await_following(config: Config, slot: str) -> None:
    """See that the standby streams by the new connection string: not as pgvip's role. PostgresError."""
    wait_until(
        lambda: _ask(config, FOLLOWS, role=sql.REPLICATION_ROLE, slot=slot).strip() == "1",
        second_host.STREAM_S,
        every_s=0.2,
        what="streaming by the new connection string",
        error=PostgresError,
    )


# --- this host --------------------------------------------------------------------------------------------------


def starts_at_boot(config: Config) -> bool:
    """Whether something starts the server at boot."""
    return bool(units.auto_starts(config.postgres.data_directory, config.postgres.unit))


def start_at_boot(config: Config) -> str:
    """Have the server started at boot again: by Debian's start.conf, or by its unit. "" or why nothing does."""
    found = units.start_files(config.postgres.data_directory)
    for file in found:
        units.make_automatic(file)
    unit = config.postgres.unit
    if not units.has_systemd():
        return "" if found else "systemd does not run here; pgvip started it by pg_ctl"
    if found:
        check(["systemctl", "daemon-reload"], timeout_s=SYSTEMD_S)
    elif unit == OWN_UNIT:  # it has no [Install] section
        check(["systemctl", "add-wants", "multi-user.target", unit], timeout_s=SYSTEMD_S)
    elif unit:
        check(["systemctl", "enable", unit], timeout_s=SYSTEMD_S)
    else:
        return "postgresql.unit is empty; enable the unit that is to start it (systemctl enable NAME)"
    return ""


def has_export() -> bool:
    """Whether pgvip's file of exports is there."""
    return export.FILE.exists()


def remove_export() -> None:
    """Remove it, and have the NFS server read what is left. MountError."""
    try:
        export.FILE.unlink(missing_ok=True)
        if shutil.which("exportfs", path="/usr/sbin:/sbin:/usr/bin:/bin"):
            check(["exportfs", "-ra"], timeout_s=export.EXPORTFS_S)
    except OSError as failure:
        raise MountError(f"could not remove {export.FILE}", f"{failure}.") from failure


def is_mounted(config: Config) -> bool:
    """Whether the other host's archive is mounted here."""
    archive = config.archive
    return archive.enabled and not archive.by_link and mounts.mounted(archive.peer_mount) is not None


def put_state_aside(config: Config) -> Path:
    """Move the pair's record, identity and root's keys into a directory named by the time: nothing acts on them again.

    A new `pgvip init` begins anew then.
    """
    state = config.paths.state
    aside = state / time.strftime("uninstalled-%Y%m%d-%H%M%S", time.gmtime())
    try:
        aside.mkdir(mode=0o700)
        # The record last: until then, a repetition knows what this host was.
        for name in reversed(STATE_FILES):
            if (state / name).exists():
                files.rename(state / name, aside / name)
    except OSError as failure:
        raise ActionError(f"could not move the pair's record to {aside}", f"{failure}.") from failure
    return aside


def has_state(config: Config) -> bool:
    """Whether this host has a record or an identity of a pair."""
    return load_identity(config.paths.identity) is not None or config.paths.record.exists()
