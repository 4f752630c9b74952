"""Every order passes the caps, the halt and the real-money gate; an error names the cap and its setting."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from alpha.bybit.caps import OrderCaps, OrderGuard, caps_for
from alpha.bybit.errors import CapExceeded, TradingHalted
from alpha.bybit.orders import OrderRequest, StopRequest
from alpha.clock import Clock
from alpha.config.exchange import ExchangeSettings
from alpha.config.loader import load
from alpha.errors import Misconfigured, Rejected, Retry
from alpha.model.account import Environment
from tests.support.clocks import HandClock

ORDER = OrderRequest(
    symbol="BTCUSDT", side="Buy", qty=Decimal("0.01"), order_link_id="s-en-1", reference_price=Decimal(50_000)
)
CAPS = OrderCaps(max_order_usdt=Decimal(1_000), max_orders_per_minute=3, max_distance_pct=Decimal(5))


class Halts:
    """A halt that a test switches."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.fault: Exception | None = None
        self.asked: list[str] = []

    async def check(self, symbol: str) -> str | None:
        self.asked.append(symbol)
        if self.fault is not None:
            raise self.fault
        return self.reason


def _guard(
    halts: Halts, clock: HandClock, environment: Environment = Environment.DEMO, live: tuple[str, ...] = ()
) -> OrderGuard:
    return OrderGuard(
        "shortseller_001", environment, CAPS, halts.check, live_bots=live, clock=Clock(wall_ms=clock.now_ms)
    )


async def test_an_order_within_all_caps_passes_and_the_halt_was_asked() -> None:
    halts = Halts()
    await _guard(halts, HandClock()).check(ORDER)
    assert halts.asked == ["BTCUSDT"]


async def test_an_order_above_the_notional_cap_is_refused_even_when_it_reduces() -> None:
    for order in (replace(ORDER, qty=Decimal("0.0201")), replace(ORDER, qty=Decimal("0.0201"), reduce_only=True)):
        with pytest.raises(CapExceeded, match="ALPHA_MAX_ORDER_USDT") as caught:
            await _guard(Halts(), HandClock()).check(order)
        assert caught.value.cap == "notional"


async def test_the_notional_of_a_limit_order_is_measured_at_the_dearer_price() -> None:
    cheap_limit = replace(ORDER, qty=Decimal("0.0201"), price=Decimal(48_000))
    with pytest.raises(CapExceeded):
        await _guard(Halts(), HandClock()).check(cheap_limit)


@pytest.mark.parametrize("price", ["47499", "52501"])
async def test_a_price_far_from_the_market_is_refused(price: str) -> None:
    with pytest.raises(CapExceeded, match="ALPHA_MAX_PRICE_DISTANCE_PCT") as caught:
        await _guard(Halts(), HandClock()).check(replace(ORDER, price=Decimal(price)))
    assert caught.value.cap == "distance"


async def test_exactly_at_a_cap_passes() -> None:
    await _guard(Halts(), HandClock()).check(replace(ORDER, qty=Decimal("0.02")))
    for price in ("47500", "49000", "50000", "52500"):
        order = replace(ORDER, qty=Decimal("0.01"), price=Decimal(price))
        await _guard(Halts(), HandClock()).check(order)


async def test_what_is_above_a_cap_is_told_with_its_figures() -> None:
    guard = _guard(Halts(), HandClock())
    assert guard.caps is CAPS
    with pytest.raises(CapExceeded, match=r"BTCUSDT: an order of 1005 USDT is above the cap of 1000 USDT"):
        await guard.check(replace(ORDER, qty=Decimal("0.0201")))
    with pytest.raises(
        CapExceeded, match=r"a price of 56000 is 12\.00 % away from the market at 50000; the cap is 5 %"
    ):
        await guard.check(replace(ORDER, price=Decimal(56_000)))


def test_caps_that_nobody_set() -> None:
    caps = OrderCaps(max_order_usdt=Decimal(1))
    assert (caps.max_orders_per_minute, caps.max_distance_pct) == (30, Decimal(10))


async def test_an_order_counts_for_a_whole_minute_and_a_refused_one_for_none() -> None:
    clock = HandClock()
    guard = _guard(Halts(), clock)
    for _ in range(3):
        await guard.check(ORDER)
        clock.ms += 1
    clock.ms += 60_000 - 4
    with pytest.raises(CapExceeded, match="has sent 3 orders within a minute; the cap is 3"):
        await guard.check(ORDER)
    clock.ms += 1
    await guard.check(ORDER)
    with pytest.raises(CapExceeded, match="ALPHA_MAX_ORDERS_PER_MINUTE") as caught:
        await guard.check(ORDER)
    assert caught.value.cap == "orders_per_minute"
    clock.ms += 2
    await guard.check(ORDER)
    await guard.check(ORDER)


