"""The clients of one lab's pair: started, stopped, and their logs. What they do is in `programs.client`.

All go through the addresses that clients are told, with short deadlines, and come back by themselves:
through the primary VIP two inserters, two that add to one shared register, one with long transactions, one with
bulk loads, one reader; through the standby VIP two readers. Past the VIPs, at each host's own address: an inserter
and a reader.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import REPOSITORY, Host
from tests.lab.lab import Lab
from tests.lab.network import ADDRESSES, PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import LabError, end_process, wait_until

GRACE_S = 40.0
"""Longer than any client's patience with a statement."""
SCHEMA = f"""
create table chaos_rows (client int not null, number bigint not null, part int not null, padding text);
create index on chaos_rows (client, number);
create table chaos_aside (n int);
create table chaos_register (value bigint not null) with (fillfactor = 10);
insert into chaos_register values (0);
grant select on chaos_aside to {CLIENT_USER};
grant select, insert on chaos_rows to {CLIENT_USER};
grant select, update on chaos_register to {CLIENT_USER};
"""
"""No row has a unique key, so that what came twice is there twice."""
INSERTERS, READERS = (1, 2), (11, 12)
PAST_THE_VIPS = (("insert", 21, "alpha"), ("insert", 22, "beta"), ("read", 31, "alpha"), ("read", 32, "beta"))


def size_of(path: Path) -> int:
    """Bytes of a file, 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def client_specs(seed: int) -> list[dict[str, Any]]:
    """The clients: kind, number, rate per second, address."""
    writers = [("insert", 1, 40.0), ("insert", 2, 40.0), ("register", 3, 4.0), ("register", 4, 4.0),
               ("long", 5, 1.0), ("bulk", 6, 0.5)]
    readers = [(11, STANDBY_VIP, 10.0), (12, STANDBY_VIP, 10.0), (13, PRIMARY_VIP, 5.0)]
    specs: list[dict[str, Any]] = [
        {"kind": kind, "client": number, "rate": rate, "vip": PRIMARY_VIP} for kind, number, rate in writers]
    specs += [{"kind": "read", "client": number, "rate": rate, "vip": vip, "writers": INSERTERS}
              for number, vip, rate in readers]
    specs += [{"kind": kind, "client": number, "rate": 5.0, "retry": 0.2, "vip": ADDRESSES[host],
               "writers": INSERTERS}
              for kind, number, host in PAST_THE_VIPS]
    for spec in specs:
        spec["dsn"] = (f"host={spec['vip']} port=5432 user={CLIENT_USER} dbname=postgres tcp_user_timeout=1000 "
                       f"sslmode=disable gssencmode=disable application_name=chaos_{spec['client']}")
        spec["seed"] = seed
    return specs


def create_tables(primary: Host) -> None:
    """The clients' tables; once in the life of a pair."""
    primary.sql(SCHEMA)


class Workload:
    """All clients of one pair, in the client's namespace. May be started again after `stop`: numbers go on.

    `directory`: where the logs go, one for each client; `logs.load` reads them.
    """

    def __init__(self, lab: Lab, directory: Path, seed: int) -> None:
        self.lab, self.directory, self.seed = lab, directory, seed
        self.starts = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin, and see a first success of an inserter and of a reader. LabError when there is none in 30 s."""
        self.starts += 1
        specs = client_specs(self.seed)
        for spec in specs:
            spec["first"] = self.starts * 10_000_000 + 1
            spec["log"] = str(self.log_of(spec["client"]))
        offsets = {number: size_of(self.log_of(number)) for number in (INSERTERS[0], READERS[0])}
        path = self.directory / "clients.json"
        path.write_text(json.dumps(specs, indent=1))
        argv = ["env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-m", "tests.chaos.programs.client", path]
        with (self.directory / "clients.err").open("a") as errors:
            self.process = self.lab.client.popen(argv, stderr=errors)
        wait_until(lambda: self.started(offsets) or self.ended(), 30, "the first successes of the clients", every_s=0.2)
        if self.ended():
            self.stop()

    def log_of(self, client: int) -> Path:
        """Where a client logs."""
        return self.directory / f"client-{client}.log"

    def started(self, offsets: dict[int, int]) -> bool:
        """True when each of these clients was answered, by its log from there on."""
        return all(any(words[7] == "ack" if words[0] == "write" else words[6] for words in self.events(client, offset))
                   for client, offset in offsets.items())

    def events(self, client: int, offset: int) -> list[Any]:
        """The whole lines of a client's log, from an offset on."""
        if not size_of(self.log_of(client)) > offset:
            return []
        with self.log_of(client).open("rb") as log:
            log.seek(offset)
            return [json.loads(line) for line in log.read().split(b"\n")[:-1]]

    def ended(self) -> bool:
        """True when the program ended without being told to."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> list[Path]:
        """End the clients, each after the outcome of what it has sent; their logs.

        LabError when the program had ended by itself, or did not end: then its histories are not whole.
        """
        if self.process is not None:
            process, self.process = self.process, None
            early = process.poll() is not None
            end_process(process, GRACE_S)
            if early or process.returncode:
                said = (self.directory / "clients.err").read_text()[-2000:]
                how = "by themselves " if early else ""
                raise LabError(f"the clients ended {how}with {process.returncode}: {said}")
        return sorted(self.directory.glob("client-*.log"))
