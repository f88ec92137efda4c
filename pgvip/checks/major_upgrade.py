"""Whether a new major version can be taken: the checks of `pgvip upgrade-major`, on the primary while it serves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.checks import major_trial
from pgvip.checks.check_table import BY_NAME, Check
from pgvip.checks.finding import Finding, critical, gathered, ok, unknown, warning
from pgvip.checks.subject import Facts, Limits
from pgvip.link.operator_socket import call, raise_failure
from pgvip.state import codec
from pgvip.system import libraries, mounts, new_programs, pgconf, pgtools
from pgvip.text.writing import size

if TYPE_CHECKING:
    from pgvip.checks.major_trial import Counted, Trial
    from pgvip.config.model import Config
    from pgvip.system.new_programs import Programs
    from pgvip.system.sql_shapes import Row

PEER_S = 45.0
SLOTS_KEPT = 17
"""From this version of the old server on, pg_upgrade keeps logical slots (its manual page)."""
SEGMENT_BYTES = 16 << 20
NEW_DATABASE_BYTES = 10 << 20
NEW_CLUSTER_BYTES = 64 << 20
"""What an empty database has, and an empty cluster, rounded up: with links nothing else is new."""
PLACES = frozenset({
    "config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "stats_temp_directory",
    "cluster_name", "synchronous_standby_names", "synchronized_standby_slots",
})  # fmt: skip
"""Settings of the old cluster alone, and those of the core: the new one's are others."""
HINTS = {
    "vacuum_defer_cleanup_age": "hot_standby_feedback or a replication slot does it",
    "force_parallel_mode": "it is debug_parallel_query now",
    "promote_trigger_file": "pgvip promotes without it",
    "wal_keep_segments": "it is wal_keep_size now",
}
REUSED = ("database", "daemon", "role", "peer", "hold", "attached", "versions")
"""Of `pgvip check`: the pair is whole before it is taken apart."""
CHECKS = (
    *(BY_NAME[name] for name in REUSED),
    Check("pair", "major_upgrade.pair", "there is a standby, and no pause"),
    Check("programs", "major_upgrade.programs", "the new version is installed on this host"),
    Check("programs-peer", "major_upgrade.programs_peer", "and on the other one", waits=True),
    Check("new-directory", "major_upgrade.directory", "the new data directory is free, and can have links", waits=True),
    Check("room", "major_upgrade.room", "there is space for the new data on both hosts", waits=True),
    Check("pg-upgrade", "major_upgrade.upgrade", "pg_upgrade --check, with an empty cluster", waits=True),
    Check("new-settings", "major_upgrade.settings", "the new version takes the settings", waits=True),
    Check("access", "major_upgrade.access", "the new version takes pg_hba.conf", waits=True),
    Check("libraries", "major_upgrade.preloaded", "the libraries of the settings are there, on both hosts", waits=True),
    Check("slots-kept", "major_upgrade.slots", "which replication slots are lost"),
    Check("prepared", "major_upgrade.prepared", "there are no prepared transactions"),
    Check("tablespaces", "major_upgrade.tablespaces", "what tablespaces make different"),
    Check("page", "major_upgrade.page", "the pair is one for which the steps are written"),
)


