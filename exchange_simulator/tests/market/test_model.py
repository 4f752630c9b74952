"""Bars, the price path within a candle, intervals, instruments."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_simulator.market import Bar, merge, turnover, walk
from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS, TABLE, instrument, known
from exchange_simulator.market.intervals import (
    FIXED_MS,
    INTERVALS,
    bucket_end,
    bucket_start,
    bucket_starts,
    join,
    to_bars,
)
from exchange_simulator.market.model import MINUTE_MS

RISING = Bar(0, 100, 120, 90, 110, 5)
FALLING = Bar(0, 110, 120, 90, 100, 5)
MOMENTS = st.integers(min_value=0, max_value=4_000_000_000_000)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def test_high_first_meets_the_high_before_the_low() -> None:
    assert walk(RISING, "high-first") == (100, 120, 90, 110)


def test_low_first_meets_the_low_before_the_high() -> None:
    assert walk(FALLING, "low-first") == (110, 90, 120, 100)


def test_toward_close_ends_on_the_side_of_the_close() -> None:
    assert walk(RISING, "toward-close") == (100, 90, 120, 110)
    assert walk(FALLING, "toward-close") == (110, 120, 90, 100)


def test_merged_bars_keep_first_open_extremes_last_close_and_all_volume() -> None:
    merged = merge([Bar(0, 10, 14, 9, 12, 3), Bar(1, 12, 13, 5, 6, 4)], 0)
    assert merged == Bar(0, 10, 14, 5, 6, 7)
    assert merge([], 0) is None


def test_turnover_is_volume_times_mean_price() -> None:
    btc = instrument("BTCUSDT", price=Decimal(100), launch_ms=0)
    assert turnover(Bar(0, 1000, 1200, 800, 1000, 2000), btc) == Decimal("200.0")  # 2 BTC at 100


@pytest.mark.parametrize(
    ("interval", "inside", "start", "end"),
    [
        ("5", "2026-01-05T13:07:12", "2026-01-05T13:05:00", "2026-01-05T13:10:00"),
        ("360", "2026-01-05T13:07:12", "2026-01-05T12:00:00", "2026-01-05T18:00:00"),
        ("D", "2026-01-05T13:07:12", "2026-01-05T00:00:00", "2026-01-06T00:00:00"),
        ("W", "2026-01-11T23:59:59", "2026-01-05T00:00:00", "2026-01-12T00:00:00"),  # a week starts on Monday
        ("M", "2024-02-29T01:00:00", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
        ("M", "2025-12-31T23:00:00", "2025-12-01T00:00:00", "2026-01-01T00:00:00"),
    ],
)
def test_candles_begin_where_bybit_begins_them(interval: str, inside: str, start: str, end: str) -> None:
    assert bucket_start(interval, at(inside)) == at(start)
    assert bucket_end(interval, at(start)) == at(end)


@given(MOMENTS, st.sampled_from(INTERVALS))
def test_every_moment_lies_in_exactly_one_candle(moment: int, interval: str) -> None:
    start = bucket_start(interval, moment)
    assert start <= moment < bucket_end(interval, start)
    assert bucket_start(interval, start) == start
    assert bucket_starts(interval, start, moment + 1) == [start]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.sampled_from([name for name in INTERVALS if FIXED_MS.get(name, 0) >= 3 * MINUTE_MS]))
def test_joined_candles_hold_each_minute_once(days: int, interval: str) -> None:
    first = at("2026-01-28T00:00:00")
    count = 60 * (1 + days)
    times = first + np.arange(count, dtype=np.int64) * 15 * MINUTE_MS
    prices = 1000 + (times // MINUTE_MS * 7919) % 101
    rows = np.column_stack((times, prices, prices + 5, prices - 5, prices + 1, np.ones(count, dtype=np.int64)))
    joined = to_bars(join(rows, interval))
    assert sum(bar.volume for bar in joined) == count
    bars = to_bars(rows)
    for bar in joined:
        inside = [each for each in bars if bucket_start(interval, each.start_ms) == bar.start_ms]
        assert merge(inside, bar.start_ms) == bar


def test_prices_and_quantities_convert_without_loss_and_refuse_what_lies_between() -> None:
    btc = instrument("BTCUSDT", price=Decimal(95_000), launch_ms=0)
    assert btc.price(btc.ticks(Decimal("95000.1"))) == Decimal("95000.1")
    assert btc.qty(btc.steps(Decimal("0.015"))) == Decimal("0.015")
    with pytest.raises(ValueError, match="tick size"):
        btc.ticks(Decimal("95000.15"))
    with pytest.raises(ValueError, match="quantity step"):
        btc.steps(Decimal("0.0015"))


@pytest.mark.parametrize("symbol", [*TABLE, "NEWCOINUSDT", "ZZZUSDT", "1000000MOGUSDT"])
def test_every_instrument_is_tradable(symbol: str) -> None:
    row = known(symbol)
    price = Decimal(repr(row.price))
    made = instrument(symbol, price=price, launch_ms=0, tick=Decimal(row.tick), step=Decimal(row.step))
    assert made.ticks(price) >= 1_000, "a tick must be small against the price"
    assert made.min_order_qty <= made.max_mkt_order_qty <= made.max_order_qty
    assert made.steps(made.max_order_qty) > 0
    assert made.steps(made.max_mkt_order_qty) > 0
    assert made.min_order_qty * price < 1_000
    assert made.max_order_qty * price > 10_000_000
    assert known(symbol) == row


@pytest.mark.parametrize("symbol", DEFAULT_SYMBOLS)
def test_risk_tiers_join_without_a_jump_in_maintenance_margin(symbol: str) -> None:
    tiers = instrument(symbol, price=Decimal(1), launch_ms=0).risk_tiers
    for lower, upper in itertools.pairwise(tiers):
        edge = lower.limit_value
        assert edge * lower.maintenance_margin - lower.mm_deduction == (
            edge * upper.maintenance_margin - upper.mm_deduction
        )
        assert lower.limit_value < upper.limit_value
        assert lower.max_leverage > upper.max_leverage
