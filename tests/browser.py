"""A page in headless Chromium, driven through its DevTools protocol: real keys, requests as they leave, pictures."""

import asyncio
import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator

import pytest
from tornado.websocket import websocket_connect

KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "Tab": 9, "Enter": 13, " ": 32, "Home": 36, "End": 35}


class Page:
    """The one tab of a browser."""

    def __init__(self, address: str):
        self.loop = asyncio.new_event_loop()
        self.socket = self.loop.run_until_complete(self._connect(address))
        self.number = 0
        self.requests: list[str] = []  # addresses, data: left out
        self.errors: list[str] = []  # of scripts
        self.loaded = False
        for domain in ("Page", "Network", "Runtime"):
            self.send(f"{domain}.enable")

    @staticmethod
    async def _connect(address: str):
        return await websocket_connect(address, max_message_size=2**28)

    def send(self, method: str, **parameters) -> dict:
        """The answer to one command."""
        self.number += 1
        return self.loop.run_until_complete(asyncio.wait_for(self._send(self.number, method, parameters), 120))

    async def _send(self, number: int, method: str, parameters: dict) -> dict:
        await self.socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while (said := await self._next()).get("id") != number:
            pass
        assert "error" not in said, said
        return said["result"]

    async def _next(self) -> dict:
        """The next message of the browser, noted where it is about a request, an error or a page that has come."""
        said = json.loads(await self.socket.read_message())
        if said.get("method") == "Network.requestWillBeSent":
            address = said["params"]["request"]["url"]
            self.requests += [] if address.startswith("data:") else [address]
        elif said.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(said["params"]["exceptionDetails"])[:300])
        elif said.get("method") == "Page.loadEventFired":
            self.loaded = True
        return said

    async def _load(self):
        while not self.loaded:
            await self._next()

    def run(self, script: str):
        """The value of an expression, of a promise too."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, file: pathlib.Path, width: int = 1440, height: int = 900, fragment: str = ""):
        """A file, in a window of this size; done when its formulas are set."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.requests.clear()
        self.loaded = False
        self.send("Page.navigate", url=file.resolve().as_uri() + fragment)
        self.loop.run_until_complete(asyncio.wait_for(self._load(), 120))
        self.run("window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => true) : true")

    def press(self, *keys: str):
        """Keys of a keyboard, one after the other."""
        for key in keys:
            name = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
            text = {"text": {"Enter": "\r"}.get(key, key)} if key in (" ", "Enter") else {}
            self.send("Input.dispatchKeyEvent", type="keyDown", **name, **text)
            self.send("Input.dispatchKeyEvent", type="keyUp", **name)

    def media(self, kind: str = "screen", dark: bool = False):
        """Screen or print, light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def picture(self, path: pathlib.Path):
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


def program() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A :class:`Page` of a browser of its own; skips the test where no Chromium is installed."""
    if program() is None:
        pytest.skip("no Chromium is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--hide-scrollbars"]
        command = [program(), *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port, end = pathlib.Path(profile) / "DevToolsActivePort", time.monotonic() + 60
            while not port.is_file() or not port.read_text():
                assert process.poll() is None and time.monotonic() < end, "Chromium did not start"
                time.sleep(0.1)
            with urllib.request.urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json") as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            page = Page(tabs[0]["webSocketDebuggerUrl"])
            yield page
            page.socket.close()
            page.loop.close()
        finally:
            process.terminate()
            process.wait(30)
