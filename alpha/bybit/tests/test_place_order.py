"""An order is placed exactly once, whatever happens to its answer."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from aiohttp import web

from alpha.bybit import errors
from alpha.bybit.client import Gateway
from alpha.bybit.orders import OrderRequest
from alpha.bybit.place_order import place_order_once
from alpha.clock import Clock
from tests.support import bybit_samples
from tests.support.faulty_exchange import FaultyExchange, code, dropped, faulty_exchange, gateway_to, ok, status

ORDER = OrderRequest(
    symbol="ETHUSDT", side="Buy", qty=Decimal("0.1"), order_link_id="m-en-abc", reference_price=Decimal(1_600)
)
RECEIPT = ok({"orderId": bybit_samples.ORDER_REST["orderId"], "orderLinkId": "m-en-abc"})
FOUND = ok({"list": [bybit_samples.ORDER_REST], "nextPageCursor": ""})
NOT_FOUND = ok({"list": [], "nextPageCursor": ""})


@pytest.fixture
async def exchange() -> AsyncIterator[FaultyExchange]:
    async with faulty_exchange() as running:
        running.script("order/realtime", NOT_FOUND)
        running.script("order/history", NOT_FOUND)
        yield running


@pytest.fixture
async def gateway(exchange: FaultyExchange) -> AsyncIterator[Gateway]:
    async with gateway_to(exchange) as made:
        yield made


async def test_an_answered_order_is_sent_once_and_not_looked_up(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("order/create", RECEIPT)
    placed = await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert (placed.order_id, placed.sends, placed.looked_up) == (bybit_samples.ORDER_REST["orderId"], 1, False)
    assert exchange.count("order/realtime") == 0


@pytest.mark.parametrize("where", ["order/realtime", "order/history"])
@pytest.mark.parametrize("fault", [dropped, status(504), code(10016)])
async def test_a_lost_answer_is_looked_up_and_the_order_is_not_sent_again(
    exchange: FaultyExchange, gateway: Gateway, where: str, fault: object
) -> None:
    assert callable(fault)
    exchange.script("order/create", fault)
    exchange.script(where, FOUND)
    placed = await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert placed.looked_up
    assert placed.order is not None
    assert placed.order.order_link_id == ORDER.order_link_id
    assert exchange.count("order/create") == 1


async def test_an_order_that_shows_up_late_is_waited_for(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("order/create", dropped)
    exchange.script("order/realtime", NOT_FOUND, NOT_FOUND, FOUND)
    assert (await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))).looked_up
    assert exchange.count("order/create") == 1


async def test_an_order_that_never_arrived_is_sent_again_under_the_same_id(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    exchange.script("order/create", status(502), RECEIPT)
    placed = await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert (placed.sends, placed.looked_up) == (2, False)
    sent = [request.body for request in exchange.seen if request.path == "order/create"]
    assert sent[0] == sent[1]


async def test_an_id_that_is_taken_proves_that_the_first_send_arrived(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    exchange.script("order/create", dropped, code(110072, "OrderLinkedID is duplicate"))
    exchange.script("order/realtime", NOT_FOUND, NOT_FOUND, NOT_FOUND, FOUND)
    placed = await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert (placed.sends, placed.looked_up) == (2, True)


@pytest.mark.parametrize("ret_code", [110007, 10006], ids=["no margin left", "too many calls"])
async def test_a_second_send_that_is_refused_does_not_deny_the_first(
    exchange: FaultyExchange, gateway: Gateway, ret_code: int
) -> None:
    exchange.script("order/create", dropped, code(ret_code))
    exchange.script("order/realtime", NOT_FOUND, NOT_FOUND, NOT_FOUND, FOUND)
    placed = await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert (placed.sends, placed.looked_up) == (2, True)


async def test_the_same_intent_sent_by_a_second_life_finds_the_order_of_the_first(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    exchange.script("order/create", code(110072))
    exchange.script("order/realtime", FOUND)
    assert (await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))).looked_up


async def test_a_taken_id_that_cannot_be_found_is_unknown(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("order/create", code(110072))
    with pytest.raises(errors.WriteUnknown):
        await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert exchange.count("order/create") == 1


async def test_what_can_be_neither_sent_nor_looked_up_is_unknown_and_not_sent_again(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    exchange.script("order/create", dropped)
    exchange.script("order/realtime", status(500))
    with pytest.raises(errors.WriteUnknown):
        await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert exchange.count("order/create") == 1


async def test_a_key_that_is_revoked_between_sending_and_looking_up_leaves_the_order_unknown(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    exchange.script("order/create", dropped)
    exchange.script("order/realtime", code(10003))
    with pytest.raises(errors.WriteUnknown):
        await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))


async def test_an_order_that_is_lost_each_time_ends_unknown(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("order/create", status(502))
    with pytest.raises(errors.WriteUnknown):
        await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert exchange.count("order/create") == 3


async def test_a_refusal_is_passed_on(exchange: FaultyExchange, gateway: Gateway) -> None:
    exchange.script("order/create", code(110007, "ab not enough for new order"))
    with pytest.raises(errors.Refused) as caught:
        await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert caught.value.ret_code == 110007


async def test_a_real_exchange_that_loses_every_second_answer_ends_with_one_order(
    exchange: FaultyExchange, gateway: Gateway
) -> None:
    book: dict[str, int] = {}

    def create(request: web.Request) -> web.StreamResponse:
        book["sends"] = book.get("sends", 0) + 1
        if "made" in book:
            return _answered(code(110072), request)
        if book["sends"] == 2:
            book["made"] = 1
        return dropped(request)

    def read(request: web.Request) -> web.StreamResponse:
        return _answered(FOUND if "made" in book else NOT_FOUND, request)

    exchange.script("order/create", create)
    exchange.script("order/realtime", read)
    placed = await place_order_once(gateway, ORDER, clock=Clock(sleep=exchange.clock.sleep))
    assert placed.looked_up
    assert book == {"sends": 2, "made": 1}


def _answered(reply: object, request: web.Request) -> web.StreamResponse:
    assert callable(reply)
    answer = reply(request)
    assert isinstance(answer, web.StreamResponse)
    return answer
