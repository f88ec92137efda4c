"""The daemon's part of `pgvip config apply`: what a host would take, and that it takes nothing but its own file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgvip.config.load import load
from pgvip.daemon.apply_desk import ApplyDesk
from pgvip.daemon.live_config import LiveConfig, Options
from pgvip.errors import ConfigError, LinkError, RefusedError
from pgvip.setup.apply_order import Look
from pgvip.state import codec
from tests.unit.config_text import edited
from tests.unit.core_world import claiming, primary, standby
from tests.unit.daemon.test_rotation_desk import Peer
from tests.unit.orders.test_order_table import snapshot_of

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = ("192.0.2.11/24", "127.0.0.2/8")
"""An address that this host has."""
OTHERS = [("192.0.2.12/24", "127.0.0.3/8"), ('"192.0.2.10"', '"127.0.0.10"'), ('"192.0.2.20"', '"127.0.0.20"')]


class World:
    """One host with a file of its own."""

    def __init__(self, root: Path) -> None:
        self.file, self.run = root / "pgvip.toml", ("[paths]", f'[paths]\nrun = "{root}"')
        self.write()
        self.live = LiveConfig(load(self.file, "db1"), Options(self.file, "db1"))
        self.snapshot, self.peer, self.reloads = snapshot_of(primary()), Peer(), 0
        self.desk = ApplyDesk(self.live, lambda: self.snapshot, self.reload, lambda: False, self.peer)

    def write(self, *edits: tuple[str, str]) -> None:
        self.file.write_text(edited(self.run, *edits))

    def reload(self) -> None:
        self.reloads += 1
        self.live.reload()

    def look(self) -> Look:
        return codec.decode(Look, self.desk.answer({"step": "look"})["look"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_look_says_what_the_file_would_change_and_changes_nothing(world: World) -> None:
    assert world.look().changes == ()
    digest = world.look().digest
    world.write(("192.0.2.20", "192.0.2.21"), ("[archive]", "[archive]\nenabled = false"))
    look = world.look()
    assert 'addresses.standby: "192.0.2.20" -> "192.0.2.21"' in look.changes
    assert look.restart == ("archive.enabled: true -> false",)
    assert look.digest != digest
    assert ("addresses.standby", "192.0.2.21/32") in look.values
    assert not look.moves
    assert world.reloads == 0


def test_the_file_is_in_force_when_the_step_has_ended(world: World) -> None:
    world.write(("192.0.2.20", "192.0.2.21"))
    world.desk.answer({"step": "take"})
    assert world.look().changes == ()
    world.desk.answer({"step": "take"})
    world.write(("192.0.2.20", "192.0.2.10"))
    with pytest.raises(ConfigError):
        world.desk.answer({"step": "take"})


def test_an_own_address_that_is_not_here_is_refused(world: World) -> None:
    world.write(("192.0.2.11/24", "192.0.2.19/24"))
    look = world.look()
    assert "hosts.db1.address = 192.0.2.19 is no address of this host" in look.refusal
    assert look.hint == "Give it to lo first, beside 192.0.2.11."
    world.live.reload()
    assert world.live().me.address == "192.0.2.11"
    world.write(LOOPBACK, *OTHERS)
    look = world.look()
    assert look.moves
    assert not look.refusal
    world.desk.answer({"step": "take"})
    assert (world.live().me.address, world.live().peer.address) == ("127.0.0.2", "127.0.0.3")
    assert {one.address for one in world.live().former_addresses} == {"192.0.2.11", "192.0.2.12"}


def test_no_change_of_the_role_may_be_under_way(world: World) -> None:
    world.write(("192.0.2.20", "192.0.2.21"))
    world.snapshot = snapshot_of(claiming(standby()))
    assert "a change is under way: " in world.look().refusal


def test_the_other_host_is_asked_and_told_nothing_of_the_file(world: World) -> None:
    world.peer.answers = [{"ok": True, "look": codec.encode(Look("db2"))}]
    found = world.desk.handle({"command": "config-apply", "host": "db2", "step": "look", "text": "x"}, None)
    assert found == {"look": codec.encode(Look("db2"))}
    assert world.peer.asked == [{"ask": "config-apply", "step": "look"}]
    world.peer.answers = [{"ok": False, "error": "it cannot", "detail": "", "hint": "Do that."}]
    with pytest.raises(RefusedError, match="db2: it cannot"):
        world.desk.handle({"host": "db2", "step": "take"}, None)


def test_a_silent_host_is_one_that_can_be_looked_at(world: World) -> None:
    world.peer.answers = [LinkError("not connected")] * 20
    look = codec.decode(Look, world.desk.handle({"host": "db2", "step": "look"}, None)["look"])
    assert look.silent
    assert replace(look, refusal="", hint="") == Look("db2", silent=True)
    world.peer.answers = [LinkError("not connected")] * 20
    with pytest.raises(LinkError):
        world.desk.handle({"host": "db2", "step": "take"}, None)


def test_an_unknown_step_is_refused(world: World) -> None:
    with pytest.raises(RefusedError, match="unknown step"):
        world.desk.answer({"step": "write"})
