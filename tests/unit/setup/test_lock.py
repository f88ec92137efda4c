"""The lock file holds what setup.cfg asks for, by hash, and names nobody's index; and no other file is installed."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "requirements.lock"


def locked(text: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes by name."""
    joined = text.replace("\\\n", " ")
    entries = re.findall(r"^([a-z0-9-]+)==([^\s;]+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*$", joined, re.MULTILINE)
    return {name: (version, hashes.split()) for name, version, hashes in entries}


def wanted() -> list[Requirement]:
    """What setup.cfg and pyproject.toml ask for."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].splitlines()
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return [Requirement(line) for line in (*lines, *build) if line and not line.startswith("#")]


def test_every_library_is_there_in_a_version_that_is_wanted() -> None:
    found = locked(LOCK.read_text())
    for one in wanted():
        version, hashes = found[canonicalize_name(one.name)]
        assert one.specifier.contains(version), f"{one}: {version} is locked; run scripts/lock"
        assert hashes


def test_every_line_is_a_version_with_hashes_and_none_an_address() -> None:
    text = LOCK.read_text()
    entries = [line for line in text.splitlines() if re.match(r"[a-z]", line)]
    assert len(locked(text)) == len(entries) >= len(wanted())
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]


def test_lower_bounds_are_written_for_every_library() -> None:
    """The lane of the lowest versions takes them from there."""
    for one in wanted():
        assert [spec.operator for spec in one.specifier] == [">="], one


def test_a_wheel_that_has_not_the_locked_hash_is_not_installed(tmp_path: Path) -> None:
    """Of the right name and version, from a directory as --wheels names one."""
    version, _ = locked(LOCK.read_text())["tenacity"]
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / f"tenacity-{version}-py3-none-any.whl", "w") as wheel:
        info = f"tenacity-{version}.dist-info"
        wheel.writestr("tenacity/__init__.py", "raise SystemExit('somebody else wrote this')\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tenacity\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    lock = tmp_path / "one.lock"
    lock.write_text(re.search(r"^tenacity==(?:.*\\\n)*.*\n", LOCK.read_text(), re.MULTILINE)[0])  # type: ignore[index]  # it is there
    argv = [sys.executable, "-m", "pip", "install", "--no-index", "--no-cache-dir", "--only-binary", ":all:",
            "--find-links", str(wheels), "--target", str(tmp_path / "target")]  # fmt: skip
    plain = subprocess.run([*argv, f"tenacity=={version}"], capture_output=True, text=True, timeout=60, check=False)
    assert plain.returncode == 0, plain.stderr  # the wheel is good as such
    shutil.rmtree(tmp_path / "target")
    done = subprocess.run(
        [*argv, "--require-hashes", "-r", str(lock)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "HASH" in done.stderr.upper()
    assert not (tmp_path / "target" / "tenacity").exists()


@pytest.mark.parametrize("word", ["--require-hashes", "--only-binary :all:", "--no-index", "--no-build-isolation"])
def test_the_installer_takes_nothing_else(word: str) -> None:
    text = (ROOT / "scripts" / "install").read_text()
    assert word in text
    calls = [line for line in text.splitlines() if re.search(r"pip (install|download)\b", line)]
    assert len(calls) == 2  # one downloads by hash, one installs from files


def test_the_licences_of_all_libraries_are_told() -> None:
    """And of no other version: whoever moves to a newer library looks at its licence."""
    text = (ROOT / "docs" / "security.md").read_text()
    told = dict(re.findall(r"^\| ([\w-]+) \| (\d[\w.]*) \|", text, re.MULTILINE))
    assert told == {name: version for name, (version, _) in locked(LOCK.read_text()).items()}
