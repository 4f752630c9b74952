"""Sizes and prices fit the symbol's filters and are never rounded in the dangerous direction."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from alpha.bybit.decode import parse_instrument
from alpha.errors import Rejected
from alpha.model import sizing
from alpha.model.money import plain
from alpha.model.sizing import TooSmall
from tests.support import bybit_samples

BTC = parse_instrument(bybit_samples.INSTRUMENT)
steps = st.sampled_from([Decimal(text) for text in ("0.00001", "0.001", "0.05", "0.1", "0.5", "1", "10", "1000")])
amounts = st.decimals(min_value="0.00001", max_value="1000000", places=5)


@given(amounts, steps)
def test_a_quantity_goes_down_to_the_step_and_by_less_than_one(qty: Decimal, step: Decimal) -> None:
    rounded = sizing.round_qty(qty, replace(BTC, qty_step=step))
    assert 0 <= qty - rounded < step
    assert rounded % step == 0


@given(amounts, steps, st.sampled_from(["Buy", "Sell"]))
def test_a_stop_goes_away_from_the_market(price: Decimal, tick: Decimal, side: str) -> None:
    stop = sizing.round_stop(price, side, replace(BTC, tick_size=tick))
    assert stop % tick == 0
    assert (stop <= price) if side == "Buy" else (stop >= price)
    assert abs(stop - price) < tick


@given(amounts, steps, st.sampled_from(["Buy", "Sell"]))
def test_a_target_goes_away_from_the_market(price: Decimal, tick: Decimal, side: str) -> None:
    target = sizing.round_target(price, side, replace(BTC, tick_size=tick))
    assert (target >= price) if side == "Buy" else (target <= price)


@given(amounts, steps, st.sampled_from(["Buy", "Sell"]))
def test_a_limit_price_goes_to_the_passive_side(price: Decimal, tick: Decimal, side: str) -> None:
    limit = sizing.round_price(price, side, replace(BTC, tick_size=tick))
    assert (limit <= price) if side == "Buy" else (limit >= price)


@given(amounts, amounts)
def test_a_fitted_quantity_passes_every_filter(qty: Decimal, price: Decimal) -> None:
    try:
        fitted = sizing.fit_qty(qty, price, BTC)
    except TooSmall:
        rounded = sizing.round_qty(min(qty, BTC.max_market_qty), BTC)
        assert rounded < BTC.min_order_qty or rounded * price < BTC.min_notional
        return
    assert fitted <= qty
    assert BTC.min_order_qty <= fitted <= BTC.max_market_qty
    assert fitted % BTC.qty_step == 0
    assert fitted * price >= BTC.min_notional


def test_a_reduce_only_order_is_not_measured_against_the_least_value() -> None:
    assert sizing.fit_qty(Decimal("0.001"), Decimal("100"), BTC, reduce_only=True) == Decimal("0.001")
    with pytest.raises(TooSmall, match=r"0\.001 at 100 is worth 0\.1, below the least order value"):
        sizing.fit_qty(Decimal("0.001"), Decimal("100"), BTC)


@pytest.mark.parametrize(("qty", "price"), [("0", "1"), ("-1", "1"), ("1", "0")])
def test_what_is_no_order_is_refused(qty: str, price: str) -> None:
    with pytest.raises(Rejected, match="is not an order quantity"):
        sizing.fit_qty(Decimal(qty), Decimal(price), BTC)


@pytest.mark.parametrize("step", ["0", "-0.5"])
def test_a_step_that_is_none_is_refused(step: str) -> None:
    with pytest.raises(ValueError, match="above zero"):
        sizing.round_to(Decimal(1), Decimal(step), sizing.Rounding.DOWN)


@given(amounts, st.decimals(min_value="0.001", max_value="100", places=3))
def test_slices_close_the_whole_and_each_can_be_sent(size: Decimal, most: Decimal) -> None:
    assume(size / most < 500)
    left = size = sizing.round_qty(size, BTC)
    while left > 0:
        piece = sizing.closing_slice(left, most, BTC)
        assert 0 < piece <= left
        assert piece == left or piece <= most
        left -= piece
        assert not 0 < left < BTC.min_order_qty
    assert left == 0


def test_no_remainder_is_left_below_the_smallest_order() -> None:
    instrument = replace(BTC, min_order_qty=Decimal("0.010"), max_market_qty=Decimal("1.000"))
    first = sizing.closing_slice(Decimal("1.005"), Decimal(500), instrument)
    assert (first, Decimal("1.005") - first) == (Decimal("0.995"), Decimal("0.010"))
    # a position as small as the smallest order is closed whole, whatever the cap
    assert sizing.closing_slice(Decimal("0.010"), Decimal("0.009"), instrument) == Decimal("0.010")
    # what is as large as the largest order is one order
    assert sizing.closing_slice(Decimal("1.000"), Decimal(500), instrument) == Decimal("1.000")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e12", max_value="1e12", places=10))
def test_an_amount_is_written_without_exponent_and_reads_back_the_same(value: Decimal) -> None:
    text = plain(value)
    assert "e" not in text.lower()
    assert Decimal(text) == value


def test_a_distance_is_one_tick_at_least() -> None:
    assert sizing.round_distance(Decimal("0.001"), BTC) == Decimal("0.10")
    assert sizing.round_distance(Decimal("12.34"), BTC) == Decimal("12.4")


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Buy or Sell"):
        sizing.round_stop(Decimal(1), "Long", BTC)
