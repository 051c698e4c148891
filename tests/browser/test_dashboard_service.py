"""The page before a real service: its owner acts with the token of `trader token`, its engine is killed, and back."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.acceptance.service import Service
from tests.browser.conftest import Browser


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Run a service on the simulated market, at a port that is free."""
    service = Service(
        tmp_path, {"dashboard": {"port": 0}, "market": {"speed": 60}, "engine": {"loop_interval_seconds": 60}}
    )
    service.start()
    yield service
    service.kill()


def _address(service: Service, browser: Browser) -> str:
    said = browser.eventually(
        lambda: re.search(r"the dashboard listens on (http://\S+)", service.text()), "the address", 120.0
    )
    return said[1]


def _state(browser: Browser) -> str:
    return browser.text("state").upper()


def test_page_of_a_real_service(browser: Browser, service: Service) -> None:
    """Running; paused and resumed by its owner; the engine killed: said, numbers kept, and back by itself."""
    browser.resize(1440, 900)
    browser.open(_address(service, browser))
    browser.eventually(lambda: _state(browser) == "RUNNING", "a running service", 120.0)
    browser.eventually(lambda: browser.text("equity") not in ("", "\u2013"), "the account")

    browser.click("pause")
    browser.eventually(lambda: browser.js("return document.getElementById('confirm').open"))
    browser.click("confirm-yes")
    browser.eventually(lambda: browser.js("return document.getElementById('login').open"), "the sign-in")
    token = service.command("token").stdout.strip()
    browser.driver.find_element(By.ID, "token").send_keys(token)
    browser.click("login-yes")
    browser.eventually(lambda: _state(browser) == "PAUSED", "the pause")
    assert browser.text("pause") == "Resume"
    assert "paused by the owner" in browser.text("notice-text")
    browser.click("pause")
    browser.eventually(lambda: browser.js("return document.getElementById('confirm').open"))
    browser.click("confirm-yes")
    browser.eventually(lambda: _state(browser) == "RUNNING", "entries again")

    pid = service.worker_pid("engine")
    assert pid is not None
    equity = browser.text("equity")
    os.kill(pid, signal.SIGKILL)
    browser.eventually(lambda: _state(browser) != "RUNNING", "the engine's death on the page")
    assert browser.text("equity") != "\u2013", f"it was {equity}"
    browser.eventually(lambda: _state(browser) == "RUNNING", "the engine's return", 120.0)
    browser.eventually(lambda: browser.rows("workers")[0][6] == "1", "its restart in the table")
    assert [row[0] for row in browser.rows("workers")] == ["engine", "monitor", "dashboard"]
    assert browser.complaints() == []
