"""External commands: started in a session of their own, bounded in time and output, ended as a group.

A daemonised grandchild that keeps the pipes open (`pg_ctl start` leaves PostgreSQL holding them) is not
waited for: the command is over when its own process is.
"""

from __future__ import annotations

import os
import pwd
import selectors
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from pgvip.deadlines import Deadline
from pgvip.errors import CommandError
from pgvip.system.reserve import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

OUTPUT_BYTES_MAX = 1 << 20
"""How much of each output is kept: its end. More than any tool that is used here prints in earnest."""

CHUNK_BYTES = 1 << 16
TERM_GRACE_S = 1.0
"""How long a command may tidy up between SIGTERM and SIGKILL."""

DYING_S = 2.0
"""How long the end of a killed process is awaited; one in D state is left to itself after that."""

PRIVATE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""What systemd passed to the daemon and nobody else."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. `returncode` is negative for a signal, as in `subprocess`."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """The last lines of its errors, else of its output: what a person would want to read."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return "\n".join(lines[-5:])


@dataclass(slots=True)
class _Stream:
    """One output while it grows."""

    on_line: Callable[[str], None] | None
    kept: bytearray = field(default_factory=bytearray)
    partial: bytes = b""

    def take(self, data: bytes) -> None:
        self.kept += data
        if len(self.kept) > 2 * OUTPUT_BYTES_MAX:
            del self.kept[:-OUTPUT_BYTES_MAX]
        if self.on_line is None:
            return
        *lines, self.partial = (self.partial + data).replace(b"\r", b"\n").split(b"\n")
        self.partial = self.partial[-CHUNK_BYTES:]
        for line in filter(None, lines):
            self.on_line(line.decode(errors="replace"))

    def close(self) -> None:
        if self.on_line is not None and self.partial:
            self.on_line(self.partial.decode(errors="replace"))
            self.partial = b""

    @property
    def text(self) -> str:
        return bytes(self.kept[-OUTPUT_BYTES_MAX:]).decode(errors="replace")


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    user: str | None = None,
    input_text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    on_line: Callable[[str], None] | None = None,
    die_with_caller: bool = False,
    grace_s: float = TERM_GRACE_S,
) -> Completed:
    """Run a command to its end, whatever that is.

    `user`: a system user to become, with its groups. `input_text`: its standard input, never shown in an
    error. `env`: added to a neutral environment in the C locale. `on_line`: called with each line of output
    as it comes (a carriage return ends one too). `die_with_caller`: the kernel ends the command when the
    calling thread ends, so that a killed daemon leaves no base backup behind.

    Raises CommandError when it cannot be started or is not over within `timeout_s`; its whole process group
    is ended then (SIGTERM, after `grace_s` SIGKILL).
    """
    words = [str(word) for word in argv]
    tied = ["setpriv", "--pdeathsig", "KILL", "--"] if die_with_caller else []
    with _standard_input(input_text) as stdin:
        child = _spawn([*tied, *words], stdin, user, environment(env, user), cwd)
    streams = (_Stream(on_line), _Stream(on_line))
    finished = False
    try:
        finished = _collect(child, streams, Deadline.after(timeout_s))
    finally:
        if not finished:
            _end_group(child, grace_s, DYING_S)
        _close(child, streams)
    texts = [stream.text for stream in streams]
    if not finished:
        said = Completed(-1, *texts).said
        raise CommandError(
            f"{_name(words)} did not finish within {timeout_s:g} s", f"It was ended. {said}".strip()
        )
    return Completed(child.returncode, *texts)


def check(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    user: str | None = None,
    input_text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    on_line: Callable[[str], None] | None = None,
    die_with_caller: bool = False,
) -> Completed:
    """Like `run`, and raises CommandError when the command fails; its last lines are the detail."""
    completed = run(
        argv,
        timeout_s=timeout_s,
        user=user,
        input_text=input_text,
        env=env,
        cwd=cwd,
        on_line=on_line,
        die_with_caller=die_with_caller,
    )
    if completed.returncode != 0:
        raise CommandError(f"{_name(argv)} {describe(completed.returncode)}", completed.said)
    return completed


def begin(argv: Sequence[str | Path], *, user: str | None = None) -> subprocess.Popen[bytes]:
    """Start a command whose output the caller reads as it comes, from `stdout`; `finish` must follow. CommandError."""
    with _standard_input(None) as stdin:
        return _spawn([str(word) for word in argv], stdin, user, environment(None, user), None)


def finish(child: subprocess.Popen[bytes]) -> bool:
    """End what `begin` started, whether it is over or not. False: it hangs in the kernel, and is left behind."""
    if child.poll() is None:
        _end_group(child, 0.0, DYING_S)
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    return child.returncode is not None


class Lookout:
    """Runs commands that may end in D state (a dead NFS server): one that hangs is left alone.

    As long as it hangs no other is started beside it, so that hung processes do not pile up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hung: subprocess.Popen[bytes] | None = None
        self._hung_argv = ""

    def run(self, argv: Sequence[str | Path], *, timeout_s: float) -> Completed:
        """Like the function `run`. CommandError at once while an earlier command still hangs, or is just running."""
        words = [str(word) for word in argv]
        if not self._lock.acquire(timeout=timeout_s):
            raise CommandError(f"{_name(words)} was not started", "Another command is still running.")
        try:
            return self._run(words, timeout_s)
        finally:
            self._lock.release()

    def _run(self, words: list[str], timeout_s: float) -> Completed:
        if self._hung is not None and self._hung.poll() is None:
            detail = f'"{self._hung_argv}" (pid {self._hung.pid}) still hangs in the kernel.'
            raise CommandError(f"{_name(words)} was not started", detail)
        self._hung = None
        with _standard_input(None) as stdin:
            child = _spawn(words, stdin, None, environment(None, None), None)
        streams = (_Stream(None), _Stream(None))
        finished = _collect(child, streams, Deadline.after(timeout_s))
        if not finished:
            _end_group(child, 0.0, 0.1)
        _close(child, streams)
        if child.returncode is None:
            self._hung, self._hung_argv = child, " ".join(words)
        if not finished:
            raise CommandError(f"{_name(words)} did not finish within {timeout_s:g} s")
        return Completed(child.returncode, streams[0].text, streams[1].text)


