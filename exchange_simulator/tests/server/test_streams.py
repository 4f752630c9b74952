"""The private and public streams: login, subscriptions, pings, pushes and their order."""

import asyncio
from typing import Any

import aiohttp
import pytest

from exchange_simulator.app import active_seconds
from exchange_simulator.tests.server.served import BASE_MS, FLAT, KEY, SECRET, START_MS, Client, Stream, served, until

PRIVATE = ("order", "execution", "position", "wallet")


async def test_login_wants_a_known_key_a_right_signature_and_a_time_in_the_future() -> None:
    accounts = (f"{KEY}:{SECRET}", f"old:{SECRET}::ends=2023-11-15", f"far:{SECRET}::ip=192.0.2.1")
    async with served(accounts=accounts) as client:
        for key, secret, expires, good in (
            (KEY, SECRET, 9_000_000_000_000, True),
            ("old", SECRET, 9_000_000_000_000, False),
            ("far", SECRET, 9_000_000_000_000, False),
            (KEY, "wrong", 9_000_000_000_000, False),
            ("nobody", SECRET, 9_000_000_000_000, False),
            (KEY, SECRET, 1_000, False),
        ):
            async with client.http.ws_connect("/v5/private") as socket:
                answer = await Stream(socket).login(key, secret, expires)
                assert (answer["op"], answer["success"]) == ("auth", good)
                assert answer["conn_id"]


async def test_an_expired_login_is_a_params_error() -> None:
    async with served() as client, client.http.ws_connect("/v5/private") as socket:
        assert (await Stream(socket).login(KEY, SECRET, 1_000))["ret_msg"] == "Params Error"


async def test_a_connection_logs_in_again_for_its_own_account_and_for_no_other() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", "other:s")) as client, client.stream("order") as stream:
        assert (await stream.login(KEY, SECRET))["success"]
        assert (await stream.login("other", "s"))["ret_msg"] == "Params Error"
        await client.order("Buy", "0.1", price="49000")
        assert len(await stream.pushes()) == 1
        await stream.socket.close()
        await until(lambda: not client.app.sessions)
        assert not client.exchange.hub.private


async def test_private_topics_need_a_login_first() -> None:
    async with served() as client, client.http.ws_connect("/v5/private") as socket:
        answer = await Stream(socket).ask({"op": "subscribe", "req_id": "s", "args": ["order"]})
        assert (answer["success"], answer["req_id"]) == (False, "s")


@pytest.mark.parametrize("topic", ["orders", "kline.5.BTCUSDT", "order.planar", ""])
async def test_an_unknown_private_topic_spoils_the_whole_request(topic: str) -> None:
    async with served() as client, client.stream() as stream:
        answer = await stream.ask({"op": "subscribe", "args": ["order", topic]})
        assert not answer["success"]
        assert f"topic:{topic}" in answer["ret_msg"]
        assert (await stream.ask({"op": "subscribe", "args": ["order"]}))["success"]


@pytest.mark.parametrize(
    "topic",
    ["kline.5.NOPE", "kline.7.BTCUSDT", "kline.1.BTCUSDT", "tickers", "orderbook.500.BTCUSDT", "order", "publicTrade."],
)
async def test_an_unknown_public_topic_is_refused(topic: str) -> None:
    async with served() as client, client.stream(public=True) as stream:
        answer = await stream.ask({"op": "subscribe", "args": [topic]})
        assert (answer["success"], answer["ret_msg"]) == (False, f"error:handler not found,topic:{topic}")


async def test_subscribing_twice_is_refused() -> None:
    async with served() as client, client.stream("tickers.BTCUSDT", public=True) as stream:
        answer = await stream.ask({"op": "subscribe", "args": ["tickers.BTCUSDT"]})
        assert answer["ret_msg"] == "error:already subscribed,topic:tickers.BTCUSDT"


async def test_a_topic_and_its_categorised_form_do_not_go_together() -> None:
    async with served() as client, client.stream("order") as stream:
        assert not (await stream.ask({"op": "subscribe", "args": ["order.linear"]}))["success"]


