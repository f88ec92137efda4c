"""What differs between two hosts, and what is copied from one to the other."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.errors import FormatError, RefusedError
from pgvip.setup import portrait
from pgvip.setup.likeness import Difference, Kind, differences, in_one_line, masked
from pgvip.setup.own_settings import compared, may_be_copied
from pgvip.setup.portrait import ODD, Portrait, Value, checked
from pgvip.setup.push_plan import plan, script

HBA = ("# applications", "host app app 192.0.2.0/24 scram-sha-256", "host all all all reject")
BERLIN = Portrait(
    "berlin",
    version=15,
    files={"pg_hba.conf": HBA, "pg_ident.conf": ()},
    settings={
        "work_mem": Value("4096", "kB", in_file=True),
        "max_connections": Value("100", in_file=True, restart=True),
    },
    limits={"max_connections": 100},
    library_files=("pg_stat_statements", "plugins/debugger"),
    directories={"/data": 100 << 30},
)
PARIS = replace(BERLIN, host="paris", standby=True)


def with_setting(
    host: Portrait, name: str, value: str, *, pending: bool = False, restart: bool = False
) -> Portrait:
    found = Value(value, in_file=True, pending=pending, restart=restart)
    return replace(host, settings={**host.settings, name: found})


def found(one: Portrait, other: Portrait) -> list[tuple[Kind, str]]:
    return [(each.kind, each.text) for each in differences(one, other)]


def test_two_hosts_that_are_alike() -> None:
    assert differences(BERLIN, PARIS) == []


def test_lines_of_one_host_alone_are_named_on_both_sides_with_the_host() -> None:
    line = "host shop shop 198.51.100.0/24 md5"
    said = "host  shop shop   198.51.100.0/24 md5 # new"
    paris = replace(PARIS, files={**PARIS.files, "pg_hba.conf": (HBA[0], said)})
    assert sorted(text for _, text in found(BERLIN, paris)) == [
        "pg_hba.conf only on berlin: host all all all reject",
        "pg_hba.conf only on berlin: host app app 192.0.2.0/24 scram-sha-256",
        f"pg_hba.conf only on paris: {line}",
    ]


def test_comments_blanks_and_lines_of_a_host_alone_are_no_difference() -> None:
    own = "host backup backup 192.0.2.9/32 md5   # pgvip: only here"
    files = {**PARIS.files, "pg_hba.conf": ("", own, *(line.replace(" ", "\t") for line in HBA), "# end")}
    assert differences(BERLIN, replace(PARIS, files=files)) == []


def test_the_order_of_lines_counts() -> None:
    files = {**PARIS.files, "pg_hba.conf": (HBA[2], HBA[1])}
    texts = [text for _, text in found(BERLIN, replace(PARIS, files=files))]
    assert texts
    assert all("in another place" in text for text in texts)


def test_passwords_of_pg_hba_are_not_shown() -> None:
    line = 'host all all ::/0 radius radiusservers=a radiussecrets="one two"'
    files = {**PARIS.files, "pg_hba.conf": (*HBA, line)}
    [only] = differences(BERLIN, replace(PARIS, files=files))
    assert "one" not in only.text
    assert "two" not in str(only.values)
    assert masked(line).endswith("radiussecrets=...")


def test_settings_are_compared_where_a_file_of_either_host_sets_them() -> None:
    paris = replace(PARIS, settings={**PARIS.settings, "work_mem": Value("65536", "kB"), "geqo": Value("off")})
    berlin = replace(BERLIN, settings={**BERLIN.settings, "geqo": Value("on")})
    assert found(berlin, paris) == [(Kind.MACHINE, "work_mem (4 MB on berlin, 64 MB on paris)")]


def test_a_limit_a_setting_and_a_command_are_told_apart() -> None:
    paris = with_setting(with_setting(PARIS, "max_connections", "200", pending=True), "archive_command", "cp")
    paris = with_setting(paris, "statement_timeout", "0")
    berlin = with_setting(with_setting(BERLIN, "archive_command", "scp"), "statement_timeout", "5")
    got = differences(berlin, paris)
    assert [one.kind for one in got] == [Kind.BY_HAND, Kind.LIMIT, Kind.SETTING]
    assert [one.pending for one in got] == ["", "paris", ""]


def test_what_one_version_does_not_have_is_no_difference() -> None:
    newer = replace(PARIS, version=16)
    assert differences(with_setting(BERLIN, "old_snapshot_threshold", "1"), newer) == []
    assert differences(with_setting(BERLIN, "pg_stat_statements.max", "1"), PARIS)


def test_a_library_that_is_named_must_be_on_the_other_host() -> None:
    berlin = replace(BERLIN, libraries=("pg_stat_statements", "debugger", "/opt/own.so", "timescaledb"))
    assert found(berlin, PARIS) == [(Kind.LIBRARY, "library timescaledb is not on paris")]
    assert found(PARIS, berlin) == [(Kind.LIBRARY, "library timescaledb is not on paris")]
    assert found(berlin, replace(PARIS, library_files=())) == []


def test_places_locales_collations_and_disks() -> None:
    berlin = replace(BERLIN, tablespaces=("/fast",), locales={"de_DE.utf8": True}, collations={"libc": "2.36"})
    paris = replace(PARIS, directories={"/data": 89 << 30, "/fast": 0}, locales={"de_DE.utf8": False},
                    collations={"libc": "2.41", "database app": "2.41"}, made={"database app": "2.36"})  # fmt: skip
    assert found(berlin, replace(paris, collations=berlin.collations, made={})) == [
        (Kind.TABLESPACE, "there is no directory /fast for a tablespace on paris"),
        (Kind.LOCALE, "paris does not know the locale de_DE.utf8, with which a database was made"),
        (Kind.DISK, "the disk of /data has 100 GB on berlin, 89 GB on paris"),
    ]
    both = replace(berlin, collations={**berlin.collations, "database app": "2.36"}, made=paris.made)
    texts = [text for kind, text in found(both, paris) if kind is Kind.COLLATION]
    assert "collations of libc have different versions (2.36 on berlin, 2.41 on paris)" in texts
    assert "database app was made with collation version 2.36, paris has 2.41" in texts


def test_a_warning_names_a_few_and_counts_the_rest() -> None:
    many = [Difference(Kind.LINE, "pg_hba.conf", {}, f"line {number}") for number in range(9)]
    assert in_one_line(many) == "line 0; line 1; line 2; line 3; line 4; and 4 more"
    assert in_one_line([]) == ""


# --- what is copied ---------------------------------------------------------------------------------------------


def test_a_copy_has_the_sources_lines_and_keeps_those_of_the_target_alone() -> None:
    own = "host backup backup 192.0.2.9/32 md5 # pgvip: only here"
    paris = replace(PARIS, files={**PARIS.files, "pg_hba.conf": (own, "host all all all trust")})
    made = plan(BERLIN, paris)
    assert made.files == {"pg_hba.conf": (own, *HBA)}
    assert plan(paris, BERLIN).files == {"pg_hba.conf": ("host all all all trust",)}
    assert plan(BERLIN, PARIS).empty


def test_a_line_that_is_no_text_is_not_copied() -> None:
    with pytest.raises(RefusedError, match="no text"):
        plan(replace(BERLIN, files={**BERLIN.files, "pg_hba.conf": (*HBA, f"# caf{ODD}")}),
             replace(PARIS, files={**PARIS.files, "pg_hba.conf": ()}))  # fmt: skip


@pytest.mark.parametrize(
    ("source", "in_force", "target", "wanted"),
    [
        (BERLIN, 200, PARIS, True),
        (BERLIN, 100, PARIS, True),
        (BERLIN, 300, PARIS, False),
        (PARIS, 200, BERLIN, True),
        (PARIS, 300, BERLIN, True),
        (PARIS, 100, BERLIN, False),
    ],
    ids=["up there", "up there first", "down here first", "up here", "down here", "up there first, not yet"],
)
def test_a_limit_goes_up_on_the_standby_first_and_down_on_the_primary_first(
    source: Portrait, in_force: int, target: Portrait, wanted: bool
) -> None:
    source = replace(with_setting(source, "max_connections", "200", restart=True), limits={"max_connections": in_force})
    made = plan(source, target)
    assert (made.settings == {"max_connections": "'200'"}) is wanted
    assert bool(made.later) is not wanted
    assert made.restart == (("max_connections",) if wanted else ())


def test_what_loads_or_runs_something_is_never_copied() -> None:
    names = ("archive_command", "shared_preload_libraries", "dynamic_library_path", "ssl_passphrase_command",
             "archive_library", "primary_conninfo", "ssl_ca_file", "data_directory", "hba_file", "a b",
             "x;drop")  # fmt: skip
    for name in names:
        assert not may_be_copied(name), name
        assert name not in plan(with_setting(BERLIN, name, "x"), with_setting(PARIS, name, "y")).settings
    assert may_be_copied("statement_timeout")
    assert may_be_copied("pg_stat_statements.max")


@pytest.mark.parametrize(
    "name",
    ["plperl.on_init", "plperl.on_plperlu_init", "pltcl.start_proc", "pgsodium.getkey_script",
     "basebackup_to_shell.command", "somebody.s_own"],
)  # fmt: skip
def test_a_setting_of_an_extension_that_is_not_known_to_run_nothing_is_never_copied(name: str) -> None:
    """plperl.on_init is Perl code that the server runs as PostgreSQL's user."""
    assert not may_be_copied(name)
    made = plan(with_setting(BERLIN, name, "system('id')"), with_setting(PARIS, name, ""))
    assert name not in made.settings
    assert any(name in text for text in made.by_hand), "it is named"


