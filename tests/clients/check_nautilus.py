# mypy: ignore-errors
# The library is in the environment of the clients alone.
"""nautilus' own adapter: data, orders, positions, and a second start that reconciles what the first one left."""

import asyncio
import os
import time
from decimal import Decimal

import nautilus_trader.adapters.bybit.factories as factories
from nautilus_trader.adapters.bybit import (
    BYBIT,
    BybitDataClientConfig,
    BybitExecClientConfig,
    BybitLiveDataClientFactory,
    BybitLiveExecClientFactory,
    BybitProductType,
)
from nautilus_trader.config import (
    InstrumentProviderConfig,
    LiveExecEngineConfig,
    LoggingConfig,
    StrategyConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import BarType, QuoteTick
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from tests.clients.checks import KEY, PATIENCE_S, REST, SECRET, WS, report

factories.get_ws_base_url_public = lambda **_: f"{WS}/v5/public/linear"  # the one address that is no setting
INSTRUMENT = InstrumentId.from_str("BTCUSDT-LINEAR.BYBIT")
BARS = BarType.from_str(f"{INSTRUMENT}-1-MINUTE-LAST-EXTERNAL")


class Tried(Strategy):
    """Collects what it is told; the test acts for it."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig(strategy_id="TRIED", external_order_claims=[INSTRUMENT]))
        self.quotes: list[QuoteTick] = []
        self.bars = 0
        self.events: list[str] = []

    def on_start(self) -> None:
        self.subscribe_quote_ticks(INSTRUMENT)
        self.subscribe_bars(BARS)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.quotes.append(tick)

    def on_bar(self, bar: object) -> None:
        self.bars += 1

    def on_event(self, event: object) -> None:
        self.events.append(type(event).__name__)


def node_of(strategy: Tried) -> TradingNode:
    common = {
        "api_key": KEY,
        "api_secret": SECRET,
        "base_url_http": REST,
        "product_types": [BybitProductType.LINEAR],
        "instrument_provider": InstrumentProviderConfig(load_all=True),
    }
    config = TradingNodeConfig(
        trader_id="CHECK-001",
        logging=LoggingConfig(log_level="INFO" if os.environ.get("CLIENTS_VERBOSE") else "OFF"),
        exec_engine=LiveExecEngineConfig(reconciliation=True),
        data_clients={BYBIT: BybitDataClientConfig(**common)},
        exec_clients={
            BYBIT: BybitExecClientConfig(
                **common, base_url_ws_private=f"{WS}/v5/private", base_url_ws_trade=f"{WS}/v5/trade"
            )
        },
        timeout_connection=60.0,
        timeout_reconciliation=60.0,
        timeout_portfolio=60.0,
    )
    node = TradingNode(config=config, loop=asyncio.get_running_loop())
    node.trader.add_strategy(strategy)
    node.add_data_client_factory(BYBIT, BybitLiveDataClientFactory)
    node.add_exec_client_factory(BYBIT, BybitLiveExecClientFactory)
    node.build()
    return node


async def until(name: str, condition: object, patience_s: float = PATIENCE_S) -> bool:
    end = time.monotonic() + patience_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            report(name, False, f"not within {patience_s:.0f} s")
            return False
        await asyncio.sleep(0.05)
    report(name, True)
    return True


async def first() -> None:
    strategy = Tried()
    node = node_of(strategy)
    running = asyncio.create_task(node.run_async())
    try:
        if not await until("starts and connects", lambda: strategy.is_running, 120):
            return
        await until("quotes", lambda: strategy.quotes)
        await until("bars", lambda: strategy.bars, 150)
        instrument = strategy.cache.instrument(INSTRUMENT)
        qty = instrument.make_qty(Decimal("0.010"))
        order = strategy.order_factory.market(INSTRUMENT, OrderSide.BUY, qty)
        strategy.submit_order(order)
        await until("a market order fills", lambda: order.is_closed and order.filled_qty == qty)
        await until("the position opens", lambda: "PositionOpened" in strategy.events)
        bid = strategy.cache.quote_tick(INSTRUMENT).bid_price
        limit = strategy.order_factory.limit(
            INSTRUMENT, OrderSide.BUY, qty, instrument.make_price(float(bid) * 0.97), TimeInForce.GTC, post_only=True
        )
        strategy.submit_order(limit)
        if await until("a limit order rests", lambda: limit.is_open):
            strategy.modify_order(limit, quantity=instrument.make_qty(Decimal("0.020")))
            await until("it is amended", lambda: limit.quantity == Decimal("0.020"))
            strategy.cancel_order(limit)
            await until("it is cancelled", lambda: limit.is_closed)
        account = strategy.portfolio.account(INSTRUMENT.venue)
        report("the account is known", account is not None)
    finally:
        await node.stop_async()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def second() -> None:
    strategy = Tried()
    node = node_of(strategy)
    running = asyncio.create_task(node.run_async())
    try:
        if not await until("starts again", lambda: strategy.is_running, 120):
            return
        held = lambda: [p for p in strategy.cache.positions_open() if p.instrument_id == INSTRUMENT]  # noqa: E731
        if await until("the position is reconciled", held):
            report("with its size", held()[0].quantity == Decimal("0.010"), str(held()[0].quantity))
            strategy.close_all_positions(INSTRUMENT)
            await until("it is closed", lambda: not held())
    finally:
        await node.stop_async()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


asyncio.run(first())
asyncio.run(second())
os._exit(0)  # the library leaves threads behind
