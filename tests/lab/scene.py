"""One scenario on a healthy pair: clients at work, a fault, and what must be true in the end."""

from __future__ import annotations

import json
import time

from tests.lab.clients import SqlClient
from tests.lab.hosts import Host
from tests.lab.nodes import wait_until
from tests.lab.pair import Pair

STEADY_WRITES = 20
FINAL_S = 60.0
STEADY_S = 1.0
"""How long the healthy state must last: longer than a daemon takes to see what has just been done to it."""


class Scene:
    """A pair with a writer, a reader and the monitors. `primary`, `standby`: as the scene began."""

    def __init__(self, pair: Pair, first: int) -> None:
        self.pair, self.lab = pair, pair.lab
        self.alpha, self.beta = pair.alpha, pair.beta
        self.switch, self.fence = pair.lab.switch, pair.lab.fence
        self.primary, self.standby = pair.host_as("primary"), pair.host_as("standby")
        self.writer: SqlClient = self.lab.writer(f"writer-{first}", rate=50, first=first)
        self.reader: SqlClient = self.lab.reader(f"reader-{first}", rate=20)
        self.begun_s = self.struck_s = time.monotonic()
        self.orders_before = len(self.fence.orders)

    def start(self) -> None:
        """Both clients at work, steadily."""
        self.writer.start()
        self.reader.start()
        wait_until(lambda: len(self.writer.acknowledged()) >= STEADY_WRITES, 30, "steady writes")
        self.struck_s = time.monotonic()

    def stop(self) -> None:
        """End the clients."""
        for client in (self.writer, self.reader):
            client.stop()

    def strike(self) -> float:
        """The fault begins now."""
        self.struck_s = time.monotonic()
        return self.struck_s

    # --- waiting ---------------------------------------------------------------------------------

    def wait_writes(self, deadline_s: float = 30.0) -> float:
        """Wait until the client writes again; the write outage since the fault."""
        self.writer.wait_success(deadline_s)
        return self.writer.outage_s(self.struck_s)

    def wait_roles(self, primary: str = "", standby: str = "", deadline_s: float = 30.0) -> None:
        """Wait for roles of the scene's first primary and first standby; "" is not looked at."""
        wanted = {self.primary.name: primary, self.standby.name: standby}
        self.pair.wait_roles(deadline_s, **{name: role for name, role in wanted.items() if role})

    def stays(self, seconds: float, primary: str = "", standby: str = "") -> None:
        """See that the roles stay so, and not only at the end. A role that is "" is not looked at."""
        wanted = {name: role for name, role in ((self.primary.name, primary), (self.standby.name, standby)) if role}
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            roles = self.pair.roles()
            assert {name: roles[name] for name in wanted} == wanted, f"{roles}\n{self.pair.describe()}"

    # --- judging ---------------------------------------------------------------------------------

    def fenced(self, host: Host) -> int:
        """How often a host was powered off by the device in this scene."""
        orders = self.fence.orders[self.orders_before :]
        return sum(order.plug == host.name and order.action == "off" and order.code == 0 for order in orders)

    def check_always(self) -> None:
        """What must hold in every scene."""
        found = self.lab.violations(self.begun_s)
        assert not found, found

    def lost(self, host: Host) -> set[int]:
        """Rows acknowledged in this scene that are not on `host`."""
        return self.lab.lost(self.writer.acknowledged(), host)

    def finish(
        self, *, swapped: bool | None, lost_max: int = 0, deadline_s: float = FINAL_S, outage_max_s: float = 0.0,
    ) -> None:
        """The healthy state again, with everything that belongs to it.

        `swapped`: the roles have changed hands, or not (None: either). `lost_max`: acknowledged rows that may
        be missing (async). `outage_max_s`: of the writes, since `strike`; 0 is no limit.
        """
        self.pair.wait_healthy(deadline_s, STEADY_S)
        primary, standby = self.pair.host_as("primary"), self.pair.host_as("standby")
        if swapped is not None:
            assert (primary is not self.primary) is swapped, f"primary is {primary.name}\n{self.pair.describe()}"
        assert self.lab.vip_holders() == {"primary": {primary.name}, "standby": {standby.name}}
        assert primary.writable()
        assert not standby.writable()
        self.writer.wait_success()
        self.reader.wait_success()
        if outage_max_s:
            outage_s = self.writer.outage_s(self.struck_s)
            assert outage_s <= outage_max_s, f"write outage {outage_s:.2f} s\n{self.pair.describe()}"
        self.stop()
        assert len(self.lost(primary)) <= lost_max, sorted(self.lost(primary))[:20]
        wait_until(lambda: self.writer_rows(standby) == self.writer_rows(primary), 20, "standby has every row")
        self.check_said(primary, standby)
        self.check_always()

    def writer_rows(self, host: Host) -> str:
        return host.sql(f"select count(*), max(n) from lab_rows where n >= {self.writer.first}")

    def says(self, host: Host, words: str) -> bool:
        """True when the status of a host, as an operator reads it, contains the words."""
        return words in self.pair.pgvip(host, "status", check=False).stdout

    def check_said(self, primary: Host, standby: Host) -> None:
        """What pgvip says of itself must agree with what is."""
        for host in (primary, standby):
            said = json.dumps(self.pair.status(host))
            for name, role in ((primary.name, "primary"), (standby.name, "standby")):
                assert name in said, said
                assert role in said, said


