"""Every fault takes effect in its scope only, and ends when it is removed."""

import aiohttp
import pytest

from exchange_simulator.tests.server.served import KEY, SECRET, START_MS, Client, Stream, served, until


async def place(client: Client, count: int) -> list[str]:
    """Places resting orders; returns their ids in order."""
    answers = [await client.order("Buy", "0.1", price=str(49_000 + number)) for number in range(count)]
    return [answer["result"]["orderId"] for answer in answers]


async def heard(stream: Stream) -> list[str]:
    return [row["orderId"] for push in await stream.pushes() for row in push["data"]]


async def test_faults_are_refused_unless_they_were_asked_for_at_the_start() -> None:
    async with served(faults=False) as client:
        for path in ("faults", "adl", "liquidate", "limits", "keys", "mark", "instrument", "maintenance"):
            answer = await client.sim(path, kind="cut")
            assert (answer["status"], "--faults" in answer["error"]) == (400, True)


async def test_a_fault_that_is_not_one_is_refused_by_name() -> None:
    async with served() as client:
        for wrong in ({"kind": "boredom"}, {"kind": "drop", "evry": 3}, {"kind": "drop", "every": 0}, {}):
            assert (await client.sim("faults", **wrong))["status"] == 400
        assert (await client.sim("faults", "GET"))["faults"] == []


async def test_cutting_streams_ends_the_connections_meant_and_no_others() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", "other:s")) as client:
        other = client.with_key("other", "s")
        async with client.stream("order") as mine, other.stream("order") as his, client.stream(public=True) as public:
            assert (await client.sim("faults", kind="cut", stream="private", key=KEY))["struck"] == 1
            assert (await mine.socket.receive(timeout=10)).type in (
                aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSING,
            )  # fmt: skip
            await his.ask({"op": "ping"})
            await public.ask({"op": "ping"})
            assert (await client.sim("faults", kind="cut"))["struck"] == 2


async def test_a_silent_stream_stays_connected_and_says_nothing_not_even_pong() -> None:
    async with served() as client, client.stream("order") as stream:
        fault = await client.sim("faults", kind="silence", stream="private")
        await place(client, 2)
        await stream.socket.send_str('{"op":"ping"}')
        with pytest.raises(TimeoutError):
            await stream.socket.receive(timeout=0.2)
        assert not stream.socket.closed
        await client.sim(f"faults?id={fault['id']}", "DELETE")
        (order_id,) = await place(client, 1)
        assert await heard(stream) == [order_id]


async def test_every_third_push_is_dropped() -> None:
    async with served() as client, client.stream("order") as stream:
        await client.sim("faults", kind="drop", topic="order", every=3)
        ids = await place(client, 7)
        assert await heard(stream) == [ids[0], ids[1], ids[3], ids[4], ids[6]]


async def test_a_fault_with_times_ends_by_itself() -> None:
    async with served() as client, client.stream("order") as stream:
        await client.sim("faults", kind="drop", times=2)
        ids = await place(client, 4)
        assert await heard(stream) == ids[2:]
        assert (await client.sim("faults", "GET"))["faults"] == []


async def test_pushes_are_doubled_and_swapped() -> None:
    async with served() as client, client.stream("order") as stream:
        await client.sim("faults", kind="duplicate", every=2)
        ids = await place(client, 2)
        assert await heard(stream) == [ids[0], ids[1], ids[1]]
        await client.sim("faults", "DELETE")
        await client.sim("faults", kind="reorder", every=2)
        ids = await place(client, 5)
        assert await heard(stream) == [ids[0], ids[2], ids[1], ids[4], ids[3]]


async def test_a_delayed_push_comes_late_but_comes() -> None:
    async with served() as client, client.stream("order") as stream:
        await client.sim("faults", kind="delay", ms=1_000, times=1)
        late, prompt = await place(client, 2)
        assert [(await stream.next("order"))["data"][0]["orderId"] for _ in range(2)] == [prompt, late]


