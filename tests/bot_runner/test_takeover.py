"""A bot that is frozen in the middle of a batch of entries, and its successor, as real processes."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.bot_harness import BotHarness, Servers, sim
from tests.support.world import until

#: A crowded machine is no fault of the bot's.
pytestmark = pytest.mark.timeout(400)

CREATE = "/v5/order/create"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
STEP = ("--step", "--path", "high-first", "--symbols", ",".join(SYMBOLS))


async def test_a_bot_frozen_in_a_batch_of_entries_sends_none_after_its_successor_has_taken_over(
    tmp_path: Path, servers: Servers
) -> None:
    stage = BotHarness(tmp_path, speed="1", options=STEP, servers=servers)
    await stage.open()
    try:
        more: dict[str, Any] = {
            "SHORTSELLER_SYMBOLS": str(list(SYMBOLS)).replace("'", '"'),
            "SHORTSELLER_HOLD_BARS": "90",
        }
        first, second = stage.toy("first", real_takeover=True, **more), stage.toy("second", real_takeover=True, **more)
        await stage.play(first)
        second.start()

        async def waits() -> bool:
            return "lease_held" in second.said()

        await until(waits, 60, "the second instance to wait")
        # Each receipt comes late, so that the batch takes seconds.
        await stage.fault(kind="answer", path=CREATE, after=True, ms=1_000)
        now_ms = (await sim(stage, "GET", "/_sim/state"))["now_ms"]
        to_ms = now_ms - now_ms % 300_000 + 300_000
        passing = asyncio.create_task(sim(stage, "POST", "/_sim/advance", to_ms=to_ms, timeout_s=180))

        async def entered() -> bool:
            return len(await stage.fills()) >= 1

        await until(entered, 60, "the first entry of the batch")
        first.signal(signal.SIGSTOP)
        before = {row["orderLinkId"] for row in await stage.fills()}

        async def taken_over() -> bool:
            return "lease_taken_over" in second.said()

        await until(taken_over, 60, "the second instance to take over")
        first.signal(signal.SIGCONT)

        async def ended() -> bool:
            return not first.running

        await until(ended, 60, "the first instance to end")
        await stage.fault_free()
        await passing
        assert first.exit_code() == 70
        assert {row["orderLinkId"] for row in await stage.fills()} == before, "an entry of a fenced bot was accepted"
        assert len(before) < len(SYMBOLS)

        async def adopted() -> bool:
            return len(await stage.state_row("positions")) == len(before)

        await until(adopted, 60, "the successor to adopt what was entered")
        for symbol, own in (await stage.state_row("positions")).items():
            held = await stage.position(symbol)
            assert held is not None
            assert float(held["stopLoss"]) == pytest.approx(float(own["stop_loss"]))
            assert await stage.alerts(f"unknown_position:{symbol}") == []
        assert await stage.alerts("paused") == []
        assert second.running
    finally:
        stage.close()
