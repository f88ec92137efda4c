"""Two hosts whose file says another `postgresql.tls`: what lies on their disks after each step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pgvip.config.model import Config
from pgvip.daemon import rotation_desk, tls_change
from pgvip.daemon.live_config import LiveConfig, Options
from pgvip.daemon.tls_change import QUESTION, TlsChange
from pgvip.errors import LinkError, PgvipError, ProbeError, RefusedError
from pgvip.setup import access, enrolment, rotation, server_keys
from pgvip.setup.tls_order import BY_ITSELF
from pgvip.state import codec, record
from pgvip.state.record import InDoubtError, load_tls
from pgvip.system import pgconf, pgtools, processes, server_tls
from tests.unit import configs

PASSWORDS = "*:*:*:pgvip:one\n*:*:*:pgvip_replication:two\n"


class Edited(LiveConfig):
    """Its file can be written."""

    def want(self, tls: str) -> None:
        self._config = replace(self._config, postgres=replace(self._config.postgres, tls_wanted=tls))


class Host:
    """One host with its daemon's part; `roles`: what its server was given of pgvip's roles."""

    def __init__(self, config: Config) -> None:
        self.live = Edited(config, Options())
        self.peer: Host | None = None
        self.events, self.roles = list[str](), list[str]()
        self.data = config.postgres.data_directory
        self.data.mkdir(parents=True)
        config.paths.certificates.mkdir(parents=True)
        (self.data / "postgresql.conf").write_text("")
        for name in access.FILES:
            (self.data / name).write_text("")
        pgconf.write(config, sync=True, version=15, raised={"max_connections": "200"})
        access.write_access(config)
        self.change = self.restarted()

    def restarted(self) -> TlsChange:
        self.change = TlsChange(self.live, self.ask, lambda _event, text: self.events.append(text))
        return self.change

    def ask(self, question: Mapping[str, Any], _timeout_s: float) -> Mapping[str, Any]:
        """The other daemon, as over the link."""
        assert question["ask"] == QUESTION
        if self.peer is None:
            raise LinkError("not connected")
        try:
            return codec.parse_object(codec.plain_to_json({"ok": True, **self.peer.change.answer(question)}))
        except PgvipError as failure:
            return {"ok": False, "error": failure.message}

    @property
    def hba(self) -> str:
        return (self.data / "pg_hba.conf").read_text()

    @property
    def conf(self) -> str:
        return (self.data / "pgvip.conf").read_text()

    def lets_in(self, config: Config) -> bool:
        """Whether a host with this configuration gets in here: by what the files say, as the server reads them."""
        words = server_tls.client_words(config, "pgvip_replication", config.peer.address, 15, program=True)
        rows = [line.split() for line in self.hba.splitlines() if "pgvip_replication " in line]
        ours = [(row[0], row[4]) for row in rows if row[4] != "reject"]
        with_tls = "ssl = 'on'" in self.conf and words.get("sslmode") == "verify-full"
        kind, method = next(((kind, method) for kind, method in ours if kind == "host" or with_tls), ("", ""))
        if not with_tls:
            return method == "scram-sha-256"
        authorities = (config.paths.server_keys / server_tls.AUTHORITIES).read_text()
        own = (self.live().paths.postgres_keys / server_keys.OWN).read_text()
        theirs = (config.paths.postgres_keys / server_keys.OWN).read_text()
        known = own in authorities and theirs in (self.live().paths.server_keys / server_tls.AUTHORITIES).read_text()
        return (kind, method) == ("hostssl", "cert") and known


class World:
    """Berlin is primary, Paris its standby."""

    def __init__(self, root: Path, tls: str) -> None:
        here = configs.make(root / "berlin")
        there = configs.make(root / "paris", me=here.peer, peer=here.me)
        found = []
        for config in (here, there):
            postgres = replace(config.postgres, tls=tls, tls_wanted=tls)
            found.append(Host(replace(config, postgres=postgres, pair_id="p")))
        self.berlin, self.paris = found
        self.hosts = (self.berlin, self.paris)
        self.berlin.peer, self.paris.peer = self.paris, self.berlin

    def of(self, config: Config) -> Host:
        return self.berlin if config.me.name == "berlin" else self.paris

    def tries(self, config: Config) -> None:
        peer = self.berlin if config.me.name == "paris" else self.paris
        if not peer.lets_in(config):
            raise ProbeError("refused by pg_hba.conf")

    def look(self, *, restart: bool = False) -> None:
        """Each looks once; what each uses is let in by the other all the time."""
        for host in self.hosts:
            if restart:
                host.restarted()
            host.change.look()
            for one in self.hosts:
                self.tries(one.live())

    def want(self, tls: str) -> None:
        for host in self.hosts:
            host.live.want(tls)

    def settle(self, *, restart: bool = False) -> None:
        for _ in range(12):
            self.look(restart=restart)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[World]:
    """The worlds whose servers take what they are given."""
    worlds = list[World]()
    monkeypatch.setattr(tls_change, "QUIET_S", 0.0)

    def _tries(config: Config) -> None:
        worlds[0].tries(config)

    monkeypatch.setattr(access, "access_files", lambda config: tuple(
        config.postgres.data_directory / name for name in access.FILES))
    monkeypatch.setattr(processes, "postmaster", lambda _: processes.ref_of(os.getpid()))
    monkeypatch.setattr(processes, "send", lambda *_: True)
    monkeypatch.setattr(pgtools, "major_version", lambda _: 15)
    monkeypatch.setattr(server_keys, "problems", lambda *_, **__: [])
    monkeypatch.setattr(tls_change, "is_primary", lambda config: config.me.name == "berlin")
    monkeypatch.setattr(tls_change, "has_passwords", lambda _: worlds[0].berlin.roles[-1:] != [""])
    monkeypatch.setattr(enrolment, "make_roles", lambda config, text: worlds[0].of(config).roles.append(text))
    monkeypatch.setattr(rotation_desk, "answers", _tries)
    return worlds


def world(made: list[World], root: Path, tls: str) -> World:
    found = World(root, tls)
    made.append(found)
    for host in found.hosts:
        if tls == "pair":
            server_keys.ensure_own(host.live())
        else:
            access.write_passwords(host.live(), PASSWORDS)
    if tls == "pair":
        for one, other in (found.hosts, found.hosts[::-1]):
            server_keys.trust_peer(one.live(), server_keys.own_authority(other.live()))
    found.settle()
    return found


@pytest.mark.parametrize("restart", [False, True])
def test_tls_is_switched_on(made: list[World], tmp_path: Path, *, restart: bool) -> None:
    pair = world(made, tmp_path, "off")
    pair.want("pair")
    pair.settle(restart=restart)
    for host in pair.hosts:
        config = host.live()
        assert (config.postgres.tls, config.postgres.tls_also) == ("pair", "")
        assert host.hba == access.with_block("", access.hba_lines(replace(config)))
        assert "hostssl" in host.hba
        assert "scram-sha-256" not in host.hba
        assert "ssl_cert_file = " in host.conf
        assert "sslmode=verify-full" in host.conf
        assert "synchronous_standby_names = 'FIRST 1" in host.conf  # the core's affair, and as it was
        assert "max_connections = '200'" in host.conf
        assert host.change.warnings() == ()
    assert pair.berlin.roles == [""], "the passwords are cleared, once"
    assert pair.paris.roles == []
    assert [load_tls(host.live().paths.tls_in_use) for host in pair.hosts] == [record.TlsInUse("pair")] * 2


def test_tls_is_switched_off_where_there_were_no_passwords(made: list[World], tmp_path: Path) -> None:
    pair = world(made, tmp_path, "pair")
    pair.want("off")
    pair.settle()
    texts = {host.live().paths.made_passwords.read_text() for host in pair.hosts}
    texts |= {host.live().paths.own_passwords.read_text() for host in pair.hosts}
    assert pair.berlin.roles == [*texts]
    for host in pair.hosts:
        assert load_tls(host.live().paths.tls_in_use) == record.TlsInUse("off")
        assert "hostssl" not in host.hba
        assert "ssl = " not in host.conf
        assert f"passfile={host.live().paths.made_passwords}" in host.conf
        assert host.live().paths.made_passwords.stat().st_mode & 0o077 == 0
    pair.want("pair")
    pair.settle()
    assert pair.berlin.roles == [*texts, ""]


def test_a_change_is_taken_back_half_way(made: list[World], tmp_path: Path) -> None:
    pair = world(made, tmp_path, "off")
    for looks in range(8):
        pair.want("pair")
        for _ in range(looks):
            pair.look()
        pair.want("off")
        pair.settle()
        for host in pair.hosts:
            assert (host.live().postgres.tls, host.live().postgres.tls_also) == ("off", "")
            assert "hostssl" not in host.hba


def test_files_that_differ_are_warned_of_on_both_and_change_nothing(made: list[World], tmp_path: Path) -> None:
    pair = world(made, tmp_path, "off")
    before = [(host.hba, host.conf) for host in pair.hosts]
    pair.paris.live.want("pair")
    pair.settle()
    assert [(host.hba, host.conf) for host in pair.hosts] == before
    texts = [one.text for host in pair.hosts for one in host.change.warnings()]
    assert texts == [
        'postgresql.tls is "off" in the file here, "off" is in use: the file of paris says "pair"',
        'postgresql.tls is "pair" in the file here, "off" is in use: the file of berlin says "off"',
    ]
    assert all("reload" in one.hint for host in pair.hosts for one in host.change.warnings())
    assert not pair.paris.live().paths.postgres_keys.exists()


def test_a_host_whose_server_refuses_the_other_is_waited_for(
    made: list[World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = world(made, tmp_path, "off")

    def refused(config: Config) -> None:
        raise ProbeError(f"no way from {config.me.name}")

    with monkeypatch.context() as patch:
        patch.setattr(rotation_desk, "answers", refused)
        pair.want("pair")
        pair.settle()
        for host in pair.hosts:
            assert (host.live().postgres.tls, host.live().postgres.tls_also) == ("off", "pair")
            [warning] = host.change.warnings()
            assert f"no way from {host.live().me.name}" in warning.text
    pair.settle()
    assert {host.live().postgres.tls for host in pair.hosts} == {"pair"}


def test_without_a_server_or_the_other_host_nothing_is_taken_for_done(
    made: list[World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = world(made, tmp_path, "off")
    pair.want("pair")
    pair.berlin.peer = None
    pair.settle()
    assert pair.berlin.live().postgres.tls_also == ""
    assert "is not heard" in pair.berlin.change.warnings()[0].text
    pair.berlin.peer = pair.paris
    with monkeypatch.context() as patch:
        patch.setattr(processes, "postmaster", lambda _: None)
        pair.settle()
        assert "PostgreSQL does not run here" in pair.berlin.change.warnings()[0].text
        assert {host.live().postgres.tls for host in pair.hosts} == {"off"}
        with pytest.raises(RefusedError, match="not taken the settings"):
            pair.berlin.restarted().answer({"wanted": "pair"})
    pair.settle()
    assert {host.live().postgres.tls for host in pair.hosts} == {"pair"}
    monkeypatch.setattr(processes, "postmaster", lambda _: None)
    change = pair.berlin.restarted()
    change.look()
    assert change.warnings() == ()


def test_what_is_waited_for_is_said_after_some_seconds(
    made: list[World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = world(made, tmp_path, "off")
    clock = [100.0]
    monkeypatch.setattr(tls_change, "QUIET_S", 5.0)
    monkeypatch.setattr(tls_change, "now_s", lambda: clock[0])
    change = pair.berlin.restarted()
    assert not change.look(), "all is well"
    pair.paris.live.want("pair")
    assert change.look()
    assert change.warnings() == ()
    clock[0] += 5.0
    assert change.look()
    assert [one.name for one in change.warnings()] == ["tls-change"]
    clock[0] += tls_change.SETTLING_S
    assert not change.look(), "no need to hurry any more"
    assert [one.name for one in change.warnings()] == ["tls-change"]
    pair.paris.live.want("off")
    assert not change.look()
    assert change.warnings() == ()


def test_what_cannot_be_kept_is_not_done(made: list[World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = world(made, tmp_path, "off")
    pair.want("pair")

    def in_doubt(*_: object) -> None:
        raise InDoubtError("the disk is sick")

    with monkeypatch.context() as patch:
        patch.setattr(tls_change, "save_tls", in_doubt)
        pair.settle()
        assert {host.live().postgres.tls_also for host in pair.hosts} == {""}
        assert "the disk is sick" in pair.berlin.change.warnings()[0].text
    pair.settle()
    assert {host.live().postgres.tls for host in pair.hosts} == {"pair"}


def test_passwords_are_told_only_while_they_are_needed(made: list[World], tmp_path: Path) -> None:
    pair = world(made, tmp_path, "off")
    assert pair.berlin.change.answer({"wanted": "off"})["report"]["passwords"] == ""
    pair = world([], tmp_path / "other", "pair")
    assert pair.berlin.change.answer({"wanted": "off"})["report"]["passwords"] == ""


def test_an_authority_that_is_none_is_not_taken(made: list[World], tmp_path: Path) -> None:
    pair = world(made, tmp_path, "off")
    pair.want("pair")
    report = tls_change.Report(tls_change.side_of(pair.paris.live()), "no certificate")
    with pytest.raises(LinkError, match="cannot be read"):
        tls_change.prepare(pair.berlin.live(), "pair", report)
    assert "no certificate" not in (pair.berlin.live().paths.server_keys / server_tls.AUTHORITIES).read_text()


def test_new_keys_and_a_change_exclude_each_other(made: list[World], tmp_path: Path) -> None:
    pair = world(made, tmp_path, "off")
    own, peer = rotation.make(pair.berlin.live())
    rotation.prepare(pair.berlin.live(), rotation.next_of("7", own, peer.public))
    pair.want("pair")
    pair.settle()
    assert "new keys are being made" in pair.berlin.change.warnings()[0].text
    assert pair.berlin.live().postgres.tls_also == ""


def said(answer: Mapping[str, Any], _question: Mapping[str, Any], _timeout_s: float) -> Mapping[str, Any]:
    return answer


def test_what_the_peer_says_is_checked(made: list[World], tmp_path: Path) -> None:
    pair = world(made, tmp_path, "off")
    pair.want("pair")
    for answer in ({}, {"ok": True}, {"ok": True, "report": {"side": "x"}}, {"ok": False}):
        change = TlsChange(pair.berlin.live, partial(said, answer), lambda *_: None)
        assert change.look()
        [warning] = change.warnings()
        assert "is not heard" in warning.text
        assert warning.hint.startswith(BY_ITSELF)
