"""A start that ends half way: whoever starts the server after it must do no harm."""

from __future__ import annotations

import pytest

from pgvip.actions import postgres
from pgvip.errors import PostgresError
from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


def test_data_are_a_standbys_before_anything_else_is_written(streaming: Pair) -> None:
    """It ends for want of the file that includes its settings."""
    postgres.stop(streaming.b, clean=True)
    signal_file = streaming.b.postgres.data_directory / "standby.signal"
    signal_file.unlink()
    main = streaming.b.postgres.config_directory / "postgresql.conf"
    away = main.rename(main.with_suffix(".away"))
    try:
        with pytest.raises(PostgresError, match="could not write"):
            postgres.start(streaming.b, standby=True, sync=False)
    finally:
        away.rename(main)
    assert signal_file.exists()
