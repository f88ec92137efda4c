"""The exception tree and the exit codes of the commands.

Messages follow PostgreSQL's style guide: a lower-case message without a full stop, then detail and hint
as sentences (PostgreSQL manual, 57.3 Error Message Style Guide).
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every `pgvip` command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    REFUSED = 5
    BLOCKED = 6
    """`explain`: a takeover would not work now."""
    ERROR_STANDS = 7
    """`status --exit-code`: a warning of level error stands."""


class PgvipError(Exception):
    """Base of all errors that a user may see."""

    exit_code = Exit.FAILED

    def __init__(self, message: str, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.detail, self.hint = message, detail, hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.detail:
            lines.append(f"DETAIL: {self.detail}".replace("DETAIL: \n", "DETAIL:\n"))  # a list begins below
        if self.hint:
            lines.append(f"HINT: {self.hint}")
        return "\n".join(lines)


class ConfigError(PgvipError):
    """The configuration is wrong: names the key, the value and the hint."""

    exit_code = Exit.CONFIG


class RecordError(PgvipError):
    """The durable record is unreadable, or does not fit this host."""


class FormatError(PgvipError):
    """What was kept or sent is not in the form that is expected.

    The message names the place and repeats nothing of the content, which may be secret; the detail does. As text it is
    one line, for the detail of the error of whoever reads.
    """

    def __str__(self) -> str:
        return f"{self.message}: {self.detail}" if self.detail else self.message


class CommandError(PgvipError):
    """An external command failed or ran out of time."""


class ProbeError(PgvipError):
    """A probe could not run, or what it probed did not answer."""


class LinkError(PgvipError):
    """The peer link or the operator socket failed."""

    exit_code = Exit.UNREACHABLE


class RefusedError(PgvipError):
    """The daemon or the protocol refuses what was asked; nothing changed."""

    exit_code = Exit.REFUSED


class ActionError(PgvipError):
    """An action failed, or could not verify its effect."""


class FenceError(ActionError):
    """The peer is not verified to be off."""


class WitnessError(ActionError):
    """The witness gave no answer, or none that can be used."""


class PostgresError(ActionError):
    """PostgreSQL did not start, stop or obey."""


class PromoteError(PostgresError):
    """PostgreSQL is not read-write after a promotion."""


class VipError(ActionError):
    """An address could not be added, dropped or verified."""


class RejoinError(ActionError):
    """The data directory could not be made to follow the peer."""


class MountError(ActionError):
    """The peer's archive could not be mounted or dropped."""


class ArchiveError(ActionError):
    """A WAL file could not be archived or restored."""