async def test_logins_subscriptions_and_connections_are_refused() -> None:
    async with served() as client, client.stream() as stream:
        await client.sim("faults", kind="refuse-subscription", stream="private")
        assert not (await stream.ask({"op": "subscribe", "args": ["order"]}))["success"]
        await client.sim("faults", kind="refuse-login")
        async with client.http.ws_connect("/v5/private") as socket:
            assert not (await Stream(socket).login(KEY, SECRET))["success"]
        await client.sim("faults", kind="refuse-connection", stream="public", times=1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.http.ws_connect("/v5/public/linear")
        assert caught.value.status == 503
        async with client.stream(public=True):
            pass


async def test_chosen_calls_answer_with_a_code_a_status_or_garbage() -> None:
    async with served() as client:
        await client.sim("faults", kind="answer", path="/v5/order/create", ret_code=10016, ret_msg="busy", times=1)
        answer = await client.order("Buy", "0.1")
        assert (answer["retCode"], answer["retMsg"]) == (10016, "busy")
        await client.sim("faults", kind="answer", path="/v5/account", status=502, times=1)
        assert (await client.raw("GET", "/v5/account/info")).status == 502
        await client.sim("faults", kind="answer", path="/v5/account", garbage=True, times=1)
        assert b"not json" in await (await client.raw("GET", "/v5/account/info")).read()
        assert await client.rows("/v5/execution/list") == []
        assert (await client.order("Buy", "0.1"))["retCode"] == 0


async def test_a_call_without_an_answer_was_not_carried_out_unless_only_the_answer_was_lost() -> None:
    async with served() as client:
        for after in (False, True):
            await client.sim("faults", kind="answer", path="/v5/order/create", nothing=True, after=after, times=1)
            with pytest.raises(aiohttp.ClientError):
                await client.order("Buy", "0.1", orderLinkId=f"lost-{after}")
        fills = await client.rows("/v5/execution/list")
        assert [row["orderLinkId"] for row in fills] == ["lost-True"]
        assert (await client.order("Buy", "0.1", orderLinkId="lost-True"))["retCode"] == 110072
        assert (await client.order("Buy", "0.1", orderLinkId="lost-False"))["retCode"] == 0


async def test_an_answer_may_be_late() -> None:
    async with served() as client:
        await client.sim("faults", kind="answer", path="/v5/account", ms=30, times=1)
        assert (await client.get("/v5/account/info"))["retCode"] == 0


async def test_a_fault_may_be_meant_for_one_key_and_one_method() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", "other:s")) as client:
        await client.sim("faults", kind="answer", key="other", method="POST", ret_code=10016)
        other = client.with_key("other", "s")
        assert (await other.order("Buy", "0.1"))["retCode"] == 10016
        assert (await other.get("/v5/account/info"))["retCode"] == 0
        assert (await client.order("Buy", "0.1"))["retCode"] == 0


async def test_a_skewed_clock_shows_in_market_time_and_refuses_signatures() -> None:
    async with served() as client:
        await client.sim("faults", kind="skew", ms=60_000)
        assert (await client.get("/v5/market/time"))["time"] == START_MS + 60_000
        assert (await client.get("/v5/account/info"))["retCode"] == 10002
        await client.sim("faults", "DELETE")
        assert (await client.get("/v5/account/info"))["retCode"] == 0


async def test_deleveraging_and_liquidation_happen_at_a_word() -> None:
    async with served() as client, client.stream("execution") as stream:
        await client.order("Sell", "1")
        await client.sim("adl", key=KEY, symbol="BTCUSDT", qty="0.4")
        await client.sim("liquidate", key=KEY)
        rows = [row for push in await stream.pushes() for row in push["data"]]
        assert [(row["execType"], row["execQty"], row["createType"]) for row in rows] == [
            ("Trade", "1", "CreateByUser"),
            ("AdlTrade", "0.4", "CreateByAdl_PassThrough"),
            ("BustTrade", "0.6", "CreateByTakeOver_PassThrough"),
        ]


async def test_the_mark_can_be_put_away_from_the_last_price_and_shows_everywhere() -> None:
    async with served() as client, client.stream("tickers.BTCUSDT", public=True) as stream:
        await client.order("Buy", "1")
        assert (await client.sim("mark", symbol="BTCUSDT", price="50500"))["mark"] == "50500"
        await client.advance()
        (row,) = await client.rows("/v5/position/list", symbol="BTCUSDT")
        assert (row["markPrice"], row["unrealisedPnl"]) == ("50500", "500")
        (row,) = (await client.get("/v5/market/tickers", category="linear", symbol="BTCUSDT"))["result"]["list"]
        assert (row["lastPrice"], row["markPrice"]) == ("49900", "50500")
        pushed = [push["data"]["markPrice"] for push in await stream.pushes() if "markPrice" in push["data"]]
        assert pushed[-1] == "50500"
        for wrong in ("0", "-1", "NaN", "x"):
            assert (await client.sim("mark", symbol="BTCUSDT", price=wrong))["status"] == 400
        assert (await client.sim("mark", symbol="BTCUSDT", price=None))["mark"] == "49900"


async def test_a_key_can_be_added_while_the_exchange_runs() -> None:
    async with served() as client:
        await client.sim("keys", account="late:s:500")
        wallet = await client.with_key("late", "s").get("/v5/account/wallet-balance", accountType="UNIFIED")
        assert wallet["result"]["list"][0]["totalEquity"] == "500"
        assert (await client.sim("keys", account="late"))["status"] == 400


async def test_a_reader_that_never_reads_is_cut_and_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange_simulator.ws.session.QUEUE_FRAMES", 20)
    async with served() as client, client.stream("order") as stream:
        (session,) = client.app.sessions
        for number in range(30):
            session.push("order", b'{"topic":"order","data":[%d]}' % number)
        await until(lambda: not client.app.sessions)
        assert (await client.order("Buy", "0.1"))["retCode"] == 0
        assert stream.socket is not None
