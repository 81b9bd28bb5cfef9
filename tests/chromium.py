"""A page in Debian's Chromium, driven by Playwright: real keys, requests as they leave, errors of scripts."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

import pytest


class Page:
    """One tab, whose requests and errors are kept."""

    def __init__(self, tab):
        self.tab = tab
        self.requests: list[str] = []  # addresses, data: left out
        self.errors: list[str] = []  # of scripts
        tab.on("request", lambda request: self.requests.append(request.url) if request.url[:5] != "data:" else None)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def run(self, script: str):
        """The value of an expression, of a promise too."""
        return self.tab.evaluate(script)

    def wait(self, script: str, seconds: float = 120):
        """Until an expression is true."""
        self.tab.wait_for_function(script, timeout=1000 * seconds)

    def open(self, file: pathlib.Path, width: int = 1440, height: int = 900, fragment: str = ""):
        """A file, in a window of this size; done when its formulas are set."""
        self.tab.set_viewport_size({"width": width, "height": height})
        self.requests.clear()
        self.tab.goto(file.resolve().as_uri() + fragment)
        self.run("window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => true) : true")

    def press(self, *keys: str):
        """Keys of a keyboard, one after the other."""
        for key in keys:
            self.tab.keyboard.press(key)

    def media(self, kind: str = "screen", dark: bool = False):
        """Screen or print, light or dark."""
        self.tab.emulate_media(media=kind, color_scheme="dark" if dark else "light")

    def picture(self, path: pathlib.Path):
        """What the window shows, as PNG."""
        self.tab.screenshot(path=path)


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A :class:`Page` of a browser of its own; skips the test where no Chromium or no Playwright is installed."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make environment")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--mute-audio"])
        yield Page(running.new_page())
        running.close()
