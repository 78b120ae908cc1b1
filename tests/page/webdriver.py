"""A small WebDriver client (W3C WebDriver, sections 8 to 17) for Debian's chromium: enough to press keys and look."""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
CONTROL, SHIFT = "\ue009", "\ue008"
ENTER, TAB, ESCAPE, DELETE, F2 = "\ue007", "\ue004", "\ue00c", "\ue017", "\ue032"
UP, DOWN, LEFT, RIGHT = "\ue013", "\ue015", "\ue012", "\ue014"

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--lang=en",
)

Found = TypeVar("Found")


class WebDriverError(Exception):
    """The driver refused a command; the message is its own."""


class Browser:
    """One headless browser window of `width` times `height` CSS pixels, with a fresh profile; a context manager."""

    def __init__(self, width: int = 1280, height: int = 800, *, scheme: str = "light") -> None:
        self._stack = ExitStack()
        self._size = (width, height)
        self._scheme = scheme

    def __enter__(self) -> Browser:
        with ExitStack() as stack:
            profile = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="rumpel-chromium-", ignore_cleanup_errors=True)
            )
            driver = subprocess.Popen(
                ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            stack.callback(_end, driver)
            self._client = stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{_port(driver)}", timeout=60, trust_env=False)
            )
            width, height = self._size
            options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]}
            capabilities = {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
            self._session = f"/session/{answer['sessionId']}"
            stack.callback(self._call, "DELETE", self._session)
            self.cdp(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
            )
            self.cdp(
                "Emulation.setEmulatedMedia",
                {"features": [{"name": "prefers-color-scheme", "value": self._scheme}]},
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        response = self._client.request(method, path, json=body if body is not None or method != "POST" else {})
        value = response.json()["value"]
        if response.status_code != 200:
            raise WebDriverError(value["message"])
        return value

    def cdp(self, command: str, parameters: dict[str, Any]) -> Any:
        """A Chrome DevTools command."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url: str) -> None:
        """Load a page and wait for its load event."""
        self._call("POST", f"{self._session}/url", {"url": url})

    def script(self, code: str, *arguments: Any) -> Any:
        """The value that `code` (a function's body) returns in the page."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": code, "args": list(arguments)})

    def press(self, *keys: str, held: str = "") -> None:
        """Type keys one after the other into whatever has the focus, with `held` pressed all the while."""
        actions = [{"type": "keyDown", "value": key} for key in held]
        for key in "".join(keys):
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        actions += [{"type": "keyUp", "value": key} for key in held]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        self._call("POST", f"{self._session}/actions", body)

    def text(self, selector: str) -> str:
        """The visible text of the first element that matches, or ''."""
        code = "const e = document.querySelector(arguments[0]); return e?.checkVisibility() ? e.innerText : ''"
        return str(self.script(code, selector))

    def focused(self) -> str:
        """What has the focus: its text, or the value or name of a field."""
        return str(
            self.script("const e = document.activeElement; return e.innerText || e.value || e.name || e.id || ''")
        )

    def wait(self, check: Callable[[], Found], what: str, seconds: float = 15) -> Found:
        """The first true value of `check`; AssertionError with what it saw last after `seconds`."""
        end = time.monotonic() + seconds
        while True:
            value = check()
            if value:
                return value
            assert time.monotonic() < end, f"{what}: not within {seconds} s; last seen: {value!r}"
            time.sleep(0.05)

    def wait_text(self, selector: str, wanted: str) -> None:
        """Wait until the element's text holds `wanted`."""
        seen = ""

        def holds() -> bool:
            nonlocal seen
            seen = self.text(selector)
            return wanted in seen

        try:
            self.wait(holds, selector)
        except AssertionError:
            raise AssertionError(f"'{selector}' never showed '{wanted}'; it shows '{seen}'") from None

    def messages(self) -> list[str]:
        """What the browser complained of (errors of scripts, refused resources) since the last call."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        """The window as a PNG file."""
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))


def _port(driver: subprocess.Popen[str]) -> int:
    assert driver.stdout is not None
    for line in driver.stdout:
        match = re.search(r"started successfully on port (\d+)", line)
        if match:
            return int(match.group(1))
    raise WebDriverError("chromedriver ended before it listened")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
