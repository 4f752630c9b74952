"""Candles without gaps, from a real Redis and the real exchange."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alpha.bybit.client import Gateway, market_gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.models import Kline
from alpha.bybit.rate_limiter import RateLimiter
from alpha.config.exchange import ExchangeSettings
from alpha.config.loader import load
from alpha.errors import Retry
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import Candle, encode_candle
from bot_runner.candle_feed import CandleFeed, Window
from tests.support.bot_harness import BotHarness

BAR = 300_000


def candle(start_ms: int, close: float = 1.0) -> Candle:
    text = str(close)
    return Candle(start_ms, text, text, text, text, "1")


@pytest.fixture
async def gateway(stage: BotHarness) -> AsyncIterator[Gateway]:
    addresses = {name.lower(): value for name, value in stage.simulator.environment().items()}
    made = market_gateway(hosts_of(load(ExchangeSettings, env_file=None, **addresses)), RateLimiter(None))
    yield made
    await made.close()


def test_a_window_takes_the_next_candle_once_and_refuses_one_after_a_gap() -> None:
    window = Window("BTCUSDT", BAR, 4)
    assert window.add(candle(0))
    assert window.add(candle(BAR))
    assert window.add(candle(0, 99.0))
    assert not window.add(candle(3 * BAR))
    found = window.bars(BAR, 10)
    assert found is not None
    assert found.close.tolist() == [1.0, 1.0]


def test_a_window_goes_on_beyond_its_size_and_keeps_the_newest() -> None:
    window = Window("BTCUSDT", BAR, 4)
    for number in range(50):
        assert window.add(candle(number * BAR, float(number)))
    found = window.bars(48 * BAR, 3)
    assert found is not None
    assert found.close.tolist() == [46.0, 47.0, 48.0]
    assert window.bars(50 * BAR, 3) is None


async def test_a_hole_in_the_stream_is_filled_from_redis_and_a_hole_in_redis_from_the_exchange(
    stage: BotHarness, gateway: Gateway
) -> None:
    links = RedisClients(stage.servers.redis.settings())
    try:
        feed = CandleFeed(gateway, links.shared, "5", 10)
        await feed.follow(["BTCUSDT"])
        newest_ms = feed.newest_ms
        assert newest_ms is not None
        await stage.bars(4)
        true = await gateway.kline("BTCUSDT", "5", start_ms=newest_ms, end_ms=newest_ms + 4 * BAR)
        rows = {
            row.start_ms: encode_candle(
                Candle(row.start_ms, *(str(x) for x in (row.open, row.high, row.low, row.close, row.volume)))
            )
            for row in true
        }
        name = keys.candles("BTCUSDT", "5")
        await links.shared.rpush(name, *(rows[newest_ms + n * BAR] for n in (0, 1)))
        assert not feed.offer("BTCUSDT", candle(newest_ms + 2 * BAR))
        assert await feed.fill("BTCUSDT", newest_ms + BAR)
        await links.shared.rpush(name, rows[newest_ms + 3 * BAR])  # the third is missing
        assert await feed.fill("BTCUSDT", newest_ms + 3 * BAR)
        found = feed.bars("BTCUSDT", newest_ms + 3 * BAR)
        assert found is not None
        expected = [float(row.close) for row in true if row.start_ms <= newest_ms + 3 * BAR]
        assert found.close.tolist()[-4:] == expected[-4:]
        assert (found.start_ms[1:] - found.start_ms[:-1] == BAR).all()
    finally:
        await links.close()


async def test_a_history_that_could_not_be_read_is_read_whole_at_the_next_attempt(
    stage: BotHarness, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = RedisClients(stage.servers.redis.settings())
    asked = gateway.kline

    async def away(symbol: str, *arguments: Any, **more: Any) -> list[Kline]:
        if symbol == "ETHUSDT":
            raise Retry("The exchange does not answer.")
        return await asked(symbol, *arguments, **more)

    try:
        feed = CandleFeed(gateway, links.shared, "5", 10)
        monkeypatch.setattr(gateway, "kline", away)
        with pytest.raises(Retry):
            await feed.follow(["ETHUSDT", "BTCUSDT"])
        assert "ETHUSDT" not in feed.symbols
        # A candle that comes meanwhile must not pass for a history.
        now_ms = await gateway.server_time_ms()
        assert feed.offer("ETHUSDT", candle(now_ms - now_ms % BAR))
        monkeypatch.undo()
        await feed.follow(["ETHUSDT", "BTCUSDT"])
        assert feed.symbols == ["ETHUSDT", "BTCUSDT"]
        newest_ms = feed.newest_ms
        assert newest_ms is not None
        for symbol in feed.symbols:
            found = feed.bars(symbol, newest_ms)
            assert found is not None
            assert len(found.start_ms) == 10
    finally:
        await links.close()
