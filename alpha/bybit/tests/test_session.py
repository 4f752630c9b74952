"""A call when the exchange, the network or the clock misbehaves: retried, refused or unknown, never guessed."""

import asyncio
import socket
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from aiohttp import web

from alpha.bybit import errors
from alpha.bybit.client import Gateway, market_gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.orders import OrderRequest, StopRequest
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.bybit.signing import rest_signature
from alpha.clock import Clock
from alpha.errors import Misconfigured
from tests.support import bybit_samples
from tests.support.clocks import HandClock
from tests.support.faulty_exchange import (
    CREDENTIALS,
    FaultyExchange,
    code,
    dropped,
    faulty_exchange,
    gateway_to,
    ok,
    status,
    text,
)

POSITIONS = ok({"list": [bybit_samples.POSITION_REST], "nextPageCursor": ""})
ORDER = OrderRequest(
    symbol="BTCUSDT", side="Buy", qty=Decimal("0.01"), order_link_id="s-en-1", reference_price=Decimal(50_000)
)
RECEIPT = ok({"orderId": "o-1", "orderLinkId": "s-en-1"})


@pytest.fixture
async def exchange() -> AsyncIterator[FaultyExchange]:
    async with faulty_exchange() as running:
        yield running


@pytest.fixture
async def gateway(exchange: FaultyExchange) -> AsyncIterator[Gateway]:
    async with gateway_to(exchange) as made:
        yield made


async def test_a_read_is_signed_over_exactly_what_is_sent(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("position/list", POSITIONS)
    rows = await gateway.positions("BTCUSDT")
    assert [row.symbol for row in rows] == ["BTCUSDT"]
    request = exchange.seen[-1]
    assert request.headers["X-BAPI-SIGN"] == rest_signature(
        CREDENTIALS.key,
        CREDENTIALS.secret,
        int(request.headers["X-BAPI-TIMESTAMP"]),
        int(request.headers["X-BAPI-RECV-WINDOW"]),
        request.raw_query,
    )


async def test_a_cursor_is_passed_on_byte_by_byte(exchange: FaultyExchange, gateway: Gateway) -> None:
    cursor = "132766%3A2%2C132766%3A2"
    exchange.script(
        "position/closed-pnl",
        ok({"list": [bybit_samples.CLOSED_PNL], "nextPageCursor": cursor}),
        ok({"list": [bybit_samples.CLOSED_PNL], "nextPageCursor": ""}),
    )
    pages = [page async for page in gateway.closed_pnl(0, 1)]
    assert [len(page.rows) for page in pages] == [1, 1]
    assert f"cursor={cursor}" in exchange.seen[-1].raw_query


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(502, "<html>bad gateway</html>"),
        status(429),
        text("{not json"),
        text("[]"),
        text("null"),
        text('{"hello": 1}'),
        text('{"retCode": "0", "result": {}}'),
        text(""),
        dropped,
        code(10000, "Server Timeout"),
        code(10016, "Internal System Error."),
        code(10006, "Too many visits!"),
        code(10006, "Too many visits!", {"X-Bapi-Limit-Reset-Timestamp": "1700000000300"}),
        code(10006, "Too many visits!", {"X-Bapi-Limit-Reset-Timestamp": "1600000000000"}),
        code(10006, "Too many visits!", {"X-Bapi-Limit-Reset-Timestamp": "never"}),
        code(10002, "invalid request, please check your server timestamp"),
    ],
)
async def test_a_read_survives_a_passing_fault(exchange: FaultyExchange, gateway: Gateway, fault: object) -> None:
    assert callable(fault)
    exchange.script("position/list", fault, fault, POSITIONS)
    assert len(await gateway.positions()) == 1
    assert exchange.count("position/list") == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (status(500), errors.Busy),
        (text("garbage"), errors.Busy),
        (dropped, errors.Busy),
        (code(10006), errors.RateLimited),
        (code(10002), errors.ClockRefused),
    ],
)
async def test_a_fault_that_stays_ends_after_the_last_try(
    exchange: FaultyExchange, gateway: Gateway, fault: object, error: type[Exception]
) -> None:
    assert callable(fault)
    exchange.script("position/list", fault)
    with pytest.raises(error):
        await gateway.positions()
    assert exchange.count("position/list") == 3


async def test_a_server_that_never_answers_is_left_after_the_timeout(exchange: FaultyExchange) -> None:
    released = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    exchange.script("position/list", hang)
    async with gateway_to(exchange, tries=1, timeout_s=0.2) as gateway:
        with pytest.raises(errors.Busy, match="no answer in time"):
            await gateway.positions()
        released.set()


