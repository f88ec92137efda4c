"""A root shell in a host of a lab that is running: `scripts/lab shell alpha`."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def find_init(host: str) -> int:
    """PID 1 of the named host of any running lab; SystemExit when there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if len(words) > 4 and words[3].endswith(b"tests/lab/init.py") and f"/{host}/boots/".encode() in words[4]:
            return int(path.parent.name)
    raise SystemExit(f"no lab with a host {host!r} that is on")


def main() -> None:
    flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
    shell = ["env", f"PATH={sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PS1=\\h# ", "bash", "--norc"]
    argv = ["nsenter", f"--target={find_init(sys.argv[1])}", *flags, "--", *shell]
    os.execvp("nsenter", argv)  # noqa: S606 - the shell takes this program's place


if __name__ == "__main__":
    main()