def test_what_pgvip_sets_itself_is_not_compared() -> None:
    assert not compared("hot_standby", frozenset({"hot_standby"}))


def test_values_are_quoted_and_words_of_lists_by_themselves() -> None:
    berlin = with_setting(with_setting(BERLIN, "search_path", '"$user", public'), "pgaudit.role", "it's")
    paris = with_setting(with_setting(PARIS, "search_path", ""), "pgaudit.role", "")
    assert script(plan(berlin, paris).settings) == (
        "ALTER SYSTEM SET pgaudit.role = 'it''s';\nALTER SYSTEM SET search_path = '$user', 'public';\n"
    )


def test_a_file_of_which_not_everything_is_sent_is_never_copied(tmp_path: Path) -> None:
    """The lines at its end would be lost on the other host; a line that is cut says something else."""
    hba = tmp_path / "pg_hba.conf"
    for text in ("host a b c reject\n" * 4001, f"host all {','.join(['user'] * 1000)} all reject\n"):
        hba.write_text(text)
        sent = replace(PARIS, files={**PARIS.files, "pg_hba.conf": portrait._lines(hba)})
        assert checked(sent) == sent
        for source, target in ((sent, BERLIN), (BERLIN, sent)):
            with pytest.raises(RefusedError, match=r"pg_hba.conf"):
                plan(source, target)
    hba.write_text("host a b c reject\n" * 4000)
    assert portrait._lines(hba) == ("host a b c reject",) * 4000


