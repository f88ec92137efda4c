"""`pgvip`: one entry point, one module for each command, imported only when it is used.

PostgreSQL and monitoring systems start some of the commands often, so this module imports next to nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pgvip import __version__
from pgvip.cli.output import put, put_json
from pgvip.errors import Exit, PgvipError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Module(Protocol):
    """What every command's module has. Optional: EXIT_CODES, what codes mean here where that is special ("" : unused).

    The description that `add_arguments` sets ends in "Example: " and one command line.
    """

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives and its line in the list. `plain`: it reads its own arguments (`main(argv)`)."""

    module: str
    help: str
    plain: bool = False


COMMANDS: dict[str, Entry] = {
    "run": Entry("pgvip.cli.run", "run the daemon (normally started by systemd)"),
    "init": Entry("pgvip.cli.init", "make this host the first of a pair (a new database, or one in service)"),
    "clone": Entry("pgvip.cli.clone", "make this host the second of a pair, with a copy of the first host's database"),
    "join": Entry("pgvip.cli.join", "make this host the second of a pair, with the standby that streams here already"),
    "bundle": Entry("pgvip.cli.bundle", "write a new bundle for the other host, which has lost its state or its keys"),
    "rotate": Entry("pgvip.cli.rotate", "renew the keys and certificates of both hosts, without an interruption"),
    "remove-peer": Entry("pgvip.cli.remove_peer", "go back to one host: the other one is gone for good"),
    "add-peer": Entry("pgvip.cli.add_peer", "have a second host again, after pgvip remove-peer"),
    "uninstall": Entry("pgvip.cli.uninstall", "remove pgvip from this host; the primary's database goes on without it"),
    "upgrade-major": Entry(
        "pgvip.cli.upgrade_major", "check whether a new major version can be taken, and print the steps for this pair"
    ),
    "status": Entry("pgvip.cli.status", "show both hosts, what is wrong and how to repair it"),
    "watch": Entry("pgvip.cli.watch", "show both hosts live in the terminal: roles, lag, warnings, events"),
    "history": Entry("pgvip.cli.history", "show the replication history of this host (lag, WAL rate), with a plot"),
    "conninfo": Entry(
        "pgvip.cli.conninfo", "print connection strings for applications (libpq, JDBC, SQLAlchemy, pgx, node-postgres)"
    ),
    "events": Entry("pgvip.cli.events", "show what happened on both hosts"),
    "explain": Entry("pgvip.cli.explain", "say what would happen if a host, a database or the link failed now"),
    "switchover": Entry("pgvip.cli.switchover", "move the primary role to the other host, in an orderly way"),
    "restart": Entry("pgvip.cli.restart", "restart PostgreSQL on one host or, one after the other, on both"),
    "drill": Entry("pgvip.cli.drill", "rehearse a switchover and back, and report the outage that a client sees"),
    "failover": Entry("pgvip.cli.failover", "take over now, with a fence of the primary first (on the standby)"),
    "leave": Entry("pgvip.cli.leave", "hand over before this host is shut down"),
    "pause": Entry("pgvip.cli.pause", "suspend automatic changes of role on both hosts"),
    "resume": Entry("pgvip.cli.resume", "end the pause"),
    "promote": Entry("pgvip.cli.promote", "force this host to be primary; may lose data"),
    "fence": Entry("pgvip.cli.fence", "inspect, test, use or confirm the fencing of the other host"),
    "witness init": Entry("pgvip.cli.witness_init", "make a witness, or print the SQL for it"),
    "witness status": Entry(
        "pgvip.cli.witness_status", "show which witness answers, and the terms of this pair that were claimed"
    ),
    "witness test": Entry("pgvip.cli.witness_test", "try the witness: no term may be given to two hosts"),
    "rejoin": Entry("pgvip.cli.rejoin", "make this host follow the primary again, now"),
    "lost-writes": Entry("pgvip.cli.lost_writes", "list the transactions that were lost when this host was rewound"),
    "hold": Entry("pgvip.cli.hold", "clear the hold on this host's data"),
    "hooks": Entry("pgvip.cli.hooks", "list the hooks, or try those of one event"),
    "notify test": Entry("pgvip.cli.notify", "send a test message to everybody whom [notify] names"),
    "check": Entry("pgvip.cli.check", "check everything that the pair relies on, for people and for monitoring"),
    "config check": Entry("pgvip.cli.config_check", "check the configuration: every mistake with its hint"),
    "config apply": Entry(
        "pgvip.cli.config_apply", "have both hosts take their changed configuration files, in the safe order"
    ),
    "config diff": Entry(
        "pgvip.cli.config_diff", "show what of PostgreSQL's files and settings differs between the two hosts"
    ),
    "config push": Entry(
        "pgvip.cli.config_push", "copy lines of pg_hba.conf and pg_ident.conf, and settings, to the other host"
    ),
    "man": Entry("pgvip.cli.man", "show the manual, or a command's page; write all pages"),
    "completion": Entry(
        "pgvip.cli.completion", "print the script that completes commands and options in bash, zsh or fish"
    ),
    "archive status": Entry("pgvip.cli.archive_status", "show what is archived where, gaps, backlog, base backups"),
    "archive clean": Entry("pgvip.cli.archive_clean", "remove archived WAL and base backups that nobody needs"),
    "archive export": Entry("pgvip.cli.archive_export", "export this host's archive to the other host, read-only"),
    "backup": Entry("pgvip.cli.backup", "make a base backup of this host's database, verified"),
    "backups": Entry("pgvip.cli.backups", "list the base backups of both hosts, and what each can restore"),
    "restore": Entry("pgvip.cli.restore", "restore a base backup to a point in time, into an empty directory"),
    "archive-wal": Entry("pgvip.archive.archive_command", "archive one WAL file (archive_command)", plain=True),
    "restore-wal": Entry("pgvip.archive.restore_wal", "fetch one WAL file (restore_command)", plain=True),
}


