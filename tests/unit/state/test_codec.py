"""Every value of the protocol survives the wire; nothing else does."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import types
import typing
from enum import Enum
from typing import Any

import pytest

from pgvip.core.messages import Message
from pgvip.core.observations import Database, Processes
from pgvip.core.settings import Settings
from pgvip.core.values import NEVER, BootFacts, Durable, Grant, Lsn, Mode, Record, Vip, WalPoint
from pgvip.errors import LinkError
from pgvip.state import codec

RECORD = Record("pair", "7000", 4, "alpha", Mode.PAIR, sync=True, from_term=2, handover=WalPoint(3, Lsn(77)))
MESSAGE = Message("pair", "7000", "alpha", "boot", "run", 1, 12.5, RECORD)


def any_value(hint: Any, dice: random.Random) -> Any:
    """Make a random value of the hinted type."""
    if hint is Lsn:
        return Lsn(dice.getrandbits(64))
    if hint in (bool, int, float, str):
        return {
            bool: dice.random() < 0.5,
            int: dice.randint(-5, 2**60),
            float: dice.choice([NEVER, math.inf, 0.0, -1.0, dice.random() * 1e6]),
            str: dice.choice(["", "plain", 'quo"te\n', "größe \N{SNOWMAN}", "\x00"]),
        }[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return dice.choice(list(hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any_value(arguments[0], dice) if dice.random() < 0.8 else None
    if origin in (tuple, frozenset):
        return origin(any_value(arguments[0], dice) for _ in range(dice.randint(0, 3)))
    hints = typing.get_type_hints(hint)
    return hint(**{name: any_value(one, dice) for name, one in hints.items()})


@pytest.mark.parametrize("cls", [Message, Durable, BootFacts, Database, Processes, Settings])
def test_random_values_of_every_field_survive(cls: type) -> None:
    dice = random.Random(cls.__name__)
    for _ in range(200):
        value = any_value(cls, dice)
        assert codec.from_json(cls, codec.to_json(value), complete=True) == value


def test_types_come_back_not_only_equal_values() -> None:
    back = codec.message_from_json(codec.to_json(MESSAGE))
    assert back.record is not None
    assert isinstance(back.record.mode, Mode)
    assert back.record.handover is not None
    assert isinstance(back.record.handover.lsn, Lsn)
    assert isinstance(back.vips, tuple)
    assert back.echo_s == NEVER


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    data = json.loads(codec.to_json(MESSAGE))
    data["new_in_2"] = {"x": [1]}
    data["record"]["colour"] = "red"
    del data["hold"]
    assert codec.message_from_json(json.dumps(data)) == MESSAGE


def test_complete_wants_every_field() -> None:
    data = codec.encode(Durable(record=RECORD))
    assert codec.decode(Durable, data, complete=True) == Durable(record=RECORD)
    del data["hold"]
    with pytest.raises(LinkError, match=r"Durable\.hold"):
        codec.decode(Durable, data, complete=True)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("seq", "1", "Message.seq"),
        ("seq", True, "Message.seq"),
        ("seq", 1.0, "Message.seq"),
        ("seq", 2**64, "Message.seq"),
        ("confirmed", 1, "Message.confirmed"),
        ("confirmed", None, "Message.confirmed"),
        ("sent_s", "soon", "Message.sent_s"),
        ("sent_s", True, "Message.sent_s"),
        ("host", 7, "Message.host"),
        ("host", "\ud800", "Message.host"),
        ("override", "boss", "Message.override"),
        ("vips", "primary", "Message.vips"),
        ("vips", [1], "Message.vips[0]"),
        ("point", {"timeline": 1, "lsn": "77"}, "Message.point.lsn"),
        ("point", {"timeline": 1, "lsn": "-1/0"}, "Message.point.lsn"),
        ("point", {"timeline": 1}, "Message.point.lsn"),
        ("record", {"pair_id": "p"}, "Message.record.system_id"),
        ("record", [], "Message.record"),
        ("pause", None, "Message.pause"),
    ],
)
def test_wrong_values_are_named(path: str, value: object, named: str) -> None:
    data = json.loads(codec.to_json(MESSAGE))
    data[path] = value
    with pytest.raises(LinkError) as caught:
        codec.message_from_json(json.dumps(data))
    assert named in caught.value.message


def test_each_required_field_is_missed() -> None:
    required = [one.name for one in dataclasses.fields(Message) if one.default is dataclasses.MISSING]
    assert "record" in required
    for name in required:
        data = json.loads(codec.to_json(MESSAGE))
        del data[name]
        with pytest.raises(LinkError, match=rf"missing value for Message\.{name}$"):
            codec.message_from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "NaN", "[" * 60_000, "1" * 60_000, "\x00", '{"sent_s": NaN}'])
def test_garbage_is_a_link_error(text: str) -> None:
    with pytest.raises(LinkError):
        codec.message_from_json(text)


def test_number_that_overflows_is_refused() -> None:
    text = codec.to_json(MESSAGE).replace('"sent_s":12.5', '"sent_s":1e999')
    with pytest.raises(LinkError, match="sent_s"):
        codec.message_from_json(text)


def test_size_is_limited_both_ways() -> None:
    huge = dataclasses.replace(MESSAGE, hold="x" * codec.MAX_BYTES)
    with pytest.raises(LinkError, match="too long"):
        codec.to_json(huge)
    with pytest.raises(LinkError, match="too long"):
        codec.message_from_json(" " * (codec.MAX_BYTES + 1))


def test_one_line_of_ascii() -> None:
    text = codec.to_json(dataclasses.replace(MESSAGE, hold="zwei\nZeilen ä"))
    assert text.isascii()
    assert "\n" not in text


def test_nan_and_foreign_types_have_no_form() -> None:
    with pytest.raises(TypeError):
        codec.to_json(math.nan)
    with pytest.raises(TypeError):
        codec.encode(object())


def test_sets_and_grants() -> None:
    assert codec.encode(frozenset({Vip.STANDBY, Vip.PRIMARY})) == ["primary", "standby"]
    grant = Grant(3, "boot", "1:2", echo_s=1.0, expires_s=None)
    assert codec.decode(Grant, codec.encode(grant)) == grant
