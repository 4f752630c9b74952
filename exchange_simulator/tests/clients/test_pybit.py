"""Bybit's own Python client trades on the simulated exchange; only its URLs are changed."""

import itertools
import queue
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from pybit import _http_manager, unified_trading
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket

from exchange_simulator.tests.clients.process import KEY, SECRET, Simulator
from tests.support.world import patience

Row = dict[str, Any]
SYMBOL = "BTCUSDT"
LINEAR = {"category": "linear", "symbol": SYMBOL}
_numbers = itertools.count(1)


def fresh_id() -> str:
    """An orderLinkId not used by any other test of this run."""
    return f"pybit-{next(_numbers)}"


@pytest.fixture(scope="module")
def session(simulator: Simulator) -> Iterator[HTTP]:
    client = HTTP(api_key=KEY, api_secret=SECRET)
    client.endpoint = simulator.rest_url
    with pytest.MonkeyPatch.context() as patched:
        # Above the limit pybit sleeps until the time that the answer names; on a busy machine that has passed before it gets
        # there, and time.sleep refuses what is negative. The gateway's own HTTP never sleeps in pybit.
        patched.setattr(_http_manager, "time", SimpleNamespace(sleep=lambda wait_s: time.sleep(max(wait_s, 0))))
        client.set_leverage(**LINEAR, buyLeverage="5", sellLeverage="5")
        yield client


@pytest.fixture(autouse=True)
def flat(session: HTTP) -> Iterator[None]:
    yield
    session.cancel_all_orders(**LINEAR)
    for position in position_rows(session):
        if Decimal(position["size"]):
            side = "Sell" if position["side"] == "Buy" else "Buy"
            session.place_order(**LINEAR, side=side, orderType="Market", qty=position["size"], reduceOnly=True)


@pytest.fixture
def streams(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], WebSocket]]:
    """Creates connections of pybit's own class; pybit keeps its URLs in two module globals."""
    monkeypatch.setattr(unified_trading, "PRIVATE_WSS", f"{simulator.ws_url}/v5/private")
    monkeypatch.setattr(unified_trading, "PUBLIC_WSS", simulator.ws_url + "/v5/public/{CHANNEL_TYPE}")
    opened: list[WebSocket] = []

    def connect(channel: str) -> WebSocket:
        keys = {"api_key": KEY, "api_secret": SECRET, "private_auth_expire": 10} if channel == "private" else {}
        opened.append(WebSocket(testnet=False, channel_type=channel, **keys))
        return opened[-1]

    yield connect
    for stream in opened:
        stream.exit()


def price_of(session: HTTP) -> Decimal:
    return Decimal(session.get_tickers(**LINEAR)["result"]["list"][0]["lastPrice"])


def near(price: Decimal, share: str) -> str:
    """A price some fraction away, on the tick."""
    return str((price * Decimal(share)).quantize(Decimal("0.1")))


def position_rows(session: HTTP) -> list[Row]:
    rows: list[Row] = session.get_positions(**LINEAR)["result"]["list"]
    return rows


def order_of(session: HTTP, link_id: str) -> Row:
    row: Row = session.get_open_orders(**LINEAR, orderLinkId=link_id)["result"]["list"][0]
    return row


def until(pushes: "queue.Queue[Row]", wanted: Callable[[Row], bool], seconds: float = 20) -> Row:
    """The first matching row; fails when none arrives."""
    deadline = time.monotonic() + seconds * patience()
    while (left := deadline - time.monotonic()) > 0:
        try:
            row = pushes.get(timeout=left)
        except queue.Empty:
            break
        if wanted(row):
            return row
    raise AssertionError("the awaited push did not come")


def heard(pushes: "queue.Queue[Row]", seconds: float) -> bool:
    """Whether anything arrives in time."""
    try:
        pushes.get(timeout=seconds)
    except queue.Empty:
        return False
    return True


def rows_into(pushes: "queue.Queue[Row]") -> Callable[[Row], None]:
    """A callback that collects the rows of a message."""

    def take(message: Row) -> None:
        data = message["data"]
        for each in data if isinstance(data, list) else [data]:
            pushes.put(each)

    return take


