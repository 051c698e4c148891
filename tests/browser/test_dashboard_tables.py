"""Charts and tables in a real browser: drawn, sorted, filtered, saved; signing in and out."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.browser.conftest import Browser
from tests.browser.test_dashboard_page import _advance, _buy
from tests.serving import TOKEN, Dashboard
from tests.staging import MINUTE_NS, Stage
from trader.codes import Decided, Reason

#: a chart has to be there within this [ms]; the machine that tests may be slow, so the fastest of a few counts
CHART_MS = 300


def _trade_a_lot(stage: Stage) -> None:
    """Close three positions on three days, the last with a loss; leave one open."""
    for number, end in enumerate((60_900.0, 61_800.0, 58_800.0)):
        stage.slots["mark_price"][number % 2] = 60_000.0
        stage.trade(number % 2, "0.02", Reason.SIGNAL, stage.decide(number % 2, Decided.ORDERED, confidence=0.8))
        stage.now_ns += 60 * MINUTE_NS
        stage.slots["mark_price"][number % 2] = end
        stage.trade(number % 2, "-0.02", Reason.TARGET if end > 60_000 else Reason.STOP)
        stage.deny(2)
        stage.decide(1, Decided.NOT_CHOSEN, confidence=0.5)
        stage.now_ns += 24 * 60 * MINUTE_NS
        stage.note_equity()
    stage.commit()
    _buy(stage)
    _advance(stage, 3)


def _column(browser: Browser, table: str, index: int) -> list[str]:
    return [row[index].split("\n")[0] for row in browser.rows(table)]


def _sort(browser: Browser, table: str, label: str) -> None:
    browser.js(f"[...document.querySelectorAll('#{table} th button')].find(b => b.textContent === '{label}').click()")


def _drawn(browser: Browser, kind: str) -> int:
    """Return how long a chart took to be there, from the click on [ms]."""
    browser.click(f"tab-{kind}")
    script = f"const d = document.getElementById('chart').dataset; return d.drawn === '{kind}' ? d.took : undefined"
    return int(browser.eventually(lambda: browser.js(script), f"chart {kind}"))


def test_charts_are_drawn_within_their_time(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Equity, candles with entries, exits and levels, days, symbols: there, told in words, and fast."""
    _trade_a_lot(stage)
    browser.open(dashboard.url)
    browser.eventually(lambda: browser.js("return document.getElementById('chart').dataset.drawn"), "the first chart")
    said = {}
    for kind in ("candles", "days", "symbols", "equity"):
        took = CHART_MS
        for _ in range(5):
            browser.click("tab-days" if kind == "equity" else "tab-equity")
            took = min(took, _drawn(browser, kind))
            if took < CHART_MS:
                break
        assert took < CHART_MS, kind
        said[kind] = browser.driver.find_element(By.ID, "chart").get_attribute("aria-label")
    assert said["candles"].startswith("Candles of BTC/USDT")
    assert "3 entries, 2 exits" in said["candles"]
    assert "Profit of 3 UTC days" in said["days"]
    assert "2 with a gain" in said["days"]
    assert "BTC/USDT" in said["symbols"]
    assert said["equity"].startswith("Equity from")
    assert browser.complaints() == []
    assert browser.hosts() == {"127.0.0.1"}


