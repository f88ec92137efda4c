"""`pgvip man`: the manual pages, made from the same parsers as --help (man(7), groff_man(7))."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip import __version__
from pgvip.cli.described import Described, described
from pgvip.cli.output import put
from pgvip.errors import CommandError, Exit, PgvipError, RefusedError
from pgvip.state import files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "show the manual, or a command's page; write all pages"
EXIT_CODES = {3: "", 4: "", 5: "there is no such page"}
DATE = "2026-11-25"
"""Of the text; a page must have one."""
VIEWER_S = 86_400.0
"""A reader may leave a page open for long."""

INTRODUCTION = (
    "pgvip keeps a PostgreSQL database available on exactly two hosts, with two virtual addresses and no third host.",
    "Applications write to the primary VIP and may read from the standby VIP. One daemon runs on each host.",
    "Who may serve changes only by the peer's consent or by a confirmed fence, never by silence.",
    "Every command that changes something has --dry-run; every one that a script may read has --json.",
)
FILES = (
    ("/etc/pgvip/pgvip.toml", "configuration, the same on both hosts; each key is explained in pgvip.toml.sample"),
    ("/etc/pgvip/pgpass", "passwords of pgvip's database roles, where postgresql.tls is not \"pair\""),
    ("/var/lib/pgvip", "record, identity, certificates, archive, saved WAL, monitoring history"),
    ("/run/pgvip/pgvip.sock", "the operator's socket of the daemon"),
)
ENVIRONMENT = (
    ("PGVIP_CONFIG", "configuration file, where --config is not given"),
    ("PGVIP_HOST", "which of the two hosts this is, where --host is not given"),
    ("NO_COLOR", "when it is set, pgvip watch shows no colours"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `man`."""
    parser.description = (
        "Show the manual page of a command, or of pgvip as a whole; where the output is no terminal, its source. "
        "Example: pgvip man switchover"
    )
    parser.add_argument("topic", nargs="*", metavar="COMMAND", help="the command (none: the page of pgvip itself)")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="write all pages there, for man(1)")


def run(args: argparse.Namespace) -> int:
    """Show or write. Returns the exit code."""
    made = pages(described())
    if args.write is not None:
        write(made, args.write)
        put(f"{len(made)} pages in {args.write}")
        return int(Exit.OK)
    name = page_name(" ".join(args.topic))
    if name not in made:
        known = ", ".join(sorted(one.removesuffix(".1").removeprefix("pgvip-") for one in made if "-" in one))
        raise RefusedError(f"there is no manual page for {' '.join(args.topic)}", f"There are: {known}.")
    return show(made[name])


def show(text: str) -> int:
    """One page through man(1) on a terminal, else as it is."""
    if not sys.stdout.isatty():
        put(text, end="")
        return int(Exit.OK)
    try:
        done = subprocess.run(  # the reader's own terminal belongs to it meanwhile
            ["man", "-l", "-"], input=text, text=True, timeout=VIEWER_S, check=False
        )
    except FileNotFoundError as error:
        raise CommandError("man is not installed", hint="Read the text: pgvip COMMAND --help") from error
    return int(Exit.OK if done.returncode == 0 else Exit.FAILED)


def write(made: dict[str, str], directory: Path) -> None:
    """Write all pages, and delete those of commands that are no more. PgvipError when that fails."""
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for old in directory.glob("pgvip*.1"):
            if old.name not in made:
                old.unlink()
        for name, text in made.items():
            files.write(directory / name, text, mode=0o644, durable=False)
    except OSError as error:
        raise PgvipError(f"could not write the manual pages to {directory}", f"{error}.") from error


def page_name(command: str) -> str:
    """The file of a command's page.

    >>> page_name("config check"), page_name("")
    ('pgvip-config-check.1', 'pgvip.1')
    """
    return f"pgvip-{command.replace(' ', '-')}.1" if command else "pgvip.1"


