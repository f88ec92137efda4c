"""One scenario on the pair of machines: clients at work, a fault, and what must be true in the end."""

from __future__ import annotations

import time
from pathlib import Path

from tests.lab.clients import ArpWatch, SqlClient, holders
from tests.lab.nodes import LabError, wait_until
from tests.vm import setting
from tests.vm.lab import Host, VmLab
from tests.vm.network import PRIMARY_VIP, STANDBY_VIP, nics
from tests.vm.probe import WriteProbe, second_writers

STEADY_WRITES = 10
RETURN_S = 600.0
"""The longest that a fenced machine may take to be a standby again: its boot, a rewind, on a machine that does much
else."""


class Scene:
    """A healthy pair with a writer on the primary VIP. `primary`, `standby`: as the scene began."""

    def __init__(self, lab: VmLab, directory: Path, first: int) -> None:
        self.lab = lab
        found = setting.roles(lab)
        self.primary = next(lab.hosts[name] for name, role in found.items() if role == "primary")
        self.standby = lab.hosts[setting.peer(self.primary.name)]
        self.writer = SqlClient(
            lab.client, "write", PRIMARY_VIP, directory / f"writer-{first}.log", rate=10, first=first, patience=4,
            password=setting.CLIENT_PASSWORD,
        )
        self.arp = ArpWatch(lab.client, directory / f"arp-{first}.log", (PRIMARY_VIP, STANDBY_VIP))
        self.probes = {name: WriteProbe(host) for name, host in lab.hosts.items()}
        self.boots = {name: host.boots for name, host in lab.hosts.items()}
        self.struck_s = time.monotonic()
        self.ended_s: float | None = None

    def start(self) -> None:
        """Clients at work, steadily."""
        self.arp.start()
        self.writer.start()
        for probe in self.probes.values():
            probe.start()
        wait_until(lambda: len(self.writer.acknowledged()) >= STEADY_WRITES, 60, "steady writes")

    def stop(self) -> None:
        """End the clients."""
        if self.ended_s is None:
            self.ended_s = time.monotonic()
        for probe in self.probes.values():
            probe.stop()
        self.writer.stop()
        self.arp.stop()

    def strike(self) -> None:
        """The fault begins now."""
        self.struck_s = time.monotonic()

    def wait_writes(self, deadline_s: float = 180.0) -> float:
        """Wait until the client writes again; the write outage since the fault."""
        try:
            self.writer.wait_success(deadline_s)
        except LabError as error:
            raise LabError(f"{error}\n{setting.describe(self.lab)}") from None
        return self.outage_s()

    def outage_s(self) -> float:
        """The longest time without a write since the fault."""
        return self.writer.outage_s(self.struck_s, self.ended_s)

    def stays(self, seconds: float, primary: Host, role: str) -> None:
        """See that a host keeps a role for a while."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            found = setting.roles(self.lab)[primary.name]
            assert found in (role, ""), f"{primary.name} is {found}\n{setting.describe(self.lab)}"
            time.sleep(1)

    def fenced(self, host: Host) -> int:
        """How often a machine was powered on again in this scene."""
        return host.boots - self.boots[host.name]

    def holders(self) -> dict[str, set[str]]:
        """Hardware addresses that answer for the VIPs now."""
        return {vip: holders(self.lab.client, vip, wait_s=0.5) for vip in (PRIMARY_VIP, STANDBY_VIP)}

    def finish(self, *, swapped: bool | None, deadline_s: float = RETURN_S) -> None:
        """The healthy state again, with everything that belongs to it."""
        setting.wait_healthy(self.lab, deadline_s)
        primary, standby = self.primary, self.standby
        found = setting.roles(self.lab)
        if found[primary.name] != "primary":
            primary, standby = standby, primary
        if swapped is not None:
            assert (primary is not self.primary) is swapped, setting.describe(self.lab)
        assert self.holders() == {PRIMARY_VIP: {nics(primary.name)[0].mac}, STANDBY_VIP: {nics(standby.name)[0].mac}}
        self.writer.wait_success()
        wait_until(lambda: self.probes[primary.name].writes, 60, f"{primary.name} is seen to take writes")
        self.stop()
        self.check_always()
        assert not self.lost(primary), sorted(self.lost(primary))[:20]
        wait_until(lambda: not self.lost(standby), 60, "the standby has every row", 1.0)
        assert primary.sql("select pg_is_in_recovery()") == "f"
        assert standby.sql("select pg_is_in_recovery()") == "t"

    def lost(self, host: Host) -> set[int]:
        """Acknowledged rows of this scene that are not on a host."""
        present = {int(line) for line in host.sql(f"select n from lab_rows where n >= {self.writer.first}").split()}
        return self.writer.acknowledged() - present

    def check_always(self) -> None:
        """No address ever had two holders, and never did both machines take writes."""
        doubles = self.arp.doubles()
        assert not doubles, doubles[:5]
        both = second_writers(*(probe.writes for probe in self.probes.values()))
        assert not both, both[:5]
