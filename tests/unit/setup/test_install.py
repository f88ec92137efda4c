"""The installer's decisions, by its dry run; and the units' promises."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgvip.config.sections import HANDOVER_MAX_S
from pgvip.system import capabilities
from tests.vm.setting import CHECKOUT

ROOT = Path(__file__).parents[3]


def install(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "scripts" / "install"), "--python", sys.executable, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def test_dry_run_lists_and_changes_nothing(tmp_path: Path) -> None:
    done = install("--dry-run", "--root", str(tmp_path / "root"), "--prefix", str(tmp_path / "opt"))
    assert done.returncode == 0, done.stderr
    assert "(would) virtual environment" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_start_of_the_distribution_is_reported_and_only_taken_over_when_agreed(tmp_path: Path) -> None:
    main = tmp_path / "etc" / "postgresql" / "15" / "main"
    main.mkdir(parents=True)
    (main / "postgresql.conf").write_text("")
    (main / "start.conf").write_text("auto\n")
    words = ("--dry-run", "--root", str(tmp_path), "--prefix", str(tmp_path / "opt"))
    assert "starts PostgreSQL at boot" in install(*words).stdout
    assert "(would) " in (agreed := install(*words, "--take-over-unit").stdout)
    assert f"{main}/start.conf: start of PostgreSQL at boot is manual" in agreed
    assert (main / "start.conf").read_text() == "auto\n"


def test_what_is_installed_is_there_and_goes_to_the_machines_of_the_lab() -> None:
    """Documents for developers are in a directory of their own, and stay in the checkout."""
    script = (ROOT / "scripts" / "install").read_text()
    calls = re.findall(r"^  cp (?:-r )?([^\"]+) \"", script, re.MULTILINE)
    copied = [name for names in calls for name in names.split()]
    assert {"README.md", "SECURITY.md", "docs/*.md", "pgvip", "conf/*"} <= set(copied)
    for name in copied:
        assert list(ROOT.glob(name)), name
        assert name.split("/")[0] in CHECKOUT, name
    assert not [name for name in copied if "docs/dev" in name or name in {"docs", "docs/*", "-a"}]


@pytest.mark.parametrize("words", [("--nonsense",), ("--prefix", "relative", "--dry-run")])
def test_wrong_usage_is_refused(words: tuple[str, ...]) -> None:
    assert install(*words).returncode in (1, 2)


def unit(name: str) -> dict[str, str]:
    """The [Unit] and [Service] keys; the last of several values counts here."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read(ROOT / "systemd" / name)
    return {**parser["Unit"], **parser["Service"]}


def test_daemon_comes_back_for_ever_and_takes_nothing_with_it() -> None:
    keys = unit("pgvip.service")
    wanted = {
        "Type": "notify", "Restart": "always", "StartLimitIntervalSec": "0", "KillMode": "process",
        "OOMPolicy": "continue", "RuntimeDirectoryPreserve": "yes",
    }  # fmt: skip
    assert wanted.items() <= keys.items()
    assert int(keys["WatchdogSec"]) > 0
    # a mount namespace of its own would show hooks and fence agents another host
    private = {"ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ReadWritePaths", "PrivateMounts"}
    assert not private & keys.keys()
    assert keys["MountFlags"] == "shared"


def test_threads_share_one_arena_of_memory() -> None:
    assert "Environment=MALLOC_ARENA_MAX=1\n" in (ROOT / "systemd" / "pgvip.service").read_text()


def test_daemon_has_the_capabilities_that_it_needs() -> None:
    text = (ROOT / "systemd" / "pgvip.service").read_text()
    held = set(re.findall(r"CAP_[A-Z_]+", text))
    assert not held & capabilities.GIVEN_UP.keys()
    needed = "NET_ADMIN NET_RAW KILL SYS_PTRACE SETUID SETGID"
    assert {f"CAP_{name}" for name in needed.split()} <= held
    assert not {"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_BOOT", "CAP_SYS_RAWIO"} & held


def test_nobody_but_pgvip_starts_its_postgresql() -> None:
    text = (ROOT / "systemd" / "pgvip-postgres.service").read_text()
    keys = unit("pgvip-postgres.service")
    assert "\n[Install]" not in text
    assert (keys["Restart"], keys["KillSignal"], keys["User"]) == ("no", "SIGINT", "postgres")


def test_the_host_is_handed_over_before_anything_is_stopped() -> None:
    text = (ROOT / "systemd" / "pgvip-handover.service").read_text()
    keys = unit("pgvip-handover.service")
    assert keys["ExecStop"].endswith("/pgvip leave --if-stopping --anyway")
    assert keys["ExecStop"].startswith("-")  # whatever comes of it, the shutdown goes on
    assert float(keys["TimeoutStopSec"]) > HANDOVER_MAX_S
    after = {name for line in re.findall(r"^After=(.*)$", text, re.MULTILINE) for name in line.split()}
    assert {"pgvip.service", "pgvip-postgres.service", "network.target", "postgresql@15-main.service"} <= after
    assert not {"PartOf", "BindsTo", "Requires"} & keys.keys()  # a stop of the daemon alone does not touch it
    daemon = (ROOT / "systemd" / "pgvip.service").read_text()
    assert re.search(r"^Wants=pgvip-handover.service$", daemon, re.MULTILINE)
    assert not re.search(r"^(After|Before)=.*postgresql", daemon, re.MULTILINE)
