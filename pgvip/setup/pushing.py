"""Writes on this host what `push_plan` found: PostgreSQL's files by a worker, settings by ALTER SYSTEM, then a reload.

The old files stay beside the new ones. A file that PostgreSQL finds wrong is put back.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import ActionError, PgvipError, RefusedError
from pgvip.setup.access import FILES, hba_lines, ident_lines, with_block
from pgvip.setup.push_plan import script
from pgvip.state import files
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.sql import connect_local
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.config.model import Config
    from pgvip.setup.push_plan import Plan

ANSWER_S = 5.0
AUTO_CONF = "postgresql.auto.conf"


def push(config: Config, plan: Plan) -> tuple[str, ...]:
    """Do it; the old files. PgvipError, and then everything is as it was."""
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is None:
        raise RefusedError("PostgreSQL does not run on this host", hint="See: pgvip status")
    with connect_local(config) as session:
        hba, ident, data, *_ = session.query("same_places", timeout_s=ANSWER_S)[0]
    paths = {name: str(path) for name, path in zip(FILES, (hba, ident), strict=True) if name in plan.files}
    changed = [*paths.values(), *([f"{data}/{AUTO_CONF}"] if plan.settings else [])]
    kept = keep(changed, time.strftime("%Y%m%d-%H%M%S", time.gmtime()))
    try:
        for name, path in paths.items():
            write_lines(config, name, path, plan.files[name])
        with connect_local(config) as session:
            wrong = session.query("file_errors", timeout_s=ANSWER_S)
        if bad := [row for row in wrong if str(row[0]) in paths.values()]:
            file, line, _, error = bad[0]
            why = f"Line {line}: {error}."
            raise RefusedError(f"PostgreSQL would refuse {file}", why, "The old file was put back.")
        if plan.settings:
            pgtools.psql(config, script(plan.settings))
    except PgvipError:
        put_back(changed, kept)
        raise
    processes.send(postmaster, pgconf.RELOAD)
    return tuple(kept)


@as_postgres()
def keep(paths: Sequence[str], stamp: str) -> list[str]:
    """Copies of files beside them; their names, in the same order. ActionError."""
    kept = []
    for path in map(Path, paths):
        old = path.with_name(f"{path.name}.replaced-{stamp}")
        try:
            files.write_like(old, files.read(path, pgconf.FILE_BYTES_MAX), path)
        except OSError as failure:
            raise ActionError(f"could not keep {path}", f"{failure}.") from failure
        kept.append(str(old))
    return kept


@as_postgres()
def put_back(paths: Sequence[str], kept: Sequence[str]) -> None:
    """Have files as they were; the copies go. What cannot be written stays, with its copy."""
    for path, old in zip(map(Path, paths), map(Path, kept), strict=True):
        with suppress(OSError):
            files.write_like(path, files.read(old, pgconf.FILE_BYTES_MAX), path)
            old.unlink()


@as_postgres()
def write_lines(config: Config, name: str, path: str, lines: Sequence[str]) -> None:
    """Have these lines in pg_hba.conf or pg_ident.conf, below pgvip's own of this host. ActionError."""
    block = hba_lines(config) if name == FILES[0] else ident_lines(config)
    try:
        files.write_like(Path(path), with_block("\n".join(lines), block), Path(path))
    except OSError as failure:
        raise ActionError(f"could not write {path}", f"{failure}.") from failure
