"""`pgvip config apply`: what is asked of which host, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pgvip.cli.config_apply import apply
from pgvip.errors import LinkError, PgvipError, RefusedError
from pgvip.setup.apply_order import Look
from pgvip.state import codec

DB1 = Look("db1", primary="db1", digest="new", changes=("hosts.db1.address: 1 -> 2",), restart=("link.port: 1 -> 2",))
DB2 = replace(DB1, host="db2", restart=())


class Hosts:
    """Two hosts; each has nothing to do once it has taken its file."""

    def __init__(self, *looks: Look) -> None:
        self.looks, self.asked = {look.host: look for look in looks}, list[str]()
        self.fails: dict[str, PgvipError] = {}

    def __call__(self, host: str, step: str) -> Mapping[str, Any]:
        self.asked.append(f"{host} {step}")
        if error := self.fails.get(f"{host} {step}"):
            raise error
        if step == "look":
            return {"look": codec.encode(self.looks[host])}
        if step == "take":
            moved = self.looks[host].moves
            self.looks[host] = replace(self.looks[host], changes=(), moves=False)
            if moved:  # now the other one can be reached
                self.looks |= {name: DB2 for name, look in self.looks.items() if look.silent}
        return {}


def run(hosts: Hosts, *, dry_run: bool = False) -> tuple[dict[str, Any], list[str]]:
    said = list[str]()
    return apply("db1", "db2", hosts, dry_run=dry_run, say=said.append), said


def test_both_take_their_files_and_what_needs_a_restart_is_said() -> None:
    hosts = Hosts(DB1, DB2)
    done, said = run(hosts)
    assert hosts.asked == ["db1 look", "db2 look", "db2 take", "db1 take", "db2 verify", "db1 verify"]
    assert done["restart"] == {"db1": ["link.port: 1 -> 2"]}
    assert said[0] == "  + db2: take hosts.db1.address: 1 -> 2"
    assert said[-1] == "  ! db1: needs a restart of pgvip: link.port: 1 -> 2"
    again, _ = run(hosts)
    assert again["text"].startswith("nothing to do")
    assert again["steps"] == []


def test_a_dry_run_asks_and_changes_nothing() -> None:
    hosts = Hosts(DB1, DB2)
    done, said = run(hosts, dry_run=True)
    assert hosts.asked == ["db1 look", "db2 look"]
    assert done["text"] == "nothing was changed (--dry-run)"
    assert said[0].startswith("  - db2: take")


def test_a_host_whose_old_address_is_gone_takes_its_file_first() -> None:
    silent = Look("db2", silent=True, refusal="its daemon does not answer")
    hosts = Hosts(replace(DB1, moves=True), silent)
    run(hosts)
    assert hosts.asked[:5] == ["db1 look", "db2 look", "db1 take", "db1 look", "db2 look"]
    assert hosts.asked[5:] == ["db2 take", "db2 verify", "db1 verify"] or hosts.asked[5] == "db2 take"
    for looks in ((replace(DB1, moves=True, refusal="no such address"), silent), (DB1, silent)):
        hosts = Hosts(*looks)
        with pytest.raises(RefusedError):
            run(hosts)
        assert hosts.asked == ["db1 look", "db2 look"]


def test_a_step_that_fails_says_how_to_go_on() -> None:
    hosts = Hosts(DB1, DB2)
    hosts.fails["db1 take"] = LinkError("no answer", hint="See why.")
    with pytest.raises(LinkError) as caught:
        run(hosts)
    assert caught.value.hint == (
        "See why. When the cause is gone, run pgvip config apply again: it goes on where it ended."
    )
    hosts.fails.clear()
    assert run(hosts)[0]["steps"][0].startswith("db1: take")