async def test_both_forms_of_ping_are_answered() -> None:
    async with served() as client:
        async with client.stream() as stream:
            pong = await stream.ask({"op": "ping", "req_id": "p1"})
            assert (pong["op"], pong["req_id"]) == ("pong", "p1")
            assert pong["args"][0].isdigit()
            await stream.socket.ping()
        async with client.stream(public=True) as stream:
            pong = await stream.ask({"op": "ping", "req_id": "p2"})
            assert (pong["op"], pong["ret_msg"], pong["success"], pong["req_id"]) == ("ping", "pong", True, "p2")


async def test_a_fill_is_pushed_as_execution_order_position_and_wallet_of_one_match() -> None:
    async with served() as client, client.stream(*PRIVATE) as stream:
        answer = await client.order("Buy", "0.5", orderLinkId="mine")
        pushes = await stream.pushes()
        assert [push["topic"] for push in pushes] == ["execution", "order", "position", "wallet", "position"]
        by_topic = {push["topic"]: push for push in pushes}
        (execution,), (order,) = by_topic["execution"]["data"], by_topic["order"]["data"]
        (position,), (wallet,) = pushes[2]["data"], by_topic["wallet"]["data"]
        assert execution["orderId"] == order["orderId"] == answer["result"]["orderId"]
        assert (execution["orderLinkId"], execution["category"], execution["execPnl"]) == ("mine", "linear", "0")
        assert (order["orderStatus"], order["cumExecQty"], order["leavesQty"]) == ("Filled", "0.5", "0")
        assert (position["side"], position["size"], position["entryPrice"]) == ("Buy", "0.5", "50000")
        assert position["seq"] == execution["seq"]
        assert "avgPrice" not in position
        assert wallet["coin"][0]["walletBalance"] == "99986.25"
        assert all(push["creationTime"] == START_MS and push["id"] for push in pushes)


async def test_categorised_subscriptions_get_the_topic_they_asked_for() -> None:
    async with served() as client, client.stream("order.linear", "execution.fast", "position.inverse") as stream:
        await client.order("Buy", "0.5", orderLinkId="mine")
        pushes = await stream.pushes()
        assert [push["topic"] for push in pushes] == ["execution.fast", "order.linear"]
        assert "id" not in pushes[0]
        assert set(pushes[0]["data"][0]) == {
            "category", "symbol", "orderId", "orderLinkId", "isMaker", "execId", "execPrice", "execQty", "side",
            "execTime", "seq",
        }  # fmt: skip


async def test_an_account_hears_of_itself_alone_and_on_every_connection() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", "other:s")) as client:
        other = client.with_key("other", "s")
        async with client.stream("order") as one, client.stream("order") as two, other.stream("order") as foreign:
            await client.order("Buy", "0.1", price="49000")
            assert len(await one.pushes()) == len(await two.pushes()) == 1
            assert await foreign.pushes() == []


async def test_unsubscribing_ends_the_pushes() -> None:
    async with served() as client, client.stream("order", "wallet") as stream:
        assert (await stream.ask({"op": "unsubscribe", "args": ["order"]}))["success"]
        await client.order("Buy", "0.1", price="49000")
        assert await stream.pushes() == []


