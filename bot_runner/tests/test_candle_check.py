"""Longer candles are compared with the exchange's own; a difference is told, an exchange that is away is not."""

import asyncio
from decimal import Decimal
from typing import cast

import numpy as np
import pytest

from alpha.bybit.client import Gateway
from alpha.bybit.models import Kline
from alpha.clock import Clock
from alpha.errors import Retry
from alpha.live_state.read import Candle
from alpha.timeframes import Columns, aggregate
from bot_runner.candle_check import CandleCheck
from bot_runner.candle_feed import CandleFeed, Window

MS, HOUR = 300_000, 3_600_000


class Exchange:
    """Answers with its own hourly candles."""

    def __init__(self, hours: Columns) -> None:
        self.hours = hours
        self.away = False

    async def kline(self, symbol: str, interval: str, *, limit: int, rank: object) -> list[Kline]:
        if self.away:
            raise Retry("away")
        assert interval == "60"
        own = self.hours
        newest = range(max(0, len(own.start_ms) - limit), len(own.start_ms))
        return [
            Kline(
                symbol=symbol,
                interval=interval,
                start_ms=int(own.start_ms[place]),
                open=Decimal(repr(float(own.open[place]))),
                high=Decimal(repr(float(own.high[place]))),
                low=Decimal(repr(float(own.low[place]))),
                close=Decimal(repr(float(own.close[place]))),
                volume=Decimal(repr(float(own.volume[place]))),
                turnover=Decimal(0),
                closed=True,
            )
            for place in newest
        ]


def made() -> tuple[CandleFeed, Exchange]:
    """A feed of two days of 5-minute candles, and an exchange whose hourly ones agree."""
    window, count = Window("BTCUSDT", MS, 800), 576
    rng = np.random.default_rng(4)
    close = np.round(100 + np.cumsum(rng.normal(0, 0.1, count)), 2)
    columns = Columns(
        np.arange(count, dtype=np.int64) * MS, close, close + 0.5, close - 0.5, close, np.round(rng.random(count), 3)
    )
    window.restart(
        Candle(row[0], *(repr(value) for value in row[1:]))
        for row in zip(*(column.tolist() for column in columns), strict=True)
    )
    feed = CandleFeed.__new__(CandleFeed)
    feed.windows = {"BTCUSDT": window}
    return feed, Exchange(aggregate(columns, MS, HOUR))


async def run_once(feed: CandleFeed, exchange: Exchange) -> list[tuple[int, str]]:
    """What one turn of the check reports."""
    told: list[tuple[int, str]] = []
    turns = 0

    async def report(count: int, first: str) -> None:
        told.append((count, first))

    async def sleep(_: float) -> None:
        nonlocal turns
        turns += 1
        if turns > 1:
            raise asyncio.CancelledError

    check = CandleCheck(feed, ("60",), cast(Gateway, exchange), report, clock=Clock(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        await check.run()
    return told


async def test_candles_that_agree_are_not_mentioned() -> None:
    assert await run_once(*made()) == []


@pytest.mark.parametrize("field", ["open", "high", "low", "close", "volume"])
async def test_each_field_that_differs_is_told_with_both_values(field: str) -> None:
    feed, exchange = made()
    values = getattr(exchange.hours, field).copy()
    values[-2] += 0.01
    exchange.hours = exchange.hours._replace(**{field: values})
    ((count, first),) = await run_once(feed, exchange)
    assert count == 1
    assert first.startswith("BTCUSDT 60: 1970-01-02 22:00")
    assert f"{field} " in first


async def test_an_exchange_that_is_away_is_asked_again_later() -> None:
    feed, exchange = made()
    exchange.away = True
    assert await run_once(feed, exchange) == []
