"""`pgvip uninstall --json`: what a script reads of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from pgvip.cli import uninstall
from pgvip.cli.main import main
from pgvip.core.values import Durable, Mode, Record
from pgvip.errors import Exit
from pgvip.state.record import RecordStore
from pgvip.system import privileges
from tests.unit import configs

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def said_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, *options: str
) -> tuple[int, dict[str, object]]:
    """Of a host that is alone in its pair and has no database; the rights of this process stay as they are."""
    config = configs.make(root)
    config = replace(config, me=replace(config.me, interface="lo"))
    config.paths.state.mkdir(exist_ok=True)
    RecordStore(config.paths.record).save(Durable(Record("p", "s", 4, "berlin", Mode.SOLO, sync=True)))
    monkeypatch.setattr(uninstall, "load", lambda _file, _host: config)
    monkeypatch.setattr(uninstall, "require_root", lambda: None)
    monkeypatch.setattr(privileges, "give_up", lambda _config: None)
    code = main(["uninstall", *options, "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1, "one object, and nothing for people beside it"
    return code, json.loads(out)


def test_a_script_reads_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = said_in_json(monkeypatch, capsys, tmp_path, "--dry-run")
    assert (code, found["ok"], found["dry_run"], found["host"]) == (0, True, True, "berlin")
    steps = found["steps"]
    assert isinstance(steps, list)
    assert steps[0] == {"step": "daemon: stopped, and not started at boot", "state": "planned"}
    assert {"step": "NFS export of the archive: removed", "state": "done already"} in steps
    assert (tmp_path / "state/record.json").exists()


def test_a_script_must_name_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = said_in_json(monkeypatch, capsys, tmp_path)
    assert (code, found["ok"]) == (Exit.REFUSED, False)
    assert "--yes berlin" in str(found["hint"])
    code, found = said_in_json(monkeypatch, capsys, tmp_path, "--yes", "paris")
    assert (code, found["ok"]) == (Exit.REFUSED, False)
    assert (tmp_path / "state/record.json").exists()
