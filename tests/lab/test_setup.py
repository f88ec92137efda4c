"""`init`, `clone` and `join` on real databases: new, in service, in Debian's layout; and what they refuse."""

from __future__ import annotations

import shutil

import pytest

from tests.lab.hosts import DATA_DIRECTORY, SOCKET_DIRECTORY, Host
from tests.lab.lab import Lab
from tests.lab.network import NETWORK, PRIMARY_VIP
from tests.lab.nodes import wait_until
from tests.lab.pair import BUNDLE, CONFIG, Options, Pair, config_text
from tests.lab.postgres import PlainCluster

pytestmark = pytest.mark.timeout(180)
ALLOW = ("--allow", f"{NETWORK}=trust")


@pytest.fixture
def pair(lab: Lab) -> Pair:
    """Both hosts booted, the configuration on alpha, nothing else."""
    made = Pair(lab, Options())
    for host in made.hosts.values():
        host.boot(start_daemon=False)
    write_config(made, made.alpha)
    return made


def write_config(pair: Pair, host: Host, options: Options | None = None) -> None:
    (host.directory / CONFIG).write_text(config_text(options or pair.options))


def bring_bundle(pair: Pair) -> None:
    shutil.copy2(pair.alpha.directory / "etc/beta.bundle", pair.beta.directory / "etc/beta.bundle")


def refusal(pair: Pair, host: Host, *words: object) -> str:
    """What a command says that must fail."""
    done = pair.pgvip(host, *words, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def in_service(pair: Pair) -> tuple[PlainCluster, PlainCluster]:
    """A plain primary and its standby, which an operator set up by hand with a slot of another name."""
    alpha, beta = PlainCluster(pair.alpha), PlainCluster(pair.beta)
    alpha.create()
    argv = [beta.bin / "pg_basebackup", "-h", pair.alpha.address, "-D", DATA_DIRECTORY, "-R", "-C", "-S", "by_hand",
            "-c", "fast", "--no-sync"]
    pair.beta.run(argv, user="postgres", timeout_s=60)
    beta.start()
    pair.alpha.sql("alter system set synchronous_standby_names = 'somebody'")
    return alpha, beta


def test_pair_in_service_is_adopted_without_a_restart_or_a_copy(pair: Pair) -> None:
    in_service(pair)
    alpha, beta = pair.alpha, pair.beta
    before = (alpha.postmaster(), beta.postmaster())
    said = pair.pgvip(alpha, "init", "--bundle", BUNDLE, *ALLOW).stdout
    assert "needs a restart of the server, and is not in force yet: archive_mode, wal_log_hints" in said
    assert "data checksums" in said
    assert alpha.sql("show synchronous_standby_names") == ""
    bring_bundle(pair)
    said = pair.pgvip(beta, "join", BUNDLE).stdout
    assert "slot by_hand on alpha is no longer used" in said
    alpha.sql("select pg_drop_replication_slot('by_hand')")
    assert alpha.sql("select application_name from pg_stat_replication") == "pgvip_beta"
    assert (alpha.postmaster(), beta.postmaster()) == before, pair.describe(60)
    pair.start_services(alpha)
    pair.start_services(beta)
    pair.wait_healthy()
    assert (alpha.postmaster(), beta.postmaster()) == before, pair.describe(60)


def test_init_shows_what_it_would_do_and_does_nothing(pair: Pair) -> None:
    said = pair.pgvip(pair.alpha, "init", "--dry-run").stdout
    assert "- new database cluster" in said
    assert not (pair.alpha.directory / "postgresql/data").exists()
    assert list((pair.alpha.directory / "state").iterdir()) == []


def test_init_can_be_repeated_after_each_step(pair: Pair) -> None:
    """Interrupted after any step, a second run ends in the same state."""
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, *ALLOW)
    hba = (pair.alpha.directory / "postgresql/data/pg_hba.conf").read_text()
    key = (pair.alpha.directory / "state/work/tls/server.key").read_text()
    identity = (pair.alpha.directory / "state/identity.json").read_text()
    for missing in (("record.json", "tls/own.key"), ("tls/own.key",)):
        for name in missing:
            (pair.alpha.directory / "state" / name).unlink()
        (pair.alpha.directory / "etc/beta.bundle").unlink()
        pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, *ALLOW)
    assert (pair.alpha.directory / "postgresql/data/pg_hba.conf").read_text() == hba
    assert (pair.alpha.directory / "state/work/tls/server.key").read_text() == key
    assert not (pair.alpha.directory / "etc/pgpass").exists()
    assert (pair.alpha.directory / "state/identity.json").read_text() == identity
    assert not pair.alpha.postmaster()


