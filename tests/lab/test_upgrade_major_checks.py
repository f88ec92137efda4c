"""`pgvip upgrade-major` on a pair at work: what it finds, and that nothing is disturbed. The rest is nightly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.hosts import Host
from tests.lab.postgres import bin_directory
from tests.lab.scene import Scene

NEXT = "/var/lib/postgresql/next"


def found(scene: Scene, host: Host) -> dict[str, Any]:
    words = ("upgrade-major", "--to", bin_directory("18"), "--data", NEXT, "--json")
    document: dict[str, Any] = json.loads(scene.pair.pgvip(host, *words, check=False).stdout)
    return document


def levels(document: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["level"] for one in document["checks"] if one["level"] != "OK"}


@pytest.mark.pair(version="16")
@pytest.mark.timeout(120)
def test_what_prevents_an_upgrade_is_found_while_the_pair_serves(scene: Scene) -> None:
    first, second = scene.primary, scene.standby
    before = {host: sorted(host.path("/var/lib/postgresql").iterdir()) for host in (first, second)}
    document = found(scene, first)
    assert levels(document) == {}
    assert document["outage"]["linked"] is True
    assert {step["host"] for step in document["steps"]} == {first.name, second.name}

    refused = found(scene, second)
    assert (refused["ok"], refused["error"]) == (False, "this host is the standby")

    hba, there = first.path("/var/lib/postgresql/data/pg_hba.conf"), second.path(NEXT)
    good = hba.read_text()
    hba.write_text(f"{good}host all all ::1/128 krb5\n")  # in force only after a reload
    there.mkdir()
    (there / "mine").touch()
    document = found(scene, first)
    hba.write_text(good)
    assert (there / "mine").exists()
    (there / "mine").unlink()
    there.rmdir()
    assert levels(document) == {"new-directory": "CRITICAL", "access": "CRITICAL"}
    assert before == {host: sorted(host.path("/var/lib/postgresql").iterdir()) for host in (first, second)}
    assert scene.pair.host_as("primary") is first
