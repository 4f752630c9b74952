"""Signs, keys and sums of a closed trade, and what reading it again changes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from alpha.bybit.models import ClosedPnl
from trade_sync_service.domain.corrections import Correction, changes
from trade_sync_service.domain.trade_rows import FeesMissing, trades_of

LONG = ClosedPnl(
    symbol="ETHUSDT",
    order_id="o-1",
    closing_side="Sell",
    qty=Decimal(3),
    order_price=Decimal("1122.95"),
    order_type="Market",
    exec_type="Trade",
    closed_size=Decimal(3),
    entry_value=Decimal("3584.9255"),
    entry_price=Decimal("1194.97516667"),
    exit_value=Decimal("3541.795"),
    exit_price=Decimal("1180.59833333"),
    closed_pnl=Decimal("-47.4065323"),
    fill_count=4,
    leverage=Decimal(3),
    open_fee=Decimal("2.1509553"),
    close_fee=Decimal("2.125077"),
    created_ms=1672214887231,
    updated_ms=1672214887236,
)


def test_a_sell_closed_a_long_and_its_gross_is_exit_less_entry() -> None:
    (trade,) = trades_of([LONG])
    assert trade.direction == "long"
    assert trade.gross == Decimal("3541.795") - Decimal("3584.9255")
    assert trade.funding == 0


def test_a_buy_closed_a_short_and_its_gross_is_entry_less_exit() -> None:
    (trade,) = trades_of([replace(LONG, closing_side="Buy", closed_pnl=Decimal("38.8544677"))])
    assert trade.direction == "short"
    assert trade.gross == Decimal("3584.9255") - Decimal("3541.795")
    assert trade.funding == 0


def test_what_the_sum_leaves_over_is_the_funding_received() -> None:
    (trade,) = trades_of([replace(LONG, closed_pnl=LONG.closed_pnl - Decimal("1.25"))])
    assert trade.funding == Decimal("-1.25")
    assert trade.closed_pnl == trade.gross - trade.open_fee - trade.close_fee + trade.funding


def test_rows_that_are_equal_in_the_key_get_ordinals_that_do_not_depend_on_their_order() -> None:
    first, second = replace(LONG, entry_value=Decimal(1)), replace(LONG, entry_value=Decimal(2))
    assert trades_of([first, second, LONG]) == trades_of([LONG, second, first])
    assert [trade.key.ordinal for trade in trades_of([LONG, LONG, LONG])] == [0, 1, 2]


def test_a_row_without_fees_is_refused() -> None:
    with pytest.raises(FeesMissing):
        trades_of([replace(LONG, open_fee=None)])


rows = st.builds(
    lambda order, time, size, pnl: replace(
        LONG, order_id=order, updated_ms=time, closed_size=Decimal(size), closed_pnl=Decimal(pnl)
    ),
    st.sampled_from(["o-1", "o-2", "o-3"]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(-2, 2),
)


@given(st.lists(rows, max_size=8), st.lists(rows, max_size=8))
def test_after_the_changes_the_table_holds_what_was_read_and_what_vanished(
    stored: list[ClosedPnl], read: list[ClosedPnl]
) -> None:
    before, now = trades_of(stored), trades_of(read)
    found = changes(before, now)
    table = set(before)
    for correction in found.corrected:
        table.remove(correction.before)
    table |= {correction.after for correction in found.corrected} | set(found.new)
    assert table == set(now) | set(found.vanished)
    assert set(found.confirmed) == set(before) & set(now)
    assert not {trade.key.order_id for trade in found.vanished} & {trade.key.order_id for trade in found.new}


def test_reading_the_same_again_changes_nothing() -> None:
    trades = trades_of([LONG, replace(LONG, order_id="o-2")])
    found = changes(trades, trades)
    assert (found.new, found.corrected, found.vanished) == ([], [], [])


def test_a_row_that_grew_replaces_what_it_was() -> None:
    (before,), (after,) = (
        trades_of([LONG]),
        trades_of([replace(LONG, closed_size=Decimal(4), updated_ms=1672214887999)]),
    )
    assert changes([before], [after]).corrected == [Correction(before, after)]


def test_a_row_that_bybit_no_longer_shows_is_kept_and_told() -> None:
    (trade,) = trades_of([LONG])
    assert changes([trade], []).vanished == [trade]
