"""The rules of resting orders one by one, in the back-test's exchange and in the simulated one.

`Pair.compare` holds both to the same fills, fees and balances at every step; here the figures themselves are stated.
"""

from decimal import Decimal

import pytest

from alpha.model.side import Direction
from alpha.strategy.positions import Protection
from alpha.strategy.resting import Role
from backtester.resting import WOULD_TAKE
from exchange_simulator.engine import orders
from exchange_simulator.engine.model import Execution
from exchange_simulator.engine.orders import NewOrder
from tests.parity.test_resting_venue import START, SYMBOL, Pair

D = Decimal
MAKER, TAKER = D("0.0002"), D("0.00055")
LONG, SHORT = Direction.LONG, Direction.SHORT


@pytest.fixture
def pair() -> Pair:
    return Pair.begin(D(0), D(10))


def fills(pair: Pair) -> list[tuple[Decimal, Decimal, Decimal]]:
    """Quantity, price and fee of every fill so far."""
    return [(fill.qty, fill.price, fill.fee) for fill in pair.venue.fills]


def long_of(pair: Pair, qty: str) -> None:
    pair.market(LONG, D(qty), START - 300)


@pytest.mark.parametrize("jump", [False, True])
@pytest.mark.parametrize("direction", [LONG, SHORT])
def test_an_entry_is_filled_a_tick_through_its_price_for_the_makers_fee_and_not_at_a_touch(
    pair: Pair, direction: Direction, jump: bool
) -> None:
    price = START - 10 * direction.sign
    pair.place(pair.order(Role.ENTRY, direction, price, D(1), stop_loss=price - 300 * direction.sign, post_only=True))
    pair.move(price, jump=jump)
    assert fills(pair) == []
    pair.move(price - pair.tick * direction.sign, jump=jump)
    assert fills(pair) == [(D(1), price, price * MAKER)]


def test_a_target_is_filled_a_tick_through_its_price_for_the_makers_fee_and_not_at_a_touch(pair: Pair) -> None:
    long_of(pair, "2")
    pair.place(pair.order(Role.TARGET, LONG, START + 20, D(1)))
    pair.move(START + 20, jump=False)
    assert len(fills(pair)) == 1
    pair.move(START + 20 + pair.tick, jump=False)
    assert fills(pair)[1:] == [(D(1), START + 20, (START + 20) * MAKER)]


@pytest.mark.parametrize("rising", [False, True])
def test_a_trigger_fires_at_a_touch_of_its_price_as_a_market_order(pair: Pair, rising: bool) -> None:
    price = START + (10 if rising else -10)
    pair.place(pair.order(Role.ENTRY, LONG, price, D(1), trigger=True, rising=rising, stop_loss=price - 300))
    pair.move(price, jump=False)
    assert fills(pair) == [(D(1), price, price * TAKER)]


def test_a_trigger_that_is_jumped_over_fills_at_the_price_jumped_to(pair: Pair) -> None:
    pair.place(pair.order(Role.ENTRY, LONG, START + 10, D(1), trigger=True, rising=True, stop_loss=START - 300))
    pair.move(START + 25, jump=True)
    assert fills(pair) == [(D(1), START + 25, (START + 25) * TAKER)]


def test_one_walk_meets_triggers_limits_targets_and_stops_in_the_order_of_their_prices(pair: Pair) -> None:
    long_of(pair, "1")
    stop = START - 40
    pair.levels(Protection(stop))
    pair.place(pair.order(Role.ENTRY, LONG, START - 30, D("0.3"), stop_loss=stop))
    pair.place(pair.order(Role.ENTRY, LONG, START - 10, D("0.2"), trigger=True, rising=False, stop_loss=stop))
    pair.place(pair.order(Role.ENTRY, LONG, START - 20, D("0.1"), stop_loss=stop))
    pair.move(START - 50, jump=False)
    prices = [(qty, price) for qty, price, _ in fills(pair)[1:]]
    assert prices == [(D("0.2"), START - 10), (D("0.1"), START - 20), (D("0.3"), START - 30), (D("1.6"), stop)]


def test_a_post_only_entry_that_would_take_is_cancelled_with_its_reason(pair: Pair) -> None:
    order = pair.order(Role.ENTRY, LONG, START + 5, D(1), post_only=True, stop_loss=START - 300)
    pair.kinds.clear()
    pair.place(order)
    assert fills(pair) == []
    assert pair.kinds == {WOULD_TAKE}
    new = NewOrder(SYMBOL, "Buy", "Limit", D(1), price=START + 5, time_in_force="PostOnly", link_id="again")
    theirs = orders.create(pair.engine, pair.account, new)
    assert (theirs.status, theirs.reject_reason) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")


def test_at_equal_prices_the_older_order_is_filled_first_also_after_one_was_cancelled(pair: Pair) -> None:
    price = START - 10
    made = [pair.order(Role.ENTRY, LONG, price, D(qty), stop_loss=price - 300) for qty in ("0.3", "0.1", "0.4", "0.2")]
    for order in made:
        pair.place(order)
    pair.cancel(made[1])
    pair.move(price - 5, jump=False)
    assert [qty for qty, _, _ in fills(pair)] == [D("0.3"), D("0.4"), D("0.2")]


def test_at_one_price_an_older_trigger_comes_before_a_younger_stop(pair: Pair) -> None:
    long_of(pair, "1")
    price = START - 40
    pair.place(pair.order(Role.ENTRY, LONG, price, D("0.5"), trigger=True, rising=False, stop_loss=price - 200))
    pair.move(price, jump=False)
    assert [(qty, at) for qty, at, _ in fills(pair)[1:]] == [(D("0.5"), price)]
    assert pair.account.size(SYMBOL) == D("1.5")


def test_targets_together_never_exceed_the_position(pair: Pair) -> None:
    long_of(pair, "1")
    for place, qty in enumerate(("0.6", "1.4", "0.6")):
        pair.place(pair.order(Role.TARGET, LONG, START + 10 + place, D(qty)))
    assert [one.leaves for one in pair.venue.waiting[SYMBOL]] == [D("0.6"), D(1), D("0.6")]
    pair.part(D("0.5"))
    assert [one.leaves for one in pair.venue.waiting[SYMBOL]] == [D("0.5")] * 3
    pair.move(START + 10 + pair.tick, jump=False)
    assert [qty for qty, _, _ in fills(pair)[2:]] == [D("0.5")]
    assert pair.account.size(SYMBOL) == 0
    assert pair.venue.holdings == {}
    pair.move(START + 60, jump=False)
    assert not [event for event in pair.engine.drain() if isinstance(event, Execution)]
