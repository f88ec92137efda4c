"""The status page as HTML: whole, escaped, readable without colours, from this host alone, and true to the document."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from pgvip.core.actions import Rejoin
from pgvip.core.knowledge import Claim, Failures, Why
from pgvip.text.writing import size
from pgvip.web import page
from pgvip.web.graph import BUCKETS, Axis, Band, Frame, bands, graph, role_changes, round_bytes
from pgvip.web.http import Request
from pgvip.web.markup import Html, fill, join
from pgvip.web.page_parts import moment
from pgvip.web.plots import RANGES
from pgvip.web.summary import BAD, GOOD, WARN, Summary, summary
from tests.unit.status.test_document import NOW_S
from tests.unit.web_world import BESIDE, Document, World, healthy, primary, says, solo, standby

VOID = {"meta", "link", "br"}
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()
EVENTS: list[Document] = [
    {"seq": 1, "at": "2026-11-25T11:58:00+00:00", "host": "alpha", "event": "role", "level": "notice", "text": "up"},
    {"seq": 2, "at": NOW, "host": "beta", "event": "fence-failed", "level": "error", "text": 'exit <1> & "more"'},
]  # fmt: skip
EXPLAINED: Document = {"scenarios": [
    {
        "name": "primary-host", "title": "the primary's host alpha loses its power", "summary": "beta takes over",
        "steps": [{"at_s": 0.0, "host": "", "text": "alpha is gone", "change": ""},
                  {"at_s": 3.5, "host": "beta", "text": "fences <alpha>", "change": "take-over-by-fence"}],
        "outage_s": 4.5, "loss": "nothing", "blockers": [],
    },
    {
        "name": "link", "title": "the link is cut", "summary": "nothing moves", "steps": [],
        "outage_s": None, "loss": "",
        "blockers": [{"name": "no-fencing", "text": "no way to fence", "hint": "configure fencing"}] * 2,
    },
]}  # fmt: skip


class Tree(HTMLParser):
    """Reads a document strictly: every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def middle(document: Document, *, age_s: float = 0.1, **changes: Any) -> Tree:
    given: dict[str, Any] = {"samples": [], "events": [], "explained": {}, **changes}
    at = datetime.fromtimestamp(NOW, UTC)
    return Tree(page.fragment(page.Shown(document, age_s, 3.0, at, **given)))


def samples(count: int = 900, **changes: Any) -> list[Document]:
    return [
        {
            "at": NOW - count + n, "span_s": 1.0, "lag_bytes": 1000 + n, "lag_s": n / 1000, "wal_bytes_per_s": 2048.0,
            "role": "primary", **changes,
        }
        for n in range(count)
    ]  # fmt: skip


# --- one line that says it -----------------------------------------------------------------------------


def said(document: Document, age_s: float = 0.1) -> Summary:
    return summary(document, age_s, 3.0)


def test_the_first_line_of_a_healthy_pair_from_both_hosts() -> None:
    for document in (healthy(), standby()):
        found = said(document)
        assert found.level == GOOD
        assert found.text == "alpha is primary; beta follows synchronously and may take over."


def test_one_host_whose_peer_is_removed_is_well() -> None:
    document = solo()
    document["local"]["peer_removed"], document["warnings"] = "2026-01-01T00:00:00+00:00", []
    found = said(document)
    assert (found.level, found.short) == (GOOD, "alpha is alone")
    assert found.text == "alpha serves alone, with both addresses; beta is removed."


def test_the_first_line_of_what_is_not_well() -> None:
    alone = said(solo())
    assert alone.level == WARN
    assert alone.text.startswith("alpha serves alone, with both addresses; beta has not been heard for 1 min 33 s.")
    assert "1 warning, see below" in alone.text
    deaf = said(primary(says(), heard_s=25.0))
    assert deaf.level == WARN
    assert deaf.text.startswith("alpha is primary; beta has not been heard for 25 s.")
    unfollowed = said(primary(says(streaming=False)))
    assert (unfollowed.level, unfollowed.text.split(".")[0]) == (WARN, "alpha is primary; beta does not follow")
    ineligible = said(primary(says(eligible=False)))
    assert (ineligible.level, "may not take over" in ineligible.text) == (WARN, True)
    nobody = said(primary(says(), confirmed=False))
    assert nobody.level == BAD
    assert nobody.text.startswith("No host serves as primary, as far as alpha knows.")
    assert said(standby(None)).level == BAD
    still = said(healthy(), 44.0)
    assert (still.level, "has had no round for 44 s" in still.text) == (BAD, True)


