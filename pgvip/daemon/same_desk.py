"""Whether both hosts are alike where they must be: describes this one, asks the other, warns, copies on order.

A thread of its own looks. What the other host sends is outside input: it is bounded, checked, and only compared. When
an operator orders a copy, the host that is to change fetches the other's description itself and decides what it takes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgvip.core.actions import Rejoin
from pgvip.core.values import NEVER
from pgvip.core.warning_row import WarningRow, warned
from pgvip.daemon import server_files
from pgvip.deadlines import now_s
from pgvip.errors import FormatError, LinkError, PgvipError, PostgresError, RefusedError
from pgvip.orders.desk import under_way
from pgvip.setup import portrait, pushing
from pgvip.setup.likeness import ACCESS, HOSTS, SETTINGS, Difference, Kind, differences, in_one_line
from pgvip.setup.portrait import DIRECTORIES_MAX, Portrait
from pgvip.setup.push_plan import Plan, plan
from pgvip.state import codec
from pgvip.system import processes
from pgvip.system.kept_local import CHORES
from pgvip.system.reserve import RESERVE, lack_of

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.settings import StandingWarning
    from pgvip.status.snapshot import Snapshot

Document = Mapping[str, Any]
QUESTION = "same"
FIRST_S = 5.0
EVERY_S = 20.0
ANSWER_S = 5.0
LOOK_S = 15.0
TAKE_S = 60.0
FRESH_S = 120.0
"""What was seen of a host holds for so long; after that nothing is known of it."""
PART_MAX = 40_000
PARTS_MAX = 32
TEXT_MAX = 8 << 20
"""Of a portrait as JSON."""

_DIFF = "see: pgvip config diff"
_PUSH = "pgvip config push copies the primary's to the standby"
WARNINGS: tuple[WarningRow[list[Difference]], ...] = (
    WarningRow("access-differs", lambda v: in_one_line(one for one in v if one.kind in ACCESS),
               "who may connect is not the same on both hosts: {it}", f"{_PUSH}; {_DIFF}"),
    WarningRow("settings-differ", lambda v: in_one_line(one for one in v if one.kind in SETTINGS),
               "settings of PostgreSQL differ between the hosts: {it}", f"{_PUSH}; {_DIFF}"),
    WarningRow("hosts-differ", lambda v: in_one_line(one for one in v if one.kind in HOSTS),
               "what the database needs is not the same on both hosts: {it}",
               "install or make it there before the next switchover; see: pgvip check --only same-hosts"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a host, and of when."""

    portrait: Portrait
    text: str
    digest: str
    at_s: float


