"""A watchdog that really resets a machine: softdog, the kernel's own, which is the second device of User Mode Linux."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab.nodes import end_process, wait_until
from tests.vm import setting
from tests.vm.conftest import hint
from tests.vm.lab import Host, VmLab
from tests.vm.scene import Scene

DEVICE = "/dev/watchdog1"
TIMEOUT_S = 40
"""Longer than a restart of the daemon on a busy machine, shorter than the lab's WatchdogSec= (`setting.be_patient`)."""
CONFIG = "/etc/pgvip/pgvip.toml"
LOAD_S = 30.0
ARMED_S = 60.0
MODULE = "/etc/modules-load.d/vmlab-softdog.conf", "/etc/modprobe.d/vmlab-softdog.conf"


def write_config(host: Host, *lines: str) -> None:
    """Make these the lines of [watchdog]."""
    text = host.run(f"cat {CONFIG}").stdout.splitlines()
    kept = [line for line in text if not line.endswith("# vmlab")]
    at = kept.index("[watchdog]") + 1
    host.run(f"cat >{CONFIG}", stdin="\n".join([*kept[:at], *(f"{line} # vmlab" for line in lines), *kept[at:], ""]))


def load(host: Host, *, nowayout: int) -> None:
    """softdog, now and at every boot."""
    host.run(
        f"echo softdog >{MODULE[0]}; echo options softdog nowayout={nowayout} >{MODULE[1]}; sync;"
        "modprobe -r softdog; modprobe softdog",
    )


def required(timeout_s: int = TIMEOUT_S, mode: str = "required") -> list[str]:
    """The lines of [watchdog]."""
    return [f'mode = "{mode}"', f'device = "{DEVICE}"', f"timeout_s = {timeout_s}"]


@pytest.fixture(scope="module")
def dogs(vm: VmLab) -> Iterator[VmLab]:
    """Both machines with a watchdog that is required."""
    hint(vm)
    for host in vm.hosts.values():
        load(host, nowayout=0)
        write_config(host, *required())
        host.run("systemctl restart pgvip", timeout_s=120)
    yield vm
    hint(vm)
    for host in vm.hosts.values():
        write_config(host)
        host.run(f"systemctl restart pgvip; rm -f {' '.join(MODULE)}; modprobe -r softdog", timeout_s=120)


@pytest.fixture
def guarded(dogs: VmLab, scene: Scene) -> Scene:
    """A scene on them; the primary's is armed."""
    assert dogs is scene.lab
    wait_until(partial(armed, scene.primary), ARMED_S, "the primary's is armed", 1.0)
    return scene


def daemon(host: Host) -> str:
    """Process id of the daemon; "" while there is none."""
    pid = host.ask("systemctl show --property=MainPID --value pgvip")
    return "" if pid == "0" else pid


def keeper(host: Host) -> str:
    """Process id of who has the device open, by which it is armed; "none", or "" when the machine does not answer."""
    return host.ask(f"fuser {DEVICE} 2>/dev/null || echo none")


def armed(host: Host) -> bool:
    """Its daemon has it."""
    return (pid := daemon(host)) != "" and keeper(host) == pid


def free(host: Host) -> bool:
    """Nobody has it."""
    return keeper(host) == "none"


class Prober:
    """Writes into the primary's own database, over the fence network, whatever is cut; when it last could."""

    def __init__(self, host: Host) -> None:
        host.sql("create table if not exists lab_alive (at timestamptz)")
        query = "set synchronous_commit = local; insert into lab_alive values (now()) returning at \\watch 0.5"
        words = host.ssh(f"runuser -u postgres -- psql -XAtq -d postgres -c 'select 1' -f - <<'END'\n{query}\nEND")
        self.process = host.lab.operator.popen(words, stdout=subprocess.PIPE)
        self.last_s = 0.0
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        wait_until(lambda: self.last_s, 60, "the prober writes", 0.2)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip():
                self.last_s = time.monotonic()

    def stop(self) -> None:
        """End it."""
        end_process(self.process)
        self.thread.join(10)


def test_it_is_armed_only_where_the_right_to_serve_is(guarded: Scene) -> None:
    for _ in range(2):
        primary, standby = guarded.primary, guarded.standby
        wait_until(partial(armed, primary), ARMED_S, "armed", 1.0)
        assert free(standby)
        assert "watchdog" not in " ".join(warning["name"] for warning in setting.status(primary)["warnings"])
        assert "watchdog" not in " ".join(warning["name"] for warning in setting.status(standby)["warnings"])
        guarded.primary.run("pgvip switchover", timeout_s=120)
        wait_until(partial(free, primary), ARMED_S, "disarmed", 1.0)
        setting.wait_healthy(guarded.lab)
        guarded.primary, guarded.standby = standby, primary
    guarded.finish(swapped=False)


