"""Hooks of the daemon: which are called for what, with which words; that nothing waits for them; the veto."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pgvip.config import load
from pgvip.config.model import Config
from pgvip.deadlines import now_s, wait_until
from pgvip.events.event_table import VETO, Event, kind
from pgvip.hooks import calls
from pgvip.hooks.calls import Hooks
from pgvip.status.snapshot import Newest
from tests.unit.config_text import edited
from tests.unit.core_world import primary
from tests.unit.orders.test_order_table import snapshot_of

ALL_WORDS = 'env | grep ^PGVIP_ | sort > "$0.words"; echo "$*" > "$0.arguments"'


@dataclass
class Ground:
    """A directory of hooks and the daemon's side of it."""

    place: Path
    timeout_s: float = 5.0
    veto_timeout_s: float = 5.0
    alert: Path | None = None
    logged: list[tuple[str, str]] = field(default_factory=list)

    def config(self) -> Config:
        plain = load.parse(edited(), "db1")
        changed = replace(plain.hooks, directory=self.place, timeout_s=self.timeout_s, alert=self.alert)
        settings = replace(plain.settings, veto_timeout_s=self.veto_timeout_s)
        return replace(plain, hooks=changed, settings=settings)

    def hooks(self, role: str = "standby") -> Hooks:
        newest = Newest()
        newest.put(snapshot_of(primary()))
        made = Hooks(
            self.config, newest, lambda name, text, _: self.logged.append((name, text)), role
        )
        made.start()
        return made

    def add(self, event: str, name: str, script: str, mode: int = 0o755) -> Path:
        path = self.place / event / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return path

    def said(self, event: str) -> list[str]:
        return [text for name, text in self.logged if name == event]

    def wait(self, event: str, count: int = 1) -> None:
        wait_until(lambda: len(self.said(event)) >= count, 10, what=f"{event}: {self.logged}")


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    place = tmp_path / "hooks.d"
    place.mkdir(mode=0o755)
    return Ground(place)


def event(name: str = "fenced", text: str = "db2 is verified off", **fields: str) -> Event:
    return Event(name, kind(name).level, text, "2026-01-02T03:04:05.678Z", "db1", "orders", 7, tuple(fields.items()))


def words(path: Path) -> dict[str, str]:
    lines = path.with_name(path.name + ".words").read_text().splitlines()
    return dict(line.removeprefix("PGVIP_").split("=", 1) for line in lines)


def test_the_hooks_of_an_event_are_called_in_order_with_its_words(ground: Ground) -> None:
    first = ground.add("fenced", "10-first.sh", ALL_WORDS + f"; echo first >> {ground.place}/order")
    ground.add("fenced", "20-second", f"echo second >> {ground.place}/order")
    ground.add("claim", "10-other", f"echo other >> {ground.place}/order")
    ground.hooks().hear(event(tries="2", host="a liar"))
    ground.wait("hook", 2)
    assert (ground.place / "order").read_text() == "first\nsecond\n"
    assert first.with_name("10-first.sh.arguments").read_text() == "fenced standby orders\n"
    told = words(first)
    assert told.items() >= {
        "EVENT": "fenced", "LEVEL": "notice", "TEXT": "db2 is verified off", "DETAIL": "db2 is verified off",
        "AT": "2026-01-02T03:04:05.678Z", "TERM": "7", "TRIES": "2", "PAIR": "orders", "HOST": "db1", "PEER": "db2",
        "ROLE": "standby", "OLD_ROLE": "standby", "PRIMARY": "a", "MODE": "pair", "VIPS_HELD": "192.0.2.10",
        "PRIMARY_VIP": "192.0.2.10", "STANDBY_VIP": "192.0.2.20", "PORT": "5432",
        "ADDRESS": "192.0.2.11", "PEER_ADDRESS": "192.0.2.12",
    }.items()  # fmt: skip
    assert set(told) >= {"CONFIG", "DATA_DIRECTORY", "CAUSE", "NEW_ROLE"}


def test_a_role_s_hook_knows_the_old_and_the_new_one_and_so_do_later_events(ground: Ground) -> None:
    role = ground.add("role-change", "10", ALL_WORDS)
    other = ground.add("fenced", "10", ALL_WORDS)
    made = ground.hooks("standby")
    made.hear(event("role-change", "…", old="standby", new="primary_standby", cause="take-over-by-fence"))
    made.hear(event())
    ground.wait("hook", 2)
    told = words(role)
    assert (told["OLD_ROLE"], told["ROLE"], told["NEW_ROLE"]) == ("standby", "primary_standby", "primary_standby")
    assert (told["CAUSE"], told["DETAIL"]) == ("take-over-by-fence", "take-over-by-fence")
    assert words(other)["ROLE"] == words(other)["OLD_ROLE"] == "primary_standby"


def test_an_event_without_hooks_calls_none(ground: Ground) -> None:
    for name in ("link", "record", "fenced"):
        ground.add(name, "10", "exit 0")
    made = ground.hooks()
    for name in ("link", "record", "fenced"):
        made.hear(event(name))
    ground.wait("hook")
    assert [text.split(" in ")[0] for text in ground.said("hook")] == ["fenced: 10"]


