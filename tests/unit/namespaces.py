"""Network namespaces that a test makes, enters and removes by itself (root)."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = count(1)


def ip(*words: str, namespace: str = "") -> str:
    """Run iproute2's `ip`, inside a namespace when one is named."""
    inside = ["-n", namespace] if namespace else []
    return subprocess.run(["ip", *inside, *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def namespace() -> Iterator[str]:
    """A new network namespace with a name of its own; gone at the end."""
    name = f"pgvip-ut-{os.getpid()}-{next(_NUMBERS)}"
    ip("netns", "add", name)
    try:
        ip("link", "set", "lo", "up", namespace=name)
        yield name
    finally:
        ip("netns", "delete", name)


def cable(host: str, name: str) -> None:
    """Give a namespace an interface with a carrier; its other end hangs loose in the same namespace."""
    ip("link", "add", name, "type", "veth", "peer", "name", f"x{name}"[:15], namespace=host)
    for end in (name, f"x{name}"[:15]):
        ip("link", "set", end, "up", namespace=host)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Let the calling thread (it alone, and the children it starts) live in the namespace."""
    with open("/proc/thread-self/ns/net", "rb") as own, open(f"/run/netns/{name}", "rb") as other:  # noqa: PTH123  # descriptors
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


@contextmanager
def pair_of_hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a cable: `eth0` of both, 10.9.0.1/24 and 10.9.0.2/24, fd00:9::1 and ::2."""
    with ExitStack() as stack:
        first, second = stack.enter_context(namespace()), stack.enter_context(namespace())
        ip("link", "add", "eth0", "netns", first, "type", "veth", "peer", "name", "eth0", "netns", second)
        for number, host in enumerate((first, second), 1):
            ip("link", "set", "eth0", "up", namespace=host)
            ip("address", "add", f"10.9.0.{number}/24", "dev", "eth0", namespace=host)
            ip("address", "add", f"fd00:9::{number}/64", "dev", "eth0", "nodad", namespace=host)
        yield first, second


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")
