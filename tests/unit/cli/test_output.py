"""What commands print for people: no text from elsewhere can command the terminal, or look like a line of ours."""

from __future__ import annotations

import copy
import json
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from pgvip.errors import Exit
from pgvip.text.schema import SCHEMA
from pgvip.text.writing import one_line, printable
from tests.unit.cli.test_orders import Daemon
from tests.unit.cli.test_status import everything_wrong
from tests.unit.web_world import BESIDE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.test_orders import Reply

CONTROLS = "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b1m\r\b\x7f\x00\u202e\u2066\u200b\u2028"
"""A title, an emptied screen, colours in 7 and 8 bits, overwriting, a turned direction, a line end."""
FORGED = "no warnings at all"
HOSTILE = f"{CONTROLS}\n{FORGED}\n\t{FORGED}"
EVENT = {
    "seq": 1, "series": "a", "at": "2026-01-01T00:00:00.000Z", "host": "beta", "pair": "shop", "event": "link",
    "level": "warning", "text": "the link is up", "term": 4, "fields": {"name": "value"},
}  # fmt: skip
SCENARIO = {
    "name": "power", "title": "alpha loses power", "summary": "beta takes over", "loss": "nothing", "outage_s": 1.0,
    "outage_max_s": 2.0, "read_outage_s": 0.0, "cautions": ["beware"], "blockers": [
        {"name": "fence", "text": "no fence", "hint": "configure one"},
    ], "steps": [{"at_s": 1.0, "host": "beta", "text": "claims", "change": "take-over-by-fence"}],
}  # fmt: skip
EXPLAINED = {
    "pair": "shop", "host": "alpha", "primary": "alpha", "standby": "beta", "takeover_works": True,
    "scenarios": [SCENARIO],
}  # fmt: skip
CHECKS = [{"name": "lag", "level": "failed", "text": "too far behind", "hint": "wait", "hard": True}]
FAILURE = {"ok": False, "error": "refused", "detail": "Because.", "hint": "Wait.", "exit_code": 5}


def poisoned(value: Any) -> Any:
    """The same with a hostile end in every text."""
    if isinstance(value, dict):
        return {key: one if key == "level" else poisoned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def status() -> dict[str, Any]:
    document = everything_wrong() | copy.deepcopy(BESIDE)
    document["peer"]["hold"] = document["link"]["last_error"] = document["fencing"]["reason"] = "why"
    document["pause"] = {"active": True, "reason": "why", "at": "noon", "until": "one", "by": "ann", "host": "beta"}
    document["fencing"].update(configured=True, ok=False)
    document["drill"].update(ok=False, failure="why")
    return document


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Answers everything with hostile texts."""
    made = Daemon(tmp_path)
    answers = {
        "status": {"ok": True, "status": poisoned(status())},
        "events": {"ok": True, "events": [poisoned(EVENT), {**poisoned(EVENT), "at": EVENT["at"]}]},
        "history": {"ok": True, "samples": [{"lag_s": 0.5, "lag_bytes": 10.0}]},
        "explain": {"ok": True, "explain": poisoned(EXPLAINED)},
        "switchover": {**poisoned(FAILURE), "checks": poisoned(CHECKS)},
        "promote": {"ok": True, **poisoned({"text": "done", "warning": "beware", "confirm": "no", "what": "a name"})},
    }

    def answer(reply: Reply) -> None:
        command = made.asked[-1]["command"]
        reply({"progress": f"working{HOSTILE}"})
        reply(answers.get(command, {"ok": True, "text": f"done{HOSTILE}"}))

    made.answer = answer
    made.server.start()
    yield made
    made.server.close()


def obeyed(text: str) -> set[str]:
    """The characters that a terminal would obey, but for newlines and tabs."""
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one not in "\n\t"}


@pytest.mark.parametrize(
    "words",
    [
        ["status"], ["status", "--verbose"], ["events"], ["watch", "--once"], ["explain"], ["explain", "--short"],
        ["switchover"], ["switchover", "--dry-run"], ["pause", "why"], ["promote", "--force", "--dry-run"],
        ["promote", "--force", "--yes", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_text_commands_the_terminal(daemon: Daemon, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    daemon.run(*words)
    printed = "".join(capsys.readouterr())
    assert "\\x1b[2J" in printed, "it is shown all the same"
    assert not obeyed(printed)
    if words[0] in ("status", "events", "watch", "explain"):
        assert FORGED in printed
        # A wrapped line goes on deeper than any line begins.
        lines = [line for line in printed.splitlines() if not line.startswith(8 * " ")]
        assert not [line for line in lines if line.strip().startswith(FORGED)]


def test_every_text_of_an_event_is_shown_on_its_one_line(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.run("events") == Exit.OK
    wrong_time, right_time = capsys.readouterr().out.splitlines()
    assert wrong_time.startswith(f"{EVENT['at']}\\x1b]0;")
    assert "the link is up\\x1b]0;" in right_time


@pytest.mark.parametrize("words", [["status"], ["explain"], ["pause", "why"], ["switchover"]], ids=" ".join)
def test_programs_get_the_texts_as_they_are(
    daemon: Daemon, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.run(*words, "--json")
    printed = capsys.readouterr().out
    assert printed.isascii()
    document = json.loads(printed)
    assert next(iter(document)) == "schema"
    assert HOSTILE in str(document["pair"] if "pair" in document else document.get("text", document.get("error")))


def test_the_version_of_the_keys_is_the_first_key_of_every_object(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answer = lambda reply: reply({"ok": True, "events": [EVENT, {**EVENT, "seq": 2}]})
    daemon.run("events", "--json")
    daemon.server.close()
    for words in (["status"], ["resume"], ["check"], ["conninfo"], ["explain"]):
        daemon.run(*words, "--json")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 7
    assert [(next(iter(one)), one["schema"]) for one in found] == [("schema", SCHEMA)] * 7


def test_other_languages_stay_as_they_are() -> None:
    text = "l'utilisateur «\u00a0postgres\u00a0» n'existe pas, пользователь, 用户, 😀, e\u0301"
    assert printable(text) == one_line(text) == text
    assert printable("a\n\tb") == "a\n\tb"
    assert one_line(printable(HOSTILE)) == printable(one_line(HOSTILE)) == one_line(HOSTILE)
