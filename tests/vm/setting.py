"""A pair in the two machines, set up from nothing by README.md's own steps, in its order and with its commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.lab.nodes import LabError, wait_until
from tests.vm import image
from tests.vm.bmc import PASSWORDS
from tests.vm.lab import Host, VmLab
from tests.vm.network import ADDRESSES, MACHINES, PRIMARY_VIP, SERVICE, STANDBY_VIP, address

CHECKOUT = [
    "pgvip", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "conf",
    "docs", "scripts", "systemd", "requirements.lock",
]
INSTALL = "cd /root/pgvip && ./scripts/install --wheels /root/wheels"
BUNDLE = "/root/db2.bundle"
CLIENT_USER = "lab_client"
CLIENT_PASSWORD = "lab"  # noqa: S105 - README.md's --allow asks for one
EXAMPLE = {
    "192.0.2.11": address("db1"), "192.0.2.12": address("db2"), "192.0.2.10": PRIMARY_VIP, "192.0.2.20": STANDBY_VIP,
    "192.0.2.1": ADDRESSES["gateway"], "198.51.100.11": ADDRESSES["bmc-db1"], "198.51.100.12": ADDRESSES["bmc-db2"],
}
"""README.md's example addresses, and those of the lab."""
TIMING = """\
interval_s = 4.0
heartbeat_s = 2.0
fence_delay_s = 2.0
hung_after_s = 40.0
disk_hung_after_s = 40.0
standby_down_s = 30.0
consent_s = 60
solo_boot_wait_s = 10
"""
"""A machine of User Mode Linux forks in 70 ms and shares two cores with its peer and whatever else is at work: with the
default limits a busy lab looks like a dead database. The namespace lab is the one that tests these."""
WATCHDOG = "/etc/systemd/system/pgvip.service.d/vmlab.conf"
HEALTHY_S = 600.0
LOOK_S = 3.0
"""Between two looks at both machines: each look is work for them."""


def peer(name: str) -> str:
    """The other machine."""
    return next(other for other in MACHINES if other != name)


def send_checkout(host: Host) -> None:
    """What a user has unpacked: this checkout and, for there is no package index, the wheels."""
    host.run("rm -rf /root/pgvip")
    host.send(image.REPOSITORY, CHECKOUT, "/root/pgvip")
    wheels = image.wheels()
    host.send(wheels, sorted(path.name for path in wheels.iterdir()), "/root/wheels")


def install(host: Host) -> str:
    """README.md, step 1; what the installation said."""
    send_checkout(host)
    said = host.run(f"{INSTALL} --take-over-unit", timeout_s=900).stdout
    write_password(host)
    return said


def write_password(host: Host, password: str = "") -> None:
    """README.md, step 1: the password of the other machine's BMC (`password`: a wrong one)."""
    other = peer(host.name)
    host.run(f"install -m 0600 /dev/stdin /etc/pgvip/fence-{other}.password", stdin=password or PASSWORDS[other])


def configure(host: Host) -> None:
    """README.md, step 2: the sample with the lab's addresses and patience."""
    text = host.run("cat /etc/pgvip/pgvip.toml.sample").stdout
    for example in sorted(EXAMPLE, key=len, reverse=True):
        text = text.replace(f'"{example}"', f'"{EXAMPLE[example]}"').replace(f'"{example}/', f'"{EXAMPLE[example]}/')
    host.run("cat >/etc/pgvip/pgvip.toml", stdin=text.replace('preset = "default"', f'preset = "default"\n{TIMING}'))
    host.run("pgvip config check")
    be_patient(host)


def be_patient(host: Host) -> None:
    """Give the daemon's loop more time before systemd ends it, for the reason of TIMING."""
    drop_in = "[Service]\\nWatchdogSec=60\\nTimeoutStartSec=300\\n"
    host.run(f"mkdir -p $(dirname {WATCHDOG}) && printf '{drop_in}' >{WATCHDOG} && systemctl daemon-reload")


def first_host(host: Host) -> None:
    """README.md, step 3."""
    host.run(f"pgvip init --allow {SERVICE}0/24 --bundle {BUNDLE} --restart", timeout_s=600)
    host.run("systemctl enable --now pgvip", timeout_s=120)


def second_host(host: Host, first: Host) -> None:
    """README.md, step 4; the package has made a cluster there, which is put aside."""
    be_patient(host)
    host.run(f"umask 077 && cat >{BUNDLE}", stdin=first.run(f"cat {BUNDLE}").stdout)
    host.run("systemctl stop postgresql@15-main", timeout_s=120)
    host.run(f"pgvip clone --dry-run --replace {BUNDLE}", timeout_s=300)
    host.run(f"pgvip clone --replace {BUNDLE}", timeout_s=900)
    host.run("systemctl enable --now pgvip", timeout_s=120)
    for one in (host, first):
        one.run(f"rm {BUNDLE}")


def export(host: Host) -> None:
    """README.md, step 5."""
    host.run("pgvip archive export")


def set_up(lab: VmLab, say: Callable[[str], None]) -> None:
    """The whole of README.md's "Set up a pair"; both machines have a shell."""
    with ThreadPoolExecutor() as pool:
        for host, _ in zip(lab.hosts.values(), pool.map(install, lab.hosts.values()), strict=True):
            say(f"{host.name}: installed")
    configure(lab.db1)
    first_host(lab.db1)
    say("db1: initialised, daemon runs")
    second_host(lab.db2, lab.db1)
    say("db2: cloned, daemon runs")
    for host in lab.hosts.values():
        export(host)
    wait_healthy(lab)
    lab.db1.sql(
        f"create role {CLIENT_USER} login password '{CLIENT_PASSWORD}';"
        "create table lab_rows (n bigint primary key, at timestamptz default now());"
        f"grant select, insert on lab_rows to {CLIENT_USER};",
    )
    say("healthy: primary and standby")


# --- what is true --------------------------------------------------------------------------------------------


def status(host: Host) -> dict[str, Any]:
    """`pgvip status --json` of a machine; empty when it cannot be had."""
    done = host.ask("pgvip status --json; true", timeout_s=30)
    try:
        document: dict[str, Any] = json.loads(done)
    except ValueError:
        return {}
    return document


def describe(lab: VmLab, lines: int = 60) -> str:
    """What both machines say, for a person who looks for the reason of a failure."""
    parts = []
    for host in lab.hosts.values():
        parts.append(f"=== {host.name}: power {host.power}")
        if host.power == "on":
            journal = f"journalctl -u pgvip -o short-precise -n {lines} --no-pager"
            parts.append(host.ask(f"pgvip status; {journal}", timeout_s=30))
    return "\n".join(parts)


def roles(lab: VmLab) -> dict[str, str]:
    """Each machine's role as it says itself; "" for one that cannot be asked."""
    return {name: str(status(host).get("role", "")) for name, host in lab.hosts.items()}


def is_healthy(lab: VmLab) -> bool:
    """A primary and a standby that may take over, each with its own address."""
    ends = [status(host).get("me", {}) for host in lab.hosts.values()]
    found = sorted((str(me.get("role", "")), tuple(me.get("vips") or ())) for me in ends)
    ready = all(me.get("eligible") for me in ends if me.get("role") == "standby")
    return found == [("primary", ("primary",)), ("standby", ("standby",))] and ready


def wait_healthy(lab: VmLab, deadline_s: float = HEALTHY_S) -> None:
    """Wait for `is_healthy`; LabError with what the machines say."""
    try:
        wait_until(lambda: is_healthy(lab), deadline_s, "a healthy pair", LOOK_S)
    except LabError as error:
        raise LabError(f"{error}\n{describe(lab)}") from None