async def test_no_connection_is_a_passing_fault_even_for_an_order(exchange: FaultyExchange) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        exchange.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with gateway_to(exchange) as gateway:
            with pytest.raises(errors.Busy):
                await gateway.positions()
            with pytest.raises(errors.Busy):
                await gateway.create_order(ORDER)


@pytest.mark.parametrize("ret_code", [10003, 10004, 10005, 10010, 33004])
async def test_a_key_that_is_refused_is_for_the_operator(
    exchange: FaultyExchange, gateway: Gateway, ret_code: int
) -> None:
    exchange.script("position/list", code(ret_code))
    with pytest.raises(errors.KeyRefused) as caught:
        await gateway.positions()
    assert isinstance(caught.value, Misconfigured)
    assert caught.value.ret_code == ret_code
    assert exchange.count("position/list") == 1


async def test_a_403_stops_everything_until_the_ban_is_over(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("position/list", status(403), POSITIONS)
    with pytest.raises(errors.AddressBanned) as caught:
        await gateway.positions()
    assert caught.value.after_s == 600
    with pytest.raises(errors.AddressBanned):
        await gateway.create_order(ORDER)
    assert exchange.count("order/create") == 0
    exchange.clock.ms += 600_000
    assert len(await gateway.positions()) == 1


async def test_what_demo_does_not_have_is_a_gap(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("account/fee-rate", code(10032, "Demo trading are not supported."))
    with pytest.raises(errors.NotSupported):
        await gateway.fee_rates()


@pytest.mark.parametrize(
    "fault", [status(500), status(504), text("garbage"), dropped, code(10000), code(10016), code(429)]
)
async def test_an_order_whose_answer_is_doubtful_is_unknown_and_not_sent_again(
    exchange: FaultyExchange, gateway: Gateway, fault: object
) -> None:
    assert callable(fault)
    exchange.script("order/create", fault)
    with pytest.raises(errors.WriteUnknown):
        await gateway.create_order(ORDER)
    assert exchange.count("order/create") == 1


@pytest.mark.parametrize("fault", [code(10006), code(10002), code(110079), status(429)])
async def test_an_order_that_surely_did_not_happen_is_sent_again_under_the_same_id(
    exchange: FaultyExchange, gateway: Gateway, fault: object
) -> None:
    assert callable(fault)
    exchange.script("order/create", fault, RECEIPT)
    assert (await gateway.create_order(ORDER)).order_id == "o-1"
    assert [request.body["orderLinkId"] for request in exchange.seen if request.path == "order/create"] == [
        "s-en-1"
    ] * 2


@pytest.mark.parametrize(
    ("ret_code", "error"),
    [
        (110007, errors.Refused),
        (10001, errors.Refused),
        (110017, errors.NothingToClose),
        (110072, errors.DuplicateOrder),
    ],
)
async def test_a_refused_order_is_refused_once(
    exchange: FaultyExchange, gateway: Gateway, ret_code: int, error: type[errors.Refused]
) -> None:
    exchange.script("order/create", code(ret_code))
    with pytest.raises(error) as caught:
        await gateway.create_order(ORDER)
    assert caught.value.ret_code == ret_code
    assert exchange.count("order/create") == 1


@pytest.mark.parametrize("ret_code", [110043, 34040, 110025])
async def test_not_modified_is_success(exchange: FaultyExchange, gateway: Gateway, ret_code: int) -> None:
    for path in ("position/set-leverage", "position/trading-stop", "position/switch-mode"):
        exchange.script(path, code(ret_code))
    await gateway.set_leverage("BTCUSDT", Decimal(5))
    await gateway.set_trading_stop(StopRequest(symbol="BTCUSDT", stop_loss=Decimal(49_000)))
    await gateway.switch_to_one_way()


async def test_a_stop_is_set_again_after_a_lost_answer_because_a_repeat_does_nothing_new(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    exchange.script("position/trading-stop", dropped, status(502), code(34040))
    await gateway.set_trading_stop(StopRequest(symbol="BTCUSDT", stop_loss=Decimal(49_000)))
    assert exchange.count("position/trading-stop") == 3


async def test_a_stop_without_any_answer_is_unknown(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("position/trading-stop", dropped)
    with pytest.raises(errors.WriteUnknown):
        await gateway.set_trading_stop(StopRequest(symbol="BTCUSDT", stop_loss=Decimal(49_000)))


async def test_cancelling_what_is_gone_says_so(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("order/cancel", RECEIPT, code(110001))
    assert await gateway.cancel("BTCUSDT", link_id="s-en-1")
    assert not await gateway.cancel("BTCUSDT", link_id="s-en-1")


async def test_requests_are_signed_with_the_exchange_clock(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.skew_ms = -5_000
    exchange.script("position/list", POSITIONS)
    await gateway.positions()
    assert gateway.skew_ms == -5_000
    assert int(exchange.seen[-1].headers["X-BAPI-TIMESTAMP"]) == exchange.clock.ms - 5_000


async def test_a_refused_timestamp_sets_the_clock_by_the_refusal_itself(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    await gateway.sync_clock()
    now = exchange.clock.ms
    refusal = f"invalid request, req_timestamp[{now}],server_timestamp[{now + 6_000}],recv_window[5000]"
    exchange.script("position/list", code(10002, refusal), POSITIONS)
    await gateway.positions()
    assert gateway.skew_ms == 6_000
    sent = [int(seen.headers["X-BAPI-TIMESTAMP"]) for seen in exchange.seen if seen.path == "position/list"]
    assert sent[1] - exchange.clock.ms == 6_000


async def test_several_refused_timestamps_at_once_do_not_add_up(exchange: FaultyExchange, gateway: Gateway) -> None:
    await gateway.sync_clock()
    now = exchange.clock.ms
    refusal = code(10002, f"invalid request, req_timestamp[{now}],server_timestamp[{now + 6_000}],recv_window[5000]")
    exchange.script("position/list", refusal, refusal, refusal, POSITIONS)
    exchange.script("market/time", dropped)
    await asyncio.gather(*(gateway.positions() for _ in range(3)))
    assert gateway.skew_ms is not None
    assert 5_000 <= gateway.skew_ms <= 6_000


async def test_business_time_far_from_the_wall_clock_is_no_skew(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.skew_ms = 400 * 24 * 3_600_000
    exchange.script("position/list", POSITIONS)
    await gateway.positions()
    assert gateway.skew_ms == 0
    assert int(exchange.seen[-1].headers["X-BAPI-TIMESTAMP"]) == exchange.clock.ms
    assert gateway.business.now_ms() >= exchange.clock.ms + exchange.skew_ms


async def test_a_gateway_without_a_guard_changes_nothing(exchange: FaultyExchange) -> None:
    clock = exchange.clock
    hosts = simulated_hosts(exchange.url, exchange.url.replace("http", "ws"))
    throttle = RateLimiter(None, clock=Clock(wall_ms=clock.now_ms, sleep=clock.sleep))
    async with Gateway(
        hosts,
        CREDENTIALS,
        throttle,
        account="bot",
        clock=Clock(wall_ms=clock.now_ms, boottime_ms=clock.now_ms, sleep=clock.sleep),
    ) as reader:
        with pytest.raises(Misconfigured):
            await reader.create_order(ORDER)
        with pytest.raises(Misconfigured):
            await reader.set_leverage("BTCUSDT", Decimal(1))
    assert exchange.seen == []


async def test_a_gateway_without_a_key_reads_the_market_alone(exchange: FaultyExchange) -> None:
    exchange.script("market/tickers", ok({"list": [bybit_samples.TICKER]}))
    clock = HandClock()
    throttle = RateLimiter(None, clock=Clock(wall_ms=clock.now_ms, sleep=clock.sleep))
    async with market_gateway(simulated_hosts(exchange.url, exchange.url.replace("http", "ws")), throttle) as market:
        assert (await market.tickers())["BTCUSDT"].mark == Decimal("16596.00")
        with pytest.raises(Misconfigured, match="key"):
            await market.wallet()


async def test_half_a_list_of_positions_is_an_error(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("position/list", ok({"list": [bybit_samples.POSITION_REST, {"symbol": "ETHUSDT"}]}))
    with pytest.raises(errors.UnreadableRow):
        await gateway.positions()


async def test_candles_come_oldest_first_and_only_the_last_may_be_open(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    rows = [[str(1_700_000_040_000 + minute * 60_000), "1", "2", "1", "2", "3", "4"] for minute in (2, 1, 0)]
    exchange.script("market/kline", ok({"list": rows}, time_ms=1_700_000_200_000))
    candles = await gateway.kline("BTCUSDT", "1")
    assert [candle.closed for candle in candles] == [True, True, False]
    assert [candle.start_ms for candle in candles] == sorted(candle.start_ms for candle in candles)


async def test_an_open_candle_stays_open_whatever_time_another_answer_has_shown(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    rows = [["1700000040000", "1", "2", "1", "2", "3", "4"]]
    exchange.script("market/kline", ok({"list": rows}, time_ms=1_700_000_099_999))
    exchange.script("market/tickers", ok({"list": [bybit_samples.TICKER]}, time_ms=1_700_000_200_000))
    await gateway.tickers()
    (candle,) = await gateway.kline("BTCUSDT", "1")
    assert not candle.closed


def test_credentials_do_not_show_themselves() -> None:
    shown = f"{Credentials('a-key', 'a-secret')!r} {Credentials('a-key', 'a-secret')}"
    assert "a-key" not in shown
    assert "a-secret" not in shown
