"""`pgvip run`: the daemon. Puts its parts together and goes round until told to leave."""

from __future__ import annotations

import argparse
import os
import secrets
import threading
import traceback
from contextlib import suppress
from typing import Any

from pgvip import __version__
from pgvip.actions import clone as cloning
from pgvip.config import Config
from pgvip.config_load import changes, load, reloaded
from pgvip.config_rules import host_problems
from pgvip.core.model import Action, BootFacts, Durable, Identity
from pgvip.daemon import Daemon, LinkChanged, Outside, Received, Snapshot
from pgvip.deadlines import now_s
from pgvip.errors import ConfigError, Exit, PgvipError, RecordError
from pgvip.link.operator import OperatorServer
from pgvip.link.peer import PeerLink
from pgvip.link.tls import load_contexts
from pgvip.orders import Orders
from pgvip.record import PairIdentity, RecordStore, load_boot_facts, load_identity, save_boot_facts
from pgvip.system import lock, processes, service, units
from pgvip.system.boot import boot_identity
from pgvip.watch import Arrivals, ProbeThread
from pgvip.wiring import Actions, Probes
from pgvip.work import Workshop

HELP = "run the daemon (normally started by systemd)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`run` has no arguments of its own."""
    parser.description = "Run pgvip in the foreground. Example: pgvip --config /etc/pgvip/pgvip.toml run"


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM. Returns the exit code."""
    config = load(args.config, args.host)
    identity = load_identity(config.paths.identity)
    if identity is None:
        raise RecordError(
            f'this host belongs to no pair: "{config.paths.identity}" does not exist',
            hint="Run `pgvip init` on the first host, `pgvip clone` or `pgvip join` on the second.",
        )
    if service.under_systemd() and not config.postgres.unit:
        raise ConfigError(
            "postgresql.unit is empty, but pgvip runs as a systemd service",
            "PostgreSQL would live in pgvip's own unit, and be stopped and limited with it.",
            'Name its unit, for example unit = "pgvip-postgres.service".',
        )
    service.log("start", f"pgvip {__version__} on {config.me.name}, pair {config.name}")
    if not config.settings.fencing:
        service.log("no-fencing", f'fencing = "none" for {config.peer.name}: this host never takes over on silence')
    # Beside the start, which must not wait for systemd's answers.
    threading.Thread(target=_tell_auto_starts, args=(config,), name="auto-starts", daemon=True).start()
    for problem in host_problems(config):
        service.log("configuration", f"{problem.message}: {problem.hint}")
    Assembly(config, identity, args).run()
    service.log("leave", "the daemon ends; PostgreSQL and the addresses stay as they are")
    return 0


def _tell_auto_starts(config: Config) -> None:
    """Say what starts the server behind this daemon's back: it would be up before the pair has agreed who serves."""
    try:
        for start in units.auto_starts(config.postgres.data_directory, config.postgres.unit):
            text = "PostgreSQL is started at boot, before the pair has agreed who serves"
            service.log("starts-at-boot", f"{start.what}: {text}; mend: {start.mend}")
    except (PgvipError, OSError) as failure:
        service.log("starts-at-boot", f"could not look for what starts PostgreSQL at boot: {failure}")


def _finish_clone(config: Config) -> None:
    """End a clone that was cut short between its two renames, which left no data directory.

    What it has to do was decided and copied before; nothing is deleted. Where it fails, the daemon runs all the same.
    """
    try:
        if cloning.finish_swap(config):
            service.log("rejoin", "finished the clone that was interrupted")
    except (PgvipError, OSError) as failure:
        service.log("rejoin-failed", f"could not finish the clone that was interrupted: {failure}")


def _crash(failure: threading.ExceptHookArgs) -> None:
    """End the process: a fault in one thread would leave a daemon that looks alive and is not.

    systemd starts it again, which moves no role and stops no PostgreSQL.
    """
    text = "".join(traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback))
    service.log("crash", text)
    os._exit(Exit.FAILED)


class Assembly:
    """The daemon and everything around it."""

    def __init__(self, config: Config, identity: PairIdentity, args: argparse.Namespace) -> None:
        self._args = args
        self._boot_id = boot_identity()
        config.paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock.take(config.paths.run)  # before anything is read that another daemon might be writing
        _finish_clone(config)
        store = RecordStore(config.paths.record)
        who = Identity(self._boot_id, secrets.token_hex(8), now_s(), identity.pair_id, identity.system_id)
        durable = store.settle() or Durable()
        with suppress(FileNotFoundError):
            config.paths.no_restore.unlink()
        self._facts_file = config.paths.boot_facts
        facts = load_boot_facts(self._facts_file, self._boot_id)
        outside = Outside(
            start=self._start,
            kick=self._kick,
            send=self._send,
            keep=self._keep,
            log=service.log,
            alive=lambda: service.notify("WATCHDOG=1"),
            reload=self._reload,
            postmaster=self._watch_postmaster,
        )
        self._daemon = Daemon(config, who, durable, facts, outside)
        inbox = self._daemon.inbox
        probes = Probes(lambda: self._daemon.config, self._shot, self._kick)
        self._threads = {probe.name: ProbeThread(probe, inbox) for probe in probes.all()}
        actions = Actions(lambda: self._daemon.config, store, service.log)
        self._workshop = Workshop(actions.functions(), actions.interrupt, inbox, service.log)
        self._arrivals = Arrivals(lambda: self._kick("processes"), lambda: self._kick("held"))
        self._link = PeerLink(
            (config.me.address, config.link_port),
            (config.peer.address, config.link_port),
            load_contexts(config.paths.certificates),
            lambda text: inbox.put(Received(text)),
            dead_s=max(3.0, 2 * config.settings.dead_after_s),
            on_change=lambda up: inbox.put(LinkChanged(up)),
        )
        self._orders = Orders(self._daemon, self._facts, self._renew_keys)
        self._server = OperatorServer(config.paths.socket, self._orders.handle)

    def run(self) -> None:
        """Start all threads, tell systemd, go round."""
        threading.excepthook = _crash
        for thread in self._threads.values():
            thread.start()
        self._arrivals.start()
        self._link.start()
        self._server.start()
        service.notify("READY=1")
        self._daemon.run()
        service.notify("STOPPING=1")
        self._server.close()
        self._link.close()

    def _shot(self) -> Snapshot | None:
        return self._daemon.snapshot

    def _start(self, action: Action) -> None:
        self._workshop.start(action)

    def _watch_postmaster(self, identity: str) -> None:
        self._arrivals.watch_postmaster(identity)

    def _kick(self, name: str) -> None:
        if name in self._threads:
            self._threads[name].kick()

    def _send(self, text: str) -> None:
        self._link.send(text)

    def _keep(self, facts: BootFacts) -> None:
        save_boot_facts(self._facts_file, self._boot_id, facts)

    def _renew_keys(self) -> None:
        self._link.renew(load_contexts(self._daemon.config.paths.certificates))
        service.log("link", "the certificates were renewed; the peer needs its new bundle")

    def _facts(self) -> dict[str, Any]:
        """What `status` adds to the loop's snapshot."""
        return {
            "link": self._link.state(),
            "memory_bytes": processes.memory_bytes(),
            "cpu_seconds": processes.cpu_seconds(),
        }

    def _reload(self, old: Config) -> Config:
        try:
            new = load(self._args.config, self._args.host)
        except PgvipError as failure:
            service.log("reload-failed", str(failure))
            return old
        applied, refused = changes(old, new)
        for change in applied:
            service.log("reload", str(change))
        for change in refused:
            service.log("reload", f"needs a restart of pgvip: {change}")
        return reloaded(old, new)
