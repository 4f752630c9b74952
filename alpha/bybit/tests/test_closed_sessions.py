"""Orders in a closed session are refused in a sentence: before they are sent where they would open, by Bybit's code otherwise."""

from decimal import Decimal
from pathlib import Path

import pytest

from alpha.bybit.caps import OrderCaps, OrderGuard
from alpha.bybit.client import NOT_SENT, Gateway
from alpha.bybit.errors import SessionClosed
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.orders import OrderRequest
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.model.account import Environment
from tests.support.world import BOTS, Simulator

STOCK = "AAPLUSDT"


async def _no_halt(_symbol: str) -> str | None:
    return None


async def test_a_market_order_in_a_closed_session_is_refused_in_a_sentence(tmp_path: Path) -> None:
    exchange = Simulator(tmp_path, speed="1", options=("--symbols", f"BTCUSDT,{STOCK}", "--start", "2026-11-30T22:00"))
    await exchange.start()
    caps = OrderCaps(max_order_usdt=Decimal(50_000))
    guard = OrderGuard("k", Environment.SIMULATED, caps, _no_halt)
    hosts = simulated_hosts(exchange.url, exchange.url.replace("http", "ws"))
    key = Credentials(BOTS[0].key, BOTS[0].secret)
    try:
        async with Gateway(hosts, key, RateLimiter(None), account="k", guard=guard) as gateway:
            last = (await gateway.tickers(STOCK))[STOCK].last
            known = (await gateway.instruments(STOCK))[STOCK]
            assert (known.symbol_type, known.market_region) == ("stock", "US")

            def order(link_id: str, *, reduce_only: bool = False) -> OrderRequest:
                qty = known.min_order_qty * 100
                return OrderRequest(
                    symbol=STOCK,
                    side="Buy",
                    qty=qty,
                    order_link_id=link_id,
                    reference_price=last,
                    reduce_only=reduce_only,
                )

            sent = gateway.counts.sent
            with pytest.raises(
                SessionClosed, match=r"US stock market is closed until Tue 01 Dec 2026 14:30 UTC\."
            ) as first:
                await gateway.create_order(order("enter"))
            assert first.value.ret_code == NOT_SENT
            assert "place a limit order, or wait" in str(first.value)
            assert gateway.counts.sent == sent
            # what reduces is sent: the exchange knows best
            with pytest.raises(SessionClosed, match="Bybit takes no market order then") as second:
                await gateway.create_order(order("leave", reduce_only=True))
            assert second.value.ret_code == 110065
    finally:
        exchange.process.stop()
