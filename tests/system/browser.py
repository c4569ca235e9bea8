"""A real browser, without a screen: Debian's Chromium and its driver."""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

T = TypeVar("T")

BOUND = 30.0  # seconds that nothing on a page should take


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.fail(
        f"there is no {names[0]}: these tests draw in a real browser;"
        " on Debian and Ubuntu: apt-get install chromium chromium-driver",
        pytrace=False,
    )


class Browser:
    """A page in a browser, and what can be seen of it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def script(self, text: str, *args: Any) -> Any:
        """Run a function's body in the page and return what it returns."""
        return self.driver.execute_script(text, *args)

    def until(self, condition: Callable[[], T], what: str, seconds: float = BOUND) -> T:
        """Wait for a condition, and return what it is."""
        waiting = WebDriverWait(self.driver, seconds, poll_frequency=0.05)
        return waiting.until(lambda driver: condition(), message=f"waited in vain for: {what}")

    def find(self, selector: str) -> WebElement:
        """Return the first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return what is read in an element, hidden or not, without being interrupted by a draw."""
        found: str = self.script(
            "const e = document.querySelector(arguments[0]); return e ? e.textContent : ''",
            selector,
        )
        return found

    def is_shown(self, selector: str) -> bool:
        """Tell whether there is such an element and it takes room."""
        found: bool = self.script(
            "const e = document.querySelector(arguments[0]);"
            "return Boolean(e && e.getClientRects().length)",
            selector,
        )
        return found

    def complaints(self) -> list[str]:
        """Return what the browser has complained about since it was last asked."""
        untyped: Any = self.driver
        return [entry["message"] for entry in untyped.get_log("browser")]

    def emulate(self, **features: str) -> None:
        """Set media features, such as ``prefers-color-scheme``; their names with underscores."""
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {
                "features": [
                    {"name": name.replace("_", "-"), "value": value}
                    for name, value in features.items()
                ]
            },
        )

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """Set the size of the page, in its own pixels."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False},
        )

    def picture(self, path: Path) -> None:
        """Write a picture of what is seen."""
        self.driver.save_screenshot(str(path))


@contextmanager
def browser(log: Path) -> Generator[Browser]:
    """Start a browser and end it."""
    options = ChromeOptions()
    options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # root, in a container, has none
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--force-color-profile=srgb",
        "--no-proxy-server",
        "--window-size=1440,1000",
        "--lang=en",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(_program("chromedriver"), log_output=str(log))
    driver = Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(BOUND)
        driver.set_script_timeout(BOUND)
        yield Browser(driver)
    finally:
        driver.quit()
