"""`pgvip init`: make this host the first of a pair, with a new database or one that is in service."""

from __future__ import annotations

import argparse
import dataclasses
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from pgvip.actions import postgres, replication
from pgvip.checks import other_managers
from pgvip.checks.configuration import host_problems
from pgvip.cli.archive_export import add_exports, run_exports
from pgvip.cli.bundle import tell_daemon
from pgvip.cli.init_report import next_steps
from pgvip.cli.output import put
from pgvip.cli.steps import (
    Step,
    add_beside,
    add_dry_run,
    refuse,
    require_root,
    run_steps,
    start_at_boot,
    warn,
    warn_of_host,
)
from pgvip.config.load import load
from pgvip.config.model import Config
from pgvip.config.observing import observes
from pgvip.core.values import BootFacts, Durable, Mode, Record
from pgvip.errors import PgvipError, PostgresError, RecordError, RefusedError
from pgvip.setup import access, bundles, enrolment, network, observe_setup, server_keys
from pgvip.setup.hands import Hands
from pgvip.state.last_observed import Observed, forget_observed, save_observed
from pgvip.state.record import PairIdentity, RecordStore, load_identity, save_boot_facts, save_identity
from pgvip.system import pgtools, privileges
from pgvip.system.boot import boot_identity

HELP = "make this host the first of a pair (a new database, or one in service)"
FIRST_TERM = 2
"""The smallest term of the first host, whose terms are even (docs/protocol.md, "The record")."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `init`."""
    parser.description = (
        "Prepare PostgreSQL, make roles, certificates and the pair's record, and write the bundle for the second host. "
        "A database in service goes on serving; settings that need a restart are listed. "
        "Run again, it goes on where it was interrupted, or makes a new bundle. "
        "Example: pgvip init --bundle /root/pair.bundle"
    )
    parser.add_argument("--bundle", type=Path, metavar="PATH", help="where to write the bundle [STATE/bundle]")
    parser.add_argument(
        "--allow",
        type=access.parse_allowed,
        action="append",
        default=[],
        metavar="CIDR[=METHOD]",
        help="let applications of a network in, by password or METHOD (repeatable)",
    )
    parser.add_argument("--restart", action="store_true", help="restart a database in service if settings need it")
    parser.add_argument("--start", action="store_true", help="leave the server running, also when it was not")
    parser.add_argument("--locale", default="C.UTF-8", help="locale of a new database cluster [%(default)s]")
    parser.add_argument(
        "--replace-archive-command", action="store_true", help="give up the archive_command that is there now"
    )
    parser.add_argument("--take-over-unit", action="store_true", help="set what starts the server at boot to manual")
    parser.add_argument("--accept-vip-in-use", action="store_true", help="go on though another host answers for a VIP")
    add_beside(parser)
    add_exports(parser)
    add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Set the first host up. Returns the exit code."""
    require_root()
    config = load(args.config, args.host)
    hands = Hands(lambda: make_own(config))
    privileges.give_up(config)
    setup = Setup(config, args, hands)
    setup.check()
    put(f"{config.me.name}: first host of the pair {config.name}", flush=True)
    if not setup.durable.record:
        for what, hint in network.gateway_warnings(config):
            warn(what, hint)
    if observes(config):
        setup.observe()
        return 0
    warn_of_host(config)
    start_at_boot(config, take_over=args.take_over_unit, dry_run=args.dry_run)
    setup.run()
    run_exports(args, config)
    setup.report()
    return 0


def make_own(config: Config) -> None:
    """What is root's own, and the places of PostgreSQL's user in there."""
    enrolment.make_directories(config)
    access.ensure_passwords(config)


class Setup:
    """One run of `init`."""

    def __init__(self, config: Config, args: argparse.Namespace, hands: Hands) -> None:
        self.config, self.args, self.hands = config, args, hands
        self.bundle_path: Path = args.bundle or config.paths.state / "bundle"
        self.store = RecordStore(config.paths.record)
        self.version, self.new = 0, enrolment.is_empty(config.postgres.data_directory)
        self.in_service = not self.new and enrolment.is_running(config)
        self.identity = load_identity(config.paths.identity)
        self.durable = self.store.load() or Durable()

    # --- pre-checks ---------------------------------------------------------------------------------------

    def check(self) -> None:
        """Everything that can be known before anything changes; raises it all at once."""
        config = self.config
        found: list[PgvipError] = [*host_problems(config)]
        refuse(found)
        pgtools.account(config)
        if observes(config):
            refuse(self._formed_pair())
            refuse([*self._identity_problems(), *observe_setup.primary_problems(config)])
            return
        self.version = enrolment.program_version(config)
        if not self.new:  # first, since what else is wrong is not so for a cluster that is not the pair's
            known = self.identity.system_id if self.identity else ""
            refuse(enrolment.misplaced(config, known, enrolment.begins_anew(config)))
        if not self.durable.record:
            enrolment.refuse_daemon(config)
            found += other_managers.problems(config, self.args.beside)
        found += [*enrolment.unit_problems(config), *self._identity_problems(), *self._formed_problems()]
        found += [*self._vip_problems(), *server_keys.problems(config, new=self.new)]
        found += self._new_problems() if self.new else self._cluster_problems()
        refuse(found)

    def _formed_pair(self) -> list[PgvipError]:
        """With `pair.mode = "observe"`: a pair that pgvip has run before has all that it needs to be observed."""
        if self.durable.record is None:
            return []
        hint = "Start pgvip again with the new mode, on both hosts; a new bundle would make their keys invalid."
        return [RefusedError("this host belongs to a pair already", "", hint)]

    def _identity_problems(self) -> list[PgvipError]:
        if self._formed:
            return []  # either host may be its primary
        if self.identity is not None and self.identity.first != self.config.me.name:
            return [
                RefusedError(
                    f"{self.identity.first} is the first host of this pair, not {self.config.me.name}",
                    hint=f"Run pgvip init on {self.identity.first}; on this host, pgvip clone or pgvip join. "
                    f"If {self.identity.first} has lost its state: pgvip bundle here, and pgvip clone there.",
                )
            ]
        complete = self.identity is not None and (self.config.paths.certificates / "own.key").exists()
        if complete and self.durable.record is None and not observe_setup.has_only_observed(self.config, self.durable):
            # A new one would say that this host may serve, whatever has become of the pair since.
            return [
                RecordError(
                    "this host belongs to a pair and its record is lost",
                    f"{self.config.paths.record} is made before the certificates, which are there.",
                    "Start the daemon: it takes the record from its peer. "
                    "If the peer has none: pgvip promote --force on the host whose data shall live.",
                )
            ]
        return []

    @property
    def _formed(self) -> bool:
        """The pair has begun: the second host has the keys that were made for it."""
        return self.durable.record is not None and self.durable.record.term > FIRST_TERM

    def _formed_problems(self) -> list[PgvipError]:
        record = self.durable.record
        if record is None or not self._formed or self.args.restart:
            return []
        serves = record.primary == self.config.me.name and self.in_service
        if serves and (self.args.bundle is None or self.bundle_path.exists()):
            return []
        return [
            RefusedError(
                "the pair is at work already, and init writes no bundle for it"
                if serves
                else f"the pair is at work already, and {record.primary} is its primary",
                f"Init adds what is missing where PostgreSQL takes writes. A bundle means new keys for "
                f"{self.config.peer.name}, and its present ones would be invalid.",
                f"Run pgvip init on {record.primary}, while PostgreSQL runs there, without --bundle. "
                f"If {self.config.peer.name} has lost its state: pgvip bundle {self.bundle_path}",
            )
        ]

    def _vip_problems(self) -> list[PgvipError]:
        """Somebody else holds a VIP: only before there is a record, later the daemon asks."""
        if self.durable.record:
            return []
        found = network.vip_problems(self.config)
        if not self.args.accept_vip_in_use:
            return found
        for problem in found:
            warn(problem.message, problem.hint)
        return []

    def _new_problems(self) -> list[PgvipError]:
        config = self.config
        if self.durable.record or self.identity:
            return [
                RecordError(
                    f"this host belongs to a pair, but {config.postgres.data_directory} is empty",
                    hint=f"Clone it from the peer, or remove {config.paths.state} to begin again.",
                )
            ]
        if config.postgres.config_directory != config.postgres.data_directory:
            words = config.postgres.config_directory.parts[-2:]
            hint = f"Run pg_createcluster --start-conf manual {' '.join(words)} -- --data-checksums, then this again."
            return [PostgresError(f"there is no cluster in {config.postgres.data_directory}", hint=hint)]
        return []

    def _cluster_problems(self) -> list[PgvipError]:
        config = self.config
        if self.durable.record:
            return []
        found = enrolment.weak_settings(config)
        control = pgtools.control_data(config)
        if pgtools.is_there(config.postgres.data_directory / "standby.signal") or "recovery" in control.state:
            found.append(PostgresError("this cluster is a standby", hint="Run pgvip init on its primary."))
        foreign = enrolment.foreign_archiving(config)
        if foreign and not self.args.replace_archive_command:
            found.append(
                PostgresError(
                    "the server has an archive_command of its own",
                    f"It is: {foreign}.",
                    "Keep it with archive.enabled = false, or give it up with --replace-archive-command.",
                )
            )
        if not control.rewindable:
            warn(
                "the cluster has no data checksums; pgvip sets wal_log_hints instead, which needs a restart",
                "pg_checksums --enable turns them on while the server is down.",
            )
        return found

    def observe(self) -> None:
        """`pair.mode = "observe"`: what pgvip needs of its own, and no more; no record says that it may act."""
        config = self.config
        keys = Step("keys and certificates that PostgreSQL will use", lambda: server_keys.ensure_own(config),
                    lambda: server_keys.is_complete(config))  # fmt: skip
        steps = [
            Step("directories for pgvip's state", self.hands.do, lambda: enrolment.directories_ready(config)),
            *([keys] if server_keys.used(config) else []),
            Step("identity of the pair", self._identify, lambda: self.identity is not None),
            Step("note that pgvip only observes",
                 lambda: save_observed(config.paths.state, Observed(config.me.name))),
            Step(f"certificates, and bundle for {config.peer.name} in {self.bundle_path}", self._bundle),
        ]  # fmt: skip
        run_steps(steps, dry_run=self.args.dry_run)
        if self.args.dry_run:
            put("nothing was changed (--dry-run)", flush=True)
            return
        put("PostgreSQL was left as it is. Where pgvip may not log in yet, by hand:", flush=True)
        put("\n".join(f"  {line}" for line in observe_setup.ROLE), flush=True)
        put(f"Next: pgvip join {self.bundle_path} on {config.peer.name}, then start pgvip on both hosts.", flush=True)

    # --- steps ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what is left to do."""
        kept = observe_setup.keeps_bundle(self.config, self.durable, self.bundle_path)
        if self.durable.record is None:
            self._prepare()
        elif self.args.restart:
            self._refuse_pair(self.durable.record)
            run_steps([Step("restart, if settings need it", self._restart_if_needed)], dry_run=self.args.dry_run)
        if self._formed:
            if not self.args.restart:
                self._put_back()
            return  # its keys stay: pgvip bundle makes new ones
        title = f"certificates, and bundle for {self.config.peer.name} in {self.bundle_path}"
        run_steps([Step(title, self._bundle, kept)], dry_run=self.args.dry_run)

    def _put_back(self) -> None:
        """What pgvip needs of the server of a formed pair, where somebody has removed it; the standby follows."""
        steps = [
            Step("pg_hba.conf and pg_ident.conf", lambda: enrolment.write_access(self.config, self.args.allow)),
            Step("roles, schema and heartbeat row",
                 lambda: enrolment.make_roles(self.config, access.ensure_passwords(self.config))),
        ]  # fmt: skip
        run_steps(steps, dry_run=self.args.dry_run)

    def _prepare(self) -> None:
        config, args = self.config, self.args
        passwords = "" if server_keys.used(config) else ", passwords of pgvip's roles"
        before = [
            Step(f"directories for state and archive{passwords}", self.hands.do,
                 lambda: enrolment.directories_ready(config) and access.passwords_ready(config)),
            Step(f"new database cluster in {config.postgres.data_directory}",
                 lambda: enrolment.make_cluster(config, args.locale), lambda: not self.new),
            *([Step("keys and certificates for PostgreSQL", lambda: server_keys.ensure_own(config),
                    lambda: server_keys.is_complete(config))] if server_keys.used(config) else []),
            Step("pg_hba.conf and pg_ident.conf", lambda: enrolment.write_access(config, args.allow)),
        ]  # fmt: skip
        inside = [
            Step("roles, schema and heartbeat row",
                 lambda: enrolment.make_roles(config, access.ensure_passwords(config))),
            Step("PostgreSQL settings (pgvip.conf)", lambda: enrolment.write_settings(config, self.version)),
            Step("replication slot for the second host", lambda: replication.ensure_slot(config)),
            Step("check what is set for roles and databases", self._weak_roles),
        ]  # fmt: skip
        after = [
            Step("restart, if settings need it", self._restart_if_needed),
            Step("identity of the pair", self._identify, lambda: self.identity is not None),
            Step("record: this host serves alone", self._record),
        ]
        run_steps(before, dry_run=args.dry_run)
        with ExitStack() as stack:
            if not args.dry_run:
                enrolment.write_settings(config, self.version) if not self.in_service else None
                stack.enter_context(enrolment.private_server(config))
            run_steps(inside, dry_run=args.dry_run)
        if args.start:
            after.append(Step("start of the server", self._start))
        run_steps(after, dry_run=args.dry_run)

    def _weak_roles(self) -> None:
        for sentence in enrolment.weak_roles(self.config):
            warn(f"{sentence}: commits there are not protected by the standby")

    def _restart_if_needed(self) -> None:
        if not self.in_service:
            return
        pending = enrolment.pending_restart(self.config)
        if pending and self.args.restart:
            postgres.stop(self.config, clean=True)
            postgres.start(self.config, standby=False, sync=False)
        elif pending:
            warn(
                f"needs a restart of the server, and is not in force yet: {', '.join(pending)}",
                "Run pgvip init --restart before the daemon is started, or restart the server when it suits.",
            )

    def _refuse_pair(self, record: Record) -> None:
        """Once the pair has begun, a restart is the daemon's affair: it knows about the synchronous standby."""
        enrolment.refuse_daemon(self.config)
        if record.mode is Mode.PAIR or record.primary != self.config.me.name:
            raise RefusedError("the pair is at work already", hint="Restart PostgreSQL by: pgvip restart")

    def _start(self) -> None:
        system_id = self.identity.system_id if self.identity else ""
        postgres.start(self.config, standby=False, sync=False, system_id=system_id)

    def _identify(self) -> None:
        system_id = pgtools.control_data(self.config).system_id
        self.identity = PairIdentity(str(uuid.uuid4()), system_id, self.config.me.name, self.config.peer.name)
        save_identity(self.config.paths.identity, self.identity)

    def _record(self) -> None:
        """The first host serves, alone until a standby follows; it has been read-write: `served` (docs/protocol.md)."""
        if self.identity is None:
            raise RecordError("no identity was written")
        record = Record(
            pair_id=self.identity.pair_id,
            system_id=self.identity.system_id,
            term=FIRST_TERM,
            primary=self.config.me.name,
            mode=Mode.SOLO,
            sync=self.config.settings.sync,
            cause="pgvip init",
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.durable = dataclasses.replace(self.durable, record=record, served=True)
        self.store.save(self.durable)
        # Nobody else can know of this record yet, so for this boot it is confirmed: a database in service is not
        # stopped until a second host, which is not there yet, has been asked.
        facts = BootFacts(confirmed=True, confirmed_term=FIRST_TERM)
        save_boot_facts(self.config.paths.boot_facts, boot_identity(), facts)
        forget_observed(self.config.paths.state)

    def _bundle(self) -> None:
        """New keys for the second host, and for this one where it has none: each run makes earlier bundles invalid."""
        if self.identity is None:
            raise RecordError("no identity was written")
        bundles.make(self.config, self.identity, self.bundle_path)
        tell_daemon(self.config)

    def report(self) -> None:
        """Say what comes next."""
        stopped = not self.in_service and not self.args.start
        text = next_steps(self.config, self.bundle_path, stopped=stopped)
        if self._formed:
            text = "the pair is at work: what was missing is there again; see pgvip check"
        put("nothing was changed (--dry-run)" if self.args.dry_run else text, flush=True)
