"""[witness]: each mistake and its message, the defaults that follow the timing, and libpq's connection strings."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvip.checks import configuration
from pgvip.config import libpq_words, load, safeguards
from pgvip.config.libpq_words import StringError, words_of
from pgvip.config.model import Config
from pgvip.config.witness_config import WitnessConfig
from pgvip.errors import ConfigError
from tests.unit.config_text import DB1_FENCING, GOOD, edited

PLACE = "host=w.example.org dbname=pgvip_witness"
SAMPLE = Path(__file__).parents[3] / "conf" / "pgvip.toml"
NO_FENCING = (DB1_FENCING, 'fencing = "none"')
FAST = ("[timing]", '[timing]\npreset = "fast"')
ASYNC = ('mode = "sync"', 'mode = "async"')


def section(*lines: str, postgresql: str = PLACE) -> str:
    return "\n".join(["\n[witness]", *([f'postgresql = "{postgresql}"'] if postgresql else []), *lines, ""])


def parse(text: str, *edits: tuple[str, str]) -> Config:
    return load.parse(edited(*edits) + text, "db1")


def test_without_a_section_there_is_no_witness_and_nothing_changes() -> None:
    config = load.parse(GOOD, "db1")
    assert config.witness == WitnessConfig()
    assert not config.witness.configured
    assert load.parse(GOOD + "\n[witness]\n", "db1") == config
    assert (config.valid_lft_s, config.settings.digest) == (0, load.digest(config))


@pytest.mark.parametrize(
    ("edits", "lines", "times"),
    [
        ((), (), (0.5, 4.5, 0.8)),
        ((FAST,), (), (0.3, 1.7, 0.4)),
        ((), ("timeout_s = 2",), (2.0, 6.0, 0.8)),
        ((("[timing]", "[timing]\ninterval_s = 2"),), (), (0.5, 7.5, 0.8)),
        ((("[timing]", "[timing]\nheartbeat_s = 0.9"),), (), (0.5, 5.3, 0.9)),
        ((), ("lease_s = 9", "lease_stop_s = 3"), (0.5, 9.0, 3.0)),
    ],
)
def test_times_follow_the_detection(
    edits: tuple[tuple[str, str], ...], lines: tuple[str, ...], times: tuple[float, float, float]
) -> None:
    witness = parse(section(*lines), *edits).witness
    assert (witness.timeout_s, witness.lease_s, witness.lease_stop_s) == times


def test_a_takeover_takes_what_is_promised() -> None:
    """The wait of the winner, with the margin of the clocks; a promotion needs some 0.3 s more."""
    for edits, longest_s in (((), 6.5), ((FAST,), 2.8)):
        settings = parse(section(), *edits).settings
        assert settings.loses_within_s * (1 + settings.clock_margin) + 0.3 <= longest_s


def test_the_core_knows_a_witness_that_has_an_id() -> None:
    settings = parse(section('id = "0123456789abcdef"')).settings
    assert (settings.witness_id, settings.lease_s, settings.lease_stop_s) == ("0123456789abcdef", 4.5, 0.8)
    assert settings.claim_s == 0.5
    assert parse(section()).settings.witness_id == load.parse(GOOD, "db1").settings.witness_id == ""
    required = ("[timing]", '[watchdog]\nmode = "required"\ntimeout_s = 15\n[timing]')
    assert parse(section(), NO_FENCING, ASYNC, required).settings.lease_stop_s == 15.0
    assert parse(section(), ASYNC).settings.lease_stop_s == 0.8


def test_the_kernel_drops_addresses_by_default_where_a_host_cannot_be_powered_off() -> None:
    assert parse(section()).valid_lft_s == 0
    assert parse(section(), NO_FENCING).valid_lft_s == 5
    assert parse(section(), NO_FENCING, FAST).valid_lft_s == 0, "whole seconds are too coarse"
    assert parse(section(), NO_FENCING, ("[gateway]", "valid_lft_s = 0\n[gateway]")).valid_lft_s == 0
    assert load.parse(edited(NO_FENCING), "db1").valid_lft_s == 0


@given(st.floats(0.1, 60.0), st.integers(1, 100), st.floats(0.1, 30.0), st.floats(0.05, 30.0))
@settings(max_examples=300, deadline=None)
def test_the_defaults_always_fit(interval_s: float, times: int, timeout_s: float, beat_s: float) -> None:
    """A lease that is not written is always long enough, and the kernel's is never shorter than the detection."""
    timing = f"[timing]\ninterval_s = {interval_s}\ncheck_times = {times}\nheartbeat_s = {min(beat_s, interval_s)}"
    text = edited(NO_FENCING, ("[timing]", timing)) + section(f"timeout_s = {timeout_s}")
    found = [str(one) for one in load.problems(text, "db1")]
    assert not [one for one in found if "witness." in one and "out of range" not in one]
    assert not [one for one in found if "addresses.valid_lft_s" in one and "shorter" in one]


