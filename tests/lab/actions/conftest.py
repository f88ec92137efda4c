"""The pair that the tests of the actions share: made once, and whole at the beginning of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgvip.rejoin import copy as cloning
from pgvip.system import pgtools
from tests.lab.actions.servers import restored
from tests.lab.clusters import Pair, make_pair
from tests.lab.postgres import bin_directory

if TYPE_CHECKING:
    from collections.abc import Iterator



@pytest.fixture(scope="package")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two hosts, `a` with a cluster of its own, `b` with a clone of it."""
    made = make_pair(bin_directory(request.config.getoption("--postgres")))
    try:
        made.create(made.a)
        pgtools.psql(made.a, "CREATE TABLE public.numbers (n bigint)")
        cloning.clone(made.b, print)
        yield made
    finally:
        made.close()


@pytest.fixture
def streaming(pair: Pair) -> Iterator[Pair]:
    """The pair with `a` primary and `b` streaming; each test may leave it in any state."""
    try:
        yield restored(pair)
    finally:
        pair.show_logs()
