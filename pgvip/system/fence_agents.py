"""Fence agents of ClusterLabs' API, and an operator's own commands in their place.

An agent gets `key=value` lines on its standard input and no argument at all: any argument would switch it to
another parser, and without an action it would reboot the host (ClusterLabs' Fence Agent API).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pgvip.errors import CommandError, FenceError
from pgvip.system.commands import Completed, describe, run

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import FenceMethod

STATUS_ON, STATUS_OFF = 0, 2
"""Exit codes of `status` (fence agent API)."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Agents live in sbin, which is not in everybody's search path."""


def order(method: FenceMethod, action: str) -> None:
    """Tell the device `on`, `off` or the like; FenceError unless it reports success.

    Success is no proof: look at `power` afterwards.
    """
    done = _call(method, action)
    if done.returncode != 0:
        raise FenceError(f"{method.name} {action} {describe(done.returncode)}", _said(method, done))


def power(method: FenceMethod) -> str:
    """Ask the device: "on" or "off". FenceError for any other answer and for none."""
    done = _call(method, "status")
    answers = {STATUS_ON: "on", STATUS_OFF: "off"}
    if done.returncode not in answers:
        raise FenceError(f"{method.name} status {describe(done.returncode)}", _said(method, done))
    return answers[done.returncode]


def _call(method: FenceMethod, action: str) -> Completed:
    env = {"PATH": f"{os.environ.get('PATH', '')}:{PATH}".lstrip(":")}
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
    """The lines that an agent reads. The password is in them: for its standard input and nothing else."""
    words = [("action", action), *((key, value) for key, value in method.options if key != "action")]
    if method.password_file is not None:
        words.append(("password", read_password(method.password_file)))
    return "".join(f"{key}={value}\n" for key, value in words)


def read_password(path: Path) -> str:
    """The first line of a file that only this user may read; FenceError otherwise."""
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise FenceError(
                    f"password file {path} can be read by others", hint=f"Run: chown root {path}; chmod 0600 {path}"
                )
            return file.readline().rstrip("\r\n")
    except OSError as failure:
        raise FenceError(f"could not read password file {path}", f"{failure.strerror}.") from failure


def _said(method: FenceMethod, done: Completed) -> str:
    return _without_secret(method, done.said)


def _without_secret(method: FenceMethod, text: str) -> str:
    """An agent in debug mode repeats its input: the password must not get into a log that way."""
    if method.password_file is None or not text:
        return text
    try:
        secret = read_password(method.password_file)
    except FenceError:
        return "(not shown: the password file could not be read to remove the password from it)"
    return text.replace(secret, "***") if secret else text