# --- the page --------------------------------------------------------------------------------------------


def everything() -> list[Tree]:
    def busy(knowledge: Any) -> None:
        claim = Claim("solo-by-fence", 4, Why.SILENCE, takeover=False, attempt="a", since_s=NOW_S - 3, tries=2)
        knowledge.fencing = replace(knowledge.fencing, claim=claim)
        knowledge.work = replace(knowledge.work, failures={Rejoin: Failures(3, NOW_S + 5, "<b>failed</b>")})

    given: dict[str, Any] = {"samples": samples(), "events": EVENTS, "explained": EXPLAINED}
    documents = [healthy(), standby(), solo(), primary(says(), change=busy), primary(None, record=None), standby(None)]
    return [tree for document in documents for tree in (middle(document), middle(document, **given))]


def test_every_state_gives_whole_html_with_named_rows_and_columns() -> None:
    for tree in everything():
        assert len(tree.all("article")) == 2
        assert all(attributes.get("scope") in ("row", "col") for attributes in tree.all("th"))
        ids = [attributes["id"] for _, attributes in tree.seen if attributes.get("id")]
        assert len(set(ids)) == len(ids)
        assert not [one for _, attributes in tree.seen for one in attributes if one.startswith("on") or one == "style"]


def test_both_hosts_stand_there_with_their_roles_and_addresses() -> None:
    words = middle(healthy()).words()
    for part in ("alpha primary this host, 10.0.0.1", "10.0.0.10 primary VIP", "beta standby 10.0.0.2",
                 "10.0.0.11 standby VIP", "read-write", "standby, streaming", "0/3E8 timeline 2", "0.40 s ago",
                 "beta: streaming, sync, 100 bytes behind, replay 250 ms behind"):  # fmt: skip
        assert part in words, part


def test_an_old_word_of_the_peer_is_marked_as_one() -> None:
    tree = middle(solo())
    assert [attributes.get("class") for attributes in tree.all("article")] == [None, "stale"]
    assert "beta standby when last heard" in tree.words()
    assert "1 min 33 s ago; what follows is from then" in tree.words()
    assert [attributes.get("class") for attributes in middle(healthy()).all("article")] == [None, None]


def test_warnings_come_with_their_mends_and_nothing_without() -> None:
    words = middle(solo()).words()
    assert "peer-silent the peer's daemon does not answer Hint: systemctl status pgvip on the peer" in words
    assert "Warnings" not in middle(healthy()).words()


def test_what_is_not_known_is_called_unknown() -> None:
    words = middle(standby(None)).words()
    assert "role unknown" in words
    assert "last heard never addresses unknown" in words


def test_archiving_backup_and_schedule_of_both_hosts_are_shown() -> None:
    words = middle({**healthy(), **BESIDE}).words()
    for part in ("archiving alpha: 3 WAL files wait, the oldest for 12 s, last failure 15 min 0 s ago",
                 "base backup 20260101T000000Z on beta, 2 h 0 min old, 3.0 GB",
                 "scheduled switchover at 2026-01-02 02:30:00 UTC, ordered by ann on beta"):  # fmt: skip
        assert part in words, part
    failing = {**healthy(), "archiving": {**BESIDE["archiving"], "failing": True}}
    assert "alpha: FAILS, 3 WAL files wait" in middle(failing).words()
    assert "archiving" not in middle({**healthy(), "archiving": None, "backup": None, "scheduled": None}).words()


def test_former_vips_are_shown_while_they_are_served() -> None:
    former = [{"vip": "primary", "address": "10.0.0.8", "left_s": 250.4}]
    words = middle({**healthy(), "former_addresses": former}).words()
    assert "former primary VIP 10.0.0.8, served for 4 min 10 s more" in words
    assert "former" not in middle(healthy()).words()


def test_routine_work_is_not_shown() -> None:
    document = healthy()
    document["doing"]["actions"] = ["WriteState", "ConfirmGrant"]
    assert "Under way" not in middle(document).words()
    document["doing"]["at_work"] = ["promote PostgreSQL"]
    assert "Under way at work promote PostgreSQL" in middle(document).words()


