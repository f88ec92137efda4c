"""What makes pg_rewind fail although nothing is wrong with the data: no reason for a new clone."""

from __future__ import annotations

import dataclasses
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres
from pgvip.deadlines import wait_until
from pgvip.errors import RejoinError
from pgvip.rejoin import follow
from pgvip.system import pgtools
from tests.lab.actions.servers import caught_up, diverge

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config
    from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


def to_a_closed_port(config: Config, directory: Path) -> Config:
    """PostgreSQL's programs, of which pg_rewind alone looks for its source where nobody listens."""
    directory.mkdir()
    for tool in config.postgres.bin_directory.iterdir():
        (directory / tool.name).symlink_to(tool)
    script = directory / "pg_rewind"
    script.unlink()
    real = config.postgres.bin_directory / "pg_rewind"
    script.write_text(f'#!/bin/bash\nexec {real} "${{@/port={config.postgres.port}/port=1}}"\n')
    script.chmod(0o755)
    directory.chmod(0o755)
    return dataclasses.replace(config, postgres=dataclasses.replace(config.postgres, bin_directory=directory))


def test_lost_connection_changes_nothing_and_is_tried_again(streaming: Pair) -> None:
    diverge(streaming)
    directory = streaming.root / "bin"
    with pytest.raises(RejoinError, match="lost its connection") as failed:
        follow.rejoin(to_a_closed_port(streaming.a, directory), progress=print)
    shutil.rmtree(directory)
    assert "refused" in failed.value.detail
    assert follow.rejoin(streaming.a, progress=print).startswith("rewound")
    postgres.start(streaming.a, standby=True, sync=False)


@pytest.mark.parametrize("clone", [False, True])
def test_files_that_postgresql_may_not_write_stay_this_hosts_own(streaming: Pair, clone: bool) -> None:
    """A key of root's, one that is read-only, a link, and one that is only named by a setting."""
    a, b = streaming.a.postgres.data_directory, streaming.b.postgres.data_directory
    names = ("server.key", "server.crt", "link", "named.key")
    for data in (a, b):
        for name in names:
            file = data / name
            file.unlink(missing_ok=True)
            if name == "link":
                file.symlink_to(f"/etc/{data.parent.name}")
                continue
            file.write_text(f"{name} of {data.parent.name}")
            shutil.chown(file, "root" if name == "server.key" else "postgres", "postgres")
            file.chmod({"server.key": 0o640, "server.crt": 0o400}.get(name, 0o600))
    own = a / "own-of-a"
    own.write_text("x")
    own.chmod(0o400)
    pgtools.psql(streaming.a, f"ALTER SYSTEM SET ssl_key_file = '{a / 'named.key'}'")
    diverge(streaming)
    done = follow.rejoin(streaming.a, clone=clone, progress=print)
    assert done.startswith("cloned" if clone else "rewound"), done
    assert [(a / name).read_text() for name in names if name != "link"] == [
        f"{name} of a" for name in names if name != "link"
    ]
    assert str((a / "link").readlink()) == "/etc/a"
    status = (a / "server.key").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o640)
    assert own.read_text() == "x"
    postgres.start(streaming.a, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")
    for data in (a, b):
        for name in (*names, "own-of-a"):
            (data / name).unlink(missing_ok=True)
