"""The bundle: everything that the second host needs to become one of the pair, in one root-only file.

`pgvip init` writes it on the first host, the operator carries it over (scp as root), `pgvip clone` or `pgvip join`
reads it. It holds private keys (or passwords), so it is never printed, and refused when others can read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from pgvip.errors import FormatError, LinkError
from pgvip.state import codec, files

FORMAT = 1
MAX_BYTES = 1024 * 1024
PLACES = "bundles"
"""File in the state directory: where bundles were written to or read from, so that one that is left is noticed."""
PLACES_MAX = 32


@dataclass(frozen=True, slots=True)
class Bundle:
    """What `init` hands to the second host.

    `host`: whose bundle it is; `first_host`: the host of even terms. `config`: text of the configuration file; `key`,
    `certificate`, `peer_certificate`: PEM for the link; `passwords`: text of the libpq password file, "" without one;
    `server_keys`: files for PostgreSQL's connections (setup.server_keys). `extra`: further words of `init` for `clone`
    and `join`. Secrets are kept out of the repr.
    """

    host: str
    first_host: str
    pair_id: str
    system_id: str
    config: str
    key: str = field(repr=False)
    certificate: str
    peer_certificate: str
    passwords: str = field(repr=False)
    extra: dict[str, str] = field(default_factory=dict, repr=False)
    server_keys: dict[str, str] = field(default_factory=dict, repr=False)
    format: int = FORMAT


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write the file (0600, by rename). LinkError when that fails."""
    try:
        files.write(path, codec.to_json(bundle, max_bytes=MAX_BYTES) + "\n")
    except OSError as error:
        raise LinkError(f"cannot write the bundle {path}", f"{error}.") from error


def read_bundle(path: Path) -> Bundle:
    """Read the file. LinkError when it is not there, no bundle, of a newer pgvip, another user's, or open to others."""
    try:
        with files.open_regular(path) as file:
            status = os.fstat(file.fileno())
            text = file.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise LinkError(
            f"cannot read the bundle {path}", f"{error}.", "pgvip init writes it on the first host; copy it as root."
        ) from error
    if status.st_uid not in (0, os.geteuid()):
        raise LinkError(
            f"bundle {path} belongs to another user",
            f"The user with id {status.st_uid} can change it, and it says what runs as root here.",
            "Copy it from the first host again, as root and into a directory of root's.",
        )
    mode = status.st_mode & 0o777
    if mode & 0o077:
        raise LinkError(
            f"bundle {path} can be read by others",
            f"Its mode is {mode:o}, and it holds private keys.",
            f"Run chmod 600 {path}, and think about who may have read it.",
        )
    try:
        bundle = codec.from_json(Bundle, text, max_bytes=MAX_BYTES)
    except FormatError as error:
        raise LinkError(f"{path} is not a bundle of pgvip init", f"{error.message}.") from error
    if bundle.format != FORMAT:
        raise LinkError(
            f"bundle {path} has format {bundle.format}, this pgvip knows {FORMAT}",
            hint="Install the same version of pgvip on both hosts.",
        )
    return bundle


def remember(state: Path, path: Path) -> None:
    """Note where a bundle is. LinkError when the note cannot be kept."""
    kept = [place for place in remembered(state) if place != path.absolute()]
    lines = "".join(f"{json.dumps(str(place))}\n" for place in (*kept, path.absolute())[-PLACES_MAX:])
    try:
        files.write(state / PLACES, lines)
    except OSError as error:
        raise LinkError(f"cannot note the place of the bundle in {state / PLACES}", f"{error}.") from error


def remembered(state: Path) -> tuple[Path, ...]:
    """Where bundles were written to or read from on this host, as far as that is known."""
    try:
        words = [json.loads(line) for line in files.read(state / PLACES, MAX_BYTES).splitlines()]
    except (OSError, ValueError, RecursionError):
        return ()
    return tuple(Path(word) for word in words if isinstance(word, str) and word[:1] == "/" and "\0" not in word)