def test_candles_show_entries_exits_and_levels(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """A trace each for candles, stop, target, trailing stop, entries and exits; another symbol has its own."""
    _trade_a_lot(stage)
    stage.slots["trailing_stop_frac"][0] = 0.01
    stage.publish()
    browser.open(dashboard.url)
    _drawn(browser, "candles")
    traces = (
        "return document.getElementById('chart').data.map("
        "t => [t.name, (t.y ?? t.close).filter(v => v !== null).length])"
    )
    found = dict(browser.js(traces))
    assert found.pop("BTC/USDT") > 100
    assert found == {"stop": 2, "target": 2, "trailing stop": 2, "entry": 3, "exit": 2}
    Select(browser.driver.find_element(By.ID, "chart-symbol")).select_by_value("ETH/USDT")
    browser.eventually(lambda: "ETH/USDT" in dict(browser.js(traces)), "the other symbol")
    assert dict(browser.js(traces))["exit"] == 1


def test_table_is_sorted_by_what_is_clicked(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Numbers as numbers, down then up, then as they came; the heading says so to everybody."""
    _trade_a_lot(stage)
    browser.open(dashboard.url)
    browser.eventually(lambda: len(browser.rows("trips")) == 3)
    as_they_came = _column(browser, "trips", 5)
    _sort(browser, "trips", "Result")
    assert _column(browser, "trips", 5) == ["+33.56", "+15.58", "\u221226.38"]
    assert browser.js("return document.querySelector('#trips th[aria-sort]').getAttribute('aria-sort')") == "descending"
    _sort(browser, "trips", "Result")
    assert _column(browser, "trips", 5) == ["\u221226.38", "+15.58", "+33.56"]
    _sort(browser, "trips", "Result")
    assert _column(browser, "trips", 5) == as_they_came
    assert browser.js("return document.querySelector('#trips th[aria-sort]')") is None


def test_decisions_are_filtered_and_saved(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """By symbol, verdict, limit and text; the CSV link asks for the same."""
    _trade_a_lot(stage)
    browser.open(dashboard.url)
    browser.eventually(lambda: len(browser.rows("decisions")) == 10)
    choose = {
        name: Select(
            browser.driver.find_element(By.CSS_SELECTOR, f"[data-tools=decisions] select[aria-label='{name}']")
        )
        for name in ("Verdict", "Limit that was broken", "Symbol of decisions")
    }
    choose["Verdict"].select_by_value("denied")
    browser.eventually(lambda: set(_column(browser, "decisions", 2)) == {"denied"}, "only denials")
    choose["Limit that was broken"].select_by_value("drawdown")
    browser.eventually(lambda: browser.rows("decisions") == [], "none")
    choose["Limit that was broken"].select_by_value("confidence")
    browser.eventually(lambda: len(browser.rows("decisions")) == 3, "the denials again")
    link = browser.js("return document.querySelector('[data-tools=decisions] a').getAttribute('href')")
    assert "decided=denied" in link
    assert "broken=confidence" in link
    status, headers, body = dashboard.request("GET", link)
    assert (status, len(body.splitlines())) == (200, 4)
    assert headers["content-disposition"].startswith("attachment")
    choose["Verdict"].select_by_value("")
    choose["Limit that was broken"].select_by_value("")
    choose["Symbol of decisions"].select_by_value("ETH/USDT")
    browser.eventually(lambda: set(_column(browser, "decisions", 1)) == {"ETH/USDT"}, "one symbol")
    browser.driver.find_element(By.CSS_SELECTOR, "[data-tools=decisions] input[type=search]").send_keys("no such words")
    browser.eventually(lambda: browser.rows("decisions") == [], "nothing with these words")


def test_orders_health_and_log_are_behind_their_tabs(browser: Browser, dashboard: Dashboard, stage: Stage) -> None:
    """Orders of the ledger, the monitor's checks, lines of the log by level."""
    _trade_a_lot(stage)
    lines = [
        f'{{"time":"2025-01-02T09:00:0{second}.000000Z","level":"{level}","role":"engine","pid":7,"run_id":"r",'
        f'"logger":"trader.engine","message":"{words}"}}\n'
        for second, (level, words) in enumerate(
            (("INFO", "all is well"), ("ERROR", "something broke"), ("INFO", "again"))
        )
    ]
    (stage.paths.log_dir / "structured.jsonl").write_text("".join(lines))
    browser.open(dashboard.url)
    browser.click("tab-orders")
    browser.eventually(lambda: len(browser.rows("orders")) == 7, "the orders")
    assert browser.rows("orders")[0][3] == "filled"
    browser.click("tab-logs")
    browser.eventually(lambda: len(browser.rows("logs")) == 3, "the lines")
    assert _column(browser, "logs", 3) == ["again", "something broke", "all is well"]
    Select(browser.driver.find_element(By.CSS_SELECTOR, "[data-tools=logs] select")).select_by_value("ERROR")
    browser.eventually(lambda: _column(browser, "logs", 3) == ["something broke"], "errors only")
    browser.click("tab-health")
    assert browser.driver.find_element(By.ID, "panel-health").is_displayed()


def test_sign_in_and_out(browser: Browser, dashboard: Dashboard) -> None:
    """The page of its own: a wrong token is told, the right one leads back; signing out ends it."""
    browser.driver.get(f"{dashboard.url}/login")
    browser.driver.find_element(By.ID, "token").send_keys("wrong\n")
    browser.eventually(lambda: browser.text("error") == "this is not the token", "the refusal")
    browser.driver.find_element(By.ID, "token").send_keys(f"{TOKEN}\n")
    browser.eventually(lambda: browser.driver.current_url == f"{dashboard.url}/", "the way back")
    browser.eventually(lambda: browser.text("session") == "Sign out", "the session")
    assert browser.js("return document.cookie") == ""
    [cookie] = browser.driver.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    browser.click("pause")
    browser.eventually(lambda: browser.js("return document.getElementById('confirm').open"))
    browser.click("confirm-yes")
    browser.eventually(lambda: dashboard.commands == [("pause", {})], "the command, without another sign-in")
    browser.click("session")
    browser.eventually(lambda: browser.text("session") == "Sign in", "the end of the session")
    assert browser.driver.get_cookies() == []


@pytest.mark.parametrize("button", ["flatten", "close"])
def test_confirmation_says_what_will_happen(browser: Browser, dashboard: Dashboard, stage: Stage, button: str) -> None:
    """Which positions, how large, with which result so far, and what comes afterwards."""
    _buy(stage)
    _advance(stage, 3)
    browser.open(dashboard.url)
    browser.eventually(lambda: browser.rows("positions"))
    if button == "close":
        browser.driver.find_element(By.CSS_SELECTOR, "#positions tbody button").click()
    else:
        browser.click("flatten")
    browser.eventually(lambda: browser.js("return document.getElementById('confirm').open"))
    assert browser.text("confirm-list") == "BTC/USDT: long, worth 1,201.50, result +1.50 so far"
    assert ("paused afterwards" if button == "flatten" else "whole position in BTC/USDT") in browser.text(
        "confirm-text"
    )
