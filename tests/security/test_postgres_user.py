"""What PostgreSQL's system user prepares for root: links, FIFOs and foreign names in its own directories.

Each attack lies ready, then pgvip's own function runs as the daemon runs it: by a process of root's that has given up
its capabilities, and by its workers. Run with PGVIP_SECURITY_RED=1 the same functions run with all of root's rights,
as they did before there were workers: then these tests fail (but for those whose function has changed itself:
start.conf, which is replaced by rename now, and the bits of what `restore` copies).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.actions import prepare, slots
from pgvip.archive import backups, cleaning, restoring
from pgvip.config.model import Config
from pgvip.core.values import Lsn, WalPoint
from pgvip.deadlines import wait_until
from pgvip.errors import PgvipError, PostgresError
from pgvip.rejoin import copy as cloning
from pgvip.setup import access
from pgvip.state import files
from pgvip.system import capabilities, pgconf, pgtools, privileges, processes, stopped_wal, units, worker
from tests.unit.configs import make
from tests.unit.system.test_pgtools import TEXT

USER = "postgres"
RED = os.environ.get("PGVIP_SECURITY_RED") == "1"


def known(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not known(USER), reason=f"root and a user {USER} are needed")


@pytest.fixture
def config() -> Iterator[Config]:
    """A host whose data, archive and saved WAL belong to PostgreSQL's user; all else is root's."""
    root = Path(tempfile.mkdtemp(prefix="pgvip-security-"))
    root.chmod(0o755)
    made = make(root)
    made = replace(made, postgres=replace(made.postgres, user=USER))
    for directory in (made.paths.state, made.paths.run):
        directory.mkdir(mode=0o755)
    home = root / "home"
    home.mkdir()
    data, archive = home / "data", home / "archive"
    made = replace(
        made,
        postgres=replace(made.postgres, data_directory=data, config_directory=data),
        archive=replace(made.archive, directory=archive),
        backup=replace(made.backup, directory=archive / "backups"),
    )
    for directory in (home, data, archive, archive / "backups", made.paths.work, made.paths.saved):
        directory.mkdir(mode=0o700, exist_ok=True)
    (data / "PG_VERSION").write_text("17\n")
    (data / "postgresql.conf").write_text("")
    give(root / "home", made.paths.work, made.paths.saved)
    home.chmod(0o755)
    yield made
    shutil.rmtree(root)


@pytest.fixture
def victim() -> Iterator[Path]:
    """A directory of root's that nobody else may look into."""
    path = Path(tempfile.mkdtemp(prefix="pgvip-victim-"))
    (path / "secret").write_text("port = 1\nsecret = root\n")
    (path / "secret").chmod(0o600)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def give(*tops: Path) -> None:
    owner = pwd.getpwnam(USER)
    for top in tops:
        for path in (top, *top.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def state_of(directory: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything beneath a directory, with owner, mode, time of change and content."""
    found = {}
    for path in (directory, *sorted(directory.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_uid, status.st_mode, status.st_ctime_ns, content)
    return found


def in_child(begin: Callable[[], object], work: Callable[[], object]) -> str:
    """Do it in a child of this process; what it raises as text."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "it ended by an unexpected error"
        try:
            if not RED:
                begin()
            work()
            text = ""
        except (PgvipError, OSError) as failure:
            text = f"{type(failure).__name__}: {failure}"
        except AssertionError as failure:
            text = f"failed: {failure}"
        finally:
            os.write(write_end, text.encode())
            os._exit(0)
    os.close(write_end)
    said = b""
    while data := os.read(read_end, 65536):
        said += data
    os.close(read_end)
    os.waitpid(pid, 0)
    return said.decode()


def as_daemon(config: Config, work: Callable[[], object]) -> str:
    """As root's side of the daemon."""
    return in_child(lambda: privileges.give_up(config), work)


def as_worker(work: Callable[[], object]) -> str:
    """As a part of what a worker does."""
    return in_child(lambda: worker.become(USER), work)


def test_auto_conf_as_a_link_to_a_file_of_roots(config: Config, victim: Path) -> None:
    path = config.postgres.data_directory / "postgresql.auto.conf"
    path.symlink_to(victim / "secret")
    before = state_of(victim)
    said = as_daemon(config, lambda: pgconf.strip_auto_conf(config, 17))
    assert "Permission denied" in said
    assert state_of(victim) == before
    assert path.is_symlink(), "nothing of it is copied into the data directory"


def test_auto_conf_as_a_fifo_holds_nobody(config: Config) -> None:
    path = config.postgres.data_directory / "postgresql.auto.conf"
    os.mkfifo(path)
    give(path)
    said = as_daemon(config, lambda: pgconf.strip_auto_conf(config, 17))
    assert "not a regular file" in said


@pytest.mark.parametrize("change", ["strip", "raise"])
def test_auto_conf_that_is_exchanged_for_a_setuid_program_while_it_is_rewritten(
    config: Config, victim: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """At the one moment that counts: after it was read, and before the new file takes the mode of what lies there."""
    path = config.postgres.data_directory / "postgresql.auto.conf"
    path.write_text("port = 1\nmax_connections = 1\n")
    give(path)
    program = victim / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o4755)
    before = state_of(victim)
    write_like = files.write_like

    def exchanging(target: Path, content: str | bytes, like: Path) -> None:
        target.unlink()
        target.symlink_to(program)
        write_like(target, content, like)

    monkeypatch.setattr(files, "write_like", exchanging)
    if change == "strip":
        as_worker(lambda: pgconf.strip_auto_conf(config, 17))
    else:
        as_worker(lambda: pgconf.raise_auto_conf(config, {"max_connections": "100"}))
    assert state_of(victim) == before
    written = path.lstat()
    assert stat.S_ISREG(written.st_mode), "it was rewritten"
    assert written.st_uid == pwd.getpwnam(USER).pw_uid
    assert not written.st_mode & (stat.S_ISUID | stat.S_ISGID)


def test_postgresqls_programs_are_never_called_as_root(config: Config) -> None:
    """bin_directory may be that user's, as where PostgreSQL was built by it: then the programs are, too."""
    programs = config.postgres.data_directory.with_name("bin")
    programs.mkdir()
    called, control = programs / "called", programs / "control"
    control.write_text(TEXT.replace("timeline:   2", "timeline:   1"))
    wal = config.postgres.data_directory / "pg_wal"
    wal.mkdir()
    with (wal / "000000010000000000000002").open("wb") as file:
        file.truncate(1 << 24)
    names = ("postgres", "pg_controldata", "psql", "pg_ctl", "pg_waldump")
    for name in names:
        prints = f"cat {control}" if name == "pg_controldata" else f"echo '{name} (PostgreSQL) 17.1'"
        (programs / name).write_text(f"#!/bin/sh\necho {name} $(id -u) >> {called}\n{prints}\n")
        (programs / name).chmod(0o755)
    called.touch()
    give(programs, wal)
    called.chmod(0o666)  # root without its capabilities could write to it no more than anybody
    theirs = replace(config, postgres=replace(config.postgres, bin_directory=programs))

    def call_all() -> None:
        pgtools.program_version(theirs)
        pgtools.has_tls(theirs)
        pgtools.server_setting(theirs, "hba_file")
        pgtools.psql(theirs, "select 1")
        pgtools.pg_ctl(theirs, "status")
        with suppress(PostgresError):
            stopped_wal.end_of_wal(theirs)

    as_daemon(theirs, call_all)
    found = [line.split() for line in called.read_text().splitlines()]
    assert {name for name, _ in found} == set(names)
    assert {user for _, user in found} == {str(pwd.getpwnam(USER).pw_uid)}


def test_settings_behind_a_link_are_not_rewritten(config: Config, victim: Path) -> None:
    """The directory of postgresql.conf is a link: every file that is written would be in another directory."""
    link = config.postgres.data_directory / "etc"
    elsewhere = replace(config, postgres=replace(config.postgres, config_directory=link))
    link.symlink_to(victim)
    (victim / "postgresql.conf").write_text("")
    before = state_of(victim)
    assert "Permission denied" in as_daemon(elsewhere, lambda: pgconf.write(elsewhere, sync=True, version=17))
    assert state_of(victim) == before


def test_standby_signal_as_a_link(config: Config, victim: Path) -> None:
    (config.postgres.data_directory / "standby.signal").symlink_to(victim / "made")
    before = state_of(victim)
    said = as_daemon(config, lambda: prepare.write_signals(config, standby=True))
    assert "Permission denied" in said
    assert state_of(victim) == before


def test_slots_directory_as_a_link(config: Config, victim: Path) -> None:
    (victim / "s1.tmp").mkdir()
    (victim / "s1.tmp" / "precious").write_text("root's")
    kept = config.paths.work / slots.KEPT / "s1"
    kept.mkdir(parents=True)
    (kept / "state").write_bytes(slots.STATE.pack(b"s1", 0, 1))
    give(config.paths.work)
    (config.postgres.data_directory / "pg_replslot").symlink_to(victim)
    before = state_of(victim)
    as_daemon(config, lambda: slots.give_back(config, Lsn(0)))
    assert state_of(victim) == before


def test_replaced_data_whose_wal_leads_elsewhere(config: Config, victim: Path) -> None:
    old = config.postgres.data_directory.with_name("data.pgvip-replaced")
    old.mkdir()
    (old / cloning.UNSAVED).touch()
    (old / "pg_wal").symlink_to(victim)
    give(old)
    before = state_of(victim)
    as_worker(lambda: cloning._keep_unsaved(config, old))
    assert state_of(victim) == before


def test_tablespace_in_a_directory_of_roots(config: Config, victim: Path) -> None:
    """The primary names the places of tablespaces: what is made there would be given to PostgreSQL's user."""
    before = state_of(victim)
    said = as_worker(lambda: cloning._copy(config, [(99999, str(victim / "space"))], "slot", None))
    assert "Permission denied" in said
    assert state_of(victim) == before


def test_tablespace_that_is_added_to_a_copy(config: Config, victim: Path) -> None:
    new = config.postgres.data_directory.with_name("data.pgvip-new")
    (new / "pg_tblspc").mkdir(parents=True)
    (new / "pg_tblspc" / "99999").symlink_to(victim)
    give(new)
    (victim / "pgsql_tmp.pgvip-new").mkdir()
    (victim / "pgsql_tmp.pgvip-new" / "secret").write_text("instead")
    before = state_of(victim)
    said = as_worker(lambda: cloning._swap(config))
    assert "Permission denied" in said
    assert state_of(victim) == before


def test_backup_as_a_link(config: Config, victim: Path) -> None:
    (victim / backups.DATA).mkdir()
    (victim / backups.DATA / "precious").write_text("root's")
    backup = backups.Backup("20261125T223000Z", config.me.name, "good", WalPoint(1, Lsn(0)), WalPoint(1, Lsn(0)))
    (config.backup.directory / backup.name).symlink_to(victim)
    before = state_of(victim)
    said = as_worker(lambda: cleaning.remove_backup(config, backup))
    assert "could not remove backup" in said
    assert state_of(victim) == before


def test_restore_gives_no_setuid_bit_back(config: Config) -> None:
    source = config.backup.directory / "20261125T223000Z"
    (source / backups.DATA).mkdir(parents=True)
    program = source / backups.DATA / "program"
    program.write_text("#!/bin/sh\n")
    give(source)
    program.chmod(0o6755)
    place = restoring.Place.of(config.postgres.data_directory.with_name("restored"))
    assert as_worker(lambda: restoring._copy(source, place, restoring._Count(1, lambda *_: None))) == ""
    status = (place.data / "program").stat()
    assert stat.S_IMODE(status.st_mode) == 0o755
    assert RED or status.st_uid == pwd.getpwnam(USER).pw_uid
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o700


def test_start_conf_as_a_link(config: Config, victim: Path) -> None:
    path = config.postgres.data_directory / "start.conf"
    path.symlink_to(victim / "secret")
    before = state_of(victim)
    as_daemon(config, lambda: units.make_manual(path))
    assert state_of(victim) == before


def test_hba_file_of_roots(config: Config, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """hba_file in postgresql.conf may name any file; the answer of `postgres -C` is what the attacker wants."""
    monkeypatch.setattr(pgtools, "server_setting", lambda *_: str(victim / "secret"))
    before = state_of(victim)
    said = as_worker(lambda: access.write_access(config))
    assert "could not write" in said
    assert state_of(victim) == before


@pytest.fixture
def other_service() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process of root's with a System V segment of its own, in no relation to PostgreSQL."""
    script = (
        "import ctypes, time; libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p\n"
        "number = libc.shmget(0, 4096, 0o1600); libc.shmat(number, None, 0)\n"
        "print(number, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        yield process, number
        process.kill()
        process.wait()
    ctypes.CDLL(None).shmctl(number, 0, None)


def test_pid_file_that_names_another_services_memory(
    config: Config, other_service: tuple[subprocess.Popen[str], int]
) -> None:
    process, number = other_service
    data = config.postgres.data_directory
    lines = ["1", str(data), "0", "5432", "/tmp", "*", f"5432 {number}", "ready"]
    (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    give(data)

    def end() -> None:
        processes.remember_segment(data, processes.named_segment(str(data)))
        processes.kill_cluster(data, 2.0)

    as_daemon(config, end)
    assert process.poll() is None


def test_a_server_of_another_user_in_the_data_directory_is_not_the_clusters(config: Config, tmp_path: Path) -> None:
    program = tmp_path / "postgres"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen([program, "600"], cwd=config.postgres.data_directory) as roots:
        (config.postgres.data_directory / "postmaster.pid").write_text(f"{roots.pid}\n")
        give(config.postgres.data_directory)

        def end() -> None:
            assert processes.postmaster(config.postgres.data_directory) is None, "not PostgreSQL's user"
            processes.kill_cluster(config.postgres.data_directory, 2.0)

        said = as_daemon(config, end)
        assert roots.poll() is None
        assert said == ""
        roots.send_signal(signal.SIGKILL)


def test_a_fifo_holds_a_worker_and_not_the_daemon(config: Config) -> None:
    os.mkfifo(config.postgres.data_directory / "standby.fifo")
    give(config.postgres.data_directory)
    fifo = config.postgres.data_directory / "standby.fifo"

    def begin() -> None:
        assert not capabilities.held()
        wait_until(lambda: pgtools.is_there(fifo), 5)

    assert as_daemon(config, begin) == ""
