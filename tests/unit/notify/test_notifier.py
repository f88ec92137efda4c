"""Messages by a real sendmail program and to a real web service; the loop's side never waits."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pgvip.cli import notify as cli
from pgvip.config.model import Config
from pgvip.config.notify_model import NotifyConfig, Webhook
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import ActionError, ConfigError
from pgvip.notify import delivery, forms
from pgvip.notify.batch import GATHER_S, Batch
from pgvip.notify.notifier import QUEUE_MAX, Notifier
from tests.unit import configs
from tests.unit.notify.test_forms import event

BATCH = Batch((event(),))


class Service:
    """A web service that keeps what is posted. `status`: its answer; `hang`: it does not answer until that is set."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Any]] = []
        self.status = 200
        self.hang: threading.Event | None = None
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.posted.append((self.path, json.loads(body)))
                if service.hang is not None:
                    service.hang.wait(20.0)
                self.send_response(service.status)
                self.end_headers()
                self.wfile.write(b"no such hook")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T0P/S3CRET"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    if made.hang is not None:
        made.hang.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def secret(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def sendmail(tmp_path: Path) -> Path:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/arguments\ncat >> {tmp_path}/mail\n')
    program.chmod(0o755)
    return program


def test_sendmail_gets_the_message(tmp_path: Path, sendmail: Path) -> None:
    delivery.send(delivery.MAIL, BATCH, NotifyConfig(mail=("dba@example.org",), sendmail=sendmail))
    assert (tmp_path / "arguments").read_text() == "-oi -t\n"
    assert "Subject: [orders] db1: peer-silent: no answer" in (tmp_path / "mail").read_text()


def test_under_systemd_it_is_systemd_that_runs_sendmail(
    tmp_path: Path, sendmail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's unit has no new privileges, with which Postfix's sendmail cannot queue a message."""
    program = tmp_path / "programs" / "systemd-run"
    program.parent.mkdir()
    script = f'echo "$*" > {tmp_path}/systemd\nwhile [ "$1" != -- ]; do shift; done\nshift\n"$@"'
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr("pgvip.system.service.under_systemd", lambda: True)
    delivery.send(delivery.MAIL, BATCH, NotifyConfig(mail=("root",), sendmail=sendmail, timeout_s=7.5))
    options = "--quiet --collect --wait --pipe --property=RuntimeMaxSec=8"
    assert (tmp_path / "systemd").read_text() == f"{options} -- {sendmail} -oi -t\n"
    assert "Subject: [orders] db1" in (tmp_path / "mail").read_text()


@pytest.mark.parametrize(
    ("text", "why"), [("exit 75", "failed with exit code 75"), ("sleep 30", "did not finish within 0.3 s")]
)
def test_a_sendmail_that_fails_or_hangs_is_an_error_in_time(sendmail: Path, text: str, why: str) -> None:
    sendmail.write_text(f"#!/bin/sh\n{text}\n")
    began_s = now_s()
    with pytest.raises(ActionError, match=why):
        delivery.send(delivery.MAIL, BATCH, NotifyConfig(mail=("root",), sendmail=sendmail, timeout_s=0.3))
    assert now_s() - began_s < 10.0


def test_a_sendmail_that_others_may_change_is_not_called(sendmail: Path) -> None:
    sendmail.chmod(0o777)
    with pytest.raises(ActionError, match="is not called"):
        delivery.send(delivery.MAIL, BATCH, NotifyConfig(mail=("root",), sendmail=sendmail))


@pytest.mark.parametrize("kind", ["slack", "teams", "json"])
def test_a_webhook_gets_its_form_at_the_url_of_the_file(tmp_path: Path, service: Service, kind: str) -> None:
    webhook = Webhook(kind, url_file=secret(tmp_path / "url", service.url))
    delivery.send(webhook, BATCH, NotifyConfig())
    assert service.posted == [("/services/T0P/S3CRET", one) for one in forms.bodies(kind, BATCH)]


def test_pagerduty_gets_the_key_of_the_file(tmp_path: Path, service: Service) -> None:
    webhook = Webhook("pagerduty", url=service.url, key_file=secret(tmp_path / "key", "R0UTING"))
    delivery.send(webhook, BATCH, NotifyConfig())
    ((_, body),) = service.posted
    assert body["routing_key"] == "R0UTING"


def test_what_goes_wrong_is_said_without_the_secret(tmp_path: Path, service: Service) -> None:
    webhook = Webhook("slack", url_file=secret(tmp_path / "url", service.url))
    service.status = 404
    with pytest.raises(ActionError) as caught:
        delivery.send(webhook, BATCH, NotifyConfig())
    assert "127.0.0.1 answers 404: no such hook" in str(caught.value)
    secret(tmp_path / "url", "http://127.0.0.1:1/S3CRET")
    with pytest.raises(ActionError) as caught:
        delivery.send(webhook, BATCH, NotifyConfig())
    assert "refused" in str(caught.value)
    assert "S3CRET" not in f"{caught.value} {webhook.name}"
    (tmp_path / "url").chmod(0o644)
    with pytest.raises(ActionError, match="can be read by others"):
        delivery.send(webhook, BATCH, NotifyConfig())


def test_a_service_that_hangs_is_left_in_time(tmp_path: Path, service: Service) -> None:
    service.hang = threading.Event()
    webhook = Webhook("json", url=service.url)
    began_s = now_s()
    with pytest.raises(ActionError):
        delivery.send(webhook, BATCH, NotifyConfig(timeout_s=1.0))
    assert now_s() - began_s < 10.0


# --- the thread ----------------------------------------------------------------------------------------------


class Sender:
    """Instead of delivery.send: keeps batches, fails while `why` says so, waits while `held` is not set."""

    def __init__(self) -> None:
        self.sent: list[tuple[delivery.Way, Batch]] = []
        self.why = ""
        self.entered, self.held = threading.Event(), threading.Event()
        self.held.set()

    def __call__(self, way: delivery.Way, batch: Batch, _notify: NotifyConfig) -> None:
        self.entered.set()
        self.held.wait(20.0)
        if self.why:
            raise ActionError(self.why)
        self.sent.append((way, batch))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What the daemon's configuration is now, in a list, so that a test can reload it."""
    monkeypatch.setattr("pgvip.notify.batch.GATHER_S", 0.05)
    return [configs.make(tmp_path, notify=NotifyConfig(mail=("root",), every_s=1.0))]


@contextmanager
def running(notifier: Notifier) -> Iterator[None]:
    """Its rounds, short ones; it ends with the block."""
    ended = threading.Event()

    def go() -> None:
        while not ended.is_set():
            notifier.round(0.02)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_events_of_one_moment_are_one_message_and_the_next_waits(config: list[Config]) -> None:
    assert GATHER_S > 1.0
    sender = Sender()
    notifier = Notifier(lambda: config[0], sender)
    with running(notifier):
        began_s = now_s()
        notifier.hear(event())
        notifier.hear(event("role-change"))
        notifier.hear(event("reload"))
        wait_until(lambda: sender.sent or None, 10.0, 0.01, "a message", ActionError)
        notifier.hear(event())
        wait_until(lambda: len(sender.sent) > 1 or None, 10.0, 0.01, "the next message", ActionError)
    assert [[one.event for one in batch.events] for _, batch in sender.sent] == [
        ["peer-silent", "role-change"], ["peer-silent"],
    ]  # fmt: skip
    assert now_s() - began_s >= 1.0


def test_what_could_not_be_sent_is_a_warning_and_goes_along_later(config: list[Config]) -> None:
    sender = Sender()
    sender.why = "no route"
    notifier = Notifier(lambda: config[0], sender)
    with running(notifier):
        notifier.hear(event())
        wait_until(lambda: notifier.warnings() or None, 10.0, 0.01, "the warning", ActionError)
        (found,) = notifier.warnings()
        assert (found.name, "mail to root: no route" in found.text) == ("messages-failing", True)
        sender.why = ""
        wait_until(lambda: sender.sent or None, 10.0, 0.01, "the message", ActionError)
    assert notifier.warnings() == ()


def test_a_receiver_that_hangs_holds_nobody_and_what_is_too_much_is_counted(config: list[Config]) -> None:
    sender = Sender()
    sender.held.clear()
    notifier = Notifier(lambda: config[0], sender)
    with running(notifier):
        notifier.hear(event())
        assert sender.entered.wait(10.0)
        began_s = now_s()
        for _ in range(QUEUE_MAX + 100):
            notifier.hear(event())
        assert now_s() - began_s < 1.0
        sender.held.set()
        wait_until(lambda: len(sender.sent) > 1 or None, 10.0, 0.01, "the next message", ActionError)
    (_, batch) = sender.sent[1]
    assert len(batch.events) + batch.left_out >= QUEUE_MAX + 98


def test_a_reload_is_followed(config: list[Config], service: Service) -> None:
    sender = Sender()
    notifier = Notifier(lambda: config[0], sender)
    webhook = Webhook("json", url=service.url)
    with running(notifier):
        config[0] = replace(config[0], notify=replace(config[0].notify, mail=(), webhooks=(webhook,), level="error"))
        notifier.hear(event())
        notifier.hear(event("database-down"))
        wait_until(lambda: sender.sent or None, 10.0, 0.01, "a message", ActionError)
        config[0] = replace(config[0], notify=NotifyConfig())
        notifier.hear(event("database-down"))
        wait_until(lambda: not notifier._waiting or None, 10.0, 0.01, "that nobody is left", ActionError)
    assert [(way, [one.event for one in batch.events]) for way, batch in sender.sent] == [(webhook, ["database-down"])]


# --- the command ---------------------------------------------------------------------------------------------


def run(config: Config, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(cli, "load", lambda *_: config)
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(list(words), argparse.Namespace(config=None, host=None)))


def test_the_test_message_goes_every_way(
    tmp_path: Path,
    sendmail: Path,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = Webhook("slack", url_file=tmp_path / "absent")
    notify = NotifyConfig(mail=("root",), sendmail=sendmail, webhooks=(Webhook("json", url=service.url), bad))
    config = configs.make(tmp_path, notify=notify)
    assert run(config, monkeypatch, "--dry-run") == 0
    assert service.posted == []
    assert not (tmp_path / "mail").exists()
    [would] = [line for line in capsys.readouterr().out.splitlines() if "json (" in line]
    assert json.loads(would.partition("would post ")[2])["events"][0]["event"] == "test"
    assert run(config, monkeypatch, "--json") == 1
    found = json.loads(capsys.readouterr().out)["messages"]
    assert [one["ok"] for one in found] == [True, True, False]
    assert "this is a test message" in (tmp_path / "mail").read_text()
    assert service.posted[0][1]["events"][0]["event"] == "test"


def test_without_receivers_the_test_says_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="names nobody"):
        run(configs.make(tmp_path), monkeypatch)
