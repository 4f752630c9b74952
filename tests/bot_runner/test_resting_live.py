"""Resting orders on a running market, with the listener: no step clock waits for the bot, fills come in parts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.bot_harness import BotHarness, Servers, sim, trades
from tests.support.world import BOTS, Process, Trader, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

TOY = "tests.bot_runner.resting_toy:RestingToy"
CREATE, CANCEL, AMEND = "/v5/order/create", "/v5/order/cancel", "/v5/order/amend"
#: A level of the book holds less than the entry, so that a touch fills a part of it.
LIVE = ("--symbols", "BTCUSDT,ETHUSDT", "--depth-usdt", "300")
FAR = {"SHORTSELLER_BELOW": "0.05", "SHORTSELLER_ENTRIES": "99"}


class Live:
    """A running market with a listener, and the bot on it."""

    def __init__(self, stage: BotHarness) -> None:
        self.stage = stage
        self.bots = 0

    def bot(self, **more: str) -> Process:
        """A bot that has been started."""
        self.bots += 1
        variables: Any = {"ALPHA_CANDLE_GRACE_MS": "200", **more}
        made = self.stage.toy(f"bot{self.bots}", strategy=TOY, step=False, **variables)
        made.start()
        return made

    async def rests(self, count: int = 1) -> bool:
        """As many orders of the bot are open."""
        return len(await self.stage.orders()) == count

    async def known(self) -> list[dict[str, Any]]:
        """The resting orders that the bot has on record."""
        return list((await self.stage.state_row("resting") or {}).values())

    async def no_entry(self) -> bool:
        """Nothing rests, on the exchange and on record."""
        return not await self.stage.orders() and not await self.known()

    async def soon(self, condition: Callable[[], Awaitable[bool]], what: str, wait_s: float = 60) -> None:
        """Wait on the wall clock."""
        await until(condition, wait_s, what)


@pytest.fixture
async def live(tmp_path: Path, servers: Servers) -> AsyncIterator[Live]:
    stage = BotHarness(tmp_path, speed="60", options=LIVE, servers=servers)
    await stage.open()
    stage.listener().start()
    yield Live(stage)
    stage.close()


async def test_an_entry_rests_with_its_stop_expires_and_leaves_with_a_pause_and_with_the_bot(live: Live) -> None:
    stage = live.stage
    bot = live.bot(**FAR, SHORTSELLER_VALID_BARS="2")
    await live.soon(live.rests, "an entry to rest")
    (first,) = await stage.orders()
    assert Decimal(first["stopLoss"]) < Decimal(first["price"])

    async def replaced() -> bool:
        rows = await stage.orders()
        return bool(rows) and rows[0]["orderId"] != first["orderId"]

    await live.soon(replaced, "the entry to expire after two bars, and the next to rest")
    assert (await stage.command("pause")).outcome == "done"
    await live.soon(live.no_entry, "the entry to leave with the pause")
    assert (await stage.command("resume")).outcome == "done"
    await live.soon(live.rests, "an entry after the pause")
    await asyncio.to_thread(bot.stop)
    assert await live.no_entry(), "it does not rest without its bot"


async def test_a_part_that_was_filled_has_its_stop_and_its_targets_at_once(live: Live) -> None:
    """A limit above the market takes what the book has up to its price, and waits for the rest."""
    stage = live.stage
    # The first try is lost, and until the second the market is stopped: nothing but the book fills the order.
    await stage.fault(kind="answer", path=CREATE, nothing=True, times=1)
    bot = live.bot(
        SHORTSELLER_BELOW="-0.0007",
        SHORTSELLER_POST_ONLY="false",
        SHORTSELLER_NOTIONAL="600000",
        ALPHA_MAX_ORDER_USDT="1000000",
        SHORTSELLER_TARGET="0.05",
    )

    async def lost() -> bool:
        faults = (await sim(stage, "GET", "/_sim/faults"))["faults"]
        return not faults or faults[0]["struck"] > 0

    await until(lost, 180, "the first try to be lost", step_s=0.02)
    await sim(stage, "POST", "/_sim/pause")

    async def in_part() -> bool:
        entries = [row for row in await stage.orders() if not row["reduceOnly"]]
        return bool(entries) and Decimal(entries[0]["cumExecQty"]) > 0

    await live.soon(in_part, "a part of the entry to be filled")
    held = await stage.position()
    assert held is not None
    assert Decimal(held["stopLoss"]) > 0, "the stop came with the order"

    async def covered() -> bool:
        targets = [row for row in await stage.orders() if row["reduceOnly"]]
        known = (await stage.state_row("positions")).get("BTCUSDT")
        whole = sum((Decimal(row["qty"]) for row in targets), Decimal(0))
        assert whole <= Decimal(held["size"]), "targets never exceed what is held"
        return len(targets) == 2 and known is not None and Decimal(known["size"]) == Decimal(held["size"]) == whole

    await live.soon(covered, "targets of the part while the market stands", 15)
    await sim(stage, "POST", "/_sim/resume")

    async def whole_or_gone() -> bool:
        now = await stage.position()
        targets = [row for row in await stage.orders() if row["reduceOnly"]]
        if now is None:
            return not targets
        size = Decimal(now["size"])
        return size > Decimal(held["size"]) and sum(Decimal(row["qty"]) for row in targets) == size

    await live.soon(whole_or_gone, "the targets to grow with the rest of the entry", 90)
    assert bot.running
    assert not await stage.alerts("unknown_position:BTCUSDT")


async def test_an_order_that_is_changed_or_cancelled_by_hand_is_noticed(live: Live) -> None:
    stage = live.stage
    live.bot(**{**FAR, "SHORTSELLER_ENTRIES": "1"})
    await live.soon(live.rests, "an entry to rest")
    (order,) = await stage.orders()
    hand = Trader(stage.simulator.url, BOTS[0])
    price = Decimal(order["price"]) - 100
    body: dict[str, object] = {"category": "linear", "symbol": "BTCUSDT", "orderId": order["orderId"]}
    try:
        await hand.post(AMEND, {**body, "price": str(price)})

        async def followed() -> bool:
            rows = await live.known()
            return len(rows) == 1 and Decimal(rows[0]["price"]) == price

        await live.soon(followed, "the new price to be followed", 20)
        assert len(await stage.alerts("order_amended:BTCUSDT")) == 1
        await hand.post(CANCEL, body)
        await live.soon(live.no_entry, "the cancellation to be noticed", 20)
        assert len(await stage.alerts("order_cancelled:BTCUSDT")) == 1
    finally:
        await hand.close()


@pytest.mark.parametrize("arrives", [True, False])
async def test_killed_while_an_answer_is_lost_it_knows_its_order_again(live: Live, arrives: bool) -> None:
    """The order was saved before it was sent; the answer never came, and the process died with it."""
    stage = live.stage
    await stage.fault(kind="answer", path=CREATE, after=arrives, nothing=True, times=1 if arrives else 0)
    one = {**FAR, "SHORTSELLER_ENTRIES": "1"}
    bot = live.bot(**one)

    async def sending() -> bool:
        return any(row["phase"] == "sending" for row in await live.known())

    await until(sending, 60, "the order to be saved", step_s=0.005)
    if arrives:
        await live.soon(live.rests, "the exchange to have it")
    bot.kill()
    await stage.fault_free()
    later = live.bot(**one)

    async def settled() -> bool:
        known, there = await live.known(), await stage.orders()
        return len(known) == len(there) and all(row["phase"] == "open" for row in known)

    await live.soon(settled, "the order to be found, or to be known as never sent")
    assert later.running
    assert len(await stage.orders()) == int(arrives) or not arrives
    creates = await stage.rows("SELECT * FROM trading.order_intents")
    assert len({row["order_link_id"] for row in creates}) == 1, "the same intent keeps its id"
    await asyncio.to_thread(later.stop)
    assert await live.no_entry()
    assert trades(later) == []
