"""Checks of the REST API before it answers: signature, time, key, permission, limits, parameters."""

import json
from urllib.parse import urlencode

import aiohttp
import pytest

from exchange_simulator.rest.limits import CONNECTIONS, IP_REQUESTS
from exchange_simulator.tests.server.served import KEY, SECRET, START_MS, Wall, served

WALLET = "/v5/account/wallet-balance"
UNIFIED = "accountType=UNIFIED"


async def test_a_rightly_signed_call_is_answered_and_a_wrongly_signed_one_is_not() -> None:
    async with served() as client:
        assert (await client.get(WALLET, accountType="UNIFIED"))["retCode"] == 0
        other = client.with_key(KEY, "another secret")
        assert (await other.get(WALLET, accountType="UNIFIED"))["retCode"] == 10004


async def test_the_signature_covers_the_very_bytes_of_the_query() -> None:
    async with served() as client:
        text = "symbol=BTCUSDT&category=linear&cursor=1%3A2"
        assert (await (await client.raw("GET", "/v5/order/realtime", text)).json())["retCode"] == 0
        wrong = await client.raw("GET", "/v5/order/realtime", text, client.signed_headers(text + "&limit=1"))
        assert (await wrong.json())["retCode"] == 10004


async def test_the_published_signature_vectors_verify() -> None:
    async with served(accounts=("testkey:testsecret",)) as client:
        key = client.with_key("testkey", "testsecret")
        text = "category=linear&limit=50&symbol=BTCUSDT"
        headers = key.signed_headers(text, stamp=1_700_000_000_000)
        assert headers["X-BAPI-SIGN"] == "a4a39eac83ffd1e90bb95498e0b69ae8e1562be8aa87fc07488a73cece884f42"


@pytest.mark.parametrize(
    ("offset", "window", "code"),
    [
        (0, 5000, 0),
        (-4_999, 5000, 0),
        (-5_001, 5000, 10002),
        (999, 5000, 0),
        (1_000, 5000, 10002),
        (1_000, 60_000, 10002),
    ],
)
async def test_a_timestamp_must_lie_in_the_window_of_the_wall_clock(offset: int, window: int, code: int) -> None:
    async with served() as client:
        headers = client.signed_headers(UNIFIED, client.wall() + offset, str(window))
        answer = await (await client.raw("GET", WALLET, UNIFIED, headers)).json()
        assert answer["retCode"] == code
        if code:
            assert f"server_timestamp[{client.wall()}]" in answer["retMsg"]


async def test_a_timestamp_of_business_time_is_accepted_too() -> None:
    async with served() as client:
        headers = client.signed_headers(UNIFIED, START_MS - 100)
        assert (await (await client.raw("GET", WALLET, UNIFIED, headers)).json())["retCode"] == 0
        assert client.wall() - START_MS > 10_000_000


async def test_a_key_that_is_unknown_revoked_or_of_another_environment_is_invalid() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", "demo-key:s::env=demo")) as client:
        assert (await client.with_key("nobody", "s").get(WALLET, accountType="UNIFIED"))["retCode"] == 10003
        assert (await client.with_key("demo-key", "s").get(WALLET, accountType="UNIFIED"))["retCode"] == 10003
        await client.sim("faults", kind="revoke", key=KEY)
        assert (await client.get(WALLET, accountType="UNIFIED"))["retCode"] == 10003
        await client.sim("faults", "DELETE")
        assert (await client.get(WALLET, accountType="UNIFIED"))["retCode"] == 0


async def test_a_read_only_key_and_one_without_permission_may_look_but_not_trade() -> None:
    accounts = (f"{KEY}:{SECRET}", f"ro:s::read-only,of={KEY}", "np:s::no-trade")
    async with served(accounts=accounts) as client:
        for name in ("ro", "np"):
            other = client.with_key(name, "s")
            assert (await other.get(WALLET, accountType="UNIFIED"))["retCode"] == 0
            assert (await other.order("Buy", "0.1"))["retCode"] == 10005
        mine = (await client.get("/v5/user/query-api"))["result"]
        his = (await client.with_key("ro", "s").get("/v5/user/query-api"))["result"]
        assert his["userID"] == mine["userID"]
        assert (his["readOnly"], mine["readOnly"]) == (1, 0)


async def test_the_eleventh_order_of_a_second_is_refused_with_the_headers_that_say_when_to_come_back() -> None:
    async with served(rate_limits=True) as client:
        for left in range(9, -1, -1):
            answer = await client.raw("POST", "/v5/order/create", "{}")
            assert answer.headers["X-Bapi-Limit"] == "10"
            assert answer.headers["X-Bapi-Limit-Status"] == str(left)
        refused = await client.raw("POST", "/v5/order/create", "{}")
        assert (await refused.json())["retCode"] == 10006
        reset = int(refused.headers["X-Bapi-Limit-Reset-Timestamp"])
        assert client.wall() < reset <= client.wall() + 1_001
        assert (await client.raw("POST", "/v5/order/cancel", "{}")).headers["X-Bapi-Limit-Status"] == "9"
        client.wall.now = reset
        assert (await (await client.raw("POST", "/v5/order/create", "{}")).json())["retCode"] == 10001


async def test_limits_can_be_widened_and_switched_off() -> None:
    async with served(rate_limits=True) as client:
        await client.sim("limits", factor=3)
        answers = [await client.post("/v5/order/create") for _ in range(31)]
        assert [answer["retCode"] for answer in answers] == [10001] * 30 + [10006]
        await client.sim("limits", enabled=False)
        assert (await client.post("/v5/order/create"))["retCode"] == 10001


