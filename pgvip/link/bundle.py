"""The bundle: everything that the second host needs to become one of the pair, in one root-only file.

`pgvip init` writes it on the first host, the operator carries it over (scp as root), `pgvip clone` or `pgvip join`
reads it. It holds a private key and passwords, so it is never printed, and refused when others can read it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgvip.errors import FormatError, LinkError
from pgvip.state import codec, files

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """What `init` hands to the second host.

    `host`: whose bundle it is; `first_host`: the host of even terms. `config`: text of the configuration file; `key`,
    `certificate`, `peer_certificate`: PEM for the link; `passwords`: text of the libpq password file. `extra`: further
    words of `init` for `clone` and `join`. Secrets are kept out of the repr.
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
    format: int = FORMAT


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write the file (0600, by rename). LinkError when that fails."""
    try:
        files.write(path, codec.to_json(bundle, max_bytes=MAX_BYTES) + "\n")
    except OSError as error:
        raise LinkError(f"cannot write the bundle {path}", f"{error}.") from error


def read_bundle(path: Path) -> Bundle:
    """Read the file. LinkError when it is not there, not a bundle, of a newer pgvip, or open to others."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise LinkError(
            f"cannot read the bundle {path}", f"{error}.", "pgvip init writes it on the first host; copy it as root."
        ) from error
    if mode & 0o077:
        raise LinkError(
            f"bundle {path} can be read by others",
            f"Its mode is {mode:o}, and it holds a private key and passwords.",
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
