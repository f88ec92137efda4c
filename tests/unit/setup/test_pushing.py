"""Files of PostgreSQL's user: read for the comparison, kept, written, put back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pgvip.errors import ActionError
from pgvip.setup import access, portrait, pushing
from pgvip.setup.portrait import ODD
from tests.unit import configs

LINES = ["host app app 192.0.2.0/24 md5", "host all all all reject"]


def test_new_lines_come_below_pgvips_own_and_the_old_file_stays(tmp_path: Path) -> None:
    config, path = configs.make(tmp_path), tmp_path / "pg_hba.conf"
    before = access.with_block("host old old all md5\n", access.hba_lines(config))
    path.write_text(before)
    path.chmod(0o640)
    [kept] = pushing.keep([str(path)], "20260101-000000")
    assert kept == f"{path}.replaced-20260101-000000"
    assert Path(kept).read_text() == before
    assert stat.S_IMODE(Path(kept).stat().st_mode) == 0o640
    pushing.write_lines(config, "pg_hba.conf", str(path), LINES)
    assert path.read_text() == access.with_block("\n".join(LINES), access.hba_lines(config))
    assert access.without_block(path.read_text()).splitlines() == LINES
    pushing.put_back([str(path)], [kept])
    assert path.read_text() == before
    assert not Path(kept).exists()


def test_each_file_has_its_own_block_whatever_its_name(tmp_path: Path) -> None:
    config, path = configs.make(tmp_path), tmp_path / "maps"
    path.write_text("")
    pushing.write_lines(config, "pg_ident.conf", str(path), ["m a b"])
    assert path.read_text() == access.with_block("m a b", access.ident_lines(config))


def test_a_file_that_cannot_be_kept_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="could not keep"):
        pushing.keep([str(tmp_path / "absent")], "1")
    pushing.put_back([str(tmp_path / "a")], [str(tmp_path / "absent")])
    assert not (tmp_path / "a").exists()


def test_what_is_on_the_disks_is_seen_and_bounded(tmp_path: Path) -> None:
    config = configs.make(tmp_path)
    hba, ident = tmp_path / "pg_hba.conf", tmp_path / "pg_ident.conf"
    hba.write_bytes(access.with_block("# caf\u00e9\n", access.hba_lines(config)).encode("latin-1") + b"a b\r\nc\x01d\n")
    ident.write_text("")
    library = tmp_path / "lib"
    (library / "plugins").mkdir(parents=True)
    for name in ("plpgsql.so", "pg_trgm.so", "README", "plugins/debugger.so"):
        (library / name).touch()
    places = [str(tmp_path), str(tmp_path / "absent"), str(hba)]
    seen = portrait.look(config, [str(hba), str(ident)], places, ["C", "xx_XX.none", ""], named=True)
    assert seen.files == {"pg_hba.conf": (f"# caf{ODD}", "a b", f"c{ODD}d"), "pg_ident.conf": ()}
    assert seen.library_files == ("pg_trgm", "plpgsql", "plugins/debugger")
    assert seen.directories[str(tmp_path)] > 0
    assert (seen.directories[places[1]], seen.directories[places[2]]) == (0, 0)
    assert seen.locales == {"C": True, "xx_XX.none": False, "": True}
    assert portrait.look(config, [str(hba), str(ident)], [], [], named=False).library_files == ()
    hba.write_bytes(b"x" * (portrait.FILE_BYTES_MAX + 1))
    with pytest.raises(OSError, match="longer"):
        portrait.look(config, [str(hba), str(ident)], [], [], named=True)