class UpgradeFacts(Facts):
    """What these checks read. `directory`: of the new programs; `data`: of the new cluster, "" for the usual one."""

    def __init__(self, config: Config, directory: Path, data: str) -> None:
        super().__init__(config, Limits())
        self.directory, self.data = directory, data

    @property
    def old(self) -> int:
        """The major version now."""
        return self.once("old", lambda: pgtools.major_version(self.config.postgres.data_directory))

    @property
    def new(self) -> Programs:
        return self.once("new", lambda: new_programs.describe(self.config, self.directory, self.data))

    @property
    def peer_new(self) -> Programs:
        return self.once("peer new", self._ask_peer)

    def _ask_peer(self) -> Programs:
        question = {"command": "programs", "directory": str(self.directory), "data": self.data}
        reply = call(self.config.paths.socket, question, PEER_S)
        raise_failure(reply)
        return codec.decode(new_programs.Programs, reply["programs"])

    @property
    def trial(self) -> Trial:
        return self.once("trial", self._try)

    def _try(self) -> Trial:
        order = major_trial.Order(
            new=self.directory,
            data=Path(self.new.data),
            options=self.options,
            settings=self.settings,
            hba_file=str(self.local("same_places")[0][0]),
        )
        return major_trial.trial(self.config, order)

    @property
    def options(self) -> tuple[str, ...]:
        """What initdb must be called with, so that the new cluster is like the old one."""
        control = self.once("control", lambda: pgtools.control_data(self.config))
        row, segment = self.local("template")[0], control.segment_bytes
        return (*locale_options(row), *storage_options(self.new.major, checksums=control.checksums, segment=segment))

    @property
    def settings(self) -> dict[str, str]:
        """What the old server's files set, for the new ones: without pgvip's, and without what is a place."""
        ours = pgconf.owned(self.config, self.old) | pgconf.owned(self.config, self.new.major) | PLACES
        found = {str(row[0]): str(row[2]) for row in self.local("same_settings") if row[1]}
        return {name: value for name, value in found.items() if name not in ours and not name.startswith("recovery_")}

    @property
    def counted(self) -> Counted:
        return self.once("files", lambda: major_trial.count_files(self.config))


def locale_options(row: Row) -> tuple[str, ...]:
    """Options of initdb by the row of template.sql.

    >>> locale_options(("UTF8", "C", "C", "i", "de"))[2:]
    ('--lc-ctype=C', '--locale-provider=icu', '--icu-locale=de')
    """
    encoding, collate, ctype, provider, name = row
    words = [f"--encoding={encoding}", f"--lc-collate={collate}", f"--lc-ctype={ctype}"]
    if provider == "i":
        words += ["--locale-provider=icu", f"--icu-locale={name}"]
    if provider == "b":
        words += ["--locale-provider=builtin", f"--builtin-locale={name}"]
    return tuple(words)


def storage_options(major: int, *, checksums: bool, segment: int) -> tuple[str, ...]:
    """Options of initdb for checksums and the size of WAL files. From 18 on checksums are the default.

    >>> storage_options(18, checksums=False, segment=64 << 20), storage_options(17, checksums=False, segment=16 << 20)
    (('--no-data-checksums', '--wal-segsize=64'), ())
    """
    words = ["--data-checksums"] if checksums else ["--no-data-checksums"] if major >= 18 else []
    return (*words, *([] if segment == SEGMENT_BYTES else [f"--wal-segsize={segment >> 20}"]))


def pair(facts: UpgradeFacts) -> Finding:
    """The old standby is the way back."""
    bad = list[Finding]()
    if facts.alone:
        text = f"{facts.config.me.name} serves alone: there is no standby, which is the way back"
        bad.append(critical(text, "bring the other host back: pgvip status"))
    if facts.durable is not None and facts.durable.pause.active:
        bad.append(critical("the pair is paused", "pgvip resume"))
    return gathered(f"{facts.config.peer.name} is the standby, and stays the way back", bad)


# --- the new version -----------------------------------------------------------------------------------------


def programs(facts: UpgradeFacts) -> Finding:
    """The new version is installed here."""
    return gathered(f"PostgreSQL {facts.new.version} is in {facts.directory}", _programs(facts, facts.new))


def programs_peer(facts: UpgradeFacts) -> Finding:
    """The other host has the same."""
    found, name = facts.peer_new, facts.config.peer.name
    bad = list(_programs(facts, found))
    if found.version != facts.new.version:
        text = f"PostgreSQL {found.version} there, {facts.new.version} here"
        same = found.major == facts.new.major
        bad.append((warning if same else critical)(text, "install the same version on both"))
    return gathered(f"PostgreSQL {found.version} is in {facts.directory} on {name}", bad)


