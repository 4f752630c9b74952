"""The guard on a hedge account, with contracts in USDC and in isolated margin: each leg and coin by itself."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.bot_harness import BotHarness, Servers
from tests.support.guard_harness import Hands, acts, answer, command, events, flat, guard
from tests.support.world import BOTS, until

HEDGE, USDC, ISOLATED = BOTS
KINDS = {HEDGE.bot: "hedge", USDC.bot: "usdc=100000", ISOLATED.bot: "isolated"}
D = Decimal


@pytest.fixture
async def kinds(tmp_path: Path, servers: Servers) -> AsyncIterator[BotHarness]:
    """An exchange with an account of each kind."""
    made = BotHarness(
        tmp_path,
        servers=servers,
        options=("--symbols", "BTCUSDT,ETHUSDT,SOLUSDT,BTCPERP"),
        accounts_are=KINDS,
    )
    await made.open()
    yield made
    made.close()


async def positions(stage: BotHarness, bot: Any) -> dict[tuple[str, int], dict[str, Any]]:
    account = await stage.simulator.account(bot.key)
    return {(row["symbol"], row["positionIdx"]): row for row in account["positions"]}


def said_of(process: Any) -> list[str]:
    return [row["text"] for row in events(process, "alert")]


async def test_a_guard_that_observes_wants_a_stop_for_each_leg(kinds: BotHarness) -> None:
    hands = Hands(kinds, HEDGE)
    await hands.open("ETHUSDT", "Buy", "1", positionIdx=1)
    await hands.open("ETHUSDT", "Sell", "2", positionIdx=2)
    price = await hands.price("ETHUSDT")
    await hands.stop_at("ETHUSDT", positionIdx=1, stopLoss=f"{price * 0.95:.2f}")  # type: ignore[arg-type]
    process = guard(kinds, GUARD_OBSERVE="true", GUARD_PROTECT_MANUAL="true")
    process.start()
    await acts(process)

    async def told() -> bool:
        return any("short of 2" in text and "given a stop" in text for text in said_of(process))

    await until(told, 30, "the alert about the short leg")
    assert not any("long of 1" in text for text in said_of(process)), "the long leg has its stop"
    held = await positions(kinds, HEDGE)
    assert not float(held["ETHUSDT", 2]["stopLoss"] or 0), "it only observes"
    await hands.close()


@pytest.mark.long
async def test_a_leg_gets_its_own_stop_and_flatten_closes_both(kinds: BotHarness) -> None:
    hands = Hands(kinds, HEDGE)
    await hands.open("ETHUSDT", "Buy", "1", positionIdx=1)
    await hands.open("ETHUSDT", "Sell", "2", positionIdx=2)
    process = guard(kinds, GUARD_PROTECT_MANUAL="true")
    process.start()
    await acts(process)

    async def protected() -> bool:
        held = await positions(kinds, HEDGE)
        stops = {idx: float(row["stopLoss"] or 0) for (_, idx), row in held.items()}
        return bool(stops.get(1) and stops.get(2))

    await until(protected, 30, "a stop for each leg")
    held = await positions(kinds, HEDGE)
    assert D(held["ETHUSDT", 1]["stopLoss"]) < D(held["ETHUSDT", 1]["avgPrice"]) < D(held["ETHUSDT", 2]["stopLoss"])
    reply = await answer(kinds, await command(kinds, "flatten", {"bot": HEDGE.bot}))
    assert reply.outcome == "done", reply
    assert await flat(kinds, HEDGE)
    for side in ("long 1", "short 2"):
        assert side in reply.text
    await hands.close()


async def test_a_contract_in_usdc_is_protected_and_flattened(kinds: BotHarness) -> None:
    hands = Hands(kinds, USDC)
    process = guard(kinds)
    process.start()
    await acts(process)
    await hands.open("BTCPERP", "Buy", "0.05")

    async def protected() -> bool:
        held = await positions(kinds, USDC)
        return bool(float(held["BTCPERP", 0]["stopLoss"] or 0))

    await until(protected, 30, "the stop")
    reply = await answer(kinds, await command(kinds, "flatten", {"bot": USDC.bot}))
    assert reply.outcome == "done", reply
    assert await flat(kinds, USDC)
    await hands.close()


@pytest.mark.long
async def test_a_stop_beyond_the_liquidation_of_an_isolated_position_is_moved_inside(kinds: BotHarness) -> None:
    hands = Hands(kinds, ISOLATED)
    await hands.order("SOLUSDT", "Buy", "1")
    await kinds_leverage(hands)
    await hands.open("BTCUSDT", "Buy", "0.05")
    price = await hands.price("BTCUSDT")
    await hands.stop_at("BTCUSDT", stopLoss=f"{price * 0.5:.1f}")
    liquidation = D((await positions(kinds, ISOLATED))["BTCUSDT", 0]["liqPrice"])
    assert liquidation > D(f"{price * 0.5:.1f}")
    process = guard(kinds, GUARD_PROTECT_MANUAL="true")
    process.start()
    await acts(process)

    async def inside() -> bool:
        return D((await positions(kinds, ISOLATED))["BTCUSDT", 0]["stopLoss"]) > liquidation

    await until(inside, 30, "a stop before the liquidation price")
    await hands.close()


async def kinds_leverage(hands: Hands) -> None:
    """High leverage, so that liquidation is near."""
    body: dict[str, object] = {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "20", "sellLeverage": "20"}
    answered = await hands._trader.post("/v5/position/set-leverage", body)
    assert answered["retCode"] in (0, 110043), answered
