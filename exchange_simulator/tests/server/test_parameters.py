"""Every documented parameter of every call, page sizes, time windows and rate limits."""

import json
from decimal import Decimal
from urllib.parse import urlencode

import pytest

from exchange_simulator.engine.model import Rules
from exchange_simulator.rest.server import ENDPOINTS
from exchange_simulator.tests.server.served import Client, Row, served

DAY_MS = 86_400_000
_KLINE = "category symbol interval start end limit"
_WINDOW = "startTime endTime limit cursor"
_SELECT = "category symbol baseCoin settleCoin orderId orderLinkId"
DOCUMENTED = {
    "GET /v5/market/time": "",
    "GET /v5/market/kline": _KLINE,
    "GET /v5/market/mark-price-kline": _KLINE,
    "GET /v5/market/index-price-kline": _KLINE,
    "GET /v5/market/premium-index-price-kline": _KLINE,
    "GET /v5/market/instruments-info": "category symbol status baseCoin symbolType limit cursor",
    "GET /v5/market/tickers": "category symbol baseCoin expDate",
    "GET /v5/market/orderbook": "category symbol limit",
    "GET /v5/market/recent-trade": "category symbol baseCoin optionType limit",
    "GET /v5/market/funding/history": "category symbol startTime endTime limit",
    "GET /v5/market/open-interest": f"category symbol intervalTime {_WINDOW}",
    "GET /v5/market/risk-limit": "category symbol cursor",
    "GET /v5/market/price-limit": "category symbol",
    "GET /v5/market/adlAlert": "symbol",
    "GET /v5/account/user-setting-config": "",
    "GET /v5/system/status": "id state",
    "GET /v5/announcements/index": "locale type tag page limit",
    "POST /v5/order/create": """category symbol side orderType qty price timeInForce positionIdx orderLinkId reduceOnly
        closeOnTrigger triggerPrice triggerDirection triggerBy takeProfit stopLoss tpTriggerBy slTriggerBy tpslMode
        tpOrderType slOrderType tpLimitPrice slLimitPrice smpType slippageToleranceType slippageTolerance bboSideType
        bboLevel rpiTakerAccess isLeverage orderFilter marketUnit orderIv mmp""",
    "POST /v5/order/amend": """category symbol orderId orderLinkId qty price triggerPrice takeProfit stopLoss tpTriggerBy
        slTriggerBy triggerBy tpslMode tpLimitPrice slLimitPrice orderIv""",
    "POST /v5/order/cancel": "category symbol orderId orderLinkId orderFilter",
    "POST /v5/order/cancel-all": "category symbol baseCoin settleCoin orderFilter stopOrderType",
    "POST /v5/order/create-batch": "category request",
    "POST /v5/order/amend-batch": "category request",
    "POST /v5/order/cancel-batch": "category request",
    "GET /v5/order/realtime": f"{_SELECT} openOnly orderFilter limit cursor",
    "GET /v5/order/history": f"{_SELECT} orderFilter orderStatus {_WINDOW}",
    "GET /v5/execution/list": f"{_SELECT} execType {_WINDOW}",
    "GET /v5/position/list": "category symbol baseCoin settleCoin limit cursor",
    "POST /v5/position/set-leverage": "category symbol buyLeverage sellLeverage",
    "POST /v5/position/switch-mode": "category symbol coin mode",
    "POST /v5/position/switch-isolated": "category symbol tradeMode buyLeverage sellLeverage",
    "POST /v5/position/add-margin": "category symbol margin positionIdx",
    "POST /v5/position/trading-stop": """category symbol tpslMode positionIdx takeProfit stopLoss trailingStop activePrice
        tpTriggerBy slTriggerBy tpSize slSize tpLimitPrice slLimitPrice tpOrderType slOrderType""",
    "GET /v5/position/closed-pnl": f"category symbol {_WINDOW}",
    "GET /v5/account/wallet-balance": "accountType coin",
    "GET /v5/account/info": "",
    "GET /v5/account/query-dcp-info": "",
    "GET /v5/account/fee-rate": "category symbol baseCoin",
    "GET /v5/account/transaction-log": f"accountType category currency baseCoin type transSubType {_WINDOW}",
    "POST /v5/account/set-margin-mode": "setMarginMode",
    "GET /v5/account/collateral-info": "currency",
    "GET /v5/account/borrow-history": f"currency {_WINDOW}",
    "POST /v5/account/demo-apply-money": "adjustType utaDemoApplyMoney",
    "GET /v5/user/query-api": "",
    "GET /v5/user/query-sub-members": "",
    "GET /v5/asset/coin/query-info": "coin",
    "GET /v5/asset/delivery-record": f"category symbol expDate {_WINDOW}",
    "GET /v5/asset/settlement-record": f"category symbol {_WINDOW}",
}
PAGES = {  # default and maximum `limit`
    "/v5/market/kline": (200, 1000),
    "/v5/market/mark-price-kline": (200, 1000),
    "/v5/market/index-price-kline": (200, 1000),
    "/v5/market/premium-index-price-kline": (200, 1000),
    "/v5/market/instruments-info": (500, 1000),
    "/v5/market/orderbook": (25, 1000),
    "/v5/market/recent-trade": (500, 1000),
    "/v5/market/funding/history": (200, 200),
    "/v5/market/open-interest": (50, 200),
    "/v5/order/realtime": (20, 50),
    "/v5/order/history": (20, 50),
    "/v5/execution/list": (50, 100),
    "/v5/position/list": (20, 200),
    "/v5/position/closed-pnl": (50, 100),
    "/v5/account/transaction-log": (20, 50),
    "/v5/account/borrow-history": (20, 50),
    "/v5/asset/delivery-record": (20, 50),
    "/v5/asset/settlement-record": (20, 50),
    "/v5/announcements/index": (20, 1000),
}
LIMITS = {  # calls per UID and second; `demo-apply-money` per minute
    10: (
        "order/create order/amend order/cancel order/cancel-all order/create-batch order/amend-batch order/cancel-batch "
        "position/set-leverage position/switch-mode position/trading-stop position/switch-isolated position/add-margin user/query-api user/query-sub-members"
    ),
    50: (
        "order/realtime order/history execution/list position/list position/closed-pnl account/wallet-balance "
        "account/info account/user-setting-config account/collateral-info account/borrow-history asset/delivery-record asset/settlement-record"
    ),
    25: "account/transaction-log",
    5: "account/query-dcp-info account/fee-rate account/set-margin-mode asset/coin/query-info",
    1: "account/demo-apply-money",
}
ALWAYS = {"category": "linear", "symbol": "BTCUSDT", "interval": "5", "intervalTime": "1h", "accountType": "UNIFIED"}


