"""The [http] section: defaults, mistakes, the files it names, and that a reload applies all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.checks import configuration
from pgvip.config import load, reload
from pgvip.config.model import Config, HttpConfig
from tests.unit.config_text import GOOD, edited

TLS = 'certificate = "/etc/pgvip/http.crt"\nkey = "/etc/pgvip/http.key"'


def with_http(lines: str) -> str:
    return edited(("[link]", f"[http]\n{lines}\n[link]"))


def parse(lines: str) -> Config:
    return load.parse(with_http(lines), "db1")


def test_default_is_for_this_host_alone() -> None:
    http = load.parse(GOOD, "db1").http
    assert http == HttpConfig("loopback", 8433, None, None, None)
    assert not http.open


def test_everything_written_out() -> None:
    http = parse(f'listen = "own"\nport = 80\n{TLS}\npassword_file = "/etc/pgvip/http.password"\nnames = ["pg"]').http
    files = [Path(f"/etc/pgvip/http.{end}") for end in ("crt", "key", "password")]
    assert http == HttpConfig("own", 80, files[0], files[1], files[2], ("pg",))
    assert http.open


MISTAKES = {
    "unknown word": (
        'listen = "eth0"',
        'http.listen = "eth0": is not one of the known words',
        'Write one of "off", "loopback", "own", "all".',
    ),
    "unknown key": ("listens = 1", "http.listens is not a known key", "Did you mean http.listen?"),
    "port of the link": (
        "port = 8432", "http.port = 8432: is also link.port", "Use another; the default is 8433.",
    ),
    "port of PostgreSQL": (
        "port = 5432", "http.port = 5432: is also postgresql.port", "Use another; the default is 8433.",
    ),
    "certificate alone": (
        'certificate = "/a"', "http.key is missing", "TLS needs both: name the certificate and its key, or neither.",
    ),
    "key alone": (
        'key = "/a"', "http.certificate is missing", "TLS needs both: name the certificate and its key, or neither.",
    ),
    "password in the clear": (
        'listen = "all"\npassword_file = "/p"',
        'http.password_file = "/p": would be asked for in the clear',
        'Name http.certificate and http.key, or write listen = "loopback".',
    ),
    "name with a port": (
        'names = ["pg.example.org:8433"]',
        'http.names = "pg.example.org:8433": is neither a host name nor an address',
        'Write names and addresses without a port, as in names = ["pg.example.org", "192.0.2.20"].',
    ),
    "name of all": (
        'names = ["*.example.org"]',
        'http.names = "*.example.org": is neither a host name nor an address',
        'Write names and addresses without a port, as in names = ["pg.example.org", "192.0.2.20"].',
    ),
    "one name": ('names = "pg"', 'http.names = "pg": is not a list of strings', 'Write names = ["pg.example.org"].'),
    "relative file": (
        'key = "http.key"\ncertificate = "/a"',
        'http.key = "http.key": is not an absolute path',
        "Write the whole path, as in /etc/pgvip/http.key.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    lines, message, hint = MISTAKES[name]
    found = load.problems(with_http(lines), "db1")
    assert [(error.message, error.hint) for error in found] == [(message, hint)]


@pytest.mark.parametrize("lines", ['password_file = "/p"', f'listen = "own"\n{TLS}\npassword_file = "/p"',
                                   'listen = "off"\nport = 8432\nkey = "/k"', "names = []",
                                   'names = ["db1.example.org", "DB1", "192.0.2.20", "2001:db8::1"]'])  # fmt: skip
def test_no_mistake(lines: str) -> None:
    assert load.problems(with_http(lines), "db1") == []


def test_files_must_be_there_and_secrets_private(tmp_path: Path) -> None:
    certificate, key, password = (tmp_path / name for name in ("crt", "key", "password"))
    lines = f'certificate = "{certificate}"\nkey = "{key}"\npassword_file = "{password}"'
    config = parse(lines)

    def said() -> list[str]:
        return [error.message for error in configuration._http_files(config)]

    assert said() == [
        f'http.password_file = "{password}": cannot be read: No such file or directory',
        f'http.key = "{key}": cannot be read: No such file or directory',
        f'http.certificate = "{certificate}": cannot be read',
    ]
    for file in (certificate, key, password):
        file.write_text("x")
        file.chmod(0o644)
    assert [text.split(": ")[1] for text in said()] == ["can be read by others (mode 0644)"] * 2
    key.chmod(0o600)
    password.chmod(0o400)
    assert said() == []
    assert [e.message for e in configuration._http_files(parse(lines + '\nlisten = "off"\n'))] == []


def test_a_reload_applies_the_whole_section() -> None:
    old, new = parse(""), parse(f'listen = "all"\nport = 81\n{TLS}\npassword_file = "/p"\nnames = ["pg"]')
    applied, refused = reload.changes(old, new)
    assert {change.key for change in applied} == {f"http.{name}" for name in HttpConfig.__slots__}
    assert refused == []
    assert reload.reloaded(old, new).http == new.http


def test_the_hosts_may_differ_in_it() -> None:
    """Each host serves for itself: other files are no drift."""
    assert load.digest(parse("port = 81")) == load.digest(parse("port = 82"))