def test_a_failure_is_told_and_the_next_hook_is_called(ground: Ground) -> None:
    ground.add("fenced", "10", "echo no mail server >&2; exit 3")
    ground.add("fenced", "20", "exit 0")
    ground.hooks().hear(event())
    ground.wait("hook")
    (failed,) = ground.said("hook-failed")
    assert failed.startswith("fenced: ")
    assert "failed with exit code 3" in failed
    assert "no mail server" in failed


def test_what_others_may_write_is_not_called_and_that_is_told(ground: Ground) -> None:
    ground.add("fenced", "10", f"touch {ground.place}/called", 0o777)
    ground.add("fenced", "20", "exit 0")
    ground.hooks().hear(event())
    ground.wait("hook")
    assert "can be written by others" in ground.said("hook-refused")[0]
    assert not (ground.place / "called").exists()


def test_a_hook_that_hangs_keeps_neither_the_teller_nor_a_role_s_hook_waiting(ground: Ground) -> None:
    ground.timeout_s = 1.0
    ground.add("fenced", "10", "sleep 60")
    ground.add("role-change", "10", "exit 0")
    made = ground.hooks()
    began_s = now_s()
    made.hear(event())
    made.hear(event("role-change", old="standby", new="primary"))
    assert now_s() - began_s < 0.5
    ground.wait("hook")
    assert ground.said("hook-failed") == []
    ground.wait("hook-failed")
    assert "did not finish within 1 s" in ground.said("hook-failed")[0]


def test_too_many_that_wait_are_dropped_and_that_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAITING_MAX", 3)
    ground.add("fenced", "10", f"while ! test -e {ground.place}/go; do sleep 0.02; done")
    made = ground.hooks()
    for _ in range(10):
        made.hear(event())
    (ground.place / "go").touch()
    ground.wait("hook", 3)
    assert len(ground.said("hook-dropped")) in (6, 7)


def test_the_alert_hook_hears_of_every_event_and_knows_a_role_by_its_old_name(ground: Ground) -> None:
    script = 'echo "$1 $PGVIP_EVENT $PGVIP_OLD_ROLE $PGVIP_NEW_ROLE" >> "$0.said"'
    ground.alert = ground.add("elsewhere", "alert", script)
    made = ground.hooks()
    made.hear(event("role-change", old="standby", new="primary", cause="x"))
    ground.wait("hook")
    made.hear(event())
    made.hear(event("link"))
    ground.wait("hook", 2)
    said = ground.alert.with_name("alert.said").read_text()
    assert said == "role role standby primary\nfenced fenced primary primary\n"


def test_an_alert_hook_that_others_may_change_is_not_called(ground: Ground) -> None:
    """Root called it, whoever could write it."""
    ground.alert = ground.add("elsewhere", "alert", 'touch "$0.called"', mode=0o757)
    ground.hooks().hear(event())
    ground.wait("hook-refused")
    assert "can be written by others" in ground.said("hook-refused")[0]
    assert not ground.alert.with_name("alert.called").exists()
    assert not ground.said("hook")


# --- the veto -------------------------------------------------------------------------------------------


def test_without_hooks_nobody_is_against_it(ground: Ground) -> None:
    assert ground.hooks().ask_veto() == ""


@pytest.mark.parametrize(
    ("scripts", "refused", "failed"),
    [
        (["exit 0"], "", 0),
        (["echo a resync is under way; exit 1"], "10: a resync is under way", 0),
        (["exit 1"], "10: no reason given", 0),
        (["exit 0", "exit 1"], "20: no reason given", 0),
        (["exit 2"], "", 1),
        (["exit 2", "exit 1"], "20: no reason given", 1),
        (["kill -9 $$"], "", 1),
    ],
)
def test_exit_code_1_and_nothing_else_is_a_veto(scripts: list[str], refused: str, failed: int, ground: Ground) -> None:
    for number, script in enumerate(scripts, 1):
        ground.add(VETO, f"{number}0", script)
    assert ground.hooks().ask_veto() == refused
    assert len(ground.said("hook-failed")) == failed


def test_the_time_is_for_all_of_them_together(ground: Ground) -> None:
    ground.veto_timeout_s = 0.5
    for number in range(4):
        ground.add(VETO, f"{number}0", "sleep 60")
    began_s = now_s()
    assert ground.hooks().ask_veto() == ""
    assert now_s() - began_s < 0.5 + 4 * 1.5
    assert len(ground.said("hook-failed")) == 4


def test_one_that_is_refused_is_no_veto(ground: Ground) -> None:
    ground.add(VETO, "10", "exit 1", 0o777)
    assert ground.hooks().ask_veto() == ""
    assert len(ground.said("hook-refused")) == 1


def test_a_veto_hook_is_told_what_it_is_asked(ground: Ground) -> None:
    asked = ground.add(VETO, "10", ALL_WORDS)
    ground.hooks().ask_veto()
    told = words(asked)
    assert (told["EVENT"], told["ROLE"], told["NEW_ROLE"]) == (VETO, "standby", "primary_standby")
    assert (told["PEER"], told["TIMEOUT_S"], told["CAUSE"]) == ("db2", "5", "take-over-by-fence")
    assert "shall db1 fence it" in told["TEXT"]
