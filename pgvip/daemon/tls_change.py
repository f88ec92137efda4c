"""The daemon's part of a change of `postgresql.tls`: this host's steps, one after the other (`setup.tls_order`).

A thread of its own compares both hosts and takes the step that is next. What is in use is kept on disk before anything
follows from it; then the server's settings, pgvip's lines and this host's connections follow. Nothing is restarted.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pgvip.core.values import NEVER
from pgvip.core.warning_row import WarningRow, warned
from pgvip.daemon import rotation_desk, server_files
from pgvip.deadlines import now_s
from pgvip.errors import FormatError, LinkError, PgvipError, PostgresError, RefusedError
from pgvip.setup import access, enrolment, rotation, server_keys
from pgvip.setup.tls_order import BY_ITSELF, Next, Side, Step, next_step
from pgvip.state import codec
from pgvip.state.record import InDoubtError, TlsInUse, load_tls, save_tls
from pgvip.system import pgconf, pgtools, processes

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.settings import StandingWarning
    from pgvip.daemon.live_config import LiveConfig

Document = Mapping[str, Any]
QUESTION = "postgresql-tls"
ANSWER_S = 3.0
EVERY_S = 15.0
SOON_S = 1.0
"""While something happens: not longer than `SETTLING_S` after the last step of either host."""
SETTLING_S = 60.0
WITH_PASSWORDS = """
SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname IN ('pgvip', 'pgvip_replication');
"""
QUIET_S = 5.0
"""What a host waits for is said when it has waited so long."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a host reports to the other: where it is, and what the other needs to let the new one in."""

    side: Side
    authority: str = ""
    passwords: str = field(default="", repr=False)


WARNINGS: tuple[WarningRow[tuple[Side, Next]], ...] = (
    WarningRow("tls-change", lambda v: v[1].text,
               'postgresql.tls is "{v[0].wanted}" in the file here, "{v[0].uses}" is in use: {it}', "{v[1].hint}"),
)  # fmt: skip


