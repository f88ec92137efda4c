"""The witness behind a program: its one line is believed, and nothing else that a program can do."""

from __future__ import annotations

import pwd
import resource
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgvip.config.witness_config import WitnessConfig
from pgvip.core.observations import WitnessStatus
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import WitnessError
from pgvip.witness import double_claim
from pgvip.witness.by_command import CommandWitness
from pgvip.witness.claims import Answer, Question
from pgvip.witness.making import new_id
from tests.lab.witness.servers import ended

USER = "nobody"
REGISTER = """
cd {directory}
case $1 in
  init) echo "$2" >id.$$.new; ln id.$$.new id 2>/dev/null || true; rm -f id.$$.new; echo "$(cat id) 0" ;;
  status) echo "$(cat id) $(ls | grep -c "^$PGVIP_PAIR.*[0-9]$" || true)" ;;
  claim)
    name=$PGVIP_PAIR.$2
    echo "$3" >$name.$$.new; ln $name.$$.new $name 2>/dev/null || true; rm -f $name.$$.new
    {after}
    echo "$(cat $name) $(ls | grep -c "^$PGVIP_PAIR.*[0-9]$") $(cat id)" ;;
esac
"""
"""A register in a directory: the first link to a name stays (link(2))."""
ID = "0123456789abcdef"
QUESTION = Question("pair", 7, "a")

Make = Callable[[str], CommandWitness]


@pytest.fixture
def home() -> Iterator[Path]:
    """Root's, and open to the user of the program."""
    made = Path(tempfile.mkdtemp(prefix="pgvip-witness-"))
    made.chmod(0o755)
    (made / "register").mkdir()
    shutil.chown(made / "register", USER)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def make(home: Path) -> Make:
    """Makes a witness of the lines of a shell program."""

    def made(lines: str) -> CommandWitness:
        program = home / f"witness-{uuid.uuid4().hex}"
        program.write_text(f"#!/bin/sh\nset -eu\n{lines}\n")
        program.chmod(0o755)
        return CommandWitness(WitnessConfig(command=(str(program),), user=USER, timeout_s=2.0))

    return made


def register_in(home: Path, after: str = ":") -> str:
    return REGISTER.format(directory=home / "register", after=after)


def test_a_register_of_files_is_a_witness(make: Make, home: Path) -> None:
    witness_id = new_id()
    assert make(register_in(home)).init(witness_id) == WitnessStatus(witness_id, 0)
    assert make(register_in(home)).init(new_id()) == WitnessStatus(witness_id, 0), "the first id stays"
    done = double_claim.test(lambda: make(register_in(home)))
    assert (done.witness_id, done.terms) == (witness_id, double_claim.ROUNDS)
    assert make(register_in(home)).status(done.pair_id) == WitnessStatus(witness_id, double_claim.ROUNDS)


def test_the_trial_finds_a_register_that_the_last_one_gets(make: Make, home: Path) -> None:
    make(register_in(home)).init(ID)
    broken = register_in(home).replace("ln $name.$$.new $name 2>/dev/null || true; rm -f $name.$$.new",
                                       "mv $name.$$.new $name")  # fmt: skip
    assert broken != register_in(home)
    with pytest.raises(WitnessError, match="more than one host"):
        double_claim.test(lambda: make(broken))


def test_the_program_runs_as_its_user_and_is_told_what_it_needs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "geheim")
    words = "$(id -u) $* $PGVIP_PAIR $PGVIP_WITNESS $PGVIP_SERIAL $PGVIP_TIMEOUT_S ${PGPASSWORD-none}"
    said = make(f'echo "{words}" >&2; exit 3')
    with pytest.raises(WitnessError, match="claim failed with exit code 3") as caught:
        said.claim(Question("pair", 7, "a", ID, 4))
    assert caught.value.detail == f"{pwd.getpwnam(USER).pw_uid} claim 7 a pair {ID} 4 2 none"


