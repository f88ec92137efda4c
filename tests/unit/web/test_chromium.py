"""The status page in a real browser: nothing is blocked or asked from elsewhere, it renews itself, and fits a phone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgvip.config.model import HttpConfig
from pgvip.deadlines import wait_until
from pgvip.errors import PgvipError
from pgvip.web import page
from pgvip.web.http_server import HttpServer
from pgvip.web.listeners import LOOPBACK, Plan
from tests.unit.chromium import PROGRAM, Chromium
from tests.unit.web.test_page import EVENTS, EXPLAINED, samples
from tests.unit.web_world import World, healthy, solo, standby

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs chromium (apt-get install chromium)")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HIDDEN = """Array.from(document.querySelectorAll("main *")).filter(one => {
  const box = one.getBoundingClientRect();
  return box.width && !one.closest("svg") && !one.closest("thead") && (box.right > innerWidth + 1 || box.left < -1);
}).map(one => one.outerHTML.slice(0, 80))"""


@dataclass
class Shown:
    """A browser, and the site that it looks at."""

    browser: Chromium
    world: World
    url: str

    def renew(self) -> None:
        """What a return to the page's tab does: it fetches its middle at once, unless the reader is at it."""
        self.browser.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def wait(self, script: str) -> None:
        """Wait for something that a renewal brings."""
        renew = "document.dispatchEvent(new Event('visibilitychange'))"
        self.browser.wait(f"({script}) || ({renew}, false)")

    def asked(self) -> set[str]:
        """Every URL that was asked for."""
        return {one["request"]["url"] for one in self.browser.events("Network.requestWillBeSent")}

    def complaints(self) -> list[dict[str, Any]]:
        """What the browser complained of: blocked by the policy, errors of scripts, answers that failed."""
        return self.browser.events("Log.entryAdded") + self.browser.events("Runtime.exceptionThrown")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with socket.create_server((LOOPBACK, 0)) as probe:
        port = probe.getsockname()[1]
    world = World(events=EVENTS, explained=EXPLAINED, samples=samples())
    site = world.site()
    for kept in site._pages.values():
        kept._fresh_s = 0.0  # what a test sets is shown at once
    server = HttpServer(Plan((LOOPBACK,), HttpConfig(port=port)), site.respond, lambda _event, _text: None)
    server.start()
    wait_until(lambda: server.state().listening or None, 5.0, what="listening", error=PgvipError)
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield Shown(browser, world, f"http://{LOOPBACK}:{port}/")
    server.close()


def test_it_renews_itself_and_keeps_what_the_reader_has_opened(shown: Shown) -> None:
    browser, world = shown.browser, shown.world
    world.document = healthy()
    browser.show(shown.url, 1280)
    assert browser.evaluate("document.querySelector('.banner').textContent").startswith("OK:")
    shown.wait("document.querySelector('#scenario-link') !== null")  # worked out beside, shown by a renewal
    browser.evaluate("document.querySelector('#blockers').open = true")
    world.document = solo()
    browser.wait("document.querySelector('.banner').textContent.includes('alpha serves alone')")  # by itself
    assert browser.evaluate("document.querySelector('#blockers').open") is True
    assert browser.evaluate("document.title") == "shop: alpha is alone, warning"
    world.document = healthy()
    shown.wait("document.querySelector('.banner').textContent.startsWith('OK:')")
    shown.wait("document.querySelector('#scenario-link') !== null")
    assert shown.asked() - {"data:,"} == {shown.url, f"{shown.url}fragment"}
    assert shown.complaints() == []


def test_a_reader_who_has_selected_something_is_not_disturbed(shown: Shown) -> None:
    browser, world = shown.browser, shown.world
    world.document = healthy()
    browser.show(shown.url, 1280)
    browser.evaluate("getSelection().selectAllChildren(document.querySelector('.banner p'))")
    world.document = solo()
    before = len(browser.events("Network.requestWillBeSent"))
    shown.renew()
    assert browser.evaluate("1 + 1") == 2  # a request would have been told before this answer
    assert len(browser.events("Network.requestWillBeSent")) == before
    browser.evaluate("getSelection().removeAllRanges()")
    shown.wait("document.querySelector('.banner').textContent.includes('alpha serves alone')")