async def test_a_rejection_that_comes_later_comes_on_the_stream() -> None:
    async with served() as client, client.stream("order") as stream:
        answer = await client.order("Buy", "0.1", price="50001", timeInForce="PostOnly")
        assert answer["retCode"] == 0
        (row,) = (await stream.next("order"))["data"]
        assert (row["orderStatus"], row["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")


async def test_mark_price_moves_push_nothing_private() -> None:
    async with served() as client, client.stream(*PRIVATE) as stream:
        await client.order("Buy", "0.1")
        await stream.pushes()
        await client.advance(3)
        assert await stream.pushes() == []


async def test_a_candle_is_confirmed_once_at_its_end_and_forms_before() -> None:
    walk = [(50_000, 50_100, 49_900, 50_050), (50_060, 50_070, 50_000, 50_010)]
    async with served(walk) as client, client.stream("kline.5.BTCUSDT", public=True) as stream:
        await client.advance(4)
        candles = [push["data"][0] for push in await stream.pushes()]
        closed = [candle for candle in candles if candle["confirm"]]
        (first,) = closed
        assert (first["start"], first["end"]) == (START_MS, START_MS + BASE_MS - 1)
        assert [first[name] for name in ("open", "high", "low", "close")] == ["50000", "50100", "49900", "50050"]
        assert candles[-1]["start"] == START_MS + BASE_MS
        assert candles[-1]["open"] == candles[-1]["close"] == "50060"


async def test_confirmed_candles_of_every_interval_equal_those_of_rest() -> None:
    candles = [(50_000 + 10 * n, 50_100 + 10 * n, 49_900 + 10 * n, 50_010 + 10 * n) for n in range(30)]
    async with served(candles) as client:
        topics = [f"kline.{interval}.BTCUSDT" for interval in ("5", "15", "60")]
        async with client.stream(*topics, public=True) as stream:
            await client.sim("advance", to_ms=START_MS + 26 * BASE_MS)
            pushed: dict[str, dict[int, dict[str, Any]]] = {topic: {} for topic in topics}
            for push in await stream.pushes():
                for row in push["data"]:
                    if row["confirm"]:
                        assert row["start"] not in pushed[push["topic"]]
                        pushed[push["topic"]][row["start"]] = row
        assert [len(pushed[topic]) for topic in topics] == [26, 8, 2]
        for topic, rows in pushed.items():
            interval = topic.split(".")[1]
            answer = await client.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval=interval)
            rest = {int(row[0]): row for row in answer["result"]["list"]}
            for start, row in rows.items():
                names = ("open", "high", "low", "close", "volume", "turnover")
                assert [row[name] for name in names] == rest[start][1:]


async def test_tickers_are_a_snapshot_and_then_deltas_that_add_up_to_the_rest_answer() -> None:
    async with served() as client, client.stream("tickers.BTCUSDT", public=True) as stream:
        first = await stream.next("tickers.BTCUSDT")
        assert first["type"] == "snapshot"
        merged = dict(first["data"])
        await client.advance(5)
        deltas = await stream.pushes()
        assert deltas
        for delta in deltas:
            assert delta["type"] == "delta"
            assert len(delta["data"]) < len(merged)
            merged.update(delta["data"])
        rest = (await client.get("/v5/market/tickers", category="linear", symbol="BTCUSDT"))["result"]["list"][0]
        for name in ("tickDirection", "deliveryTime"):  # only in the stream, or formatted differently there
            merged.pop(name)
            rest.pop(name, None)
        assert merged == rest


@pytest.mark.parametrize("depth", [1, 50, 200])
async def test_order_book_deltas_add_up_to_the_rest_book(depth: int) -> None:
    topic = f"orderbook.{depth}.BTCUSDT"
    async with served() as client, client.stream(topic, public=True) as stream:
        await client.advance(6)
        pushes = await stream.pushes()
        assert pushes[0]["type"] == "snapshot"
        assert all(push["type"] == ("snapshot" if depth == 1 else "delta") for push in pushes[1:])
        updates = [push["data"]["u"] for push in pushes]
        assert updates == list(range(updates[0], updates[0] + len(updates)))
        sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        for push in pushes:
            for side, levels in sides.items():
                if push["type"] == "snapshot":
                    levels.clear()
                for price, size in push["data"][side]:
                    if size == "0":
                        del levels[price]
                    else:
                        levels[price] = size
        book = (await client.get("/v5/market/orderbook", category="linear", symbol="BTCUSDT", limit=depth))["result"]
        assert {"b": dict(book["b"]), "a": dict(book["a"])} == sides
        assert float(book["b"][0][0]) < float(book["a"][0][0])


