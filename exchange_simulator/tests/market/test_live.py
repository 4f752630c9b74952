"""Real prices: an exchange that follows another one; both are processes, or one runs inside the test."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal

import httpx
import pytest

from exchange_simulator.market import BybitMarket, LiveMarket, MarketError, Minute, Quote, Tick
from exchange_simulator.market.model import DAY_MS, MINUTE_MS
from exchange_simulator.market.upstream import addresses
from exchange_simulator.tests.clients.process import KEY, SECRET, Simulator, running
from exchange_simulator.tests.clients.signed import Signed

SYMBOLS = ("BTCUSDT", "NEARUSDT")
MARKET = ("--symbols", ",".join(SYMBOLS), "--seed", "7", "--speed", "150", "--spread-ticks", "1")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with running(*MARKET, "--faults") as found:
        yield found


@pytest.fixture
async def market(upstream: Simulator) -> AsyncIterator[BybitMarket]:
    made = BybitMarket(upstream.ws_url, SYMBOLS)
    await made.start()
    yield made
    await made.close()


def near(client: Signed, share: str) -> str:
    query = {"category": "linear", "symbol": "BTCUSDT"}
    last = Decimal(client.result("GET", "/v5/market/tickers", query, signed=False)["list"][0]["lastPrice"])
    return str((last * Decimal(share)).quantize(Decimal("0.1")))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come true"


async def test_a_live_market_knows_upstreams_instruments_and_prices(market: BybitMarket) -> None:
    assert isinstance(market, LiveMarket)
    assert market.connected
    near_coin = market.instruments["NEARUSDT"]
    assert (near_coin.tick_size, near_coin.qty_step) == (Decimal("0.0001"), Decimal("0.1"))
    assert len(near_coin.risk_tiers) > 1
    quote = market.quote("NEARUSDT")
    assert quote.bid <= quote.last <= quote.ask
    assert abs(quote.index_price / near_coin.price(quote.last) - 1) < Decimal("0.01")
    assert quote.next_funding_ms > quote.time_ms


async def test_trades_quotes_and_minutes_arrive_in_time_order(market: BybitMarket) -> None:
    kinds: set[type] = set()
    newest: dict[tuple[type, str], int] = {}
    closed: list[int] = []
    prices: set[int] = set()
    async with asyncio.timeout(30):
        async for moment in market.moments():
            key = (type(moment), moment.symbol)
            assert moment.time_ms >= newest.get(key, 0)
            newest[key] = moment.time_ms
            kinds.add(type(moment))
            if isinstance(moment, Quote):
                prices.add(moment.last if moment.symbol == "BTCUSDT" else 0)
            if isinstance(moment, Minute) and moment.closed and moment.symbol == "BTCUSDT":
                closed.append(moment.bar.start_ms)
            if len(closed) >= 3 and len(prices) >= 5 and kinds == {Tick, Quote, Minute}:
                break
    assert closed == list(range(closed[0], closed[0] + len(closed) * MINUTE_MS, MINUTE_MS))


@pytest.mark.parametrize("interval", ["1", "5", "240", "D"])
async def test_candles_are_upstreams_own(upstream: Simulator, market: BybitMarket, interval: str) -> None:
    now = market.quote("NEARUSDT").time_ms
    since = now - 40 * DAY_MS if interval in ("240", "D") else now - 15 * 60 * MINUTE_MS
    await market.load("NEARUSDT", interval, since, now)
    found = market.candles("NEARUSDT", interval, since, now)
    query = {"category": "linear", "symbol": "NEARUSDT", "interval": interval, "start": since, "limit": 1000}
    with Signed(upstream) as client:
        rows = client.result("GET", "/v5/market/kline", {**query, "end": now}, signed=False)["list"]
    known = market.instruments["NEARUSDT"]
    theirs = [tuple(Decimal(text) for text in row[:6]) for row in reversed(rows)]
    ours = [(Decimal(bar.start_ms), *(known.price(t) for t in bar[1:5]), known.qty(bar.volume)) for bar in found]
    # The newest ones may have closed between the two requests.
    assert len(theirs) > 30
    assert ours[: len(theirs) - 2] == theirs[: len(theirs) - 2]


async def test_the_last_day_is_known_minute_by_minute(market: BybitMarket) -> None:
    async with asyncio.timeout(30):  # some minutes after the start: minutes before and after the subscription must join
        start = market.quote("BTCUSDT").time_ms
        async for moment in market.moments():
            if moment.time_ms > start + 5 * MINUTE_MS:
                break
    now = market.quote("BTCUSDT").time_ms // MINUTE_MS * MINUTE_MS
    minutes = market.bars("BTCUSDT", now - DAY_MS, now)
    assert [bar.start_ms for bar in minutes] == list(range(now - DAY_MS, now, MINUTE_MS))
    assert market.bar("BTCUSDT", now - MINUTE_MS) == minutes[-1]
    hour = now // (60 * MINUTE_MS) * 60 * MINUTE_MS
    (candle,) = market.candles("BTCUSDT", "60", hour - 60 * MINUTE_MS, hour)
    assert candle.volume == sum(bar.volume for bar in market.bars("BTCUSDT", candle.start_ms, hour))


def test_a_program_trades_on_the_prices_of_the_exchange_upstream(upstream: Simulator) -> None:
    account = f"{KEY}:{SECRET}:100000"
    follow = ("--market", "live", "--upstream", upstream.ws_url, "--account", account, "--no-rate-limits")
    symbol = {"category": "linear", "symbol": "BTCUSDT"}
    with running(*follow) as ours, Signed(ours) as client, Signed(upstream) as theirs:
        order = {**symbol, "side": "Buy", "orderType": "Market", "qty": "0.01"}
        client.result("POST", "/v5/order/create", order)
        (position,) = client.result("GET", "/v5/position/list", symbol)["list"]
        assert abs(Decimal(position["avgPrice"]) / Decimal(near(theirs, "1")) - 1) < Decimal("0.02")
        # Limit orders on both sides of the price: one of them fills as soon as upstream's price reaches it.
        for side, share in (("Buy", "0.9999"), ("Sell", "1.0001")):
            limit = {**order, "side": side, "orderType": "Limit", "price": near(client, share)}
            client.result("POST", "/v5/order/create", limit)

        def size() -> Decimal:
            return Decimal(client.result("GET", "/v5/position/list", symbol)["list"][0]["size"])

        wait_for(lambda: size() != Decimal("0.01"))
        query = {**symbol, "interval": "60", "limit": 200}
        rows = client.result("GET", "/v5/market/kline", query, signed=False)["list"]
        assert len(rows) == 200
        assert int(rows[0][0]) - int(rows[-1][0]) == 199 * 60 * MINUTE_MS
        # The mark price is upstream's: set far away there, it shows here and does not move the last price.
        mark = near(theirs, "1.2")
        put = httpx.post(f"{upstream.rest_url}/_sim/mark", json={"symbol": "BTCUSDT", "price": mark})
        assert put.status_code == 200

        def marked() -> str:
            return str(client.result("GET", "/v5/position/list", symbol)["list"][0]["markPrice"])

        wait_for(lambda: Decimal(marked()) == Decimal(mark))
        assert Decimal(near(client, "1")) < Decimal(mark) * Decimal("0.95")
        httpx.post(f"{upstream.rest_url}/_sim/mark", json={"symbol": "BTCUSDT", "price": None}).raise_for_status()
        wait_for(lambda: abs(Decimal(marked()) / Decimal(near(client, "1")) - 1) < Decimal("0.05"))


async def test_a_lost_upstream_is_found_again() -> None:
    with running(*MARKET) as first:
        port = first.ws_url.rpartition(":")[2]
        market = BybitMarket(first.ws_url, SYMBOLS, jitter=lambda: 0.0)
        await market.start()
        before = market.quote("BTCUSDT").time_ms

    async def until(connected: bool) -> None:
        async with asyncio.timeout(60):
            while market.connected is not connected:
                await asyncio.sleep(0.05)

    await until(connected=False)
    assert market.quote("BTCUSDT").time_ms >= before, "the last prices stay"
    with running(*MARKET, "--start", "2025-01-01T12:00", "--port", port):
        await until(connected=True)
        async with asyncio.timeout(30):
            async for moment in market.moments():
                if moment.time_ms > before + 11 * 60 * MINUTE_MS:
                    break
        await market.close()


async def test_an_upstream_that_cannot_be_used_is_named_in_one_sentence(upstream: Simulator) -> None:
    cases = {
        ("ws://127.0.0.1:9", SYMBOLS): "cannot be reached",
        (upstream.ws_url, ("BTCUSDT", "NOSUCHUSDT")): "does not trade NOSUCHUSDT",
    }
    for (url, symbols), text in cases.items():
        with pytest.raises(MarketError, match=text):
            await BybitMarket(url, symbols).start()
    with pytest.raises(MarketError, match="must be a WebSocket address"):
        BybitMarket("http://127.0.0.1:1")


def test_bybits_own_addresses_are_known() -> None:
    assert addresses("wss://stream.bybit.com") == ("wss://stream.bybit.com/v5/public/linear", "https://api.bybit.com")
    assert addresses("wss://stream-testnet.bybit.com")[1] == "https://api-testnet.bybit.com"
    assert addresses("ws://127.0.0.1:8900/v5/public/linear") == (
        "ws://127.0.0.1:8900/v5/public/linear",
        "http://127.0.0.1:8900",
    )
