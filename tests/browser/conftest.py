"""A real browser: Debian's headless Chromium, driven over the WebDriver protocol, without any network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.serving import Dashboard, eventually
from tests.staging import Stage, paths_in

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # the tests may run as root; the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


class Browser:
    """One browser with one page."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def resize(self, width: int, height: int) -> None:
        """Show the page at exactly this size [CSS pixels]."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def open(self, url: str) -> None:
        """Load a page and wait for its first numbers."""
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(url)
        self.eventually(lambda: self.text("mode") in ("paper", "live", "PAPER", "LIVE"), "the first frame")

    def text(self, element_id: str) -> str:
        """Return what an element says."""
        return self.driver.find_element(By.ID, element_id).text

    def click(self, element_id: str) -> None:
        """Click an element."""
        self.driver.find_element(By.ID, element_id).click()

    def js(self, script: str) -> Any:
        """Return what a script returns."""
        return self.driver.execute_script(script)

    def rows(self, table: str) -> list[list[str]]:
        """Return the texts of a table's cells."""
        return self.js(
            f"return [...document.querySelectorAll('#{table} tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
        )

    def eventually(self, condition: Callable[[], Any], what: str = "the condition", deadline_s: float = 10.0) -> Any:
        """Return the first true answer."""
        return eventually(condition, what, deadline_s)

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def hosts(self) -> set[str]:
        """Return every host that the page has asked for anything."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        urls = [
            message["params"].get("request", message["params"]).get("url", "")
            for message in messages
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]
        return {urlsplit(url).hostname or url for url in urls if not url.startswith(("data:", "chrome:", "about:"))}


def _program(variable: str, *names: str) -> str:
    found = os.environ.get(variable) or next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {names[0]} here: apt-get install chromium chromium-driver")
    return found


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start the browser once."""
    options = ChromeOptions()
    options.binary_location = _program("TRADER_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(_program("TRADER_TEST_CHROMEDRIVER", "chromedriver")))
    driver.set_page_load_timeout(30)
    yield Browser(driver)
    driver.quit()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Stage a running instance."""
    stage = Stage(paths_in(tmp_path)).start()
    yield stage
    stage.stop()


@pytest.fixture
def dashboard(stage: Stage, browser: Browser) -> Iterator[Dashboard]:
    """Serve it; afterwards the page is left and its cookies are gone."""
    browser.resize(1920, 1080)
    with Dashboard(stage) as dashboard:
        yield dashboard
        browser.driver.delete_all_cookies()
        browser.js("try { localStorage.clear() } catch (e) {}")
        browser.driver.get("about:blank")
