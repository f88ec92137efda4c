"""archive_command and restore_command, run as PostgreSQL runs them: through a shell, as scripts."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pgvip.archive import archive_wal, distributing, packing, peer_reader, peer_wire, restore_wal, sending
from pgvip.archive.memory import DIRECTORY, INDEX, Memory, start_of
from pgvip.archive.packing import ArchiveFailed
from pgvip.archive.sending import Destination
from pgvip.config.archiving import COMPRESS

NAME = "000000010000000000000001"
PACKED = [word for word in packing.PACKINGS if word != "none"]


def archived(segment: Path, first: Path, *others: Destination, word: str = "none") -> None:
    own = Destination("archive", first, (), word)
    distributing.archive_wal(segment, [own, *others], Memory(first / DIRECTORY))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != DIRECTORY)


def run_script(module_file: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", module_file, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "pg_wal" / NAME
    path.parent.mkdir()
    path.write_bytes(os.urandom(3_000_000))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    return path


def test_archives_the_file_and_leaves_nothing_else(segment: Path, archive: Path) -> None:
    done = run_script(archive_wal.__file__, "--directory", archive, segment)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(archive) == [NAME]
    assert (archive / NAME).read_bytes() == segment.read_bytes()


def test_same_file_again_is_a_success(segment: Path, archive: Path) -> None:
    archived(segment, archive)
    archived(segment, archive)


@pytest.mark.parametrize("content", [b"", b"other", None])
def test_different_file_is_never_overwritten(segment: Path, archive: Path, content: bytes | None) -> None:
    there = bytes(segment.stat().st_size) if content is None else content
    (archive / NAME).write_bytes(there)
    with pytest.raises(ArchiveFailed, match="another content"):
        archived(segment, archive)
    assert run_script(archive_wal.__file__, "--directory", archive, segment).returncode == 1
    assert (archive / NAME).read_bytes() == there


def test_second_archiver_that_dies_half_way_changes_nothing_for_the_first(
    segment: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between reading back and the link of the first, which goes by the name."""
    same = packing.same
    tried: list[Path] = []
    first = Destination("archive", archive)

    def die(_source: Path, target: Path, _how: packing.Packing) -> None:
        target.write_bytes(b"half")
        os._exit(9)

    def meanwhile(stored: Path, source: Path) -> bool:
        found = same(stored, source)
        if not tried:
            tried.append(stored)
            child = os.fork()
            if child == 0:
                monkeypatch.setattr(packing, "pack", die)
                sending.deliver(segment, first)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        return found

    monkeypatch.setattr(packing, "same", meanwhile)
    assert sending.deliver(segment, first)
    assert (archive / NAME).read_bytes() == segment.read_bytes()
    new = archive / DIRECTORY / sending.NEW
    (left,) = new.iterdir()
    assert left.read_bytes() == b"half"
    second = segment.rename(segment.with_name(NAME[:-1] + "2"))
    assert sending.deliver(second, first)
    assert list(new.iterdir()) == []


