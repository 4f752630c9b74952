"""The reference ledger, which everything else is compared with, against figures calculated by hand."""

from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec import structs

from tests.history.build import START, fill
from tests.history.reference import Exits, Opening, Trip, books, cut

D = Decimal
DAY = 1_440


def test_a_position_is_opened_closed_in_parts_and_turned_over() -> None:
    """Long 1 at 90 before the record begins and 2 at 100; 1 and 2 are closed at 110 and 120, where 3 are sold short."""
    opening = Opening("Buy", D(1), D(90), START - timedelta(days=1))
    rows = [
        fill(0, "Buy", "2", "100", fee="0.3", maker=True),
        fill(0.5, "Buy", "0", "100", fee="9"),
        fill(1, "Sell", "3", "100", fee="0.05", exec_type="Funding"),
        fill(2, "Sell", "1", "110", fee="0.11"),
        turn := fill(3, "Sell", "5", "120", fee="0.7", maker=True, reason="signal"),
        fill(DAY, "Buy", "1", "130"),
        end := fill(DAY + 1, "Buy", "2", "90", fee="0.2", reason="stop_loss"),
        fill(DAY + 2, "Buy", "1", "90", fee="-0.02", exec_type="Funding"),
        last := fill(DAY + 3, "Sell", "1", "80"),
        fill(DAY + 4, "Sell", "1", "80", exec_type="Other"),
    ]
    found = books(reversed(rows), opening)
    long = Trip(
        True, (opening.as_of, -1, ""), from_opening=True, closed=(turn.exec_time, 1, turn.exec_id), reversed=True,
        exit_reason="signal", fills=3, entry_qty=D(3), entry_value=D(290), exit_value=D(350), max_qty=D(3), gross=D(60),
        fees=D("0.69"), funding=D("-0.05"), maker_value=D(440),
    )  # fmt: skip
    short = Trip(
        False, (turn.exec_time, 1, turn.exec_id), closed=(end.exec_time, 1, end.exec_id), exit_reason="stop_loss", fills=3,
        entry_qty=D(3), entry_value=D(360), exit_value=D(310), max_qty=D(3), gross=D(50), fees=D("0.62"), maker_value=D(360),
    )  # fmt: skip
    assert found.trips == [long, short]
    assert [trip.net for trip in found.trips] == [D("59.26"), D("49.38")]
    assert found.open_trip == Trip(
        False, (last.exec_time, 1, last.exec_id), fills=1, entry_qty=D(1), entry_value=D(80), max_qty=D(1)
    )
    assert (found.held, found.cost) == (D(1), D(80))
    first, second = START.date(), START.date() + timedelta(days=1)
    days = {
        day: (one.fills, one.volume, one.maker_volume, one.gross, one.fees, one.funding)
        for day, one in found.days.items()
    }
    assert days == {
        first: (3, D(910), D(800), D(60), D("1.11"), D("-0.05")),
        second: (3, D(390), D(0), D(50), D("0.2"), D("0.02")),
    }
    assert found.exits == {
        (first, "signal"): Exits([D("59.26")], (DAY + 3) * 60_000),
        (second, "stop_loss"): Exits([D("49.38")], (DAY - 2) * 60_000),
    }


def test_parts_are_cut_after_twelve_decimals_towards_zero() -> None:
    assert (cut(D(200), D(3)), cut(D(-200), D(3))) == (D("66.666666666666"), D("-66.666666666666"))
    rows = [
        fill(0, "Sell", "3", "96.7", fee="0.1"),
        fill(1, "Buy", "1", "90", fee="0.1"),
        fill(2, "Buy", "3", "90", fee="0.2"),
    ]
    found = books(rows)
    assert found.trips[0].gross == D("20.1")
    # of the last fee 2 of 3 parts end the trip, and the rest begins the next
    assert found.trips[0].fees == D("0.333333333333")
    assert found.open_trip is not None
    assert found.open_trip.fees == D("0.066666666667")
    assert (found.open_trip.max_qty, found.open_trip.is_long) == (D(1), True)
    partly = books([fill(0, "Buy", "3", "10"), fill(0.5, "Buy", "4", "20"), fill(1, "Sell", "2", "12")])
    assert partly.open_trip is not None
    assert (partly.held, partly.cost) == (D(5), D("78.571428571429"))
    assert (partly.open_trip.gross, partly.open_trip.max_qty) == (D("-7.428571428571"), D(7))


def test_the_fills_of_a_match_are_taken_as_they_fit() -> None:
    """In any order: what closes the long comes before what opens the short, by `closed_size` or by the position."""
    rows = [
        fill(0, "Buy", "1", "100", closed="0"),
        fill(1, "Sell", "1", "99", closed="1", exec_id="b"),
        fill(1, "Sell", "1", "98", closed="0", exec_id="a"),
        fill(1, "Sell", "1", "95", closed="0", exec_id="0", seq=2),
        fill(2, "Buy", "2", "90", closed="2"),
    ]
    for order in (rows, rows[::-1], [rows[2], rows[0], rows[4], rows[1], rows[3]]):
        assert [trip.gross for trip in books(order).trips] == [-1, 13]
    # 3 are sold of which 1 closes: before it 1 is closed, although that fill says that it opens
    crossing = [
        fill(0, "Buy", "2", "100"),
        fill(1, "Sell", "1", "99", exec_id="c", closed="0"),
        fill(1, "Sell", "3", "98", exec_id="a", closed="1"),
        fill(1, "Sell", "1", "97", exec_id="b", closed="1"),
    ]
    found = books(crossing)
    assert [trip.gross for trip in found.trips] == [-5]
    assert (found.held, found.cost) == (D(3), D(98 * 2 + 99))
    mirrored = [structs.replace(row, side="Sell" if row.side == "Buy" else "Buy") for row in crossing]
    found = books(mirrored)
    assert [trip.gross for trip in found.trips] == [5]
    assert (found.held, found.cost) == (D(3), D(98 * 2 + 99))
    # a row that does not change the position fits at once
    funding = structs.replace(fill(0, "Sell", "2", "100", exec_type="Funding", fee="1", exec_id="0"), closed_size=D(5))
    assert books([funding, fill(0, "Buy", "2", "100", exec_id="1")]).days[START.date()].funding == -1


@pytest.mark.parametrize(("side", "gross"), [("Buy", D(10)), ("Sell", D(-10))])
def test_an_opening_of_either_side(side: str, gross: Decimal) -> None:
    opening = Opening(side, D(1), D(100), START)
    found = books([fill(1, "Sell" if side == "Buy" else "Buy", "1", "110", maker=True)], opening)
    assert [(trip.is_long, trip.gross, trip.maker_value) for trip in found.trips] == [(side == "Buy", gross, D(110))]
    assert (found.held, found.cost, found.open_trip) == (D(0), D(0), None)


def test_nothing_at_all() -> None:
    found = books([])
    assert not found.trips
    assert not found.days
    assert not found.exits
    assert (found.held, found.cost, found.open_trip) == (D(0), D(0), None)
