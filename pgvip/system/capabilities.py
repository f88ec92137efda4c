"""What root may not do here: the capabilities that are given up, so that the kernel refuses what is forgotten.

Without them root is an ordinary user to files: it opens, changes and removes what belongs to root, and of what belongs
to PostgreSQL's user only what everybody may. A link, a FIFO or a directory that this user exchanges then leads to an
error, and to no file of another (capabilities(7)). Programs that are started inherit it.
"""

from __future__ import annotations

import ctypes
import os
import threading

from pgvip.errors import PgvipError

GIVEN_UP = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
}
"""Names and numbers (include/uapi/linux/capability.h)."""

IPC_LOCK = 14
"""CAP_IPC_LOCK: memory is locked without a limit."""

PR_SET_DUMPABLE, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 23, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
VERSION_3 = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3: 64 bits, in two words."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_LIBC = ctypes.CDLL(None, use_errno=True)


def give_up() -> None:
    """Give them up for good, in this process and in all that it starts. Can be repeated.

    Before there is a second thread: the kernel takes them from the calling thread alone. PgvipError when it refuses.
    """
    assert threading.active_count() == 1, "another thread would keep what is given up here"
    _control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in GIVEN_UP.values():
        if os.geteuid() == 0 and _control(PR_CAPBSET_READ, number):
            _control(PR_CAPBSET_DROP, number)
    words = _get()
    mask = ~sum(1 << number for number in GIVEN_UP.values())
    words[0].effective &= mask
    words[0].permitted &= mask
    words[0].inheritable &= mask
    _set(words)


def give_up_all() -> None:
    """Have no capability and get none by any program, and let no process of the same user look into this one."""
    _control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _set((_Word * 2)())
    _control(PR_SET_NO_NEW_PRIVS, 1)
    _control(PR_SET_DUMPABLE, 0)


def held() -> frozenset[str]:
    """Those of GIVEN_UP that this thread has, or could have again."""
    words = _get()
    mine = words[0].effective | words[0].permitted | words[0].inheritable
    return frozenset(
        name for name, number in GIVEN_UP.items() if mine >> number & 1 or _control(PR_CAPBSET_READ, number)
    )


def may(number: int) -> bool:
    """Whether this thread has a capability in force."""
    return bool(_get()[number // 32].effective >> number % 32 & 1)


def _control(option: int, value: int) -> int:
    done = int(_LIBC.prctl(option, *(ctypes.c_ulong(one) for one in (value, 0, 0, 0))))
    if done < 0:
        raise _failed("prctl")
    return done


def _get() -> ctypes.Array[_Word]:
    words = (_Word * 2)()
    if _LIBC.capget(ctypes.byref(_Header(VERSION_3, 0)), words) < 0:
        raise _failed("capget")
    return words


def _set(words: ctypes.Array[_Word]) -> None:
    if _LIBC.capset(ctypes.byref(_Header(VERSION_3, 0)), words) < 0:
        raise _failed("capset")


def _failed(call: str) -> PgvipError:
    reason = os.strerror(ctypes.get_errno())
    return PgvipError("could not give up capabilities", f"{call}: {reason}.", "See CapabilityBoundingSet= of the unit.")
