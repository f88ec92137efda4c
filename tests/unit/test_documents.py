"""Documents that say where things are: links, rooms, commands. Others are compared by the tests of their subject."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgvip.cli.main import COMMANDS
from tests.unit.test_architecture import FLOORS

REPOSITORY = Path(__file__).parents[2]
INSTALLED = REPOSITORY / "docs"
PAGES = sorted({
    *REPOSITORY.glob("*.md"), *INSTALLED.glob("*.md"), *INSTALLED.glob("dev/*.md"), *REPOSITORY.glob("tests/*/*.md"),
    *INSTALLED.glob("procedures/*.md"),
})  # fmt: skip
NAMED_TEST = re.compile(r"`(?:tests/)?([\w/]+/\w+\.py)::(\w+)`")
WITH_THE_PROGRAM = (INSTALLED, INSTALLED / "procedures")
"""What `scripts/install` copies."""
ARCHITECTURE = (INSTALLED / "architecture.md").read_text(encoding="utf-8")


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    """Within the project, and from what is installed on hosts to nothing that is not."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if "://" in link:
            continue
        name, _, section = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if section:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert section in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, link
        if path.parent in WITH_THE_PROGRAM:
            assert target.parent in WITH_THE_PROGRAM or target == REPOSITORY / "README.md", f"{link} is not installed"


def test_the_rooms_are_on_the_floors_that_are_enforced() -> None:
    floor, rooms = 0, set()
    for row in re.findall(r"^\| (\d?) ?\| (`\w+/`.*?) \|", ARCHITECTURE, re.MULTILINE):
        floor = int(row[0] or floor)
        for room in re.findall(r"`(\w+)/`", row[1]):
            assert room in FLOORS[floor - 1], f"{room} is not on floor {floor}"
            rooms.add(room)
    assert rooms == {part for parts in FLOORS for part in parts} - {"errors", "deadlines"}


def test_the_modules_that_the_architecture_names_are_there() -> None:
    names = set(re.findall(r"`((?:\w+/)+\w*(?:\.\w+)?)`", ARCHITECTURE))
    places = (REPOSITORY, REPOSITORY / "pgvip")
    assert len(names) > 50
    assert [name for name in sorted(names) if not any((place / name).exists() for place in places)] == []


CITING = sorted({
    path for folder in ("pgvip", "tests", "scripts", "conf", "systemd") for path in (REPOSITORY / folder).rglob("*")
    if path.is_file() and path.suffix in ("", ".py", ".sql", ".toml", ".yml", ".service")
})  # fmt: skip
SAMPLES = {REPOSITORY / "tests" / "unit" / "test_documents.py"}


def headings(page: Path) -> set[str]:
    return set(re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE))


def wrong_citations(text: str) -> list[str]:
    """What a text cites and the project lacks: pages, their sections (`docs/x.md, "Section"`), marks ([m 9, 11])."""
    plain = re.sub(r"\s+(?:#|--)?\s*", " ", text).replace("file:///opt/pgvip/share/", "")
    found = list[str]()
    for name, section in re.findall(r"((?:[\w-]+/)*[\w-]*[A-Za-z]\.md)\b(?:, \"([^\"]*)\")?", plain):
        pages = [page for page in PAGES if page.as_posix().endswith("/" + name)]
        if not pages or (section and not any(section in headings(page) for page in pages)):
            found.append(f'{name}, "{section}"' if section else name)
    known = set(re.findall(r"^\| m (\d+) \|", (INSTALLED / "protocol.md").read_text(encoding="utf-8"), re.MULTILINE))
    for numbers in re.findall(r"\[m ([\d, ]+)\]", plain):
        found += [f"m {number}" for number in re.split(r",\s*", numbers) if number not in known]
    return found


def test_what_the_code_cites_is_in_the_project() -> None:
    assert len(CITING) > 300
    texts = {path: path.read_text(encoding="utf-8") for path in CITING if path not in SAMPLES}
    assert sum("docs/protocol.md" in text for text in texts.values()) > 20
    assert {relative(path): wrong for path, text in texts.items() if (wrong := wrong_citations(text))} == {}


def test_a_wrong_citation_is_seen() -> None:
    assert wrong_citations('(docs/protocol.md, "The record"), [m 1], [m 9, 11], docs/dev/proof.md, README.md') == []
    assert wrong_citations("as PLAN.md says") == ["PLAN.md"]
    assert wrong_citations('see (docs/protocol.md,\n    # "No such") and [m 9, 99]') == [
        'docs/protocol.md, "No such"', "m 99",
    ]  # fmt: skip


def test_the_tests_that_documents_name_are_there() -> None:
    named = {pair for path in (REPOSITORY / "docs/dev").glob("*.md") for pair in NAMED_TEST.findall(path.read_text())}
    assert len(named) > 30
    sources = {file: (REPOSITORY / "tests" / file).read_text() for file, _ in named}
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in sources[file]] == []


def test_every_command_is_in_the_table() -> None:
    table = (INSTALLED / "commands.md").read_text(encoding="utf-8")
    words = {word for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for word in re.findall(r"[\w-]+", cell)}
    assert [name for name in COMMANDS if not set(name.split()) <= words] == []
