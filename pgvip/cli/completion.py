"""`pgvip completion`: scripts that complete commands, options and their values in bash, zsh and fish.

They are static: a Tab starts no Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.described import Described, Word, described
from pgvip.cli.output import put
from pgvip.errors import Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

HELP = "print the script that completes commands and options in bash, zsh or fish"
EXIT_CODES = {1: "", 3: "", 4: "", 5: ""}
TOP = ("--config", "--host", "--version", "--help")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `completion`."""
    parser.description = (
        "Print a completion script. scripts/install installs all three; by hand: source <(pgvip completion bash). "
        "Example: pgvip completion zsh > /usr/local/share/zsh/site-functions/_pgvip"
    )
    parser.add_argument("shell", choices=list(SHELLS))


def run(args: argparse.Namespace) -> int:
    """Print it. Returns the exit code."""
    put(SHELLS[args.shell](described()), end="")
    return int(Exit.OK)


# --- bash ------------------------------------------------------------------------------------------------------


def bash(commands: Sequence[Described]) -> str:
    """The script for bash: one function, which looks for the command among the words before the cursor."""
    first = _firsts(commands)
    pairs = [command.name.split() for command in commands if " " in command.name]
    seconds = "\n".join(
        f"    {one}) options='{' '.join(two for top, two in pairs if top == one)}' ;;"
        for one in dict.fromkeys(top for top, _ in pairs)
    )
    options = "\n".join(f"    '{one.name}') options='{' '.join(_bash_words(one))}' ;;" for one in commands)
    values = "\n".join(line for one in commands for line in _bash_values(one))
    takers = " | ".join(sorted({flag for one in commands for word in one.options if word.takes_value
                                for flag in word.flags}))  # fmt: skip
    return BASH.format(
        top=" ".join([*first, *TOP]), seconds=seconds, options=options, values=values, takers=takers,
        groups=" | ".join(dict.fromkeys(top for top, _ in pairs)) or "''",
    )  # fmt: skip


BASH = """# bash completion for pgvip; made by: pgvip completion bash
_pgvip() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} command='' options='' word i
  COMPREPLY=()
  if [[ $cur == '=' ]]; then cur=''; elif [[ $prev == '=' ]]; then prev=${{COMP_WORDS[COMP_CWORD - 2]}}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case $word in
    {takers}) [[ ${{COMP_WORDS[i + 1]}} == '=' ]] && ((i++)); ((i++)) ;;
    -*) ;;
    *)
      if [[ -z $command ]]; then command=$word
      else case $command in {groups}) command="$command $word" ;; esac
      fi
      ;;
    esac
  done
  case "$command $prev" in
{values}
  esac
  case $prev in --config) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
  case $prev in {takers}) return ;; esac
  case $command in
    '') options='{top}' ;;
{seconds}
{options}
    *) return ;;
  esac
  case " $options " in
  *' FILE '*)
    if [[ $cur != -* ]]; then compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return; fi
    options=${{options/ FILE/}}
    ;;
  esac
  COMPREPLY=($(compgen -W "$options" -- "$cur"))
}}
complete -F _pgvip pgvip
"""


def _bash_words(command: Described) -> list[str]:
    """Choices of the positional arguments and all options; FILE where a positional argument is a file."""
    words = [choice for word in command.positionals for choice in word.choices]
    words += [max(word.flags, key=len) for word in command.options]
    return words + (["FILE"] if any(word.file for word in command.positionals) else [])


def _bash_values(command: Described) -> list[str]:
    """What follows an option of this command: its choices, or a file."""
    lines = []
    for word in command.options:
        pattern = " | ".join(f'"{command.name} {flag}"' for flag in word.flags)
        if word.choices:
            found = f"""COMPREPLY=($(compgen -W '{' '.join(word.choices)}' -- "$cur")); return ;;"""
            lines.append(f"    {pattern}) {found}")
        elif word.file and word.takes_value:
            found = 'COMPREPLY=($(compgen -f -- "$cur")); return ;;'
            lines.append(f"    {pattern}) compopt -o filenames 2>/dev/null; {found}")
    return lines


# --- zsh -------------------------------------------------------------------------------------------------------


