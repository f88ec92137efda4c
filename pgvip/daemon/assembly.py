"""Puts the daemon's parts together, starts them and ends them. Nothing passes through here while it runs."""

from __future__ import annotations

import secrets
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pgvip import __version__
from pgvip.actions import unwatched
from pgvip.archive.maintenance import Maintenance
from pgvip.config.observing import observes
from pgvip.core.settings import Identity
from pgvip.core.values import BootFacts, Durable
from pgvip.daemon import at_start, pair_addresses
from pgvip.daemon.action_table import Actions
from pgvip.daemon.action_threads import Workshop
from pgvip.daemon.apply_desk import ApplyDesk
from pgvip.daemon.archive_link import ArchiveLink
from pgvip.daemon.background import QUESTION, Background
from pgvip.daemon.crash import CrashHandler
from pgvip.daemon.guardian import Guardian
from pgvip.daemon.internal_errors import InternalErrors
from pgvip.daemon.kept_facts import KeptFacts
from pgvip.daemon.live_config import LiveConfig, Options, log_style, say_former
from pgvip.daemon.loop import Daemon, LinkChanged, Outside, Received, Reload
from pgvip.daemon.notes import Notes
from pgvip.daemon.observer import Observer, identity_of
from pgvip.daemon.probe_table import Probes
from pgvip.daemon.probe_threads import Arrivals, ProbeThreads
from pgvip.daemon.programs_desk import PROGRAMS, ProgramsDesk
from pgvip.daemon.rotation_desk import QUESTION as ROTATE
from pgvip.daemon.rotation_desk import RotationDesk
from pgvip.daemon.same_desk import QUESTION as SAME
from pgvip.daemon.same_desk import SameDesk
from pgvip.daemon.tls_change import QUESTION as TLS
from pgvip.daemon.tls_change import TlsChange
from pgvip.daemon.views import StatusView, WebView
from pgvip.daemon.witness_desk import WitnessDesk
from pgvip.deadlines import now_s
from pgvip.events import event_log
from pgvip.explain.answers import Explanations
from pgvip.journal.recorder import Recorder
from pgvip.journal.requests import EventRequests
from pgvip.journal.sampler import Sampler
from pgvip.link.operator_socket import OperatorServer
from pgvip.link.peer_link import PeerLink
from pgvip.link.questions import ask_document
from pgvip.link.tls import load_contexts
from pgvip.notify.notifier import Notifier
from pgvip.orders import leaving, readiness
from pgvip.orders.desk import Desk
from pgvip.orders.order_table import READING, Orders
from pgvip.orders.peer_questions import PeerQuestions
from pgvip.orders.planned import Switchover
from pgvip.orders.restarting import QUESTION as RESTART
from pgvip.orders.restarting import RestartDesk
from pgvip.orders.schedule import Schedule
from pgvip.setup.apply_order import QUESTION as APPLY
from pgvip.state.record import RecordStore
from pgvip.status.snapshot import Newest
from pgvip.system import lock, service
from pgvip.system.boot import boot_identity
from pgvip.system.reserve import RESERVE, TASKS, raise_limit
from pgvip.web.counts import EventCounts
from pgvip.web.http_server import HttpServer
from pgvip.web.listeners import plan_of
from pgvip.web.site import Site

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.link.tls import Contexts
    from pgvip.state.record import PairIdentity


