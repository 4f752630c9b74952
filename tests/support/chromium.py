"""A headless Chromium controlled over the DevTools protocol: pages as a user's browser renders them."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

#: Executable names, Debian's first.
PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESKTOP = (1280, 900)
PHONE = (390, 844)
WIDE = (1920, 1080)
_START_S = 60.0


class Tab:
    """One page. `errors` collects everything the page's scripts throw."""

    def __init__(self, wire: ClientConnection) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.errors: list[str] = []
        self.reading = asyncio.create_task(self._read())

    async def resize(self, size: tuple[int, int]) -> None:
        """Set the viewport: width and height in CSS pixels; narrow ones emulate phones."""
        width, height = size
        phone = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    async def open(self, url: str) -> None:
        """Navigate to a URL and wait until the page has loaded; does not wait for open streams."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), _START_S)

    async def submit(self, script: str) -> None:
        """Run a script that leads to another page, and wait until that has loaded."""
        self._loaded.clear()
        await self.value(script)
        await asyncio.wait_for(self._loaded.wait(), _START_S)

    async def scheme(self, name: str) -> None:
        """Emulate a system that prefers `light` or `dark`."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    async def value(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, script: str, limit_s: float = 30.0) -> None:
        """Wait until an expression is true in the page."""
        deadline = asyncio.get_running_loop().time() + limit_s
        while not await self.value(script):
            assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {script}"
            await asyncio.sleep(0.05)

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the full page, or of the viewport, to `path`."""
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One DevTools protocol call."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._wire.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return await asyncio.wait_for(self._waiting[number], _START_S)

    async def _read(self) -> None:
        async for text in self._wire:
            said = json.loads(text)
            if "id" in said:
                waiting = self._waiting.pop(said["id"])
                if "error" in said:
                    waiting.set_exception(AssertionError(said["error"]["message"]))
                else:
                    waiting.set_result(said["result"])
            elif said["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif said["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(said["params"]["exceptionDetails"]))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(str(said["params"]["entry"]["text"]))


@contextlib.asynccontextmanager
async def browser(*flags: str) -> AsyncIterator[Callable[[], Awaitable[Tab]]]:
    """A browser with its own profile and further flags; call the yielded function for a new tab."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(prefix="alpha-browser-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *(
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--hide-scrollbars",
            ),
            *flags,
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        tabs: list[Tab] = []
        async with contextlib.AsyncExitStack() as wires:
            try:
                address = await asyncio.wait_for(_address(process), _START_S)

                async def new_tab() -> Tab:
                    base = address.split("/devtools/")[0]
                    main = await wires.enter_async_context(connect(address, max_size=None))
                    await main.send('{"id":1,"method":"Target.createTarget","params":{"url":"about:blank"}}')
                    made = json.loads(await main.recv())
                    page = f"{base}/devtools/page/{made['result']['targetId']}"
                    tab = Tab(await wires.enter_async_context(connect(page, max_size=None)))
                    tabs.append(tab)
                    for domain in ("Page", "Runtime", "Log"):
                        await tab.call(f"{domain}.enable")
                    return tab

                yield new_tab
            finally:
                for tab in tabs:
                    tab.reading.cancel()
                process.terminate()
                await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        _, found, address = line.decode(errors="replace").partition("DevTools listening on ")
        if found:
            return address.strip()
    raise AssertionError("Chromium ended before it listened.")