class SameDesk:
    """`ask`: the peer's daemon, with a time limit. `log`: of events."""

    def __init__(
        self,
        config: Callable[[], Config],
        snapshot: Callable[[], Snapshot],
        ask: Callable[[Document, float], Document],
        log: Callable[[str, str], None],
    ) -> None:
        self._config, self._snapshot, self._ask, self._log = config, snapshot, ask, log
        self._own: Known | None = None
        self._peer: Known | None = None
        self._differences: list[Difference] = []
        self._compared_s = NEVER
        self._directories: tuple[str, ...] = ()
        self._looking, self._copying = threading.Lock(), threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="same", daemon=True).start()

    def close(self) -> None:
        self._ended.set()

    def warnings(self) -> tuple[StandingWarning, ...]:
        """What differs, as long as both hosts are known."""
        return warned(WARNINGS, self._differences) if now_s() - self._compared_s <= FRESH_S else ()

    def _run(self) -> None:
        pause_s = FIRST_S
        while not self._ended.wait(pause_s):
            pause_s = EVERY_S
            try:
                with RESERVE.lent():
                    self.look()
                    self.look_at_peer()
            except PgvipError:
                continue  # who is silent, others say
            except OSError as failure:
                if not lack_of(failure):
                    raise

    # --- looking -----------------------------------------------------------------------------------------------

    def look(self) -> Known:
        """Describe this host. PgvipError where that is not possible; then it is as before."""
        config = self._config()
        with self._looking:
            try:
                with CHORES.lent(config) as session:
                    found = portrait.portrait(config, session, self._directories)
            except OSError as failure:
                if lack_of(failure):
                    raise
                raise PostgresError("could not read PostgreSQL's files", f"{failure}.") from failure
            text = packed(found)
            self._own = Known(found, text, digest_of(text), now_s())
            self._compare()
            return self._own

    def look_at_peer(self, *, fresh: bool = False) -> Known:
        """Ask the other host to describe itself, unless it is as it was. `fresh`: it looks now. PgvipError."""
        own, known = self._own, self._peer
        directories = list(own.portrait.tablespaces)[:DIRECTORIES_MAX] if own else []
        request = {"ask": QUESTION, "fresh": fresh, "directories": directories, "digest": known.digest if known else ""}
        answer = self._asked({**request, "part": 0}, LOOK_S if fresh else ANSWER_S)
        digest, parts = str(answer.get("digest", "")), answer.get("parts", 0)
        if known is None or known.digest != digest:
            texts = [str(answer.get("text", ""))]
            if not isinstance(parts, int) or not 0 < parts <= PARTS_MAX:
                raise LinkError("did not understand the peer's description of its host")
            for part in range(1, parts):
                more = self._asked({"ask": QUESTION, "digest": "", "part": part}, ANSWER_S)
                if more.get("digest") != digest:
                    raise LinkError("the peer's host changed while it was described", hint="Try it again.")
                texts.append(str(more.get("text", "")))
            known = Known(unpacked("".join(texts), self._config().peer.name), "", digest, now_s())
        age_s = answer.get("age_s")
        at_s = now_s() - age_s if isinstance(age_s, int | float) and age_s >= 0 else NEVER
        self._peer = Known(known.portrait, "", known.digest, at_s)
        self._compare()
        return self._peer

    def _asked(self, question: Document, timeout_s: float) -> Document:
        answer = self._ask(question, timeout_s)
        if answer.get("ok") is not True:
            raise refused(self._config().peer.name, answer)
        return answer

    def _compare(self) -> None:
        own, peer = self._own, self._peer
        if own is not None and peer is not None:
            self._differences = differences(own.portrait, peer.portrait)
            self._compared_s = min(own.at_s, peer.at_s)

    # --- answering the peer --------------------------------------------------------------------------------------

    def answer(self, request: Document) -> Document:
        """To the peer's daemon: this host's description, or a copy that is ordered there. PgvipError."""
        if request.get("step") == "take":
            return self._take(dry_run=request.get("dry_run") is not False)
        given = request.get("directories", [])
        if isinstance(given, list) and given:
            self._directories = tuple(str(one) for one in given[:DIRECTORIES_MAX] if _is_place(one))
        own = self.look() if request.get("fresh") is True or self._own is None else self._own
        parts = [own.text[at : at + PART_MAX] for at in range(0, len(own.text), PART_MAX)]
        part = request.get("part", 0)
        said = {"digest": own.digest, "age_s": round(now_s() - own.at_s, 3)}
        if request.get("digest") == own.digest:
            return said
        if not isinstance(part, int) or not 0 <= part < len(parts):
            raise RefusedError("there is no such part of this host's description")
        return {**said, "parts": len(parts), "text": parts[part]}

    # --- the operator ------------------------------------------------------------------------------------------

    def handle(self, request: Document, _reply: object) -> Document:
        """To the operator: `diff`, or `push` from one host to the other."""
        if request.get("step") == "push":
            return self._push(request)
        self.look()
        self.look_at_peer(fresh=True)
        own, peer = self._both()
        found = [{**codec.encode(one), "warns": warns(one.kind)} for one in self._differences]
        return {QUESTION: {"hosts": [own.host, peer.host], "differences": found}}

    def _both(self) -> tuple[Portrait, Portrait]:
        if self._own is None or self._peer is None:
            raise LinkError("the two hosts are not compared yet")
        return self._own.portrait, self._peer.portrait

    def _push(self, request: Document) -> Document:
        config, record = self._config(), self._snapshot().decision.knowledge.durable.record
        source = str(request.get("from", "")) or ("" if record is None else record.primary)
        if source not in (config.me.name, config.peer.name):
            raise RefusedError(f"{source!r} is no host of the pair", hint="Name one: pgvip config push --from HOST")
        dry_run = request.get("dry_run") is not False
        if source == config.peer.name:
            return self._take(dry_run=dry_run)
        answer = self._asked({"ask": QUESTION, "step": "take", "dry_run": dry_run}, TAKE_S)
        return {key: value for key, value in answer.items() if key != "ok"}

    def _take(self, *, dry_run: bool) -> Document:
        """Have this host like the other one. PgvipError, and then nothing was changed."""
        if refusal := obstacle(self._snapshot()):
            raise RefusedError(refusal, hint="See: pgvip status")
        if not self._copying.acquire(blocking=False):
            raise RefusedError("another copy of PostgreSQL's files is under way", hint="Wait until it is over.")
        try:
            own = self.look().portrait
            peer = self.look_at_peer(fresh=True).portrait
            found, kept = plan(peer, own), tuple[str, ...]()
            if not dry_run and not found.empty:
                with server_files.WRITING:
                    kept = pushing.push(self._config(), found)
                self._log("files-copied", f"from {found.source}: {'; '.join(found.texts)}; kept: {', '.join(kept)}")
                self.look()
        finally:
            self._copying.release()
        return {**_said(found, standby=own.standby), "kept": list(kept)}


