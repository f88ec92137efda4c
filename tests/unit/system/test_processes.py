"""Real processes: copies of the shell called `postgres` that stand in a data directory."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError
from pgvip.system import processes, procfs
from pgvip.system.processes import ProcessRef
from tests.unit.namespaces import cable, inside, ip, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cluster:
    """A data directory and programs that behave like its servers."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.data.mkdir()
        self.server = root / "postgres"
        shutil.copy("/bin/sh", self.server)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, script: str, *, program: str | Path | None = None, marker: bool = True) -> int:
        """Start a shell in the data directory, in a session of its own, and wait until it stands there."""
        env = {"PATH": os.environ["PATH"]} | ({"PGSYSCONFDIR": "/etc/postgresql-common"} if marker else {})
        child = subprocess.Popen(
            [program or self.server, "-c", f"{script}; :"], cwd=self.data, env=env, start_new_session=True
        )
        self.started.append(child)
        return child.pid

    def write_pid_file(self, pid: int, segment: str = "0") -> None:
        lines = [str(pid), str(self.data), "1700000000", "5432", "/tmp", "*", f"  1 {segment}", "ready"]
        (self.data / "postmaster.pid").write_text("\n".join(lines) + "\n")

    def pids(self) -> set[int]:
        return {ref.pid for ref in processes.cluster_processes(self.data)}

    def end(self) -> None:
        for child in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(5)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.end()


def test_no_pid_file_means_no_postmaster(cluster: Cluster) -> None:
    assert processes.postmaster(cluster.data) is None
    assert processes.cluster_processes(cluster.data) == []


def test_a_live_postmaster_is_found_with_its_start_time(cluster: Cluster) -> None:
    pid = cluster.start("sleep 60")
    cluster.write_pid_file(pid)
    found = processes.postmaster(cluster.data)
    assert found is not None
    assert found.pid == pid
    assert processes.alive(found)
    assert ProcessRef.parse(str(found)) == found
    assert not processes.alive(ProcessRef(pid, found.start + "0"))


def test_a_symbolic_link_to_the_data_directory_is_the_same_cluster(cluster: Cluster, tmp_path: Path) -> None:
    pid = cluster.start("sleep 60")
    cluster.write_pid_file(pid)
    link = tmp_path / "link"
    link.symlink_to(cluster.data)
    assert processes.postmaster(link) is not None
    assert pid in {ref.pid for ref in processes.cluster_processes(link)}


def test_a_recycled_pid_is_not_believed(cluster: Cluster, tmp_path: Path) -> None:
    elsewhere = Cluster.__new__(Cluster)
    elsewhere.data, elsewhere.server, elsewhere.started = tmp_path, cluster.server, cluster.started
    cluster.write_pid_file(elsewhere.start("sleep 60"))
    assert processes.postmaster(cluster.data) is None, "a server of another cluster"
    cluster.write_pid_file(cluster.start("sleep 60", program="/bin/sh", marker=False))
    assert processes.postmaster(cluster.data) is None, "a shell in the data directory"
    cluster.write_pid_file(os.getpid())
    assert processes.postmaster(cluster.data) is None


def test_a_zombie_is_not_alive(cluster: Cluster) -> None:
    pid = cluster.start("exit 0")
    cluster.write_pid_file(pid)
    wait_until(lambda: not cluster.pids(), 5)
    assert Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    assert processes.postmaster(cluster.data) is None
    assert processes.ref_of(pid) is None


@pytest.mark.parametrize("content", ["", "not a number\n", "\n\n", "-123\n/data\n"])
def test_an_unfinished_pid_file_is_no_postmaster(cluster: Cluster, content: str) -> None:
    (cluster.data / "postmaster.pid").write_text(content)
    assert processes.postmaster(cluster.data) is None


