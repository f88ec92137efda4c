"""Help, completion and manual pages: one source, and each really works in the program that it is for."""

from __future__ import annotations

import argparse
import doctest
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pgvip.cli import man
from pgvip.cli.completion import SHELLS
from pgvip.cli.described import Described, described
from pgvip.cli.main import COMMANDS, main
from pgvip.errors import Exit

ALL = described()
BY_NAME = {one.name: one for one in ALL}


# --- help ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ALL, ids=lambda one: one.name)
def test_every_command_has_an_example_that_it_understands_and_its_exit_codes(command: Described) -> None:
    assert "exit codes:" in command.epilog
    example = re.search(r"example:\n  (.*)", command.epilog)
    assert example, "no example"
    assert f"pgvip {command.name}" in example[1] or f"pgvip --config /etc/pgvip/pgvip.toml {command.name}" in example[1]
    assert command.text.endswith("."), command.text[-60:]


def test_help_of_every_command(monkeypatch: pytest.MonkeyPatch, capsys: Any, golden: Any) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    texts = []
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([*name.split(), "--help"])
        usage, rest = capsys.readouterr().out.split("\n\n", 1)
        # Where the usage is wrapped depends on the version of Python.
        texts.append(f"$ pgvip {name} --help\n{' '.join(usage.split())}\n\n{rest}")
    golden("help.txt", "\n".join(texts))


def test_what_is_described_is_what_is_parsed() -> None:
    switchover = BY_NAME["switchover"]
    assert {"--dry-run", "--wait", "--json", "--config"} <= {flag for word in switchover.options for flag in word.flags}
    (form,) = [word for word in BY_NAME["conninfo"].options if "--format" in word.flags]
    assert form.takes_value
    assert "jdbc" in form.choices
    (bundle,) = BY_NAME["clone"].positionals
    assert bundle.file
    assert not bundle.optional
    assert argparse.SUPPRESS not in {word.help for one in ALL for word in one.words}
    assert all("%" not in word.help.replace("%p", "").replace("%f", "") for one in ALL for word in one.words)


# --- bash ------------------------------------------------------------------------------------------------------