def zsh(commands: Sequence[Described]) -> str:
    """The script for zsh, by its own _arguments."""
    listed = "\n".join(f"    '{_colons(one)}:{_quoted(line)}'" for one, line in _lines(commands))
    cases = "\n".join(_zsh_case(one) for one in commands if " " not in one.name)
    groups = dict.fromkeys(one.name.split()[0] for one in commands if " " in one.name)
    grouped = "\n".join(_zsh_group(top, [one for one in commands if one.name.startswith(f"{top} ")]) for top in groups)
    return (
        "#compdef pgvip\n# made by: pgvip completion zsh\n_pgvip() {\n"
        "  local context state state_descr line\n  typeset -A opt_args\n  local -a commands\n"
        f"  commands=(\n{listed}\n  )\n"
        "  _arguments -C '--config[configuration]:file:_files' '--host[which host this is]:name:' "
        "'--version[show the version]' '--help[show the commands]' '1: :->command' '*:: :->rest'\n"
        "  case $state in\n  command) _describe command commands ;;\n  rest)\n    case $words[1] in\n"
        f"{cases}\n{grouped}\n    esac\n    ;;\n  esac\n}}\n"
        'if [ "$funcstack[1]" = _pgvip ]; then _pgvip "$@"; else compdef _pgvip pgvip; fi\n'
    )


def _zsh_case(command: Described) -> str:
    return f"    {command.name}) _arguments {' '.join(_zsh_words(command)) or '-'} ;;"


def _zsh_group(top: str, commands: Sequence[Described]) -> str:
    names = " ".join(one.name.split()[1] for one in commands)
    cases = " ".join(f"{one.name.split()[1]}) _arguments {' '.join(_zsh_words(one))} ;;" for one in commands)
    deeper = f"shift words; (( CURRENT-- )); case $words[1] in {cases} esac"
    return f"    {top}) if (( CURRENT == 2 )); then compadd {names}; else {deeper}; fi ;;"


def _zsh_words(command: Described) -> list[str]:
    found = []
    for word in command.options:
        value = _zsh_value(word) if word.value else ""
        for flag in word.flags:
            star = "*" if word.many else ""
            found.append(f"'{star}{flag}[{_bracketed(word.help)}]{value}'")
    for word in command.positionals:
        place = "*" if word.many else ""
        found.append(f"'{place}{_zsh_value(word)}'")
    return found


def _zsh_value(word: Word) -> str:
    colon = "::" if word.optional and word.flags else ":"
    action = f"({' '.join(word.choices)})" if word.choices else "_files" if word.file else " "
    return f"{colon}{_colons(word.name)}:{action}"


def _bracketed(text: str) -> str:
    return _quoted(text).replace("[", "(").replace("]", ")").replace(":", " -")


def _colons(text: str) -> str:
    return _quoted(text).replace(":", "\\:").replace("[", "(").replace("]", ")")


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


# --- fish ------------------------------------------------------------------------------------------------------


def fish(commands: Sequence[Described]) -> str:
    """The script for fish: one line for each command and option."""
    first = " ".join(_firsts(commands))
    lines = ["# made by: pgvip completion fish", "complete -c pgvip -f"]
    none = f"not __fish_seen_subcommand_from {first}"
    lines += [f"complete -c pgvip -n '{none}' -a {one} -d '{_fish(line)}'" for one, line in _lines(commands)]
    lines += [f"complete -c pgvip -n '{none}' -l config -r -F -d configuration",
              f"complete -c pgvip -n '{none}' -l host -x -d 'which of the two hosts this is'",
              f"complete -c pgvip -n '{none}' -l version -d 'show the version'"]  # fmt: skip
    for command in commands:
        seen = " ".join(f"; and __fish_seen_subcommand_from {one}" for one in command.name.split())[6:]
        if " " in command.name:
            top, second = command.name.split()
            lines.append(f"complete -c pgvip -n '__fish_seen_subcommand_from {top}' -a {second} "
                         f"-d '{_fish(command.line)}'")  # fmt: skip
        lines += [_fish_word(seen, word) for word in command.words]
    return "\n".join(lines) + "\n"


def _fish_word(seen: str, word: Word) -> str:
    parts = [f"complete -c pgvip -n '{seen}'"]
    parts += [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in word.flags]
    if word.choices:
        parts.append(f"{'-x ' if word.flags else ''}-a '{' '.join(word.choices)}'")
    elif word.file:
        parts.append("-r -F" if word.flags else "-F")
    elif word.takes_value and word.flags:
        parts.append("-x")
    return " ".join([*parts, f"-d '{_fish(word.help)}'"])


def _fish(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _firsts(commands: Sequence[Described]) -> list[str]:
    return list(dict.fromkeys(command.name.split()[0] for command in commands))


def _lines(commands: Sequence[Described]) -> list[tuple[str, str]]:
    """First words with a line of help each."""
    found: dict[str, str] = {}
    for command in commands:
        found.setdefault(command.name.split()[0], command.line)
    return list(found.items())


SHELLS: dict[str, Callable[[Sequence[Described]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
