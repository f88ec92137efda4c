"""Fence agents of ClusterLabs' API, and an operator's own commands in their place.

An agent gets `key=value` lines on its standard input and no argument at all: any argument would switch it to
another parser, and without an action it would reboot the host (ClusterLabs' Fence Agent API).
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import CommandError, FenceError
from pgvip.system import agent_metadata
from pgvip.system.commands import Completed, describe, run
from pgvip.system.executables import refusal

if TYPE_CHECKING:
    from pgvip.config.model import FenceMethod
    from pgvip.system.agent_metadata import Metadata

STATUS_ON, STATUS_OFF = 0, 2
"""Exit codes of `status` (fence agent API)."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Agents live in sbin, which is not in everybody's search path."""


def order(method: FenceMethod, action: str) -> None:
    """Order the device `on`, `off` or the like; FenceError unless it reports success.

    Success is no proof: check `power` afterwards. Nothing is asked of the agent's metadata here, for a takeover
    waits for it: what a probe has learned by then must do, and the proof asks again.
    """
    _refuse_fabric(method, known_metadata(method))
    done = _call(method, action)
    if done.returncode != 0:
        raise FenceError(f"{method.name} {action} {describe(done.returncode)}", _said(method, done))


def power(method: FenceMethod) -> str:
    """Ask the device: "on" or "off". FenceError for any other answer and for none."""
    _refuse_fabric(method, metadata(method))
    done = _call(method, "status")
    answers = {STATUS_ON: "on", STATUS_OFF: "off"}
    if done.returncode not in answers:
        raise FenceError(f"{method.name} status {describe(done.returncode)}", _said(method, done))
    return answers[done.returncode]


def metadata(method: FenceMethod, *, again: bool = False) -> Metadata | None:
    """What the agent says of itself, asked for once; None for a command, and for an agent that says nothing.

    `again`: ask once more where there was no answer.
    """
    if not method.agent or program_refusal(method):
        return None
    return agent_metadata.of(method.agent, _path(), min(agent_metadata.ANSWER_S, method.timeout_s / 2), again=again)


def known_metadata(method: FenceMethod) -> Metadata | None:
    """The same if somebody has asked before; nothing is started."""
    return agent_metadata.known(method.agent, _path()) if method.agent else None


def secrets_in_clear(method: FenceMethod, found: Metadata | None) -> list[str]:
    """Options that are secrets by the agent's own metadata."""
    return [name for name, _ in method.options if found is not None and name in found.secrets]


def present(method: FenceMethod) -> bool:
    """The agent or command is a program of this host."""
    return shutil.which(method.name, path=_path()) is not None


def installed() -> list[str]:
    """Names of the ClusterLabs agents on this host."""
    found = (path.name for directory in PATH.split(":") for path in Path(directory).glob("fence_*"))
    return sorted({*found})


def program_refusal(method: FenceMethod) -> str:
    """Why root must not call the agent or command, or ""; "" too for one that is not there: see `present`."""
    found = shutil.which(method.name, path=_path())
    return refusal(Path(found)) if found else ""


def fabric(method: FenceMethod, found: Metadata | None) -> FenceError | None:
    """The error for an agent that takes disks or a network away and cuts no power."""
    if found is None or not found.fabric:
        return None
    return FenceError(
        f"{method.name} cuts no power and is no fence",
        f"By its metadata {found.fabric}: it takes disks or a network away from a host that goes on running.",
        "Use an agent of the host's power (its BMC, a power strip, its hypervisor).",
    )


def _refuse_fabric(method: FenceMethod, found: Metadata | None) -> None:
    if (failure := fabric(method, found)) is not None:
        raise failure


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{PATH}".lstrip(":")


def _call(method: FenceMethod, action: str) -> Completed:
    refused = program_refusal(method)
    if refused:
        hint = refused.partition(": ")[2]
        raise FenceError(f"{method.name} is not called", f"It runs as root, and {refused}.", hint and f"Run: {hint}")
    env = {"PATH": _path()}
    if method.command:
        argv, text = [*method.command, action], ""
    else:
        argv, text = [method.agent], agent_input(method, action)
        env["PYTHONWARNINGS"] = "ignore"  # an old agent on a newer Python would put them before its reason
    try:
        return run(argv, timeout_s=method.timeout_s, input_text=text, env=env)
    except CommandError as failure:
        raise FenceError(_without_secret(method, failure.message), _without_secret(method, failure.detail)) from failure


def agent_input(method: FenceMethod, action: str) -> str:
    """The lines that an agent reads. Secrets are in them: for its standard input and nothing else."""
    words = [("action", action), *((key, value) for key, value in method.options if key != "action")]
    words += [(key, read_secret(path)) for key, path in method.secret_files]
    return "".join(f"{key}={value}\n" for key, value in words)


def read_secret(path: Path) -> str:
    """The first line of a file that only this user may read; FenceError otherwise."""
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                hint = f"Run: chown root {path}; chmod 0600 {path}"
                raise FenceError(f"file {path} with a secret can be read by others", hint=hint)
            return file.readline().rstrip("\r\n")
    except OSError as failure:
        raise FenceError(f"could not read the secret in {path}", f"{failure.strerror}.") from failure
    except UnicodeDecodeError as failure:
        raise FenceError(f"the secret in {path} is not UTF-8") from failure


def _said(method: FenceMethod, done: Completed) -> str:
    return _without_secret(method, done.said)


def _without_secret(method: FenceMethod, text: str) -> str:
    """An agent in debug mode repeats its input: no secret must get into a log that way."""
    if not text:
        return text
    try:
        secrets = [read_secret(path) for _, path in method.secret_files]
    except FenceError:
        return "(not shown: a file with a secret could not be read to remove the secret from it)"
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may be part of another
        text = text.replace(secret, "***")
    return text
