"""Step clock: time advances on request, waits for its clients, and fills decisions at the next candle's open."""

import asyncio

from exchange_simulator.market.model import Path
from exchange_simulator.tests.server.served import BASE_MS, START_MS, Client, served

CANDLES = [(50_000, 50_400, 49_700, 50_200), (50_300, 50_900, 50_100, 50_500), (50_400, 50_450, 49_000, 49_100)]


async def last_price(client: Client) -> str:
    answer = await client.get("/v5/market/tickers", category="linear", symbol="BTCUSDT")
    return str(answer["result"]["list"][0]["lastPrice"])


async def walked(path: Path) -> list[str]:
    async with served(CANDLES, path=path) as client:
        prices = [await last_price(client)]
        for _ in range(11):
            await client.advance()
            prices.append(await last_price(client))
        return prices


async def test_a_candle_is_walked_open_first_extreme_second_extreme_close() -> None:
    assert await walked("low-first") == [
        "50000", "49700", "50400", "50200", "50300", "50100", "50900", "50500", "50400", "49000", "50450", "49100",
    ]  # fmt: skip
    assert (await walked("high-first"))[:4] == ["50000", "50400", "49700", "50200"]
    assert (await walked("toward-close"))[8:] == ["50400", "50450", "49000", "49100"]


async def test_time_stands_until_it_is_advanced() -> None:
    async with served(CANDLES) as client:
        for _ in range(3):
            assert (await client.get("/v5/market/time"))["time"] == START_MS
        answer = await client.advance()
        assert answer["now_ms"] == START_MS + BASE_MS // 3
        assert (await client.sim("advance", bars=1))["now_ms"] == START_MS + BASE_MS


async def test_a_decision_at_a_close_fills_at_the_next_open_before_the_extremes() -> None:
    async with served(CANDLES) as client, client.stream("kline.5.BTCUSDT", public=True) as stream:
        await client.sim("clients", client="bot", symbols=["BTCUSDT"], interval="5")
        advance = asyncio.create_task(client.sim("advance", points=5, timeout_s=10))
        while not (push := await stream.next())["data"][0]["confirm"]:
            pass
        assert push["data"][0]["close"] == "50200"
        assert client.exchange.now_ms == START_MS + BASE_MS
        await client.order("Buy", "1", stopLoss="50200")
        (fill,) = await client.rows("/v5/execution/list")
        assert fill["execPrice"] == "50300"
        assert not advance.done()
        await client.sim("evaluated", client="bot", symbol="BTCUSDT", start_ms=START_MS)
        answer = await advance
        assert (answer["waiting_for"], answer["point_of_bar"]) == ({}, 1)
        stop, _ = await client.rows("/v5/execution/list")
        assert (stop["execPrice"], stop["stopOrderType"]) == ("50200", "StopLoss")


async def test_an_advance_says_what_it_waited_for_in_vain() -> None:
    async with served(CANDLES) as client:
        await client.sim("clients", client="bot", symbols=["BTCUSDT"], interval="5")
        answer = await client.sim("advance", points=9, timeout_s=0.05)
        assert answer["waiting_for"] == {"bot": [f"BTCUSDT 5 {START_MS}"]}
        assert answer["now_ms"] == START_MS + BASE_MS
        assert (await client.sim("advance", points=1, timeout_s=0.05))["now_ms"] == START_MS + BASE_MS
        await client.sim("clients", client="bot", remove=True)
        assert (await client.sim("advance", points=1, timeout_s=0.05))["now_ms"] > START_MS + BASE_MS


async def test_a_client_may_be_waited_for_at_every_point() -> None:
    async with served(CANDLES) as client:
        await client.sim("clients", client="guard", points=True)
        advance = asyncio.create_task(client.sim("advance", points=3, timeout_s=10))
        for point in (1, 2, 3):
            state = await client.sim(f"point?after={point - 1}", "GET")
            assert state["point"] == point
            await client.sim("evaluated", client="guard", point=point)
        assert (await advance)["point"] == 3


async def test_a_stop_inside_the_gap_fills_at_the_open_before_funding_and_before_the_candle_is_confirmed() -> None:
    candles = [(50_000, 50_000, 50_000, 50_000)] * 96 + [(49_000, 49_000, 49_000, 49_000)] * 2
    async with served(candles) as client:
        await client.order("Buy", "1", stopLoss="49500")
        await client.sim("advance", to_ms=START_MS + 8 * 3_600_000)
        kinds = [(row["execType"], row["execPrice"]) for row in await client.rows("/v5/execution/list")]
        assert kinds == [("Trade", "49000"), ("Trade", "50000")]


async def test_a_position_held_over_the_funding_time_pays_at_the_open() -> None:
    candles = [(50_000, 50_000, 50_000, 50_000)] * 96 + [(51_000, 51_000, 51_000, 51_000)] * 2
    async with served(candles, funding_rate="0.001") as client:
        await client.order("Buy", "1")
        await client.sim("advance", to_ms=START_MS + 8 * 3_600_000)
        funding = (await client.rows("/v5/execution/list"))[0]
        assert (funding["execType"], funding["execPrice"], funding["execFee"]) == ("Funding", "51000", "51")


async def test_the_market_ends_where_its_candles_end() -> None:
    async with served(CANDLES) as client, client.stream("kline.5.BTCUSDT", public=True) as stream:
        answer = await client.sim("advance", points=100)
        assert answer["ended"]
        closed = {
            push["data"][0]["start"]: push["data"][0]["close"]
            for push in await stream.pushes()
            if push["data"][0]["confirm"]
        }
        assert closed[START_MS + 2 * BASE_MS] == "49100"
        assert (await client.order("Buy", "0.1"))["retCode"] == 0


async def test_control_calls_that_make_no_sense_are_refused_with_a_sentence() -> None:
    async with served(CANDLES) as client:
        for path, body in (
            ("evaluated", {"client": "nobody", "symbol": "BTCUSDT", "start_ms": 1}),
            ("evaluated", {}),
            ("clients", {"client": "bot", "interval": "7"}),
            ("advance", {"points": "many"}),
            ("pause", {}),
            ("nothing", {}),
        ):
            answer = await client.sim(path, **body)
            assert answer["status"] in (400, 404)
            assert answer["error"]