def test_a_lost_record_is_not_made_anew(pair: Pair) -> None:
    """It would say that this host may serve, while the pair has gone on without it."""
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, *ALLOW)
    (pair.alpha.directory / "state/record.json").unlink()
    assert "its record is lost" in refusal(pair, pair.alpha, "init", "--bundle", BUNDLE)
    assert not (pair.alpha.directory / "state/record.json").exists()


def test_a_vip_in_use_is_refused_unless_accepted(pair: Pair) -> None:
    pair.beta.run(["ip", "address", "add", f"{PRIMARY_VIP}/24", "dev", "eth0"])
    said = refusal(pair, pair.alpha, "init", "--bundle", BUNDLE)
    assert f"{PRIMARY_VIP} is in use already, by" in said
    assert "--accept-vip-in-use" in said
    assert list((pair.alpha.directory / "state").iterdir()) == []
    said = pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, "--accept-vip-in-use", "--dry-run").stdout
    assert f"! {PRIMARY_VIP} is in use already, by" in said


@pytest.mark.parametrize("tls", ["pair", "off"])
def test_no_secret_is_told(pair: Pair, tls: str) -> None:
    write_config(pair, pair.alpha, Options(overrides={"postgresql": {"tls": tls}}))
    said = pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, "--start")
    private = ["etc/beta.bundle", "state/record.json", "state/tls/own.key"]
    private += ["etc/pgpass", "etc/pgpass.root"] if tls == "off" else ["state/tls/postgresql/pgvip.key"]
    secrets = [line for name in private if "pgpass" in name or name.endswith(".key")
               for line in (pair.alpha.directory / name).read_text().splitlines() if "PRIVATE KEY" not in line]
    logs = "".join(path.read_text(errors="replace") for path in (pair.alpha.directory / "postgresql").glob("*.log"))
    assert secrets
    for line in secrets:
        secret = line.rpartition(":")[2]
        assert secret not in said.stdout + said.stderr + logs
    assert "SCRAM-SHA-256" not in said.stdout + said.stderr + logs
    for name in private:
        assert (pair.alpha.directory / name).stat().st_mode & 0o077 == 0


def test_refusals_on_the_first_host(pair: Pair) -> None:
    alpha, beta = in_service(pair)
    write_config(pair, pair.beta)
    assert "this cluster is a standby" in refusal(pair, pair.beta, "init")
    pair.alpha.sql("alter system set archive_command = '/usr/bin/true'")
    pair.alpha.sql("alter system set archive_mode = on")
    pair.alpha.sql("alter system set synchronous_commit = local")
    said = refusal(pair, pair.alpha, "init")
    assert "synchronous_commit is local" in said
    assert "archive_command of its own" in said
    assert "/usr/bin/true" in said
    assert not (pair.alpha.directory / "state/record.json").exists()
    assert alpha.host.postmaster()
    assert beta.host.postmaster()