async def test_the_fourth_entry_of_a_minute_is_refused_and_exits_still_pass() -> None:
    clock = HandClock()
    guard = _guard(Halts(), clock)
    for _ in range(3):
        await guard.check(ORDER)
    with pytest.raises(CapExceeded, match="ALPHA_MAX_ORDERS_PER_MINUTE"):
        await guard.check(ORDER)
    exit_order = replace(ORDER, reduce_only=True)
    for _ in range(6):
        await guard.check(exit_order)
    with pytest.raises(CapExceeded):
        await guard.check(exit_order)
    clock.ms += 60_000
    await guard.check(ORDER)


async def test_a_halt_stops_entries_and_lets_exits_pass() -> None:
    halts = Halts()
    halts.reason = "loss of the day"
    guard = _guard(halts, HandClock())
    with pytest.raises(TradingHalted, match="loss of the day"):
        await guard.check(ORDER)
    await guard.check(replace(ORDER, reduce_only=True))


async def test_a_halt_that_cannot_be_read_stops_entries_and_lets_exits_pass() -> None:
    halts = Halts()
    halts.fault = OSError("the database is away")
    guard = _guard(halts, HandClock())
    with pytest.raises(Retry):
        await guard.check(ORDER)
    await guard.check(replace(ORDER, reduce_only=True))


async def test_real_money_needs_the_bot_by_name() -> None:
    with pytest.raises(Misconfigured, match="ALPHA_LIVE_TRADING"):
        await _guard(Halts(), HandClock(), Environment.LIVE, ("momentum_001",)).check(ORDER)
    await _guard(Halts(), HandClock(), Environment.LIVE, ("shortseller_001",)).check(ORDER)


def test_real_money_is_capped_by_its_own_setting() -> None:
    live = load(ExchangeSettings, env_file=None, bybit_demo="false", alpha_live_max_order_usdt="50")
    capped = caps_for(live, CAPS)
    assert (capped.max_order_usdt, capped.max_order_setting) == (Decimal(50), "ALPHA_LIVE_MAX_ORDER_USDT")
    assert capped.max_orders_per_minute == CAPS.max_orders_per_minute
    assert (capped.max_distance_pct, capped.distance_setting) == (CAPS.max_distance_pct, CAPS.distance_setting)
    assert caps_for(load(ExchangeSettings, env_file=None, bybit_demo="true"), CAPS) is CAPS
    assert caps_for(load(ExchangeSettings, env_file=None, bybit_demo="false", bybit_testnet="true"), CAPS) is CAPS
    for most in ("1000", "1001"):
        live = load(ExchangeSettings, env_file=None, bybit_demo="false", alpha_live_max_order_usdt=most)
        assert caps_for(live, CAPS) is CAPS, "the bot's own cap is not above it"
    assert caps_for(live, CAPS, demo=True) is CAPS


def test_real_money_without_its_cap_is_refused() -> None:
    with pytest.raises(Misconfigured, match="ALPHA_LIVE_MAX_ORDER_USDT"):
        caps_for(load(ExchangeSettings, env_file=None, bybit_demo="false"), CAPS)


@pytest.mark.parametrize(
    "order",
    [
        replace(ORDER, side="Long"),
        replace(ORDER, qty=Decimal(0)),
        replace(ORDER, qty=Decimal("NaN")),
        replace(ORDER, reference_price=Decimal(-1)),
        replace(ORDER, price=Decimal(0)),
        replace(ORDER, stop_loss=Decimal(-1)),
        replace(ORDER, order_link_id=""),
        replace(ORDER, order_link_id="x" * 37),
        replace(ORDER, order_link_id="a b"),
        replace(ORDER, reduce_only=True, stop_loss=Decimal(1)),
        replace(ORDER, trigger_price=Decimal(1)),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_before_anything_else(order: OrderRequest) -> None:
    halts = Halts()
    with pytest.raises(Rejected):
        await _guard(halts, HandClock()).check(order)
    assert halts.asked == []


def test_an_order_is_written_as_bybit_wants_it() -> None:
    order = replace(ORDER, qty=Decimal("1E-5"), price=Decimal("50000.10"), stop_loss=Decimal("49000"))
    assert order.params() == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "0.00001",
        "price": "50000.1",
        "timeInForce": "GTC",
        "orderLinkId": "s-en-1",
        "positionIdx": 0,
        "reduceOnly": False,
        "tpslMode": "Full",
        "stopLoss": "49000",
        "slTriggerBy": "LastPrice",
    }


def test_stops_name_only_what_is_to_change_and_zero_removes() -> None:
    params = StopRequest(symbol="BTCUSDT", stop_loss=Decimal(0), trailing_stop=Decimal("12.50")).params()
    assert params["stopLoss"] == "0"
    assert params["trailingStop"] == "12.5"
    assert "takeProfit" not in params
    with pytest.raises(Rejected):
        StopRequest(symbol="BTCUSDT").params()
