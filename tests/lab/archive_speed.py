"""How fast archive-wal is on this machine, with WAL of a real server: one file after the other, as PostgreSQL calls it.

scripts/archive-speed [--files N]   root; needs PostgreSQL, zstd, lz4 and gzip; a minute or two
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pgvip.archive import archive_wal, restore_wal
from pgvip.archive.packing import PACKINGS
from pgvip.system import pgtools, wal_commands
from tests.lab.clusters import make_pair
from tests.lab.postgres import bin_directory

MB = 1 << 20
WORK = """
CREATE TABLE IF NOT EXISTS public.orders (id bigint PRIMARY KEY, customer int, at timestamptz DEFAULT now(), note text);
INSERT INTO public.orders SELECT i, i % 9973, now(), md5(i::text) FROM generate_series({0}, {1}) AS i;
UPDATE public.orders SET note = md5(note), customer = customer + 1 WHERE id % 3 = 0 AND id >= {0};
SELECT pg_switch_wal();
"""


def make_wal(target: Path, count: int) -> list[Path]:
    """So many segments that a server wrote: inserts, updates, an index, full-page images."""
    pair = make_pair(bin_directory(""))
    try:
        pair.create(pair.a)
        # Without it a checkpoint recycles files about as fast as they come.
        pgtools.psql(pair.a, f"ALTER SYSTEM SET wal_keep_size = '{(count + 4) * 16}MB'")
        pgtools.psql(pair.a, "SELECT pg_reload_conf()")
        wal, number = pair.a.postgres.data_directory / "pg_wal", 0
        while len(list(wal.glob("0*"))) <= count:
            pgtools.psql(pair.a, WORK.format(number + 1, number + 40_000), timeout_s=120)
            number += 40_000
        names = sorted(path for path in wal.iterdir() if len(path.name) == 24)
        for path in names[1 : count + 1]:
            shutil.copy2(path, target)
    finally:
        pair.close()
    return sorted(target.iterdir())


def script(module: str, *words: object) -> list[str]:
    """The words of a command, as PostgreSQL runs it."""
    return [wal_commands.interpreter(), "-I", "-S", str(Path(module).resolve()), *map(str, words)]


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(text + "\n")


def timed(commands: list[list[str]], codes: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Seconds by the clock, and of CPU, for all of them, one after the other."""
    before, begun_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for words in commands:
        if subprocess.run(words, check=False).returncode not in codes:
            raise SystemExit(f"failed: {' '.join(words)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begun_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(root: Path, files: list[Path], word: str) -> str:
    """One row of the table: archiving all of them in one packing, and restoring them."""
    place, size_mb = root / word, sum(file.stat().st_size for file in files) / MB
    sending = [script(archive_wal.__file__, "--directory", place, "--compress", word, file) for file in files]
    clock_s, cpu_s = timed(sending)
    options = ("--directory", place, "--flag", "/none")
    back_s, _ = timed([script(restore_wal.__file__, *options, file.name, root / "back" / file.name) for file in files])
    packed_mb = sum(file.stat().st_size for file in place.glob("0*")) / MB
    figures = f"{size_mb / clock_s:.0f} | {cpu_s / len(files):.2f} | {size_mb / cpu_s:.0f} | {packed_mb / size_mb:.0%}"
    return f"| {word} | {figures} | {size_mb / back_s:.0f} |"


def backlog(root: Path, files: list[Path]) -> str:
    """The line for files that all wait: each is asked for as the archiver does, through a shell."""
    wal, place = root / "data" / "pg_wal", root / "behind"
    (wal / "archive_status").mkdir(parents=True)
    place.mkdir()
    for file in files:
        os.link(file, wal / file.name)
        (wal / "archive_status" / f"{file.name}.ready").touch()
    words = script(archive_wal.__file__, "--directory", place, wal_commands.AHEAD)
    waits_s, (clock_s, cpu_s) = [], (0.0, 0.0)
    for file in files:
        took_s, used_s = timed([["sh", "-c", f"{shlex.join(words)} {wal / file.name}"]])
        clock_s, cpu_s = clock_s + took_s, cpu_s + used_s
        waits_s.append(took_s)
        ready = wal / "archive_status" / f"{file.name}.ready"
        ready.rename(ready.with_suffix(".done"))
    size_mb = sum(file.stat().st_size for file in files) / MB
    return (
        f"a backlog, unpacked: {size_mb / clock_s:.0f} MB/s, {cpu_s / len(files):.3f} s of CPU per segment; "
        f"an answer takes {statistics.median(waits_s):.3f} s, the longest {max(waits_s):.2f} s"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="scripts/archive-speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20, help="segments of 16 MB [%(default)s]")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgvip-speed-", dir="/var/tmp") as made:
        root = Path(made)
        for name in ("wal", *PACKINGS, "back"):
            (root / name).mkdir()
        files = make_wal(root / "wal", given.files)
        say(f"{len(files)} segments; load of the machine before: {os.getloadavg()[0]:.1f}\n")
        say("| packing | MB/s | CPU s per segment | MB per CPU s | size | restore MB/s |\n|---|---|---|---|---|---|")
        for word in PACKINGS:
            say(measure(root, files, word))
        say(f"\n{backlog(root, files)}")
        missing = script(restore_wal.__file__, "--directory", root / "none", "--flag", "/none", "0" * 24, "/none")
        clock_s, cpu_s = timed([missing] * 10, codes=(1,))
        say(f"start of a script (a file that is not there): {clock_s / 10:.3f} s, {cpu_s / 10:.3f} s of CPU")


if __name__ == "__main__":
    main()