def test_every_call_takes_the_documented_parameters_and_no_others() -> None:
    taken = {
        f"{method} {path}": {param.name for param in endpoint.params} for (method, path), endpoint in ENDPOINTS.items()
    }
    assert taken == {name: set(names.split()) for name, names in DOCUMENTED.items()}


async def test_pages_have_the_documented_sizes() -> None:
    has = {path for (_, path), endpoint in ENDPOINTS.items() if any(param.name == "limit" for param in endpoint.params)}
    assert has == set(PAGES)
    async with served() as client:
        for path, (usual, most) in PAGES.items():
            (param,) = [param for param in ENDPOINTS["GET", path].params if param.name == "limit"]
            assert param.default == usual, path
            for size, code in ((0, 10001), (1, 0), (most, 0), (most + 1, 10001)):
                assert (await client.get(path, **ALWAYS, limit=size))["retCode"] == code, (path, size)


async def test_every_private_call_tells_its_limit_in_the_three_headers() -> None:
    expected = {f"/v5/{path}": most for most, paths in LIMITS.items() for path in paths.split()}
    assert set(expected) == {path for (_, path), endpoint in ENDPOINTS.items() if endpoint.private}
    async with served(rate_limits=True) as client:
        for (method, path), endpoint in ENDPOINTS.items():
            answer = await client.raw(method, path, "{}" if method == "POST" else urlencode(ALWAYS))
            if not endpoint.private:
                assert "X-Bapi-Limit" not in answer.headers, path
                continue
            assert answer.headers["X-Bapi-Limit"] == str(expected[path]), path
            assert answer.headers["X-Bapi-Limit-Status"] == str(expected[path] - 1), path
            assert int(answer.headers["X-Bapi-Limit-Reset-Timestamp"]) == client.wall(), path


