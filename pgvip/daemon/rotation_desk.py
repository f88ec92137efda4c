"""The daemon's part of `pgvip rotate`: the steps of this host, asked for by the operator here or by the peer's daemon.

None of them moves a role or stops anything. The command decides on the order (`setup.rotation_order`); what the other
host has to do goes there by the link.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pgvip.core.actions import Rejoin
from pgvip.deadlines import retry, wait_until
from pgvip.errors import CommandError, LinkError, PostgresError, ProbeError, RefusedError
from pgvip.link import tls, trial
from pgvip.orders.desk import under_way
from pgvip.setup import rotation, second_host, server_keys
from pgvip.setup.rotation_order import Look
from pgvip.state import codec
from pgvip.system import processes
from pgvip.system.pgping import served_certificate
from pgvip.system.server_tls import certificate_file
from pgvip.system.sql import connect_peer

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.link.tls import Contexts
    from pgvip.status.snapshot import Snapshot

Document = Mapping[str, Any]
QUESTION = "rotate"
STEP_S = 60.0
"""For one step of the peer: its answer may be lost with a connection that is made anew; then it is asked again."""
ASK_S = 45.0
"""A step that waits for a server takes half a minute at most."""
BUSY_S = 40.0
TRY_S = 10.0
"""A server takes new files some time after its SIGHUP."""
ANSWER_S = 3.0


class RotationDesk:
    """`renew`: has the link use what is on disk. `ask`: the peer's daemon, with a time limit. `log`: of events."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        renew: Callable[[Contexts], None],
        ask: Callable[[Document, float], Document],
        log: Callable[[str, str], None],
    ) -> None:
        self._snapshot, self._renew, self._ask, self._log = snapshot, renew, ask, log
        self._lock = threading.Lock()

    def handle(self, request: Document, _reply: object) -> Document:
        """To the operator: one step, of this host or of the other one, by `host`."""
        config = self._snapshot().config
        if request.get("host") != config.peer.name:
            return self.answer(request)
        question = {**{key: value for key, value in request.items() if key != "command"}, "ask": QUESTION}
        answer = retry(lambda: self._ask(question, ASK_S), on=LinkError, attempts=20, pause_s=0.3, deadline_s=STEP_S)
        if answer.get("ok") is not True:
            hint = str(answer.get("hint", ""))
            raise RefusedError(f"{config.peer.name}: {answer.get('error', '')}", str(answer.get("detail", "")), hint)
        return {key: value for key, value in answer.items() if key != "ok"}

    def answer(self, request: Document) -> Document:
        """One step of this host. PgvipError when it fails; it can be asked for again."""
        steps: dict[str, Callable[[Config, Document], Document | None]] = {
            "look": self._look,
            "prepare": self._prepare,
            "use": self._use,
            "verify": self._verify,
            "finish": self._finish,
        }
        step = steps.get(str(request.get("step", "")))
        if step is None:
            raise RefusedError("unknown step of a rotation", hint="Run the same version on both hosts.")
        if not self._lock.acquire(timeout=BUSY_S):
            raise RefusedError("another step of a rotation is under way", hint="Wait until it is over.")
        try:
            return step(self._snapshot().config, request) or {}
        finally:
            self._lock.release()

    def _look(self, config: Config, _request: Document) -> Document:
        snapshot, found = self._snapshot(), rotation.load(config)
        record = snapshot.decision.knowledge.durable.record
        refusal, hint = obstacle(snapshot)
        prepared = "" if found.next is None else found.next.number
        primary = "" if record is None else record.primary
        look = Look(config.me.name, primary, found.done, prepared, found.using, refusal, "", hint)
        return {"look": codec.encode(look)}

    def _prepare(self, config: Config, request: Document) -> None:
        refusal, hint = obstacle(self._snapshot())
        if refusal:
            raise RefusedError(refusal, hint=hint)
        rotation.prepare(config, codec.decode(rotation.Next, request.get("next")))
        self._take_up(config)

    def _use(self, config: Config, request: Document) -> None:
        """Not before the other host's server lets the next keys in: what is cut then is known before."""
        number = str(request.get("number", ""))
        coming = rotation.load(config).next
        if coming is not None and coming.number == number and not coming.using and server_keys.used(config):
            keys = coming.files
            _in_time(lambda: lets_in(config, keys))
        rotation.use(config, number)
        self._take_up(config)
        if server_keys.used(config):
            wait_until(lambda: _serves(config), TRY_S, what="PostgreSQL uses its new certificate", error=PostgresError)
        self._log("link", "this host uses its new keys, for the link and for PostgreSQL")

    def _verify(self, config: Config, request: Document) -> None:
        """Whether the other host accepts what this one uses, and has what it is to have."""
        found = rotation.load(config).next
        number = str(request.get("number", ""))
        wanted = found.peer.certificate if found is not None and found.number == number else ""

        def proved() -> None:
            contexts = tls.load_contexts(config.paths.certificates)
            served = trial.served(config.me.address, (config.peer.address, config.link_port), contexts, ANSWER_S)
            if wanted and served != ssl.PEM_cert_to_DER_cert(wanted):
                raise LinkError(f"the daemon on {config.peer.name} does not use its new certificate yet")
            if server_keys.used(config):
                answers(config)

        _in_time(proved)

    def _finish(self, config: Config, request: Document) -> None:
        rotation.finish(config, str(request.get("number", "")))
        self._take_up(config)
        self._log("link", "the keys were renewed; the old ones of both hosts are not valid any more")

    def _take_up(self, config: Config) -> None:
        """The link and the server use what is on disk now."""
        self._renew(tls.load_contexts(config.paths.certificates))
        server_keys.reload(config)


