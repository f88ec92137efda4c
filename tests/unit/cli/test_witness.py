"""`pgvip witness init`, `status` and `test`, with a program as witness; and the check."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pgvip.checks import fence_devices, witnesses
from pgvip.checks.check_table import BY_NAME
from pgvip.checks.finding import Level
from pgvip.checks.runner import one
from pgvip.checks.subject import Facts
from pgvip.cli import witness_test
from pgvip.cli.main import main
from pgvip.config.load import parse
from pgvip.config.model import Config
from pgvip.core.values import Durable, Serial
from pgvip.errors import Exit, WitnessError
from pgvip.state.record import RecordStore
from pgvip.witness.double_claim import Trial
from tests.unit.config_text import DB1_FENCING, GOOD, edited
from tests.unit.core_world import record

ID = "0123456789abcdef"
Run = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the program runs as another user")


@pytest.fixture
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pgvip-witness-"))
    made.chmod(0o755)
    (made / "state").mkdir()
    program = made / "witness"
    program.write_text(f'#!/bin/sh\ncase $1 in claim) echo "$3 1 {ID}" ;; *) echo "{ID} 4" ;; esac\n')
    program.chmod(0o755)
    yield made
    shutil.rmtree(made)


def text(home: Path, section: str = "") -> str:
    section = section or f'command = ["{home}/witness"]\nid = "{ID}"\ntimeout_s = 5\nlease_s = 9'
    return GOOD.replace("[paths]", f'[witness]\n{section}\n\n[paths]\nstate = "{home}/state"')


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("pgvip.cli.witness_test.privileges.give_up", lambda _config: None)

    def ran(*words: str, section: str = "") -> tuple[int, str, str]:
        file = home / "pgvip.toml"
        file.write_text(text(home, section))
        file.chmod(0o644)
        code = main(["witness", *words, "--config", str(file), "--host", "db1"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return ran


def test_status_shows_what_answers(run: Run, home: Path) -> None:
    code, out, _ = run("status")
    assert (code, out.splitlines()[0].split()) == (Exit.OK, ["witness", ID])
    code, out, _ = run("status", "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["witness_id"], found["serial"]) == (Exit.OK, True, ID, 4)
    assert found["where"] == f"{home}/witness, as user nobody"
    assert (found["claims"], found["highest_serial"], found["pair_id"]) == (None, None, None)


def test_status_fails_for_another_witness_and_one_that_has_forgotten(run: Run, home: Path) -> None:
    other = f'command = ["{home}/witness"]\nid = "{"f" * 16}"\ntimeout_s = 5\nlease_s = 9'
    code, out, _ = run("status", section=other)
    assert (code, "witness.id names ffffffffffffffff" in out) == (Exit.FAILED, True)
    RecordStore(home / "state" / "record.json").save(Durable(serial=Serial(ID, 5)))
    code, out, _ = run("status")
    assert (code, "it has reported 5 claims before" in out) == (Exit.FAILED, True)
    assert json.loads(run("status", "--json")[1])["ok"] is False


def test_a_witness_whose_id_is_not_written_is_shown_with_what_to_write(run: Run, home: Path) -> None:
    code, out, _ = run("status", section=f'command = ["{home}/witness"]\ntimeout_s = 5\nlease_s = 9')
    assert (code, f'id = "{ID}" in [witness]' in out) == (Exit.OK, True)


def test_without_a_witness_all_of_them_are_refused(run: Run) -> None:
    for words in (("status",), ("test",), ("init",)):
        assert run(*words, section=" ")[0] == Exit.REFUSED
        code, out, _ = run(*words, "--json", section=" ")
        assert (code, json.loads(out)["ok"]) == (Exit.REFUSED, False)


def test_a_witness_that_does_not_answer_is_a_failure(run: Run, home: Path) -> None:
    (home / "witness").write_text("#!/bin/sh\nexit 7\n")
    for words in (("status",), ("test",), ("init",)):
        code, _, err = run(*words)
        assert code == Exit.FAILED
        assert "failed with exit code 7" in err


def test_test_finds_that_each_host_was_given_the_term(run: Run) -> None:
    """This program gives it to whoever asks."""
    code, _, err = run("test")
    assert code == Exit.FAILED
    assert "term 1 was given to more than one host: test-1, test-2" in err
    assert "Do not use it." in err
    assert json.loads(run("test", "--json")[1])["ok"] is False


def test_test_says_how_it_went(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Trial("test-1", ID, 5, 20, 0.0123)
    monkeypatch.setattr(witness_test, "test", lambda _make: done)
    assert run("test")[:2] == (
        Exit.OK,
        f"witness {ID}: each of 5 terms had one winner, which stayed\n20 answers, the slowest in 12 ms of 5000\n",
    )
    assert json.loads(run("test", "--json")[1])["slowest_s"] == 0.0123


def test_a_dry_run_asks_nobody(run: Run, home: Path) -> None:
    (home / "witness").write_text(f"#!/bin/sh\ntouch {home}/called\necho {ID} 0\n")
    for words in (("test", "-n"), ("init", "-n"), ("test", "-n", "--json"), ("init", "--dry-run", "--json")):
        assert run(*words)[0] == Exit.OK
    assert not (home / "called").exists()


def test_init_of_a_program_says_whether_it_had_an_id(run: Run, home: Path) -> None:
    assert run("init")[1].startswith(f"witness {ID} was there already at ")
    (home / "witness").write_text('#!/bin/sh\necho "$2 0"\n')
    assert " is made at " in run("init")[1]
    assert run("init", "--new-id")[0] == Exit.REFUSED
    assert run("init", "--admin", "user=x")[0] == Exit.REFUSED


def test_init_prints_the_sql_for_a_server(run: Run) -> None:
    section = 'postgresql = "host=w.example.org user=ours"'
    code, out, _ = run("init", section=section)
    assert code == Exit.OK
    assert out.startswith("\\set ON_ERROR_STOP on\nBEGIN")
    assert "SET LOCAL pgvip_witness.role = 'ours';" in out
    assert "SET LOCAL pgvip_witness.again = 'off';" in out
    assert "SET LOCAL pgvip_witness.again = 'on';" in run("init", "--new-id", section=section)[1]
    assert json.loads(run("init", "--json", section=section)[1])["sql"].startswith("\\set")
    code, out, _ = run("init", "-n", "--admin", "user=postgres", section=section)
    assert (code, out) == (
        Exit.OK, "would make the witness, or complete it, at w.example.org:5432, database pgvip_witness\n",
    )  # fmt: skip


# --- the check ------------------------------------------------------------------------------------------------------


def checked(config: Config, durable: Durable | None = None) -> Any:
    known = {"config": config, "identity": None, "durable": durable}
    return one(BY_NAME["witness"], cast("Facts", type("Known", (), known)()))


def test_the_check_compares_with_what_was_reported_before(home: Path) -> None:
    config = replace(parse(text(home), "db1"), pair_id="pair")
    found = checked(config)
    assert (found.level, found.text) == (Level.OK, f"witness {ID} answers, 4 claims of this pair")
    assert checked(config, Durable(serial=Serial(ID, 4))).level is Level.OK
    found = checked(config, Durable(serial=Serial(ID, 5)))
    assert (found.level, found.hint[:31]) == (Level.CRITICAL, "it was restored from an older s")
    assert checked(config, Durable(serial=Serial("f" * 16, 9))).level is Level.OK, "of another witness"
    counting = replace(record(), witness_id="f" * 16)
    assert "counts in this term" in checked(config, Durable(record=counting)).text
    assert checked(config, Durable(record=replace(counting, witness_id=ID))).level is Level.OK
    other = replace(config, witness=replace(config.witness, id="f" * 16))
    assert (checked(other).level, "names ffffffffffffffff" in checked(other).text) == (Level.CRITICAL, True)
    bare = replace(config, witness=replace(config.witness, id=""))
    assert (checked(bare).level, f'write id = "{ID}"' in checked(bare).hint) == (Level.WARNING, True)


def test_the_check_says_what_a_lost_witness_means(home: Path) -> None:
    (home / "witness").write_text("#!/bin/sh\nexit 7\n")
    found = checked(parse(text(home), "db1"))
    assert found.level is Level.CRITICAL
    assert found.text.endswith("nobody takes over from a silent host")
    assert checked(parse(GOOD, "db1")).text == "no witness is configured"


def test_a_slow_witness_is_a_warning(home: Path) -> None:
    (home / "witness").write_text(f"#!/bin/sh\nsleep 0.7\necho {ID} 4\n")
    config = parse(text(home, f'command = ["{home}/witness"]\nid = "{ID}"\ntimeout_s = 1.2\nlease_s = 9'), "db1")
    assert checked(config).level is Level.WARNING


def test_a_pair_without_fencing_and_watchdog_is_a_warning(home: Path) -> None:
    bare = text(home).replace(DB1_FENCING, 'fencing = "none"')
    found = checked(parse(bare, "db1"))
    assert (found.level, "no fencing and no watchdog" in found.text) == (Level.WARNING, True)
    guarded = bare.replace("[timing]", '[watchdog]\nmode = "if-present"\n[timing]')
    assert checked(parse(guarded, "db1")).level is Level.OK


def test_without_fencing_a_witness_is_enough(home: Path) -> None:
    bare = edited((DB1_FENCING, 'fencing = "none"'))
    facts = cast("Facts", type("Known", (), {"config": parse(bare, "db2")})())
    assert fence_devices.devices(facts).level is Level.WARNING
    config = parse(bare.replace("[paths]", f'[witness]\ncommand = ["{home}/witness"]\n[paths]'), "db2")
    known = type("Known", (), {"config": config, "identity": None, "removed": ""})
    found = one(BY_NAME["fencing"], cast("Facts", known()))
    assert (found.level, found.text) == (Level.OK, "no way to power db1 off: takeovers go by the witness")


def test_rights_and_session_of_a_server_are_judged() -> None:
    class Asked:
        def __init__(self, **rows: list[tuple[Any, ...]]) -> None:
            self.rows = rows

        def ask(self, name: str, _params: object) -> list[tuple[Any, ...]]:
            return self.rows[name]

    good = Asked(witness_session=[(True, "TLSv1.3", False, "150018")], witness_rights=[])
    bad = Asked(witness_session=[(False, "", True, "150018")], witness_rights=[("is a superuser",)])
    for asked, levels in ((good, []), (bad, [Level.WARNING, Level.CRITICAL, Level.WARNING])):
        made = cast("Any", asked)
        assert [each.level for each in (*witnesses._session(made), *witnesses._rights(made))] == levels


def test_an_error_of_the_witness_is_a_failure_of_a_command() -> None:
    assert WitnessError("x").exit_code == Exit.FAILED
