"""An operator who does exactly what `pgvip status` names, in the states that the protocol leaves to one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.chaos.life import Life
from tests.lab.hosts import Host
from tests.lab.nodes import LabError

PATIENCE_S = 40.0
"""So long nobody is called: what the pair can repair itself, it has repaired by then."""
AGAIN_S = 20.0
FORCED = ("not-served", "hand-backs", "vip-answers", "records-differ")


def command(host: Host, warning: dict[str, Any]) -> list[str]:
    """The words of the repair that a warning names, [] when it names none that an operator alone may do."""
    name, hint = warning["name"], warning.get("hint", "")
    if name == "hold":
        return ["hold", "clear", "--yes", host.name]
    if name in FORCED and "pgvip promote --force" in hint:
        return ["promote", "--force", "--yes", "lab"]
    if name == "heartbeat-failing" and "pgvip init" in hint:
        return ["init"]
    if name == "action-failing" and "pgvip rejoin --clone" in hint:
        return ["rejoin", "--clone"]
    return []


class Operator:
    """Looks at both hosts' status once in a while, after some patience."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.next_s = PATIENCE_S

    def look(self, waited_s: float) -> Iterator[dict[str, Any]]:
        """Carry out at most one command, and tell of it; nothing while it is too early."""
        if waited_s < self.next_s:
            return
        self.next_s = waited_s + AGAIN_S
        for host in self.life.pair.hosts.values():
            for warning in self.warnings(host):
                words = command(host, warning)
                if words:
                    yield self.carry_out(host, warning, words)
                    return

    def warnings(self, host: Host) -> list[dict[str, Any]]:
        """What a host's status warns of; none when it does not answer."""
        try:
            found: list[dict[str, Any]] = self.life.pair.status(host)["warnings"]
        except (LabError, OSError, ValueError, KeyError):
            return []
        return found

    def carry_out(self, host: Host, warning: dict[str, Any], words: list[str]) -> dict[str, Any]:
        """Run the command; what was done and why."""
        self.life.say("OPERATOR", f"on {host.name}: pgvip {' '.join(words)}, because of {json.dumps(warning)}")
        try:
            done = self.life.pair.pgvip(host, *words, check=False, timeout_s=150)
            said = (done.stdout + done.stderr).strip()
        except LabError as error:
            said = str(error)
        self.life.say("OPERATOR", said)
        return {"host": host.name, "warning": warning["name"], "command": " ".join(words), "said": said}
