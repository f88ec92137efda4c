"""The daemon and everything around it, put together."""

from __future__ import annotations

import argparse
import math
import os
import secrets
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pgvip import __version__
from pgvip.archive.maintenance import Maintenance
from pgvip.checks.configuration import host_problems, host_warnings
from pgvip.config.load import load
from pgvip.config.model import Config
from pgvip.config.reload import changes, reloaded
from pgvip.core.actions import Action
from pgvip.core.knowledge import Guard
from pgvip.core.settings import Identity, Note
from pgvip.core.values import BootFacts, Durable
from pgvip.daemon import background
from pgvip.daemon.action_threads import Workshop
from pgvip.daemon.background import Background
from pgvip.daemon.guardian import Guardian
from pgvip.daemon.loop import Daemon, LinkChanged, Outside, Received
from pgvip.daemon.probe_threads import Arrivals, ProbeThread
from pgvip.daemon.wiring import Actions, Probes
from pgvip.deadlines import now_s
from pgvip.drill import result
from pgvip.errors import CommandError, Exit, FormatError, LinkError, PgvipError, RecordError
from pgvip.events import event_log
from pgvip.events.event_table import Level
from pgvip.explain.answers import Explanations
from pgvip.journal import samples
from pgvip.journal.event_store import Wanted
from pgvip.journal.recorder import Recorder, log_style
from pgvip.journal.requests import EventRequests
from pgvip.journal.sampler import Sampler
from pgvip.link.operator_socket import OperatorServer
from pgvip.link.peer_link import PeerLink
from pgvip.link.tls import load_contexts
from pgvip.orders import readiness
from pgvip.orders.desk import Desk
from pgvip.orders.order_table import Orders
from pgvip.orders.peer_questions import PeerQuestions
from pgvip.orders.planned import Switchover
from pgvip.orders.schedule import Schedule
from pgvip.rejoin import copy as cloning
from pgvip.state import codec
from pgvip.state.record import (
    PairIdentity,
    RecordStore,
    forget_boot_facts,
    load_boot_facts,
    save_boot_facts,
)
from pgvip.status.document import document
from pgvip.status.snapshot import Snapshot
from pgvip.system import lock, processes, service, units
from pgvip.system.boot import boot_identity
from pgvip.web.counts import EventCounts
from pgvip.web.http import REQUEST_THREAD
from pgvip.web.http_server import HttpServer
from pgvip.web.listeners import plan_of
from pgvip.web.site import Site
from pgvip.web.sources import Limits, Sources

POINTS = 400
"""Of the page's graph of a quarter of an hour."""
CRASH_S = 0.5
"""How long a daemon that crashes lets its last event be written."""


def _tell_misfits(config: Config) -> None:
    """Say what of the configuration does not fit this host, and where its shutdown would not hand over as it should."""
    for misfit in (*host_problems(config), *host_warnings(config)):
        event_log.log("configuration", str(misfit).replace("\n", "; "))
    if not service.under_systemd():
        return
    with suppress(CommandError):
        problem = units.handover_order(config.postgres.unit)
        if problem:
            event_log.log("configuration", problem)


def _tell_auto_starts(config: Config) -> None:
    """Say what starts the server behind this daemon's back: it would be up before the pair has agreed who serves."""
    try:
        for start in units.auto_starts(config.postgres.data_directory, config.postgres.unit):
            text = "PostgreSQL is started at boot, before the pair has agreed who serves"
            event_log.log("starts-at-boot", f"{start.what}: {text}; hint: {start.hint}")
    except (PgvipError, OSError) as failure:
        event_log.log("starts-at-boot", f"could not look for what starts PostgreSQL at boot: {failure}")


def _tell_unknown(why: str) -> None:
    event_log.log("facts-failed", f"{why}; the peer is asked anew, as after a boot")


def _finish_clone(config: Config) -> None:
    """End a clone that was cut short between its two renames, which left no data directory.

    What it has to do was decided and copied before; nothing is deleted. Where it fails, the daemon runs all the same.
    """
    try:
        if cloning.finish_swap(config):
            event_log.log("rejoin", "finished the clone that was interrupted")
    except (PgvipError, OSError) as failure:
        event_log.log("rejoin-failed", f"could not finish the clone that was interrupted: {failure}")


