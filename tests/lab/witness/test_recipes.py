"""The recipes of docs/witness.md, step by step, as far as one machine can: with their own commands and program."""

from __future__ import annotations

import datetime as dt
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgvip.config.witness_config import WitnessConfig
from pgvip.core.observations import WitnessStatus
from pgvip.errors import WitnessError
from pgvip.system.commands import Completed, run
from pgvip.witness import double_claim
from pgvip.witness.by_command import CommandWitness
from pgvip.witness.claims import Question
from pgvip.witness.making import new_id
from tests.lab.witness.object_store import BUCKET, KEY_ID, REGION, SECRET, Store, serve
from tests.lab.witness.servers import Server, make_server
from tests.unit.config_text import GOOD

REPOSITORY = Path(__file__).parents[3]
PROGRAM = REPOSITORY / "conf" / "witness-s3"
USER = "nobody"


def load_program() -> Any:
    loader = importlib.machinery.SourceFileLoader("witness_s3", str(PROGRAM))
    spec = importlib.util.spec_from_loader("witness_s3", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


# --- an object store -------------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def make(store: Store) -> Iterator[Callable[[], CommandWitness]]:
    """Makes the witness of the recipe: the program with its own interpreter, as an unprivileged user."""
    server = serve(store)
    home = Path(tempfile.mkdtemp(prefix="pgvip-witness-"))
    home.chmod(0o755)
    program, key = home / "witness-s3", home / "s3.key"
    shutil.copy(PROGRAM, program)
    key.write_text(f"{KEY_ID}\n{SECRET}\n")
    key.chmod(0o600)
    shutil.chown(key, USER)
    url = f"http://127.0.0.1:{server.server_port}/{BUCKET}/pgvip"
    command = (str(program), url, REGION, str(key))
    yield lambda: CommandWitness(WitnessConfig(command=command, user=USER, timeout_s=8.0))
    server.shutdown()
    server.server_close()
    shutil.rmtree(home)


@pytest.mark.nightly
def test_an_object_store_with_conditional_put_is_a_witness(make: Callable[[], CommandWitness], store: Store) -> None:
    witness_id = new_id()
    assert make().init(witness_id) == make().init(new_id()) == WitnessStatus(witness_id, 0)
    done = double_claim.test(make)
    assert (done.witness_id, done.terms) == (witness_id, double_claim.ROUNDS)
    assert make().status(done.pair_id) == WitnessStatus(witness_id, double_claim.ROUNDS)
    assert len(store.objects) == 1 + double_claim.ROUNDS


@pytest.mark.nightly
def test_the_commands_of_pgvip_ask_the_store(make: Callable[[], CommandWitness], tmp_path: Path) -> None:
    """As the daemon that will: root without its capabilities, and the program as its user."""
    words = json.dumps(make()._witness.command)
    config = configured(f'command = {words}\nuser = "{USER}"', tmp_path)
    pgvip = f"pgvip --config {config} --host db1"
    assert shell(f"{pgvip} config check --file-only", tmp_path).returncode == 0
    commands = (*(f"witness {word}" for word in ("init", "test", "status")), "check --only witness || true")
    said = shell("; ".join(f"{pgvip} {command}" for command in commands), tmp_path).stdout
    assert " is made at " in said
    assert "each of 5 terms had one winner, which stayed" in said
    assert "witness.id is not written: nothing relies on the witness yet" in said
    with_id = configured(f'command = {words}\nuser = "{USER}"\nid = "{make().status("p").witness_id}"', tmp_path)
    done = shell(f"pgvip --config {with_id} --host db1 check --only witness", tmp_path)
    assert "OK       witness  witness " in done.stdout


@pytest.mark.nightly
def test_a_store_that_knows_no_condition_is_found_out(make: Callable[[], CommandWitness], store: Store) -> None:
    """Some take the header and overwrite all the same."""
    make().init(new_id())
    store.conditional = False
    with pytest.raises(WitnessError, match="more than one host"):
        double_claim.test(make)


@pytest.mark.nightly
def test_conflicts_lost_answers_and_long_lists_change_nothing(make: Callable[[], CommandWitness], store: Store) -> None:
    witness_id = new_id()
    make().init(witness_id)
    store.conflicts, store.page = 3, 2
    for term in range(1, 6):
        assert make().claim(Question("pair", term, "a")).serial == term
    assert store.conflicts == 0
    store.lost_answers = 1
    with pytest.raises(WitnessError):
        make().claim(Question("pair", 9, "a"))
    assert make().claim(Question("pair", 9, "b")).winner == "a"
    assert make().claim(Question("other", 9, "b")).winner == "b"
    with pytest.raises(WitnessError, match="exit code 1") as caught:
        make().claim(Question("pair", 10, "a", "another-id"))
    assert "this is witness" in caught.value.detail
    assert "/witness/pgvip/pairs/pair/10" not in store.objects


def test_a_wrong_key_and_an_empty_bucket_have_their_messages(make: Callable[[], CommandWitness], store: Store) -> None:
    with pytest.raises(WitnessError) as caught:
        make().status("pair")
    assert caught.value.detail == "witness-s3: GET id: the store says 404 NoSuchKey"
    witness = make()
    Path(witness._witness.command[3]).write_text(f"{KEY_ID}\nwrong\n")
    with pytest.raises(WitnessError) as caught:
        witness.init(new_id())
    assert caught.value.detail == "witness-s3: PUT id: the store says 403 SignatureDoesNotMatch"
    assert store.objects == {}


DATED = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
EXAMPLES: dict[str, tuple[str, str, str, dict[str, str], bytes]] = {
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41":
        ("GET", "/test.txt", "", {"range": "bytes=0-9"}, b""),
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd":
        ("PUT", "/test$file.text", "", DATED, b"Welcome to Amazon S3."),
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7":
        ("GET", "/", "max-keys=2&prefix=J", {}, b""),
}  # fmt: skip


@pytest.mark.parametrize("expected", EXAMPLES)
def test_the_signatures_are_those_of_the_manual(expected: str) -> None:
    """Amazon S3 API Reference, "Examples: Signature Calculations"."""
    key = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    method, path, query, headers, body = EXAMPLES[expected]
    now = dt.datetime(2013, 5, 24, tzinfo=dt.UTC)
    named = {"host": "examplebucket.s3.amazonaws.com", **headers}
    signed = load_program().sign(method, path, query, named, body, now=now, region="us-east-1", key=key)
    assert signed["authorization"].endswith(f"Signature={expected}")


@pytest.mark.parametrize("url", ["http://192.0.2.1/x", "ftp://127.0.0.1/x", "https:///x"])
def test_nothing_is_sent_in_clear(url: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a b")
    done = run([sys.executable, PROGRAM, url, "r", key, "status"], timeout_s=20, env={"PGVIP_PAIR": "p"})
    assert (done.returncode, done.stderr) == (1, f"witness-s3: {url} is no https address\n")


# --- a small PostgreSQL on a monitoring machine ---------------------------------------------------------------------

PAGE = (REPOSITORY / "docs" / "witness.md").read_text(encoding="utf-8")


def block(heading: str, number: int) -> str:
    """A block of commands below a heading of the page."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return str(re.findall(r"```\n(.*?)```", section, re.DOTALL)[number])


@pytest.fixture
def machine() -> Iterator[Server]:
    """A server as a package installs it: no TLS, no database, no line for anybody."""
    made = make_server(bare=True)
    yield made
    made.close()


def shell(lines: str, directory: Path, **env: str) -> Completed:
    path = f"{REPOSITORY}/.venv/bin:{os.environ['PATH']}"
    done = run(["sh", "-euc", lines], timeout_s=120, cwd=directory, env={**env, "PATH": path})
    assert done.returncode == 0, done.said
    return done


@pytest.mark.nightly
def test_a_small_postgresql_on_a_monitoring_machine(machine: Server, tmp_path: Path) -> None:
    """The commands of the page, with other places; then the commands of pgvip, as on a host of the pair."""
    heading = "A small PostgreSQL on a monitoring machine"
    home = machine.home
    makes_keys = block(heading, 0).replace("witness.example.org", "witness.test")
    shell(makes_keys, home)
    hba = block(heading, 1)
    assert "hostssl pgvip_witness pgvip_witness" in hba
    lines = hba.replace("192.0.2.11/32", "127.0.0.1/32").replace("192.0.2.12/32", "127.0.0.2/32")
    with (machine.data / "pg_hba.conf").open("a") as file:
        file.write(lines)
    settings = block(heading, 2).replace("/etc/postgresql/15/main", str(home))
    with (machine.data / "postgresql.conf").open("a") as file:
        file.write(settings)
    for name in ("server.key", "server.crt", "root.crt"):
        shutil.chown(home / name, "postgres")
    machine.stop()
    machine.start()
    files = {"sslrootcert": "root.crt", "sslcert": "client.crt", "sslkey": "client.key"}
    said = " ".join(f"{key}={home}/{name}" for key, name in files.items())
    place = f"host=witness.test hostaddr=127.0.0.1 port={machine.port} dbname=pgvip_witness {said}"
    config = configured(f'postgresql = "{place}"', tmp_path)
    pgvip = f"pgvip --config {config} --host db1"
    script = shell(f"{pgvip} witness init", home).stdout
    (home / "witness.sql").write_text(script)
    on_machine = block(heading, 3)
    assert on_machine.count("runuser -u postgres") == 2
    shell(on_machine, home, PGHOST=str(home), PGPORT=str(machine.port))
    on_hosts = (block(heading, 4) + block(heading, 5)).replace("pgvip ", f"{pgvip} ")
    on_hosts = on_hosts.replace("check --only witness", "witness status --json")
    said = shell(on_hosts, home).stdout
    assert "each of 5 terms had one winner, which stayed" in said
    assert json.loads(said.splitlines()[-1])["ok"] is True


def configured(kind: str, home: Path) -> Path:
    """A configuration with this witness."""
    section = f'[witness]\n{kind}\ntimeout_s = 8\nlease_s = 12\n\n[paths]\nstate = "{home}"'
    file = home / "pgvip.toml"
    file.write_text(GOOD.replace("[paths]", section).replace("[archive]", "[archive]\nenabled = false"))
    return file


# --- a managed PostgreSQL --------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_a_managed_postgresql_by_password(server: Server, tmp_path: Path) -> None:
    """Its administrator is no superuser, comes over the network, and gives the role a password."""
    heading = "A managed PostgreSQL in a cloud"
    server.sql("CREATE ROLE cloud_admin LOGIN CREATEROLE CREATEDB PASSWORD 'admin-secret'", "postgres")
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("hostssl all cloud_admin,cloud_witness 127.0.0.0/8 scram-sha-256\n" + before)
    server.sql("SELECT pg_reload_conf()", "postgres")
    passfile = tmp_path / "pgpass"
    place = f"host=witness.test hostaddr=127.0.0.1 port={server.port} sslrootcert={server.home}/root.crt"
    words = f"{place} dbname=cloud user=cloud_witness passfile={passfile}"
    config = configured(f'postgresql = "{words}"', tmp_path)
    lines = block(heading, 1)
    address = f"host=witness.test hostaddr=127.0.0.1 port={server.port}"
    for old, new in (
        ("host=my-witness.abc.eu-central-1.rds.amazonaws.com", address),
        ("sslrootcert=/etc/pgvip/witness/root.crt", f"sslrootcert={server.home}/root.crt"),
        ("user=admin", "user=cloud_admin"), ("dbname=pgvip_witness", "dbname=cloud"),
        ("DATABASE pgvip_witness", "DATABASE cloud"), ("ROLE pgvip_witness", "ROLE cloud_witness"),
        ("*:*:*:pgvip_witness:", "*:*:*:cloud_witness:"),
        ("/etc/pgvip/witness/pgpass", str(passfile)), ("pgvip witness", f"pgvip --config {config} --host db1 witness"),
    ):  # fmt: skip
        assert old in lines, old
        lines = lines.replace(old, new)
    try:
        done = shell(lines, tmp_path, PGPASSWORD="admin-secret")
        assert "each of 5 terms had one winner, which stayed" in done.stdout
        assert server.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'cloud_witness'") == "f"
    finally:
        hba.write_text(before)
        server.sql("SELECT pg_reload_conf()", "postgres")
