"""The steps to a new major version: those of the page, with a pair's own names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pgvip.config.load import parse
from pgvip.setup.major_steps import STEPS, Names, odd, planned
from tests.unit.config_text import edited

PAGE = Path(__file__).parents[3] / "docs/procedures/upgrade-major.md"
CONFIG = parse(edited(), "db1")
NAMES = Names(
    config=replace(
        CONFIG,
        postgres=replace(
            CONFIG.postgres,
            data_directory=Path("/srv/15/main"), config_directory=Path("/srv/15/main"),
            bin_directory=Path("/usr/lib/postgresql/15/bin"), socket_directory=Path("/run/postgresql"), unit="",
        ),
    ),
    old=15,
    new=18,
    programs=Path("/usr/lib/postgresql/18/bin"),
    next=Path("/srv/18/main"),
    peer_next=Path("/srv/18/main"),
    options=("--encoding=UTF8", "--lc-collate=C.UTF-8", "--no-data-checksums"),
    settings={"work_mem": "8MB", "log_line_prefix": "it's %m "},
)  # fmt: skip


def commands(names: Names = NAMES) -> str:
    return "\n".join(one.commands for one in planned(names))


def test_they_are_the_blocks_of_the_page() -> None:
    blocks = re.findall(r"^```([a-z-]+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert blocks[0][0] == "names"
    assert blocks[1] == ("primary", "pgvip upgrade-major --to $NEW --data $NEXT\n")
    assert blocks[2:] == [(one.where, one.commands) for one in STEPS]
    titles = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert list(dict.fromkeys(one.section for one in STEPS)) == titles[: titles.index("Debian and Ubuntu")]


def test_every_name_is_filled_in() -> None:
    text = commands()
    assert set(re.findall(r"\$\w+", text)) == {"$vip"}
    assert "/usr/lib/postgresql/18/bin/initdb -D /srv/18/main --encoding=UTF8" in text
    assert "work_mem = '8MB'\nlog_line_prefix = 'it''s %m '\nEND\n" in text
    assert f"promote --force --without-fence --yes {CONFIG.name}" in text
    for vip in CONFIG.vips.values():
        assert str(vip.ip) in text
    assert "mv /srv/15/main /srv/15/main.linked" in text
    assert [one.host for one in planned(NAMES)[:5]] == ["db1", "db1", "db2", "db1", "db2"]


def test_postgresqls_user_is_where_it_may_write() -> None:
    for one in planned(NAMES):
        assert ("runuser" in one.commands) is one.commands.startswith("cd /var/lib/postgresql\n"), one.commands


def test_what_a_pair_has_elsewhere() -> None:
    config = replace(
        NAMES.config,
        peer=replace(CONFIG.peer, data_directory=Path("/data/15")),
        postgres=replace(NAMES.config.postgres, user="pg", port=5433, unit="postgresql@15-main.service"),
    )
    text = commands(replace(NAMES, config=config, peer_next=Path("/data/18"), linked=False, settings={}))
    assert "runuser -u postgres" not in text
    assert "systemctl stop postgresql@15-main.service\n" in text
    assert "systemctl stop postgresql@18-main.service\n" in text
    assert r'-e "s|\"postgresql@15-main.service\"|\"postgresql@18-main.service\"|"' in text
    assert "--link" not in text
    assert "END" not in text
    assert "-p 5433" in text
    for one in planned(replace(NAMES, config=config, peer_next=Path("/data/18"))):
        if "sed" in one.commands:
            assert r'-e "s|\"/data/15\"|\"/data/18\"|"' in one.commands
            assert r'-e "s|\"/srv/15/main\"|\"/srv/18/main\"|"' in one.commands


def test_debian() -> None:
    etc = Path("/etc/postgresql/15/main")
    config = replace(NAMES.config, postgres=replace(NAMES.config.postgres, config_directory=etc))
    text = commands(replace(NAMES, config=config))
    locale = "--encoding=UTF8 --lc-collate=C.UTF-8"
    made = f"pg_createcluster --start-conf manual -d /srv/18/main {locale} 18 main -- --no-data-checksums\n"
    assert text.count(made) == 2
    assert "initdb" not in text
    assert "cat >>/etc/postgresql/18/main/postgresql.conf" in text
    assert '-O "-c config_file=/etc/postgresql/18/main/postgresql.conf"' in text
    assert "cp -p /etc/postgresql/15/main/pg_hba.conf" in text
    assert r'-e "s|\"/etc/postgresql/15/main\"|\"/etc/postgresql/18/main\"|"' in text
    assert "pgvip clone --replace" in text


def test_a_name_that_needs_quotes() -> None:
    assert not odd(NAMES)
    assert odd(replace(NAMES, next=Path("/srv/it's"))) == ["/srv/it's"]