def _programs(facts: UpgradeFacts, found: Programs) -> Iterator[Finding]:
    if found.major <= facts.old:
        yield critical(f"PostgreSQL {found.version} is not newer than {facts.old}, which runs now", "see --to")
    if found.missing:
        yield critical(f"missing in {facts.directory}: {', '.join(found.missing)}", "install the whole server package")
    if not found.tls and facts.config.postgres.tls != "off":
        yield critical("this build has no TLS, which the pair uses", "install one that has, or postgresql.tls = off")


def directory(facts: UpgradeFacts) -> Finding:
    """The new data directory."""
    return gathered(f"{facts.new.data} is free, and on the file system of the old data", _directory(facts))


def _directory(facts: UpgradeFacts) -> Iterator[Finding]:
    for host, found in _both(facts):
        hint = "name another one with --data; where Debian's package has made an empty cluster: pg_dropcluster --stop"
        if not found.empty:
            yield critical(f"{found.data} on {host} is not empty", hint)
        elif not found.writable:
            user = facts.config.postgres.user
            text = f"{user} cannot make {found.data} on {host}"
            yield critical(text, f"on {host}: install -d -m 0700 -o {user} {found.data}")
    if not facts.new.same_disk:
        text = f"{facts.new.data} is on another file system: pg_upgrade has to copy, the outage grows with the data"
        yield warning(text, f"--data a directory on the file system of {facts.config.postgres.data_directory}")


def _both(facts: UpgradeFacts) -> tuple[tuple[str, Programs], tuple[str, Programs]]:
    return (facts.config.me.name, facts.new), (facts.config.peer.name, facts.peer_new)


def room(facts: UpgradeFacts) -> Finding:
    """Space: with links for the catalogs alone; for a whole copy on the other host, whose old data stay."""
    databases, wal = facts.local("cluster_bytes")[0]
    count = len(facts.local("database_names")) + 1  # and template0
    here = NEW_CLUSTER_BYTES + (NEW_DATABASE_BYTES * count if facts.new.same_disk else databases)
    bad = list[Finding]()
    for (host, found), needed in zip(_both(facts), (here, databases + wal), strict=True):
        if found.free_bytes < needed:
            text = f"{found.data} on {host} has {size(found.free_bytes)} free, and about {size(needed)} are needed"
            bad.append(critical(text, "make space, or name another directory with --data"))
    return gathered(f"there is space on both hosts; the copy on {facts.config.peer.name} takes {size(databases)}", bad)


def upgrade(facts: UpgradeFacts) -> Finding:
    """What pg_upgrade itself says."""
    found = facts.trial
    linked = " --link" if found.linked else ""
    hint = "repair it, then run this again"
    bad = [critical(text, hint) for text in found.upgrade]
    return gathered(f"pg_upgrade --check{linked} has no objection", bad)


def settings(facts: UpgradeFacts) -> Finding:
    """The settings of the files."""
    bad = [warning(text, _way_out(text)) for text in facts.trial.settings]
    return gathered(f"version {facts.new.major} takes all {len(facts.settings)} settings of the files", bad)


def _way_out(said: str) -> str:
    known = next((f"; {hint}" for name, hint in HINTS.items() if f'"{name}"' in said), "")
    return f"leave it out of the new postgresql.conf, or correct it there{known}"


def access(facts: UpgradeFacts) -> Finding:
    """pg_hba.conf."""
    hint = "clients that come by it are refused: give them another method before"
    return gathered(f"version {facts.new.major} takes every line of pg_hba.conf",
                    [critical(f"pg_hba.conf {text}", hint) for text in facts.trial.access])  # fmt: skip


