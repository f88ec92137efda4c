"""Every value of the protocol survives the wire; nothing else does."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from pgvip.core.messages import Message
from pgvip.core.observations import Database, Processes
from pgvip.core.settings import Settings
from pgvip.core.values import NEVER, BootFacts, Durable, Grant, Lsn, Mode, Record, Vip, WalPoint
from pgvip.errors import FormatError
from pgvip.state import codec

RECORD = Record("pair", "7000", 4, "alpha", Mode.PAIR, sync=True, from_term=2, handover=WalPoint(3, Lsn(77)))
MESSAGE = Message("pair", "7000", "alpha", "boot", "run", 1, 12.5, RECORD)


@dataclasses.dataclass(frozen=True)
class Renamed:
    """A name that Python does not allow, and paths."""

    start: int = dataclasses.field(metadata=codec.key("from"))
    paths: tuple[Path, ...]




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
    back = codec.from_json(Message, codec.to_json(MESSAGE))
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
    assert codec.from_json(Message, json.dumps(data)) == MESSAGE


def test_complete_wants_every_field() -> None:
    data = codec.encode(Durable(record=RECORD))
    assert codec.decode(Durable, data, complete=True) == Durable(record=RECORD)
    del data["hold"]
    with pytest.raises(FormatError, match=r"Durable\.hold"):
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
    with pytest.raises(FormatError) as caught:
        codec.from_json(Message, json.dumps(data))
    assert named in caught.value.message


def test_each_required_field_is_missed() -> None:
    required = [one.name for one in dataclasses.fields(Message) if one.default is dataclasses.MISSING]
    assert "record" in required
    for name in required:
        data = json.loads(codec.to_json(MESSAGE))
        del data[name]
        with pytest.raises(FormatError, match=rf"missing value for Message\.{name}$"):
            codec.from_json(Message, json.dumps(data))


GARBAGE = [
    "", "{", "null", "[]", "NaN", "-Infinity", "[" * 60_000, '{"a":' * 9_000, "1" * 60_000, "-" + "1" * 5_000, "\x00",
    '{"sent_s": NaN}', '{"seq": ' + "9" * 5_000 + "}", '{"seq": 1e400}', '{"host": "\\ud800"}',
    '{"\\udfff": 1}', "\ufeff{}",
]  # fmt: skip


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(FormatError):
        codec.from_json(Message, text)


@pytest.mark.parametrize("text", [b"\xff", b"\xff\xfe{\x00}\x00", b'{"host": "\xed\xa0\x80"}'])
def test_bytes_are_utf8_or_an_error_of_ours(text: bytes) -> None:
    """The json module would guess UTF-16 and UTF-32, and let half characters through."""
    with pytest.raises(FormatError, match="not JSON"):
        codec.parse(text)


def test_depth_and_digits_have_a_limit_without_a_type_too() -> None:
    deep = codec.DEPTH_MAX
    assert codec.parse("[" * deep + "1" + "]" * deep)
    for opened, closed in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")):
        with pytest.raises(FormatError, match="too deep"):
            codec.parse(opened * (deep + 1) + "1" + closed * (deep + 1))
    assert codec.parse("[" + "[]," * 99 + "[]]"), "many are not deep"
    assert codec.parse("[18446744073709551615, -1]") == [2**64 - 1, -1]
    with pytest.raises(FormatError, match="21 digits"):
        codec.parse("[" + "1" * 21 + "]")
    for text in ('[{"a": ["\\udc80"]}]', '{"\\udfff": 1}', '{"a": "\udc80"}', '{"a": "' + "[" * 99 + '\\uD800"}'):
        with pytest.raises(FormatError, match="half a character"):
            codec.parse(text)


def test_an_object_is_wanted() -> None:
    assert codec.parse_object(b'{"a": 1}') == {"a": 1}
    for text in ("[]", "1", "null"):
        with pytest.raises(FormatError, match="not a JSON object"):
            codec.parse_object(text)


def test_a_field_may_have_another_name_in_json() -> None:
    assert codec.encode(Renamed(1, (Path("/a"),))) == {"from": 1, "paths": ["/a"]}
    assert codec.decode(Renamed, {"from": 1, "start": 2, "paths": ["/a"]}) == Renamed(1, (Path("/a"),))
    with pytest.raises(FormatError, match=r"missing value for Renamed\.from$"):
        codec.decode(Renamed, {"start": 1, "paths": []})


def test_what_came_later_may_be_missing_from_a_complete_file() -> None:
    data = codec.encode(Durable(record=RECORD))
    del data["kept_off"]
    with pytest.raises(FormatError, match=r"Durable\.kept_off"):
        codec.decode(Durable, data, complete=True)
    later = ("Durable.kept_off",)
    assert codec.decode(Durable, data, complete=True, later=later) == Durable(record=RECORD)
    del data["record"]["cause"]
    with pytest.raises(FormatError, match=r"Durable\.record\.cause"):
        codec.decode(Durable, data, complete=True, later=later)


def test_plain_documents_are_written_strictly_too() -> None:
    with pytest.raises(FormatError, match="no JSON form"):
        codec.plain_to_json({"a": math.nan})
    with pytest.raises(FormatError, match="too long"):
        codec.plain_to_json({"a": "x" * codec.MAX_BYTES})
    assert codec.plain_to_line({"a": "ü\ud800"}) == '{"a":"ü?"}'.encode()


def test_number_that_overflows_is_refused() -> None:
    text = codec.to_json(MESSAGE).replace('"sent_s":12.5', '"sent_s":1e999')
    with pytest.raises(FormatError, match="1e999"):
        codec.from_json(Message, text)


def test_size_is_limited_both_ways() -> None:
    huge = dataclasses.replace(MESSAGE, hold="x" * codec.MAX_BYTES)
    with pytest.raises(FormatError, match="too long"):
        codec.to_json(huge)
    with pytest.raises(FormatError, match="too long"):
        codec.from_json(Message, " " * (codec.MAX_BYTES + 1))


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
    assert codec.encode({"b", "a"}) == ["a", "b"]
    grant = Grant(3, "boot", "1:2", echo_s=1.0, expires_s=None)
    assert codec.decode(Grant, codec.encode(grant)) == grant
