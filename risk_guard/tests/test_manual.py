"""What an operator does to one position by hand, with the real guard on the simulated exchange."""

from collections.abc import AsyncIterator

import pytest

from alpha.postgres.database import connect
from tests.support.bot_harness import BotHarness
from tests.support.guard_harness import BOT, Hands, acts, answer, command, guard, halts
from tests.support.world import until


@pytest.fixture
async def hands(stage: BotHarness) -> AsyncIterator[Hands]:
    made = Hands(stage)
    yield made
    await made.close()


async def _size(hands: Hands, symbol: str) -> float:
    position = await hands.position(symbol)
    return float(position["size"]) if position else 0.0


async def test_half_is_closed_the_stop_moved_binds_and_the_rest_is_closed(stage: BotHarness, hands: Hands) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    price = await hands.price("BTCUSDT")
    first, moved, loose = (f"{price * share:.1f}" for share in (0.95, 0.97, 0.90))
    await hands.remember("BTCUSDT", "Buy", first)
    await hands.open("BTCUSDT", "Buy", "0.4", stopLoss=first)

    async def ask(name: str, **args: str) -> tuple[str, str]:
        sent = await command(stage, name, {"bot": BOT.bot, "symbol": "BTCUSDT", **args})
        reply = await answer(stage, sent)
        return reply.outcome, reply.text

    assert (await ask("move_stop", price=f"{price * 1.1:.1f}"))[0] == "refused"
    assert (await ask("move_stop", price="never"))[0] == "refused"
    outcome, text = await ask("move_stop", price=moved)
    assert outcome == "done", text
    assert "binds" in text
    # a strategy that loosens it: the guard sets it again; one that tightens it is left alone
    await hands.stop_at("BTCUSDT", stopLoss=loose)

    async def bound() -> bool:
        position = await hands.position("BTCUSDT")
        return position is not None and float(position["stopLoss"]) == pytest.approx(float(moved), abs=0.2)

    await until(bound, 30, "the stop moved by hand")
    assert (await ask("reduce", percent="0"))[0] == "refused"
    outcome, text = await ask("reduce", percent="50")
    assert outcome == "done", text
    assert await _size(hands, "BTCUSDT") == pytest.approx(0.2)
    outcome, text = await ask("reduce", percent="100")
    assert outcome == "done", text
    assert await _size(hands, "BTCUSDT") == 0.0
    assert (await ask("reduce", percent="50"))[0] == "refused"
    assert await halts(stage) == []

    async def forgotten() -> bool:
        connection = await connect(stage.database(), "test")
        try:
            count = await connection.fetchval("SELECT count(*) FROM trading.guard_state WHERE name LIKE 'manual_stop%'")
        finally:
            await connection.close()
        return bool(count == 0)

    await until(forgotten, 30, "the end of the binding stop")
    process.stop()


async def test_an_order_is_cancelled_and_a_forbidden_symbol_stays_so_over_a_resume(
    stage: BotHarness, hands: Hands
) -> None:
    process = guard(stage)
    process.start()
    await acts(process)
    price = await hands.price("ETHUSDT")
    made = await hands.order(
        "ETHUSDT", "Buy", "0.5", orderType="Limit", price=f"{price * 0.9:.2f}", stopLoss=f"{price * 0.8:.2f}"
    )
    order_id = made["result"]["orderId"]

    async def ask(name: str, **args: str) -> str:
        sent = await command(stage, name, {"bot": BOT.bot, **args})
        return (await answer(stage, sent)).outcome

    assert await ask("cancel_order", symbol="ETHUSDT", order_id="nobodys") == "refused"
    assert await ask("cancel_order", symbol="ETHUSDT", order_id=order_id) == "done"
    assert await ask("blacklist", symbol="ETHUSDT") == "done"
    assert await ask("lift") == "done"
    assert await halts(stage) == [("blacklist", BOT.bot)]
    assert await ask("unblacklist", symbol="ETHUSDT") == "done"
    assert await ask("unblacklist", symbol="ETHUSDT") == "refused"
    assert await halts(stage) == []
    process.stop()
