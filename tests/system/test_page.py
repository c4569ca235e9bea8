"""The live page in a real browser: what is drawn is what the connections went through.

``SSE_UPDATE_IMAGES=1`` takes the pictures in docs/images anew; otherwise they have to be there.
"""

import json
import os
import signal
import struct
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from cli.support import HEAD, hold, serving, started
from sansio_sse import ConnectionState, encode_event
from sansio_sse_asyncio import connect
from sansio_sse_cli.live_page import Board, Gate, PageServer

from .browser import Browser, browser
from .browser_stage import Playground, Stage

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    with browser(tmp_path_factory.mktemp("browser") / "driver.log") as opened:
        yield opened


@pytest.fixture
def stage() -> Generator[Stage]:
    with Stage() as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser, stage: Stage) -> Generator[Browser]:
    """A page about which the browser has nothing to complain: no error, no policy violated.

    It is left before the stage is: of servers that have gone it would complain.
    """
    chromium.open("about:blank")
    chromium.emulate(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    chromium.resize(1440, 1000)
    chromium.complaints()
    yield chromium
    complaints = chromium.complaints()
    chromium.open("about:blank")
    assert complaints == []


def is_live(page: Browser) -> bool:
    return page.text("#feed-word") == "Live"


def drawn(page: Browser, key: int) -> list[tuple[str, float, float | None]]:
    """The spans that a stream's timeline is drawn of."""
    found = page.script(
        "return [...document.querySelectorAll(`[data-stream='${arguments[0]}'] [data-span]`)]"
        ".map((rect) => [rect.dataset.state, rect.dataset.began, rect.dataset.ended])",
        key,
    )
    return [(state, float(began), float(ended) if ended else None) for state, began, ended in found]


def state_of(page: Browser, key: int) -> str:
    return page.text(f"[data-stream='{key}'] .state")


# --- What is drawn -------------------------------------------------------------------------------


def test_a_timeline_has_the_spans_that_its_connection_had(page: Browser, stage: Stage) -> None:
    server = stage.playground()
    show = stage.page(server.at("/flaky/0.5"), server.at("/steady/5"))
    page.open(show.url)

    def is_so() -> bool:
        lived = [
            [
                (span.state.value, round(span.began, 3), span.ended and round(span.ended, 3))
                for span in stage.call(connection.timeline)
            ]
            for connection in show.connections
        ]
        shown = [drawn(page, 1), drawn(page, 2)]
        return len(lived[0]) > 6 and all(map(are_alike, shown, lived))

    page.until(is_so, "the spans of both timelines")
    lengths = page.script(
        "const svg = document.querySelector('[data-stream=\"1\"] svg.line');"
        "return [...svg.querySelectorAll('[data-span]')].filter((rect) => rect.dataset.ended)"
        ".map((rect) => [rect.dataset.ended - rect.dataset.began,"
        " Number(rect.getAttribute('width')), svg.clientWidth])"
    )
    assert len(lengths) > 5
    for seconds, width, whole in lengths:
        assert width == pytest.approx(seconds * whole / 60, abs=2.1)  # two pixels are the least


def are_alike(
    shown: list[tuple[str, float, float | None]], lived: list[tuple[str, float, float | None]]
) -> bool:
    return len(shown) == len(lived) and all(
        one[0] == other[0]
        and one[1] == pytest.approx(other[1], abs=0.01)
        and one[2] == pytest.approx(other[2], abs=0.01)
        for one, other in zip(shown, lived, strict=True)
    )


def test_a_state_is_a_word_a_shape_and_a_height(page: Browser, stage: Stage) -> None:
    server = stage.playground()
    show = stage.page(*map(server.at, ["/steady/2", "/busy", "/missing"]))
    page.open(show.url)
    states = ["connected", "reconnecting", "error"]
    page.until(lambda: [state_of(page, key) for key in (1, 2, 3)] == states, "three states")
    assert [each.state.value for each in show.connections] == states
    shapes = page.script(
        "return [1, 2, 3].map((key) => document.querySelector("
        "`[data-stream='${key}'] .state svg`).firstChild.outerHTML)"
    )
    assert len(set(shapes)) == 3
    heights = page.script(
        "return [1, 2, 3].map((key) => [...document.querySelectorAll("
        "`[data-stream='${key}'] [data-span]`)].at(-1).getAttribute('height'))"
    )
    assert len(set(heights)) == 3
    page.until(lambda: page.text("#t-connected") == "1 of 3", "the summary")
    assert page.text("#t-states") == "1 connected1 reconnecting1 error"
    assert page.driver.title.startswith("(2) ")


def test_sparklines_have_a_bar_for_each_second_with_something_in_it(
    page: Browser, stage: Stage
) -> None:
    server = stage.playground()
    show = stage.page(server.at("/steady/1"), server.at("/quiet"))
    page.open(show.url)

    def points(key: int, what: int) -> int:
        bars = page.all(f"[data-stream='{key}'] svg.bars")
        return int(bars[what].get_attribute("data-points") or 0)

    def is_so() -> bool:
        state: Any = stage.call(lambda: show.server._changes.state)
        stream = state["streams"]["1"]
        last = int(state["now"]) - 1
        seconds = [second for second in stream["rate"] if int(second) <= last]
        gaps = [second for second, gap in stream["gaps"].items() if gap and int(second) <= last]
        return len(seconds) >= 3 and (points(1, 0), points(1, 1)) == (len(seconds), len(gaps))

    page.until(is_so, "as many bars as seconds with events, and with gaps")
    assert points(1, 2) == 1  # it has connected once
    assert (points(2, 0), points(2, 1), points(2, 2)) == (0, 0, 1)
    assert "60 seconds" in (page.all("[data-stream='1'] svg.bars")[0].accessible_name)


def test_an_event_of_this_moment_is_no_wait_and_no_event_is_none(
    page: Browser, stage: Stage
) -> None:
    show = stage.page(stage.playground().at("/quiet"))
    page.open(show.url)
    page.until(lambda: state_of(page, 1) == "connected", "the page")
    assert (page.text("#t-age"), page.text("#t-age-n")) == ("\u2013", "no event yet")
    shown = page.script(
        "data.streams[1].last = data.now + 0.04; render(data);"
        "return [document.querySelector('#t-age').textContent,"
        " document.querySelector('[data-stream=\"1\"] .g .val').textContent]"
    )
    assert shown == ["< 0.1 s", "< 0.1 s"]


def test_what_went_wrong_is_told_with_its_cause(page: Browser, stage: Stage) -> None:
    server = stage.playground()
    show = stage.page(server.at("/steady/5"), server.at("/missing"))
    page.open(show.url)
    page.until(lambda: state_of(page, 1) == "connected", "a stream")
    stage.call(server.cut)
    page.until(lambda: "connected after" in page.text("#news"), "the recovery")
    items = page.script(
        "return [...document.querySelectorAll('#news li')].map((item) =>"
        " [item.dataset.kind, item.querySelector('.who').textContent, item.textContent])"
    )
    assert [(kind, who) for kind, who, _ in items] == [
        ("recovered", "#1"),
        ("retry", "#1"),
        ("failed", "#2"),
    ]
    cause = stage.call(show.connections[0].timeline)[-2].cause
    assert cause
    assert cause in items[1][2]
    assert "HTTPStatusError" in items[2][2]


def test_a_pool_shows_its_use_and_the_breaker_of_an_endpoint_that_died(
    page: Browser, stage: Stage
) -> None:
    servers = [stage.playground(seed) for seed in (1, 2)]
    show = stage.pool_page(*(server.at("/steady/5") for server in servers), members=4)
    page.open(show.url)
    page.until(lambda: page.text("#t-connected") == "4 of 4", "four members")
    stage.run(servers[1].aclose())

    def breakers() -> list[str]:
        rows = page.all("#p-endpoints tr")
        return [row.get_attribute("data-breaker") or "" for row in rows]

    page.until(lambda: breakers() == ["closed", "open"], "the breaker")
    stats = stage.call(show.pool.stats)
    assert [endpoint.breaker.value for endpoint in stats.endpoints] == ["closed", "open"]
    assert "open" in page.text("[data-endpoint='1'] .state")
    assert "failing" in page.text("[data-endpoint='1']")
    assert "could not connect" in page.text("[data-endpoint='1']")
    assert page.find("#p-meter").get_attribute("aria-valuenow") == f"{stats.utilization:.0f}"
    page.until(lambda: "breaker open for" in page.text("#news"), "the breaker's news")
    page.until(lambda: page.text("#t-connected") == "4 of 4", "four members elsewhere")
    urls = {page.text(f"[data-stream='{key}'] .name") for key in page.script(KEYS)}
    assert urls == {servers[0].at("/steady/5").removeprefix("http://")}


KEYS = "return [...document.querySelectorAll('tr.row')].map((row) => row.dataset.stream)"


def test_what_a_server_sends_is_text_and_runs_nowhere(page: Browser, stage: Stage) -> None:
    attack = (
        "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
        "</pre><svg onload=window.hacked=1>\u202e"
    )
    server = stage.playground()
    server.said.append(encode_event(attack, event=attack, id=attack))
    show = stage.page(server.at("/says"))
    page.open(show.url)
    shown = attack.replace("\u202e", "\\u202e")
    page.until(lambda: page.text("#events pre") == shown, "the event's data")
    assert page.text("#events .what bdi").startswith("<script>")
    page.script("document.querySelector('#rows .name').click()")
    page.until(lambda: page.text(".more pre") == shown, "the event among the stream's own")
    assert page.script("return window.hacked") is None
    assert page.all("img, main script, main [onerror], main [onload]") == []


def test_who_reads_a_streams_details_is_not_disturbed_by_what_comes(
    page: Browser, stage: Stage
) -> None:
    show = stage.page(stage.playground().at("/steady/25"))
    page.open(show.url)
    page.until(lambda: page.text("#events-count") == "latest 30", "events")
    page.script("document.querySelector('#rows .name').click()")
    page.script(
        "window.kept = [...document.querySelectorAll('.more tbody tr, .more li:first-child')];"
        "const list = document.querySelector('.more ol'); list.focus(); list.scrollTop = 9;"
    )
    asof, number = page.text("#asof"), page.text(".more li:first-child .id")
    page.until(lambda: asof not in (page.text("#asof"), ""), "another second")
    page.until(lambda: page.text(".more li:first-child .id") != number, "another event")
    assert page.script("return kept[0].isConnected && kept[0].textContent.includes('still')")
    assert page.script("return document.activeElement.scrollTop") > 0
    assert page.driver.switch_to.active_element.accessible_name == "Events, latest first"


def test_after_many_patches_it_knows_what_the_server_knows(page: Browser, stage: Stage) -> None:
    server = stage.playground()
    show = stage.page(server.at("/steady/5"), server.at("/flaky/1"))
    page.open(show.url)
    page.until(lambda: state_of(page, 1) == "connected", "the page")
    stage.run(server.aclose())
    page.until(lambda: page.text("[data-stream='1'] .sub").startswith("retry"), "a retry")
    stage.enter(Playground(port=server.port))
    page.until(lambda: state_of(page, 1) == "connected", "the end of the outage")

    def is_so() -> bool:
        known = json.loads(page.script("return JSON.stringify(data)"))
        return bool(known == stage.call(lambda: show.server._changes.state))

    page.until(is_so, "the same state")
    assert "next" not in page.script("return Object.keys(data.streams['1'])")


# --- The page's own stream -----------------------------------------------------------------------


def test_it_says_that_its_own_stream_is_lost_and_that_it_is_back(chromium: Browser) -> None:
    page = chromium
    with serving(*[hold(HEAD)] * 9) as server:
        with started("dash", server.address) as process:
            assert process.stdout is not None
            address = process.stdout.readline().decode().partition(": ")[2].strip()
            port = address.rpartition(":")[2].strip("/")
            page.open(address)
            page.until(lambda: is_live(page) and state_of(page, 1) == "connected", "the page")
            assert not page.is_shown("#lost")
            process.kill()
            page.until(lambda: page.is_shown("#lost"), "the banner")
            assert page.text("#feed-word") == "Lost"
            assert page.text("#lost-what") == "The page's own connection is lost."
            page.until(lambda: "what you see is of " in page.text("#lost-more"), "time of data")
            assert page.text("#asof").startswith("Data of ")
            assert state_of(page, 1) == "connected"  # what was known stays, and is said to be old
        with started("dash", "--port", port, server.address) as process:
            page.until(lambda: is_live(page), "the page is back")
            assert not page.is_shown("#lost")
            assert page.is_shown("#back")
            assert "is back after" in page.text("#back")
            process.kill()
    found = page.complaints()
    assert found, "a connection that is refused is told in the console"
    assert all("/feed" in complaint and "ERR_" in complaint for complaint in found), found


def test_what_was_of_another_run_of_the_server_is_not_shown_as_of_this_one(
    chromium: Browser, stage: Stage
) -> None:
    page = chromium
    playground = stage.playground()
    old = stage.page(*map(playground.at, ["/busy", "/missing"]))
    page.open(old.url)
    page.until(lambda: page.text("#news").count("404") == 1, "failures")
    page.until(lambda: drawn(page, 2)[-1][0] == "error", "timelines")
    page.find("#pause").click()
    shown = drawn(page, 2), page.text("#news")
    stage.run(old.server.aclose())
    page.until(lambda: page.is_shown("#lost"), "the banner")
    new = stage.page(*map(playground.at, ["/steady/5", "/steady/5"]), port=old.server.port)
    page.until(lambda: page.text("#feed-word") == "Paused", "the page is back")
    page.find("[data-sort=name]").click()  # it is drawn again
    assert (drawn(page, 2), page.text("#news")) == shown
    page.find("#pause").click()
    page.until(lambda: state_of(page, 2) == "connected", "the streams of the new run")
    lived = [(s.state.value, round(s.began, 3)) for s in stage.call(new.connections[1].timeline)]
    page.until(lambda: [span[:2] for span in drawn(page, 2)] == lived, "the new run's timeline")
    fills = page.script(
        "return [...document.querySelectorAll('[data-stream=\"2\"] [data-span]')]"
        ".map((rect) => rect.getAttribute('class'))"
    )
    assert fills == [f"fill-{state}" for state, _ in lived]
    assert page.text("#news") == ""
    page.complaints()


def test_it_notices_silence_of_a_server_that_is_still_there(chromium: Browser) -> None:
    page = chromium
    with serving(hold(HEAD)) as server, started("dash", server.address) as process:
        assert process.stdout is not None
        page.open(process.stdout.readline().decode().partition(": ")[2].strip())
        page.until(lambda: is_live(page), "the page")
        process.send_signal(signal.SIGSTOP)
        page.until(lambda: page.is_shown("#lost"), "the banner")
        assert page.text("#lost-what") == "The page's own connection is silent."
        process.send_signal(signal.SIGCONT)
        page.until(lambda: is_live(page), "the page is back")
        assert not page.is_shown("#lost")
        page.open("about:blank")
    page.complaints()


def test_a_token_opens_it_by_hand_or_by_address_and_is_kept_by_nobody(
    page: Browser, stage: Stage
) -> None:
    server: PageServer = stage.enter(PageServer(Board(list), Gate(TOKEN)))
    page.open(server.url)
    page.until(lambda: page.is_shown("#enter"), "the form")
    assert not page.is_shown("#all")
    page.find("#token").send_keys("wrong", Keys.ENTER)
    page.until(lambda: page.text("#enter-wrong") == "That is not the token.", "the refusal")
    page.find("#token").send_keys(TOKEN, Keys.ENTER)
    page.until(lambda: is_live(page), "the page")
    assert not page.is_shown("#enter")
    assert page.script("return document.cookie + JSON.stringify({...localStorage})") == "{}"
    page.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    page.open("about:blank")
    page.open(f"{server.url}#token={TOKEN.replace(' ', '%20')}")
    page.until(lambda: is_live(page), "the page")
    assert page.driver.current_url == server.url
    page.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    page.open("about:blank")
    page.open(f"{server.url}#token=100%")  # a link that somebody made: no token, and no escape
    page.until(lambda: page.is_shown("#enter"), "the form")
    refused = [text for text in page.complaints() if "401" not in text]
    assert refused == []


def test_it_says_that_there_are_too_many_viewers_until_there_is_room(
    page: Browser, stage: Stage
) -> None:
    server: PageServer = stage.enter(PageServer(Board(list), Gate(), most_viewers=1))
    other = stage.enter(connect(f"{server.url}feed"))
    page.open(server.url)
    said = "There are as many viewers as this page allows."
    page.until(lambda: page.text("#lost-what") == said, "the banner")
    assert page.is_shown("#lost")
    other.close()
    page.until(lambda: is_live(page), "the page")
    assert not page.is_shown("#lost")
    assert [text for text in page.complaints() if "503" not in text] == []


# --- Hands, eyes and small screens ---------------------------------------------------------------


def focused(page: Browser) -> Any:
    return page.script("return document.activeElement.id || document.activeElement.className")


def press(page: Browser, *keys: str) -> None:
    for key in keys:
        page.driver.switch_to.active_element.send_keys(key)


def test_everything_can_be_done_by_keyboard(page: Browser, stage: Stage) -> None:
    server = stage.playground()
    show = stage.page(*map(server.at, ["/steady/5", "/busy", "/steady/9"]))
    page.open(show.url)
    page.until(lambda: state_of(page, 2) == "reconnecting", "the page")
    press(page, Keys.TAB)
    assert focused(page) == "skip"
    press(page, Keys.ENTER)
    assert focused(page) == "streams"
    press(page, "/")
    assert focused(page) == "filter"
    press(page, "busy")
    page.until(lambda: page.script(KEYS) == ["2"], "one row")
    assert page.text("#shown") == "1 of 3"
    press(page, Keys.ESCAPE)
    page.until(lambda: page.script(KEYS) == ["1", "2", "3"], "all rows")
    press(page, Keys.ESCAPE, "j")
    assert page.script("return document.activeElement.closest('tr').dataset.stream") == "1"
    press(page, "j", "j", "j", "k")
    assert page.script("return document.activeElement.closest('tr').dataset.stream") == "2"
    outline = page.script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(page, Keys.ENTER)
    assert page.driver.switch_to.active_element.get_attribute("aria-expanded") == "true"
    page.until(lambda: "503" in page.text("#more-2 tbody"), "causes in the list of states")
    press(page, Keys.ESCAPE)
    assert page.driver.switch_to.active_element.get_attribute("aria-expanded") == "false"
    assert page.all("tr.more") == []
    press(page, "p")
    assert page.text("#feed-word") == "Paused"
    assert page.find("#pause").get_attribute("aria-pressed") == "true"
    shown = page.text("#asof"), page.text("#t-rate")
    time.sleep(1.2)  # more than two patches
    assert (page.text("#asof"), page.text("#t-rate")) == shown
    press(page, "p")
    page.until(lambda: page.text("#asof") != shown[0], "it goes on")
    by_name = page.find("[data-sort=name]")
    by_name.send_keys(Keys.ENTER)
    page.until(lambda: page.script(KEYS) == ["2", "1", "3"], "sorted by name")
    assert page.find("th[aria-sort]").text.startswith("Stream")
    page.find("[data-sort=name]").send_keys(Keys.SPACE)
    page.until(lambda: page.script(KEYS) == ["3", "1", "2"], "the other way round")


def test_single_keys_can_be_switched_off(page: Browser, stage: Stage) -> None:
    show = stage.page(stage.playground().at("/steady/5"))
    page.open(show.url)
    page.until(lambda: is_live(page), "the page")
    page.find("#keys").send_keys(Keys.SPACE)
    page.find("#streams").send_keys("p", "/")
    assert page.text("#feed-word") == "Live"
    assert focused(page) == "streams"


def test_it_has_landmarks_headings_and_names(page: Browser, stage: Stage) -> None:
    show = stage.pool_page(stage.playground().at("/steady/5"), members=2)
    page.open(show.url)
    page.until(lambda: page.text("#t-connected") == "2 of 2", "the page")
    for selector in ("header", "main", "footer", "h1"):
        assert len(page.all(selector)) == 1
    headings = page.script("return [...document.querySelectorAll('h2')].map((h) => h.innerText)")
    assert {"Pool", "Streams", "Reconnects and errors", "Latest events"} <= set(headings)
    page.script("document.querySelector('#rows .name').click()")
    page.until(lambda: page.is_shown(".more table"), "a stream's details")
    for control in page.all("button, input, select, [role=img], [role=meter], table, ol"):
        if control.is_displayed():
            assert control.accessible_name, control.get_attribute("outerHTML")
    assert page.find("tr.row").aria_role == "row"
    assert page.find("[data-sort=rate]").accessible_name == "Events/s"  # and no arrow
    assert page.find("html").get_attribute("lang") == "en"


def luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_the_dark(
    page: Browser, stage: Stage, scheme: str
) -> None:
    show = stage.page(stage.playground().at("/steady/5"))
    page.emulate(prefers_color_scheme=scheme)
    page.open(show.url)
    page.until(lambda: is_live(page), "the page")

    def color(name: str) -> str:
        found: str = page.script(
            "return getComputedStyle(document.documentElement)"
            ".getPropertyValue(arguments[0]).trim()",
            f"--{name}",
        )
        return found

    is_dark = luminance(color("page")) < 0.1
    assert is_dark is (scheme == "dark")
    background = page.script("return getComputedStyle(document.body).backgroundColor")
    assert background == "rgb({}, {}, {})".format(*bytes.fromhex(color("page")[1:]))
    for ink in ("ink", "soft", "faint", "ok", "wait", "warn", "bad", "off"):
        assert contrast(color(ink), color("card")) >= 4.5, ink
        assert contrast(color(ink), color("raised")) >= 4.5, ink
    for ink in ("ok", "wait", "warn", "bad", "off"):
        assert contrast(color(ink), color(f"{ink}-wash")) >= 4.5, ink
        # Graphics: 3 to 1 (WCAG 2.2, 1.4.11).
        assert contrast(color(f"{ink}-fill"), color("card")) >= 3, ink


# What is read on the page, with its contrast to what is behind it.
CONTRASTS = """
const numbers = (color) => [...color.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) =>
  0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const ancestors = (node) => node ? [node, ...ancestors(node.parentElement)] : [];
const unseen = "script, svg, .quiet, .skip";
const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const words = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
  if (!words || !element.getClientRects().length || element.closest(unseen)) continue;
  const styles = ancestors(element).map((each) => getComputedStyle(each));
  const grounds = styles.map((style) => numbers(style.backgroundColor));
  const behind = grounds.reduceRight((color, ground) => over(ground, color));
  const ink = numbers(styles[0].color);
  ink[3] *= styles.reduce((all, style) => all * style.opacity, 1);
  const [darker, lighter] = [light(over(ink, behind)), light(behind)].sort((a, b) => a - b);
  found.push([(lighter + 0.05) / (darker + 0.05), words]);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_that_is_read_has_contrast_also_when_it_is_old(
    page: Browser, stage: Stage, scheme: str
) -> None:
    servers = [stage.playground(), stage.playground()]
    show = stage.pool_page(*(server.at("/steady/5") for server in servers), members=4)
    page.emulate(prefers_color_scheme=scheme)
    page.open(show.url)
    page.until(lambda: page.text("#t-connected") == "4 of 4", "the page")
    stage.run(servers[1].aclose())
    page.until(lambda: "breaker open" in page.text("#news"), "news")
    page.script("document.querySelector('#rows .name').click()")
    page.until(lambda: page.is_shown(".more table"), "a stream's details")
    live = page.script(CONTRASTS)
    stage.run(show.server.aclose())
    page.until(lambda: page.is_shown("#lost"), "the banner")
    old = page.script(CONTRASTS)
    page.open("about:blank")
    page.complaints()  # of the connection that is refused
    for texts in (live, old):
        assert len(texts) > 60
        assert [text for text in texts if text[0] < 4.5] == []


def test_nothing_moves_for_who_does_not_want_it(page: Browser, stage: Stage) -> None:
    show = stage.page(stage.playground().at("/steady/5"))
    page.open(show.url)
    page.until(lambda: is_live(page), "the page")
    running = "return document.getAnimations().length"
    page.until(lambda: page.script(running) == 1, "the one thing that moves")
    page.emulate(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    page.until(lambda: page.script(running) == 0, "nothing")


@pytest.mark.parametrize("width", [320, 600, 861, 1100])
def test_it_fits_where_there_is_little_room(page: Browser, stage: Stage, width: int) -> None:
    server = stage.playground()
    show = stage.page(*map(server.at, ["/steady/5", "/busy", "/missing"]))
    page.resize(width, 700)
    page.open(show.url)
    page.until(lambda: state_of(page, 3) == "error", "the page")
    assert page.script("return document.documentElement.scrollWidth") <= width
    assert page.is_shown("[data-stream='1'] svg.line")
    assert page.is_shown("[data-stream='1'] .state")
    pool = stage.pool_page(server.at("/steady/5"), members=1)
    page.open(pool.url)
    page.until(lambda: page.is_shown("[data-endpoint='0'] .state"), "the pool")
    assert page.script("return document.documentElement.scrollWidth") <= width
    assert page.script(
        "return [...document.querySelectorAll('#p-endpoints td')]"
        ".every((cell) => cell.getBoundingClientRect().right <= innerWidth)"
    )


# --- Many ----------------------------------------------------------------------------------------


def test_a_hundred_streams_are_drawn_with_time_to_spare(page: Browser, stage: Stage) -> None:
    paths = ["/steady/3", "/steady/1", "/flaky/4", "/quiet", "/steady/0.5"]
    server = stage.playground()
    show = stage.page(*(server.at(paths[number % 5]) for number in range(100)))
    page.open(show.url)
    page.until(lambda: len(page.script(KEYS)) == 100, "a hundred rows")
    page.until(lambda: page.text("#t-connected").endswith(" of 100"), "the summary")
    connected = ConnectionState.CONNECTED
    page.until(
        lambda: sum(each.state is connected for each in show.connections) > 80, "most of them"
    )

    # The page's own time on the processor: what others do on this machine does not count.
    page.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> tuple[float, int]:
        metrics = page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        times = {metric["name"]: metric["value"] for metric in metrics}
        return times["TaskDuration"], int(page.find("#drawn").get_attribute("data-frames") or 0)

    page.until(lambda: used()[1] > 2, "a few frames")
    (time_before, frames_before), began = used(), time.monotonic()
    page.until(lambda: used()[1] >= frames_before + 12, "a dozen frames")
    time_after, frames_after = used()
    took = time.monotonic() - began
    frames = frames_after - frames_before
    assert frames / took <= 4.2  # at most four times a second
    assert (time_after - time_before) / frames < 0.2
    assert float(page.find("#drawn").get_attribute("data-median") or "nan") < 100


def test_without_a_browser_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = pytest.raises(pytest.fail.Exception, match="apt-get install chromium")
    with missing, browser(tmp_path / "driver.log"):
        pass


# --- Pictures ------------------------------------------------------------------------------------


def size_of(picture: Path) -> tuple[int, int]:
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", head[16:24])


UPDATING = bool(os.environ.get("SSE_UPDATE_IMAGES"))


@pytest.mark.timeout(400)
def test_pictures_of_it_are_in_the_documentation(page: Browser, stage: Stage) -> None:
    if UPDATING:
        take_pictures(page, stage)
    for name in ("dash-light.png", "dash-dark.png"):
        width, height = size_of(IMAGES / name)
        assert width >= 1200
        assert height >= 700
        assert (IMAGES / name).stat().st_size < 600_000


def take_pictures(page: Browser, stage: Stage) -> None:
    servers = [stage.playground(seed) for seed in (3, 5)]
    paths = ["/steady/8", "/steady/2", "/flaky/12", "/steady/25", "/quiet", "/busy", "/missing"]
    paths += ["/steady/0.4", "/flaky/40", "/steady/1"]
    show = stage.page(*map(servers[0].at, paths))
    pool = stage.pool_page(*(server.at("/steady/4") for server in servers), members=5)
    time.sleep(70)
    stage.call(servers[0].cut)
    stage.run(servers[1].aclose())
    time.sleep(25)
    for url, scheme, name, height in (
        (show.url, "light", "dash-light", 1330),
        (pool.url, "dark", "dash-dark", 1130),
    ):
        page.resize(1440, height)
        page.emulate(prefers_color_scheme=scheme)
        page.open(url)
        page.until(lambda: is_live(page), "the page")
        time.sleep(2)
        page.picture(IMAGES / f"{name}.png")
