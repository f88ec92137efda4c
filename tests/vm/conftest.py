"""Fixtures of the VM tests: one lab and one pair for all of them, set up by README.md's steps."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import time
from collections.abc import Generator, Iterator

import pytest

from tests.lab.nodes import LabError
from tests.vm import lab as labs
from tests.vm import setting
from tests.vm.lab import VmLab
from tests.vm.scene import Scene

REPORT = pytest.StashKey[pytest.TestReport]()
TEST_S = 1500
SLICE = {
    "test_set_up_by_the_readme_and_switched_over_both_ways", "test_postgresql_is_in_its_own_unit",
    "test_upgrade_leaves_postgresql_and_addresses_alone[primary]",
}
"""What every run of scripts/test takes, in about ten minutes: that README.md's steps work on real machines."""
numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--vm-lab", default="", metavar="NAME",
                     help="use this running lab with its pair (scripts/vmlab up --pair), and leave it running")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/vm/" in str(item.path):
            item.add_marker(pytest.mark.vm)
            if item.name in SLICE:
                item.add_marker(pytest.mark.vm_slice)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TEST_S, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[REPORT] = report
    return report


@pytest.fixture(scope="session")
def vm(request: pytest.FixtureRequest) -> Iterator[VmLab]:
    """Two machines with a pair in them: a running lab's, or made from nothing."""
    name = request.config.getoption("--vm-lab")
    if name:
        yield labs.attach(name)
        return
    name, since_s = f"test-{os.getpid()}", time.monotonic()
    holder = labs.start(name, stdin=subprocess.PIPE)
    try:
        made = labs.attach(name)
        made.boot()
        labs.progress("both machines have a shell", since_s)
        setting.set_up(made, lambda text: labs.progress(text, since_s))
        yield made
        made.programs_end()
    finally:
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(labs.DOWN_S)
        labs.clean_left_overs()


def hint(vm: VmLab) -> None:
    """Give both machines power, cables and a healthy pair, whatever a test has left."""
    for host in vm.hosts.values():
        host.order("slow", delay_s=0)
        if host.power in ("off", "hung"):
            host.order("off")
            host.order("on")
        elif host.power == "frozen":
            host.order("reset")
        host.reconnect()
        host.reconnect_bmc()
    for host in vm.hosts.values():
        host.wait_ssh()
    setting.wait_healthy(vm)


@pytest.fixture
def pair(vm: VmLab, request: pytest.FixtureRequest) -> Iterator[VmLab]:
    """The pair, healthy: whatever the test before has left is repaired first."""
    hint(vm)
    yield vm
    report = request.node.stash.get(REPORT, None)
    if report is None or not report.passed:
        with contextlib.suppress(LabError):
            print(setting.describe(vm, 150))


@pytest.fixture
def scene(pair: VmLab) -> Iterator[Scene]:
    """A healthy pair with a writing client, whose logs lie with the lab."""
    # above every number that an earlier run in the same lab may have written
    first = (int(time.time()) % 10_000_000) * 1_000_000 + next(numbers)
    logs = pair.directory / "clients"
    logs.mkdir(exist_ok=True)
    made = Scene(pair, logs, first)
    try:
        made.start()
        yield made
    finally:
        made.stop()
