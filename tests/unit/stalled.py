"""A file system that never answers: FUSE without anybody behind it. No library is needed for that."""

from __future__ import annotations

import ctypes
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MNT_DETACH = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def stalled(point: Path) -> Iterator[None]:
    """Mount it there; everything that touches it hangs until the end of the block."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode={stat.S_IFDIR:o},user_id=0,group_id=0,allow_other"
    try:
        if _LIBC.mount(b"stalled", os.fsencode(point), b"fuse", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount failed")
        yield
    finally:
        os.close(device)  # whoever hangs gets an error now
        _LIBC.umount2(os.fsencode(point), MNT_DETACH)
