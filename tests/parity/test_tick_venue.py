"""Recorded trades and quotes on the back-test's exchange and on the simulated one, tick by tick: the same fills and balances."""

from decimal import Decimal
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.resting import RestingVenue
from backtester.ticks import Quote, TickVenue
from exchange_simulator.engine import price_moves
from exchange_simulator.engine.book import Best
from tests.parity.test_resting_venue import START, SYMBOL, Pair, drive

SIZE = Decimal(1_000_000)
#: Of the bid below a trade and of the offer above the bid, in ticks, in turn.
BELOW, SPREADS = (0, 1, 0, 40, 3, 0, -25), (1, 1, 2, 60, 1)


class TickPair(Pair):
    """Both exchanges on ticks."""

    venue_type: ClassVar[type[RestingVenue]] = TickVenue

    @classmethod
    def begin(cls, bps: Decimal, leverage: Decimal) -> "TickPair":
        pair = super().begin(bps, leverage)
        assert isinstance(pair, TickPair)
        pair.engine.books[SYMBOL].follow_quotes()
        pair.ticked = 0
        pair.quote(START)
        return pair

    def move(self, price: Decimal, *, jump: bool) -> None:
        """A trade, and a quote near it; a jump is a quote alone."""
        assert isinstance(self.venue, TickVenue)
        if not jump:
            self.venue.traded(SYMBOL, float(price), 0)
            price_moves.traded(self.engine, SYMBOL, price)
            self.compare()
        self.quote(price)

    def quote(self, price: Decimal) -> None:
        """The next quote, around a price."""
        assert isinstance(self.venue, TickVenue)
        self.ticked += 1
        bid = price - BELOW[self.ticked % len(BELOW)] * self.tick
        ask = bid + SPREADS[self.ticked % len(SPREADS)] * self.tick
        self.venue.quoted(SYMBOL, Quote(float(bid), float(SIZE), float(ask), float(SIZE)), 0)
        price_moves.quoted(self.engine, SYMBOL, Best((bid, SIZE), (ask, SIZE)))
        self.compare()

    ticked: int = 0


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bps=st.sampled_from(["0", "1.5"]),
    leverage=st.sampled_from([1, 3, 10, 25]),
    size=st.sampled_from([0.1, 0.6]),
)
def test_the_same_requests_and_ticks_give_the_same_fills_and_balances(
    seed: int, bps: str, leverage: int, size: float
) -> None:
    drive(seed, bps, leverage, size, TickPair)


def test_the_random_requests_bring_every_kind_of_end() -> None:
    seen: set[str] = set()
    for seed in range(30):
        seen |= drive(seed, "0", 10, 0.6, TickPair)
    assert seen >= {"maker", "taker", "entry", "target", "StopLoss", "TakeProfit", "TrailingStop"}