def preloaded(facts: UpgradeFacts) -> Finding:
    """Libraries that the settings name. pg_upgrade --check loads those of functions, on this host alone."""
    named = {one for name in libraries.PRELOADED for one in libraries.named(facts.settings.get(name, ""))}
    for _, text in facts.local("same_libraries"):
        named.update(libraries.named(str(text)))
    bad = list[Finding]()
    for host, found in _both(facts):
        if named and not found.libraries:
            bad.append(unknown(f"the directory of libraries beside {facts.directory} on {host} was not found"))
            continue
        bad += [critical(f"library {one} is not in version {found.major} on {host}", "install it for that version")
                for one in libraries.missing(sorted(named), found.libraries)]  # fmt: skip
    return gathered(f"libraries that the settings name are there on both hosts: {len(named)}", bad)


# --- the database --------------------------------------------------------------------------------------------


def slots(facts: UpgradeFacts) -> Finding:
    """Slots of others: pg_upgrade keeps logical ones from 17 on, and no physical ones."""
    kept, lost = list[str](), list[Finding]()
    for name, kind, _, temporary, *_ in facts.local("check_slots"):
        if temporary or str(name).startswith("pgvip_"):
            continue
        if kind == "logical" and facts.old >= SLOTS_KEPT:
            kept.append(str(name))
        elif kind == "logical":
            hint = "have its subscriber read all before the outage, and make slot and subscription again"
            lost.append(warning(f"logical slot {name} is lost: versions before {SLOTS_KEPT} keep none", hint))
        else:
            lost.append(warning(f"slot {name} is lost", "make it again, and its standby from a new copy"))
    words = f"pg_upgrade keeps: {', '.join(kept)}" if kept else "there are no replication slots of others"
    return gathered(words, lost)


def prepared(facts: UpgradeFacts) -> Finding:
    """Prepared transactions."""
    bad = [critical(f"transaction {gid!r} is prepared in database {name}", "COMMIT PREPARED or ROLLBACK PREPARED")
           for gid, name in facts.local("prepared")]  # fmt: skip
    return gathered("there are no prepared transactions", bad)


def tablespaces(facts: UpgradeFacts) -> Finding:
    """Both versions have directories in each tablespace; the steps do not remove the old ones."""
    found = [str(place) for _, place in facts.local("tablespaces")]
    if not found:
        return ok("there are no tablespaces")
    text = f"the old version's directory stays in each tablespace: {', '.join(found)}"
    return warning(text, f"at the end, remove PG_{facts.old}_* there too, on both hosts")


def page(facts: UpgradeFacts) -> Finding:
    """What the steps do not cover."""
    return gathered("the steps are for a pair like this one", _page(facts.config))


def _page(config: Config) -> Iterator[Finding]:
    if config.witness.configured:
        hint = "take [witness] out before (pgvip config apply), and put it back when both hosts follow again"
        yield critical("the pair has a witness, which knows the old pair only", hint)
    archive, state = config.archive.directory, config.paths.state
    if config.archive.enabled and state not in archive.parents:
        hint = f"after 'The outage begins', on both hosts: mv {archive} {archive}.old"
        yield warning(f"{archive} is not below {state}: WAL of both versions would be in one archive", hint)
    elif config.archive.enabled and str(archive) in mounts.below(state):
        hint = "move what is in it into a directory of its own there, in place of the mount point"
        yield warning(f"{archive} is a mount point, which the steps cannot move", hint)
    if config.postgres.config_directory != config.postgres.data_directory:
        text = "the configuration is apart from the data (Debian): no test runs these steps"
        yield warning(text, f"try them on a copy first; see {pgtools.UPGRADE}")
    if config.postgres.unit and not any(mark.isdigit() for mark in config.postgres.unit):
        hint = f"have it start the new ones: systemctl edit {config.postgres.unit}, before the last steps"
        yield warning(f"{config.postgres.unit} names the old programs and data", hint)
    if os.path.ismount(config.postgres.data_directory):
        yield warning(f"{config.postgres.data_directory} is a mount point, which the way back cannot rename",
                      "name a directory in the same file system with --data")  # fmt: skip
