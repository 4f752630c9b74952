"""Every gateway call against the simulated exchange, running as a separate process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import msgspec
import pytest

from alpha.bybit.caps import OrderCaps, OrderGuard
from alpha.bybit.client import Gateway, market_gateway
from alpha.bybit.errors import KeyRefused, NothingToClose, OrderGone, Refused
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.orders import OrderRequest, StopRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.errors import Rejected
from alpha.live_state.connect import RedisClients
from alpha.model.account import Environment
from alpha.model.sizing import fit_qty, round_stop
from tests.support.forkserver import popen

SYMBOL = "BTCUSDT"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A simulated exchange with its time frozen; its account `k` has 10,000 USDT."""
    process = popen(
        [
            *("-m", "exchange_simulator", "--port", "0", "--step", "--symbols", "BTCUSDT,ETHUSDT"),
            *("--account", "k:s:10000", "--account", "r:s:0:read-only,of=k", "--account", "d:s:1:env=demo"),
        ],
    )
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.wait(timeout=20)
    process.stdout.close()


def _gateway(url: str, key: str, secret: str = "s", *, throttle: RateLimiter | None = None) -> Gateway:
    async def no_halt(_symbol: str) -> str | None:
        return None

    caps = OrderCaps(max_order_usdt=Decimal(50_000), max_orders_per_minute=1_000)
    return Gateway(
        simulated_hosts(url, url.replace("http", "ws")),
        Credentials(key, secret),
        throttle or RateLimiter(None),
        account=key,
        guard=OrderGuard(key, Environment.SIMULATED, caps, no_halt),
    )


@pytest.fixture
async def gateway(url: str) -> AsyncIterator[Gateway]:
    async with _gateway(url, "k") as made:
        yield made


async def _order(gateway: Gateway, link_id: str, side: str, usdt: int, *, reduce_only: bool = False) -> OrderRequest:
    market = (await gateway.tickers(SYMBOL))[SYMBOL]
    instrument = (await gateway.instruments(SYMBOL))[SYMBOL]
    qty = fit_qty(Decimal(usdt) / market.last, market.last, instrument, reduce_only=reduce_only)
    return OrderRequest(
        symbol=SYMBOL,
        side=side,
        qty=qty,
        order_link_id=link_id,
        reference_price=market.reference_price,
        reduce_only=reduce_only,
    )


async def test_the_market_is_read_without_a_key(url: str) -> None:
    async with market_gateway(simulated_hosts(url, url.replace("http", "ws")), RateLimiter(None)) as market:
        assert set(await market.instruments()) == {"BTCUSDT", "ETHUSDT"}
        ticker = (await market.tickers())[SYMBOL]
        assert ticker.bid is not None
        now = await market.server_time_ms()
        candles = await market.kline(SYMBOL, "5", end_ms=now, limit=100)
        assert len(candles) == 100
        assert all(candle.closed for candle in candles[:-1])
        rates = await market.funding_history(SYMBOL, end_ms=now)
        assert [rate.time_ms for rate in rates] == sorted(rate.time_ms for rate in rates)
        assert await market.system_status() == []
        with pytest.raises(Refused):
            await market.instruments("NOSUCHUSDT")


async def test_a_round_trip_leaves_the_same_trace_in_every_history(gateway: Gateway) -> None:
    await gateway.switch_to_one_way()
    await gateway.set_leverage(SYMBOL, Decimal(5))
    await gateway.set_leverage(SYMBOL, Decimal(5))
    instrument = (await gateway.instruments(SYMBOL))[SYMBOL]
    entry = await _order(gateway, "t-en-1", "Sell", 1_000)
    stop = round_stop(entry.reference_price * Decimal("1.05"), "Sell", instrument)
    start_ms = await gateway.server_time_ms()
    placed = await place_order_once(gateway, entry)
    assert placed.sends == 1
    await gateway.set_trading_stop(StopRequest(symbol=SYMBOL, stop_loss=stop))
    await gateway.set_trading_stop(StopRequest(symbol=SYMBOL, stop_loss=stop))
    (position,) = await gateway.positions()
    assert (position.side, position.size, position.stop_loss) == ("Sell", entry.qty, stop)
    assert position.leverage == 5
    assert [order.stop_order_type for order in await gateway.open_orders(SYMBOL)] == ["StopLoss"]
    found = await gateway.order_by_link_id(SYMBOL, "t-en-1")
    assert found is not None
    assert (found.order_id, found.is_open, found.cum_exec_qty) == (placed.order_id, False, entry.qty)
    closing = await _order(gateway, "t-sg-1", "Buy", 2_000, reduce_only=True)
    await place_order_once(gateway, closing)
    assert await gateway.positions() == []
    assert (await gateway.positions(SYMBOL))[0].is_flat
    end_ms = await gateway.server_time_ms()
    fills = [row async for page in gateway.executions_oldest_first(start_ms, end_ms) for row in page.rows]
    assert [fill.order_link_id for fill in fills] == ["t-en-1", "t-sg-1"]
    assert [row.order_id for row in fills[:1]] == [
        row.order_id for row in await gateway.executions_of_order(fills[0].order_id)
    ]
    closed = [row async for page in gateway.closed_pnl(start_ms, end_ms) for row in page.rows]
    assert [(row.closing_side, row.closed_size) for row in closed] == [("Buy", entry.qty)]
    history = [row async for page in gateway.order_history(start_ms, end_ms) for row in page.rows]
    assert {row.order_link_id for row in history} >= {"t-en-1", "t-sg-1"}
    ledger = [row async for page in gateway.transaction_log(start_ms, end_ms) for row in page.rows]
    traded = [row for row in ledger if row.type == "TRADE"]
    assert sum((row.change for row in traded), Decimal(0)) == closed[0].closed_pnl
    wallet = await gateway.wallet()
    assert wallet.usdt is not None
    assert wallet.usdt.wallet_balance == 10_000 + closed[0].closed_pnl