def obstacle(snapshot: Snapshot) -> tuple[str, str]:
    """Why the keys of this host cannot be renewed now, and what to do; ("", "") when they can. A pause is no reason."""
    config, k = snapshot.config, snapshot.decision.knowledge
    record = k.durable.record
    if record is None or not k.confirmed:
        return "this host has no confirmed record", "See: pgvip status"
    doing = under_way(snapshot)
    if doing:
        return f"a change is under way: {doing}", "Wait until it is over."
    if k.orders.leaving:
        return "this host is leaving", "Wait until it is back."
    if config.postgres.tls_changes:
        return "a change of postgresql.tls has not ended", "Wait until it has: pgvip status"
    if any(isinstance(action, Rejoin) for action in k.work.running):
        return "this host is being rewound or cloned", "Wait until it follows."
    if processes.postmaster(config.postgres.data_directory) is None:
        return "PostgreSQL does not run, so that new keys cannot be tried", "See: pgvip status"
    return "", ""


def lets_in(config: Config, keys: Mapping[str, str]) -> None:
    """Whether the other host's server accepts these keys of this host's."""
    own, peer = server_keys.authorities(config)
    coming = rotation.load(config).next
    trusted = peer + ("" if coming is None else coming.peer.authority)
    second_host.replication_answers(config, "", {**keys, server_keys.OWN: own, server_keys.PEER: trusted})


def answers(config: Config) -> None:
    """Whether the other host's server accepts what is in place here, for both roles."""
    with connect_peer(config, config.peer.address) as session:
        session.query("peer_database", timeout_s=ANSWER_S)
    second_host.stream_answers(config)


def _in_time(attempt: Callable[[], None]) -> None:
    """Servers and daemons take new keys a moment after the request."""
    retry(attempt, on=(LinkError, ProbeError, CommandError), attempts=100, pause_s=0.2, deadline_s=TRY_S)


def _serves(config: Config) -> bool:
    """Whether the running server shows the certificate that is in place."""
    coming = rotation.load(config).next
    served = served_certificate(config.me.address, config.postgres.port, ANSWER_S)
    if served is None or coming is None:
        return False
    return served == ssl.PEM_cert_to_DER_cert(coming.files[certificate_file(server_keys.SERVER)])
