"""A file system in user space that shows a directory read-only and can hang, as a program (root).

    stalling_fs.py SOURCE TARGET STALL-FILE

While STALL-FILE exists no request is answered, and a process that waits for one is in D state, which not even
SIGKILL ends: what a dead NFS server does to a hard mount. Speaks the kernel's FUSE protocol 7.31 itself
(linux/fuse.h), so that no library is needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
import time
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 26, 27, 28, 29, 36, 38, 42
SILENT = {FORGET, INTERRUPT, BATCH_FORGET}
HEADER = struct.Struct("=IIQQIII4x")
ANSWER = struct.Struct("=IiQ")
ATTRIBUTES = struct.Struct("=6Q10I")
READ_IN = struct.Struct("=QQI")
MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4


class FileSystem:
    """One mount. Nodes are numbered as they are looked up and never forgotten."""

    def __init__(self, source: str, stall: Path) -> None:
        self.paths = {1: source}
        self.numbers = {source: 1}
        self.stall = stall

    def serve(self, device: int) -> None:
        """Answer until the file system is unmounted."""
        while True:
            try:
                request = os.read(device, 1 << 20)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                raise
            _, opcode, unique, node, *_ = HEADER.unpack_from(request)
            while self.stall.exists():
                time.sleep(0.05)
            if opcode in SILENT:
                continue
            try:
                code, body = 0, self.answer(opcode, node, request[HEADER.size :])
            except OSError as error:
                code, body = -(error.errno or errno.EIO), b""
            try:
                os.write(device, ANSWER.pack(ANSWER.size + len(body), code, unique) + body)
            except FileNotFoundError:  # the asker has gone
                continue

    def answer(self, opcode: int, node: int, body: bytes) -> bytes:
        """The body of one answer; OSError becomes the error code."""
        path = self.paths.get(node, "")  # INIT and STATFS have none
        if opcode == INIT:
            return struct.pack("=IIIIHHIIHHI28x", 7, 31, 1 << 17, 0, 12, 9, 1 << 17, 1, 0, 0, 0)
        if opcode == LOOKUP:
            return self.entry(os.path.join(path, os.fsdecode(body.rstrip(b"\0"))))  # noqa: PTH118 - bytes in, str out
        if opcode == GETATTR:
            return struct.pack("=QII", 0, 0, 0) + attributes(path, node)
        if opcode in {OPEN, OPENDIR}:
            return struct.pack("=QII", 0, 0, 0)
        if opcode == READ:
            _, offset, size = READ_IN.unpack_from(body)
            with Path(path).open("rb") as file:
                return os.pread(file.fileno(), size, offset)
        if opcode == READDIR:
            _, offset, size = READ_IN.unpack_from(body)
            return listing(path, offset, size)
        if opcode == STATFS:
            return struct.pack("=5Q4I24x", 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096, 0)
        if opcode in {RELEASE, RELEASEDIR, FLUSH, DESTROY}:
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def entry(self, path: str) -> bytes:
        """A looked-up name; nothing about it may be cached."""
        os.lstat(path)
        node = self.numbers.setdefault(path, len(self.numbers) + 1)
        self.paths[node] = path
        return struct.pack("=QQQQII", node, 0, 0, 0, 0, 0) + attributes(path, node)


def attributes(path: str, node: int) -> bytes:
    found = os.lstat(path)
    times = [int(found.st_atime), int(found.st_mtime), int(found.st_ctime)]
    return ATTRIBUTES.pack(node, found.st_size, found.st_blocks, *times, 0, 0, 0, found.st_mode, found.st_nlink,
                           found.st_uid, found.st_gid, 0, 4096, 0)


def listing(path: str, offset: int, size: int) -> bytes:
    """Directory entries from the `offset`th on that fit into `size` bytes."""
    packed = b""
    for number, name in enumerate([".", "..", *sorted(os.listdir(path))]):  # noqa: PTH208 - names are all it takes
        if number < offset:
            continue
        raw = os.fsencode(name)
        kind = stat.S_IFMT(os.lstat(f"{path}/{name}").st_mode) >> 12
        one = struct.pack("=QQII", number + 1, number + 1, len(raw), kind) + raw
        one += bytes(-len(one) % 8)
        if len(packed) + len(one) > size:
            break
        packed += one
    return packed


def main() -> None:
    source, target, stall = sys.argv[1:4]
    device = os.open("/dev/fuse", os.O_RDWR)
    Path(target).mkdir(parents=True, exist_ok=True)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(MS_RDONLY | MS_NOSUID | MS_NODEV)
    if libc.mount(b"pgvip-lab", target.encode(), b"fuse.pgvip-lab", flags, data.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)
    FileSystem(source, Path(stall)).serve(device)


if __name__ == "__main__":
    main()
