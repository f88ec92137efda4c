"""Fixtures of all tests in the lab: a lab of one's own, or a healthy real pair that tests share."""

from __future__ import annotations

import itertools
import re
import signal
from collections.abc import Generator, Iterator

import pytest

from tests.lab.lab import Lab
from tests.lab.nodes import LabError
from tests.lab.pair import Options, Pair
from tests.lab.scene import Scene
from tests.lab.store import PairStore

IN_LAB = re.compile("/tests/(lab|security/pair)/")
REPORT = pytest.StashKey[pytest.TestReport]()
first_numbers = itertools.count(1_000_000, 1_000_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", default="", metavar="N", help="major version: 16 or 18, from a Python package")
    parser.addoption("--nightly", action="store_true", help="the tests marked nightly, too")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts what runs beside it so, and servers that tests stop by this signal would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "pair(**options): how the pair of the test is configured, see pair.Options")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark all as lab tests, and bring those together that can share a pair; leave out what takes a night."""
    if not config.getoption("--nightly"):
        long = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    ours = [item for item in items if IN_LAB.search(str(item.path))]
    for item in ours:
        item.add_marker(pytest.mark.lab)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))
    items.sort(key=lambda item: str(options_of(item)) if item.get_closest_marker("pair") else "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[REPORT] = report
    return report


def options_of(item: pytest.Item) -> Options:
    """The pair that a test asks for by its mark, or the usual one."""
    mark = item.get_closest_marker("pair")
    version = item.config.getoption("--postgres", "")
    return Options(**{"version": version, **(mark.kwargs if mark else {})})


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of its own for one test: nothing booted."""
    with Lab() as made:
        yield made


@pytest.fixture(scope="session")
def pairs() -> Iterator[PairStore]:
    """Made pairs, kept from test to test while they are healthy."""
    store = PairStore()
    yield store
    store.close()


@pytest.fixture
def pair(pairs: PairStore, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A healthy pair; another test may have used it before, and it is given up when the test fails."""
    made = pairs.get(options_of(request.node))
    yield made
    report = request.node.stash.get(REPORT, None)
    if report is None or not report.passed:
        print(made.describe(80))
        pairs.discard()


@pytest.fixture
def scene(pair: Pair, pairs: PairStore) -> Iterator[Scene]:
    """A healthy pair with a writing and a reading client and all monitors; checked once more at the end."""
    made = Scene(pair, next(first_numbers))
    try:
        made.start()
        yield made
        made.check_always()
    except LabError:
        pairs.discard()
        raise
    finally:
        made.stop()
