"""What `archive-wal` remembers between its runs, in `.pgvip` within this host's own archive. Standard library alone.

    got/SEGMENT      digest, then the destinations that have it: kept only while another one still lacks it
    pending/NAME/SEGMENT  an optional destination lacks it; for PostgreSQL it is archived
    failed/NAME      why a destination failed last, since when; removed when it works again
    hung/NAME        process that did not end when it was killed (a dead server): no other is started beside it
    ahead            what was archived before PostgreSQL asked for it (archive.ahead)
    new/             files that are being written, in this archive or in a further directory (archive.sending)

Losing it is harmless but for `pending`: what is there already is compared again and found equal.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgvip.archive import packing
from pgvip.text.numbers import whole

DIRECTORY = ".pgvip"
"""In the archive; the peer can read it with the rest."""
INDEX = "index.json"
"""In there: what the archive's host has for backups, and what WAL it needs (archive.backups). Proof of an archive."""


class Memory:
    """The directory, made when something is to be remembered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    # --- which destination has it ---------------------------------------------------------------------

    def noted(self, segment: str) -> bool:
        """True when an earlier attempt noted who has it, for whichever content."""
        return (self._directory / "got" / segment).exists()

    def having(self, segment: str, digest: str) -> set[str]:
        """Destinations that have a file with this content already."""
        first, *names = self._read("got", segment).splitlines() or [""]
        return set(names) if first == digest else set()

    def remember(self, segment: str, digest: str, names: set[str]) -> None:
        """Note which destinations have it, for the next attempt."""
        self._write("got", segment, "\n".join([digest, *sorted(names)]) + "\n")

    def forget(self, segment: str) -> None:
        self._remove("got", segment)

    # --- what optional destinations lack ----------------------------------------------------------------

    def owe(self, name: str, segment: str) -> None:
        """Note that a destination is to get it later. Raises OSError: a pending file that is not noted is a gap."""
        directory = self._sub(f"pending/{name}")
        (directory / segment).touch()
        packing.sync(directory)

    def pending(self, name: str) -> list[str]:
        """What a destination lacks, oldest name first."""
        try:
            return sorted(path.name for path in (self._directory / "pending" / name).iterdir())
        except OSError:
            return []

    def settle(self, name: str, segment: str) -> None:
        self._remove(f"pending/{name}", segment)

    @contextmanager
    def paying(self, name: str) -> Iterator[bool]:
        """Keep others from paying a destination at the same time; False when somebody is at it."""
        descriptor = os.open(self._sub("paying") / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    # --- failures --------------------------------------------------------------------------------------

    def failed(self, name: str, why: str) -> None:
        self._write("failed", name, why + "\n")

    def works(self, name: str) -> None:
        self._remove("failed", name)

    def failed_ago_s(self, name: str) -> float:
        """Seconds since a destination failed; endless when it did not."""
        try:
            return abs(time.time() - (self._directory / "failed" / name).stat().st_mtime)
        except OSError:
            return _NEVER

    def hung(self, name: str, pid: int) -> None:
        self._write("hung", name, f"{pid} {start_of(pid)}\n")

    def hanging(self, name: str) -> int:
        """Process id of a child that still hangs on a destination; 0 when there is none."""
        pid, _, start = self._read("hung", name).strip().partition(" ")
        if not pid:
            return 0
        number = whole(pid)
        if number is not None and start and start_of(number) == start:
            return number
        self._remove("hung", name)
        return 0

    # --- files -----------------------------------------------------------------------------------------

    def temporary(self, segment: str) -> Path:
        """Where a file may be unpacked, under its own name, for a command."""
        return self._sub("tmp") / segment

    def _sub(self, part: str) -> Path:
        # Not with its parent: an archive that is not there (not mounted) must not seem to be there next time.
        self._directory.mkdir(mode=0o750, exist_ok=True)
        directory = self._directory / part
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        return directory

    def _read(self, part: str, name: str) -> str:
        try:
            return (self._directory / part / name).read_text(encoding="utf-8")
        except OSError:
            return ""

    def _write(self, part: str, name: str, text: str) -> None:
        """Best effort, by rename: a full disk must not make things worse."""
        try:
            directory = self._sub(part)
            temporary = directory / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(directory / name)
        except OSError:
            return

    def _remove(self, part: str, name: str) -> None:
        try:
            (self._directory / part / name).unlink()
        except OSError:
            return


_NEVER = float("inf")


def start_of(pid: int) -> str:
    """When a process began, in clock ticks since boot (proc(5), stat, field 22); "" when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