# --- REST -------------------------------------------------------------------------------------------------------------


def test_market_data_is_read(session: HTTP) -> None:
    assert int(session.get_server_time()["result"]["timeSecond"]) > 1_500_000_000
    instrument = session.get_instruments_info(**LINEAR)["result"]["list"][0]
    assert instrument["priceFilter"]["tickSize"] == "0.1"
    candles = session.get_kline(**LINEAR, interval="5", limit=50)["result"]["list"]
    starts = [int(candle[0]) for candle in candles]
    assert len(starts) == 50
    assert starts == sorted(starts, reverse=True)
    book = session.get_orderbook(**LINEAR, limit=5)["result"]
    assert Decimal(book["b"][0][0]) < Decimal(book["a"][0][0])
    for rows in (
        session.get_mark_price_kline(**LINEAR, interval="60", limit=5),
        session.get_index_price_kline(**LINEAR, interval="60", limit=5),
        session.get_premium_index_price_kline(**LINEAR, interval="60", limit=5),
        session.get_funding_rate_history(**LINEAR, limit=5),
        session.get_open_interest(**LINEAR, intervalTime="1h", limit=5),
        session.get_risk_limit(**LINEAR),
        session.get_public_trade_history(**LINEAR, limit=5),
    ):
        assert rows["result"]["list"]
    assert Decimal(session.get_price_limit(**LINEAR)["result"]["buyLmt"]) > price_of(session)


def test_the_account_is_read(session: HTTP) -> None:
    coin = session.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"][0]
    assert coin["coin"] == "USDT"
    assert Decimal(coin["equity"]) > 0
    key = session.get_api_key_information()["result"]
    assert key["readOnly"] == 0
    assert "Withdraw" not in key["permissions"]["Wallet"]
    assert session.get_account_info()["result"]["marginMode"] == "REGULAR_MARGIN"
    assert Decimal(session.get_fee_rates(**LINEAR)["result"]["list"][0]["takerFeeRate"]) == Decimal("0.00055")


def test_leverage_is_set_and_setting_it_again_is_said_so(session: HTTP) -> None:
    session.set_leverage(**LINEAR, buyLeverage="6", sellLeverage="6")
    assert position_rows(session)[0]["leverage"] == "6"
    with pytest.raises(InvalidRequestError) as caught:
        session.set_leverage(**LINEAR, buyLeverage="6", sellLeverage="6")
    assert caught.value.status_code == 110043
    session.set_leverage(**LINEAR, buyLeverage="5", sellLeverage="5")


def test_a_limit_order_rests_is_amended_and_cancelled(session: HTTP) -> None:
    price, link = price_of(session), fresh_id()
    made = session.place_order(
        **LINEAR, side="Buy", orderType="Limit", qty="0.01", price=near(price, "0.97"), orderLinkId=link
    )["result"]
    assert made["orderLinkId"] == link
    assert order_of(session, link)["orderStatus"] == "New"
    session.amend_order(**LINEAR, orderId=made["orderId"], qty="0.02", price=near(price, "0.96"))
    amended = order_of(session, link)
    assert (amended["qty"], Decimal(amended["price"])) == ("0.02", Decimal(near(price, "0.96")))
    session.cancel_order(**LINEAR, orderLinkId=link)
    history = session.get_order_history(**LINEAR, orderId=made["orderId"])["result"]["list"]
    assert [row["orderStatus"] for row in history] == ["Cancelled"]


def test_cancel_all_takes_every_resting_order(session: HTTP) -> None:
    price = price_of(session)
    links = {fresh_id() for _ in range(3)}
    for link in links:
        session.place_order(
            **LINEAR, side="Buy", orderType="Limit", qty="0.01", price=near(price, "0.96"), orderLinkId=link
        )
    cancelled = session.cancel_all_orders(**LINEAR)["result"]["list"]
    assert {row["orderLinkId"] for row in cancelled} == links
    assert session.get_open_orders(**LINEAR)["result"]["list"] == []


