"""Many idle sessions of applications, as a program: each is made again as soon as it ends.

    client_crowd.py COUNT HOST PORT USER DATABASE FILE

FILE has how many sessions are there; it is written anew whenever that has changed. The protocol is spoken by hand
(PostgreSQL manual, Frontend/Backend Protocol): hundreds of sessions must cost the machine little besides the server's.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PROTOCOL = 3 << 16
RETRY_S = 0.05
CONNECT_S = 1.0
WRITE_EVERY_S = 0.1
READY = b"Z"


async def hold(crowd: set[int], number: int, host: str, port: int, startup: bytes) -> None:
    """One session at a time, for ever."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_S)
            try:
                writer.write(startup)
                while True:
                    kind, length = struct.unpack(">cI", await reader.readexactly(5))
                    await reader.readexactly(length - 4)
                    if kind == READY:
                        crowd.add(number)
            finally:
                crowd.discard(number)
                writer.close()
        await asyncio.sleep(RETRY_S)


async def tell(crowd: set[int], write: Callable[[str], object]) -> None:
    """Keep the file as it is."""
    said = -1
    while True:
        if len(crowd) != said:
            said = len(crowd)
            write(str(said))
        await asyncio.sleep(WRITE_EVERY_S)


async def main() -> None:
    count, host, port, user, database, path = sys.argv[1:]
    words = f"user\0{user}\0database\0{database}\0application_name\0crowd\0\0".encode()
    startup = struct.pack(">II", len(words) + 8, PROTOCOL) + words
    crowd: set[int] = set()
    holders = [hold(crowd, number, host, int(port), startup) for number in range(int(count))]
    await asyncio.gather(tell(crowd, Path(path).write_text), *holders)


if __name__ == "__main__":
    asyncio.run(main())