class Assembly:
    """The daemon and everything around it."""

    def __init__(self, config: Config, identity: PairIdentity, options: Options) -> None:
        raise_limit()
        RESERVE.keep()
        TASKS.keep()
        boot_id = boot_identity()
        config.paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock.take(config.paths.run)  # before anything is read that another daemon might be writing
        config = at_start.former_addresses(config)
        self._config = LiveConfig(config, options)
        self._inbox: SimpleQueue[object] = SimpleQueue()
        self._newest, self._notes = Newest(), Notes()
        self._took_s: dict[str, float] = {}
        renewing = at_start.end_exchange(config)
        self._link, self._addresses = _link(config, self._inbox), _addresses(config)
        self._observing = observes(config)
        self._archive_link = ArchiveLink(self._config, lambda: self._link.state().connected, event_log.log)
        self._ask_peer = partial(ask_document, self._link)
        self._faults = InternalErrors(event_log.log)
        self._tls_change = TlsChange(self._config, self._ask_peer, event_log.log)
        self._notifier = Notifier(self._config)
        self._same = SameDesk(self._config, self._newest.sure, self._ask_peer, event_log.log)
        more = (self._config, self._faults, self._tls_change, self._notifier, self._same)
        self._background = Background(
            self._config,
            lambda: self._schedule.waiting,
            self._ask_peer,
            lambda: (*(warning for part in more for warning in part.warnings()),
                     *pair_addresses.invalid_keys(self._config(), self._link.state())),
        )
        self._recorder = Recorder(self._config, boot_id, self._newest, self._link.send_bulk, self._background.warnings)
        self._recorder.notify = self._notifier.hear
        self._counts = EventCounts()
        self._begin_to_log(config, options)
        if renewing:
            event_log.log("link", renewing)
        at_start.begin(config)
        say_former((), config, now_s())
        self._store, facts = RecordStore(config.paths.record), KeptFacts(config.paths.boot_facts, boot_id)
        who = Identity(boot_id, secrets.token_hex(8), now_s(), identity.pair_id, identity.system_id)
        durable, known = Durable(), BootFacts()
        if self._observing:  # neither the record nor the facts of those days in which pgvip acted say who serves now
            who = identity_of(who)
            facts.revoke()
        else:
            durable, known = self._store.settle() or durable, facts.load()
        self._notes.begin(durable.record)
        self._observe_and_act(config)
        self._loop = Daemon(self._config, self._inbox, self._outside(facts), who=who, durable=durable, facts=known)
        self._answer(config)

    def _begin_to_log(self, config: Config, options: Options) -> None:
        def style(config: Config) -> None:
            event_log.set_up(log_style(config, options, self._notes.term))

        style(config)
        self._config.listen(style)
        event_log.listen(self._counts.hear)
        CrashHandler(self._recorder.store).install()
        self._recorder.start()
        only = ': pair.mode is "observe", and nothing is changed' if self._observing else ""
        event_log.log("start", f"pgvip {__version__} on {config.me.name}, pair {config.name}{only}")

    def _observe_and_act(self, config: Config) -> None:
        """Who looks, and who acts: their words go into the loop's inbox."""
        self._guardian = Guardian(config, event_log.log, config.paths.watchdog_armed)
        self._probe_threads = ProbeThreads(self._inbox, self._faults)
        wake = self._probe_threads.wake
        self._arrivals = Arrivals(wake)
        watch = self._arrivals.watch_postmaster
        witness = WitnessDesk(config, self._newest)
        looks = {"witness": witness.look} if witness.counts else {}
        self._probes = Probes(
            self._config, self._newest, wake, self._guardian.look, postmaster=watch, took_s=self._took_s, more=looks
        )
        actions = Actions(self._config, self._store, event_log.log, self._recorder.hooks.ask_veto, witness.claim)
        self._workshop = Workshop(
            actions.functions(), actions.interrupt, self._inbox, event_log.log, self._took_s, faults=self._faults
        )
        self._observer = Observer(self._config, self._inbox)

    def _outside(self, facts: KeptFacts) -> Outside:
        outside = self._acting(facts)
        return self._observer.instead_of(outside) if self._observing else outside

    def _acting(self, facts: KeptFacts) -> Outside:
        return Outside(
            start=self._workshop.start,
            wake=self._probe_threads.wake,
            send=self._link.send,
            keep=facts.keep,
            log=event_log.log,
            alive=self._guardian.alive,
            reload=self._config.reload,
            note=self._notes.log,
            ended=self._newest.put,
        )

    def _answer(self, config: Config) -> None:
        """Who answers: operators, the peer's daemon, and the web side. They read the newest snapshot."""
        desk = Desk(self._newest, self._inbox, self._ask_peer, readiness.look, event_log.log)
        self._schedule = Schedule(config.paths.scheduled, desk, Switchover(desk).handle)
        renew_gently = partial(self._renew, gently=True)
        rotation = RotationDesk(self._newest.sure, renew_gently, self._ask_peer, event_log.log)
        restarts = RestartDesk(desk)
        programs = ProgramsDesk(self._config, self._ask_peer)
        explanations = Explanations(self._newest, self._took_s)
        apply = ApplyDesk(
            self._config,
            self._newest.sure,
            lambda: self._inbox.put(Reload()),
            lambda: self._link.state().connected,
            self._ask_peer,
        )
        observed = self._observer.document if self._observing else None
        status = StatusView(self._newest, self._link.state, self._guardian, self._seen, observed=observed)
        orders = Orders(
            desk,
            status,
            lambda: self._renew(load_contexts(config.paths.certificates)),
            schedule=self._schedule,
            more={
                "events": EventRequests(self._recorder.store).answer,
                "explain": explanations.answer,
                ROTATE: rotation.handle,
                SAME: self._same.handle,
                PROGRAMS: programs.handle,
                APPLY: apply.handle,
                RESTART: restarts.handle,
            },
            read_drill=self._background.read_drill,
            only=READING if self._observing else None,
        )
        self._server = OperatorServer(config.paths.socket, orders.handle)
        view = WebView(self._config, self._newest, self._counts, self._recorder.store, explanations)
        self._web = HttpServer(plan_of(config), Site(self._config, view.sources(status)).respond, event_log.log)
        status.http = self._web.state
        self._config.listen(lambda config: self._web.apply(plan_of(config)))
        self._config.listen(self._move)
        self._config.listen(lambda _config: self._background.wake())
        exchange = self._recorder.exchange

        def link_changed(up: bool) -> None:
            self._inbox.put(LinkChanged(up))
            exchange.link_changed(up)

        about = {
            QUESTION: self._background.answer,
            ROTATE: rotation.answer,
            RESTART: restarts.answer,
            TLS: self._tls_change.answer,
            SAME: self._same.answer,
            PROGRAMS: programs.answer,
            APPLY: apply.answer,
        }
        questions = PeerQuestions(desk, {QUESTION: about[QUESTION]} if self._observing else about)
        self._link.attach(on_change=link_changed, on_bulk=exchange.received, on_question=questions.answer)
        self._sampler = Sampler(self._config, status, self._newest.age_s, event_log.log)
        self._maintenance = Maintenance(self._config, event_log.log)

    def _seen(self) -> dict[str, Any]:
        """What the status document takes beside the snapshot."""
        pending = {"postgresql": list(self._background.pending), "pgvip": list(self._config.pending)}
        return {**self._background.facts(), "pending_restart": pending}

    def _move(self, config: Config) -> None:
        """After a reload: the link, and the archive's connections, by the addresses that the hosts have now."""
        addresses = _addresses(config)
        if addresses != self._addresses:
            self._addresses = addresses
            self._link.move(*addresses)
            self._archive_link.move()

    def _renew(self, contexts: Contexts, *, gently: bool = False) -> None:
        """Have the link use these from now on, and the archive's connections what is on disk."""
        self._link.renew(contexts, gently=gently)
        self._archive_link.renew()

    def run(self) -> None:
        """Start all threads, notify systemd, go round."""
        self._workshop.prepare()
        self._probe_threads.start(self._probes.all())
        self._arrivals.start()
        for observing in (self._link, self._server, self._web, self._sampler, self._background, self._notifier):
            observing.start()
        if not self._observing:
            for acting in (self._archive_link, self._schedule, self._tls_change, self._same, self._guardian):
                acting.start()
            self._maintenance.start()
        service.notify("READY=1")
        self._loop.run()
        service.notify("STOPPING=1")
        self._maintenance.close()
        self._archive_link.close()
        self._background.close()
        self._tls_change.close()
        self._same.close()
        self._guardian.close()
        self._sampler.close()
        self._web.close()
        self._server.close()
        if not self._observing:
            unwatched.leave(self._config())
        event_log.log("leave", leaving.on_stop(self._newest.get()))
        self._link.close()
        self._recorder.close()


def _addresses(config: Config) -> tuple[tuple[str, int], tuple[str, int]]:
    """Where the link listens, and where it dials."""
    return (config.me.address, config.link_port), (config.peer.address, config.link_port)


def _link(config: Config, inbox: SimpleQueue[object]) -> PeerLink:
    return PeerLink(
        *_addresses(config),
        load_contexts(config.paths.certificates),
        lambda text: inbox.put(Received(text)),
        dead_s=max(3.0, 2 * config.settings.dead_after_s),
    )