def test_a_market_order_makes_a_position_with_stops_and_closing_it_leaves_its_profit(session: HTTP) -> None:
    before = Decimal(session.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"][0]["walletBalance"])
    opening = session.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.02", orderLinkId=fresh_id())
    position = position_rows(session)[0]
    assert (position["side"], position["size"]) == ("Buy", "0.02")
    entry = Decimal(position["avgPrice"])
    session.set_trading_stop(
        **LINEAR, tpslMode="Full", positionIdx=0, stopLoss=near(entry, "0.9"), takeProfit=near(entry, "1.2")
    )
    position = position_rows(session)[0]
    assert Decimal(position["stopLoss"]) == Decimal(near(entry, "0.9"))
    assert Decimal(position["takeProfit"]) == Decimal(near(entry, "1.2"))
    stops = session.get_open_orders(**LINEAR)["result"]["list"]
    assert {row["stopOrderType"] for row in stops} == {"TakeProfit", "StopLoss"}

    closing = session.place_order(
        **LINEAR, side="Sell", orderType="Market", qty="0.02", reduceOnly=True, orderLinkId=fresh_id()
    )
    assert position_rows(session)[0]["size"] == "0"
    assert session.get_open_orders(**LINEAR)["result"]["list"] == [], "stops go with the position"
    fills = {
        name: session.get_executions(**LINEAR, orderId=order["result"]["orderId"])["result"]["list"]
        for name, order in (("open", opening), ("close", closing))
    }
    (closed,) = [
        row
        for row in session.get_closed_pnl(**LINEAR)["result"]["list"]
        if row["orderId"] == closing["result"]["orderId"]
    ]
    gross = sum((Decimal(fill["execValue"]) for fill in fills["close"]), Decimal(0)) - sum(
        (Decimal(fill["execValue"]) for fill in fills["open"]), Decimal(0)
    )
    fees = sum((Decimal(fill["execFee"]) for rows in fills.values() for fill in rows), Decimal(0))
    assert closed["side"] == "Sell"
    after = Decimal(session.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"][0]["walletBalance"])
    funding = after - before - (gross - fees)
    assert abs(Decimal(closed["closedPnl"]) - (gross - fees + funding)) < Decimal("1e-7")
    assert abs(funding) < Decimal(1), "nothing but funding may stand between fills and balance"


def test_a_conditional_order_waits_for_its_price(session: HTTP) -> None:
    price, link = price_of(session), fresh_id()
    session.place_order(
        **LINEAR,
        side="Buy",
        orderType="Market",
        qty="0.01",
        triggerPrice=near(price, "1.05"),
        triggerDirection=1,
        orderLinkId=link,
    )
    waiting = order_of(session, link)
    assert (waiting["orderStatus"], waiting["stopOrderType"]) == ("Untriggered", "Stop")
    session.cancel_order(**LINEAR, orderLinkId=link)
    assert order_of(session, link)["orderStatus"] == "Deactivated"


def test_a_stop_loss_closes_the_position_when_the_price_comes_to_it(
    session: HTTP, streams: Callable[[str], WebSocket]
) -> None:
    # A stop above the price and one below it, each so close that one of the two must soon trigger.
    pushes: queue.Queue[Row] = queue.Queue()
    streams("private").execution_stream(rows_into(pushes))
    session.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.01", orderLinkId=fresh_id())
    price = price_of(session)
    session.set_trading_stop(
        **LINEAR, tpslMode="Full", positionIdx=0, stopLoss=near(price, "0.9995"), takeProfit=near(price, "1.0005")
    )
    fill = until(pushes, lambda row: row["stopOrderType"] in ("StopLoss", "TakeProfit"), seconds=60)
    assert (fill["side"], fill["closedSize"], fill["orderLinkId"]) == ("Sell", "0.01", "")
    assert fill["createType"] == f"CreateBy{fill['stopOrderType']}"
    assert position_rows(session)[0]["size"] == "0"
    left = session.get_open_orders(**LINEAR)["result"]["list"]
    assert left == [], "the other stop goes with the position"
    assert session.get_closed_pnl(**LINEAR)["result"]["list"][0]["orderId"] == fill["orderId"]


def test_a_trailing_stop_is_set_shown_and_cleared(session: HTTP) -> None:
    session.place_order(**LINEAR, side="Sell", orderType="Market", qty="0.01")
    price = price_of(session)
    stop = {**LINEAR, "tpslMode": "Full", "positionIdx": 0}
    session.set_trading_stop(**stop, trailingStop="1500", activePrice=near(price, "0.9"))
    assert Decimal(position_rows(session)[0]["trailingStop"]) == 1500
    (waiting,) = session.get_open_orders(**LINEAR)["result"]["list"]
    assert (waiting["stopOrderType"], waiting["orderStatus"]) == ("TrailingStop", "Untriggered")
    session.set_trading_stop(**stop, trailingStop="0")
    assert Decimal(position_rows(session)[0]["trailingStop"] or "0") == 0
    assert session.get_open_orders(**LINEAR)["result"]["list"] == []


def test_a_batch_answers_for_each_order(session: HTTP) -> None:
    price = price_of(session)
    order = {"symbol": SYMBOL, "side": "Buy", "orderType": "Limit", "price": near(price, "0.97")}
    links = [fresh_id(), fresh_id()]
    made = session.place_batch_order(
        category="linear",
        request=[
            {**order, "qty": "0.01", "orderLinkId": links[0]},
            {**order, "qty": "0.0001", "orderLinkId": links[1]},
        ],
    )
    assert [row["code"] for row in made["retExtInfo"]["list"]] == [0, 10001]
    assert [row["orderLinkId"] for row in session.get_open_orders(**LINEAR)["result"]["list"]] == links[:1]
    session.cancel_batch_order(category="linear", request=[{"symbol": SYMBOL, "orderLinkId": links[0]}])
    assert session.get_open_orders(**LINEAR)["result"]["list"] == []


def test_refusals_carry_bybits_codes(session: HTTP) -> None:
    price, link = price_of(session), fresh_id()
    resting = {**LINEAR, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": near(price, "0.97")}
    session.place_order(**resting, orderLinkId=link)
    attempts: list[tuple[int, dict[str, Any]]] = [
        (110072, {**resting, "orderLinkId": link}),
        (110017, {**LINEAR, "side": "Sell", "orderType": "Market", "qty": "0.01", "reduceOnly": True}),
        (110094, {**resting, "qty": "0.001", "price": "10"}),
        (10001, {**resting, "qty": "0.0015"}),
        (10001, {**resting, "orderLinkId": "x" * 37}),
    ]
    seen = []
    for _, attempt in attempts:
        with pytest.raises(InvalidRequestError) as caught:
            session.place_order(**attempt)
        seen.append(caught.value.status_code)
    assert seen == [code for code, _ in attempts]
    with pytest.raises(InvalidRequestError) as caught:
        session.cancel_order(**LINEAR, orderLinkId="never-made")
    assert caught.value.status_code == 110001


def test_wrong_keys_are_refused_with_bybits_codes(simulator: Simulator) -> None:
    for key, secret, code in ((KEY, "another-secret", 10004), ("no-such-key", SECRET, 10003)):
        stranger = HTTP(api_key=key, api_secret=secret)
        stranger.endpoint = simulator.rest_url
        with pytest.raises((InvalidRequestError, FailedRequestError)) as caught:
            stranger.get_wallet_balance(accountType="UNIFIED")
        assert caught.value.status_code == code


def test_history_is_paged_with_the_cursor(session: HTTP) -> None:
    for _ in range(3):
        session.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.001")
        session.place_order(**LINEAR, side="Sell", orderType="Market", qty="0.001", reduceOnly=True)
    whole = session.get_executions(**LINEAR, limit=100)["result"]["list"]
    limit = max(2, len(whole) // 4)
    paged: list[Row] = []
    cursor = ""
    while len(paged) < len(whole):
        page = session.get_executions(**LINEAR, limit=limit, cursor=cursor)["result"]
        paged += page["list"]
        cursor = page["nextPageCursor"]
        if not cursor or not page["list"]:
            break
    assert len(whole) >= 6
    assert [row["execId"] for row in paged[: len(whole)]] == [row["execId"] for row in whole]
    assert len({row["execId"] for row in paged}) == len(paged)


# --- streams ----------------------------------------------------------------------------------------------------------


def test_private_streams_tell_an_order_from_acceptance_to_the_wallet(
    session: HTTP, streams: Callable[[str], WebSocket]
) -> None:
    stream = streams("private")
    pushes: dict[str, queue.Queue[Row]] = {name: queue.Queue() for name in ("order", "execution", "position", "wallet")}
    stream.order_stream(rows_into(pushes["order"]))
    stream.execution_stream(rows_into(pushes["execution"]))
    stream.position_stream(rows_into(pushes["position"]))
    stream.wallet_stream(rows_into(pushes["wallet"]))
    for _ in range(20):  # pybit does not report when a subscription is acknowledged: the wallet's was sent last
        session.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.001")
        if heard(pushes["wallet"], 1):
            break
    link = fresh_id()
    session.place_order(**LINEAR, side="Buy", orderType="Market", qty="0.01", orderLinkId=link)
    fill = until(pushes["execution"], lambda row: row["orderLinkId"] == link)
    assert (fill["execType"], fill["execQty"], fill["category"]) == ("Trade", "0.01", "linear")
    assert until(pushes["order"], lambda row: row["orderLinkId"] == link and row["orderStatus"] == "Filled")
    held = position_rows(session)[0]
    position = until(pushes["position"], lambda row: row["size"] == held["size"])
    assert (position["side"], position["entryPrice"]) == ("Buy", held["avgPrice"])
    assert Decimal(until(pushes["wallet"], lambda row: True)["totalEquity"]) > 0


def test_public_streams_bring_candles_tickers_trades_and_the_book(streams: Callable[[str], WebSocket]) -> None:
    stream = streams("linear")
    pushes: dict[str, queue.Queue[Row]] = {name: queue.Queue() for name in ("kline", "ticker", "trade", "book")}
    stream.kline_stream(1, SYMBOL, rows_into(pushes["kline"]))
    stream.ticker_stream(SYMBOL, rows_into(pushes["ticker"]))
    stream.trade_stream(SYMBOL, rows_into(pushes["trade"]))
    stream.orderbook_stream(50, SYMBOL, rows_into(pushes["book"]))
    candle = until(pushes["kline"], lambda row: bool(row["confirm"]))
    assert candle["end"] - candle["start"] == 59_999
    assert Decimal(candle["low"]) <= Decimal(candle["close"]) <= Decimal(candle["high"])
    ticker = until(pushes["ticker"], lambda row: True)
    assert Decimal(ticker["lastPrice"]) > 0
    trade = until(pushes["trade"], lambda row: row["s"] == SYMBOL)
    assert trade["S"] in ("Buy", "Sell")
    assert until(pushes["book"], lambda row: bool(row["b"]) and bool(row["a"]))


def test_many_subscriptions_are_answered_when_pybit_is_ready_for_the_answer(
    streams: Callable[[str], WebSocket],
) -> None:
    # pybit registers a subscription only after sending it: an immediate acknowledgement kills its reader thread.
    stream = streams("linear")
    pushes: queue.Queue[Row] = queue.Queue()
    topics = [(interval, symbol) for interval in (1, 5, 15, 60) for symbol in ("ETHUSDT", "SOLUSDT", "XRPUSDT")]
    for interval, symbol in topics:
        stream.kline_stream(interval, symbol, rows_into(pushes))
    waiting = {str(interval) for interval, _ in topics}
    while waiting:
        waiting.discard(until(pushes, lambda row: row["interval"] in waiting)["interval"])
    assert stream.is_connected()
