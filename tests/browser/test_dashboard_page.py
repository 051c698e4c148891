"""The page in a real browser: what it shows, how it moves, how it acts, what it says when nobody answers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
from selenium.webdriver.common.by import By

from tests.browser.conftest import Browser
from tests.serving import TOKEN, Dashboard, config_of
from tests.staging import MINUTE_NS, Stage
from trader.codes import Decided, Halt, Reason


def _advance(stage: Stage, minutes: int = 1, change: float = 25.0) -> None:
    for _ in range(minutes):
        stage.now_ns += MINUTE_NS
        stage.slots["mark_price"][0] += change
        stage.note_equity()
    stage.publish()


def _buy(stage: Stage) -> None:
    stage.slots["mark_price"][0] = 60_000.0
    bought = stage.decide(0, Decided.ORDERED, value=22.1, confidence=0.81)
    stage.trade(0, "0.02", Reason.SIGNAL, bought)
    stage.publish()


def test_page_shows_account_position_and_reasons(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Hero figures, exit plan, decision and limits are those that were published, and the console stays silent."""
    _buy(stage)
    stage.deny(2)
    stage.commit()
    _advance(stage, 40)  # 61,000: 20.00 up, 1.20 of fees
    browser.open(dashboard.url)
    browser.eventually(lambda: browser.text("equity") == "10,018.80", "the account's equity")
    browser.eventually(lambda: len(browser.rows("decisions")) == 2, "both decisions")
    assert browser.text("mode").upper() == "PAPER"
    assert browser.text("state").upper() == "RUNNING"
    assert browser.text("total-pnl") == "+18.80"
    [position] = browser.rows("positions")
    assert position[0].split("\n") == ["BTC/USDT", "long · simple_rsi"]
    assert position[4].split("\n") == ["+20.00", "+1.67 %"]
    assert "stop 58,800.0 (\u22123.6 %)" in position[5]
    assert "61,800.0 (+1.3 %) target" in position[5]
    decisions = browser.rows("decisions")
    assert [row[2] for row in decisions] == ["denied", "entry"]
    assert "0.66 against 0.7" in decisions[0][5]
    assert browser.js("return document.querySelectorAll('#limits .meter').length") == 6
    assert (
        browser.js("return document.querySelector('[data-limit=open_positions]').innerText") == "Open positions\n1 of 5"
    )
    assert browser.driver.title == "+0.19 % · PAPER · trader"
    assert [row[0] for row in browser.rows("workers")] == ["engine", "monitor", "dashboard"]
    assert browser.complaints() == []


