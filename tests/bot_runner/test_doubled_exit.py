"""Two instances of a bot that close the same position: one does, and nothing is reversed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from decimal import Decimal

import pytest

from alpha.bybit.caps import OrderCaps, OrderGuard
from alpha.bybit.client import Gateway
from alpha.bybit.errors import NothingToClose
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.model.account import Environment
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.registry import Registry
from bot_runner.broker import Broker, Filled
from tests.support.forkserver import popen

SYMBOL = "BTCUSDT"
QTY = Decimal("0.05")


@pytest.fixture
def url() -> Iterator[str]:
    process = popen(
        ["-m", "exchange_simulator", "--port", "0", "--step", "--symbols", SYMBOL, "--account", "k:s:100000"]
    )
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.wait(timeout=20)
    process.stdout.close()


@pytest.fixture
async def gateways(url: str) -> AsyncIterator[list[Gateway]]:
    async def no_halt(_symbol: str) -> str | None:
        return None

    caps = OrderCaps(max_order_usdt=Decimal(50_000), max_orders_per_minute=1_000)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                Gateway(
                    simulated_hosts(url, url.replace("http", "ws")),
                    Credentials("k", "s"),
                    RateLimiter(None),
                    account="k",
                    guard=OrderGuard("k", Environment.SIMULATED, caps, no_halt),
                )
            )
            for _ in range(2)
        ]


async def signed(gateway: Gateway) -> Decimal:
    """What the account holds; negative for a short."""
    return sum(
        (row.size if row.side == "Buy" else -row.size for row in await gateway.positions(SYMBOL) if row.size),
        Decimal(0),
    )


@pytest.mark.parametrize("direction", list(Direction))
async def test_exits_of_two_instances_close_once_and_reverse_nothing(
    gateways: list[Gateway], registry: Registry, direction: Direction
) -> None:
    bot = registry.find("shortseller_001")
    first, second = (Broker(gateway, bot, "simulated:1") for gateway in gateways)
    for broker in (first, second):
        await broker.refresh_instruments(SYMBOL)
    price = (await gateways[0].tickers(SYMBOL))[SYMBOL].last
    way = 1 if direction is Direction.LONG else -1
    stop = round(price * (1 - way * Decimal("0.1")), 1)

    async def enter(bar_ms: int, side: Direction) -> None:
        link = first.link(Reason.ENTRY, SYMBOL, bar_ms, "enter")
        await first.open(SYMBOL, side, QTY, link, price, stop)

    async def leave(broker: Broker, attempt: int) -> Filled:
        def note(_link: str) -> None: ...

        return await broker.close(SYMBOL, direction, QTY, price, Reason.SIGNAL, 60_000, attempt, note)

    await enter(60_000, direction)
    assert await signed(gateways[0]) == way * QTY
    exits = [leave(broker, attempt) for attempt in range(1, 4) for broker in (first, second)]
    results = await asyncio.gather(*exits, return_exceptions=True)
    assert await signed(gateways[0]) == 0
    assert any(isinstance(result, Filled) and result.qty == QTY for result in results), results
    assert all(isinstance(result, (Filled, NothingToClose)) for result in results), results
    # turned by hand in the meantime: a late exit of what was there adds nothing to what is there now
    stop = round(price * (1 + way * Decimal("0.1")), 1)
    await enter(120_000, Direction.SHORT if direction is Direction.LONG else Direction.LONG)
    assert await signed(gateways[0]) == -way * QTY
    with pytest.raises(NothingToClose):
        await leave(second, 9)
    assert await signed(gateways[0]) == -way * QTY