def _said(found: Plan, *, standby: bool) -> Document:
    """What an operator reads of it."""
    hints = []
    if found.restart:
        which = f"{found.target}, a standby: restart it before the primary" if standby else found.target
        hints.append(f"{', '.join(found.restart)}: in force after a restart of PostgreSQL on {which}")
    return {
        "source": found.source,
        "target": found.target,
        "changes": list(found.texts),
        "later": list(found.later),
        "by_hand": list(found.by_hand),
        "restart": list(found.restart),
        "hints": hints,
    }


def obstacle(snapshot: Snapshot) -> str:
    """Why this host's PostgreSQL is not to be changed now; "" when it may be."""
    k, config = snapshot.decision.knowledge, snapshot.config
    doing = under_way(snapshot)
    if doing:
        return f"a change is under way: {doing}"
    if any(isinstance(action, Rejoin) for action in k.work.running):
        return f"{config.me.name} is being rewound or cloned"
    if processes.postmaster(config.postgres.data_directory) is None:
        return f"PostgreSQL does not run on {config.me.name}"
    return ""


def refused(host: str, answer: Document) -> RefusedError:
    """What the other host says against it."""
    said = [str(answer.get(name, "")) for name in ("error", "detail", "hint")]
    return RefusedError(f"{host}: {said[0]}", said[1], said[2])


def _is_place(one: object) -> bool:
    return isinstance(one, str) and one.startswith("/") and len(one) <= portrait.TEXT_MAX and "\0" not in one


def packed(found: Portrait) -> str:
    """A portrait for the link: compressed, as text. PostgresError for one that is too long."""
    try:
        text = codec.to_json(found, max_bytes=TEXT_MAX)
    except FormatError as failure:
        raise PostgresError("this host's configuration is too long to be compared", f"{failure}.") from failure
    made = base64.b64encode(zlib.compress(text.encode(), 6)).decode()
    if len(made) > PART_MAX * PARTS_MAX:
        raise PostgresError("this host's configuration is too long to be compared")
    return made


def unpacked(text: str, host: str) -> Portrait:
    """The portrait of `host` that came over the link. FormatError for anything else, however it is made."""
    try:
        unpack = zlib.decompressobj()
        document = unpack.decompress(base64.b64decode(text, validate=True), TEXT_MAX)
    except (binascii.Error, ValueError, zlib.error) as failure:
        raise FormatError("a description of a host that cannot be read", str(failure)) from failure
    if not unpack.eof:
        raise FormatError("a description of a host that is cut off or too long")
    found = portrait.checked(codec.from_json(Portrait, document, max_bytes=TEXT_MAX))
    if found.host != host:
        raise FormatError("the description of another host", repr(found.host[:80]))
    return found


def digest_of(text: str) -> str:
    """By which both hosts know whether something changed."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def warns(kind: Kind) -> bool:
    """A difference of this kind is to be repaired; others are shown."""
    return kind in (*ACCESS, *SETTINGS, *HOSTS)