async def test_an_ip_that_asks_too_much_gets_403_for_ten_minutes() -> None:
    async with served(rate_limits=True) as client:
        for _ in range(IP_REQUESTS):
            assert client.app.rest.limits.admit("127.0.0.1")
        assert (await client.http.get("/v5/market/time")).status == 403
        client.wall.now += 599_000
        assert (await client.http.get("/v5/market/time")).status == 403
        client.wall.now += 2_000
        assert (await client.http.get("/v5/market/time")).status == 200


async def test_the_501st_stream_connection_in_five_minutes_is_refused() -> None:
    async with served(rate_limits=True) as client:
        for _ in range(CONNECTIONS):
            assert client.app.rest.limits.connect("127.0.0.1")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.http.ws_connect("/v5/private")
        assert caught.value.status == 403
        client.wall.now += 301_000
        async with client.stream():
            pass


async def test_a_private_call_without_its_headers_is_401_and_a_get_with_a_body_403() -> None:
    async with served() as client:
        for name in ("X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-SIGN"):
            headers = client.signed_headers(UNIFIED)
            del headers[name]
            assert (await client.raw("GET", WALLET, UNIFIED, headers)).status == 401
        assert (await client.http.request("GET", "/v5/market/time", json={})).status == 403


async def test_paths_and_methods_that_do_not_exist_are_http_errors() -> None:
    async with served() as client:
        assert (await client.http.get("/v5/market/nothing")).status == 404
        assert (await client.http.post("/v5/market/time")).status == 400


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v5/market/kline", {"category": "linear", "interval": "5"}),
        ("/v5/market/kline", {"category": "linear", "interval": "7", "symbol": "BTCUSDT"}),
        ("/v5/market/kline", {"category": "linear", "interval": "5", "symbol": "NOPE"}),
        ("/v5/market/kline", {"category": "linear", "interval": "5", "symbol": "BTCUSDT", "limit": "1001"}),
        ("/v5/market/kline", {"category": "planar", "interval": "5", "symbol": "BTCUSDT"}),
        ("/v5/market/funding/history", {"category": "linear", "symbol": "BTCUSDT", "startTime": "1"}),
        ("/v5/position/list", {"category": "linear"}),
        ("/v5/order/realtime", {"category": "linear"}),
        ("/v5/order/realtime", {"category": "linear", "symbol": "BTCUSDT", "cursor": "what"}),
        ("/v5/execution/list", {"category": "linear", "limit": "101"}),
        ("/v5/execution/list", {"category": "linear", "startTime": "5", "endTime": "4"}),
        ("/v5/execution/list", {"category": "linear", "startTime": "0", "endTime": str(8 * 86_400_000)}),
    ],
)
async def test_a_parameter_that_is_missing_or_wrong_is_10001(path: str, query: dict[str, str]) -> None:
    async with served() as client:
        assert (await client.get(path, **query))["retCode"] == 10001


async def test_a_filter_of_order_history_must_be_a_final_status() -> None:
    async with served() as client:
        assert (await client.get("/v5/order/history", category="linear", orderStatus="New"))["retCode"] == 181017


async def test_a_body_that_is_not_a_json_object_is_10001() -> None:
    async with served() as client:
        for body in ("", "[]", "{", "\x00"):
            answer = await client.raw("POST", "/v5/order/create", body)
            assert (await answer.json())["retCode"] == 10001


async def test_numbers_where_bybit_wants_strings_are_refused() -> None:
    async with served() as client:
        body = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": 0.1}
        answer = await client.raw("POST", "/v5/order/create", json.dumps(body))
        assert (await answer.json())["retCode"] == 10001


async def test_the_other_categories_answer_empty() -> None:
    async with served() as client:
        for category in ("spot", "inverse", "option"):
            for path in (
                "/v5/market/tickers",
                "/v5/market/instruments-info",
                "/v5/position/list",
                "/v5/order/realtime",
            ):
                text = urlencode({"category": category})
                answer = await (await client.raw("GET", path, text)).json()
                assert (answer["retCode"], answer["result"]["list"]) == (0, [])


async def test_a_used_order_link_id_is_refused_for_good() -> None:
    async with served() as client:
        assert (await client.order("Buy", "0.1", price="49000", orderLinkId="once"))["retCode"] == 0
        assert (await client.order("Buy", "0.1", orderLinkId="once"))["retCode"] == 110072
        await client.post("/v5/order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="once")
        assert (await client.order("Buy", "0.1", orderLinkId="once"))["retCode"] == 110072


async def test_an_order_that_is_gone_cannot_be_amended_or_cancelled() -> None:
    async with served() as client:
        for path in ("/v5/order/amend", "/v5/order/cancel"):
            answer = await client.post(path, category="linear", symbol="BTCUSDT", orderId="x", qty="1")
            assert answer["retCode"] == 110001


async def test_orders_name_a_leg_in_hedge_mode_alone() -> None:
    async with served() as client:
        assert (await client.order("Buy", "0.1", positionIdx=1))["retCode"] == 10001
        switch = await client.post("/v5/position/switch-mode", category="linear", symbol="BTCUSDT", mode=3)
        assert switch["retCode"] == 0
        assert (await client.order("Buy", "0.1"))["retCode"] == 10001
        assert (await client.order("Buy", "0.1", positionIdx=1))["retCode"] == 0


async def test_market_time_is_the_business_time() -> None:
    async with served(wall=Wall()) as client:
        answer = await client.get("/v5/market/time")
        assert answer["time"] == START_MS
        assert answer["result"]["timeSecond"] == str(START_MS // 1000)
        assert answer["result"]["timeNano"].startswith(str(START_MS))
