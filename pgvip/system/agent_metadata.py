"""What a fence agent says of itself (`metadata` of ClusterLabs' API): its secrets, and whether it cuts the power.

A fabric agent (fence_scsi, fence_mpath, fence_ifmib, fence_brocade and the like) takes a host's disks or its network
away. The host goes on running with all that it has in memory, and `status` says off all the same: that is no fence.
Such agents have no action `reboot`, and their action `on` is `automatic` (fence-agents 4.12, lib/fencing.py,
"fabric_fencing"). Of the 83 agents there these are fence_brocade, fence_cisco_mds, fence_compute, fence_ifmib,
fence_kdump, fence_mpath, fence_sanbox2 and fence_scsi.
"""

from __future__ import annotations

import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # nosec B405 # see its one call

from pgvip.config.toml import SECRET_NAME
from pgvip.errors import CommandError
from pgvip.system.commands import run

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_S = 10.0
"""It only prints a text; an agent of Debian 12 takes 0.2 to 0.5 s for it, and its device is not asked."""

_DESCRIBED = re.compile(r"\b(password|passphrase|passwd|secret|token|community)\b", re.IGNORECASE)
_REFERENCE = re.compile(r"(_file|_script|_path|_dir|_url)\Z")
"""Parameters that say where a secret is, and are none."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """`fabric`: why the agent cuts no power, "" when nothing speaks against it. `parameters`: all that it takes.

    `power_wait_s`: how long it waits by itself after each order.
    """

    secrets: frozenset[str] = frozenset()
    fabric: str = ""
    parameters: frozenset[str] = frozenset()
    power_wait_s: float = 0.0


def parse(text: str) -> Metadata | None:
    """Read the XML of the agent; None when it is none.

    >>> parse('<resource-agent name="a"><actions><action name="off"/></actions></resource-agent>').fabric
    'it has no action reboot'
    """
    if "<!ENTITY" in text:  # no agent needs one, and only they make XML dangerous to read
        return None
    try:
        root = ET.fromstring(text.strip())  # noqa: S314 # nosec B314 # of a program of root's
    except (ET.ParseError, ValueError):
        return None
    if root.tag != "resource-agent":
        return None
    actions = {action.get("name", ""): action for action in root.iterfind("actions/action")}
    named = {one.get("name", ""): one for one in root.iterfind("parameters/parameter")}
    parameters = frozenset(name.replace("-", "_") for name in named if name)  # as agents read them (lib/fencing.py)
    return Metadata(frozenset(_secrets(root)), _fabric(actions), parameters, _power_wait_s(named.get("power_wait")))


def _power_wait_s(parameter: ET.Element | None) -> float:
    content = None if parameter is None else parameter.find("content")
    default = "" if content is None else content.get("default", "")
    return float(default) if default.isdigit() else 0.0


def _secrets(root: ET.Element) -> list[str]:
    found = []
    for parameter in root.iterfind("parameters/parameter"):
        name, content = parameter.get("name", ""), parameter.find("content")
        kind = "" if content is None else content.get("type", "")
        described = (parameter.findtext("shortdesc") or "") + (parameter.findtext("longdesc") or "")
        says_so = kind == "string" and bool(_DESCRIBED.search(described)) and not _REFERENCE.search(name)
        if name and (kind in ("password", "secret") or SECRET_NAME.search(name) or says_so):
            found.append(name)
    return found


def _fabric(actions: Mapping[str, ET.Element]) -> str:
    if not actions:
        return ""  # it does not say what it can do
    if "reboot" not in actions:
        return "it has no action reboot"
    on = actions.get("on")
    return "its action on is automatic" if on is not None and on.get("automatic") == "1" else ""


_known: dict[tuple[str, int, int], Metadata | None] = {}
_lock = threading.Lock()


def of(agent: str, path: str, timeout_s: float, *, again: bool = False) -> Metadata | None:
    """The metadata of the agent, asked for once for each version of its file; None when it has none, or not in time.

    `path`: where programs are looked for. `again`: ask once more where there was no answer.
    """
    key = _key(agent, path)
    if key is None:
        return None
    with _lock:
        if key in _known and (_known[key] is not None or not again):
            return _known[key]
    found = _asked(agent, path, timeout_s)
    with _lock:
        _known[key] = found
    return found


def known(agent: str, path: str) -> Metadata | None:
    """The metadata if somebody has asked for it before; nothing is started."""
    key = _key(agent, path)
    with _lock:
        return None if key is None else _known.get(key)


def _key(agent: str, path: str) -> tuple[str, int, int] | None:
    found = shutil.which(agent, path=path)
    try:
        status = Path(found).stat() if found else None
    except OSError:
        return None
    return None if found is None or status is None else (found, status.st_ino, status.st_mtime_ns)


def _asked(agent: str, path: str, timeout_s: float) -> Metadata | None:
    """Ask by standard input: no address goes along, so that an agent which misunderstands can do nothing."""
    env = {"PATH": path, "PYTHONWARNINGS": "ignore"}
    try:
        done = run([agent], timeout_s=timeout_s, input_text="action=metadata\n", env=env)
    except CommandError:
        return None
    return parse(done.stdout) if done.returncode == 0 else None
