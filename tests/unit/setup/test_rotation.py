"""New keys for both hosts: whatever step is cut short, each accepts what the other uses; at the end nothing old."""

from __future__ import annotations

import argparse
import itertools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pgvip.cli.rotate import rotate
from pgvip.config.model import Config
from pgvip.errors import LinkError, RefusedError
from pgvip.link import tls
from pgvip.link.certificates import make_pair_certificates
from pgvip.setup import rotation, rotation_order, server_keys
from pgvip.setup.rotation_order import Look
from pgvip.state import codec, files
from pgvip.system.server_tls import AUTHORITIES, EITHER
from tests.unit import verified_pair

PARTS = 6
"""Of the longest test: all files that are written, one after the other."""


class PowerCut(Exception):
    """The host is gone in the middle of something."""


def linked(root: Path) -> tuple[Config, Config]:
    """Both hosts, with keys of the link too."""
    here, there = verified_pair.pair(root)
    made = make_pair_certificates([here.me.name, there.me.name])
    for one in (here, there):
        tls.install(one.paths.certificates, made[one.me.name], made[one.peer.name].certificate)
    return here, there


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = None) -> bytes:
    """A handshake in memory, until both ends have accepted each other. The server's certificate; ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [near, far]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    return near.getpeercert(binary_form=True) or b""


def link_accepts(one: Config, other: Config) -> bytes:
    contexts, theirs = tls.load_contexts(one.paths.certificates), tls.load_contexts(other.paths.certificates)
    shown = shake(contexts.client, theirs.server)
    assert shown in contexts.peer_ders
    return shown


def postgres_contexts(directory: Path, role: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """As libpq with the keys of a role, and as the server, with what is in this directory."""
    client = ssl.create_default_context(cafile=directory / AUTHORITIES)
    client.load_cert_chain(directory / f"{role}.crt", directory / f"{role}.key")
    if not (directory / "server.key").exists():
        return client, client
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "server.crt", directory / "server.key")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(directory / AUTHORITIES)
    return client, server


def postgres_accepts(one: Config, other: Config) -> bytes:
    """From host to host, of both roles and with both copies of the keys."""
    shown = b""
    _, server = postgres_contexts(other.paths.server_keys, "pgvip")
    for directory, role in (
        (one.paths.server_keys, "pgvip"),
        (one.paths.server_keys, "pgvip_replication"),
        (one.paths.postgres_keys, "pgvip"),
    ):
        client, _ = postgres_contexts(directory, role)
        shown = shake(client, server, other.me.name)
    return shown


def works(here: Config, there: Config) -> None:
    for one, other in ((here, there), (there, here)):
        postgres_accepts(one, other)
        link_accepts(one, other)
    for one in (here, there):  # through the virtual address
        client, server = postgres_contexts(one.paths.server_keys, "pgvip")
        shake(client, server, EITHER)


@dataclass
class Daemons:
    """Both daemons' part of the steps, on real files; `cut`: which step ends in a power cut, before or after it."""

    here: Config
    there: Config
    cut: int = -1
    verifies: bool = True
    taken: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, host: str, step: str, words: Mapping[str, Any]) -> Mapping[str, Any]:
        mine, other = (self.here, self.there) if host == self.here.me.name else (self.there, self.here)
        if step == "look":
            return {"look": codec.encode(self.look(mine))}
        number = len(self.taken)
        self.taken.append((host, step))
        if number == self.cut:
            raise PowerCut
        if step == "prepare":
            rotation.prepare(mine, codec.decode(rotation.Next, words["next"]))
        elif step == "use":
            rotation.use(mine, words["number"])
        elif step == "finish":
            rotation.finish(mine, words["number"])
        elif step == "verify" and self.verifies:
            shown, found = link_accepts(mine, other), rotation.load(mine).next
            postgres_accepts(mine, other)
            if words and found is not None:
                assert shown == ssl.PEM_cert_to_DER_cert(found.peer.certificate)
        return {}

    def look(self, mine: Config) -> Look:
        found = rotation.load(mine)
        prepared = "" if found.next is None else found.next.number
        return Look(mine.me.name, self.here.me.name, found.done, prepared, found.using)


