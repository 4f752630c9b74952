"""The recorder as a process: what was sent is stored once or in a gap, whatever is killed or cut."""

import asyncio
import random
import time

import pytest

from tests.support.world import until
from tick_recorder.schema import Kind
from tick_recorder.store import TickStore
from tick_recorder.tests.compare import gaps, missing, stored
from tick_recorder.tests.conftest import RecorderMaker
from tick_recorder.tests.exchange import TickExchange

SYMBOLS = ("BTCUSDT", "ETHUSDT")


async def rows_stored(recorder: RecorderMaker, symbol: str, count: int, kind: Kind = Kind.TRADES) -> None:
    """Wait until so many rows are in the files."""

    async def there() -> bool:
        return len(stored(recorder.ticks, kind, symbol)) >= count

    await until(there, 20, f"{count} {kind} of {symbol}")


async def test_every_trade_and_quote_is_stored_in_its_order(recorder: RecorderMaker, exchange: TickExchange) -> None:
    recorder(exchange)
    await recorder.listening(exchange, 4)
    for _ in range(50):
        exchange.trade("BTCUSDT", 3)
        exchange.quote("BTCUSDT")
    await rows_stored(recorder, "BTCUSDT", 150)
    await rows_stored(recorder, "BTCUSDT", 50, Kind.BBO)
    frame = stored(recorder.ticks, Kind.TRADES, "BTCUSDT")
    assert frame["id"].to_list() == [trade[0] for trade in exchange.of("BTCUSDT").trades]
    assert [f"{price:.1f}" for price in frame["price"]] == [trade[2] for trade in exchange.of("BTCUSDT").trades]
    assert (await recorder.health())[0] == 200
    assert gaps(recorder.ticks, Kind.TRADES, "BTCUSDT") == []


async def test_trades_missed_over_a_cut_are_read_again_and_quotes_are_a_gap(
    recorder: RecorderMaker, exchange: TickExchange
) -> None:
    recorder(exchange)
    await recorder.listening(exchange, 4)
    exchange.trade("BTCUSDT", 5)
    exchange.quote("BTCUSDT")
    await rows_stored(recorder, "BTCUSDT", 5)
    exchange.cut()
    await until(_gone(exchange), 5, "the cut")
    for _ in range(20):
        exchange.trade("BTCUSDT", 2)
        exchange.quote("BTCUSDT")
    await recorder.listening(exchange, 4)
    exchange.trade("BTCUSDT")
    await rows_stored(recorder, "BTCUSDT", 46)
    assert missing(recorder.ticks, "BTCUSDT", exchange.of("BTCUSDT"), 0) == {"trades": [], "bbo": []}
    assert gaps(recorder.ticks, Kind.TRADES, "BTCUSDT") == []
    assert len(gaps(recorder.ticks, Kind.BBO, "BTCUSDT")) == 1


async def test_what_rest_does_not_reach_is_a_gap(recorder: RecorderMaker, exchange: TickExchange) -> None:
    recorder(exchange)
    await recorder.listening(exchange, 4)
    exchange.trade("BTCUSDT", 5)
    await rows_stored(recorder, "BTCUSDT", 5)
    exchange.cut()
    await until(_gone(exchange), 5, "the cut")
    first = time.time_ns() // 1_000_000
    for number in range(30):
        exchange.trade("BTCUSDT", 50, ts=first + number)
    await recorder.listening(exchange, 4)
    exchange.trade("BTCUSDT")
    await rows_stored(recorder, "BTCUSDT", 1_000)
    assert missing(recorder.ticks, "BTCUSDT", exchange.of("BTCUSDT"), 0)["trades"] == []
    ((_, until_ms),) = gaps(recorder.ticks, Kind.TRADES, "BTCUSDT")
    assert first + 9 <= until_ms <= first + 10


def _gone(exchange: TickExchange):  # type: ignore[no-untyped-def]
    async def gone() -> bool:
        return not exchange.clients

    return gone


async def torture(recorder: RecorderMaker, exchange: TickExchange, rounds: int, seed: int) -> None:
    """Kill and cut at random while trades and quotes flow, then compare with the sender's ledger."""
    draw = random.Random(seed)
    flowing = True

    async def flow() -> None:
        while flowing:
            for symbol in SYMBOLS:
                # one symbol is so busy that REST does not reach back over a restart
                exchange.trade(symbol, draw.randrange(1, 4) if symbol == "ETHUSDT" else draw.randrange(5, 40))
                exchange.quote(symbol)
            await asyncio.sleep(draw.choice((0.0, 0.005, 0.02)))

    process = recorder(exchange)
    await recorder.listening(exchange, 4)
    since_ms = time.time_ns() // 1_000_000
    # what was never stored has no gap: of a series the first row begins the record
    for symbol in SYMBOLS:
        exchange.trade(symbol)
        exchange.quote(symbol)
        await rows_stored(recorder, symbol, 1)
        await rows_stored(recorder, symbol, 1, Kind.BBO)
    flows = asyncio.create_task(flow())
    for _ in range(rounds):
        await asyncio.sleep(draw.uniform(0.05, 1.2))
        if draw.random() < 0.5:
            process.kill()
            assert not [path for path in recorder.ticks.rglob("*.parquet") if path.stat().st_size == 0]
            process = recorder(exchange)
        else:
            exchange.cut()
        if draw.random() < 0.7:
            await recorder.listening(exchange, 4)
    await recorder.listening(exchange, 4)
    await asyncio.sleep(1.5)
    flowing = False
    await flows

    async def caught_up() -> bool:
        return all(
            exchange.of(symbol).trades[-1][0] in set(stored(recorder.ticks, Kind.TRADES, symbol)["id"])
            and exchange.of(symbol).quotes[-1][0] in set(stored(recorder.ticks, Kind.BBO, symbol)["update_id"])
            for symbol in SYMBOLS
        )

    await until(caught_up, 60, "the newest rows", 0.3)
    assert process.stop() == 0
    for symbol in SYMBOLS:
        assert missing(recorder.ticks, symbol, exchange.of(symbol), since_ms) == {"trades": [], "bbo": []}
    store = TickStore(recorder.ticks)
    for kind in Kind:
        for symbol in store.symbols(kind):
            files = store.every_file(kind, symbol)
            assert all(file.read() is not None for file in files)
            for hour in {file.hour for file in files}:
                assert len([file for file in files if file.hour == hour]) <= 61


async def test_kills_and_cuts_lose_nothing_silently(recorder: RecorderMaker, exchange: TickExchange) -> None:
    await torture(recorder, exchange, 8, 7)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_hundred_kills_and_cuts_lose_nothing_silently(recorder: RecorderMaker, exchange: TickExchange) -> None:
    await torture(recorder, exchange, 100, 11)