LEASE_TOO_SHORT = (
    "[witness] lease_s = 4.4 is too short: a primary claims after interval_s * check_times = 3 s of silence, "
    "noticed up to two heartbeats of 0.5 s late, and a claim may take claim_s = 0.5 s: together 4.5 s"
)
LAG_TOO_SHORT = (
    "[witness] lag_s_max = 43 is too short: what a standby was granted is up to 4.3 s old, and it waits "
    "(lease_s + lease_stop_s) * (1 + clock_margin) = 47.3 s before it takes over: together 51.6 s"
)
MISTAKES = {
    "both": (
        section('command = ["/bin/w"]'),
        "witness has both postgresql and command",
    ),
    "neither": (
        section("timeout_s = 1", postgresql=""),
        "witness has neither postgresql nor command",
    ),
    "unknown key": (section("lease = 3"), "witness.lease is not a known key"),
    "command as a string": (
        section('command = "w"', postgresql=""),
        'witness.command = "w": is not a list of strings',
    ),
    "command by a relative path": (
        section('command = ["w"]', postgresql=""),
        'witness.command = ["w"]: does not begin with an absolute path',
    ),
    "command as root": (
        section('command = ["/w"]', 'user = "root"', postgresql=""),
        'witness.user = "root": is root',
    ),
    "a URI": (section(postgresql="postgresql://w/x"), "witness.postgresql is a URI"),
    "no string": (section(postgresql="host"), 'witness.postgresql is no connection string: no "=" after "host"'),
    "an open quote": (
        section(postgresql="host='w"),
        "witness.postgresql is no connection string: a quote is not closed",
    ),
    "no host": (section(postgresql="dbname=x"), "witness.postgresql (host) is missing"),
    "two hosts": (section(postgresql="host=a,b"), 'witness.postgresql (host) = "a,b": names several servers'),
    "a socket": (
        section(postgresql="host=/var/run/postgresql"),
        'witness.postgresql (host) = "/var/run/postgresql": is a socket of this machine',
    ),
    "on a host of the pair": (
        section(postgresql="host=192.0.2.12"),
        "witness.postgresql (host) = \"192.0.2.12\": is db2's own address",
    ),
    "on a host of the pair, by name": (
        section(postgresql="host=db1"),
        'witness.postgresql (host) = "db1": is the host db1',
    ),
    "behind a VIP": (
        section(postgresql="host=w.example.org hostaddr=192.0.2.10"),
        'witness.postgresql (host) = "192.0.2.10": is the primary VIP',
    ),
    "a password": (
        section(postgresql=f"{PLACE} password=geheim"),
        "witness.postgresql: a password is written into the configuration",
    ),
    "options": (section(postgresql=f"{PLACE} options=-cx=y"), "witness.postgresql: options cannot be set"),
    "a service": (section(postgresql=f"{PLACE} service=x"), "witness.postgresql: service cannot be set"),
    "relative file": (
        section(postgresql=f"{PLACE} sslkey=client.key"),
        'witness.postgresql (sslkey) = "client.key": is not an absolute path',
    ),
    "maybe TLS": (
        section(postgresql=f"{PLACE} sslmode=prefer"),
        'witness.postgresql (sslmode) = "prefer": leaves open whether the connection is encrypted',
    ),
    "no port": (section(postgresql=f"{PLACE} port=99999"), 'witness.postgresql (port) = "99999": is no port'),
    "no address": (
        section(postgresql=f"{PLACE} hostaddr=w"),
        'witness.postgresql (hostaddr) = "w": is not an IP address',
    ),
    "lease too short": (
        section("lease_s = 4.4"),
        LEASE_TOO_SHORT,
    ),
    "no time to stop": (
        section("lease_stop_s = 0.4"),
        "[witness] lease_stop_s = 0.4 is shorter than a heartbeat of 0.5 s",
    ),
    "an odd id": (section('id = "x y"'), 'witness.id = "x y": is no id of a witness'),
    "time-out out of range": (section("timeout_s = 0"), "witness.timeout_s = 0: is out of range"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_has_its_message_and_a_hint(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load.parse(GOOD + text, "db1")
    assert caught.value.message == message
    assert caught.value.hint
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("edits", "lines", "message"),
    [
        ((NO_FENCING, ASYNC), (), 'watchdog.mode = "off": is too little for async with a witness'),
        (
            (NO_FENCING, ("[gateway]", "valid_lft_s = 7\n[gateway]")), (),
            "addresses.valid_lft_s = 7: is longer than (lease_s + lease_stop_s) * (1 + clock_margin) = 5.83 s",
        ),
        (
            (NO_FENCING, ('mode = "sync"', 'mode = "async"\nlag_s_max = 43'),
             ("[timing]", '[watchdog]\nmode = "required"\ntimeout_s = 15\n[timing]')), ("lease_s = 28",),
            LAG_TOO_SHORT,
        ),
    ],
)  # fmt: skip
def test_what_contradicts_other_sections(
    edits: tuple[tuple[str, str], ...], lines: tuple[str, ...], message: str
) -> None:
    found = load.problems(edited(*edits) + section(*lines), "db1")
    assert message in [one.message for one in found]


def test_both_hosts_must_have_the_same_witness() -> None:
    one, other = parse(section()), parse(section("lease_s = 6"))
    assert one.settings.digest == load.parse(GOOD + section(), "db2").settings.digest
    assert one.settings.digest != other.settings.digest != load.parse(GOOD, "db1").settings.digest


def test_the_sample_shows_the_defaults() -> None:
    text = SAMPLE.read_text()
    lines = text[text.index("\n[witness]\n") : text.index("\n[hooks]\n")].splitlines()
    shown = {line.split(" = ")[0].strip("# "): line for line in lines if re.match(r"#   [a-z_]+ = ", line)}
    assert shown.keys() == {"postgresql", "command", "id", "user", "timeout_s", "lease_s", "lease_stop_s"}
    for kind in ("postgresql", "command"):
        others = [line.strip("# ") for key, line in shown.items() if key not in ("postgresql", "command")]
        made = load.parse(GOOD + "\n".join(["\n[witness]", shown[kind].strip("# "), *others, ""]), "db1").witness
        bare = load.parse(GOOD + "\n".join(["\n[witness]", shown[kind].strip("# "), ""]), "db1").witness
        assert made == bare


# --- what this machine has ------------------------------------------------------------------------------------------


def named(config: Config) -> list[str]:
    rules = (configuration._witness_files, configuration._witness_program)
    return [str(error).partition("\n")[0] for rule in rules for error in rule(config)]


def test_files_of_the_witness_are_there_and_private(tmp_path: Path) -> None:
    files = " ".join(f"{key}={tmp_path}/{key}" for key in ("sslrootcert", "sslcert", "sslkey"))
    config = parse(section(postgresql=f"{PLACE} {files}"))
    assert len(named(config)) == 3
    for key in ("sslrootcert", "sslcert", "sslkey"):
        (tmp_path / key).write_text("x")
        (tmp_path / key).chmod(0o644)
    assert named(config) == [
        f'witness.postgresql (sslkey) = "{tmp_path}/sslkey": can be read by others (mode 0644)'
    ]
    (tmp_path / "sslkey").chmod(0o600)
    assert named(config) == []


def test_the_program_and_its_user_exist(tmp_path: Path) -> None:
    program = tmp_path / "w"
    config = parse(section(f'command = ["{program}"]', 'user = "no-such-user"', postgresql=""))
    assert [one.split(":")[0] for one in named(config)] == ["witness.command", 'witness.user = "no-such-user"']


# --- connection strings ---------------------------------------------------------------------------------------------


def test_examples() -> None:
    for module in (libpq_words, safeguards):
        assert doctest.testmod(module).failed == 0


KEYS = st.sampled_from(["host", "dbname", "user", "port", "sslmode"])
PIECES = st.lists(st.sampled_from([*"ab=' \\\t\n", "host", "dbname=", "''", " = "]), max_size=12).map("".join)


def libpq(text: str) -> dict[str, str] | None:
    """What libpq itself makes of it."""
    try:
        return dict(psycopg2.extensions.parse_dsn(text))
    except psycopg2.Error:
        return None


@given(st.dictionaries(KEYS, st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), max_size=20)))
@settings(max_examples=300, deadline=None)
def test_what_is_quoted_comes_back(words: dict[str, str]) -> None:
    quoted = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in words.items()}
    text = "  ".join(f"{key} = '{value}'" for key, value in quoted.items())
    assert words_of(text) == words == libpq(text)


@given(st.lists(st.tuples(KEYS, PIECES), max_size=4))
@settings(max_examples=1500, deadline=None)
def test_every_string_is_read_as_libpq_reads_it(parts: list[tuple[str, str]]) -> None:
    text = " ".join(f"{key}={value}" for key, value in parts)
    expected = libpq(text)
    try:
        found: dict[str, str] | None = words_of(text)
    except StringError:
        found = None
    if expected is None and found is not None:
        assert found.keys() - {"host", "dbname", "user", "port", "sslmode"}, "libpq refuses unknown keywords alone"
        return
    assert found == expected
