"""The management controllers: one OpenIPMI simulator per machine, in a namespace and with an address of its own.

Power orders reach the machine through chassis.py and the lab's control socket, so that `off` is answered after
the machine has gone, and `status` tells what is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.lab.nodes import LabError, Node
from tests.vm.network import ADDRESSES

USER = "pgvip"
PASSWORDS = {"db1": "fence-db1", "db2": "fence-db2"}
CHASSIS = Path(__file__).with_name("chassis.py")

LAN = """\
name "{machine}"
set_working_mc 0x20
  startlan 1
    addr {address} 623
    priv_limit admin
    allowed_auths_callback none md5
    allowed_auths_user none md5
    allowed_auths_operator none md5
    allowed_auths_admin none md5
    guid a123456789abcdefa1234567890000{number}
  endlan
  chassis_control "{python} -I -S {chassis} {control} {machine}"
  user 1 false "" "" user 10 none md5
  user 2 true "{user}" "{password}" admin 10 none md5
"""
COMMANDS = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


def start(node: Node, machine: str, directory: Path, control: Path) -> subprocess.Popen[str]:
    """Start the controller of a machine in its node."""
    (directory / "state").mkdir(parents=True, exist_ok=True)
    own = ADDRESSES[node.name]
    (directory / "lan.conf").write_text(LAN.format(
        machine=machine, address=own, number=own.rsplit(".", 1)[1], python=sys.executable, chassis=CHASSIS,
        control=control, user=USER, password=PASSWORDS[machine],
    ))
    (directory / "commands").write_text(COMMANDS)
    argv = ["ipmi_sim", "-n", "-c", directory / "lan.conf", "-f", directory / "commands", "-s", directory / "state"]
    with (directory / "log").open("w") as log:
        program = node.popen(argv, stdout=log, stderr=log)
    try:
        program.wait(0.3)
    except subprocess.TimeoutExpired:
        return program
    raise LabError(f"the BMC of {machine} ended: {(directory / 'log').read_text()}")