def test_scenarios_in_words() -> None:
    tree = middle(healthy(), explained=EXPLAINED)
    words = tree.words()
    assert "If the primary's host alpha loses its power: beta takes over outage about 4.50 s; loss: nothing" in words
    assert "3.50 s beta fences <alpha>" in words
    assert words.count("no-fencing no way to fence Hint: configure fencing") == 1
    assert "If the link is cut: nothing moves no writes until an operator acts" in words
    assert {"scenario-primary-host", "scenario-link"} <= {one.get("id") for one in tree.all("details")}
    assert "What would happen" not in middle(healthy()).words()


def test_the_newest_event_comes_first() -> None:
    words = middle(healthy(), events=EVENTS).words()
    assert words.index("fence-failed") < words.index("role up")


def test_moments() -> None:
    local = datetime.fromtimestamp(NOW, UTC).astimezone()
    assert f"{local:%m-%d %H:%M:%S}" in moment(NOW)
    assert moment("2026-11-25T12:00:00+00:00") == moment(NOW)
    assert moment("<never>") == "&lt;never&gt;"


PRIVATE = re.compile(
    r"\b(mend|concern|tell|told|word|look|kick|shot|gist|owed|upkeep|trouble|yielding|somebody|around it|leans? on"
    r"|goes round|gone round|stands still|stalled|was so then|all well|act:)",
    re.IGNORECASE,
)
"""Words that have such a meaning in pgvip alone; the field has its own."""


@pytest.mark.parametrize("document", [healthy(), solo(), standby(), standby(None)])
def test_the_page_has_the_words_of_the_field(document: Document) -> None:
    document["me"]["override"], document["me"]["hold"] = "primary", "both wrote"
    document["doing"]["actions"] = ["PowerOn"]
    for age_s in (0.1, 44.0):
        text = middle(document, age_s=age_s, events=EVENTS, explained=EXPLAINED, samples=samples()).words()
        assert not PRIVATE.search(text), PRIVATE.search(text)
    for whole in (page.waiting(datetime.now(UTC)), page.page("shop", "alpha", Html(""), datetime.now(UTC))):
        assert not PRIVATE.search(Tree(whole).words())


HOSTILE = "</script><script>alert(1)</script>\"'&{x}"


