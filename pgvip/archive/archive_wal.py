"""archive_command: put one finished WAL file into every archive, durably, once.

PostgreSQL starts this file as a script for every segment, so it and what it imports use the standard library alone, and
what was archived ahead is answered for before anything else is imported.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # as a script, with -I: only the standard library is on the path
    sys.path.insert(0, __file__.rsplit("/", 3)[0])

from pgvip.archive import ahead


def main(words: list[str]) -> int:
    """Archive one file; exit code 0 or 1, never a signal, which would stop the archiver."""
    if ahead.answered(words):
        return 0
    from pgvip.archive import archive_command  # noqa: PLC0415 - the answer takes a third of the time without

    return archive_command.main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