def pages(commands: Sequence[Described]) -> dict[str, str]:
    """Every page by its file name."""
    return {page_name(""): main_page(commands), **{page_name(one.name): command_page(one) for one in commands}}


def main_page(commands: Sequence[Described]) -> str:
    """pgvip(1): all commands, files, environment."""
    lines = [_title("pgvip"), ".SH NAME", "pgvip \\- high availability for PostgreSQL on exactly two hosts"]
    usage = "\\fBpgvip\\fR [\\-\\-config \\fIPATH\\fR] [\\-\\-host \\fINAME\\fR] \\fICOMMAND\\fR ..."
    lines += [".SH SYNOPSIS", usage, ".SH DESCRIPTION"]
    for number, text in enumerate(INTRODUCTION):
        lines += [*([".PP"] if number else []), roff(text)]
    lines += [".SH COMMANDS"]
    for one in commands:
        lines += [".TP", f"\\fB{roff(one.name)}\\fR", f"{roff(one.line)}; see {reference(one.name)}"]
    for title, rows in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)):
        lines.append(f".SH {title}")
        for name, text in rows:
            lines += [".TP", f"\\fI{roff(name)}\\fR", roff(text)]
    lines += [".SH SEE ALSO", ",\n".join(reference(one.name) for one in commands)]
    return "\n".join(lines) + "\n"


def command_page(command: Described) -> str:
    """The page of one command."""
    name = page_name(command.name).removesuffix(".1")
    lines = [_title(name), ".SH NAME", f"{roff(name)} \\- {roff(command.line)}", ".SH SYNOPSIS", roff(command.usage)]
    lines += [".SH DESCRIPTION"]
    for number, text in enumerate(command.text.splitlines()):
        lines += [*([".PP"] if number else []), roff(text)]
    for title, words in (("ARGUMENTS", command.positionals), ("OPTIONS", command.options)):
        if words:
            lines.append(f".SH {title}")
        for word in words:
            value = f"\\fI{roff(word.value)}\\fR" if word.value else ""
            value = f"[{value}]" if value and word.optional and word.flags else value
            heads = [f"\\fB{roff(flag)}\\fR{' ' if value else ''}{value}" for flag in word.flags] or [value]
            lines += [".TP", ", ".join(heads), roff(word.help) or "\\&"]
    lines += _epilog(command.epilog)
    lines += [".SH SEE ALSO", reference("")]
    return "\n".join(lines) + "\n"


def _epilog(text: str) -> list[str]:
    """Example and exit codes: a heading is a line that ends in a colon, its rows are indented."""
    lines: list[str] = []
    for line in filter(None, text.splitlines()):
        row = line.strip()
        if line.startswith("  ") and row[:1].isdigit():
            code, _, meaning = row.partition(" ")
            lines += [".TP", f"\\fB{code}\\fR", roff(meaning.strip())]
        elif line.startswith("  "):
            lines += [".EX", roff(row), ".EE"]
        elif line.startswith("exit codes: "):
            lines += [".SH EXIT STATUS", roff(line.removeprefix("exit codes: "))]
        else:
            title = {"example:": "EXAMPLE", "exit codes:": "EXIT STATUS"}.get(row, row.rstrip(":").upper())
            lines.append(f".SH {title}")
    return lines


def reference(command: str) -> str:
    """A pointer to a page."""
    return f"\\fB{roff(page_name(command).removesuffix('.1'))}\\fR(1)"


def _title(name: str) -> str:
    """The head of a page; words are neither divided nor spread over the line."""
    title = name.upper().replace("-", "\\-")
    return f'.TH {title} 1 {DATE} "pgvip {__version__}" "PostgreSQL on two hosts"\n.nh\n.ad l'


def roff(text: str) -> str:
    r"""Escape a line of text (groff(7), Escape Sequences).

    >>> print(roff("--json: C:\\x"), roff(".hidden"), roff("'quoted"))
    \-\-json: C:\ex \&.hidden \&'quoted
    """
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