async def test_play_money_comes_once_a_minute() -> None:
    async with served(rate_limits=True) as client:
        money = {"utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "1"}]}
        codes = []
        for seconds in (0, 59, 2):
            client.wall.now += seconds * 1000
            codes.append((await client.post("/v5/account/demo-apply-money", **money))["retCode"])
        assert codes == [0, 10006, 0]


@pytest.mark.parametrize(
    "path", ["/v5/order/history", "/v5/execution/list", "/v5/position/closed-pnl", "/v5/account/transaction-log"]
)
async def test_a_window_of_time_is_at_most_seven_days(path: str) -> None:
    async with served() as client:
        for end, code in ((7 * DAY_MS, 0), (7 * DAY_MS + 1, 10001), (-1, 10001)):
            answer = await client.get(path, category="linear", startTime=10, endTime=10 + end)
            assert answer["retCode"] == code, end


async def test_the_transaction_log_without_both_bounds_shows_a_day() -> None:
    async with served() as client:
        begun = client.exchange.now_ms
        path = "/v5/account/transaction-log"
        for window, count in (
            ({}, 1), ({"startTime": begun - DAY_MS}, 1), ({"startTime": begun - DAY_MS - 1}, 0),
            ({"endTime": begun + DAY_MS}, 1), ({"endTime": begun + DAY_MS + 1}, 0), ({"endTime": begun - 1}, 0),
        ):  # fmt: skip
            rows = (await client.get(path, **window))["result"]["list"]
            assert len(rows) == count, window
        for other in ({"transSubType": "x"}, {"currency": "BTC"}, {"category": "spot"}, {"type": "TRADE"}):
            assert (await client.get(path, **other))["result"]["list"] == []


async def orders_of_every_kind(client: Client) -> None:
    await client.order("Buy", "0.1", orderLinkId="filled")
    await client.order("Buy", "0.1", price="49000", orderLinkId="cancelled")
    await client.order("Buy", "0.1", triggerPrice="51000", triggerDirection=1, orderLinkId="waiting")
    for link in ("cancelled", "waiting"):
        await client.post("/v5/order/cancel", category="linear", symbol="BTCUSDT", orderLinkId=link)


@pytest.mark.parametrize(
    ("query", "links"),
    [
        ({}, {"filled", "cancelled", "waiting"}),
        ({"orderFilter": "Order"}, {"filled", "cancelled"}),
        ({"orderFilter": "StopOrder"}, {"waiting"}),
        ({"orderFilter": "OpenOrder"}, {"filled", "cancelled", "waiting"}),
        ({"orderFilter": "OcoOrder"}, set()),
        ({"orderStatus": "Cancelled"}, {"cancelled"}),
        ({"orderStatus": "Deactivated"}, {"waiting"}),
        ({"orderStatus": "Deactivated", "orderFilter": "Order"}, set()),
        ({"orderStatus": "Triggered"}, set()),
        ({"baseCoin": "BTC", "orderStatus": "Filled"}, {"filled"}),
        ({"settleCoin": "USDC"}, set()),
        ({"symbol": "BTCUSDT", "baseCoin": "ETH", "orderStatus": "Filled"}, {"filled"}),
        ({"orderLinkId": "cancelled", "orderStatus": "Filled"}, {"cancelled"}),
    ],
)
async def test_closed_orders_are_chosen_by_filter_state_and_symbol(query: Row, links: set[str]) -> None:
    async with served() as client:
        await orders_of_every_kind(client)
        assert {row["orderLinkId"] for row in await client.rows("/v5/order/history", **query)} == links
        recent = {name: value for name, value in query.items() if name != "orderStatus"}
        if recent == query and not {"settleCoin", "orderLinkId"} & set(query):
            shown = await client.rows("/v5/order/realtime", **{"symbol": "BTCUSDT", **query}, openOnly=1)
            assert {row["orderLinkId"] for row in shown} == links


async def test_instruments_and_risk_limits_are_paged_and_filtered() -> None:
    async with served() as client:
        path = "/v5/market/instruments-info"
        for more, count in (({"status": "Closed"}, 0), ({"status": "Trading"}, 1), ({"symbolType": "innovation"}, 0)):
            assert len((await client.get(path, category="linear", **more))["result"]["list"]) == count
        assert (await client.get(path, category="linear", status="Sleeping"))["retCode"] == 10001
        assert (await client.get("/v5/market/risk-limit", category="linear", cursor="1"))["result"]["list"] == []
        assert (await client.get("/v5/market/risk-limit", category="linear", cursor="x"))["retCode"] == 10001


async def test_other_categories_have_no_book_and_take_no_orders() -> None:
    async with served() as client:
        for category in ("spot", "inverse", "option"):
            book = (await client.get("/v5/market/orderbook", category=category, symbol="BTCUSDT"))["result"]
            assert (book["a"], book["b"]) == ([], [])
            body = json.dumps({**ALWAYS, "category": category, "side": "Buy", "orderType": "Market", "qty": "1"})
            assert (await (await client.raw("POST", "/v5/order/create", body)).json())["retCode"] == 10001


async def newest(client: Client) -> Row:
    """The most recent order, open or closed."""
    rows = await client.rows("/v5/order/realtime", symbol="BTCUSDT", limit=50)
    rows += await client.rows("/v5/order/history", limit=50)
    return max(rows, key=lambda row: (int(row["createdTime"]), row["orderLinkId"]))


@pytest.mark.parametrize(
    ("kind", "tolerance", "away"), [("TickSize", "20", Decimal(2)), ("Percent", "0.02", Decimal(10))]
)
async def test_a_market_order_trades_no_further_away_than_its_slippage_tolerance(
    kind: str, tolerance: str, away: Decimal
) -> None:
    async with served(rules=Rules(depth_usdt=Decimal(5_000))) as client:
        answer = await client.order("Buy", "5", slippageToleranceType=kind, slippageTolerance=tolerance)
        assert answer["retCode"] == 0
        row = await newest(client)
        assert (row["slippageToleranceType"], row["slippageTolerance"]) == (kind, tolerance)
        assert (row["orderStatus"], row["rejectReason"]) == ("Cancelled", "EC_CancelForNoFullFill")
        prices = [Decimal(fill["execPrice"]) for fill in await client.rows("/v5/execution/list")]
        assert 50_000 <= min(prices) <= max(prices) <= 50_000 + away


@pytest.mark.parametrize("side", ["Buy", "Sell"])
async def test_a_limit_order_may_take_its_price_from_the_book(side: str) -> None:
    async with served(rules=Rules(spread_ticks=4, depth_usdt=Decimal(50_000))) as client:
        book = (await client.get("/v5/market/orderbook", category="linear", symbol="BTCUSDT"))["result"]
        own, other = (book["b"], book["a"]) if side == "Buy" else (book["a"], book["b"])
        for number, (kind, level, expected, state) in enumerate(
            (("Queue", "3", own[2][0], "New"), ("Counterparty", "1", other[0][0], "Filled"))
        ):
            answer = await client.post(
                "/v5/order/create", category="linear", symbol="BTCUSDT", side=side, orderType="Limit", qty="0.001",
                bboSideType=kind, bboLevel=level, orderLinkId=f"{number}",
            )  # fmt: skip
            assert answer["retCode"] == 0, answer
            row = await newest(client)
            assert (row["price"], row["orderStatus"]) == (expected, state)


async def test_the_stops_of_an_order_wait_for_the_prices_they_name() -> None:
    async with served([(50_000,) * 4] * 4) as client:
        levels = {"takeProfit": "51000", "tpTriggerBy": "IndexPrice", "stopLoss": "49000", "slTriggerBy": "MarkPrice"}
        await client.order("Buy", "1", **levels)
        waiting = await client.rows("/v5/order/realtime", symbol="BTCUSDT")
        told = {row["stopOrderType"]: (row["triggerBy"], row["triggerDirection"], row["createType"]) for row in waiting}
        assert told == {
            "TakeProfit": ("IndexPrice", 1, "CreateByTakeProfit"),
            "StopLoss": ("MarkPrice", 2, "CreateByStopLoss"),
        }
        await client.sim("mark", symbol="BTCUSDT", price="48900")
        assert await client.rows("/v5/position/list", settleCoin="USDT") == []
        (exit_fill, _) = await client.rows("/v5/execution/list")
        assert (exit_fill["stopOrderType"], exit_fill["execPrice"]) == ("StopLoss", "50000")


async def test_partial_stops_of_an_order_may_be_limit_orders() -> None:
    async with served([(50_000, 50_000, 48_500, 48_800)] * 3) as client:
        stop = {"stopLoss": "49000", "slOrderType": "Limit", "slLimitPrice": "48900", "tpslMode": "Partial"}
        await client.order("Buy", "1", **stop)
        (waiting,) = await client.rows("/v5/order/realtime", symbol="BTCUSDT")
        assert (waiting["orderType"], waiting["price"], waiting["tpslMode"]) == ("Limit", "48900", "Partial")
        await client.advance(2)
        (exit_fill, _) = await client.rows("/v5/execution/list")
        assert (exit_fill["stopOrderType"], exit_fill["orderType"]) == ("PartialStopLoss", "Limit")
        assert Decimal(exit_fill["execPrice"]) >= Decimal(48_900)


async def test_an_order_that_closes_on_its_trigger_never_opens() -> None:
    async with served([(50_000, 50_000, 48_500, 48_800)] * 3) as client:
        await client.order("Buy", "0.3")
        closing = {"triggerPrice": "49000", "triggerDirection": 2, "closeOnTrigger": True, "reduceOnly": True}
        await client.order("Sell", "1", **closing)
        (waiting,) = await client.rows("/v5/order/realtime", symbol="BTCUSDT")
        assert (waiting["closeOnTrigger"], waiting["reduceOnly"], waiting["stopOrderType"]) == (True, True, "Stop")
        await client.advance(2)
        assert [row["execQty"] for row in await client.rows("/v5/execution/list")] == ["0.3", "0.3"]
        assert await client.rows("/v5/position/list", settleCoin="USDT") == []
