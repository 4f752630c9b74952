"""Downloading from the simulated exchange, as a process, through the gateway."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from alpha.bybit.client import Gateway, market_gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.errors import Misconfigured
from alpha.strategy.column_files import read_rows as read_column_file
from backtester.candle_files import read_folder
from backtester.candles import end_ms, fingerprint, first_ms, gaps
from backtester.command import moment_ms
from backtester.download import INTERVALS, PAGE, download, instrument_row
from backtester.funding import read_rows
from backtester.instruments import recorded_instruments
from tests.support.world import Simulator

LENGTH = INTERVALS["5"]
FROM_MS, TO_MS = moment_ms("2025-01-01", "from"), moment_ms("2025-01-12T07:35", "to")


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    started = Simulator(tmp_path_factory.mktemp("exchange"), speed="1", options=("--start", "2025-02-01"))
    asyncio.run(started.start())
    yield started
    started.process.kill()


@pytest.fixture
async def gateway(simulator: Simulator) -> AsyncIterator[Gateway]:
    hosts = simulated_hosts(simulator.url, simulator.environment()["BYBIT_WS_URL"])
    async with market_gateway(hosts, RateLimiter(None)) as made:
        yield made


def silent(symbol: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


async def test_the_folder_holds_what_the_exchange_has(gateway: Gateway, tmp_path: Path) -> None:
    await download(gateway, tmp_path, ["BTCUSDT", "SOLUSDT"], "5", FROM_MS, TO_MS, silent)
    candles = read_folder(tmp_path)
    assert sorted(candles) == ["BTCUSDT", "SOLUSDT"]
    assert (first_ms(candles["SOLUSDT"]), end_ms(candles["SOLUSDT"])) == (FROM_MS, TO_MS)
    start = FROM_MS + 1500 * LENGTH
    [row] = await gateway.kline("SOLUSDT", "5", start_ms=start, end_ms=start)
    assert float(row.close) == candles["SOLUSDT"].close[1500]
    assert float(row.volume) == candles["SOLUSDT"].volume[1500]
    times, _ = read_rows(tmp_path / "SOLUSDT.funding.parquet")
    assert times.tolist() == list(range(FROM_MS, TO_MS, 8 * 3_600_000))
    instrument = (await gateway.instruments("SOLUSDT"))["SOLUSDT"]
    assert recorded_instruments(tmp_path)["SOLUSDT"] == instrument
    assert instrument_row(instrument)["symbol"] == "SOLUSDT"


async def test_an_interrupted_download_goes_on_where_it_stopped(gateway: Gateway, tmp_path: Path) -> None:
    class PowerCut(Exception):
        pass

    def fails(symbol: str, done: int, total: int) -> None:
        if done >= 2 * PAGE * LENGTH:
            raise PowerCut

    with pytest.raises(PowerCut):
        await download(gateway, tmp_path / "cut", ["BTCUSDT"], "5", FROM_MS, TO_MS, fails)
    kept = read_folder(tmp_path / "cut")["BTCUSDT"]
    assert len(kept) == 2 * PAGE
    before = gateway.counts.sent
    await download(gateway, tmp_path / "cut", ["BTCUSDT"], "5", FROM_MS, TO_MS, silent)
    resumed = gateway.counts.sent - before
    await download(gateway, tmp_path / "whole", ["BTCUSDT"], "5", FROM_MS, TO_MS, silent)
    assert resumed < gateway.counts.sent - before - resumed
    prints = {fingerprint(read_folder(tmp_path / name).values()) for name in ("cut", "whole")}
    assert len(prints) == 1


async def test_a_longer_range_is_joined_to_what_is_there(gateway: Gateway, tmp_path: Path) -> None:
    await download(
        gateway, tmp_path / "parts", ["BTCUSDT"], "5", FROM_MS + 300 * LENGTH, FROM_MS + 900 * LENGTH, silent
    )
    await download(gateway, tmp_path / "parts", ["BTCUSDT"], "5", FROM_MS, TO_MS, silent)
    await download(gateway, tmp_path / "whole", ["BTCUSDT"], "5", FROM_MS, TO_MS, silent)
    prints = {fingerprint(read_folder(tmp_path / name).values()) for name in ("parts", "whole")}
    assert len(prints) == 1
    rates = [read_rows(tmp_path / name / "BTCUSDT.funding.parquet")[1] for name in ("parts", "whole")]
    assert rates[0] == rates[1]


async def test_the_candle_under_way_is_left_out(gateway: Gateway, tmp_path: Path) -> None:
    now_ms = await gateway.server_time_ms()
    day = 86_400_000
    found = await download(gateway, tmp_path, ["BTCUSDT"], "5", now_ms - day, now_ms + day, silent)
    assert end_ms(found["BTCUSDT"]) <= now_ms + 60_000
    assert end_ms(found["BTCUSDT"]) % LENGTH == 0


async def test_an_unknown_symbol_is_named(gateway: Gateway, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no USDT perpetual NOUSDT"):
        await download(gateway, tmp_path, ["NOUSDT"], "5", FROM_MS, TO_MS, silent)


async def test_another_interval_needs_another_folder(gateway: Gateway, tmp_path: Path) -> None:
    await download(gateway, tmp_path, ["BTCUSDT"], "60", FROM_MS, TO_MS, silent)
    with pytest.raises(Misconfigured, match="use another folder"):
        await download(gateway, tmp_path, ["BTCUSDT"], "5", FROM_MS, TO_MS, silent)


async def test_an_interval_that_bybit_lacks_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="choose from 1, 3, 5"):
        await download(gateway, tmp_path, ["BTCUSDT"], "7", FROM_MS, TO_MS, silent)


async def test_what_the_exchange_lacks_leaves_both_sides_and_an_advice_that_works(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = FROM_MS + 100 * LENGTH
    kline = gateway.kline

    async def holed(*words: Any, **options: Any) -> Any:
        return [row for row in await kline(*words, **options) if row.start_ms != missing]

    monkeypatch.setattr(Gateway, "kline", lambda _self, *words, **options: holed(*words, **options))
    found = await download(gateway, tmp_path, ["BTCUSDT"], "5", FROM_MS, TO_MS, silent)
    assert gaps(found["BTCUSDT"]) == [(missing - LENGTH, missing + LENGTH)]
    assert (tmp_path / "BTCUSDT.funding.parquet").exists()
    after = read_folder(tmp_path, from_ms=missing + LENGTH)["BTCUSDT"]
    assert (first_ms(after), end_ms(after)) == (missing + LENGTH, TO_MS)
    before = read_folder(tmp_path, to_ms=missing)["BTCUSDT"]
    assert (first_ms(before), end_ms(before)) == (FROM_MS, missing)
    # and a second run fetches nothing twice
    sent = gateway.counts.sent
    await download(gateway, tmp_path, ["BTCUSDT"], "5", FROM_MS, TO_MS, silent)
    assert gateway.counts.sent - sent < 6


async def test_open_interest_goes_on_where_an_earlier_download_stopped(gateway: Gateway, tmp_path: Path) -> None:
    early = FROM_MS + 500 * LENGTH
    for to_ms in (early, FROM_MS + 900 * LENGTH):
        await download(gateway, tmp_path, ["BTCUSDT"], "5", FROM_MS, to_ms, silent, open_interest=True)
    rows = read_column_file(tmp_path / "BTCUSDT.open_interest.parquet")
    assert rows.time_ms.tolist() == list(range(FROM_MS, FROM_MS + 900 * LENGTH, LENGTH))
    [one] = await gateway.open_interest("BTCUSDT", "5min", start_ms=early, end_ms=early)
    assert rows.values[500] == float(one.amount)
