from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgvip.system import privileges

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write the recorded texts anew; review the diff")


@pytest.fixture(autouse=True)
def keeps_its_identity() -> Iterator[None]:
    """A command that is called here would change the user of this very process, for good.

    With a patch of its own: the tests' `monkeypatch` is undone before their fixtures end, in the usual order.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privileges, "become_postgres", lambda _config: None)
        patch.setattr(privileges, "give_up", lambda _config: None)
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the recorded one of that name, or record it."""

    def compare(name: str, text: str) -> None:
        file = TRANSCRIPTS / name
        if request.config.getoption("--rewrite-golden"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        recorded = file.read_text(encoding="utf-8") if file.exists() else ""
        assert text == recorded, f"{file} differs: review it, then record it with --rewrite-golden"

    return compare