class Assembly:
    """The daemon and everything around it."""

    def __init__(self, config: Config, identity: PairIdentity, args: argparse.Namespace) -> None:
        self._args = args
        self._config = config
        self._newest: Snapshot | None = None
        self._term = -1
        self._boot_id = boot_identity()
        config.paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock.take(config.paths.run)  # before anything is read that another daemon might be writing
        self._recorder = Recorder(lambda: self._config, self._boot_id, self._snapshot, self._send_bulk)
        event_log.set_up(log_style(config, lambda: self._term, args))
        self._counts = EventCounts()
        event_log.listen(self._counts.hear)
        threading.excepthook = self._crash
        self._recorder.start()
        event_log.log("start", f"pgvip {__version__} on {config.me.name}, pair {config.name}")
        _tell_misfits(config)
        # In the background: the start must not wait for systemd's answers.
        threading.Thread(target=_tell_auto_starts, args=(config,), name="auto-starts", daemon=True).start()
        _finish_clone(config)
        store = RecordStore(config.paths.record)
        who = Identity(self._boot_id, secrets.token_hex(8), now_s(), identity.pair_id, identity.system_id)
        durable = store.settle() or Durable()
        self._term = durable.record.term if durable.record else -1
        with suppress(FileNotFoundError):
            config.paths.no_restore.unlink()
        self._facts_file, self._facts_kept = config.paths.boot_facts, True
        facts = load_boot_facts(self._facts_file, self._boot_id, _tell_unknown)
        outside = Outside(
            start=self._start,
            wake=self._wake,
            send=self._send,
            keep=self._keep,
            log=event_log.log,
            alive=self._alive,
            reload=self._reload,
            postmaster=self._watch_postmaster,
            note=self._note,
            looked=self._probed,
        )
        self._daemon = Daemon(config, who, durable, facts, outside)
        inbox = self._daemon.inbox
        self._guardian = Guardian(config, event_log.log, config.paths.watchdog_armed)
        self._probes = Probes(lambda: self._daemon.config, self._snapshot, self._wake, self._guardian.look)
        self._threads = {probe.name: ProbeThread(probe, inbox) for probe in self._probes.all()}
        actions = Actions(lambda: self._daemon.config, store, event_log.log, self._recorder.hooks.ask_veto)
        self._workshop = Workshop(actions.functions(), actions.interrupt, inbox, event_log.log)
        self._arrivals = Arrivals(lambda: self._wake("processes"), lambda: self._wake("held"))
        desk = Desk(self._daemon, self._ask_peer, readiness.look, event_log.log)
        self._background = Background(lambda: self._daemon.config, lambda: self._schedule.waiting, self._ask_peer)
        self._link = PeerLink(
            (config.me.address, config.link_port),
            (config.peer.address, config.link_port),
            load_contexts(config.paths.certificates),
            lambda text: inbox.put(Received(text)),
            dead_s=max(3.0, 2 * config.settings.dead_after_s),
            on_change=self._link_changed,
            on_bulk=self._recorder.exchange.received,
            on_question=PeerQuestions(desk, {background.QUESTION: self._background.answer}).answer,
        )
        switchovers = Switchover(desk)
        self._schedule = Schedule(config.paths.scheduled, desk, switchovers.handle)
        self._explanations = Explanations(desk.snapshot, self._took_s)
        more = {"events": EventRequests(self._recorder.store).answer, "explain": self._explanations.answer}
        self._orders = Orders(desk, self._facts, self._renew_keys, self._schedule, more)
        self._sampler = Sampler(lambda: self._daemon.config, self._picture, event_log.log)
        self._server = OperatorServer(config.paths.socket, self._orders.handle)
        site = Site(lambda: self._config, self._sources())
        self._web = HttpServer(plan_of(config), site.respond, event_log.log)
        self._maintenance = Maintenance(lambda: self._daemon.config, event_log.log)

    def run(self) -> None:
        """Start all threads, tell systemd, go round."""
        for thread in self._threads.values():
            thread.start()
        self._arrivals.start()
        self._link.start()
        self._server.start()
        self._web.start()
        self._sampler.start()
        self._schedule.start()
        self._background.start()
        self._guardian.start()
        self._maintenance.start()
        service.notify("READY=1")
        self._daemon.run()
        service.notify("STOPPING=1")
        self._maintenance.close()
        self._background.close()
        self._guardian.close()
        self._sampler.close()
        self._web.close()
        self._server.close()
        event_log.log("leave", "the daemon ends; PostgreSQL and the addresses stay as they are")
        self._link.close()
        self._recorder.close()

    def _crash(self, failure: threading.ExceptHookArgs) -> None:
        """End the process: a fault in one thread would leave a daemon that looks alive and is not.

        systemd starts it again, which moves no role and stops no PostgreSQL. Not for a fault in an answer to an HTTP
        request: nothing else hangs on that thread, and the same request would end the next daemon too.
        """
        text = "".join(traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback))
        if failure.thread is not None and failure.thread.name == REQUEST_THREAD:
            event_log.log("http-crash", text)
            return
        event_log.log("crash", f"{failure.exc_type.__name__}: {failure.exc_value}; {text}")
        self._recorder.store.close(CRASH_S)
        os._exit(Exit.FAILED)

    def _sources(self) -> Sources:
        """What the web side reads; nothing of it waits for the loop."""
        return Sources(
            status=self._seen,
            whole=self._orders.status,
            age_s=lambda: now_s() - snapshot.at_s if (snapshot := self._snapshot()) is not None else math.inf,
            limits=self._limits,
            counts=self._counts.read,
            events=self._events,
            samples=self._samples,
            explain=self._explanations.document,
        )

    def _seen(self) -> dict[str, Any]:
        """The status document without what lies on a disk: a health check must not hang with one."""
        snapshot = self._snapshot()
        if snapshot is None:
            raise LinkError("the daemon has just started", hint="Try again in a moment.")
        extra = {**self._near(), "stats": snapshot.stats}
        return document(snapshot.config, snapshot.decision, snapshot.seen, snapshot.at_s, extra)

    def _events(self, limit: int) -> list[dict[str, Any]]:
        return [one.document() for one in self._recorder.store.find(Wanted(limit, level=Level.INFO))]

    def _samples(self, seconds: float) -> list[dict[str, Any]]:
        request = {"seconds": seconds, "points": POINTS}
        found: list[dict[str, Any]] = samples.answer(self._config.paths.samples, request)["samples"]
        return found

    def _limits(self) -> Limits:
        s = self._config.settings
        return Limits(max(s.dead_after_s, 3 * s.heartbeat_s), s.lag_bytes_max)

    def _alive(self, guard: Guard) -> None:
        service.notify("WATCHDOG=1")
        self._guardian.alive(guard)

    def _snapshot(self) -> Snapshot | None:
        return self._newest

    def _probed(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        more = self._background.warnings()
        if more:  # warnings as the core's are: events, and `cleared` when they are over
            snapshot = replace(
                snapshot, decision=replace(snapshot.decision, warnings=(*snapshot.decision.warnings, *more))
            )
        self._recorder.look(snapshot)

    def _note(self, note: Note) -> None:
        """Log what the core tells; from a new record on, everything is of its term."""
        if note.event == "record":
            self._term = int(dict(note.fields)["new_term"])
        event_log.log(note.event, note.text, note.fields)

    def _link_changed(self, up: bool) -> None:
        self._daemon.inbox.put(LinkChanged(up))
        self._recorder.exchange.link_changed(up)

    def _send_bulk(self, body: bytes) -> None:
        self._link.send_bulk(body)

    def _picture(self) -> dict[str, Any] | None:
        """The status document for the monitoring history; None while the loop stands still."""
        snapshot = self._daemon.snapshot
        if snapshot is None or now_s() - snapshot.at_s > snapshot.config.monitor.interval_s:
            return None
        return document(snapshot.config, snapshot.decision, snapshot.seen, snapshot.at_s)

    def _start(self, action: Action) -> None:
        self._workshop.start(action)

    def _watch_postmaster(self, identity: str) -> None:
        self._arrivals.watch_postmaster(identity)

    def _wake(self, name: str) -> None:
        if name in self._threads:
            self._threads[name].wake()

    def _send(self, text: str) -> None:
        self._link.send(text)

    def _ask_peer(self, request: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
        """A small question to the peer's daemon. LinkError when it does not answer in time, or not in JSON."""
        answer = self._link.ask(codec.plain_to_json(request), timeout_s)
        try:
            return codec.parse_object(answer, max_bytes=len(answer))
        except FormatError as failure:
            raise LinkError("did not understand the peer's answer", f"{failure}.") from failure

    def _keep(self, facts: BootFacts) -> bool:
        """Keep what a daemon restart must not lose. A full /run ends no daemon: a takeover may be under way."""
        try:
            save_boot_facts(self._facts_file, self._boot_id, facts)
        except RecordError as failure:
            forget_boot_facts(self._facts_file)
            if self._facts_kept:
                event_log.log("facts-failed", f"{failure}; a restart of the daemon would ask the peer anew")
            self._facts_kept = False
        else:
            self._facts_kept = True
        return self._facts_kept

    def _renew_keys(self) -> None:
        self._link.renew(load_contexts(self._daemon.config.paths.certificates))
        event_log.log("link", "the certificates were renewed; the peer needs its new bundle")

    def _took_s(self) -> dict[str, float]:
        """What `explain` expects actions to take: as long as the last time."""
        return {**self._workshop.took_s, **self._probes.took_s}

    def _facts(self) -> dict[str, Any]:
        """What `status` adds to the loop's snapshot."""
        return {
            **self._near(),
            "drill": result.last(self._daemon.config.paths.drill),
        }

    def _near(self) -> dict[str, Any]:
        return {
            "link": self._link.state(),
            "http": self._web.state(),
            "armed": self._guardian.armed,
            **self._background.facts(),
            "memory_bytes": processes.memory_bytes(),
            "cpu_seconds": processes.cpu_seconds(),
        }

    def _reload(self, old: Config) -> Config:
        try:
            new = load(self._args.config, self._args.host)
        except PgvipError as failure:
            event_log.log("reload-failed", str(failure))
            return old
        applied, refused = changes(old, new)
        for change in applied:
            event_log.log("reload", str(change))
        for change in refused:
            event_log.log("reload", f"needs a restart of pgvip: {change}")
        self._config = reloaded(old, new)
        self._web.apply(plan_of(self._config))
        event_log.set_up(log_style(self._config, lambda: self._term, self._args))
        return self._config
