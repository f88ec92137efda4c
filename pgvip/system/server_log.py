"""Why a server ended, in its own text: the FATAL or PANIC line of its log, with its detail and hint.

A log line is a prefix of the administrator's choice, then `SEVERITY:  text`, two spaces after the colon
(src/backend/utils/error/elog.c); detail and hint follow the message that they belong to.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import CommandError
from pgvip.system.commands import run
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgvip.config.model import Config

BYTES_MAX = 256 * 1024
"""Of what was written since the start, the end counts."""
LINES_MAX = 500
JOURNAL_S = 5.0

ENTRY = re.compile(r"(?:^|[\s\]>])(?P<severity>\w+):  (?P<text>\S.*)$")
FATAL = frozenset({"FATAL", "PANIC", "PANIK", "ПАНИКА", "ВАЖНО"})
"""As lc_messages has them; in other languages the last lines are shown."""
MORE = frozenset({"DETAIL", "HINT", "TIPP", "DÉTAIL", "ASTUCE", "DETALLE", "SUGERENCIA"})
NO_CAUSE = re.compile(
    r"the database system is|terminating|could not (connect to the primary|receive data|start WAL|send)"
    r"|authentication failed|no pg_hba|pg_hba.conf rejects|client certificate|canceling authentication"
    r"|expected password"
    r"|(role|database) \".*\" does not exist|permission denied for database|not permitted to log in|must be superuser"
    r"|too many|connection slots|connection to client|startup packet|frontend protocol"
    r"|archive command (failed|was terminated)"
)
"""FATAL of a client's session, of the WAL receiver or the archiver, not of the server. pgvip's own probes of the peer
are among them: they show no certificate, and are refused."""
LIVED_ON = re.compile(r"received (smart|fast|immediate) shutdown request|ready to accept (read-only )?connections")
"""The server lived when it said this; whatever was FATAL before had not ended it."""
STARTUP_ENDED = re.compile(r"^startup process .*exited with exit code|due to startup process failure")
"""Its last words ended the server, also where the postmaster said after them that it was ready."""
WRONG_LINE = re.compile(r'(in file|configuration file) ".*"[,]? line \d+')
"""Said before the FATAL that a configuration file contains errors."""
WRONG_LINES_MAX = 3


@dataclass(frozen=True, slots=True)
class Log:
    """A file that the server may log to, and how long it was."""

    path: Path
    size_bytes: int


@as_postgres()
def now(config: Config, started: Path) -> list[Log]:
    """Files that the server may log to; `started`: where its output goes when pgvip starts it itself."""
    return [Log(path, path.stat().st_size) for path in _files(config, started) if path.is_file()]


@as_postgres()
def added(config: Config, started: Path, before: list[Log]) -> list[str]:
    """The lines that were added since `now`."""
    lines: list[str] = []
    for path in _files(config, started):
        begin = next((log.size_bytes for log in before if log.path == path), 0)
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode):
                    file.seek(max(begin, status.st_size - BYTES_MAX))
                    lines += file.read(BYTES_MAX).decode(errors="replace").splitlines()
    return lines


def _files(config: Config, started: Path) -> list[Path]:
    postgres = config.postgres
    found = [started, postgres.config_directory / "log"]
    with suppress(OSError):
        for line in (postgres.data_directory / "current_logfiles").read_text(encoding="utf-8").splitlines():
            kind, _, name = line.partition(" ")
            found += [postgres.data_directory / name] if kind == "stderr" else []
    version, cluster = postgres.config_directory.parent.name, postgres.config_directory.name
    found.append(Path(f"/var/log/postgresql/postgresql-{version}-{cluster}.log"))  # Debian's
    return found


def of_unit(unit: str, since_s: float) -> list[str]:
    """What a unit wrote to the journal in the last seconds; nothing where that cannot be read."""
    command = ["journalctl", "-u", unit, "-o", "cat", "-n", str(LINES_MAX), "--no-pager", f"--since=-{since_s:.0f}s"]
    try:
        return run(command, timeout_s=JOURNAL_S).stdout.splitlines()
    except CommandError:
        return []


def cause(lines: Iterable[str]) -> str:
    r"""The last FATAL or PANIC message that ended the server, with its detail and hint; "" when there is none.

    A server that was stopped by order, or that a signal killed, said none.

    >>> cause(["12:00 [7] FATAL:  directory \"/x\" does not exist", "12:00 [7] HINT:  Create it.", "[1] LOG:  bye"])
    'FATAL: directory "/x" does not exist; HINT: Create it.'
    """
    found: list[str] = []
    before: list[str] = []
    wrong_lines: list[str] = []
    taking = False
    for line in lines:
        entry = ENTRY.search(line)
        if entry is None:
            continue
        said = f"{entry['severity']}: {entry['text']}"
        if entry["severity"] in FATAL:
            taking = NO_CAUSE.search(entry["text"]) is None
            found = [*wrong_lines[-WRONG_LINES_MAX:], said] if taking else found
        elif taking and entry["severity"] in MORE:
            found.append(said)
        else:
            taking = False
            if LIVED_ON.search(entry["text"]):
                before, found = found, []
            if STARTUP_ENDED.search(entry["text"]):
                found = found or before
            if WRONG_LINE.search(entry["text"]):
                wrong_lines.append(entry["text"])
    return "; ".join(found)