@pytest.mark.nightly
def test_a_lost_answer_is_asked_for_again(make: Make, home: Path) -> None:
    """The claim was carried out: whoever asks again learns that it has the term, and the other that it has not."""
    make(register_in(home)).init(ID)
    for lost in ("exit 1", "kill -9 $$", "echo a; exit 0", "sleep 30"):
        term = Question("pair", len(lost), "a")
        with pytest.raises(WitnessError):
            make(register_in(home, lost)).claim(term)
        whole = make(register_in(home))
        assert whole.claim(Question("pair", len(lost), "b")).winner == "a"
        assert whole.claim(term).winner == "a"


GARBAGE = {
    "nothing": "",
    "a blank line": "echo",
    "the winner alone": "echo a",
    "no id": "echo a 1",
    "four words": f"echo a 1 {ID} x",
    "a word for the serial": f"echo a one {ID}",
    "a negative serial": f"echo a -1 {ID}",
    "a serial without end": f"echo a {'9' * 30} {ID}",
    "two lines": f"echo a 1 {ID}; echo b 1 {ID}",
    "two equal lines": f"echo a 1 {ID}; echo a 1 {ID}",
    "a line before": f"echo; echo a 1 {ID}",
    "two blanks": f"echo 'a  1 {ID}'",
    "a blank behind": f"echo 'a 1 {ID} '",
    "a carriage return": f"printf 'a 1 {ID}\\r\\n'",
    "bytes": "head -c 100 /dev/urandom",
    "a zero byte": f"printf 'a\\0 1 {ID}\\n'",
    "a strange id": "echo a 1 ../../etc",
    "a winner of control characters": f"printf '\\033[2J 1 {ID}\\n'",
    "an error on its output": "echo error: no such bucket",
    "a good line and a failure": f"echo a 1 {ID}; exit 1",
    "a good line and a signal": f"echo a 1 {ID}; kill -15 $$",
    "a good line and no end": f"echo a 1 {ID}; sleep 30",
    "the status": f"echo {ID} 1",
    "a long line": f"echo a 1 {ID}$(head -c 300 /dev/zero | tr '\\0' x)",
}


@pytest.mark.nightly
@pytest.mark.parametrize("lines", GARBAGE.values(), ids=GARBAGE)
def test_what_is_not_the_one_line_is_no_answer(make: Make, lines: str) -> None:
    with pytest.raises(WitnessError):
        make(lines).claim(QUESTION)


@pytest.mark.parametrize("form", ["printf 'a 1 %s'", "printf 'a 1 %s\\n'"])
def test_the_one_line_is_the_answer(make: Make, form: str) -> None:
    """The other half of the proof: the line itself is not refused."""
    assert make(f"{form} {ID}").claim(QUESTION) == Answer("a", 1, ID)


@pytest.mark.nightly
def test_output_without_end_is_not_kept(make: Make) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WitnessError):
        make("exec yes a 1 0123456789abcdef").claim(QUESTION)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000


@pytest.mark.nightly
@pytest.mark.parametrize("how", ["sleep 61", "trap '' TERM; sleep 61 & wait; sleep 61"])
def test_a_program_that_hangs_costs_the_deadline_and_is_ended_with_all_that_it_started(
    make: Make, home: Path, how: str
) -> None:
    mark = home / "register" / "pid"
    began_s = now_s()
    with pytest.raises(WitnessError, match="did not answer"):
        make(f"echo $$ >{mark}; {how}").claim(QUESTION)
    assert now_s() - began_s < 2.0 + 0.8
    pid = int(mark.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5, what="the end of the program")
    group = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if f" {pid} {pid} " in text_of(path)]
    assert all(map(ended, group))


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_program_that_others_may_change_is_not_called(home: Path, make: Make) -> None:
    witness = make(f"echo a 1 {ID}")
    (program,) = [path for path in home.iterdir() if path.name.startswith("witness-")]
    program.chmod(0o775)
    with pytest.raises(WitnessError, match="is not called") as caught:
        witness.claim(QUESTION)
    assert caught.value.hint == f"chmod go-w {program}"
    program.unlink()
    with pytest.raises(WitnessError, match="is not called"):
        witness.claim(QUESTION)