def test_page_asks_no_other_host(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Every request and the websocket go to where the page came from."""
    _advance(stage, 5)
    browser.open(dashboard.url)
    assert browser.hosts() == {"127.0.0.1"}


def test_page_sees_a_fill_within_two_seconds(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Without a reload: positions appear, closes become round trips; the typical one within two seconds."""
    browser.open(dashboard.url)
    assert browser.rows("positions") == []
    took_s = []
    for number in range(1, 4):
        _buy(stage)
        took_s.append(_waited(browser, lambda: len(browser.rows("positions")) == 1))
        stage.now_ns += MINUTE_NS
        stage.slots["mark_price"][0] = 61_800.0
        stage.trade(0, "-0.02", Reason.TARGET)
        stage.publish()
        took_s.append(_waited(browser, lambda number=number: len(browser.rows("trips")) == number))
        browser.eventually(lambda: browser.rows("positions") == [])
    trip = browser.rows("trips")[0]
    assert (trip[2], trip[5].split("\n")[0]) == ("target", "+33.56")  # 36.00 - 1.20 - 1.236
    assert browser.text("win") == "100.0 %"
    assert statistics.median(took_s) < 2.0, took_s


def _waited(browser: Browser, condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    browser.eventually(condition, "what was published")
    return time.monotonic() - began


def _line(browser: Browser) -> str:
    return browser.js("return document.querySelector('#chart .scatterlayer path.js-line')?.getAttribute('d') ?? ''")


def test_page_draws_the_curve_and_it_grows(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Nothing to draw is said; then the line is there, and another one after new points."""
    browser.open(dashboard.url)
    assert browser.driver.find_element(By.ID, "chart-empty").is_displayed()
    _buy(stage)
    _advance(stage, 60)
    before = browser.eventually(lambda: _line(browser), "the line")
    assert not browser.driver.find_element(By.ID, "chart-empty").is_displayed()
    _advance(stage, 60, -40.0)
    browser.eventually(lambda: _line(browser) != before, "a longer line")
    assert browser.complaints() == []


def test_page_lost_server_is_said_and_recovered_from(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Numbers are dimmed and dated while nobody answers; a server on the same port brings them back by itself."""
    browser.open(dashboard.url)
    port = dashboard.port
    dashboard.stop()
    browser.eventually(lambda: browser.text("state").upper() == "DISCONNECTED", "the disconnected state")
    assert "these numbers are of" in browser.text("notice-text")
    assert "stale" in browser.js("return document.body.className")
    assert browser.driver.title.startswith("disconnected")
    _buy(stage)
    with Dashboard(stage, config_of(port)):
        browser.eventually(lambda: browser.text("state").upper() == "RUNNING", "the way back")
        browser.eventually(lambda: len(browser.rows("positions")) == 1)
        assert "stale" not in browser.js("return document.body.className")


def test_page_lost_engine_keeps_numbers_and_says_so(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """The engine away, then back in a new generation."""
    _buy(stage)
    browser.open(dashboard.url)
    stage.lose_engine()
    browser.eventually(lambda: browser.text("state").upper() == "ENGINE DOWN", "the engine's state")
    assert len(browser.rows("positions")) == 1
    assert browser.rows("workers")[0][1] == "backoff"
    stage.new_engine(2)
    browser.eventually(lambda: browser.text("state").upper() == "RUNNING", "the engine's return")
    assert browser.rows("workers")[0][6] == "1"


def test_page_halt_is_named_with_its_reason(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """A halt is shown in words, a pause turns the button around."""
    browser.open(dashboard.url)
    stage.desk["account"]["halt_mask"] = Halt.DAILY_LOSS
    stage.publish()
    browser.eventually(lambda: browser.text("state").upper() == "HALTED", "the halt")
    assert "daily loss limit reached" in browser.text("notice-text")
    stage.desk["account"]["halt_mask"] = Halt.PAUSED
    stage.publish()
    browser.eventually(lambda: browser.text("state").upper() == "PAUSED", "the pause")
    assert browser.text("pause") == "Resume"


def test_page_real_money_is_unmistakable(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Another word, another colour."""
    browser.open(dashboard.url)
    colour = "return getComputedStyle(document.getElementById('mode')).backgroundColor"
    paper = browser.js(colour)
    stage.service["live"] = 1
    stage.publish()
    browser.eventually(lambda: browser.text("mode").upper() == "LIVE", "the mode")
    assert browser.js(colour) != paper


@pytest.mark.parametrize(("button", "sent"), [("pause", "pause"), ("flatten", "flatten"), ("reload", "reload")])
def test_page_command_is_confirmed_then_needs_the_token_once(
    browser: Browser, dashboard: Dashboard, button: str, sent: str
) -> None:
    """Cancelled: nothing. Confirmed: sign in, sent. The next time: no sign-in."""
    browser.open(dashboard.url)
    browser.click(button)
    browser.eventually(lambda: browser.js("return document.getElementById('confirm').open"))
    browser.driver.find_element(By.CSS_SELECTOR, "#confirm button[value=no]").click()
    browser.eventually(lambda: not browser.js("return document.getElementById('confirm').open"))
    assert dashboard.commands == []
    browser.click(button)
    browser.click("confirm-yes")
    browser.eventually(lambda: browser.js("return document.getElementById('login').open"), "the sign-in")
    browser.driver.find_element(By.ID, "token").send_keys("wrong")
    browser.click("login-yes")
    browser.eventually(lambda: browser.text("login-error") == "this is not the token")
    browser.driver.find_element(By.ID, "token").send_keys(TOKEN)
    browser.click("login-yes")
    browser.eventually(lambda: [name for name, _ in dashboard.commands] == [sent], "the command")
    browser.eventually(lambda: "done" in browser.text("toast") or "on their way" in browser.text("toast"))
    browser.click(button)
    browser.click("confirm-yes")
    browser.eventually(lambda: [name for name, _ in dashboard.commands] == [sent, sent], "the second command")
    assert TOKEN not in browser.js("return document.cookie + JSON.stringify(localStorage)")


def test_page_close_of_one_position(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """The row's own button names the symbol, asks, and sends that symbol."""
    _buy(stage)
    browser.open(dashboard.url)
    status, headers, _ = dashboard.request("POST", "/api/login", {"token": TOKEN})
    assert status == 200
    key = headers["set-cookie"].partition(";")[0].partition("=")
    browser.driver.add_cookie({"name": key[0], "value": key[2]})
    browser.eventually(lambda: browser.rows("positions"))
    browser.driver.find_element(By.CSS_SELECTOR, "#positions tbody button").click()
    browser.eventually(lambda: "BTC/USDT" in browser.text("confirm-title"))
    browser.click("confirm-yes")
    browser.eventually(lambda: dashboard.commands == [("close", {"symbol": "BTC/USDT"})], "the command")


def test_page_refused_command_is_shown(browser: Browser, dashboard: Dashboard) -> None:
    """The supervisor's own words reach the owner."""
    browser.open(dashboard.url)
    _, headers, _ = dashboard.request("POST", "/api/login", {"token": TOKEN})
    key = headers["set-cookie"].partition(";")[0].partition("=")
    browser.driver.add_cookie({"name": key[0], "value": key[2]})
    dashboard.refuse_with = ("rejected", "trader.yaml:3: risk.max_drawdown: unknown key")
    browser.click("reload")
    browser.click("confirm-yes")
    browser.eventually(lambda: "trader.yaml:3: risk.max_drawdown: unknown key" in browser.text("toast"))


WIDTHS = (
    (3840, 2160),
    (1920, 1080),
    (1440, 900),
    (1281, 800),
    (1024, 768),
    (768, 1024),
    (641, 800),
    (390, 844),
    (360, 740),
)


def test_page_fits_every_width(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Nothing sticks out sideways, nothing overlaps the edge, from a phone to 4K."""
    _buy(stage)
    stage.deny(2)
    stage.commit()
    _advance(stage, 30)
    browser.open(dashboard.url)
    browser.eventually(lambda: len(browser.rows("positions")) == 1)
    browser.eventually(lambda: browser.js("return document.getElementById('chart').dataset.drawn"), "the chart")
    too_wide = """
        return [...document.querySelectorAll('.tile, .panel, .top, .notice, td, button, .tools, .strip dd')]
          .filter(e => {
          const b = e.getBoundingClientRect(); return b.width && (b.right > innerWidth + 1 || b.left < -1); })
          .map(e => e.className + ' ' + e.textContent.slice(0, 30))
    """
    for width, height in WIDTHS:
        browser.resize(width, height)
        browser.eventually(lambda width=width: browser.js("return innerWidth") == width)
        assert browser.js("return document.documentElement.scrollWidth") <= width, width
        assert browser.js(too_wide) == [], width


def test_page_light_theme_is_kept(browser: Browser, dashboard: Dashboard) -> None:
    """Dark by default; the choice survives a reload."""
    browser.open(dashboard.url)
    theme = "return document.documentElement.dataset.theme"
    background = "return getComputedStyle(document.body).backgroundColor"
    assert browser.js(theme) == "dark"
    dark = browser.js(background)
    browser.click("theme")
    assert browser.js(theme) == "light"
    assert browser.js(background) != dark
    browser.open(dashboard.url)
    assert browser.js(theme) == "light"


def test_page_text_in_data_is_never_markup(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """What a strategy or an error says is text, whatever it contains."""
    stage.decide(0, Decided.FAILED, detail="<img src=x onerror=document.title='owned'><b>bold</b>")
    stage.commit()
    stage.publish()
    browser.open(dashboard.url)
    browser.eventually(lambda: browser.rows("decisions"))
    assert "<b>bold</b>" in browser.rows("decisions")[0][5]
    assert browser.js("return document.querySelectorAll('#decisions img, #decisions b').length") == 0


def test_page_left_open_does_not_grow(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Thousands of points and hundreds of decisions later the page holds no more nodes than its tables allow."""
    browser.open(dashboard.url)
    for _ in range(6):
        for _ in range(120):
            stage.now_ns += MINUTE_NS
            stage.desk["account"]["cash"] += 0.5
            stage.decide(0, Decided.NOT_CHOSEN, confidence=0.5)
            stage.note_equity()
        stage.commit()
        stage.publish()
        seen = browser.text("decision-count")
        browser.eventually(lambda seen=seen: browser.text("decision-count") != seen or seen == "720")
    time.sleep(1.1)
    assert len(browser.rows("decisions")) <= 100
    assert browser.js("return document.querySelectorAll('*').length") < 1500
