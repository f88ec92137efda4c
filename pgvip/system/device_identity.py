"""Whether a power device is that of the machine that asks: by the UUID that firmware and device share, or by address.

The machine's own is SMBIOS's (System Information, UUID), which root reads from sysfs. A BMC says it by IPMI's command
Get System GUID (IPMI 2.0, 22.14), for which ipmitool has `mc guid`; of a hypervisor it is the name of a machine.
The address of the machine's own BMC is what its kernel driver says (`lan print`). A device may say nothing of itself.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from pgvip.errors import CommandError
from pgvip.system.commands import run
from pgvip.system.fence_agents import PATH

if TYPE_CHECKING:
    from pgvip.config.model import FenceMethod

IPMI_AGENTS = frozenset(
    {"fence_ipmilan", "fence_ipmilanplus", "fence_idrac", "fence_imm", "fence_ilo3", "fence_ilo4", "fence_ilo5"}
)
"""All of them are fence_ipmilan (fence-agents 4.12, agents/ipmilan)."""

IPMI_DRIVER = Path("/dev/ipmi0")
PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")
ANSWER_S = 10.0
_GUID = re.compile(r"^System GUID\s*:\s*([0-9a-fA-F-]{36})", re.MULTILINE)
_ADDRESS = re.compile(r"^IP Address\s*:\s*([0-9a-fA-F.:]+)\s*$", re.MULTILINE)
_NAMES = ("plug", "port", "uuid", "nodename")


def own_uuid(file: Path = PRODUCT_UUID) -> UUID | None:
    """The machine's; None where there is none, or one that no machine has for itself."""
    try:
        found = UUID(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
    return found if 0 < found.int < (1 << 128) - 1 else None


def own_addresses(driver: Path = IPMI_DRIVER) -> frozenset[str]:
    """Of this machine's own BMC; none where there is no BMC or no ipmitool."""
    tool = shutil.which("ipmitool", path=PATH)
    if tool is None or not driver.exists():
        return frozenset()
    try:
        done = run([tool, "lan", "print"], timeout_s=ANSWER_S, env={"PATH": PATH})
    except CommandError:
        return frozenset()
    return frozenset(_ADDRESS.findall(done.stdout)) - {"0.0.0.0"}  # noqa: S104 # nosec B104 # an address that was not set


def is_own(method: FenceMethod, mine: UUID | None, addresses: frozenset[str] = frozenset()) -> bool | None:
    """Whether the device powers the machine `mine`, whose BMC has `addresses`; None where that cannot be known."""
    options = dict(method.options)
    address = options.get("ip", options.get("ipaddr", ""))
    if address and address in addresses:
        return True
    said = [options[name] for name in _NAMES if name in options]
    if method.agent.rpartition("/")[2] in IPMI_AGENTS:
        if address and addresses:
            return False
        said.append(_ipmi_guid(method, options) if mine is not None else "")
    known = [one for one in said if _uuid(one) is not None]
    if mine is None or not known:
        return None
    return any(_same(one, mine) for one in known)


def _ipmi_guid(method: FenceMethod, options: dict[str, str]) -> str:
    """As ipmitool prints it; "" for no answer. The password stays in its file."""
    tool, address = shutil.which("ipmitool", path=PATH), options.get("ip", options.get("ipaddr", ""))
    if tool is None or not address:
        return ""
    lanplus = options.get("lanplus", "0" if method.agent.endswith("fence_ipmilan") else "1")
    argv = [tool, "-I", "lanplus" if lanplus in ("1", "on", "yes", "true") else "lan", "-H", address]
    for flag, names in (("-p", ("ipport",)), ("-U", ("username", "login")), ("-C", ("cipher",)), ("-L", ("privlvl",))):
        argv += [word for name in names if name in options for word in (flag, options[name])][:2]
    for name, file in method.secret_files:
        if name == "password":
            argv += ["-f", str(file)]
    try:
        done = run([*argv, "mc", "guid"], timeout_s=min(ANSWER_S, method.timeout_s), env={"PATH": PATH})
    except CommandError:
        return ""
    found = _GUID.search(done.stdout)
    return found[1] if found else ""


def _same(said: str, mine: UUID) -> bool:
    """In any order of bytes: SMBIOS's, the standard's or IPMI's, which ipmitool and firmware mix.

    >>> mine = UUID("00112233-4455-6677-8899-aabbccddeeff")
    >>> _same("33221100-5544-7766-8899-aabbccddeeff", mine), _same("ffeeddcc-bbaa-9988-7766-554433221100", mine)
    (True, True)
    >>> _same("ccddeeff-aabb-8899-7766-554433221100", mine)
    True
    >>> _same("00112233-4455-6677-8899-aabbccddeef0", mine), _same("db1", mine)
    (False, False)
    """
    found = _uuid(said)
    return found is not None and mine.bytes in {found.bytes, found.bytes_le, found.bytes[::-1], found.bytes_le[::-1]}


def _uuid(said: str) -> UUID | None:
    try:
        return UUID(said)
    except ValueError:
        return None
