"""Every command as data, drawn from the parsers that read the command line: for completion and the manual pages."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvip.cli.main import COMMANDS, parser_of


@dataclass(frozen=True, slots=True)
class Word:
    """An option (`flags`) or a positional argument (no flags). `value`: what its value is called, "" without one."""

    flags: tuple[str, ...]
    name: str
    value: str
    choices: tuple[str, ...]
    help: str
    file: bool
    optional: bool
    many: bool

    @property
    def takes_value(self) -> bool:
        """True when the next word belongs to it."""
        return bool(self.value) and not self.optional


@dataclass(frozen=True, slots=True)
class Described:
    """One command: its words, and the text of its help by parts."""

    name: str
    line: str
    usage: str
    text: str
    epilog: str
    words: tuple[Word, ...]

    @property
    def options(self) -> tuple[Word, ...]:
        return tuple(word for word in self.words if word.flags)

    @property
    def positionals(self) -> tuple[Word, ...]:
        return tuple(word for word in self.words if not word.flags)


def described() -> list[Described]:
    """All commands, in the order of `pgvip --help`. Imports every one of them."""
    return [_described(name) for name in COMMANDS]


def parser_for(name: str) -> argparse.ArgumentParser:
    """The parser of a command; one that reads its own arguments has a function `parser`."""
    module: Any = importlib.import_module(COMMANDS[name].module)
    found: argparse.ArgumentParser = module.parser() if COMMANDS[name].plain else parser_of(name, module)
    return found


def _described(name: str) -> Described:
    parser = parser_for(name)
    formatter = argparse.HelpFormatter(prog=parser.prog, width=10_000)
    formatter.add_usage(parser.usage, parser._actions, [], prefix="")  # noqa: SLF001 - argparse has no other way
    words = [_word(action) for action in parser._actions if action.help is not argparse.SUPPRESS]  # noqa: SLF001 - as above
    text, epilog = parser.description or "", parser.epilog or ""
    text, _, example = text.partition("Example: ")
    if example:
        epilog = f"example:\n  {example}\n\n{epilog}"
    return Described(name, COMMANDS[name].help, formatter.format_help().strip(), text.strip(), epilog, tuple(words))


def _word(action: argparse.Action) -> Word:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    takes = action.nargs != 0
    value = (metavar or (action.dest.upper() if action.option_strings else action.dest)) if takes else ""
    choices = tuple(map(str, action.choices or ()))
    return Word(
        flags=tuple(action.option_strings),
        name=metavar or action.dest,
        value="|".join(choices) if choices and takes and not metavar else value,
        choices=choices,
        help=_help(action),
        file=action.type is Path or metavar == "PATH" or action.dest == "config",
        optional=action.nargs in ("?", "*"),
        many=action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction),  # noqa: SLF001 - it has no other name
    )


def _help(action: argparse.Action) -> str:
    """The help text with its %(default)s and the like filled in, as --help shows it."""
    return (action.help or "") % {**vars(action), "prog": "pgvip"} if action.help else ""