def test_backends_orphans_and_their_commands_are_of_the_cluster(cluster: Cluster) -> None:
    parent = cluster.start("sleep 61 & wait")
    orphaned_command = cluster.start("sleep 62 & wait", program="/bin/sh")
    admin = cluster.start("sleep 63 & wait", program="/bin/sh", marker=False)
    cluster.write_pid_file(parent)
    wait_until(lambda: len(cluster.pids()) == 4, 5)
    assert {parent, orphaned_command} < cluster.pids()
    assert admin not in cluster.pids()
    assert processes.cluster_processes(cluster.data)[0].pid == parent, "the postmaster first"


def test_a_child_without_the_marker_is_found_through_its_parent(cluster: Cluster) -> None:
    cluster.start("env -i sleep 61 & wait")
    wait_until(lambda: len(cluster.pids()) == 2, 5)


def test_a_living_postmasters_children_are_all_counted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends, and what an archiver starts in turn; no other process of the host is read for it."""
    pid = cluster.start("sleep 61 & sleep 62 & (sleep 63 & wait) & (cd / && exec sleep 64) & wait")
    cluster.start("sleep 65", program="/bin/sh", marker=False)
    cluster.write_pid_file(pid)
    monkeypatch.setattr(processes, "pids", list)  # the whole scan finds nothing then
    wait_until(lambda: processes.look(cluster.data).live == 5, 5)
    found = processes.look(cluster.data)
    assert found.postmaster is not None
    assert found.postmaster.pid == pid


def test_orphans_of_a_dead_postmaster_are_counted(cluster: Cluster) -> None:
    pid = cluster.start("sleep 61 & (sleep 62 & wait) & wait")
    cluster.write_pid_file(pid)
    wait_until(lambda: processes.look(cluster.data).live == 4, 5)
    os.kill(pid, signal.SIGKILL)
    cluster.started[0].wait(5)
    assert processes.look(cluster.data) == (None, 3)
    processes.kill_cluster(cluster.data, 5)
    assert processes.look(cluster.data) == (None, 0)


def test_a_postmaster_that_dies_during_the_look_leaves_orphans(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its children are another process's by then, so that none of them seems to be left."""
    pid = cluster.start("sleep 61 & wait")
    cluster.write_pid_file(pid)
    wait_until(lambda: processes.look(cluster.data).live == 2, 5)
    really = processes._descendants

    def late(parent: int) -> list[int]:
        os.kill(pid, signal.SIGKILL)
        cluster.started[0].wait(5)
        return really(parent)

    monkeypatch.setattr(processes, "_descendants", late)
    assert processes.look(cluster.data) == (None, 1)


def test_a_kernel_that_lists_no_children_is_asked_for_all_processes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_lists_children", lambda: False)
    pid = cluster.start("sleep 61 & wait")
    cluster.write_pid_file(pid)
    wait_until(lambda: processes.look(cluster.data).live == 2, 5)


def test_the_parent_is_read_behind_any_name(tmp_path: Path) -> None:
    program = tmp_path / "(in it) ) S 1"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as child:
        assert processes.parent_of(child.pid) == os.getpid()
        child.kill()
    assert processes.parent_of(child.pid) == 0


def test_this_process_is_never_of_the_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "SERVERS", (Path(sys.executable).resolve().name,))
    before = Path.cwd()
    os.chdir(cluster.data)
    try:
        assert processes.cluster_processes(cluster.data) == []
    finally:
        os.chdir(before)


def test_killing_takes_everything_also_what_is_stopped_or_just_forked(cluster: Cluster) -> None:
    stopped = cluster.start("sleep 60")
    os.kill(stopped, signal.SIGSTOP)
    cluster.start("trap '' TERM INT; while :; do sleep 0.01; done")
    cluster.start("sleep 60 & sleep 60 & wait")
    wait_until(lambda: len(cluster.pids()) >= 5, 5)
    processes.kill_cluster(cluster.data, 5)
    assert cluster.pids() == set()
    processes.kill_cluster(cluster.data, 1)


