"""In which order both hosts take a changed configuration, and when they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.errors import RefusedError
from pgvip.setup.apply_order import Look, refuse, steps

VIP = ('addresses.primary: "192.0.2.10" -> "192.0.2.30"',)
DB1 = Look("db1", primary="db1", digest="new", changes=VIP, values=(("hosts.db2.address", "192.0.2.12"),))
DB2 = replace(DB1, host="db2")


def names(*looks: Look) -> list[str]:
    return [f"{step.host} {step.name}" for step in steps(looks)]


def test_whoever_stays_lets_the_other_one_in_first() -> None:
    assert names(replace(DB1, moves=True), DB2) == ["db2 take", "db1 take", "db2 verify", "db1 verify"]
    assert names(DB1, replace(DB2, moves=True)) == ["db1 take", "db2 take", "db1 verify", "db2 verify"]


def test_else_the_standby_goes_first() -> None:
    assert names(DB1, DB2)[:2] == names(DB2, DB1)[:2] == ["db2 take", "db1 take"]
    assert names(replace(DB1, moves=True), replace(DB2, moves=True))[0] == "db2 take"


def test_it_goes_on_where_it_ended() -> None:
    done = replace(DB2, changes=())
    assert names(DB1, done) == ["db1 take", "db2 verify", "db1 verify"]
    assert names(replace(DB1, changes=()), done) == []


def test_files_that_differ_are_refused_and_named() -> None:
    refuse((DB1, DB2))
    other = replace(DB2, digest="old", values=(("hosts.db2.address", "192.0.2.13"),))
    with pytest.raises(RefusedError, match="the files of the two hosts differ") as caught:
        refuse((DB1, other))
    assert caught.value.detail == "hosts.db2.address is 192.0.2.12 on db1 and 192.0.2.13 on db2"
    with pytest.raises(RefusedError) as caught:
        refuse((DB1, replace(DB2, digest="old")))
    assert "other keys than addresses" in caught.value.detail


def test_a_host_that_cannot_take_its_file_is_named() -> None:
    with pytest.raises(RefusedError, match="db2: a change is under way") as caught:
        refuse((DB1, replace(DB2, refusal="a change is under way", hint="Wait.")))
    assert caught.value.hint == "Wait."
