"""Calling one hook of the operator's: an executable with arguments, PGVIP_* variables, and a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import ActionError, CommandError
from pgvip.system.commands import describe, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REFUSES = 1
"""The exit code by which a veto hook is against the takeover."""


def call(hook: Path, arguments: Sequence[str], env: Mapping[str, str], timeout_s: float) -> None:
    """Call the hook; `env` goes along as PGVIP_* variables (keys in any case).

    ActionError when it fails or is not over in time; then it is ended with all that it has started.
    """
    code, said = _run(hook, arguments, env, timeout_s)
    if code != 0:
        raise ActionError(f"{hook} {describe(code)}", said)


def refuses(hook: Path, arguments: Sequence[str], env: Mapping[str, str], timeout_s: float) -> str | None:
    """Ask a veto hook: None when it allows the takeover (exit 0), what it says when it is against it (exit 1).

    ActionError for everything else, which is no veto.
    """
    code, said = _run(hook, arguments, env, timeout_s)
    if code == REFUSES:
        return said or "no reason given"
    if code != 0:
        raise ActionError(f"{hook} {describe(code)}", said)
    return None


def _run(hook: Path, arguments: Sequence[str], env: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Exit code and last words. A hook that cannot be started, or is late, is an ActionError."""
    words = {f"PGVIP_{key.upper()}": value.replace("\0", "") for key, value in env.items()}
    clean = [word.replace("\0", "") for word in arguments]
    try:
        completed = run([hook, *clean], timeout_s=timeout_s, env=words)
    except CommandError as failure:
        raise ActionError(f"{hook}: {failure.message}", failure.detail) from failure
    return completed.returncode, completed.said.replace("\n", "; ")[-500:]
