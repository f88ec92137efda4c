"""The lab must be right before anything can be proven on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.lab import lab as lab_module
from tests.lab.clients import Event, longest_gap_s, two_writers
from tests.lab.fence import AGENT, DEVICE
from tests.lab.hosts import PROGRAMS, REPOSITORY, SHARED, Host, Service
from tests.lab.lab import Lab
from tests.lab.network import ADDRESSES, PRIMARY_VIP, STANDBY_VIP, mac_of
from tests.lab.nodes import LabError, namespace_members, wait_until
from tests.lab.postgres import PlainCluster

Clusters = tuple[Lab, PlainCluster, PlainCluster]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def pair(lab: Lab) -> Lab:
    """Both hosts booted, without databases."""
    lab.alpha.boot()
    lab.beta.boot()
    return lab


@pytest.fixture
def clusters(pair: Lab) -> Clusters:
    """A plain primary with the VIP on alpha and its standby on beta."""
    alpha, beta = PlainCluster(pair.alpha), PlainCluster(pair.beta)
    alpha.create()
    beta.clone(pair.alpha.address)
    add_address(pair.alpha, PRIMARY_VIP)
    return pair, alpha, beta


def add_address(host: Host, address: str) -> None:
    host.run(["ip", "addr", "add", f"{address}/32", "dev", "eth0"])


def reaches(host: Host, address: str, port: int) -> bool:
    """True when a TCP connection is answered, be it with a refusal (what a reachable closed port does)."""
    code = (f"import socket; s = socket.socket(); s.settimeout(0.5)\ntry: s.connect(('{address}', {port}))\n"
            "except ConnectionRefusedError: pass")
    return host.run([sys.executable, "-IS", "-c", code], check=False).returncode == 0


def sleeper(host: Host) -> int:
    return next((process.pid for process in host.processes() if process.command == "sleep 300"), 0)


def listens(host: Host) -> bool:
    return ":9 " in host.run(["ss", "-Hlun"]).stdout


def agent(host: Host, action: str, plug: str, **more: str) -> int:
    words = {"action": action, "plug": plug, "ip": DEVICE, **more}
    return host.run([AGENT], stdin="".join(f"{key}={value}\n" for key, value in words.items()), check=False).returncode


def test_hosts_see_themselves_and_only_themselves(pair: Lab) -> None:
    assert pair.alpha.run(["hostname"]).stdout.strip() == "alpha"
    assert pair.alpha.addresses() == {ADDRESSES["alpha"]}
    pair.alpha.run(["sh", "-c", "echo a > /run/x; echo a > /tmp/x; echo a > /etc/pgvip/x; echo a > /etc/x"])
    for path in ("/run/x", "/tmp/x", "/etc/pgvip/x", "/etc/x"):
        assert pair.beta.run(["cat", path], check=False).returncode == 1
        assert pair.alpha.run(["cat", path]).stdout == "a\n"
    assert not Path("/etc/pgvip/x").exists()
    assert not Path("/etc/x").exists()


def test_what_the_database_user_must_execute_is_within_its_reach(pair: Lab) -> None:
    done = pair.alpha.run([sys.executable, "-c", "import psycopg2; print('ok')"], user="postgres")
    assert done.stdout == "ok\n"
    pair.alpha.run(["test", "-r", REPOSITORY / "setup.cfg"], user="postgres")


def test_power_off_ends_every_process_and_takes_the_address_along(pair: Lab) -> None:
    add_address(pair.alpha, PRIMARY_VIP)
    program = pair.alpha.popen(["sh", "-c", "trap '' TERM INT; setsid sleep 300 & sleep 300"])
    inode = Path(f"/proc/{pair.alpha.pid}/ns/pid").stat().st_ino
    assert pair.holders(PRIMARY_VIP) == {"alpha"}
    os.kill(wait_until(partial(sleeper, pair.alpha), 5, "started"), signal.SIGSTOP)
    pair.alpha.power_off()
    assert not pair.alpha.is_on()
    assert namespace_members("pid", inode) == []
    assert pair.holders(PRIMARY_VIP) == set()
    assert pair.holders(ADDRESSES["alpha"]) == set()
    assert program.poll() is not None
    pair.alpha.power_off()


def test_a_boot_keeps_the_disk_and_nothing_else(pair: Lab) -> None:
    kept = ("/etc/pgvip/f", "/var/lib/pgvip/f", "/var/lib/postgresql/f", "/etc/postgresql/f")
    lost = ("/run/f", "/tmp/f", "/dev/shm/f")
    pair.alpha.run(["sh", "-c", f"for f in {' '.join(kept + lost)}; do echo x > $f; done; ipcmk -M 100"])
    old = pair.alpha.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    add_address(pair.alpha, PRIMARY_VIP)
    pair.alpha.power_off()
    pair.alpha.boot()
    new = pair.alpha.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    assert new != old
    assert new.strip() == pair.alpha.boot_id
    assert pair.beta.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout not in {old, new}
    present = {path for path in kept + lost if pair.alpha.run(["test", "-e", path], check=False).returncode == 0}
    assert present == set(kept)
    assert pair.alpha.addresses() == {ADDRESSES["alpha"]}
    assert "0x" not in pair.alpha.run(["ipcs", "-m"]).stdout
    assert reaches(pair.beta, ADDRESSES["alpha"], 9)


def test_systemd_restarts_a_killed_service_and_starts_it_at_boot(pair: Lab) -> None:
    service = Service("sleeper", ("/bin/sh", "-c", "echo started; exec sleep 300"))
    pair.alpha.services.append(service)
    pair.alpha.start_service(service)
    wait_until(lambda: "started" in pair.alpha.log("sleeper"), 5, "started")
    first = pair.alpha.service_pid("sleeper")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: pair.alpha.service_pid("sleeper") not in {0, first}, 5, "restarted")
    wait_until(lambda: pair.alpha.log("sleeper").count("started") == 2, 5, "at work again")
    pair.alpha.stop_service("sleeper")
    assert pair.alpha.service_pid("sleeper") == 0
    pair.alpha.power_off()
    pair.alpha.boot()
    wait_until(lambda: pair.alpha.log("sleeper").count("started") == 3, 5, "started at boot")


def test_cuts(pair: Lab) -> None:
    alpha, beta = ADDRESSES["alpha"], ADDRESSES["beta"]
    assert reaches(pair.alpha, beta, 9)
    pair.alpha.cut()
    assert not reaches(pair.alpha, beta, 9)
    assert not reaches(pair.alpha, ADDRESSES["gateway"], 9)
    assert pair.alpha.run(["cat", "/sys/class/net/eth0/carrier"]).stdout == "1\n"
    pair.alpha.heal()
    wait_until(lambda: reaches(pair.alpha, beta, 9), 10, "healed")
    pair.alpha.cut()
    pair.alpha.power_off()
    pair.alpha.boot()
    assert not reaches(pair.alpha, beta, 9)
    pair.alpha.power_off()
    pair.alpha.heal()
    pair.alpha.boot()
    assert reaches(pair.alpha, beta, 9)
    pair.switch.cut("alpha", "beta")
    assert not reaches(pair.alpha, beta, 9)
    assert not reaches(pair.beta, alpha, 9)
    assert reaches(pair.alpha, ADDRESSES["gateway"], 9)
    pair.switch.heal()
    pair.switch.cut("alpha", "beta", port=9)
    assert not reaches(pair.alpha, beta, 9)
    assert reaches(pair.alpha, beta, 10)
    pair.switch.heal()
    assert reaches(pair.alpha, beta, 9)


def test_a_one_way_cut_passes_the_other_way(pair: Lab) -> None:
    pair.switch.cut("alpha", "beta", one_way=True)
    seen = pair.directory / "seen"
    begin = "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); "
    listen = begin + "s.bind(('', 9)); s.settimeout(3); print(s.recv(9))"
    send = begin + "s.sendto(b'x', (sys.argv[1], 9))"
    for sender, receiver, passes in ((pair.beta, pair.alpha, True), (pair.alpha, pair.beta, False)):
        # The neighbour's hardware address cannot be asked for over one way.
        for host, other in ((pair.alpha, pair.beta), (pair.beta, pair.alpha)):
            mac = other.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
            host.run(["ip", "neigh", "replace", other.address, "lladdr", mac, "dev", "eth0"])
        with seen.open("w") as output:
            listener = receiver.popen([sys.executable, "-ISc", listen], stdout=output)
        wait_until(partial(listens, receiver), 5, "listening")
        sender.run([sys.executable, "-ISc", send, receiver.address])
        assert (listener.wait(10) == 0) is passes


def test_arp_tells_every_holder(pair: Lab) -> None:
    before = pair.alpha.run(["ip", "neigh"]).stdout
    assert pair.vip_holders() == {"primary": set(), "standby": set()}
    add_address(pair.alpha, PRIMARY_VIP)
    add_address(pair.beta, STANDBY_VIP)
    assert pair.vip_holders() == {"primary": {"alpha"}, "standby": {"beta"}}
    asker = [line for line in pair.alpha.run(["ip", "neigh"]).stdout.splitlines() if ADDRESSES["client"] in line]
    assert not before
    assert [line for line in asker if mac_of("client") not in line] == [], "the question has told a wrong address"
    pair.arp.start()
    wait_until(pair.arp.answers, 10, "watching")
    assert pair.violations() == []
    pair.stranger.run(["ip", "addr", "add", f"{PRIMARY_VIP}/32", "dev", "eth0"])
    assert pair.holders(PRIMARY_VIP) == {"alpha", "stranger"}
    wait_until(pair.violations, 10, "the watch sees two holders")


def test_fence_agent_is_truthful(pair: Lab) -> None:
    assert agent(pair.alpha, "status", "beta") == 0
    assert agent(pair.alpha, "monitor", "beta") == 0
    assert agent(pair.alpha, "off", "beta") == 0
    assert not pair.beta.is_on()
    assert agent(pair.alpha, "status", "beta") == 2
    assert agent(pair.alpha, "off", "beta") == 0
    assert agent(pair.alpha, "on", "beta") == 0
    assert pair.beta.is_on()
    old = pair.beta.boot_id
    assert pair.alpha.run([AGENT], stdin=f"plug=beta\nip={DEVICE}\n").returncode == 0
    assert pair.beta.boot_id != old
    assert agent(pair.alpha, "off", "gamma") == 1
    assert pair.alpha.run([AGENT, "off"], check=False).returncode == 1
    assert "<resource-agent" in pair.alpha.run([AGENT], stdin="action=metadata\n").stdout
    assert [order.code for order in pair.fence.orders_for("beta", "off")] == [0, 0]


def test_fence_device_in_trouble(pair: Lab) -> None:
    failures = pair.fence.failures["beta"]
    failures.fail_next = 1
    assert agent(pair.alpha, "off", "beta") == 1
    assert pair.beta.is_on()
    pair.fence.cut_off.add("alpha")
    assert agent(pair.alpha, "off", "beta", power_timeout="0.5") == 1
    pair.fence.cut_off.clear()
    failures.hang.set()
    assert agent(pair.alpha, "status", "beta", power_timeout="0.5") == 1
    failures.hang.clear()
    failures.late_s = 0.5
    assert agent(pair.alpha, "off", "beta") == 1
    assert pair.beta.is_on()
    wait_until(lambda: not pair.beta.is_on(), 5, "executed late")
    assert agent(pair.alpha, "off", "beta") == 1
    pair.fence.failures["beta"].late_s = 0.0


def test_an_order_is_executed_though_its_asker_is_fenced_meanwhile(pair: Lab) -> None:
    pair.fence.failures["beta"].delay_s = 1.0
    fencing = pair.alpha.popen(["sh", "-c", f"printf 'action=off\\nplug=beta\\nip={DEVICE}\\n' | {AGENT}"])
    wait_until(lambda: ("alpha", "off", "beta") in pair.fence.asked, 5, "asked")
    assert agent(pair.beta, "off", "alpha") == 0
    assert not pair.alpha.is_on()
    fencing.wait(10)
    wait_until(lambda: not pair.beta.is_on(), 5, "an order once given is executed")


def test_the_clients_measure_a_known_outage_and_count_every_row(clusters: Clusters) -> None:
    lab, _, _ = clusters
    client = lab.writer()
    client.start()
    begun_s = time.monotonic()
    lab.alpha.cut()
    begun_cut_s = time.monotonic()
    wait_until(lambda: time.monotonic() > begun_cut_s + 1.0, 5, "a second of outage")
    ended_cut_s = time.monotonic()
    lab.alpha.heal()
    healed_s = time.monotonic()
    client.wait_success()
    client.stop()
    outage_s = client.outage_s(begun_s)
    assert ended_cut_s - begun_cut_s <= outage_s <= healed_s - begun_s + 1.5, outage_s
    assert lab.lost(client.acknowledged(), lab.alpha) == set()
    some = min(client.acknowledged())
    lab.alpha.sql(f"delete from lab_rows where n = {some}")
    assert lab.lost(client.acknowledged(), lab.alpha) == {some}


def test_take_over_by_hand(clusters: Clusters) -> None:
    lab, alpha, beta = clusters
    client = lab.writer()
    client.start()
    wait_until(lab.probes["alpha"].writable, 10, "the probe writes")
    off_s = time.monotonic()
    lab.alpha.power_off()
    beta.promote()
    add_address(lab.beta, PRIMARY_VIP)
    lab.client.run(["ip", "neigh", "flush", "dev", "eth0"])  # what an announcement would do
    back_s = client.wait_success()
    assert client.outage_s(off_s) == pytest.approx(back_s - off_s, abs=0.5)
    wait_until(lab.probes["beta"].writable, 10, "the probe writes on the new primary")
    assert lab.violations() == []
    lab.alpha.boot()
    alpha.start()
    wait_until(lab.violations, 10, "two writers are seen")


def test_an_orphaned_writer_is_seen() -> None:
    def ok(at_s: float) -> Event:
        return Event(True, 1, at_s, at_s + 0.01, "yes")

    assert two_writers([ok(1), ok(1.2)], [ok(1.1)])
    assert two_writers([ok(1.1)], [ok(1), ok(1.2)])
    assert not two_writers([ok(1), ok(1.2)], [ok(1.3), ok(1.5)])
    assert not two_writers([ok(1), ok(9)], [ok(4)])


def test_a_stopped_program_of_the_lab_does_not_hold_up_a_power_off(pair: Lab) -> None:
    program = pair.alpha.popen(["sleep", "300"])
    os.kill(wait_until(partial(sleeper, pair.alpha), 5, "started"), signal.SIGSTOP)
    wait_until(lambda: " T " in Path(f"/proc/{program.pid}/stat").read_text(), 5, "nsenter stops with its child")
    pair.alpha.power_off()
    assert program.poll() is not None


def test_longest_gap() -> None:
    def at(*times: float) -> list[Event]:
        return [Event(True, 0, time_s, time_s, "") for time_s in times]

    assert longest_gap_s(at(1, 2, 3, 7, 8), 3.5, 8) == 4
    assert longest_gap_s(at(1, 2, 3), 2.5, 9) == 6
    assert longest_gap_s(at(1, 9), 2, 3) == 8
    assert longest_gap_s([], 2, 3) == 1


SCRIPT = """
import os, signal, sys, time
from tests.lab.lab import Lab
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits that it is ignored
lab = Lab().__enter__()
lab.alpha.boot()
lab.alpha.popen(["sleep", "300"])
lab.arp.start()
pids = lab.alpha.pid, lab.switch.pid, lab.arp.process.pid
print(lab.directory, *pids, os.stat(f"/proc/{lab.alpha.pid}/ns/pid").st_ino, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_lab_process(with_signal: signal.Signals) -> None:
    program = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL)
    assert program.stdout is not None
    directory, host, switch, watch, inode = program.stdout.readline().split()
    program.send_signal(with_signal)
    program.wait(30)
    program.stdout.close()
    wait_until(lambda: not namespace_members("pid", int(inode)), 10, "the host is gone")
    left = [Path(f"/proc/{pid}") for pid in (host, switch, watch)]
    wait_until(lambda: not any(path.exists() for path in left), 10, "all gone")
    if with_signal == signal.SIGKILL:
        assert Path(directory) in lab_module.clean_left_overs()
    assert not Path(directory).exists()


