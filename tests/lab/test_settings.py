"""What administrators write into PostgreSQL's configuration, and what a pair makes of it."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest

from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import DATA_DIRECTORY, SESSION, SOCKET_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.pair import Pair
from tests.lab.postgres import bin_directory
from tests.lab.scene import Scene
from tests.lab.test_versions import diverge

HBA = f"{DATA_DIRECTORY}/pg_hba.conf"
TOLD_WITHIN_S = 60.0
CLEARED_S = 0.9
"""How long a primary lives on without synchronous names and without its standby."""
CONF = f"{DATA_DIRECTORY}/postgresql.conf"
HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "search_path": "nowhere",
    "row_security": "off",
    "session_preload_libraries": "missing",
    "local_preload_libraries": "missing",
    "synchronous_commit": "remote_apply",
    "client_encoding": "latin1",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "client_min_messages": "error",
    "jit_above_cost": "0",
    "log_statement": "all",
    "log_min_duration_statement": "0",
}
"""Defaults that a file, a database or a role can set, each at the value that hurts a session most."""
WHERE = ("system", "database postgres", "role all", "role pgvip", "role pgvip_replication",
         "role pgvip in database postgres")  # fmt: skip
FOR_ROLES_ONLY = {"role": "pg_read_all_data"}
BY_SUPERUSERS = ("session_preload_libraries", "log_statement", "log_min_duration_statement")
"""What pgvip's roles have by setup.sql; whoever changes it for these roles themselves means pgvip."""
LOGIN_TRIGGER = """
create function public.no_pgvip() returns event_trigger language plpgsql as
  $$ begin if session_user like 'pgvip%' then raise 'no entry'; end if; end $$;
create event trigger no_pgvip on login execute function public.no_pgvip();
alter event trigger no_pgvip enable always;
"""
"""From version 17 on."""
NOT_OF_SYSTEM = ("client_encoding", "transaction_timeout")
"""So short a time-out for the whole server ends every session before the settings of its role are read."""
UNAVOIDABLE = {"tls-off", "hosts-differ"}
"""The first of versions that are built without TLS here; the second says that the library "missing" is missing."""
FEW_ROWS = 50
"""Written after the restore point; what a promotion would lose if recovery ended there."""


NOT_REJOINED_S = 4.0
"""Longer than a daemon takes from the stop of such a server to its rejoin."""


def write_above(host: Host, lines: str) -> None:
    """Put lines into postgresql.conf, above everything that is there."""
    path = host.path(CONF)
    path.write_text(f"{lines}\n{path.read_text()}")


def restart(scene: Scene, host: Host) -> None:
    """As an administrator does it, behind pgvip's back."""
    pg_ctl = bin_directory(scene.pair.options.version) / "pg_ctl"
    host.run([pg_ctl, "-D", DATA_DIRECTORY, "-l", "/dev/null", "-m", "fast", "restart"], user="postgres", timeout_s=60)


def write_rows(scene: Scene) -> None:
    before = len(scene.writer.acknowledged())
    wait_until(lambda: len(scene.writer.acknowledged()) >= before + FEW_ROWS, 30, "more rows")


