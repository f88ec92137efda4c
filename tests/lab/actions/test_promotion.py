"""A promotion is over when the server itself says that it is not in recovery, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.actions import postgres
from pgvip.deadlines import wait_until
from pgvip.errors import PromoteError
from pgvip.system import pgtools
from tests.lab.actions.servers import look, role_is
from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


def test_promotion_that_does_not_come_to_its_end_is_none(streaming: Pair) -> None:
    """It was asked for, and the server serves; but it is in recovery for as long as a command of somebody's runs."""
    go_on = streaming.root / "go-on"
    command = f"until test -e {go_on}; do sleep 0.05; done"
    pgtools.psql(streaming.b, f"ALTER SYSTEM SET recovery_end_command = '{command}'; SELECT pg_reload_conf();")
    shown = "SHOW recovery_end_command"
    wait_until(lambda: pgtools.psql(streaming.b, shown).strip() == command, 10, what="the command in effect")
    postgres.stop(streaming.a, clean=False)
    hasty = replace(streaming.b, postgres=replace(streaming.b.postgres, promote_timeout_s=0.5))
    try:
        with pytest.raises(PromoteError, match="promotion of the server"):
            postgres.promote(hasty)
        assert look(streaming.b).in_recovery
    finally:
        go_on.touch()
    wait_until(lambda: role_is(streaming.b, in_recovery=False), 20, what="the end of the promotion")
    pgtools.psql(streaming.b, "ALTER SYSTEM RESET recovery_end_command; SELECT pg_reload_conf();")
    go_on.unlink()