def test_refusals_on_the_second_host(pair: Pair) -> None:
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, *ALLOW)
    bring_bundle(pair)
    assert "does not answer" in refusal(pair, pair.beta, "clone", BUNDLE)
    assert not (pair.beta.directory / "state/tls").exists()
    assert "no server runs here" in refusal(pair, pair.beta, "join", BUNDLE)
    (pair.beta.directory / "etc/beta.bundle").chmod(0o644)
    assert "can be read by others" in refusal(pair, pair.beta, "clone", BUNDLE)
    assert "the bundle is for beta" in refusal(pair, pair.alpha, "clone", BUNDLE)


def test_clone_puts_an_old_directory_aside(pair: Pair) -> None:
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, "--start")
    bring_bundle(pair)
    stranger = PlainCluster(pair.beta)
    stranger.create()
    assert "a server runs in" in refusal(pair, pair.beta, "clone", BUNDLE, "--replace")
    assert "another database cluster" in refusal(pair, pair.beta, "join", BUNDLE)
    pair.beta.run([stranger.bin / "pg_ctl", "-D", DATA_DIRECTORY, "-m", "fast", "stop"], user="postgres")
    assert "is not empty" in refusal(pair, pair.beta, "clone", BUNDLE)
    said = pair.pgvip(pair.beta, "clone", BUNDLE, "--replace").stdout
    assert "100 %" in said
    names = [path.name for path in (pair.beta.directory / "postgresql").iterdir()]
    assert [name for name in names if name.startswith("data.replaced-")]
    pair.pgvip(pair.beta, "clone", BUNDLE, "--replace")
    assert (pair.beta.directory / "postgresql/data.pgvip-replaced/PG_VERSION").exists()
    assert (pair.beta.directory / "postgresql/data/standby.signal").exists()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_debian_layout_from_a_cluster_in_service_to_a_healthy_pair(pair: Pair, mode: str) -> None:
    """Configuration in /etc/postgresql, data elsewhere: nothing of it is in the copy."""
    configs = "/etc/postgresql/15/main"
    pair.options = Options(mode=mode, overrides={"postgresql": {"config_directory": configs}})
    plain = PlainCluster(pair.alpha)
    plain.create()
    pair.alpha.run([plain.bin / "pg_ctl", "-D", DATA_DIRECTORY, "-m", "fast", "stop"], user="postgres")
    text = "include_dir = 'conf.d'\n" + "".join(
        f"{key} = '{value}'\n"
        for key, value in {
            "data_directory": DATA_DIRECTORY,
            "hba_file": f"{configs}/pg_hba.conf",
            "ident_file": f"{configs}/pg_ident.conf",
            "unix_socket_directories": SOCKET_DIRECTORY,
        }.items()
    )
    for host in pair.hosts.values():
        directory = host.directory / "etc-postgresql/15/main"
        (directory / "conf.d").mkdir(parents=True)
        (directory / "postgresql.conf").write_text(text)
        (directory / "pg_hba.conf").write_text("local all postgres peer\n")
        (directory / "pg_ident.conf").write_text("")
        (directory / "start.conf").write_text("auto\n")
        host.run(["chown", "-R", "postgres:", configs])
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (pair.alpha.directory / "postgresql/data" / name).unlink()
    write_config(pair, pair.alpha)
    assert "start.conf says auto" in pair.pgvip(pair.alpha, "init", "--dry-run").stdout
    pair.pgvip(pair.alpha, "init", "--bundle", BUNDLE, "--take-over-unit", *ALLOW)
    assert "manual" in (pair.alpha.directory / "etc-postgresql/15/main/start.conf").read_text()
    pair.start_services(pair.alpha)
    pair.wait_roles(60, alpha="primary_standby")
    bring_bundle(pair)
    pair.pgvip(pair.beta, "clone", BUNDLE)
    pair.start_services(pair.beta)
    pair.wait_healthy()
    assert pair.beta.sql("show config_file") == f"{configs}/postgresql.conf"
    pair.alpha.sql("create role of_the_application")
    wait_until(lambda: pair.beta.sql("select 1 from pg_roles where rolname = 'of_the_application'"), 10, "replicated")