BASH = """
{script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _pgvip
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def in_bash(*words: str, cwd: Path | None = None) -> list[str]:
    """What a Tab behind the last word offers."""
    quoted = " ".join(f"'{word}'" for word in words)
    script = BASH.format(script=SHELLS["bash"](ALL), words=quoted)
    done = subprocess.run(
        ["bash", "--norc", "-u", "-c", script], capture_output=True, text=True, timeout=30, check=True, cwd=cwd
    )
    assert not done.stderr
    return done.stdout.split()


def test_bash_completes_commands() -> None:
    assert in_bash("pgvip", "swi") == ["switchover"]
    offered = in_bash("pgvip", "")
    assert {name.split()[0] for name in COMMANDS} | {"--config", "--version"} <= set(offered)
    assert sorted(in_bash("pgvip", "config", "")) == ["apply", "check", "diff", "push"]


def test_bash_completes_options_and_values() -> None:
    assert in_bash("pgvip", "switchover", "--dr") == ["--dry-run"]
    assert in_bash("pgvip", "config", "check", "--fi") == ["--file-only"]
    assert in_bash("pgvip", "conninfo", "--format", "j") == ["jdbc"]
    assert in_bash("pgvip", "conninfo", "--format", "=", "li") == ["libpq"]
    assert in_bash("pgvip", "conninfo", "--format", "=") == list(next(
        word for word in BY_NAME["conninfo"].options if "--format" in word.flags
    ).choices)  # fmt: skip
    assert in_bash("pgvip", "fence", "st") == ["status"]
    assert in_bash("pgvip", "completion", "") == [*SHELLS, *(
        max(word.flags, key=len) for word in BY_NAME["completion"].options
    )]  # fmt: skip


def test_bash_is_not_misled_by_values_of_options() -> None:
    assert in_bash("pgvip", "--config", "pause", "sta") == ["status"]
    assert in_bash("pgvip", "--config", "=", "pause", "sta") == ["status"]
    assert in_bash("pgvip", "--host", "db1", "switchover", "--can") == ["--cancel"]
    assert in_bash("pgvip", "drill", "--rate", "") == [], "a number is not offered"
    assert in_bash("pgvip", "nonsense", "") == []


def test_bash_completes_files(tmp_path: Path) -> None:
    (tmp_path / "pair.bundle").touch()
    assert in_bash("pgvip", "clone", "pa", cwd=tmp_path) == ["pair.bundle"]
    assert in_bash("pgvip", "clone", "--rep", cwd=tmp_path) == ["--replace"]
    assert in_bash("pgvip", "--config", "pa", cwd=tmp_path) == ["pair.bundle"]
    assert in_bash("pgvip", "init", "--bundle", "pa", cwd=tmp_path) == ["pair.bundle"]


# --- fish and zsh ------------------------------------------------------------------------------------------------


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (scripts/setup-machine installs it)")


@pytest.mark.parametrize(("line", "offered"), [
    ("pgvip swi", "switchover"), ("pgvip switchover --dr", "--dry-run"), ("pgvip conninfo --format j", "jdbc"),
    ("pgvip config ch", "check"), ("pgvip config check --file-", "--file-only"), ("pgvip fence st", "status"),
])  # fmt: skip
def test_fish_completes(line: str, offered: str, tmp_path: Path) -> None:
    need("fish")
    script = tmp_path / "pgvip.fish"
    script.write_text(SHELLS["fish"](ALL))
    env = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    argv = ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True, env=env)
    assert [word.split("\t")[0] for word in done.stdout.splitlines()] == [offered], done.stderr


class Zsh:
    """An interactive zsh in a pseudo-terminal."""

    def __init__(self, directory: Path) -> None:
        self.master, slave = pty.openpty()
        env = {"HOME": str(directory), "TERM": "dumb", "PATH": os.environ["PATH"], "PS1": "%% "}
        self.process = subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)
        self.text = ""

    def say(self, keys: str, wanted: str) -> str:
        """Type, and wait for what is wanted."""
        os.write(self.master, keys.encode())
        end_s = time.monotonic() + 20
        while wanted not in self.text:
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"no {wanted!r} in {self.text!r}"
            if select.select([self.master], [], [], left_s)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        seen, self.text = self.text, ""
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_zsh_completes(tmp_path: Path) -> None:
    need("zsh")
    (tmp_path / "_pgvip").write_text(SHELLS["zsh"](ALL))
    shell = Zsh(tmp_path)
    try:
        shell.say(f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -D -u; print ready$((1+1))\r", "ready2")
        for line, rest in (
            ("pgvip swi", "tchover"), ("pgvip switchover --dr", "y-run"), ("pgvip conninfo --format jd", "bc"),
            ("pgvip config chec", "k"), ("pgvip config check --file-", "only"), ("pgvip fence sta", "tus"),
        ):  # fmt: skip
            shell.say(f"{line}\t", line + rest)
            shell.say("\x15print next$((1+1))\r", "next2")
    finally:
        shell.close()


# --- the manual ----------------------------------------------------------------------------------------------


def test_doctests() -> None:
    assert doctest.testmod(man) == (0, 2)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("man") / "man1"
    man.write(man.pages(ALL), directory)
    return directory


def test_there_is_a_page_for_each_command(pages: Path) -> None:
    assert {path.name for path in pages.iterdir()} == {"pgvip.1", *(man.page_name(name) for name in COMMANDS)}
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in pages.iterdir())


def test_pages_render_without_a_warning(pages: Path) -> None:
    need("groff")
    for page in sorted(pages.iterdir()):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", str(page)], capture_output=True, text=True, timeout=30, check=True
        )
        assert not done.stderr, f"{page.name}: {done.stderr}"


def test_pages_pass_the_linter(pages: Path) -> None:
    need("mandoc")
    argv = ["mandoc", "-T", "lint", "-W", "warning", *map(str, sorted(pages.iterdir()))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert not done.stdout + done.stderr


def test_a_page_says_what_help_says(pages: Path) -> None:
    need("mandoc")
    argv = ["mandoc", "-T", "ascii", "-O", "width=500", str(pages / "pgvip-drill.1")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    shown = re.sub(r".\x08", "", done.stdout)
    for words in ("--outage-max SECONDS", "limit of each outage (default 2)", "pgvip drill --outage-max 2",
                  "EXIT STATUS", "everything stayed within its limits"):  # fmt: skip
        assert words in shown, words


def test_pages_of_commands_that_are_no_more_go(pages: Path, tmp_path: Path) -> None:
    (tmp_path / "pgvip-fly.1").touch()
    (tmp_path / "other.1").touch()
    man.write({"pgvip.1": "x\n"}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"pgvip.1", "other.1"}


def test_the_command_prints_a_page_or_names_what_there_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["man", "config", "check"]) == 0
    assert capsys.readouterr().out.startswith(".TH PGVIP\\-CONFIG\\-CHECK 1 ")
    assert main(["man", "fly"]) == Exit.REFUSED
    assert "there is no manual page for fly" in capsys.readouterr().err
    assert main(["man", "--write", str(tmp_path / "man1")]) == 0
    assert (tmp_path / "man1" / "pgvip.1").exists()
