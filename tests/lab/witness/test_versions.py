"""The witness in other versions of PostgreSQL than the distribution's: made, asked, and with nothing to do but claim.

In PGVIP_WITNESS_SERVERS further directories of programs can be named, with colons between them (docs/dev/testing.md).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgvip.config.witness_config import WitnessConfig
from pgvip.witness import double_claim
from pgvip.witness.by_postgresql import PostgresWitness
from pgvip.witness.making import new_id, run
from tests.lab.postgres import bin_directory
from tests.lab.witness.servers import DATABASE, make_server

FURTHER = [path for path in os.environ.get("PGVIP_WITNESS_SERVERS", "").split(":") if path]


@pytest.mark.nightly
@pytest.mark.parametrize("version", ["16", "18", *FURTHER])
def test_each_version_is_a_witness(version: str) -> None:
    server = make_server(binaries=Path(version) if version.startswith("/") else bin_directory(version), bare=True)
    try:
        hba = "local all all trust\nhost pgvip_witness pgvip_witness 127.0.0.1/32 trust\n"
        (server.data / "pg_hba.conf").write_text(hba)
        server.sql("SELECT pg_reload_conf()", "postgres")
        server.sql(f"CREATE DATABASE {DATABASE}", "postgres")
        place = f"host=127.0.0.1 port={server.port} dbname={DATABASE} sslmode=disable"
        config = WitnessConfig(postgresql=place, timeout_s=8.0)
        # The rights of who may make roles and is no superuser changed with 16.
        server.sql("CREATE ROLE manager LOGIN CREATEROLE CREATEDB", "postgres")
        server.sql("CREATE DATABASE managed OWNER manager", "postgres")
        managed = WitnessConfig(postgresql=place.replace(f"dbname={DATABASE}", "dbname=managed user=managed_role"))
        first = run(managed, f"host={server.home} user=manager", new_id())
        assert run(managed, f"host={server.home} user=manager", new_id()) == first
        witness_id = run(config, server.admin, new_id())
        assert run(config, server.admin, new_id()) == witness_id
        done = double_claim.test(lambda: PostgresWitness(config))
        assert (done.witness_id, done.terms) == (witness_id, double_claim.ROUNDS)
        witness = PostgresWitness(config)
        assert witness.ask("witness_rights", ()) == []
        assert len(witness.ask("witness_claims", (done.pair_id,))) == done.terms
        assert int(witness.ask("witness_session", ())[0][3]) == int(server.sql("SHOW server_version_num"))
        witness.close()
    finally:
        server.close()
