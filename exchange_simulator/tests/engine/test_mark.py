"""The mark price equals the last price unless set; triggers, valuation and liquidation then use only the mark price."""

import pytest

from exchange_simulator.engine import funding, price_moves, settings
from exchange_simulator.engine.model import Refused
from exchange_simulator.tests.engine.floor import BTC, ETH, D, Floor


def put(floor: Floor, price: str | None, symbol: str = BTC) -> None:
    floor.engine.now_ms += 1_000
    price_moves.set_mark_price(floor.engine, symbol, None if price is None else D(price))
    floor.listen()


def conditional(floor: Floor, trigger: str, direction: int, by: str = "MarkPrice") -> str:
    order = floor.market("Buy", "0.1", trigger_price=D(trigger), trigger_direction=direction, trigger_by=by)
    return order.order_id


def waiting(floor: Floor) -> set[str]:
    return {order.order_id for order in floor.account.orders.values() if order.waiting}


def test_the_mark_follows_the_last_price_until_it_is_put_elsewhere_and_again_afterwards() -> None:
    floor = Floor()
    book = floor.engine.books[BTC]
    floor.move("50100")
    assert book.mark == D(50_100)
    put(floor, "50500")
    floor.move("49900")
    assert (book.last, book.mark) == (D(49_900), D(50_500))
    put(floor, None)
    assert book.mark == D(49_900)
    floor.move("50000")
    assert book.mark == D(50_000)


@pytest.mark.parametrize("placed_before", [True, False])
def test_an_order_that_waits_for_the_mark_looks_at_the_mark_alone(placed_before: bool) -> None:
    floor = Floor()
    if not placed_before:
        put(floor, "50100")
    waits = conditional(floor, "51000", 1)
    other = conditional(floor, "51500", 1, "LastPrice")
    if placed_before:
        put(floor, "50100")
    floor.move("51200")
    assert waiting(floor) == {waits, other}
    put(floor, "51600")
    assert waiting(floor) == {other}
    assert floor.executions()[-1].price == D(51_200), "it trades at the last price"
    floor.move("51500")
    assert waiting(floor) == set()


def test_a_mark_that_follows_again_fires_what_the_last_price_has_met_meanwhile() -> None:
    floor = Floor()
    put(floor, "50000")
    falls, rises = conditional(floor, "49500", 2), conditional(floor, "50500", 1)
    floor.move("49000")
    assert waiting(floor) == {falls, rises}
    put(floor, None)
    assert waiting(floor) == {rises}
    floor.move("50600")
    assert waiting(floor) == set()


def test_a_trigger_must_lie_ahead_of_the_mark_it_waits_for() -> None:
    floor = Floor()
    put(floor, "51000")
    for trigger, direction, code in (("50500", 1, 110092), ("51500", 2, 110093)):
        with pytest.raises(Refused) as caught:
            conditional(floor, trigger, direction)
        assert caught.value.code == code
    assert conditional(floor, "51500", 1) in waiting(floor)


def test_profit_and_loss_margin_and_funding_are_reckoned_at_the_mark() -> None:
    floor = Floor()
    floor.market("Buy", "1")
    put(floor, "50800.25")
    engine, account = floor.engine, floor.account
    assert engine.unrealised(account) == D("800.25")
    assert engine.initial_margin(account) == D("50800.25") * (D("0.1") + D("0.00055"))
    funding.charge(engine, BTC, D("0.0001"))
    floor.listen()
    (row,) = floor.executions(kind="Funding")
    assert (row.price, row.fee) == (D("50800.25"), D("5.080025"))


def test_the_mark_liquidates_and_the_last_price_does_not() -> None:
    floor = Floor(deposit="2000")
    settings.set_leverage(floor.engine, floor.account, BTC, D(50))
    floor.market("Buy", "1")
    shown = floor.last_position().liq_price
    assert shown is not None
    put(floor, "50000")
    floor.move("40000")
    floor.move("40100", jump=True)
    assert floor.size == 1
    put(floor, str(shown + D("0.1")))
    assert floor.size == 1
    put(floor, str(shown - D("0.1")))
    assert floor.size == 0
    assert len(floor.executions(kind="BustTrade")) == 1
    assert floor.account.wallet >= 0


def test_a_mark_that_stands_does_not_keep_another_symbol_from_liquidating() -> None:
    floor = Floor(deposit="4000")
    for symbol in (BTC, ETH):
        settings.set_leverage(floor.engine, floor.account, symbol, D(50))
    floor.market("Buy", "1")
    floor.market("Buy", "10", symbol=ETH)
    put(floor, "50000")
    floor.move("2500", ETH)
    assert not floor.account.held()


def test_a_loss_realised_away_from_the_mark_is_looked_at_at_once() -> None:
    floor = Floor(deposit="2000")
    settings.set_leverage(floor.engine, floor.account, BTC, D(50))
    floor.market("Buy", "1")
    put(floor, "50000")
    floor.move("46300")
    floor.market("Sell", "0.5")
    floor.listen()
    assert [fill.qty for fill in floor.executions(kind="BustTrade")] == [D("0.5")]
    assert floor.size == 0
    assert floor.account.wallet >= 0
