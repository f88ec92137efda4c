"""One term for one thing: words that were given up do not come back, in documents, messages, settings or recordings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

GONE = {
    r"mend(s|ed|ing)?": "hint, or repair",
    r"concern(s|ed|ing)?": "warning",
    r"kick(s|ed|ing)?": "wake",
    r"ow(e|es|ed|ing)": "pending",
    r"debts?": "pending",
    r"upkeep": "maintenance",
    r"gist|essence": "significant part",
    r"yielding": "giving up",
    r"troubles?|troubled": "failures, problem",
    r"shots?": "snapshot",
    r"the dog": "the watchdog",
    r"in deed": "verified, really",
    r"beside (the|its|their) (loop|rounds?|heartbeats?)|beside everything": "in the background",
    r"(?<!-)(told(?!-)|tells?|telling)(?! (\w+ )?apart)": "reports, reported, message",
    r"looks? at|looked at|(last|latest|next|every|each|new) looks?": "probe, check",
    r"last word|own words?": "last message, own fields",
    r"holds good": "is in force",
    r"(stands|stood|standing) (in|for|still|until|below|beside|there)": "is in, lasts, hangs",
    r"(?<!returns\s)void": "not valid any more, invalid",
    r"strikes?|struck": "happens, causes",
}
"""Words that are not used any more, and what is used instead."""

DOCUMENTS = sorted({
    *REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("docs/procedures/*.md"),
    *REPOSITORY.glob("tests/*/*.md"),
    *REPOSITORY.glob("conf/*"), *REPOSITORY.glob("systemd/*"),
})  # fmt: skip
DEVELOPERS = sorted(REPOSITORY.glob("docs/dev/*.md"))
RECORDED = sorted(REPOSITORY.glob("tests/transcripts/*"))
MODULES = sorted((REPOSITORY / "pgvip").rglob("*.py"))
OTHERS = sorted(path for path in (REPOSITORY / "pgvip").rglob("*") if path.suffix in {".sql", ".css", ".js"})


def pattern(words: str) -> re.Pattern[str]:
    """Whole words, also where a line ends between two of them."""
    anywhere = words.replace(" ", r"\s+")
    return re.compile(rf"\b(?:{anywhere})\b", re.IGNORECASE)


def found(text: str) -> list[str]:
    """Each word that is gone, with its line and what is used instead."""
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}; use: {instead}"
        for words, instead in GONE.items()
        for match in pattern(words).finditer(text)
    ]


def strings(module: Path) -> Iterator[tuple[int, str]]:
    """Every text in a module, docstrings included; an f-string by its constant parts."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize(("text", "hits"), [
    ("It mends itself.", 1), ("a mended fence; amended, recommended", 1), ("is owed, is owned", 1),
    ("Trouble, troubleshooting", 1), ("a snapshot", 0), ("a shot", 1), ("watchdog, dog, the dog", 1),
    ("given up in deed, indeed", 1), ("the essential part", 0), ("beside the loop, beside the old data", 1),
    ("it is told", 1), ("it cannot tell them apart, told apart, told-free", 0), ("is looked\n    at, looks up", 1),
    ("is void; RETURNS void", 1), ("the word stands in the file, stands", 1),
])  # fmt: skip
def test_the_table_means_whole_words(text: str, hits: int) -> None:
    assert len(found(text)) == hits


def test_there_is_something_to_read() -> None:
    assert len(DOCUMENTS) > 25
    assert len(RECORDED) > 8
    assert len(MODULES) > 200
    assert DEVELOPERS
    assert OTHERS


@pytest.mark.parametrize("path", [*DOCUMENTS, *DEVELOPERS, *RECORDED, *OTHERS], ids=relative)
def test_documents_and_recordings(path: Path) -> None:
    assert found(path.read_text(encoding="utf-8")) == []


def test_messages_and_docstrings() -> None:
    """One test for all modules: a word that is gone is named with its place."""
    hits = []
    for module in MODULES:
        for line, text in strings(module):
            hits += [f"{relative(module)}, string at line {line}, {hit}" for hit in found(text)]
    assert hits == []