GROUPS: dict[str, tuple[str, ...]] = {
    "to set up": (
        *("config check", "config apply", "init", "clone", "join", "bundle", "rotate", "run"),
        *("remove-peer", "add-peer", "upgrade-major", "uninstall"),
    ),
    "to see how it is": (
        *("status", "watch", "check", "explain", "events", "history", "lost-writes", "conninfo", "config diff"),
    ),
    "to act": (
        *("switchover", "restart", "drill", "pause", "resume", "leave", "failover", "promote", "fence", "config push"),
        *("witness init", "witness status", "witness test", "rejoin", "hold"),
    ),
    "archive and backup": (
        *("archive status", "archive clean", "archive export", "backup", "backups", "restore"),
        *("archive-wal", "restore-wal"),
    ),
    "other": ("hooks", "notify test", "man", "completion"),
}
"""How `pgvip --help` lists them, as docs/commands.md does."""


EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "wrong usage",
    3: "the configuration is wrong or missing",
    4: "the daemon cannot be reached",
    5: "refused, and nothing changed",
}
"""Of every command (`pgvip.errors.Exit`), unless its module says otherwise."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`pgvip.errors.Exit`)."""
    parser = _parser()
    args = parser.parse_args(argv)
    name, rest = _command(args.command, parser)
    entry = COMMANDS[name]
    try:
        module = importlib.import_module(entry.module)
        if entry.plain:
            return int(module.main(rest))
        return _run(name, module, args, rest)
    except PgvipError as error:
        report(error)
        return int(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) has seen enough
        return int(Exit.FAILED)
    except KeyboardInterrupt:
        put("pgvip: interrupted", file=sys.stderr)
        return 130


def report(error: PgvipError) -> None:
    """Print an error as PostgreSQL's own tools do."""
    put(f"pgvip: error: {error}", file=sys.stderr)


def _run(name: str, module: Module, args: argparse.Namespace, rest: list[str]) -> int:
    parser = parser_of(name, module)
    parsed = parser.parse_args(rest, argparse.Namespace(config=args.config, host=args.host))
    try:
        return module.run(parsed)
    except PgvipError as error:
        if not getattr(parsed, "json", False):
            raise
        from pgvip.link.operator_socket import failure  # noqa: PLC0415 - a command that works well needs no part of it

        put_json(failure(error))  # whoever asked for an object gets one of a failure too
        return int(error.exit_code)


def parser_of(name: str, module: Module) -> argparse.ArgumentParser:
    """The parser of one command, with all that its --help and its manual page say."""
    parser = argparse.ArgumentParser(
        prog=f"pgvip {name}", description=module.HELP, formatter_class=_Paragraphs, allow_abbrev=False
    )
    _add_global(parser, argparse.SUPPRESS)
    module.add_arguments(parser)
    text, _, example = (parser.description or "").partition("Example: ")
    parser.description = text.strip()
    codes = {**EXIT_CODES, **getattr(module, "EXIT_CODES", {})}
    listed = "\n".join(f"  {code}  {meaning}" for code, meaning in codes.items() if meaning)
    shown = f"example:\n  {example}\n\n" if example else ""
    parser.epilog = f"{shown}exit codes:\n{listed}"
    return parser


class _Paragraphs(argparse.HelpFormatter):
    """Wraps each line of a description by itself; indented ones stay as they are. The same text from every Python."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = [
            line if line.startswith("  ") else textwrap.fill(line, width, initial_indent=indent)
            for line in text.splitlines()
        ]
        return "\n".join(lines)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """An option's names, then its value once, as Python 3.13 and newer write it."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    listed = "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:{width}}{COMMANDS[name].help}" for name in names)])
        for title, names in GROUPS.items()
    )
    parser = argparse.ArgumentParser(
        prog="pgvip",
        usage="pgvip [--config PATH] [--host NAME] COMMAND ...",
        description="High availability for PostgreSQL on exactly two hosts, with two virtual addresses.",
        epilog=f"{listed}\n\nEach has its own help: pgvip COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pgvip {__version__}")
    _add_global(parser, None)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _add_global(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Both options may stand before or after the command."""
    parser.add_argument(
        "--config", metavar="PATH", default=default, help="configuration (PGVIP_CONFIG, /etc/pgvip/pgvip.toml)"
    )
    parser.add_argument("--host", metavar="NAME", default=default, help="which of the two hosts this is (PGVIP_HOST)")


def _command(words: list[str], parser: argparse.ArgumentParser) -> tuple[str, list[str]]:
    """Split the words into a command's name and its arguments; exits with a message when there is none."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in COMMANDS:
            return name, words[length:]
    if not words:
        parser.print_help(sys.stderr)
        raise SystemExit(int(Exit.USAGE))
    longer = sorted(name for name in COMMANDS if name.startswith(f"{words[0]} "))
    if longer and words[1:2] in (["-h"], ["--help"]):
        width = max(map(len, longer)) + 2
        put("\n".join(f"{name:{width}}{COMMANDS[name].help}" for name in longer))
        raise SystemExit(int(Exit.OK))
    near = longer or _near(words[0])
    meant = f"; did you mean: {', '.join(near)}" if near else "; see pgvip --help"
    put(f"pgvip: error: unknown command: {' '.join(words[:2])}{meant}", file=sys.stderr)
    raise SystemExit(int(Exit.USAGE))


def _near(word: str) -> list[str]:
    import difflib  # noqa: PLC0415 - only after a mistake: the other commands start faster without

    return difflib.get_close_matches(word, COMMANDS, n=2)


if __name__ == "__main__":
    sys.exit(main())