def options(*, dry_run: bool = False, prepare: bool = False) -> argparse.Namespace:
    return argparse.Namespace(dry_run=dry_run, prepare=prepare)


def turn(daemons: Daemons) -> dict[str, Any]:
    return rotate(daemons.here, daemons, options(), say=lambda _text: None)


def secrets_of(config: Config) -> dict[str, bytes]:
    paths = config.paths
    return {
        str(path.relative_to(paths.state)): path.read_bytes()
        for directory in (paths.certificates, paths.postgres_keys, paths.server_keys)
        for path in directory.iterdir()
        if path.suffix in (".key", ".crt")
    }


def all_new(old: Mapping[str, bytes], config: Config) -> None:
    """Every file is another one, and no certificate of the old ones is left in any."""
    new = secrets_of(config)
    assert new.keys() == old.keys()
    before = {block for text in old.values() for block in text.split(b"-----BEGIN ") if block}
    after = {block for text in new.values() for block in text.split(b"-----BEGIN ") if block}
    assert not before & after


def test_both_hosts_have_new_keys_and_refuse_the_old_ones(tmp_path: Path) -> None:
    here, there = linked(tmp_path)
    old = {one.me.name: secrets_of(one) for one in (here, there)}
    old_link = tls.load_contexts(there.paths.certificates)
    old_client, _ = postgres_contexts(there.paths.server_keys, "pgvip_replication")
    daemons = Daemons(here, there)
    done = turn(daemons)
    assert done["resumed"] is False
    works(here, there)
    for one in (here, there):
        all_new(old[one.me.name], one)
        assert not (one.paths.certificates / tls.NEXT).exists()
        assert rotation.load(one).next is None
        for path in (one.paths.certificates / rotation.FILE, *one.paths.server_keys.iterdir()):
            assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ssl.SSLError):
        shake(old_link.client, tls.load_contexts(here.paths.certificates).server)
    _, server = postgres_contexts(here.paths.server_keys, "pgvip")
    old_client.check_hostname, old_client.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        shake(old_client, server)


def test_the_standby_comes_first_and_each_is_verified_before_the_next(tmp_path: Path) -> None:
    here, there = linked(tmp_path)
    daemons = Daemons(here, there)
    turn(daemons)
    names = [f"{host} {step}" for host, step in daemons.taken]
    assert names == [
        "berlin prepare", "paris prepare",
        "paris use", "paris verify", "berlin verify", "berlin use", "berlin verify", "paris verify",
        "paris finish", "berlin finish", "paris verify", "berlin verify",
    ]  # fmt: skip


def test_it_can_be_done_again_and_again(tmp_path: Path) -> None:
    here, there = linked(tmp_path)
    for _ in range(3):
        old = secrets_of(here)
        turn(Daemons(here, there))
        all_new(old, here)
        works(here, there)


@pytest.mark.parametrize("cut", range(1, 11))
def test_cut_short_between_two_steps_the_pair_works_and_a_second_call_ends_it(tmp_path: Path, cut: int) -> None:
    here, there = linked(tmp_path)
    old = {one.me.name: secrets_of(one) for one in (here, there)}
    with pytest.raises(PowerCut):
        turn(Daemons(here, there, cut=cut, verifies=False))
    works(here, there)
    turn(Daemons(here, there))
    for one in (here, there):
        all_new(old[one.me.name], one)