async def test_exits_sent_twice_never_reverse_a_position(url: str, gateway: Gateway) -> None:
    """Two instances, unaware of each other, close the same position completely at the same time."""
    async with _gateway(url, "k") as other:
        for side, closing in (("Buy", "Sell"), ("Sell", "Buy")):
            await place_order_once(gateway, await _order(gateway, f"x-en-{side}", side, 5_000))
            exits = [
                (each, await _order(each, f"x-ex-{side}-{number}", closing, 5_000, reduce_only=True))
                for number, each in enumerate([gateway, other] * 4)
            ]
            results = await asyncio.gather(
                *(place_order_once(each, order) for each, order in exits), return_exceptions=True
            )
            refused = [result for result in results if isinstance(result, BaseException)]
            assert [type(result) for result in refused] == [NothingToClose] * (len(exits) - 1)
            assert await gateway.positions(SYMBOL) == [] or all(row.is_flat for row in await gateway.positions(SYMBOL))
            # An exit of a position that has meanwhile been reversed manually adds nothing to the new one.
            await place_order_once(gateway, await _order(gateway, f"x-turn-{side}", closing, 1_000))
            with pytest.raises(NothingToClose):
                await place_order_once(
                    other, await _order(other, f"x-ex-{side}-late", closing, 1_000, reduce_only=True)
                )
            await place_order_once(gateway, await _order(gateway, f"x-back-{side}", side, 1_000, reduce_only=True))


async def test_an_id_is_taken_once_and_for_ever(gateway: Gateway) -> None:
    order = await _order(gateway, "t-en-2", "Buy", 500)
    first = await place_order_once(gateway, order)
    again = await place_order_once(gateway, order)
    assert again.order_id == first.order_id
    assert again.looked_up
    (position,) = await gateway.positions()
    assert position.size == order.qty
    await place_order_once(gateway, await _order(gateway, "t-sg-2", "Sell", 900, reduce_only=True))
    with pytest.raises(NothingToClose):
        await place_order_once(gateway, await _order(gateway, "t-sg-3", "Sell", 900, reduce_only=True))


async def test_a_resting_order_is_amended_and_cancelled(gateway: Gateway) -> None:
    instrument = (await gateway.instruments(SYMBOL))[SYMBOL]
    market = await _order(gateway, "t-en-4", "Buy", 500)
    price = (market.reference_price * Decimal("0.95") // instrument.tick_size) * instrument.tick_size
    limit = OrderRequest(
        symbol=SYMBOL,
        side="Buy",
        qty=market.qty,
        order_link_id="t-en-4",
        reference_price=market.reference_price,
        price=price,
        time_in_force="PostOnly",
        stop_loss=(price * Decimal("0.9") // instrument.tick_size) * instrument.tick_size,
    )
    with pytest.raises(Rejected, match="must carry its stop loss"):
        await place_order_once(gateway, msgspec.structs.replace(limit, stop_loss=None))
    await place_order_once(gateway, limit)
    (order,) = await gateway.open_orders()
    await gateway.amend(order, reference_price=market.reference_price, qty=market.qty * 2)
    (order,) = await gateway.open_orders()
    assert order.qty == market.qty * 2
    assert await gateway.cancel(SYMBOL, link_id="t-en-4")
    assert not await gateway.cancel(SYMBOL, order_id=order.order_id)
    with pytest.raises(OrderGone):
        await gateway.amend(order, reference_price=market.reference_price, qty=market.qty)
    await gateway.cancel_all()
    assert await gateway.open_orders() == []


async def test_a_key_tells_what_it_may_do(url: str, gateway: Gateway) -> None:
    own = await gateway.key_info()
    assert (own.can_trade, own.can_withdraw) == (True, False)
    async with _gateway(url, "r") as reader:
        info = await reader.key_info()
        assert (info.user_id, info.can_trade, info.read_only) == (own.user_id, False, True)
        with pytest.raises(KeyRefused) as caught:
            await reader.create_order(await _order(reader, "t-en-9", "Buy", 500))
        assert caught.value.ret_code == 10005
    async with _gateway(url, "d") as of_demo:
        with pytest.raises(KeyRefused, match="environment") as wrong:
            await of_demo.key_info()
        assert wrong.value.ret_code == 10003
    async with _gateway(url, "k", "not-the-secret") as forged:
        with pytest.raises(KeyRefused) as unsigned:
            await forged.key_info()
        assert unsigned.value.ret_code == 10004


async def test_the_account_shows_its_mode_and_fees(gateway: Gateway) -> None:
    assert (await gateway.account_info()).margin_mode == "REGULAR_MARGIN"
    await gateway.set_margin_mode("REGULAR_MARGIN")
    assert (await gateway.fee_rates(SYMBOL))[SYMBOL].taker == Decimal("0.00055")


async def test_calls_as_fast_as_they_go_are_throttled_to_what_the_exchange_takes(
    url: str, redis_links: RedisClients
) -> None:
    async with _gateway(url, "k", throttle=RateLimiter(redis_links.shared)) as gateway:
        answers = await asyncio.gather(*(gateway.key_info() for _ in range(25)))
        assert len(answers) == 25
        # Ten per second are allowed: unthrottled, fifteen would be refused at once. A busy machine may bunch a few.
        assert gateway.counts.limited < 8


async def test_business_time_and_signing_time_are_apart(gateway: Gateway) -> None:
    await gateway.key_info()
    assert gateway.skew_ms == 0
    assert gateway.business.now().year == 2025
