"""Account calls: balances, fees, leverage, key permissions."""

import pytest

from exchange_simulator.engine.model import Rules
from exchange_simulator.tests.server.served import KEY, SECRET, Client, Row, served

WALLET = "/v5/account/wallet-balance"


async def wallet(client: Client) -> Row:
    return dict((await client.get(WALLET, accountType="UNIFIED"))["result"]["list"][0])


async def test_play_money_is_added_and_taken_and_shows_as_a_transfer() -> None:
    async with served() as client, client.stream("wallet") as stream:
        for adjust, amount in ((0, "2500.5"), (1, "500.5")):
            money = [{"coin": "USDT", "amountStr": amount}]
            answer = await client.post("/v5/account/demo-apply-money", adjustType=adjust, utaDemoApplyMoney=money)
            assert answer["retCode"] == 0
        assert (await wallet(client))["totalWalletBalance"] == "102000"
        lines = await client.rows("/v5/account/transaction-log", category="")
        assert [(line["type"], line["change"]) for line in lines[:2]] == [
            ("TRANSFER_OUT", "-500.5"),
            ("TRANSFER_IN", "2500.5"),
        ]
        assert [push["data"][0]["totalWalletBalance"] for push in await stream.pushes()] == ["102500.5", "102000"]


@pytest.mark.parametrize(
    "money", [[], [{"coin": "DOGE", "amountStr": "1"}], [{"coin": "USDT", "amountStr": "100001"}], [{"coin": "USDT"}]]
)
async def test_play_money_beyond_the_caps_is_refused(money: list[Row]) -> None:
    async with served() as client:
        answer = await client.post("/v5/account/demo-apply-money", utaDemoApplyMoney=money)
        assert answer["retCode"] == 10001
        assert (await wallet(client))["totalWalletBalance"] == "100000"


async def test_money_that_backs_a_position_cannot_be_taken_out() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}:6000",)) as client:
        await client.order("Buy", "1")
        money = [{"coin": "USDT", "amountStr": "2000"}]
        answer = await client.post("/v5/account/demo-apply-money", adjustType=1, utaDemoApplyMoney=money)
        assert answer["retCode"] == 110004


async def test_the_wallet_splits_equity_into_margin_and_what_is_available() -> None:
    async with served() as client:
        await client.order("Buy", "1")
        await client.order("Buy", "0.1", price="49000")
        await client.advance()
        row = await wallet(client)
        (coin,) = row["coin"]
        assert (row["totalEquity"], coin["unrealisedPnl"], coin["walletBalance"]) == ("99872.5", "-100", "99972.5")
        assert coin["totalPositionIM"] == str(4990 + 27.445)
        assert coin["totalOrderIM"] == "495.39"
        assert float(row["totalAvailableBalance"]) == pytest.approx(99872.5 - 5017.445 - 495.39)


async def test_fees_are_those_the_exchange_was_set_up_with() -> None:
    async with served(rules=Rules(taker_fee=Rules().maker_fee)) as client:
        (row,) = (await client.get("/v5/account/fee-rate", category="linear", symbol="BTCUSDT"))["result"]["list"]
        assert (row["takerFeeRate"], row["makerFeeRate"]) == ("0.0002", "0.0002")
        await client.order("Buy", "1")
        assert (await client.rows("/v5/execution/list"))[0]["execFee"] == "10"


async def test_leverage_is_set_shown_and_not_modified_twice() -> None:
    async with served() as client:
        body = {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "5"}
        codes = [(await client.post("/v5/position/set-leverage", **body))["retCode"] for _ in range(2)]
        assert codes == [0, 110043]
        (row,) = (await client.get("/v5/position/list", category="linear", symbol="BTCUSDT"))["result"]["list"]
        assert (row["leverage"], row["size"], row["side"], row["seq"]) == ("5", "0", "", -1)
        uneven = await client.post("/v5/position/set-leverage", **{**body, "sellLeverage": "6"})
        assert uneven["retCode"] == 10001


async def test_a_key_shows_what_it_may_do() -> None:
    async with served(accounts=(f"{KEY}:{SECRET}", "rich:s::withdraw", "poor:s::no-trade")) as client:
        shown = [
            (await client.with_key(name, secret).get("/v5/user/query-api"))["result"]["permissions"]
            for name, secret in ((KEY, SECRET), ("rich", "s"), ("poor", "s"))
        ]
        assert shown[0]["ContractTrade"] == ["Order", "Position"]
        assert shown[0]["Derivatives"] == ["DerivativesTrade"]
        assert [permissions["Wallet"] for permissions in shown] == [[], ["Withdraw"], []]
        assert shown[2]["ContractTrade"] == []


async def test_trading_stop_over_rest_sets_shows_and_clears() -> None:
    async with served() as client:
        await client.order("Buy", "1")
        body = {"category": "linear", "symbol": "BTCUSDT", "tpslMode": "Full", "positionIdx": 0}
        stop = {**body, "stopLoss": "49000", "trailingStop": "300", "activePrice": "51000"}
        assert (await client.post("/v5/position/trading-stop", **stop))["retCode"] == 0
        assert (await client.post("/v5/position/trading-stop", **stop))["retCode"] == 34040
        (row,) = (await client.get("/v5/position/list", category="linear", symbol="BTCUSDT"))["result"]["list"]
        assert (row["stopLoss"], row["trailingStop"]) == ("49000", "300")
        orders = await client.rows("/v5/order/realtime", symbol="BTCUSDT", orderFilter="StopOrder")
        assert {order["stopOrderType"] for order in orders} == {"StopLoss", "TrailingStop"}
        assert (await client.post("/v5/position/trading-stop", **body, stopLoss="0", trailingStop="0"))["retCode"] == 0
        assert await client.rows("/v5/order/realtime", symbol="BTCUSDT") == []


async def test_cancel_all_takes_what_its_filter_names() -> None:
    async with served() as client:
        await client.order("Buy", "0.1", price="49000")
        await client.order("Buy", "0.1", triggerPrice="51000", triggerDirection=1)

        async def cancel(**more: object) -> int:
            answer = await client.post("/v5/order/cancel-all", category="linear", **more)
            return len(answer["result"]["list"]) if answer["retCode"] == 0 else -answer["retCode"]

        assert await cancel() == -10001
        assert await cancel(settleCoin="USDT", orderFilter="StopOrder", stopOrderType="TakeProfit") == 0
        assert await cancel(symbol="BTCUSDT", orderFilter="StopOrder") == 1
        assert await cancel(baseCoin="BTC") == 1
        assert await cancel(settleCoin="USDT") == 0