def test_a_lab_of_another_namespace_is_no_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers that share /dev/shm do not see one another's processes: each removed the other's labs."""
    monkeypatch.setenv("PGVIP_LAB_DIR", str(tmp_path))
    directory = tmp_path / "pgvip-lab-other"
    directory.mkdir()
    program = "import sys, pathlib; from tests.lab.lab import mark_owner; mark_owner(pathlib.Path(sys.argv[1]))"
    mark = [sys.executable, "-c", program, str(directory)]
    subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", *mark], cwd=REPOSITORY, check=True, timeout=30)
    assert lab_module.clean_left_overs() == []
    subprocess.run(mark, cwd=REPOSITORY, check=True, timeout=30)
    assert lab_module.clean_left_overs() == [directory]


def test_an_error_says_what_was_run(pair: Lab) -> None:
    with pytest.raises(LabError, match="alpha: exit 1: false"):
        pair.alpha.run(["false"])
    with pytest.raises(LabError, match=r"no end within 0\.2 s"):
        pair.alpha.run(["sleep", "5"], timeout_s=0.2)
    pair.alpha.power_off()
    with pytest.raises(LabError, match="alpha is off"):
        pair.alpha.run(["true"])


def test_the_stalling_file_system_shows_reads_and_hangs(pair: Lab) -> None:
    stall = pair.alpha.directory / "shared/stall"
    pair.alpha.run(["sh", "-c", f"mkdir /run/real && echo words > /run/real/file && ls {SHARED}"])
    argv = [sys.executable, "-IS", PROGRAMS / "stalling_fs.py", "/run/real", "/run/shown", f"{SHARED}/stall"]
    pair.alpha.popen(argv)
    wait_until(lambda: "/run/shown" in pair.alpha.run(["cat", "/proc/mounts"]).stdout, 5, "mounted")
    assert pair.alpha.run(["cat", "/run/shown/file"], user="postgres").stdout == "words\n"
    assert pair.alpha.run(["ls", "/run/shown"]).stdout == "file\n"
    assert pair.alpha.run(["cat", "/run/shown/none"], check=False).returncode == 1
    assert pair.alpha.run(["touch", "/run/shown/file"], check=False).returncode == 1
    stall.touch()
    hanging = pair.alpha.popen(["cat", "/run/shown/file"])
    with pytest.raises(subprocess.TimeoutExpired):
        hanging.wait(0.5)
    stall.unlink()
    assert hanging.wait(5) == 0
    stall.touch()
    hanging = pair.alpha.popen(["ls", "/run/shown"])
    pair.alpha.power_off()
    assert hanging.poll() is not None
