"""Whether a power device is that of the machine that asks: by the UUID that firmware and device share.

The machine's own is SMBIOS's (System Information, UUID), which root reads from sysfs. A BMC says it by IPMI's command
Get System GUID (IPMI 2.0, 22.14), for which ipmitool has `mc guid`; of a hypervisor it is the name of a machine.
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

PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")
ANSWER_S = 10.0
_GUID = re.compile(r"^System GUID\s*:\s*([0-9a-fA-F-]{36})", re.MULTILINE)
_NAMES = ("plug", "port", "uuid", "nodename")


def own_uuid(file: Path = PRODUCT_UUID) -> UUID | None:
    """The machine's; None where there is none, or one that no machine has for itself."""
    try:
        found = UUID(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
    return found if 0 < found.int < (1 << 128) - 1 else None


def is_own(method: FenceMethod, mine: UUID) -> bool:
    """The device says that it powers the machine `mine`; False also where it does not say."""
    options = dict(method.options)
    if any(_same(options.get(name, ""), mine) for name in _NAMES):
        return True
    said = _ipmi_guid(method, options) if method.agent.rpartition("/")[2] in IPMI_AGENTS else ""
    return _same(said, mine)


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
    try:
        found = UUID(said)
    except ValueError:
        return False
    return mine.bytes in {found.bytes, found.bytes_le, found.bytes[::-1], found.bytes_le[::-1]}
