"""Writes and fsyncs a small file on every file system of a cluster, on demand. Runs as a process of its own.

Started bare (`python -I -S -E`), with no import of this package: it costs 8 MB instead of 80, and when a disk
hangs it is this process that hangs, and no thread of the daemon.

Arguments: user id, group id, data directories. Each line on standard input asks for one round and is answered
by one line on standard output: the words of the question, a tab, and an error or nothing. It ends with its
input.
"""

import errno
import os
import sys

NAME = ".pgvip-probe"
NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR)
"""What a file system without O_TMPFILE answers, and a kernel without it (open(2))."""
BYTES = 16384
"""More than fits into an inode and than a fragment left in a full file system's last block."""


def cluster_directories(data_directory: str) -> list[str]:
    """List the data directory, and WAL and tablespaces where they are on file systems of their own."""
    candidates = [data_directory, os.path.join(data_directory, "pg_wal")]  # noqa: PTH118  # pathlib costs 2 MB
    spaces = os.path.join(data_directory, "pg_tblspc")  # noqa: PTH118 - as above
    if os.path.isdir(spaces):  # noqa: PTH112 - as above
        candidates += [os.path.join(spaces, name) for name in sorted(os.listdir(spaces))]  # noqa: PTH118, PTH208 - as above
    found: list[str] = []
    devices: set[int] = set()
    for path in candidates:
        try:
            device = os.stat(path).st_dev  # noqa: PTH116 - as above
        except FileNotFoundError:
            if path == data_directory:
                raise
            continue
        if device not in devices:
            devices.add(device)
            found.append(os.path.realpath(path))
    return found


def write_and_sync(directory: str) -> None:
    """Write a fresh file (an old one would need no new block on a full disk) and fsync it.

    It has no name: pg_rewind, which lists the directory, would fail on a name that vanishes.
    """
    try:
        descriptor = os.open(directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        if failure.errno not in NO_TMPFILE:
            raise
        descriptor = open_named(directory)
    try:
        written = os.write(descriptor, b"\0" * BYTES)
        if written != BYTES:
            raise OSError(28, "No space left on device")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_named(directory: str) -> int:
    """Open the file of a file system that has no nameless ones; it is emptied, and never removed."""
    path = os.path.join(directory, NAME)  # noqa: PTH118  # pathlib costs 2 MB
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def look(data_directories: list[str]) -> str:
    """One round; returns what failed first, or nothing."""
    for data_directory in data_directories:
        where = data_directory
        try:
            for where in cluster_directories(data_directory):
                write_and_sync(where)
        except OSError as failure:
            return f"{where}: {failure.strerror}"
    return ""


def main() -> None:
    """Become the cluster's owner, so that no file of root's turns up in a base backup; then answer."""
    user, group = int(sys.argv[1]), int(sys.argv[2])
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    os.umask(0o077)
    while True:
        question = os.read(0, 4096)
        if not question:
            return
        answer = look(sys.argv[3:]).replace("\n", " ")
        os.write(1, question.splitlines()[-1] + b"\t" + answer.encode(errors="replace")[:900] + b"\n")


if __name__ == "__main__":
    main()