def cut_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The power goes right before the file of this number is written."""
    count = itertools.count()
    write = files.write

    def cut(path: Path, content: str | bytes, **more: Any) -> None:
        if more.get("durable", True) and next(count) == number:
            raise PowerCut
        write(path, content, **more)

    monkeypatch.setattr(files, "write", cut)


@pytest.mark.parametrize("part", range(PARTS))
def test_cut_short_before_any_file_the_pair_works_once_its_daemons_run(tmp_path: Path, part: int) -> None:
    for number in itertools.count(part, PARTS):
        here, there = linked(tmp_path / str(number))
        old = {one.me.name: secrets_of(one) for one in (here, there)}
        with pytest.MonkeyPatch.context() as patch:
            cut_at(patch, number)
            try:
                turn(Daemons(here, there, verifies=False))
            except PowerCut:
                pass
            else:
                assert number > 30  # every file of both hosts had its turn
                return
        for one in (here, there):
            rotation.resume(one)
        works(here, there)
        turn(Daemons(there, here, verifies=False))
        for one in (here, there):
            all_new(old[one.me.name], one)


def test_keys_that_do_not_fit_are_put_in_no_place(tmp_path: Path) -> None:
    here, _ = linked(tmp_path)
    before = secrets_of(here)
    own, peer = rotation.make(here)
    good = rotation.next_of("7", own, peer.public)
    for wrong in (
        replace(good, key=peer.link.key),
        replace(good, certificate="nonsense"),
        replace(good, files={**good.files, "server.key": peer.files["server.key"]}),
        replace(good, files={**good.files, "../../../shadow": "x"}),
        replace(good, files={}),
        replace(good, peer=rotation.Public("", peer.public.authority)),
        replace(good, peer=rotation.Public(peer.public.certificate, "nonsense")),
    ):
        with pytest.raises(RefusedError):
            rotation.prepare(here, wrong)
    assert secrets_of(here) == before
    assert rotation.load(here) == rotation.Rotation()


def test_next_keys_are_not_used_or_alone_trusted_out_of_turn(tmp_path: Path) -> None:
    here, _ = linked(tmp_path)
    own, peer = rotation.make(here)
    with pytest.raises(RefusedError, match="knows nothing of rotation 7"):
        rotation.use(here, "7")
    rotation.prepare(here, replace(rotation.next_of("7", own, peer.public), using=True))
    with pytest.raises(RefusedError, match="does not use the keys of rotation 7 yet"):
        rotation.finish(here, "7")
    rotation.use(here, "7")
    with pytest.raises(RefusedError, match="has not finished rotation 7"):
        rotation.prepare(here, rotation.next_of("8", own, peer.public))


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    own, peer = rotation.make(verified_pair.berlin(tmp_path))
    said = repr((own, rotation.next_of("7", own, peer.public)))
    said += repr(rotation_order.steps(verified_pair.berlin(tmp_path), [Look("berlin"), Look("paris")]))
    assert "PRIVATE" not in said


@pytest.mark.parametrize(
    ("looks", "named"),
    [
        ([Look("berlin", refusal="this host is leaving"), Look("paris")], "berlin: this host is leaving"),
        ([Look("berlin"), Look("paris", refusal="a change is under way")], "paris: a change is under way"),
        ([Look("berlin", using="7"), Look("paris", prepared="8")], "not in the same rotation"),
        ([Look("berlin", using="7", prepared="7"), Look("paris", using="8", prepared="8")], "not in the same rotation"),
        ([Look("berlin", using="7", prepared="7"), Look("paris", prepared="7")], ""),
        ([Look("berlin", using="7", prepared="7"), Look("paris", done="7")], ""),
        ([Look("berlin", prepared="7"), Look("paris", done="6")], ""),
    ],
)
def test_what_stands_against_it_is_said_before_anything_changes(looks: list[Look], named: str) -> None:
    if not named:
        rotation_order.refuse(looks)
        return
    with pytest.raises(RefusedError, match=named):
        rotation_order.refuse(looks)


def test_a_dry_run_lists_the_steps_and_changes_nothing(tmp_path: Path) -> None:
    here, there = linked(tmp_path)
    before, said = secrets_of(here), list[str]()
    daemons = Daemons(here, there)
    done = rotate(here, daemons, options(dry_run=True), say=said.append)
    assert daemons.taken == []
    assert secrets_of(here) == before
    assert len(said) == len(done["steps"])
    assert all(line.startswith("  - ") for line in said)


def test_a_call_that_prepares_lets_applications_be_told_first(tmp_path: Path) -> None:
    """They verify the server by authorities.crt: it has the next authorities before any server uses them."""
    here, there = linked(tmp_path)
    old = secrets_of(there)
    for _ in range(2):
        rotate(here, Daemons(here, there), options(prepare=True), say=lambda _text: None)
    told = (here.paths.postgres_keys / AUTHORITIES).read_text()
    works(here, there)
    assert secrets_of(there)["work/tls/server.key"] == old["work/tls/server.key"]
    assert turn(Daemons(there, here))["resumed"] is True
    all_new(old, there)
    client = ssl.create_default_context(cadata=told)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(there.paths.server_keys / "server.crt", there.paths.server_keys / "server.key")
    shake(client, server, EITHER)


def test_a_failure_on_the_way_says_that_the_pair_works_and_how_to_go_on(tmp_path: Path) -> None:
    here, there = linked(tmp_path)
    daemons = Daemons(here, there)

    def ask(host: str, step: str, words: Mapping[str, Any]) -> Mapping[str, Any]:
        if step == "verify":
            raise LinkError("the database does not answer", "Why.", "See there.")
        return daemons(host, step, words)

    with pytest.raises(LinkError) as caught:
        rotate(here, ask, options(), say=lambda _text: None)
    assert caught.value.hint.startswith("See there. The pair works with the old and the new keys.")


@pytest.mark.parametrize("cut", [1, 3, 6, 9])
def test_a_bundle_after_an_interruption_makes_a_whole_of_it(tmp_path: Path, cut: int) -> None:
    """The other host has lost everything: this one keeps what it uses and trusts the bundle's keys alone."""
    here, there = linked(tmp_path)
    with pytest.raises(PowerCut):
        turn(Daemons(here, there, cut=cut, verifies=False))
    rotation.forget(here, keys_follow=False)
    keys = server_keys.for_peer(here)
    made = make_pair_certificates([there.me.name])[there.me.name]
    own = (here.paths.certificates / "own.crt").read_text()
    tls.trust(here.paths.certificates, made.certificate)
    rotation.forget(there, keys_follow=True)
    server_keys.install(there, keys)
    tls.install(there.paths.certificates, made, own)
    works(here, there)
    for one in (here, there):
        assert rotation.load(one) == rotation.Rotation()
        blocks = (one.paths.server_keys / AUTHORITIES).read_text().count("BEGIN")
        assert blocks == 2
    turn(Daemons(here, there))
    works(here, there)


def test_a_state_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    here, _ = linked(tmp_path)
    (here.paths.certificates / rotation.FILE).write_text("{")
    with pytest.raises(LinkError, match=r"rotation\.json") as caught:
        rotation.load(here)
    assert "pgvip bundle" in caught.value.hint
    rotation.forget(here, keys_follow=True)
    assert rotation.load(here) == rotation.Rotation()


def test_a_pair_without_keys_for_postgresql_gets_them(tmp_path: Path) -> None:
    """It was set up before there were any, or with tls = "off"."""
    here, there = linked(tmp_path)
    for one in (here, there):
        for directory in (one.paths.postgres_keys, one.paths.server_keys):
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()

    def ask(host: str, step: str, words: Mapping[str, Any]) -> Mapping[str, Any]:
        return {} if step == "verify" else daemons(host, step, words)

    daemons = Daemons(here, there)
    rotate(here, ask, options(), say=lambda _text: None)
    works(here, there)
    assert server_keys.is_complete(here)
