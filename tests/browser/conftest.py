"""A real browser: Debian's headless Chromium, driven over the WebDriver protocol, without any network."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.serving import Dashboard, eventually
from tests.staging import Stage, paths_in

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # the tests may run as root; the page is our own
    "--no-first-run",
    "--no-default-browser-check",
    # a machine without a graphics card draws in the renderer itself, without a process that emulates one
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    # nothing that would compete with the page for a slow machine
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-hang-monitor",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,BackForwardCache",
    # a page that nobody looks at runs like one that somebody does
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)
#: how long a page may take to load, and anything else to come about, on the slowest machine [s]
LOAD_S = 40
PATIENCE_S = 60.0
#: a browser that has not shown its first, empty page by then is replaced by another one [s]
WARM_S = 45
ATTEMPTS = 4


class Browser:
    """One browser with one page."""

    def __init__(self, start: Callable[[], Chrome]) -> None:
        self._start = start
        self._size = (1920, 1080)
        self.driver = start()

    def restart(self) -> None:
        """Go on with another browser of the same size."""
        _quit(self.driver)
        self.driver = self._start()
        self.resize(*self._size)

    def resize(self, width: int, height: int) -> None:
        """Show the page at exactly this size [CSS pixels]."""
        self._size = (width, height)
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def open(self, url: str) -> None:
        """Load a page and wait for its first numbers.

        A renderer that stopped answering is not the page's fault until several browsers have said the same.
        """
        for attempt in range(ATTEMPTS):
            self.driver.get_log("performance")
            self.driver.get_log("browser")
            try:
                self.driver.get(url)
                break
            except TimeoutException as error:
                if attempt == ATTEMPTS - 1:
                    words = f"{url}: {ATTEMPTS} browsers could not load it; asked without one it says {_answer(url)}"
                    raise AssertionError(words) from error
                self.restart()
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

    def eventually(
        self, condition: Callable[[], Any], what: str = "the condition", deadline_s: float = PATIENCE_S
    ) -> Any:
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


def _answer(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return f"{answer.status} with {len(answer.read())} bytes"
    except OSError as error:
        return f"nothing: {error}"


def _program(variable: str, *names: str) -> str:
    found = os.environ.get(variable) or next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {names[0]} here: apt-get install chromium chromium-driver")
    return found


def start_browser(profile: Path) -> Chrome:
    """Return a browser that has shown a page: the first one of a fresh profile can take a slow machine minutes."""
    options = ChromeOptions()
    options.binary_location = _program("TRADER_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.page_load_strategy = "eager"  # numbers are waited for by name, not by the last icon
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(_program("TRADER_TEST_CHROMEDRIVER", "chromedriver")))
    try:
        driver.set_page_load_timeout(WARM_S)
        driver.set_script_timeout(LOAD_S)
        driver.get("data:text/html,<title>warm</title><canvas></canvas><p>warm")
        driver.execute_script("document.querySelector('canvas').getContext('2d').fillRect(0, 0, 9, 9)")
        driver.get_screenshot_as_png()  # whatever draws has drawn
        driver.set_page_load_timeout(LOAD_S)
    except BaseException:
        _quit(driver)
        raise
    return driver


def _quit(driver: Chrome) -> None:
    with contextlib.suppress(WebDriverException, OSError):
        driver.quit()


def _start_patiently(new_profile: Callable[[], Path]) -> Chrome:
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(WebDriverException):
            return start_browser(new_profile())
    return start_browser(new_profile())


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start the browser once; one that does not answer is replaced before any test sees it."""
    browser = Browser(lambda: _start_patiently(lambda: tmp_path_factory.mktemp("profile")))
    yield browser
    _quit(browser.driver)


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
