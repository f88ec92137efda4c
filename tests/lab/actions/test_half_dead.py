"""One process of the cluster is stopped, or somebody else holds it up: a promotion, a stop and a start go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres, replication
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import PromoteError
from pgvip.orders import readiness
from pgvip.system import pgtools, processes
from pgvip.system.procfs import stat_of
from tests.lab.actions.servers import caught_up, insert, look, swallow
from tests.lab.clusters import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config

pytestmark = pytest.mark.timeout(180)

IN_TIME_S = 4.0
"""Far below every limit (20 s in these tests), far above what it takes: some 0.2 s."""


def process(config: Config, kind: str) -> int:
    """The pid of a process of this kind."""
    found = pgtools.psql(config, f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}' LIMIT 1").strip()
    assert found, f"no {kind} on {config.me.name}"
    return int(found)


def freeze(config: Config, kind: str) -> int:
    pid = process(config, kind)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: (stat := stat_of(pid)) is not None and stat.state == "T", 20, what=f"a stopped {kind}")
    return pid


@contextmanager
def reader(config: Config, script: str) -> Iterator[threading.Thread]:
    """A client's transaction that stays open; it ends when the client is ended at the latest."""
    text = f"BEGIN ISOLATION LEVEL REPEATABLE READ; {script}; SELECT pg_sleep(100)"
    thread = threading.Thread(target=lambda: swallow(lambda: pgtools.psql(config, text, 150)))
    thread.start()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()"
    try:
        wait_until(lambda: "1" in pgtools.psql(config, busy), 10, what="a client that reads")
        yield thread
    finally:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%'"
        swallow(lambda: pgtools.psql(config, ended))
        thread.join(20)


@pytest.mark.parametrize("kind", ["walreceiver", "startup", "checkpointer", "background writer"])
def test_promotion_with_a_frozen_process(streaming: Pair, kind: str) -> None:
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 10, what="catching up")
    freeze(streaming.b, kind)
    postgres.stop(streaming.a, clean=False)
    begun_s = now_s()
    postgres.promote(streaming.b)
    assert now_s() - begun_s < IN_TIME_S
    assert not look(streaming.b).in_recovery


@pytest.mark.parametrize("kind", ["checkpointer", "walwriter", "archiver", "autovacuum launcher", "walsender"])
def test_clean_stop_with_a_frozen_process(streaming: Pair, kind: str) -> None:
    insert(streaming.a)
    freeze(streaming.a, kind)
    begun_s = now_s()
    postgres.stop(streaming.a, clean=True)
    assert now_s() - begun_s < 2 * IN_TIME_S  # the checkpoint before it waits for the checkpointer
    assert pgtools.control_data(streaming.a).state == "shut down"


def test_clean_stop_of_a_frozen_postmaster(streaming: Pair) -> None:
    postmaster = processes.postmaster(streaming.b.postgres.data_directory)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGSTOP)
    begun_s = now_s()
    postgres.stop(streaming.b, clean=True)
    assert now_s() - begun_s < 4 * IN_TIME_S