def test_left_over_temporary_files_are_removed_and_those_being_written_are_not(segment: Path, archive: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    new = archive / DIRECTORY / sending.NEW
    new.mkdir(parents=True)
    me = f"{os.getpid()}.{start_of(os.getpid())}"
    gone = [f"{boot}.{os.getpid()}.1.{NAME}", f"{boot}.999999999..{NAME}x", f"0ld.{me}.{NAME}", "odd", f"{boot}.x"]
    kept = [f"{boot}.{me}.{NAME}.gz", f"{boot}.{me}.{NAME}.partial", f"0ld.{me}.{NAME}.zst"]
    for name in (*gone, *kept):
        (new / name).write_bytes(b"half")
    long_ago_s = time.time() - 1.1 * sending.ABANDONED_S
    for name in gone[2:]:
        os.utime(new / name, (long_ago_s, long_ago_s))
    archived(segment, archive)
    assert names(archive) == [NAME]
    assert names(new) == sorted(kept)


@pytest.mark.parametrize("word", PACKED)
def test_packed_segment_comes_back_as_it_was(segment: Path, archive: Path, tmp_path: Path, word: str) -> None:
    archived(segment, archive, word=word)
    assert names(archive) == [NAME + packing.PACKINGS[word].suffix]
    assert restore([archive], tmp_path / "target", tmp_path / "flag") == 0
    assert (tmp_path / "target").read_bytes() == segment.read_bytes()


@pytest.mark.parametrize("there", packing.PACKINGS)
@pytest.mark.parametrize("now", packing.PACKINGS)
def test_however_it_is_packed_it_is_the_same_file(segment: Path, archive: Path, there: str, now: str) -> None:
    archived(segment, archive, word=there)
    archived(segment, archive, word=now)
    before = names(archive)
    segment.write_bytes(b"another timeline's")
    with pytest.raises(ArchiveFailed, match="another content"):
        archived(segment, archive, word=now)
    assert names(archive) == before


@pytest.mark.parametrize("name", ["00000002.history", f"{NAME}.00000028.backup"])
def test_small_files_are_not_packed(segment: Path, archive: Path, name: str) -> None:
    small = segment.with_name(name)
    small.write_text("1\t0/30000A0\tno recovery target specified\n")
    archived(small, archive, word="gzip")
    assert names(archive) == [name]


def test_partial_segment_is_a_file_of_its_own(segment: Path, archive: Path) -> None:
    archived(segment, archive)
    partial = segment.with_name(f"{NAME}.partial")
    partial.write_bytes(b"up to the promotion")
    archived(partial, archive, word="gzip")
    assert names(archive) == [NAME, f"{NAME}.partial.gz"]


def test_the_configuration_knows_the_same_packings() -> None:
    assert set(COMPRESS) == set(packing.PACKINGS)


def test_missing_packer_is_a_failure_with_a_name(
    segment: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packing.PACKINGS, "lz4", packing.Packing(".lz4", ("no-such-lz4",), ("no-such-lz4",)))
    with pytest.raises(ArchiveFailed, match=r"no-such-lz4.*installed"):
        archived(segment, archive, word="lz4")
    assert names(archive) == []


def test_what_does_not_read_back_is_not_archived(
    segment: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packing.PACKINGS, "lz4", packing.Packing(".lz4", ("head", "-c", "1000"), ("cat",)))
    with pytest.raises(ArchiveFailed, match="does not read back"):
        archived(segment, archive, word="lz4")
    assert names(archive) == []


def test_retry_sends_only_what_is_missing(segment: Path, archive: Path, tmp_path: Path) -> None:
    """The command would note every call; the directory is not there at first."""
    calls, far = tmp_path / "calls", tmp_path / "far"
    command = Destination("store", None, ("/bin/sh", "-c", f"echo %f >> {calls}"))
    directory = Destination("far", far)
    for _ in range(2):
        with pytest.raises(ArchiveFailed, match=r"^far: .*there is no directory"):
            archived(segment, archive, command, directory)
    far.mkdir()
    archived(segment, archive, command, directory)
    assert calls.read_text() == f"{NAME}\n"
    assert names(far) == names(archive) == [NAME]
    assert not (archive / DIRECTORY / "got" / NAME).exists()
    archived(segment, archive, command, directory)


def test_what_was_remembered_of_another_content_does_not_count(segment: Path, archive: Path, tmp_path: Path) -> None:
    store = Destination("store", None, ("/bin/cp", "%p", str(tmp_path / "copy")))
    with pytest.raises(ArchiveFailed):
        archived(segment, archive, store, Destination("far", tmp_path / "none"))
    (archive / NAME).unlink()
    segment.write_bytes(b"after a rewind")
    with pytest.raises(ArchiveFailed):
        archived(segment, archive, store, Destination("far", tmp_path / "none"))
    assert (tmp_path / "copy").read_bytes() == b"after a rewind"


def test_optional_destination_stops_nothing_and_is_paid_later(segment: Path, archive: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    optional = Destination("far", far, (), "gzip", required=False)
    memory = Memory(archive / DIRECTORY)
    archived(segment, archive, optional, word="gzip")
    assert memory.pending("far") == [NAME]
    assert memory.failed_ago_s("far") < 60
    far.mkdir()
    second = segment.with_name(NAME[:-1] + "2")
    second.write_bytes(b"the next one")
    archived(second, archive, optional, word="gzip")
    assert names(far) == []  # it rests for a while after a failure
    assert distributing.catch_up([Destination("archive", archive), optional], memory, 9, time.monotonic() + 9) == 2
    memory.works("far")
    assert distributing.catch_up([Destination("archive", archive), optional], memory, 9, time.monotonic() + 9) == 0
    assert names(far) == [f"{NAME}.gz", f"{second.name}.gz"]
    assert packing.digest(far / f"{NAME}.gz") == packing.digest(segment)
    assert memory.pending("far") == []


def test_owed_file_that_cannot_be_read_fails_no_other(segment: Path, archive: Path, tmp_path: Path) -> None:
    """Else archive_command fails for ever, each time after it has done what it is for."""
    far = tmp_path / "far"
    far.mkdir()
    (archive / f"{NAME}.gz").write_bytes(b"no gzip at all")
    memory = Memory(archive / DIRECTORY)
    memory.owe("far", NAME)
    second, third = (segment.rename(segment.with_name(NAME[:-1] + "2")), segment.with_name(NAME[:-1] + "3"))
    third.write_bytes(b"the next one")
    words = json.dumps({"name": "far", "directory": str(far), "required": False})
    command = (archive_wal.__file__, "--directory", archive, "--destination", words)
    done = run_script(*command, second)
    assert done.returncode == 0
    why = "which is pending for far: gzip failed with exit code 1"
    assert f'could not read "{archive / NAME}.gz", {why}' in done.stderr
    assert (names(archive), names(far)) == ([f"{NAME}.gz", second.name], [second.name])
    assert memory.failed_ago_s("far") < 60  # so it rests, and the next ones take no time for it
    done = run_script(*command, third)
    assert (done.returncode, done.stderr) == (0, "")
    assert memory.pending("far") == [NAME, third.name]
    # the daemon's round sends what it can, and reports what it cannot
    memory.works("far")
    done = run_script(*command, "--catch-up", 9)
    assert (done.returncode, names(far)) == (1, [second.name, third.name])
    assert "which is pending for far" in done.stderr
    assert memory.pending("far") == [NAME]
    assert names(archive / DIRECTORY / "tmp") == []


def test_nowhere_to_unpack_what_is_owed_fails_no_other(segment: Path, archive: Path, tmp_path: Path) -> None:
    (archive / f"{NAME}.gz").write_bytes(b"as good as any")
    memory = Memory(archive / DIRECTORY)
    memory.owe("far", NAME)
    (archive / DIRECTORY / "tmp").write_text("no directory")  # as a full disk: mkdir fails
    words = json.dumps({"name": "far", "directory": str(tmp_path), "required": False})
    second = segment.rename(segment.with_name(NAME[:-1] + "2"))
    done = run_script(archive_wal.__file__, "--directory", archive, "--destination", words, second)
    assert (done.returncode, names(archive)) == (0, [f"{NAME}.gz", second.name])
    assert "which is pending for far" in done.stderr


def test_debt_is_bounded(
    segment: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributing, "PENDING_MAX", 2)
    optional = Destination("far", tmp_path / "none", required=False)
    for number in "123":
        file = segment.with_name(NAME[:-1] + number)
        file.write_bytes(b"wal")
        archived(file, archive, optional)
    assert Memory(archive / DIRECTORY).pending("far") == [NAME[:-1] + "2", NAME[:-1] + "3"]
    assert f'will never get "{NAME}"' in capsys.readouterr().err


def test_destination_that_hangs_costs_its_own_time_only(segment: Path, archive: Path) -> None:
    words = json.dumps({"name": "far", "command": ["/bin/sleep", "77"], "required": False, "timeout_s": 0.5})
    begun_s = time.monotonic()
    done = run_script(archive_wal.__file__, "--directory", archive, "--destination", words, segment)
    assert (done.returncode, names(archive)) == (0, [NAME])
    assert "did not finish within 0.5 s" in done.stderr
    assert time.monotonic() - begun_s < 5
    assert Memory(archive / DIRECTORY).pending("far") == [NAME]


def test_no_second_child_beside_one_that_hangs_in_the_kernel(segment: Path, archive: Path, tmp_path: Path) -> None:
    memory = Memory(archive / DIRECTORY)
    memory.hung("far", os.getpid())
    with pytest.raises(ArchiveFailed, match=f"process {os.getpid()}"):
        archived(segment, archive, Destination("far", tmp_path))
    (archive / DIRECTORY / "hung" / "far").write_text(f"{os.getpid()} 1\n")  # another process had this number
    archived(segment, archive, Destination("far", tmp_path))


@pytest.mark.parametrize("words", ["[]", "{}", '{"name": "far"}', '{"name": "x", "directory": "/a", "command": ["b"]}'])
def test_odd_destination_is_wrong_usage(segment: Path, archive: Path, words: str) -> None:
    done = run_script(archive_wal.__file__, "--directory", archive, "--destination", words, segment)
    assert done.returncode == 2
    assert "--destination" in done.stderr


def test_missing_archive_is_not_made_by_what_is_remembered_of_it(segment: Path, tmp_path: Path) -> None:
    """A second attempt would find it there, on the wrong disk."""
    for _ in range(2):
        with pytest.raises(ArchiveFailed, match="there is no directory"):
            archived(segment, tmp_path / "not-mounted")
    assert not (tmp_path / "not-mounted").exists()


def test_missing_archive_is_exit_code_1(segment: Path, tmp_path: Path) -> None:
    done = run_script(archive_wal.__file__, "--directory", tmp_path / "none", segment)
    assert done.returncode == 1
    assert NAME in done.stderr


def test_hanging_archive_is_exit_code_1_in_time(segment: Path, archive: Path) -> None:
    os.mkfifo(archive / f"fifo-{NAME}")
    os.mkfifo(segment.parent / "fifo")
    begun_s = time.monotonic()
    done = run_script(archive_wal.__file__, "--timeout", 0.5, "--directory", archive, segment.parent / "fifo")
    assert done.returncode == 1
    assert time.monotonic() - begun_s < 3


def restore(directories: list[Path], target: Path, flag: Path, timeout_s: float = 5.0) -> int:
    options = [word for directory in directories for word in ("--directory", str(directory))]
    return run_script(restore_wal.__file__, "--timeout", timeout_s, "--flag", flag, *options, NAME, target).returncode


def test_restores_from_the_first_archive_that_has_it(tmp_path: Path, archive: Path) -> None:
    other = tmp_path / "peer"
    other.mkdir()
    (other / NAME).write_bytes(b"peer's")
    assert restore([archive, other], tmp_path / "target", tmp_path / "flag") == 0
    assert (tmp_path / "target").read_bytes() == b"peer's"
    (archive / NAME).write_bytes(b"own")
    assert restore([archive, other], tmp_path / "target", tmp_path / "flag") == 0
    assert (tmp_path / "target").read_bytes() == b"own"


def test_file_that_is_broken_is_looked_for_elsewhere(tmp_path: Path, archive: Path) -> None:
    other = tmp_path / "peer"
    other.mkdir()
    (archive / f"{NAME}.zst").write_bytes(b"no zstd at all")
    (other / NAME).write_bytes(b"peer's")
    assert restore([archive, other], tmp_path / "target", tmp_path / "flag") == 0
    assert (tmp_path / "target").read_bytes() == b"peer's"


def test_restores_by_a_command(tmp_path: Path, archive: Path) -> None:
    get = ("/bin/sh", "-c", f"cp {tmp_path}/store-%f %p")
    (tmp_path / f"store-{NAME}").write_bytes(b"stored")
    target, flag = tmp_path / "target", tmp_path / "flag"
    assert restore_wal.restore_wal(NAME, target, [archive, tmp_path / "peer", get], flag, 5.0) == 0
    assert target.read_bytes() == b"stored"
    assert restore_wal.restore_wal(NAME[:-1] + "2", target, [archive, tmp_path / "peer", get], flag, 5.0) != 0


@pytest.mark.parametrize(
    ("number", "found"), [("02", True), ("03", False), ("04", False)]
)
def test_others_are_not_asked_for_what_the_history_left(tmp_path: Path, number: str, found: bool) -> None:
    """Timeline 1 was left at 0/3000060: what a third archive has of it from there on may be of a lost primary."""
    wal, far = tmp_path / "pg_wal", tmp_path / "far"
    wal.mkdir()
    far.mkdir()
    (wal / "00000002.history").write_text("1\t0/3000060\tno recovery target specified\n")
    (wal / f"{NAME[:-2]}01").write_bytes(b"")
    os.truncate(wal / f"{NAME[:-2]}01", 1 << 24)
    name = NAME[:-2] + number
    (far / name).write_bytes(b"wal")
    places: list[restore_wal.Place] = [tmp_path / "own", tmp_path / "peer", far]
    assert (restore_wal.restore_wal(name, wal / "RECOVERYXLOG", places, tmp_path / "flag", 5.0) == 0) is found
    later = "00000002" + name[8:]
    (far / later).write_bytes(b"wal")
    assert restore_wal.restore_wal(later, wal / "RECOVERYXLOG", places, tmp_path / "flag", 5.0) == 0


def test_missing_file_is_exit_code_1_and_leaves_nothing(tmp_path: Path, archive: Path) -> None:
    assert restore([archive, tmp_path / "none"], tmp_path / "target", tmp_path / "flag") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


def test_strict_tells_a_missing_file_from_an_archive_that_cannot_be_read(tmp_path: Path, archive: Path) -> None:
    (archive / f"{NAME}.gz").write_bytes(b"no gzip at all")
    options = ("--strict", "--flag", tmp_path / "flag", "--directory", archive)
    assert run_script(restore_wal.__file__, *options, NAME, tmp_path / "target").returncode == restore_wal.STOP
    assert run_script(restore_wal.__file__, *options, NAME[:-1] + "2", tmp_path / "target").returncode == 1
    assert run_script(restore_wal.__file__, *options[1:], NAME, tmp_path / "target").returncode == 1


def test_strict_takes_no_empty_mount_point_for_the_peers_archive(tmp_path: Path, archive: Path) -> None:
    """The server recovers for hours, and its host may lose the mount in them: that is not the end of WAL."""
    peer, far = tmp_path / "peer", tmp_path / "far"
    peer.mkdir()
    far.mkdir()
    others = ("--directory", peer, "--directory", peer / restore_wal.SALVAGE, "--directory", far)
    words = ("--flag", tmp_path / "flag", "--directory", archive, *others)

    def code(*options: object, name: str = NAME) -> int:
        done = run_script(restore_wal.__file__, *options, *words, name, tmp_path / "target")
        assert "index.json" in done.stderr or done.returncode != restore_wal.STOP
        return done.returncode

    assert code("--strict", "--peer", peer) == restore_wal.STOP
    assert code("--peer", peer) == 1
    assert code("--strict") == 1
    assert code() == 1
    assert code("--strict", "--without", peer) == 1
    # the mount may go between the two
    salvaged: list[restore_wal.Place] = [archive, peer / restore_wal.SALVAGE]
    assert restore_wal.restore_wal(NAME, tmp_path / "target", salvaged, tmp_path / "flag", 5.0, peer=peer) != 1
    assert restore_wal.restore_wal(NAME, tmp_path / "target", salvaged, tmp_path / "flag", 5.0) == 1
    (far / NAME).write_bytes(b"wal")
    assert code("--strict", "--peer", peer) == 0
    (peer / DIRECTORY).mkdir()
    (peer / DIRECTORY / INDEX).write_text("{}")
    missing = NAME[:-1] + "2"
    assert code("--strict", "--peer", peer, name=missing) == 1
    (peer / restore_wal.SALVAGE).mkdir()
    assert code("--strict", "--peer", peer, name=missing) == 1


@pytest.mark.parametrize("folder", ["", restore_wal.SALVAGE])
def test_archive_that_is_left_out_is_not_asked_and_the_next_keeps_its_number(
    tmp_path: Path, archive: Path, folder: str
) -> None:
    """Third archives are told by their number, as is where it is noted that one hung."""
    wal, peer, far = tmp_path / "pg_wal", tmp_path / "peer", tmp_path / "far"
    for directory in (wal, peer / restore_wal.SALVAGE, far):
        directory.mkdir(parents=True)
    (wal / "00000002.history").write_text("1\t0/1000060\tno recovery target specified\n")
    (wal / NAME).write_bytes(b"")
    os.truncate(wal / NAME, 1 << 24)
    places: list[restore_wal.Place] = [archive, peer, peer / restore_wal.SALVAGE, far]
    later = "00000002" + NAME[8:]
    (peer / folder / later).write_bytes(b"peer's")
    (far / NAME).write_bytes(b"of a primary that lost its role")
    for name in (later, NAME):
        assert restore_wal.restore_wal(name, wal / "RECOVERYXLOG", places, tmp_path / "flag", 30.0, without=peer) == 1
    assert restore_wal.restore_wal(later, wal / "RECOVERYXLOG", places, tmp_path / "flag", 30.0) == 0


@pytest.mark.parametrize(("folder", "code"), [(restore_wal.SALVAGE, 1), ("other", restore_wal.STOP)])
def test_strict_misses_no_folder_for_salvage_where_nothing_was_salvaged(
    tmp_path: Path, archive: Path, folder: str, code: int
) -> None:
    options = ("--strict", "--flag", tmp_path / "flag", "--directory", archive, "--directory", archive / folder)
    assert run_script(restore_wal.__file__, *options, NAME, tmp_path / "target").returncode == code


def test_flag_stops_it_at_once(tmp_path: Path, archive: Path) -> None:
    (archive / NAME).write_bytes(b"own")
    (tmp_path / "flag").touch()
    assert restore([archive], tmp_path / "target", tmp_path / "flag") == 1
    assert not (tmp_path / "target").exists()


def test_hanging_archive_does_not_hide_the_next_one(tmp_path: Path, archive: Path) -> None:
    other = tmp_path / "peer"
    other.mkdir()
    os.mkfifo(archive / NAME)
    (other / NAME).write_bytes(b"peer's")
    begun_s = time.monotonic()
    assert restore([archive, other], tmp_path / "target", tmp_path / "flag", 1.0) == 0
    assert time.monotonic() - begun_s < 3
    assert (tmp_path / "target").read_bytes() == b"peer's"


def test_flag_that_appears_while_an_archive_hangs_ends_the_wait(tmp_path: Path, archive: Path) -> None:
    os.mkfifo(archive / NAME)
    timer = threading.Timer(0.5, (tmp_path / "flag").touch)
    timer.start()
    begun_s = time.monotonic()
    assert restore([archive], tmp_path / "target", tmp_path / "flag", 15.0) == 1
    assert time.monotonic() - begun_s < 5
    timer.join()


def test_scripts_start_fast_and_need_no_library(tmp_path: Path, segment: Path, archive: Path) -> None:
    """PostgreSQL starts one for each file. Counted in CPU time, for the machine may be busy."""

    def cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    segment.write_bytes(b"short")
    spent = []
    for _ in range(5):
        begun_s = cpu_s()
        assert restore([tmp_path], tmp_path / "target", tmp_path / "flag") == 1
        assert run_script(archive_wal.__file__, "--directory", archive, segment).returncode == 0
        spent.append(cpu_s() - begun_s)
    assert min(spent) < 2 * 0.1


def test_an_archive_that_hung_is_not_asked_again_for_a_while(tmp_path: Path) -> None:
    own, peer, target = tmp_path / "own", tmp_path / "peer", tmp_path / "target"
    own.mkdir()
    peer.mkdir()
    os.mkfifo(peer / "00000001000000000000000A")  # opening it waits for a writer that never comes
    (peer / "00000001000000000000000B").write_bytes(b"wal")
    flag = tmp_path / "flag"
    assert restore_wal.restore_wal("00000001000000000000000A", target, [own, peer], flag, 0.4) != 0
    assert restore_wal.restore_wal("00000001000000000000000B", target, [own, peer], flag, 5.0) != 0
    (own / restore_wal.HANGS).unlink()
    assert restore_wal.restore_wal("00000001000000000000000B", target, [own, peer], flag, 5.0) == 0


def test_the_other_hosts_archive_has_the_suffixes_of_the_packers() -> None:
    assert list(peer_wire.SUFFIXES) == [packing.suffix for packing in packing.PACKINGS.values()]
    assert peer_reader.SALVAGE == restore_wal.SALVAGE