def test_a_dump_of_the_roles_can_be_restored(pair: Pair) -> None:
    """As pg_upgrade does it with them."""
    primary = pair.host_as("primary")
    binaries = bin_directory(pair.options.version)
    argv = [binaries / "pg_dumpall", "--roles-only", "-h", SOCKET_DIRECTORY]
    lines = primary.run(argv, user="postgres").stdout.splitlines()
    settings = [line for line in lines if line.startswith("ALTER ROLE pgvip") and " SET " in line]
    assert any("session_preload_libraries" in line for line in settings)
    script = "\n".join(["BEGIN;", *settings, "ROLLBACK;"])
    primary.run([binaries / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", SOCKET_DIRECTORY, "-d", "postgres"],
                user="postgres", stdin=script)


def test_a_recovery_target_left_in_a_file_loses_nothing(scene: Scene) -> None:
    write_above(scene.standby, "recovery_target_name = 'monday'")
    restart(scene, scene.standby)
    scene.pair.wait_healthy()
    scene.primary.sql("select pg_create_restore_point('monday')")
    write_rows(scene)
    scene.strike()
    scene.primary.power_off()
    scene.wait_writes()
    scene.finish(swapped=True)


def test_a_recovery_target_with_action_promote_opens_no_standby(scene: Scene) -> None:
    write_above(scene.standby, "recovery_target_name = 'tuesday'\nrecovery_target_action = 'promote'")
    restart(scene, scene.standby)
    scene.pair.wait_healthy()
    scene.primary.sql("select pg_create_restore_point('tuesday')")
    write_rows(scene)
    scene.finish(swapped=False)
    assert scene.standby.sql("show recovery_target_name") == ""


def test_a_recovery_target_by_alter_system_is_reset_before_a_restart_obeys_it(scene: Scene) -> None:
    for setting in ("recovery_target_name = 'friday'", "recovery_target_action = 'promote'"):
        scene.standby.sql(f"alter system set {setting}")
    wait_until(lambda: scene.standby.log().count("settings-reset") == 2, TOLD_WITHIN_S, "reset", 0.2)
    restart(scene, scene.standby)
    scene.pair.wait_healthy()
    scene.primary.sql("select pg_create_restore_point('friday')")
    write_rows(scene)
    scene.finish(swapped=False)
    assert scene.standby.sql("show recovery_target_name") == ""


def strays(host: Host) -> int:
    return host.log().count("became read-write, and is stopped")


def follows(host: Host) -> bool:
    """Its server streams as a standby; no answer is none."""
    return host.sql("select status from pg_stat_wal_receiver", check=False) == "streaming"


def promote_by_hand(host: Host, times: int) -> None:
    """As an administrator, or somebody's script, does it to a standby that follows.

    Its daemon sees nothing of it before it is done: else it may cut it short, as a standby that does not follow.
    """
    wait_until(partial(follows, host), 30, f"a standby for promotion {times}", 0.1)
    before, daemon = strays(host), host.service_pid("pgvip")
    os.kill(daemon, signal.SIGSTOP)
    try:
        assert host.sql("select pg_promote()") == "t"
    finally:
        os.kill(daemon, signal.SIGCONT)
    wait_until(lambda: strays(host) > before, 15, f"promotion {times} is seen", 0.1)


def says_of_strays(scene: Scene, host: Host, words: str) -> bool:
    return any(words in text for text in warned(scene, host).values())


def test_a_standby_that_is_promoted_by_hand_is_rebuilt_twice_and_not_a_third_time(scene: Scene) -> None:
    for times in (1, 2, 3):
        promote_by_hand(scene.standby, times)
    words = "3 times in a row (somebody promoted it, or started it without standby.signal); it is not rejoined again"
    for host in (scene.primary, scene.standby):
        wait_until(partial(says_of_strays, scene, host, words), 10, f"said by {host.name}", 0.2)
    scene.begun_s = time.monotonic()  # the monitor has seen the two writers that the promotions made
    rejoined = scene.standby.log().count("rejoined: ")
    scene.stays(NOT_REJOINED_S, primary="primary_standby")
    assert scene.standby.log().count("rejoined: ") == rejoined
    assert not scene.standby.writable()
    scene.pair.pgvip(scene.standby, "rejoin")
    scene.finish(swapped=False)


def test_a_primary_that_somebody_starts_with_another_port_serves_again_soon(scene: Scene) -> None:
    """Its start was waited for, for five minutes, and nobody served."""
    scene.primary.sql("alter system set port = 6543")
    scene.strike()
    restart(scene, scene.primary)
    scene.wait_writes()
    scene.pair.wait_healthy()
    scene.finish(swapped=None)
    for host in (scene.primary, scene.standby):
        assert host.sql("show port") == "5432"


def test_no_acknowledged_commit_is_lost_when_the_names_are_cleared_while_replication_is_cut(scene: Scene) -> None:
    """What the primary acknowledges then, the standby lacks: it may not take over when the primary is lost."""
    scene.fence.failures[scene.primary.name].stay_off = True
    scene.switch.cut("alpha", "beta", port=5432)
    alone = len(scene.writer.acknowledged())
    scene.primary.sql("alter system set synchronous_standby_names = ''")
    scene.primary.sql("select pg_reload_conf()")
    end_s = scene.strike() + CLEARED_S
    wait_until(lambda: time.monotonic() > end_s, 5, "some commits alone")
    assert len(scene.writer.acknowledged()) > alone, "nothing was acknowledged that the standby lacks"
    scene.primary.power_off()
    scene.switch.heal()
    wait_until(lambda: scene.says(scene.standby, "primary-lost"), 30, "the standby says that it may not take over", 0.2)
    assert not scene.standby.writable()
    scene.fence.soothe()
    scene.primary.boot()
    scene.finish(swapped=False)


def has_login_triggers(host: Host) -> bool:
    return int(host.sql("show server_version_num")) >= 170000


def make_hostile(scene: Scene) -> None:
    """Every default at every level; the lab's own clients, which stand for the applications, are as they were."""
    good = {"default_transaction_isolation": "read committed", "default_transaction_read_only": "off",
            "statement_timeout": "0", "lock_timeout": "0", "idle_session_timeout": "0", "search_path": "public",
            "idle_in_transaction_session_timeout": "0", "session_preload_libraries": "", "local_preload_libraries": "",
            "synchronous_commit": "on", "row_security": "on"}  # fmt: skip
    newer = has_login_triggers(scene.primary)
    good |= {"transaction_timeout": "0"} if newer else {}
    lines = [f"alter role {CLIENT_USER} set {key} {f'= {value!r}' if value else 'from current'};"
             for key, value in good.items()]  # fmt: skip
    lines += [LOGIN_TRIGGER, "alter role postgres set transaction_timeout = 0;"] if newer else []
    for where in WHERE:
        of_pgvip = where.startswith("role pgvip")
        values = HOSTILE | (FOR_ROLES_ONLY if of_pgvip else {"transaction_timeout": "1ms"} if newer else {})
        lines += [
            f"alter {where} set {key} = {value if key == 'search_path' else repr(value)};"
            for key, value in values.items()
            if not (of_pgvip and key in BY_SUPERUSERS) and not (where == "system" and key in NOT_OF_SYSTEM)
        ]
    argv = ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", SOCKET_DIRECTORY, "-d", "postgres"]
    scene.primary.run(argv, user="postgres", stdin="\n".join(lines), env=SESSION)
    of_file = "\n".join(line for line in lines if "alter system" in line)
    scene.standby.run(argv, user="postgres", stdin=of_file, env=SESSION)
    for host in (scene.primary, scene.standby):
        host.sql("select pg_reload_conf()")


def answers(host: Host) -> bool:
    return host.sql("select 1", check=False) == "1"


def make_friendly(scene: Scene) -> None:
    """As it was; the next test has the same pair."""
    primary = scene.pair.host_as("primary")
    lines = [f"alter {where} reset all;" for where in (*WHERE, f"role {CLIENT_USER}")]
    lines += ["alter role postgres reset all;", "drop event trigger if exists no_pgvip;"]
    argv = ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", SOCKET_DIRECTORY, "-d", "postgres"]
    primary.run(argv, user="postgres", stdin="\n".join(lines), env=SESSION)
    primary.sql("select 1")  # the first login after the trigger's end takes its mark off the database
    for host in (scene.primary, scene.standby):
        wait_until(partial(answers, host), 10, "logins, which the mark forbids on a standby")
        host.sql("alter system reset all")
        host.sql("select pg_reload_conf()")


@pytest.mark.timeout(300)
def test_no_default_of_a_file_a_database_or_a_role_reaches_pgvips_sessions(scene: Scene) -> None:
    pair, first, second = scene.pair, scene.primary, scene.standby
    logged = {host.name: len(host.log()) for host in (first, second)}
    make_hostile(scene)
    restart(scene, second)
    pair.wait_healthy(steady_s=3)
    os.kill(first.postmaster(), signal.SIGKILL)
    scene.wait_roles(standby="primary", primary="standby")
    pair.wait_healthy()
    diverge(scene, second, first)
    second.power_off()
    scene.switch.heal()
    scene.wait_writes()
    pair.wait_healthy()
    assert "rejoined: rewound" in second.log()
    pair.pgvip(first, "switchover")
    scene.wait_roles(standby="primary", primary="standby")
    pair.wait_healthy()
    pair.pgvip(first, "rejoin", "--clone")
    wait_until(lambda: "rejoined: cloned" in first.log(), 30, "a new copy")
    scene.finish(swapped=True)
    wait_until(lambda: (warned(scene, first) | warned(scene, second)).keys() <= UNAVOIDABLE, 30, "no warnings")
    since = "".join(host.log()[logged[host.name] :] for host in (first, second))
    assert not [line for line in since.splitlines() if "refuses" in line or "action-failed" in line]
    make_friendly(scene)


def warned(scene: Scene, host: Host) -> dict[str, str]:
    """The texts of a host's warnings, by name."""
    return {warning["name"]: warning["text"] for warning in scene.pair.status(host)["warnings"]}


def see_on_both(scene: Scene, host: Host, name: str, words: str) -> None:
    """The warning stands on the host concerned, and the other one repeats it."""
    peer = scene.pair.peer_of(host)
    wait_until(lambda: words in warned(scene, host).get(name, ""), TOLD_WITHIN_S, name, 0.2)
    wait_until(lambda: words in warned(scene, peer).get("peer-database", ""), 30, "the peer's word", 0.2)


def see_it_end(scene: Scene) -> None:
    ours = {"settings-wrong", "database-refuses", "peer-database", "settings-pending"}
    hosts = (scene.primary, scene.standby)
    wait_until(lambda: not any(ours & warned(scene, host).keys() for host in hosts), TOLD_WITHIN_S, "the end", 0.2)


def test_a_wrong_line_is_told_on_both_hosts_and_keeps_a_switchover_from_beginning(scene: Scene) -> None:
    path = scene.standby.path(CONF)
    before = path.read_text()
    write_above(scene.standby, "work_memm = '4MB'")
    see_on_both(scene, scene.standby, "settings-wrong", f"{CONF} line 1: work_memm")
    said = scene.pair.pgvip(scene.primary, "switchover", "--dry-run", check=False)
    assert said.returncode
    assert "work_memm" in said.stdout + said.stderr
    path.write_text(before)
    see_it_end(scene)
    scene.pair.pgvip(scene.primary, "switchover", "--dry-run")
    scene.finish(swapped=False)


def put_back(host: Host) -> bool:
    text = host.path(HBA).read_text()
    return text.startswith("# BEGIN pgvip") and text.endswith("host all all all reject\n")


def restored_more_often(host: Host, than: int) -> bool:
    return host.log().count("access-restored") > than


def test_pgvips_lines_of_pg_hba_are_put_back(scene: Scene) -> None:
    """As configuration management writes the file, on both hosts, and reloads it."""
    before = {host.name: host.log().count("access-restored") for host in (scene.primary, scene.standby)}
    texts = {host.name: host.path(HBA).read_text() for host in (scene.primary, scene.standby)}
    for host in (scene.primary, scene.standby):
        path = host.path(HBA)
        path.write_text(f"local all postgres peer\nhost all {CLIENT_USER} all trust\nhost all all all reject\n")
        host.sql("select pg_reload_conf()")
    for host in (scene.primary, scene.standby):
        wait_until(partial(put_back, host), TOLD_WITHIN_S, "put back")
        wait_until(partial(restored_more_often, host, before[host.name]), 10, "said")
    scene.pair.wait_healthy(steady_s=1.0)
    scene.primary.power_off()
    scene.wait_writes()
    scene.finish(swapped=True)
    for host in (scene.primary, scene.standby):  # the next test has the same pair
        host.path(HBA).write_text(texts[host.name])
        host.sql("select pg_reload_conf()")


def test_a_role_that_may_not_log_in_is_told_on_both_hosts(scene: Scene) -> None:
    scene.primary.sql("alter role pgvip nologin")
    for host in (scene.primary, scene.standby):
        host.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pgvip'")
    see_on_both(scene, scene.primary, "database-refuses", 'role "pgvip" is not permitted to log in')
    scene.primary.sql("alter role pgvip login")
    see_it_end(scene)
    scene.finish(swapped=None)


def test_why_a_standby_does_not_start_is_told_on_both_hosts(scene: Scene) -> None:
    path = scene.standby.path(CONF)
    before = path.read_text()
    write_above(scene.standby, "shared_preload_libraries = 'missing'")
    os.kill(scene.standby.postmaster(), signal.SIGKILL)
    see_on_both(scene, scene.standby, "action-failing", 'could not access file "missing"')
    path.write_text(before)
    scene.pair.wait_healthy()
    see_it_end(scene)
    scene.finish(swapped=False)


def test_a_standby_that_does_not_listen_as_configured_may_not_take_over(scene: Scene) -> None:
    """As after `pgvip join`, until the restart that it leaves to the administrator."""
    scene.standby.sql("alter system set listen_addresses = 'localhost'")
    restart(scene, scene.standby)
    wait_until(lambda: "listen_addresses" in warned(scene, scene.standby).get("not-eligible", ""), 30, "not eligible")
    wait_until(lambda: "listen_addresses" in warned(scene, scene.primary).get("peer-unfit", ""), 30, "the peer's word")
    scene.standby.sql("alter system reset listen_addresses")
    restart(scene, scene.standby)
    see_it_end(scene)
    scene.finish(swapped=False)
