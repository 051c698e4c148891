"""The page that `trader backtest --html` writes, in a real browser: every chart is drawn, and nothing is fetched."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import Browser
from tests.unit.backtest.conftest import config_of, market
from trader.backtest.history import load
from trader.backtest.report import page
from trader.backtest.runner import run

__all__ = ["market"]

#: charts, by whether they are in a box that is closed
DRAWN = "return [...document.querySelectorAll('.chart')].map(c => [c.id, !!c.querySelector('svg.main-svg')])"


def test_backtest_page_draws_every_chart(browser: Browser, market: Path, tmp_path: Path) -> None:  # noqa: F811
    """The first symbol's candles without a click, the others when their box is opened."""
    config = config_of(market)
    history = load(config.market)
    file = tmp_path / "page.html"
    file.write_text(page(run(config, history), history), encoding="utf-8")
    browser.hosts()  # whatever was before
    browser.complaints()
    browser.driver.get(file.as_uri())
    closed = {"candles-1"}
    browser.eventually(lambda: {name for name, drawn in browser.js(DRAWN) if not drawn} == closed, "all but one drawn")
    browser.js("document.querySelectorAll('details')[1].open = true")
    browser.eventually(lambda: all(drawn for _, drawn in browser.js(DRAWN)), "the last one drawn")
    assert browser.hosts() <= {str(file.as_uri()), ""}
    assert browser.complaints() == []