class TlsChange:
    """`ask`: asks the peer's daemon, with a time limit. `log`: of events."""

    def __init__(
        self, live: LiveConfig, ask: Callable[[Document, float], Document], log: Callable[[str, str], None]
    ) -> None:
        self._live, self._ask, self._log = live, ask, log
        self._applied: Side | None = None
        self._last: tuple[Side, Side | None] | None = None
        self._last_s = NEVER
        self._warned: tuple[StandingWarning, ...] = ()
        self._peer_wanted = ""
        self._wake, self._ended = threading.Event(), threading.Event()
        live.listen(lambda _config: self._wake.set())

    def start(self) -> None:
        threading.Thread(target=self._run, name="tls-change", daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._wake.set()

    def warnings(self) -> tuple[StandingWarning, ...]:
        """A change that has not ended, or files that differ."""
        return self._warned

    def _run(self) -> None:
        pause_s = SOON_S
        while True:
            self._wake.wait(pause_s)
            self._wake.clear()
            if self._ended.is_set():
                return
            pause_s = SOON_S if self.look() else EVERY_S

    # --- one look ----------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Take the step that is next; True while it is worth looking again soon."""
        config = self._live()
        own, peer = side_of(config), None
        try:
            begin(config)
            if self._applied != own or config.postgres.tls_changes:  # an action may have written what is past
                with server_files.WRITING:
                    self._apply(config)
            report = self._ask_peer(own)
            peer = report.side if report else None
            found = next_step(own, peer)
            if found.step not in (Step.WAIT, Step.NOTHING) and report is not None:
                self._take(found.step, config, report)
                found = Next(Step.WAIT)
            self._clear_passwords(config)
        except InDoubtError as failure:
            found = Next(Step.WAIT, str(failure), BY_ITSELF)
        except PgvipError as failure:
            found = Next(Step.WAIT, failure.message, failure.hint or BY_ITSELF)
        if self._last != (own, peer):
            self._last, self._last_s = (own, peer), now_s()
        since_s = now_s() - self._last_s
        self._warned = warned(WARNINGS, (own, found)) if since_s >= QUIET_S else ()
        return found.step is not Step.NOTHING and since_s < SETTLING_S

    def _ask_peer(self, own: Side) -> Report | None:
        """What the peer says; None without an answer."""
        try:
            answer = self._ask({"ask": QUESTION, "wanted": own.wanted}, ANSWER_S)
        except LinkError:
            return None
        if answer.get("ok") is not True:
            return None
        try:
            return codec.decode(Report, answer.get("report"))
        except FormatError:
            return None

    def answer(self, request: Document) -> Document:
        """To the peer's question. RefusedError before this host's server is known to be as it is said."""
        wanted, config = str(request.get("wanted", "")), self._live()
        if wanted != self._peer_wanted:
            self._peer_wanted = wanted
            self._wake.set()
        if self._applied is None:
            raise RefusedError("PostgreSQL has not taken the settings of this host yet", hint=BY_ITSELF)
        side = replace(self._applied, wanted=config.postgres.tls_wanted or config.postgres.tls)
        report = Report(side, server_keys.authorities(config)[0])
        if side.also and wanted == side.wanted and wanted in side.let_in - {"pair"} and is_primary(config):
            report = replace(report, passwords=access.own_passwords(config))
        return {"report": codec.encode(report)}

    # --- the steps ---------------------------------------------------------------------------------------------

    def _take(self, step: Step, config: Config, report: Report) -> None:
        postgres = config.postgres
        old, new = postgres.tls, postgres.tls_wanted
        if step is Step.LET_IN:
            prepare(config, new, report)
            self._keep(TlsInUse(old, also=new), f'tls = "{new}" is let in as well as "{old}"')
        elif step is Step.USE:
            new = postgres.tls_also
            rotation_desk.answers(replace(config, postgres=replace(postgres, tls=new, tls_also=old)))
            self._keep(TlsInUse(new, also=old), f'this host uses tls = "{new}" in place of "{old}"')
        else:
            self._keep(TlsInUse(old, passwords_left=old == "pair"), f'tls = "{old}" alone is let in')

    def _keep(self, kept: TlsInUse, text: str) -> None:
        with server_files.WRITING:
            save_tls(self._live().paths.tls_in_use, kept)
            config = self._live.use_tls(kept.tls, kept.also)
            self._log("reload", f"postgresql: {text}")
            self._apply(config)
        self._wake.set()

    def _apply(self, config: Config) -> None:
        """Have the running server take settings and lines; only then the other host counts on them. PgvipError."""
        postmaster = processes.postmaster(config.postgres.data_directory)
        if postmaster is None:
            if not config.postgres.tls_changes:
                return  # its start writes them
            raise PostgresError("PostgreSQL does not run here", hint=BY_ITSELF)
        changed = pgconf.refresh(config)
        if config.postgres.tls_changes or self._applied is not None:  # else `server_files` keeps them
            changed = access.write_access(config) or changed
        if changed:
            processes.send(postmaster, pgconf.RELOAD)
        self._applied = side_of(config)

    def _clear_passwords(self, config: Config) -> None:
        """Once "pair" alone is let in, pgvip's roles need no passwords."""
        path = config.paths.tls_in_use
        kept = load_tls(path)
        if kept is None or not kept.passwords_left or config.postgres.tls_changes:
            return
        if not has_passwords(config):
            save_tls(path, replace(kept, passwords_left=False))
        elif is_primary(config):
            enrolment.make_roles(config, "")


def side_of(config: Config) -> Side:
    """Where this host is."""
    postgres = config.postgres
    return Side(config.me.name, postgres.tls_wanted or postgres.tls, postgres.tls, postgres.tls_also)


def begin(config: Config) -> None:
    """From now on what is in use is kept apart from what the file says."""
    if load_tls(config.paths.tls_in_use) is None:
        save_tls(config.paths.tls_in_use, TlsInUse(config.postgres.tls))


def is_primary(config: Config) -> bool:
    """Whether this host's server takes writes. PostgresError when it does not answer."""
    return pgtools.psql(config, "SELECT pg_is_in_recovery();").strip() == "f"


def has_passwords(config: Config) -> bool:
    """Whether pgvip's roles have passwords, as the server here knows it. PostgresError when it does not answer."""
    return pgtools.psql(config, WITH_PASSWORDS).strip() != "0"


def prepare(config: Config, wanted: str, report: Report) -> None:
    """What this host needs to let `wanted` in. PgvipError: why it cannot yet; it can be called again."""
    if rotation.load(config).next is not None:
        raise RefusedError("new keys are being made", hint="End that first: pgvip rotate")
    coming = replace(config, postgres=replace(config.postgres, tls=wanted, tls_also=""))
    found = server_keys.problems(coming, new=False)
    if found:
        raise found[0]
    peer = report.side.host
    if wanted == "pair":
        server_keys.ensure_own(coming)
        if not report.authority:
            raise RefusedError(f"{peer} has made no keys yet", hint=BY_ITSELF)
        if server_keys.authorities(coming)[1] != report.authority:
            _check(report.authority)
            server_keys.trust_peer(coming, report.authority)
    elif is_primary(config):
        text = access.own_passwords(config) or access.new_passwords()
        access.keep_passwords(config, text)
        enrolment.make_roles(config, text)
    elif report.passwords:
        access.keep_passwords(config, report.passwords)
    else:
        raise RefusedError(f"{peer} has made no passwords yet", hint=BY_ITSELF)


def _check(authority: str) -> None:
    """A server does not read its other certificates either where one of them is none."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=authority)
    except (ssl.SSLError, ValueError) as failure:
        raise LinkError("the other host's authority cannot be read", f"{failure}.") from failure