def test_the_postmaster_is_killed_last(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else backends that wait for the standby would end their wait, and show what the standby does not have."""
    parent = cluster.start("sleep 60 & sleep 60 & wait")
    cluster.write_pid_file(parent)
    wait_until(lambda: len(cluster.pids()) == 3, 5)
    everything = cluster.pids()
    sent: list[int] = []
    really = processes.send

    def send(ref: ProcessRef, number: signal.Signals) -> bool:
        sent.append(ref.pid)
        return really(ref, number)

    monkeypatch.setattr(processes, "send", send)
    processes.kill_cluster(cluster.data, 5)
    assert set(sent[:3]) == everything
    assert sent[2] == parent


def test_killing_says_when_something_stays(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = cluster.start("sleep 60")
    wait_until(lambda: pid in cluster.pids(), 5)
    monkeypatch.setattr(processes, "send", lambda ref, number: True)  # stands in for a process in D state
    with pytest.raises(PostgresError) as caught:
        processes.kill_cluster(cluster.data, 0.05)
    assert str(pid) in caught.value.detail


def test_whoever_holds_the_shared_memory_is_of_the_cluster(cluster: Cluster) -> None:
    program = (
        "import ctypes, sys, time\n"
        "libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p\n"
        "segment = libc.shmget(0, 4096, 0o1600); libc.shmat(segment, None, 0)\n"
        "libc.shmctl(segment, 0, None); print(segment, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd="/") as holder:
        assert holder.stdout is not None
        cluster.write_pid_file(999_999_999, segment=holder.stdout.readline().decode().strip())
        assert cluster.pids() == {holder.pid}
        processes.kill_cluster(cluster.data, 5)
        assert holder.wait(5) == -signal.SIGKILL


def test_a_pidfd_becomes_readable_at_the_end(cluster: Cluster) -> None:
    ref = processes.ref_of(cluster.start("sleep 60"))
    assert ref is not None
    assert processes.open_pidfd(ProcessRef(ref.pid, "1")) is None, "another process with that pid"
    with processes.pidfd(ref) as descriptor:
        assert descriptor is not None
        assert select.select([descriptor], [], [], 0)[0] == []
        assert processes.send(ref, signal.SIGKILL)
        assert select.select([descriptor], [], [], 5)[0] == [descriptor]
    assert not processes.send(ref, signal.SIGTERM)
    assert processes.open_pidfd(ProcessRef(999_999_999, "1")) is None


def test_own_use_is_measured() -> None:
    assert 5e6 < processes.memory_bytes() < 1e9
    before = processes.cpu_seconds()
    sum(range(2_000_000))
    assert processes.cpu_seconds() > before


def test_looking_is_cheap(cluster: Cluster) -> None:
    cluster.start("sleep 60")
    rounds = 50
    before = processes.cpu_seconds()
    for _ in range(rounds):
        processes.cluster_processes(cluster.data)
    each_ms = (processes.cpu_seconds() - before) / rounds * 1000
    hosted = len(processes.pids())
    assert each_ms < 10 * (1.5 + 0.02 * hosted), f"{each_ms:.2f} ms among {hosted} processes"


def test_space_is_that_of_the_file_system(tmp_path: Path) -> None:
    room, space = os.statvfs(tmp_path), processes.disk_space(tmp_path)
    assert space.total_bytes == room.f_blocks * room.f_frsize
    assert 0 < space.free_bytes < space.total_bytes
    with pytest.raises(FileNotFoundError):
        processes.disk_space(tmp_path / "none")


def test_networks_are_those_of_an_interfaces_addresses() -> None:
    with namespace() as host, inside(host):
        cable(host, "eth0")
        cable(host, "eth1")
        assert processes.networks_of("eth0") == []
        for words in (
            "192.0.2.7/24 dev eth0", "192.0.2.8/24 dev eth0", "198.51.100.1/25 dev eth0 label eth0:more",
            "192.0.2.100/32 dev eth0 label eth0:vip", "2001:db8::1/64 dev eth0", "10.1.0.1/16 dev eth1",
        ):  # fmt: skip
            ip("address", "add", *words.split(), namespace=host)
        assert processes.networks_of("eth0") == ["192.0.2.0/24", "198.51.100.0/25"]
        assert processes.networks_of("eth1") == ["10.1.0.0/16"]
        assert processes.networks_of("eth9") == []
