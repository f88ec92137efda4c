"""`pgvip conninfo`: what the strings say, and that libpq reads them as they are meant."""

from __future__ import annotations

import doctest
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg2.extensions
import pytest

from pgvip.cli import connections
from pgvip.cli.connections import BY, FORMATS, NOTES, TO, Wanted, connection
from pgvip.cli.main import main
from pgvip.errors import Exit
from tests.unit.cli.test_orders import CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AWKWARD = "o'neill & söhne/100%"
TIMES = {
    "connect_timeout": "3", "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}  # fmt: skip


def wanted(**changes: Any) -> Wanted:
    return Wanted(**{
        "hosts": ("10.0.0.1", "10.0.0.2"), "port": 5433, "to": "read-write", "by": "hosts", "dbname": "shop",
        "user": "app", "name": "orders", **changes,
    })  # fmt: skip


@pytest.fixture
def conninfo(tmp_path: Path) -> Callable[..., int]:
    file = tmp_path / "pgvip.toml"
    file.write_text(CONFIG.format(directory=tmp_path))
    return lambda *words: main(["--config", str(file), "--host", "beta", "conninfo", *words])


def test_doctests() -> None:
    assert doctest.testmod(connections) == (0, 2)


@pytest.mark.parametrize("form", ["libpq", "uri"])
@pytest.mark.parametrize("dbname", ["shop", AWKWARD, "a=b"])
@pytest.mark.parametrize("hosts", [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")])
def test_libpq_reads_what_is_meant(form: str, dbname: str, hosts: tuple[str, ...]) -> None:
    text = connection(form, wanted(dbname=dbname, user=AWKWARD, hosts=hosts))
    assert text is not None
    found = psycopg2.extensions.parse_dsn(text)
    assert found.pop("port") in ("5433", "5433,5433")
    assert found == {
        **TIMES, "host": ",".join(hosts), "dbname": dbname, "user": AWKWARD, "target_session_attrs": "read-write",
    }  # fmt: skip


def test_what_each_target_asks_for() -> None:
    def attrs(**changes: Any) -> dict[str, str]:
        return psycopg2.extensions.parse_dsn(connection("libpq", wanted(**changes)) or "")

    assert attrs(to="read-only")["target_session_attrs"] == "prefer-standby"
    assert "target_session_attrs" not in attrs(by="vip", hosts=("10.0.0.10",))
    assert "load_balance_hosts=random" in (connection("libpq", wanted(to="read-only", balance=True)) or "")
    assert "prefer-standby" not in (connection("libpq", wanted(to="read-only", balance=True)) or "")
    assert "load_balance" not in (connection("libpq", wanted(balance=True)) or ""), "writes go to one host only"
    assert "user" not in attrs(user="")


def test_jdbc() -> None:
    text = connection("jdbc", wanted()) or ""
    assert text == (
        "jdbc:postgresql://10.0.0.1:5433,10.0.0.2:5433/shop?user=app&connectTimeout=3&tcpKeepAlive=true"
        "&targetServerType=primary&hostRecheckSeconds=2"
    )
    assert "targetServerType=preferSecondary" in (connection("jdbc", wanted(to="read-only")) or "")
    balanced = connection("jdbc", wanted(to="read-only", balance=True)) or ""
    assert "targetServerType=any" in balanced
    assert "loadBalanceHosts=true" in balanced
    assert "targetServerType" not in (connection("jdbc", wanted(by="vip", hosts=("10.0.0.10",))) or "")


def test_pgx_gets_no_parameter_that_it_would_send_to_the_server() -> None:
    found = parse_qs(urlsplit(connection("pgx", wanted()) or "").query)
    assert found == {"connect_timeout": ["3"], "target_session_attrs": ["read-write"]}


def test_sqlalchemy_names_hosts_apart() -> None:
    url = urlsplit(connection("sqlalchemy", wanted()) or "")
    assert (url.scheme, url.netloc, url.path) == ("postgresql+psycopg2", "app@", "/shop")
    found = parse_qs(url.query)
    assert (found["host"], found["port"]) == (["10.0.0.1,10.0.0.2"], ["5433,5433"])
    by_vip = urlsplit(connection("sqlalchemy", wanted(by="vip", hosts=("10.0.0.10",))) or "")
    assert by_vip.netloc == "app@10.0.0.10:5433"


def test_node_has_its_options_by_name() -> None:
    assert connection("node", wanted()) is None
    assert json.loads(connection("node", wanted(by="vip", hosts=("10.0.0.10",), dbname=AWKWARD)) or "") == {
        "host": "10.0.0.10", "port": 5433, "database": AWKWARD, "user": "app", "connectionTimeoutMillis": 3000,
        "keepAlive": True, "keepAliveInitialDelayMillis": 5000,
    }  # fmt: skip


def test_everything_is_shown(conninfo: Callable[..., int], capsys: pytest.CaptureFixture[str], golden: Any) -> None:
    assert conninfo("--user", "app", "--dbname", "shop") == 0
    golden("conninfo.txt", capsys.readouterr().out)


def test_one_string_is_alone(conninfo: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert conninfo("--format", "libpq", "--to", "read-only", "--by", "vip") == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = psycopg2.extensions.parse_dsn(line)
    assert (found["host"], found["dbname"]) == ("10.0.0.11", "postgres")


def test_both_hosts_print_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pgvip.toml"
    file.write_text(CONFIG.format(directory=tmp_path))
    texts = set()
    for host in ("alpha", "beta"):
        assert main(["--config", str(file), "--host", host, "conninfo", "--json"]) == 0
        texts.add(capsys.readouterr().out)
    assert len(texts) == 1
    document = json.loads(texts.pop())
    assert [(one["to"], one["by"]) for one in document["connections"]] == [(to, by) for by in BY for to in TO]
    assert all(set(one["strings"]) == set(FORMATS) for one in document["connections"])
    assert set(document["notes"]) == set(FORMATS) == set(NOTES)


def test_what_a_driver_cannot_do_is_an_error(conninfo: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert conninfo("--format", "node", "--to", "read-write", "--by", "hosts") == Exit.CONFIG
    error = capsys.readouterr().err
    assert "node has no string by hosts" in error
    assert "HINT: Use --by vip." in error
