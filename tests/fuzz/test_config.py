"""The configuration file: every mistake in it is an error with its key and its hint, never a crash."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

import pytest

from pgvip.cli import where
from pgvip.config.load import parse, problems
from pgvip.config.model import Config
from pgvip.config.toml import toml
from pgvip.errors import ConfigError, PgvipError
from tests.fuzz.cases import fuzz, raw, texts
from tests.unit.config_text import GOOD

SAMPLE = (Path(__file__).parents[2] / "conf" / "pgvip.toml").read_text(encoding="utf-8")
ODD = """
[pair]
name = 'x'
[timing]
interval = VALUE
[paths]
run = VALUE
[http]
port = VALUE
"""
WITNESS = """
[witness]
postgresql = "host=w.example.org port=5433 dbname='a b' sslmode=verify-full"
timeout_s = 1.0
lease_s = 5
"""
TYPED = tuple(
    ODD.replace("VALUE", value)
    for value in ("[[[[]]]]", "0x" + "f" * 5000, "9" * 5000, "nan", "-inf", "1979-05-27", "{a={b={}}}", "07:32:00")
)


@fuzz(text=texts(GOOD, GOOD + WITNESS, SAMPLE, *TYPED, "a = " + "[" * 3000, "[" + "a." * 3000 + "b]"))
def test_configurations(text: str) -> None:
    with suppress(UnicodeEncodeError):
        text.encode()  # a file is read as UTF-8: no half characters get here
        found = problems(text, "db1")
        assert all(str(one) for one in found)
        if not found:
            config = parse(text, "db1")
            assert isinstance(config, Config)
            assert toml(config)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "pgvip.toml"


@fuzz(data=raw(GOOD.encode(), b'[paths]\nrun = "/run/pgvip"\n', b"paths = 1\n", b"a = " + b"[" * 3000))
def test_where_the_daemon_listens(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with suppress(PgvipError):
        assert where.daemon_socket(argparse.Namespace(config=file, host="db1")).name == "pgvip.sock"


def test_a_number_without_end_is_a_mistake() -> None:
    for text in TYPED:
        assert all(isinstance(one, ConfigError) for one in problems(text, "db1"))
        assert problems(text, "db1")
