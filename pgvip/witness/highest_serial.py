"""What this host remembers of its witness: which it is, and the highest serial that it has reported.

A register that was restored from an older state has forgotten who has a term: it reports fewer claims than before.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.errors import FormatError, WitnessError
from pgvip.state import codec, files

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Remembered:
    """`witness_id` "": none yet."""

    witness_id: str = ""
    pair_id: str = ""
    serial: int = 0


class Memory:
    """The file, and its content. From any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._now = load(path)

    @property
    def now(self) -> Remembered:
        return self._now

    def serial(self, witness_id: str, pair_id: str) -> int:
        """The highest that this witness has reported of this pair; 0 for another one."""
        now = self._now
        return now.serial if (now.witness_id, now.pair_id) == (witness_id, pair_id) else 0

    def remember(self, witness_id: str, pair_id: str, serial: int) -> None:
        """Keep the serial if it is higher; another witness or pair takes the place of the former."""
        with self._lock:
            said, now = Remembered(witness_id, pair_id, serial), self._now
            if (now.witness_id, now.pair_id) == (witness_id, pair_id) and serial <= now.serial:
                return
            self._now = said
            # A state directory that takes nothing is said elsewhere: no record can be written either.
            with suppress(OSError):
                files.write(self._path, codec.to_json(codec.encode(said)) + "\n")


def load(path: Path) -> Remembered:
    """What is in the file; nothing without one. WitnessError for one that cannot be read."""
    try:
        return codec.decode(Remembered, codec.parse_object(files.read(path, MAX_BYTES), max_bytes=MAX_BYTES))
    except FileNotFoundError:
        return Remembered()
    except (OSError, FormatError) as failure:
        hint = f"Remove {path}; it is made again, and a witness that was restored is not noticed once."
        raise WitnessError(f"cannot read {path}", f"{failure}.", hint) from failure
