"""What earlier runs found, kept beside the tree, and the list of survivors that are known to be harmless."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutation.judge import HUNG, KILLED, REFUSED, SURVIVED, Verdict
from tests.mutation.mutants import Mutant

KEPT = Path(".mutants.json")
HARMLESS = Path("docs/dev/mutants.md")
MARK = "- `"


@dataclass(slots=True)
class Entry:
    """`unit`: digest of the mutated statement's surroundings. `files`: those that it survived, with their digests."""

    unit: str
    outcome: str
    by: str = ""
    files: dict[str, str] = field(default_factory=dict)


class Kept:
    """Results of earlier runs; one counts while the function (or statement) around the mutant stays as it was.

    A killed mutant stays killed while the test that killed it is there. A survivor is judged again by test files that
    are new or changed since. `whole`: all tests of those files are run.
    """

    def __init__(self, files: list[str], *, fresh: bool, whole: bool) -> None:
        self.whole = whole
        self.digests = {name: _digest(Path(name)) for name in files}
        self.entries: dict[str, Entry] = {}
        if KEPT.exists() and not fresh:
            stored: dict[str, dict[str, Any]] = json.loads(KEPT.read_text(encoding="utf-8"))
            self.entries = {identity: Entry(**values) for identity, values in stored.items()}

    def entry(self, mutant: Mutant) -> Entry | None:
        entry = self.entries.get(mutant.identity)
        return entry if entry is not None and entry.unit == mutant.unit else None

    def is_settled(self, mutant: Mutant) -> bool:
        """Nothing is left to run against it."""
        entry = self.entry(mutant)
        if entry is None:
            return False
        if entry.outcome == REFUSED:
            return True
        if entry.outcome in (KILLED, HUNG):
            file, _, test = entry.by.partition("::")
            return not test or _has_test(Path(file), test)
        return all(entry.files.get(name) == digest for name, digest in self.digests.items())

    def skips(self, mutant: Mutant, test: str) -> bool:
        """The mutant has survived this test as it is now."""
        entry, file = self.entry(mutant), test.partition("::")[0]
        return entry is not None and entry.outcome == SURVIVED and entry.files.get(file) == self.digests.get(file)

    def add(self, mutant: Mutant, verdict: Verdict) -> None:
        entry = self.entry(mutant)
        survived = verdict.outcome == SURVIVED
        passed = self.digests if self.whole else {}
        files = {**(entry.files if entry else {}), **passed} if survived else {}
        self.entries[mutant.identity] = Entry(mutant.unit, verdict.outcome, verdict.by, files)

    def write(self) -> None:
        stored = {
            name: {"unit": each.unit, "outcome": each.outcome, "by": each.by, "files": each.files}
            for name, each in sorted(self.entries.items())
        }
        new = KEPT.with_suffix(".new")
        new.write_text(json.dumps(stored, indent=0), encoding="utf-8")
        new.rename(KEPT)


def harmless() -> set[str]:
    """The identities listed in the document, each with its reason above it."""
    if not HARMLESS.exists():
        return set()
    lines = HARMLESS.read_text(encoding="utf-8").splitlines()
    return {line.removeprefix(MARK).removesuffix("`") for line in lines if line.startswith(MARK)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _has_test(path: Path, test: str) -> bool:
    return path.exists() and f"def {test.partition('[')[0]}(" in path.read_text(encoding="utf-8")
