"""Which requests an account's lease admits, and with which receive window."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from aiohttp import web

from alpha.bybit import errors
from alpha.bybit.client import Gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.orders import OrderRequest, StopRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.bybit.transport import WRITE_THREADS
from alpha.clock import Clock
from alpha.errors import Retry
from alpha.lease import CLOCK_ERROR_MS, Grant, Lease, LeaseLost, LeaseNotHeld
from tests.support.clocks import HandClock
from tests.support.faulty_exchange import FaultyExchange, code, dropped, faulty_exchange, gateway_to, ok

CREATE = "order/create"
RECEIPT = ok({"orderId": "1", "orderLinkId": "s-en-1"})
NO_ORDER = ok({"list": [], "nextPageCursor": ""})


@dataclass
class Row:
    """A lease row in the state the test sets: held, taken by another process, or PostgreSQL unavailable."""

    taken: bool = False
    away: bool = False
    handed_over: bool = True
    renewals: int = 0

    async def acquire(self, holder: str, seconds: float) -> Grant | None:
        """Grant the lease."""
        return Grant(1, self.handed_over)

    async def renew(self, holder: str, token: int, seconds: float) -> bool:
        """Answer as the test has set."""
        self.renewals += 1
        if self.away:
            raise Retry("PostgreSQL is away.")
        return not self.taken

    async def release(self, holder: str, token: int) -> None:
        """Do nothing."""

    async def holder(self) -> str:
        """Nobody."""
        return "nobody"


def order(*, reduce_only: bool = False) -> OrderRequest:
    return OrderRequest(
        symbol="BTCUSDT",
        side="Sell",
        qty=Decimal("0.1"),
        order_link_id="s-en-1",
        reference_price=Decimal(50_000),
        reduce_only=reduce_only,
    )


@dataclass
class Fenced:
    """A gateway under a lease of ten seconds; the test advances the time."""

    exchange: FaultyExchange
    gateway: Gateway
    lease: Lease
    row: Row

    def window_ms(self) -> int:
        """The receive window of the last request."""
        return int(self.exchange.seen[-1].headers["X-BAPI-RECV-WINDOW"])

    def pass_s(self, seconds: float) -> None:
        """Advance the clock."""
        self.exchange.clock.ms += int(seconds * 1000)


@pytest.fixture
async def fenced() -> AsyncIterator[Fenced]:
    async with faulty_exchange() as exchange, gateway_to(exchange) as gateway:
        row = Row()
        lease = Lease(row, 10.0, what="the account", clock=Clock(boottime_ms=exchange.clock.now_ms))
        await lease.try_take()
        gateway.fence_by(lease)
        await gateway.sync_clock()
        exchange.script(CREATE, RECEIPT)
        exchange.script("order/realtime", NO_ORDER)
        exchange.script("order/history", NO_ORDER)
        yield Fenced(exchange, gateway, lease, row)


async def test_a_request_is_signed_to_expire_before_the_lease(fenced: Fenced) -> None:
    await fenced.gateway.create_order(order())
    assert fenced.window_ms() == 5_000
    fenced.pass_s(7)
    await fenced.gateway.create_order(order())
    assert fenced.window_ms() == 3_000 - CLOCK_ERROR_MS
    assert fenced.row.renewals == 0


async def test_after_the_lease_an_entry_asks_and_is_not_sent_when_another_has_it(fenced: Fenced) -> None:
    fenced.pass_s(60)
    fenced.row.taken = True
    for call in (
        fenced.gateway.create_order(order()),
        fenced.gateway.create_order(order(reduce_only=True)),
        fenced.gateway.set_leverage("BTCUSDT", Decimal(5)),
        fenced.gateway.set_trading_stop(StopRequest(symbol="BTCUSDT", stop_loss=Decimal(1))),
        fenced.gateway.cancel("BTCUSDT", link_id="s-en-1"),
    ):
        with pytest.raises(LeaseLost):
            await call
    assert not fenced.exchange.count(CREATE)
    assert [seen.path for seen in fenced.exchange.seen] == ["market/time"]


async def test_without_postgresql_what_only_reduces_or_protects_is_sent(fenced: Fenced) -> None:
    fenced.pass_s(60)
    fenced.row.away = True
    stop = StopRequest(symbol="BTCUSDT", stop_loss=Decimal(1))
    fenced.exchange.script("position/trading-stop", ok({}))
    for call in (
        fenced.gateway.create_order(order()),
        fenced.gateway.set_leverage("BTCUSDT", Decimal(5)),
        fenced.gateway.set_trading_stop(stop),
    ):
        with pytest.raises(LeaseNotHeld):
            await call
    assert not fenced.exchange.count(CREATE)
    await fenced.gateway.create_order(order(reduce_only=True))
    await fenced.gateway.set_trading_stop(stop, missing=True)
    assert fenced.exchange.count(CREATE) == 1


async def test_a_resend_asks_again(fenced: Fenced) -> None:
    async def lost_with_the_lease(request: web.Request) -> web.StreamResponse:
        fenced.pass_s(60)
        fenced.row.taken = True
        return dropped(request)

    fenced.exchange.script(CREATE, lost_with_the_lease, RECEIPT)
    with pytest.raises(LeaseLost):
        await place_order_once(fenced.gateway, order(), clock=Clock(sleep=fenced.exchange.clock.sleep))
    assert fenced.exchange.count(CREATE) == 1


async def test_what_may_not_be_sent_again_and_is_not_found_is_unknown(fenced: Fenced) -> None:
    async def lost_with_postgresql(request: web.Request) -> web.StreamResponse:
        fenced.pass_s(60)
        fenced.row.away = True
        return dropped(request)

    fenced.exchange.script(CREATE, lost_with_postgresql, RECEIPT)
    with pytest.raises(errors.WriteUnknown, match="may not be sent again"):
        await place_order_once(fenced.gateway, order(), clock=Clock(sleep=fenced.exchange.clock.sleep))
    assert fenced.exchange.count(CREATE) == 1


@pytest.mark.parametrize("taken", [True, False])
async def test_a_refused_time_stamp_makes_the_lease_be_confirmed(fenced: Fenced, taken: bool) -> None:
    now = fenced.exchange.clock.ms
    refusal = code(10002, f"req_timestamp[{now}],server_timestamp[{now + 6_000}],recv_window[5000]")
    fenced.exchange.script(CREATE, refusal, RECEIPT)
    fenced.row.taken = taken
    if taken:
        with pytest.raises(LeaseLost):
            await fenced.gateway.create_order(order())
    else:
        await fenced.gateway.create_order(order())
    assert fenced.exchange.count(CREATE) == (1 if taken else 2)
    assert fenced.row.renewals == 1


async def test_a_request_that_waited_for_a_thread_asks_when_its_turn_comes(fenced: Fenced) -> None:
    free = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await free.wait()
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": {"orderId": "1", "orderLinkId": "s-en-1"}})

    fenced.exchange.script(CREATE, hang)
    sending = [asyncio.create_task(fenced.gateway.create_order(order())) for _ in range(WRITE_THREADS + 1)]
    while fenced.exchange.count(CREATE) < WRITE_THREADS:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    fenced.pass_s(60)
    free.set()
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, Exception)] == [LeaseNotHeld]
    assert fenced.exchange.count(CREATE) == WRITE_THREADS


async def test_a_successor_opens_nothing_while_something_may_still_arrive(fenced: Fenced) -> None:
    fenced.row.handed_over = False
    await fenced.lease.try_take()
    with pytest.raises(LeaseNotHeld, match="may still arrive"):
        await fenced.gateway.create_order(order())
    fenced.exchange.script("position/set-leverage", ok({}))
    await fenced.gateway.set_leverage("BTCUSDT", Decimal(5))
    await fenced.gateway.create_order(order(reduce_only=True))
    fenced.pass_s(16.5)
    await fenced.gateway.create_order(order())


async def test_a_clock_that_was_measured_during_a_freeze_signs_nothing_that_opens(fenced: Fenced) -> None:
    def frozen(request: web.Request) -> web.StreamResponse:
        fenced.pass_s(4)
        now = fenced.exchange.clock.ms
        answer = ok({"timeSecond": "0", "timeNano": str(now * 1_000_000)}, time_ms=now)(request)
        assert isinstance(answer, web.StreamResponse)
        return answer

    fenced.exchange.script("market/time", frozen)
    await fenced.gateway.sync_clock()
    with pytest.raises(errors.ClockRefused, match="known to within"):
        await fenced.gateway.create_order(order())
    assert not fenced.exchange.count(CREATE)
    fenced.exchange.replies.pop("market/time")
    await fenced.gateway.create_order(order())
    assert int(fenced.exchange.seen[-1].headers["X-BAPI-TIMESTAMP"]) == fenced.exchange.clock.ms


async def test_a_step_of_the_wall_clock_moves_no_stamp() -> None:
    async with faulty_exchange() as exchange:
        wall = HandClock()
        gateway = Gateway(
            simulated_hosts(exchange.url, exchange.url.replace("http", "ws")),
            Credentials("key", "secret"),
            RateLimiter(None),
            account="bot",
            clock=Clock(wall_ms=wall.now_ms, boottime_ms=exchange.clock.now_ms),
        )
        async with gateway:
            exchange.script("position/list", ok({"list": [], "nextPageCursor": ""}))
            await gateway.positions()
            wall.ms += 3_600_000
            exchange.clock.ms += 1_000
            await gateway.positions()
            stamps = [int(seen.headers["X-BAPI-TIMESTAMP"]) for seen in exchange.seen if seen.path == "position/list"]
            assert stamps[1] - stamps[0] == 1_000