def best_bid(pushes: list[dict[str, Any]]) -> str:
    """The best bid after a snapshot and its deltas, of tickers or of an order book."""
    ticker: dict[str, str] = {}
    bids: dict[str, str] = {}
    for push in pushes:
        if push["type"] == "snapshot":
            bids.clear()
        if "b" not in push["data"]:
            ticker.update(push["data"])
            continue
        bids.update(push["data"]["b"])
        bids = {price: size for price, size in bids.items() if size != "0"}
    return ticker["bid1Price"] if ticker else max(bids, key=float)


@pytest.mark.parametrize("topic", ["tickers.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT"])
async def test_who_comes_when_a_topic_has_been_left_sees_what_is_and_all_that_changes_after(topic: str) -> None:
    back_and_forth = [(50_000, 50_000, 49_900, 50_000)] * 3  # low first, then back to the start
    async with served(back_and_forth) as client:
        async with client.stream(topic, public=True) as stream:
            assert best_bid([await stream.next(topic)]) == "50000"
        await until(lambda: not client.exchange.hub.public)
        await client.advance()
        async with client.stream(topic, public=True) as stream:
            seen = [await stream.next(topic)]
            assert (seen[0]["type"], best_bid(seen)) == ("snapshot", "49900")
            await client.advance()
            assert best_bid(seen + await stream.pushes()) == "50000"


async def test_another_subscriber_makes_no_gap_in_the_numbers_of_a_book() -> None:
    async with served() as client, client.stream("orderbook.1.BTCUSDT", public=True) as one:
        first = await one.next()
        async with client.stream("orderbook.1.BTCUSDT", public=True) as two:
            assert (await two.next())["data"]["u"] == first["data"]["u"]
        await client.advance()
        assert (await one.next())["data"]["u"] == first["data"]["u"] + 1


async def test_a_book_of_one_level_that_does_not_change_is_pushed_again_after_three_seconds() -> None:
    async with served([(50_000,) * 4] * 3) as client, client.stream("orderbook.1.BTCUSDT", public=True) as stream:
        feed, wall = client.exchange.feed, [100.0]
        feed._clock = lambda: wall[0]
        feed._sent["orderbook.1.BTCUSDT"] = wall[0]
        numbers = []
        for seconds in (0, 2.9, 0.2, 2.9, 0.2):
            wall[0] += seconds
            feed.refresh()
            numbers.append([(push["type"], push["data"]["u"]) for push in await stream.pushes()])
        (first,), *later = numbers
        assert first[0] == "snapshot"
        assert later == [[], [first], [], [first]]


async def test_an_announced_end_of_a_contract_is_a_moment_in_words_on_the_stream_and_in_milliseconds_over_rest() -> (
    None
):
    async with served() as client, client.stream("tickers.BTCUSDT", public=True) as stream:
        assert (await stream.next())["data"]["deliveryTime"] == ""
        await client.sim("instrument", symbol="BTCUSDT", delivery_ms=START_MS + 86_400_000)
        await client.advance()
        assert (await stream.next())["data"]["deliveryTime"] == "2023-11-16T00:00:00Z"
        (row,) = (await client.get("/v5/market/tickers", category="linear", symbol="BTCUSDT"))["result"]["list"]
        assert row["deliveryTime"] == str(START_MS + 86_400_000)


async def test_the_topics_of_a_connection_have_at_most_21000_characters() -> None:
    async with served() as client, client.stream(public=True) as stream:
        long = "kline.5." + "X" * 21_000
        answer = await stream.ask({"op": "subscribe", "args": ["tickers.BTCUSDT", long]})
        assert (answer["success"], "21000" in answer["ret_msg"]) == (False, True)
        assert (await stream.ask({"op": "subscribe", "args": ["tickers.BTCUSDT"]}))["success"]


async def test_the_public_trades_of_a_candle_add_up_to_its_volume() -> None:
    async with served() as client, client.stream("publicTrade.BTCUSDT", public=True) as stream:
        await client.advance(7)
        trades = [row for push in await stream.pushes() for row in push["data"]]
        own = [row for row in trades if START_MS + BASE_MS <= row["T"] < START_MS + 2 * BASE_MS]
        assert sum(float(row["v"]) for row in own) == pytest.approx(1.0)
        assert len({row["i"] for row in trades}) == len(trades)