def poisoned(value: Any) -> Any:
    """The same document with every text made hostile, but for those that choose what is shown."""
    if isinstance(value, dict):
        return {key: one if key in ("role", "state", "at") else poisoned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return HOSTILE if isinstance(value, str) and value else value


@pytest.mark.parametrize("document", [healthy(), solo(), standby(None)])
def test_every_value_is_escaped(document: Document) -> None:
    hurt = poisoned(document)
    hurt["me"]["hold"] = HOSTILE
    for host in ("me", "peer"):
        hurt[host]["vips"] = document[host]["vips"]
        hurt[host]["postgresql"] = document[host]["postgresql"]
    tree = middle(hurt, events=poisoned(EVENTS), explained=poisoned(EXPLAINED), samples=samples())
    assert not tree.all("script")
    assert "alert(1)" in tree.words()
    whole = page.page(HOSTILE, HOSTILE, Html(""), datetime.now(UTC))
    assert Tree(whole).all("script") == [{}]


def test_values_are_escaped_by_default() -> None:
    assert fill("<td>{x}</td>", x="<&\"'{y}") == "<td>&lt;&amp;&quot;&#x27;{y}</td>"
    assert fill("{x}", x=join((Html("<br>"), fill("{y}", y="<")))) == "<br>&lt;"


def test_the_whole_page_asks_for_nothing_from_elsewhere() -> None:
    answer = World(events=EVENTS, explained=EXPLAINED, samples=samples()).get("/")
    text = answer.body.decode()
    tree = Tree(text.split("\n", 1)[1])
    ranges = {f"?range={name}" for name in RANGES}
    assert {one["href"] for one in tree.all("a")} == {"status", "metrics"} | ranges
    assert [one["href"] for one in tree.all("link")] == ["data:,"]
    assert not [one for _, attributes in tree.seen for one in attributes if one == "src"]
    assert "http://" not in text
    assert "https://" not in text
    [html] = tree.all("html")
    assert html["lang"] == "en"
    policy = dict(answer.fields)["Content-Security-Policy"]
    for kind in ("style", "script"):
        [part] = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_the_fragment_is_the_middle_of_the_page() -> None:
    site = World().site()
    whole = site.respond(Request("GET", "/"), None).body.decode()
    part = site.respond(Request("GET", "/fragment"), None).body.decode()
    assert f"<main>{part}</main>" in whole
    assert 'data-title="shop: alpha is primary"' in part


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, 1.4.3: of two colours as #rrggbb or #rgb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_contrast_enough(dark: bool) -> None:
    blocks = re.findall(r":root\{(.*?)\}", page.asset("page.css"), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{3,6})\b", blocks[dark]))
    pairs = [(text, ground) for text in ("text", "muted", "link", "good", "warn", "bad", "primary")
             for ground in ("card", "ground")]  # fmt: skip
    pairs += [(name, f"{name}-bg") for name in ("good", "warn", "bad", "primary")]
    pairs += [("text", f"{name}-bg") for name in ("good", "warn", "bad")] + [("card", "primary")]
    pairs += [("muted", f"{name}-bg") for name in ("good", "warn", "bad")]
    for text, ground in pairs:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for band in ("as-primary", "as-standby", "as-alone"):  # WCAG 2.1, 1.4.11: what is no text
        assert contrast(colours[band], colours["card"]) >= 3.0, band


# --- graphs ----------------------------------------------------------------------------------------------

BYTES = Axis(size, round_bytes)


FRAME = Frame(NOW, 900.0, "15 min")
DAY = Frame(NOW, 86_400.0, "24 h")


def drawn(found: list[Document], key: str = "lag_bytes", frame: Frame = FRAME) -> str:
    return graph(found, key, "WAL behind", frame=frame, axis=BYTES)


def points(text: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'<polyline points="([^"]*)"', text)
    return [[(float(x), float(y)) for x, y in (one.split(",") for one in line.split())] for line in lines]


def test_a_line_spans_the_time_and_keeps_inside() -> None:
    [line] = points(drawn(samples()))
    assert line[0][0] < 5
    assert line[-1][0] > 590
    assert all(0 <= x <= 600 and 0 <= y <= 80 for x, y in line)
    assert len(line) <= BUCKETS + 1


def test_no_peak_is_lost_and_the_label_says_it() -> None:
    found = samples()
    found[450]["lag_bytes"] = 5_000_000
    text = drawn(found)
    assert min(y for _, y in points(text)[0]) < 40
    assert "now 1.9 kB, at most 4.8 MB" in text
    assert 'aria-label="WAL behind in the last 15 min: now 1.9 kB, at most 4.8 MB"' in text
    found[450]["lag_bytes"], found[450]["lag_bytes_max"] = 0, 9_000_000
    assert "at most 8.6 MB" in drawn(found)


def test_what_was_not_known_breaks_the_line() -> None:
    found = samples()
    for one in found[300:600]:
        one["lag_bytes"] = None
    assert len(points(drawn(found))) == 2
    found[-1]["lag_bytes"] = None
    assert "now not known" in drawn(found)
    assert "no values yet" in drawn([])
    assert "no values yet" in drawn(samples(lag_bytes=None))
    assert len(points(drawn(samples(count=1)))) == 1


def test_older_samples_are_not_drawn() -> None:
    assert "no values yet" in drawn([{**one, "at": one["at"] - 2000} for one in samples()])


def test_a_change_of_role_is_marked_and_explained() -> None:
    found = samples()
    for one in found[600:]:
        one["role"] = "primary_standby"
    [(x, text)] = role_changes(found, FRAME)
    assert (round(x), text) == (400, "primary to primary_standby")
    assert "the role changed from primary to primary_standby" in drawn(found)
    assert "the role of this host changed" in middle(healthy(), samples=found).words()
    assert "the role of this host changed" not in middle(healthy(), samples=samples()).words()


def test_what_was_not_recorded_breaks_the_line_and_the_band() -> None:
    found = samples()[:300] + samples()[500:]
    assert len(points(drawn(found))) == 2
    assert bands(found, FRAME) == [
        Band(NOW - 900, NOW - 601, "primary"), Band(NOW - 401, NOW - 1, "primary"),
    ]  # fmt: skip
    short = samples()[:300] + samples()[310:]
    assert len(points(drawn(short))) == len(bands(short, FRAME)) == 1
    minutes = [{**one, "at": NOW - 60 * n, "span_s": 60.0} for n, one in enumerate(samples())][::-1]
    assert len(points(drawn(minutes, frame=DAY))) == 1


def test_the_band_says_which_role_this_host_had_when() -> None:
    found = samples()
    for one in found[300:600]:
        one["role"] = "primary_standby"
    for one in found[600:]:
        one["role"] = "standby"
    assert bands(found, FRAME) == [
        Band(NOW - 900, NOW - 601, "primary"), Band(NOW - 601, NOW - 301, "primary_standby"),
        Band(NOW - 301, NOW - 1, "standby"),
    ]  # fmt: skip
    text = drawn(found)
    assert "primary_standby from 11-25 11:49:59 to 11-25 11:54:59" in text
    assert 'aria-label="role of this host: primary, primary_standby, standby"' in text
    shapes = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="0" width="([\d.]+)"', text)
    assert [(role, round(float(x)), round(float(width))) for role, x, width in shapes] == [
        ("primary", 0, 199), ("primary_standby", 199, 200), ("standby", 399, 200),
    ]  # fmt: skip
    words = middle(healthy(), samples=found).words()
    assert "Role of alpha: primary primary and standby standby" in words
    first = [{**samples(1)[0], "at": NOW - 86_399, "span_s": 200.0}]
    assert bands(first, DAY) == [Band(NOW - 86_400, NOW - 86_399, "primary")]


def test_the_wal_rate_is_drawn_too() -> None:
    assert "WAL rate now 2.0 kB/s, at most 2.0 kB/s" in middle(healthy(), samples=samples()).words()
    standing = middle(healthy(), samples=samples(wal_bytes_per_s=None)).words()
    assert "WAL rate no values yet" in standing


def test_of_a_long_time_the_average_is_said_and_its_own_moments() -> None:
    found = [{**one, "lag_bytes_max": 9000} for one in samples()]
    text = drawn(found, frame=DAY)
    assert "average 1.4 kB, at most 8.8 kB" in text
    assert "<span>12:00</span><span>20:00</span><span>04:00</span><span>now</span>" in text
    assert "in the last 24 h" in text
    week = drawn(found, frame=Frame(NOW, 7 * 86_400.0, "7 d"))
    assert "<span>11-18</span><span>11-20</span><span>11-23</span><span>now</span>" in week
    assert "<span>11:45</span><span>11:50</span><span>11:55</span><span>now</span>" in drawn(found)


def test_the_ranges_stand_there_also_without_samples() -> None:
    tree = middle(healthy(), range=RANGES["7d"])
    assert "15 min 1 h 6 h 24 h 7 d 30 d no samples of the last 7 d" in tree.words()
    assert [one.get("id") for one in tree.all("a") if one.get("aria-current")] == ["range-7d"]
    assert not tree.all("svg")


def archiving_shown(**changes: Any) -> str:
    """The look of the row of archiving, and the level of the first line."""
    document = {**healthy(), "archiving": {**BESIDE["archiving"], **changes}}
    text = page.fragment(page.Shown(document, 0.1, 3.0, datetime.fromtimestamp(NOW, UTC), [], [], {}))
    [kind] = re.findall(r'archiving</th><td><span class="(\w+)"', text)
    return f"{kind}, {said(document).level}"


def test_archiving_is_green_only_where_it_is_known_to_work() -> None:
    assert archiving_shown() == "good, good"
    assert archiving_shown(failing=True) == "bad, warn"
    assert archiving_shown(failing=True, age_s=40.0) == "bad, warn"
    assert archiving_shown(waiting_files=17) == "warn, good"
    assert archiving_shown(age_s=40.0) == "muted, good"


def test_the_first_line_names_an_archive_that_fails_on_either_host() -> None:
    for document in (healthy(), standby()):
        document["archiving"] = {**BESIDE["archiving"], "failing": True}
        assert "Archiving fails on alpha." in said(document).text


def test_a_daemon_that_only_observes_says_so_first_and_what_it_would_have_done() -> None:
    at = "2026-01-01T00:00:00Z"
    would = [{"at": at, "action": "Fence", "text": "power <b> off"}]
    tree = middle({**healthy(), "mode": "observe", "observed": {"counts": {"Fence": 1}, "would": would}})
    words = tree.words()
    assert words.startswith("OBSERVE: pgvip decides and reports, and changes nothing")
    assert "would power <b> off" in words
    assert "OBSERVE" not in middle(healthy()).words()
