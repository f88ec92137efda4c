"""Who takes writes and who answers for an address: watched from beside, all through a run.

The prober on each host asks PostgreSQL on its own socket five times a second for a transaction id, and for the
start of its postmaster. It is told "yes" by a server that is read-write, also when no standby confirms its commits:
two servers that are read-write at once are the fault, before any client's commit tells of it. It belongs to the
host: it loses power with it and starts again at each boot. (`tests.lab.clients.WriteProbe`, which each lab has.)
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.chaos.history import Content, FinalState
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.nodes import LabError, wait_until

REPLAY_S = 60.0
FETCH_S = 120.0


class Probers:
    """The lab's write probers and ARP watch; their logs are put beside those of the clients.

    The probers run since the hosts booted.
    """

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab, self.directory = lab, directory

    def start(self) -> None:
        """Begin to ask for both VIPs."""
        self.lab.arp.start()

    def stop(self) -> list[Path]:
        """End what was started, and keep the logs; where they are now."""
        self.lab.arp.stop()
        return self.collect()

    def collect(self) -> list[Path]:
        """Put the logs as they are now beside those of the clients."""
        kept = []
        for source, name in [*((probe.log, f"probe-{host}.log") for host, probe in self.lab.probes.items()),
                             (self.lab.arp.log, "arp.log")]:
            if source.exists():
                kept.append(Path(shutil.copyfile(source, self.directory / name)))
        return kept


def fetch_final(primary: Host, standby: Host | None) -> FinalState:
    """The clients' tables as both hosts have them; the clients must have ended.

    LabError when the standby is none, or has not replayed everything within a minute.
    """
    content = content_of(primary)
    if standby is None:
        return FinalState(content)
    if standby.writable():
        raise LabError(f"{standby.name} is no standby: it takes writes")
    end = primary.sql("select pg_current_wal_flush_lsn()")
    query = f"select pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '{end}') >= 0"
    wait_until(lambda: standby.sql(query, check=False) == "t", REPLAY_S, f"{standby.name} has replayed {end}", 0.2)
    return FinalState(content, content_of(standby))


def content_of(host: Host) -> Content:
    """What the tables of one host hold now."""
    listed = host.sql("select client, number, count(*), count(distinct part) from chaos_rows group by 1, 2",
                      timeout_s=FETCH_S)
    rows = {}
    for line in listed.splitlines():
        client, number, count, parts = map(int, line.split("|"))
        rows[client, number] = (count, parts)
    register = host.sql("select value from chaos_register").splitlines()
    if len(register) != 1:
        raise LabError(f"{host.name}: the register has {len(register)} rows")
    return Content(rows, int(register[0]))