def test_a_daemon_that_is_killed_takes_it_up_again_in_time(guarded: Scene) -> None:
    host, boot, old = guarded.primary, guarded.primary.boot_id(), daemon(guarded.primary)
    guarded.strike()
    host.run(f"kill -KILL {old}")
    wait_until(lambda: keeper(host) not in ("", "none", old), TIMEOUT_S, "the next daemon has it", 0.2)
    print(f"armed again after a daemon's death: {time.monotonic() - guarded.struck_s:.1f} s")
    assert keeper(host) == daemon(host)
    guarded.stays(TIMEOUT_S + 5, host, "primary")
    guarded.finish(swapped=False)
    assert host.boot_id() == boot


@pytest.mark.parametrize("order", ["restart", "stop"])
def test_a_daemon_that_is_stopped_in_order_disarms_it(guarded: Scene, order: str) -> None:
    host, boot = guarded.primary, guarded.primary.boot_id()
    guarded.strike()
    host.run(f"systemctl {order} pgvip", timeout_s=120)
    if order == "stop":
        assert free(host)
    guarded.stays(TIMEOUT_S + 5, guarded.standby, "standby")
    host.run("systemctl start pgvip", timeout_s=120)
    wait_until(partial(armed, host), ARMED_S, "armed again", 1.0)
    guarded.finish(swapped=False)
    assert host.boot_id() == boot


@pytest.mark.parametrize("back", ["bmc", "cable"])
def test_a_primary_that_hangs_and_cannot_be_fenced_is_reset_before_anybody_else_serves(
    guarded: Scene, back: str,
) -> None:
    """`back`: what is there again after the reset. With its BMC, the peer takes over; with its cable, it may go on."""
    primary, standby, boot = guarded.primary, guarded.standby, guarded.primary.boot_id()
    prober = Prober(primary)
    primary.cut_off_bmc()
    guarded.strike()
    primary.run(f"kill -STOP {daemon(primary)}")
    primary.cut_off()
    end_s = time.monotonic() + TIMEOUT_S + LOAD_S
    while time.monotonic() - prober.last_s < 5:  # it writes: to itself
        assert time.monotonic() < end_s, "not reset"
        assert setting.status(standby).get("role", "standby") == "standby"
        time.sleep(0.5)
    alive_s = prober.last_s
    assert setting.status(standby).get("role", "standby") == "standby"
    primary.wait_boot(boot)
    assert setting.status(standby)["role"] == "standby", "nobody serves before there is a fence"
    prober.stop()
    (primary.reconnect_bmc if back == "bmc" else primary.reconnect)()
    outage_s = guarded.wait_writes(300)
    first_s = min(event.answered_s for event in guarded.writer.events() if event.ok and event.sent_s > alive_s)
    print(f"watchdog, {back}: last write to itself {alive_s - guarded.struck_s:.1f} s after the hang, "
          f"the first to the one that serves {first_s - alive_s:.1f} s after that; outage {outage_s:.1f} s")
    assert alive_s - guarded.struck_s < TIMEOUT_S + 5
    primary.reconnect()
    primary.reconnect_bmc()
    guarded.finish(swapped=True if back == "bmc" else None)
    assert guarded.fenced(primary) >= (back == "bmc")


def test_a_time_that_contradicts_the_others_is_refused(guarded: Scene) -> None:
    host = guarded.standby
    try:
        for timeout_s, words in ((6, "too short"), (120, "too long")):
            write_config(host, *required(timeout_s))
            said = host.run("pgvip config check", check=False)
            assert said.returncode != 0
            assert "watchdog.timeout_s" in said.stdout + said.stderr
            assert words in said.stdout + said.stderr
    finally:
        write_config(host, *required())
    host.run("pgvip config check")
    guarded.finish(swapped=False)


def test_one_that_cannot_be_disarmed_is_left_alone_unless_it_is_required(guarded: Scene) -> None:
    """This kernel does not say so in sysfs: whoever opens it to find out is reset."""
    host, boot = guarded.standby, guarded.standby.boot_id()
    try:
        load(host, nowayout=1)
        write_config(host, *required(mode="if-present"))
        host.run("systemctl restart pgvip", timeout_s=120)
        wait_until(
            lambda: "watchdog-unusable" in [warning["name"] for warning in setting.status(host).get("warnings", [])],
            ARMED_S, "status says so", 1.0,
        )
        guarded.stays(TIMEOUT_S + 10, guarded.primary, "primary")
        assert host.boot_id() == boot
    finally:
        host.wait_ssh()
        write_config(host, *required())
        load(host, nowayout=0)
        host.run("systemctl restart pgvip", timeout_s=120)
    guarded.finish(swapped=False)
