"""The entry point: every command is found, light, and fails with words and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from pgvip.cli.main import COMMANDS, GROUPS, main
from pgvip.errors import Exit

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = ("psycopg2", "psutil", "pyroute2", "scapy", "tenacity", "cryptography", "h11")
HEAVY = (*LIBRARIES, "pgvip.daemon", "pgvip.core.decide")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*name.split(), "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: pgvip {name}")


@pytest.mark.parametrize("name", [name for name, entry in COMMANDS.items() if not entry.plain])
def test_list_and_module_say_the_same(name: str) -> None:
    assert COMMANDS[name].help == import_module(COMMANDS[name].module).HELP


def test_list_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == Exit.USAGE
    shown = capsys.readouterr().err
    for name, entry in COMMANDS.items():
        assert name in shown
        assert entry.help in shown


def test_every_command_is_in_one_group_of_the_help() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_of_a_group_lists_its_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["archive", flag])
    assert caught.value.code == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["archive clean", "archive export", "archive status"]
    assert lines[0].endswith(COMMANDS["archive clean"].help)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "command: fly; see"),
        (["swichover"], "did you mean: switchover"),
        (["config"], "did you mean: config apply, config check"),
        (["--sideways", "x"], "usage"),
    ],
)
def test_unknown_words_are_usage_errors(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == Exit.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--config", "{}", "status"], ["status", "--config", "{}"], ["pause", "--config={}"]]
)
def test_missing_configuration_is_exit_3_in_both_places(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none.toml"
    assert main([word.format(file) for word in words]) == Exit.CONFIG
    error = capsys.readouterr().err
    assert error.startswith("pgvip: error: ")
    assert str(file) in error
    assert "HINT: " in error


WITH_JSON = ("config diff", "drill", "explain", "restart", "rotate", "status", "witness status")


@pytest.mark.parametrize("name", WITH_JSON)
def test_whoever_asks_for_an_object_gets_one_of_a_failure_too(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    code = main(["--config", str(tmp_path / "none.toml"), *name.split(), "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (code, found["ok"], found["exit_code"]) == (Exit.CONFIG, False, Exit.CONFIG)
    assert "none.toml" in found["error"]
    assert said.err == ""


@pytest.mark.parametrize("name", ["status", "watch", "history", "pause", "archive-wal", "restore-wal"])
def test_frequent_commands_import_nothing_heavy(name: str) -> None:
    code = (
        "import sys\nfrom pgvip.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        f"print([one for one in {HEAVY!r} if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_arguments_of_the_wal_commands_are_their_own(tmp_path: Path) -> None:
    source, archive = tmp_path / "000000010000000000000001", tmp_path / "archive"
    source.write_bytes(b"wal")
    archive.mkdir()
    assert main(["archive-wal", "--directory", str(archive), str(source)]) == 0
    assert (archive / source.name).read_bytes() == b"wal"


def test_reader_that_has_seen_enough_is_no_traceback() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m pgvip.cli.main --help | head -1"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
