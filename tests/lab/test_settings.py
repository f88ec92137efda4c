"""What administrators write into PostgreSQL's configuration, and what a pair makes of it."""

from __future__ import annotations

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.postgres import bin_directory
from tests.lab.scene import Scene

CONF = f"{DATA_DIRECTORY}/postgresql.conf"
FEW_ROWS = 50
"""Written after the restore point; what a promotion would lose if recovery ended there."""


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
