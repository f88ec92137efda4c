"""Every option that takes a time or a duration takes the same forms, and says which."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest

from pgvip.cli.main import COMMANDS, parser_of
from pgvip.cli.when import coming, duration, past
from pgvip.text.times import DURATIONS, TIMES

TYPES = {"TIME": (past, coming), "DURATION": (duration,)}


def test_every_option_of_a_time_has_the_one_grammar() -> None:
    found = []
    for name, entry in ((name, entry) for name, entry in COMMANDS.items() if not entry.plain):
        for action in parser_of(name, import_module(entry.module))._actions:
            if action.metavar in TYPES and isinstance(action.metavar, str):
                found.append(f"{name} {action.option_strings[0]}")
                assert action.type in TYPES[action.metavar], found[-1]
                assert (TIMES if action.metavar == "TIME" else DURATIONS) in str(action.help), found[-1]
            else:
                assert action.type not in (past, coming, duration), (name, action)
    times = ["history --since", "events --since", "switchover --at", "restart --at", "drill --at"]
    assert found == [*times, "pause --for", "pause --until"]


def test_a_mistake_says_what_to_write() -> None:
    for read in (past, coming):
        with pytest.raises(argparse.ArgumentTypeError, match=r"'soon' is not a time. Write a duration"):
            read("soon")
    with pytest.raises(argparse.ArgumentTypeError, match=r"'5' is not a duration. Write one like 90s"):
        duration("5")