@pytest.mark.parametrize("width", [390, 320, 768, 1280])
def test_nothing_sticks_out_at_any_width(shown: Shown, width: int) -> None:
    for document in (healthy(), solo(), standby(None)):
        long = {"name": "action-failing", "text": "/usr/share" + "/a-long-path" * 9, "hint": "see" + "e" * 90}
        document["warnings"].append(long)
        document["doing"]["failures"] = [
            {"action": "PowerOn", "what": "switch the peer on", "times": 2, "retry_in_s": 3.0, "text": long["text"]}
        ]
        shown.world.document = document
        shown.browser.show(shown.url, width)
        shown.browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert shown.browser.evaluate(OVERFLOW) <= 0
        assert shown.browser.evaluate(HIDDEN) == []


def test_dark_follows_the_reader(shown: Shown) -> None:
    shown.world.document = healthy()
    colours = []
    for dark in (False, True):
        shown.browser.show(shown.url, 800, dark=dark)
        colours.append(shown.browser.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert colours == ["rgb(244, 246, 248)", "rgb(15, 20, 26)"]


def test_a_reader_chooses_the_time_shown_and_a_renewal_keeps_it(shown: Shown) -> None:
    browser, world = shown.browser, shown.world
    world.document = healthy()
    browser.show(shown.url, 390)
    browser.evaluate("window.same = true, document.querySelector('.ranges').scrollIntoView()")
    place = browser.evaluate("scrollY")
    assert place > 0
    browser.evaluate("document.querySelector('#range-6h').click()")
    here = "document.querySelector('.ranges [aria-current]').textContent"
    browser.wait(f"{here} === '6 h'")
    assert browser.evaluate("[location.search, window.same, scrollY]") == ["?range=6h", True, place]
    browser.evaluate("document.querySelector('#range-7d').focus()")
    world.document = solo()
    shown.wait("document.querySelector('.banner').textContent.includes('alpha serves alone')")
    assert browser.evaluate(here) == "6 h"
    assert browser.evaluate("document.activeElement.id") == "range-7d"
    assert f"{shown.url}fragment?range=6h" in shown.asked()


def test_without_scripts_the_time_is_chosen_by_a_link_and_kept_when_the_page_is_loaded_again(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, url = shown.browser, f"{shown.url}?range=24h"
    monkeypatch.setattr(page, "REFRESH_S", 1)
    shown.world.document = healthy()
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.show(shown.url, 1280)
        before = len(browser.events("Network.requestWillBeSent"))
        browser.evaluate("document.querySelector('#range-24h').click()")
        wait_until(
            lambda: asked_since(browser, before).count(url) > 2 or None, 20.0, what="two more loads", error=PgvipError
        )
        assert f"{shown.url}fragment" not in asked_since(browser, before)
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def asked_since(browser: Chromium, number: int) -> list[str]:
    """The URLs that were asked for, but for the first `number`."""
    browser.evaluate("0")  # takes in what was reported
    return [one["request"]["url"] for one in browser.events("Network.requestWillBeSent")[number:]]


def test_a_lost_daemon_is_said_and_its_return_too(shown: Shown, tmp_path: Path) -> None:
    browser, world = shown.browser, shown.world
    world.document = healthy()
    browser.show(shown.url, 1280)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.ask("Network.emulateNetworkConditions", offline=True, **network)
    shown.wait("document.body.classList.contains('lost')")
    assert browser.evaluate("document.getElementById('live').textContent").startswith("no answer; shown as of ")
    browser.ask("Network.emulateNetworkConditions", offline=False, **network)
    shown.wait("!document.body.classList.contains('lost')")