def test_frozen_receiver_that_stays_frozen_costs_a_restart(streaming: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that hangs in the kernel: SIGCONT does nothing. All is killed, and the next try succeeds."""
    monkeypatch.setattr("pgvip.actions.obstacles.wake_stopped", lambda _config: None)
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 10, what="catching up")
    freeze(streaming.b, "walreceiver")
    postgres.stop(streaming.a, clean=False)
    begun_s = now_s()
    with pytest.raises(PromoteError, match="replay hung"):
        postgres.promote(streaming.b)
    postgres.start(streaming.b, standby=True, sync=False)
    postgres.promote(streaming.b)
    assert now_s() - begun_s < 4 * IN_TIME_S
    assert not look(streaming.b).in_recovery


LOCK = "ALTER TABLE public.numbers ADD COLUMN extra int; ALTER TABLE public.numbers DROP COLUMN extra"
SNAPSHOT = "DELETE FROM public.numbers; VACUUM public.numbers"


@pytest.mark.parametrize("script", [LOCK, SNAPSHOT], ids=["lock", "snapshot"])
def test_promotion_with_a_reader_that_blocks_replay(streaming: Pair, script: str) -> None:
    pgtools.psql(streaming.b, "ALTER SYSTEM SET max_standby_streaming_delay = -1; SELECT pg_reload_conf()")
    pgtools.psql(streaming.a, "DELETE FROM public.numbers WHERE n = 7")
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 10, what="catching up")
    with reader(streaming.b, "SELECT * FROM public.numbers") as client:
        for statement in script.split("; "):
            pgtools.psql(streaming.a, statement)
        insert(streaming.a, 7)
        replication.confirm_grant(streaming.a, sync=False, timeout_s=10)
        wait_until(lambda: look(streaming.b).replay_lsn < look(streaming.b).point.lsn, 20, what="blocked replay")
        assert "postgres in postgres" in readiness.look(streaming.b, "").replay_blockers
        postgres.stop(streaming.a, clean=False)
        begun_s = now_s()
        postgres.promote(streaming.b)
        assert now_s() - begun_s < IN_TIME_S
        client.join(5)
        assert not client.is_alive()
    assert pgtools.psql(streaming.b, "SELECT count(*) FROM public.numbers WHERE n = 7").strip() == "1"
    pgtools.psql(streaming.b, "ALTER SYSTEM RESET max_standby_streaming_delay")


def test_reader_that_blocks_nothing_survives_a_promotion(streaming: Pair) -> None:
    with reader(streaming.b, "SELECT 1") as client:
        postgres.stop(streaming.a, clean=False)
        postgres.promote(streaming.b)
        assert client.is_alive()


@contextmanager
def wal_client(config: Config, directory: str) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody's pg_receivewal."""
    words = [config.postgres.bin_directory / "pg_receivewal", "-D", directory, "-h", config.postgres.socket_directory]
    words += ["-p", str(config.postgres.port), "-U", "postgres", "--no-loop"]
    client = subprocess.Popen([str(word) for word in words], user="postgres", cwd="/")
    try:
        state = "SELECT state FROM pg_stat_replication WHERE application_name = 'pg_receivewal'"
        wait_until(lambda: "streaming" in pgtools.psql(config, state), 10, what="a WAL client that streams")
        yield client
    finally:
        client.kill()
        client.wait()


def test_clean_stop_with_a_wal_client_that_confirms_nothing(streaming: Pair) -> None:
    directory = streaming.root / "received"
    directory.mkdir(exist_ok=True)
    shutil.chown(directory, "postgres")
    with wal_client(streaming.a, str(directory)) as client:
        client.send_signal(signal.SIGSTOP)
        # Well over 16 MB of WAL.
        pgtools.psql(streaming.a, "INSERT INTO public.numbers SELECT generate_series(1, 300000)")
        assert "pg_receivewal" in readiness.look(streaming.a, "").late_clients
        replication.confirm_grant(streaming.a, sync=False, timeout_s=10)
        begun_s = now_s()
        postgres.stop(streaming.a, clean=True)
        assert now_s() - begun_s < IN_TIME_S
    assert pgtools.control_data(streaming.a).state == "shut down"
    assert look(streaming.b).point == postgres.end_of_wal(streaming.a)


@pytest.mark.parametrize("handover", [True, False])
def test_a_stop_for_a_handover_leaves_the_last_file_to_the_rejoin(streaming: Pair, handover: bool) -> None:
    """Another stop gives its command the time to end."""
    slow, archived = streaming.root / "slow-archive", streaming.root / "archived"
    slow.write_text(f"#!/bin/sh\nsleep 0.4\ntouch {archived}\n")
    slow.chmod(0o755)
    archived.unlink(missing_ok=True)
    shutil.chown(streaming.root, "postgres")
    conf = streaming.a.postgres.config_directory / "pgvip.conf"
    text = conf.read_text()
    conf.write_text(text + f"archive_command = '{slow}'\n")
    try:
        pgtools.psql(streaming.a, "SELECT pg_reload_conf()")
        insert(streaming.a, 1)
        postgres.stop(streaming.a, clean=True, handover=handover)
    finally:
        conf.write_text(text)
    assert pgtools.control_data(streaming.a).state == "shut down"
    assert look(streaming.b).point == postgres.end_of_wal(streaming.a)
    waiting = list((streaming.a.postgres.data_directory / "pg_wal/archive_status").glob("*.ready"))
    assert (archived.exists(), bool(waiting)) == (not handover, handover)


def test_clean_stop_does_not_wait_for_the_archiver(streaming: Pair) -> None:
    """Some WAL files wait, and each takes a second."""
    slow = streaming.root / "slow-archive"
    slow.write_text("#!/bin/sh\nsleep 1\n")
    slow.chmod(0o755)
    conf = streaming.a.postgres.config_directory / "pgvip.conf"
    text = conf.read_text()
    conf.write_text(text + f"archive_command = '{slow}'\n")
    try:
        pgtools.psql(streaming.a, "SELECT pg_reload_conf()")
        for number in range(12):
            insert(streaming.a, number)
            pgtools.psql(streaming.a, "SELECT pg_switch_wal()")
        begun_s = now_s()
        postgres.stop(streaming.a, clean=True)
        assert now_s() - begun_s < IN_TIME_S
    finally:
        conf.write_text(text)
    assert pgtools.control_data(streaming.a).state == "shut down"
    assert look(streaming.b).point == postgres.end_of_wal(streaming.a)