def describe(returncode: int) -> str:
    """Say how a command ended.

    >>> describe(3), describe(-9)
    ('failed with exit code 3', 'was ended by signal 9 (SIGKILL)')
    """
    if returncode >= 0:
        return f"failed with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "unknown"
    return f"was ended by signal {-returncode} ({name})"


def _name(argv: Sequence[str | Path]) -> str:
    return os.path.basename(str(argv[0]))  # noqa: PTH119  # a word, not a path to touch


def _standard_input(text: str | None) -> IO[bytes]:
    """A file in memory: never blocks the writer, and is nowhere on a disk."""
    file = os.fdopen(os.memfd_create("pgvip-input", os.MFD_CLOEXEC), "r+b")
    file.write((text or "").encode())
    file.flush()
    file.seek(0)
    return file


def environment(extra: Mapping[str, str] | None, user: str | None) -> dict[str, str]:
    """The caller's environment without what would change how tools speak or where libpq connects."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in PRIVATE and not key.startswith(("PG", "LC_", "LANG"))
    }
    kept["LC_ALL"] = "C"
    kept.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if user is not None:
        kept["USER"] = kept["LOGNAME"] = user
        try:
            kept["HOME"] = pwd.getpwnam(user).pw_dir
        except KeyError:
            raise CommandError(f'system user "{user}" does not exist') from None
    return kept | dict(extra or {})


def _spawn(
    words: list[str], stdin: IO[bytes], user: str | None, env: dict[str, str], cwd: str | Path | None
) -> subprocess.Popen[bytes]:
    account = pwd.getpwnam(user) if user is not None else None
    if account is not None and os.geteuid() == account.pw_uid != 0:
        account = None  # a worker, which is this user for good
    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=env,
            cwd="/" if cwd is None else cwd,
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else os.getgrouplist(account.pw_name, account.pw_gid),
        )

    try:
        return TASKS.room_for(begin)
    except (OSError, subprocess.SubprocessError) as failure:
        raise CommandError(f"could not run {_name(words)}", f"{failure}.") from failure


def _collect(child: subprocess.Popen[bytes], streams: tuple[_Stream, _Stream], deadline: Deadline) -> bool:
    """Gather output until the child itself has ended; False when it has not in time."""
    pipes = dict(zip(_pipes(child), streams, strict=True))
    ended = os.pidfd_open(child.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            for descriptor in pipes:
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            while not deadline.expired:
                ready = {key.fd for key, _ in selector.select(deadline.left_s())}
                for descriptor in ready - {ended}:
                    if not _drain(descriptor, pipes[descriptor]):
                        selector.unregister(descriptor)
                        del pipes[descriptor]
                if ended in ready:
                    child.wait()
                    return True
    finally:
        os.close(ended)
    return False


def _pipes(child: subprocess.Popen[bytes]) -> tuple[int, int]:
    assert child.stdout is not None  # both are pipes, see _spawn
    assert child.stderr is not None
    return child.stdout.fileno(), child.stderr.fileno()


def _close(child: subprocess.Popen[bytes], streams: tuple[_Stream, _Stream]) -> None:
    """Take what is left in the pipes and let go of them, whoever else still holds them."""
    for pipe, stream in zip((child.stdout, child.stderr), streams, strict=True):
        if pipe is not None:
            _drain(pipe.fileno(), stream)
            stream.close()
            pipe.close()


def _drain(descriptor: int, stream: _Stream) -> bool:
    """Take what is there, bounded; False when all writers are gone."""
    for _ in range(64):
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        stream.take(data)
    return True


def _end_group(child: subprocess.Popen[bytes], grace_s: float, dying_s: float) -> None:
    """End a command with everything in its process group; one stuck in D state is left behind."""
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, dying_s)):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