async def test_a_liquidation_is_told_to_the_public_and_to_the_account() -> None:
    fall = [(50_000, 50_000, 50_000, 50_000), (50_000, 50_000, 30_000, 30_000)]
    async with served(fall, accounts=(f"{KEY}:{SECRET}:5200",)) as client:
        await client.order("Buy", "1")
        async with (
            client.stream("allLiquidation.BTCUSDT", public=True) as public,
            client.stream("execution") as private,
        ):
            await client.advance(7)
            (told,) = (await public.next("allLiquidation.BTCUSDT"))["data"]
            (bust,) = (await private.next("execution"))["data"]
            assert (told["S"], told["v"], told["p"]) == ("Buy", "1", bust["execPrice"])
            assert (bust["execType"], bust["orderLinkId"]) == ("BustTrade", "")


async def test_a_client_that_says_nothing_is_cut_after_its_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange_simulator.app.IDLE_S", 0.05)
    async with served() as client, client.http.ws_connect("/v5/private") as socket:
        assert (await socket.receive(timeout=10)).type == aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 600), ("45s", 45), ("2m", 120), ("10m", 600), ("5s", 30), ("0m", 30), ("700s", 600), ("11m", 600),
        ("x", 600), ("30", 600), ("-1s", 600), ("30h", 600),
    ],
)  # fmt: skip
def test_the_address_says_how_long_a_client_may_say_nothing(text: str, seconds: float) -> None:
    assert active_seconds(text) == seconds


async def test_an_address_has_so_many_public_streams_of_a_category_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange_simulator.rest.limits.PUBLIC_STREAMS", 2)
    async with served(rate_limits=True) as client, client.stream(public=True), client.stream(public=True) as second:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.http.ws_connect("/v5/public/linear")
        assert caught.value.status == 403
        async with client.http.ws_connect("/v5/public/spot"), client.stream():
            pass
        await second.socket.close()
        await until(lambda: len(client.app.sessions) == 1)
        async with client.stream(public=True):
            pass


async def test_clients_that_do_not_answer_a_close_hold_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange_simulator.app.CLOSE_S", 0.05)
    async with served() as client:
        sockets = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.app.port)
            writer.write(
                b"GET /v5/private HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            sockets.append((reader, writer))
        async with asyncio.timeout(5):
            await client.app.stop()
        for _, writer in sockets:
            writer.close()


async def reconnect(client: Client) -> list[dict[str, Any]]:
    async with client.stream("order") as stream:
        return await stream.pushes()


async def test_a_new_connection_gets_no_snapshot_and_no_replay() -> None:
    async with served(FLAT) as client:
        await client.order("Buy", "0.1", price="49000")
        assert await reconnect(client) == []


@pytest.mark.parametrize(
    "frame",
    [
        "", "x", "[]", "1", "null", "{}", '{"op":"auth"}', '{"op":"auth","args":[1,2,3]}', '{"op":"auth","args":"abc"}',
        '{"op":"auth","args":[null,"99999999999999999999999",{}]}', '{"op":"subscribe"}', '{"op":"subscribe","args":{}}',
        '{"op":"subscribe","args":[null,1,[],{}]}', '{"op":"unsubscribe","args":["never"]}', '{"op":["ping"]}', '{"op":"dance"}',
        '{"op":"subscribe","args":["kline..","kline.5.","orderbook.x.BTCUSDT","."]}',
    ],
)  # fmt: skip
async def test_a_frame_that_makes_no_sense_is_answered_and_the_stream_goes_on(frame: str) -> None:
    async with served() as client:
        for public in (False, True):
            async with client.stream(public=public) as stream:
                await stream.socket.send_str(frame)
                answer = await stream.next()
                assert answer["success"] is False or answer["op"] == "unsubscribe"
                assert (await stream.ask({"op": "ping"}))["op"] in ("ping", "pong")