def test_files_that_have_no_line_in_common_are_compared_at_once() -> None:
    """It runs in the daemon, and what is compared comes from the other host: 4000 lines must not take hours."""
    ours, theirs = (tuple(f"host {word}{n} role_{n * 7} 10.{n % 250}.0.0/24 md5" for n in range(portrait.LINES_MAX))
                    for word in ("app", "dev"))  # fmt: skip
    one, other = (replace(host, files={"pg_hba.conf": lines}) for host, lines in ((BERLIN, ours), (PARIS, theirs)))
    began_s = time.process_time()
    assert len(differences(one, other)) == 2 * portrait.LINES_MAX
    assert time.process_time() - began_s < 5.0


# --- what comes from the other host ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        replace(BERLIN, files={"/etc/passwd": ()}),
        replace(BERLIN, files={"pg_hba.conf": ("host all\nall",)}),
        replace(BERLIN, files={"pg_hba.conf": ("x",) * 5000}),
        replace(BERLIN, files={"pg_hba.conf": ("x" * 5000,)}),
        replace(BERLIN, settings={"a": Value("x\0y")}),
        replace(BERLIN, settings={"a\x1b[2J": Value("x")}),
        replace(BERLIN, limits={"shared_buffers": 1}),
        replace(BERLIN, tablespaces=("/x",) * 5000),
    ],
    ids=["file", "two lines", "many lines", "a long line", "value", "name", "limit", "many"],
)
def test_a_portrait_that_no_host_sends_is_refused(odd: Portrait) -> None:
    assert checked(BERLIN) == BERLIN
    with pytest.raises(FormatError):
        checked(odd)
