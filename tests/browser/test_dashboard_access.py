"""The page for everybody: axe-core finds nothing, the keyboard reaches all, nothing jumps, times are told twice."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Browser
from tests.browser.test_dashboard_page import _advance, _buy
from tests.serving import Dashboard
from tests.staging import MINUTE_NS, Stage
from trader.codes import Decided, Halt, Reason

OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def _violations(browser: Browser) -> list[str]:
    found: Any = Axe().run(browser.driver, options=OPTIONS)
    return [
        f"{violation['id']} ({violation['impact']}): {node['target']}: {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def _lively(stage: Stage) -> None:
    for number in range(3):
        _buy(stage)
        _advance(stage, 10, 30.0 if number % 2 else -20.0)
        stage.trade(0, "-0.02", Reason.TARGET if number % 2 else Reason.STOP)
    _buy(stage)
    stage.deny(2)
    stage.decide(1, Decided.NOT_CHOSEN, confidence=0.5)
    stage.decide(1, Decided.FAILED, detail="ValueError: nothing")
    stage.commit()
    _advance(stage, 5)


TABS = ("tab-orders", "tab-health", "tab-logs", "tab-candles", "tab-days", "tab-symbols", "tab-equity", "tab-decisions")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_page_has_no_violation(browser: Browser, dashboard: Dashboard, stage: Stage, theme: str) -> None:
    """Contrast, names, roles, order: behind every tab, on a phone, halted, and without an engine, in both themes."""
    _lively(stage)
    browser.open(dashboard.url)
    if theme == "light":
        browser.click("theme")
    browser.eventually(lambda: browser.js("return document.getElementById('chart').dataset.drawn"), "the chart")
    browser.eventually(lambda: len(browser.rows("trips")) == 3)
    for tab in TABS if theme == "dark" else ("tab-orders", "tab-logs", "tab-decisions"):
        browser.click(tab)
        browser.eventually(
            lambda tab=tab: browser.driver.find_element(By.ID, tab).get_attribute("aria-selected") == "true"
        )
        assert _violations(browser) == [], tab
    browser.resize(360, 740)
    assert _violations(browser) == [], "on a phone"
    stage.desk["account"]["halt_mask"] = Halt.DAILY_LOSS
    stage.publish()
    browser.eventually(lambda: browser.text("state").upper() == "HALTED", "the halt")
    assert _violations(browser) == [], "halted"
    stage.lose_engine()
    browser.eventually(lambda: browser.text("state").upper() == "ENGINE DOWN", "the engine's state")
    assert _violations(browser) == [], "without an engine"


def test_page_dialogs_and_sign_in_have_no_violation(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """A confirmation, the sign-in over the page, and the page that only signs in."""
    _buy(stage)
    browser.open(dashboard.url)
    browser.click("flatten")
    browser.eventually(lambda: browser.js("return document.getElementById('confirm').open"))
    assert _violations(browser) == []
    browser.click("confirm-yes")
    browser.eventually(lambda: browser.js("return document.getElementById('login').open"))
    assert _violations(browser) == []
    browser.driver.get(f"{dashboard.url}/login")
    assert _violations(browser) == []
    browser.js("document.documentElement.dataset.theme = 'light'")
    assert _violations(browser) == []
    assert browser.complaints() == []


def test_page_empty_and_lost_have_no_violation(browser: Browser, dashboard: Dashboard) -> None:
    """Before the first trade, and when nobody answers any more."""
    browser.open(dashboard.url)
    assert _violations(browser) == []
    dashboard.stop()
    browser.eventually(lambda: browser.text("state").upper() == "DISCONNECTED", "the disconnected state")
    assert _violations(browser) == []


def test_page_keyboard_reaches_everything(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Tab passes every control once, in the order of the page; arrows move between tabs; Escape leaves a dialog."""
    _buy(stage)
    browser.open(dashboard.url)
    browser.eventually(lambda: browser.rows("positions"))
    reached = []
    for _ in range(120):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.append(browser.js(
            "const e = document.activeElement; return e === document.body ? '' : (e.id || e.getAttribute('aria-label') "
            "|| e.textContent.trim())"
        ))  # fmt: skip
        if reached[-1] == "":
            break
    wanted = ["pause", "flatten", "reload", "session", "theme", "tab-equity", "Close BTC/USDT", "tab-decisions", "idle"]
    places = [reached.index(name) for name in wanted]
    assert places == sorted(places), reached
    assert "Save decisions as CSV" in reached
    assert len(set(reached[:-1])) > 40
    browser.driver.find_element(By.ID, "tab-decisions").send_keys(Keys.ARROW_RIGHT)
    assert browser.driver.switch_to.active_element.get_attribute("id") == "tab-orders"
    assert browser.driver.find_element(By.ID, "panel-orders").is_displayed()
    browser.driver.find_element(By.ID, "flatten").send_keys(Keys.ENTER)
    browser.eventually(lambda: browser.js("return document.getElementById('confirm').open"))
    assert browser.driver.switch_to.active_element.text == "Cancel"
    ActionChains(browser.driver).send_keys(Keys.ESCAPE).perform()
    browser.eventually(lambda: not browser.js("return document.getElementById('confirm').open"))
    assert dashboard.commands == []


@pytest.mark.parametrize("width", [pytest.param(360, marks=pytest.mark.slow), 1920])
def test_page_does_not_shift(browser: Browser, dashboard: Dashboard, stage: Stage, width: int) -> None:
    """What is there stays where it is while numbers, rows and the chart arrive: cumulative shift below 0.1."""
    _lively(stage)
    browser.resize(width, 900)
    script = (
        "window.shift = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) "
        "if (!e.hadRecentInput) window.shift += e.value; }).observe({type: 'layout-shift', buffered: true});"
    )
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        browser.open(dashboard.url)
        browser.eventually(lambda: browser.js("return document.getElementById('chart').dataset.drawn"), "the chart")
        for _ in range(3):
            seen = browser.text("market-time")
            _advance(stage, 3, 11.0)
            browser.eventually(lambda seen=seen: browser.text("market-time") != seen)
        assert browser.js("return window.shift") < 0.1
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_page_tells_times_in_utc_and_here(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Market time stands in UTC and in the browser's own zone, with its distance; rows have both in their title."""
    stage.now_ns += 30 * MINUTE_NS  # 2025-01-02T09:30Z
    browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    try:
        _buy(stage)
        browser.open(dashboard.url)
        assert browser.text("market-time") == "2025-01-02 09:30:00"
        assert browser.text("market-local") == "2025-01-02 15:00:00 UTC+5:30 here"
        browser.eventually(lambda: browser.rows("decisions"))
        title = browser.js("return document.querySelector('#decisions tbody td').title")
        assert title == "2025-01-02 09:30:00 UTC, 2025-01-02 15:00:00 UTC+5:30"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
