"""The demo with a Telegram of its own: what an operator orders on the phone happens to the processes and on the exchange."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.bot_api import TOKEN, BotApi, Said
from tests.test_demo import Demo

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
ADMIN = 101
#: How long the parts of the demo may take to come up, or the guard to be sure that all is flat.
LIMIT_S = 300


class Phone:
    """What the admin types, presses and sees."""

    def __init__(self, api: BotApi) -> None:
        self.api = api

    async def says(self, text: str, answer: str, limit_s: float = LIMIT_S) -> Said:
        """Type something; the first message after it that holds `answer`."""
        after = len(self.api.said)
        self.api.says(ADMIN, text)
        return await asyncio.wait_for(self.api.until(lambda m: answer in m.text, after=after), limit_s)

    async def hears(self) -> None:
        """Until the command centre answers; it finds what was sent before it began expired."""
        for _ in range(LIMIT_S // 20):
            try:
                await self.says("/whoami", "role     admin", 20)
            except TimeoutError:
                continue
            return
        pytest.fail("The command centre does not answer.")

    async def orders(self, text: str, question: str) -> tuple[str, float]:
        """Order something and confirm it: how the message reads in the end, and the seconds from the press on."""
        asked = await self.says(text, question)
        began = time.monotonic()
        self.api.presses(ADMIN, asked.button("Yes")["callback_data"], asked)
        await asyncio.wait_for(self.api.until(lambda m: m is asked and m.text[:1] in "✅🔴"), LIMIT_S)
        return asked.text, time.monotonic() - began


async def until(condition: Any, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + LIMIT_S
    while not await condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        await asyncio.sleep(0.1)


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    api = BotApi()
    await api.open()
    yield Phone(api)
    await api.close()


async def test_the_operator_stops_starts_and_flattens_the_demo_from_a_phone(phone: Phone, tmp_path: Path) -> None:
    demo = Demo(
        tmp_path / "state",
        C2_TELEGRAM_BOT_TOKEN=TOKEN,
        C2_TELEGRAM_ADMIN_IDS=str(ADMIN),
        C2_TELEGRAM_API_URL=phone.api.url,
    )
    # its output is read, so that it never waits for a reader
    reader = threading.Thread(target=demo._process.communicate, daemon=True)
    reader.start()
    try:
        await phone.hears()
        for name in ("shortseller", "shortseller_001"):
            text, seconds = await phone.orders(f"/stop {name}", "Stop shortseller_001?")
            assert text.startswith("✅"), text
            print(f"/stop {name}: {seconds:.1f} s from the press to the answer")
            assert demo.child("start_trading.py") is None
            assert "topped by an operator" in (await phone.says("/status shortseller", "Status")).text
            text, seconds = await phone.orders(f"/start {name}", "Start shortseller_001?")
            assert text.startswith("✅"), text
            print(f"/start {name}: {seconds:.1f} s from the press to the answer")
            assert demo.child("start_trading.py") is not None
            assert "topped by an operator" not in (await phone.says("/status shortseller", "Status")).text
        exchange = demo.child("exchange_simulator")
        assert exchange is not None
        port = exchange.cmdline()[exchange.cmdline().index("--port") + 1]

        async def held() -> list[str]:
            async with httpx.AsyncClient(timeout=30) as client:
                page = (await client.get(f"http://127.0.0.1:{port}/_sim/ledger", params={"limit": "1"})).json()
            return [row["symbol"] for account in page["accounts"] for row in account["positions"] if float(row["size"])]

        await until(held, "a bot to open a position")
        text, seconds = await phone.orders("/panic", "PANIC")
        assert text.startswith("✅"), text
        print(f"/panic: {seconds:.1f} s from the press to the answer:\n{text}")
        assert await held() == []
        assert "No open positions" in (await phone.says("/positions", "Positions")).text
    finally:
        await asyncio.to_thread(_end, demo, reader)


def _end(demo: Demo, reader: threading.Thread) -> None:
    demo._process.terminate()
    reader.join(timeout=120)
    assert not reader.is_alive(), "the demo does not end"
