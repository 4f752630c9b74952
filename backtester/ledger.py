"""What a back-test writes down as it goes: trades, and the spans over which positions of one size were held."""

from alpha.model.reason import Reason
from backtester.equity import Span
from backtester.position import HeldPosition
from backtester.result import Trade
from backtester.venue import ClosedPosition


class Ledger:
    """The record of one back-test. Bars are counted on its grid."""

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.spans: list[Span] = []
        self.whys: dict[str, str] = {}
        self._starts: dict[str, tuple[int, float, float]] = {}

    def opened(self, held: HeldPosition, number: int) -> None:
        """A position is held with this size from bar `number` on."""
        self._starts[held.symbol] = (number, held.signed_f, held.entry_price_f)

    def resized(self, held: HeldPosition | None, number: int) -> None:
        """The size of a position has changed within a bar: from there on it is marked with the new one."""
        if held is not None:
            self.end_span(held.symbol, number)
            self.opened(held, number)

    def end_span(self, symbol: str, number: int) -> None:
        """A position is not held with its last size any more from bar `number` on."""
        started = self._starts.pop(symbol, None)
        if started is not None:
            self.spans.append(Span(symbol, started[0], number, started[1], started[2]))

    def book(self, departure: ClosedPosition, number: int, reason: Reason, why: str) -> None:
        """A position has ended in bar `number`: its trade, averaged where it had several entries or exits."""
        held = departure.holding
        gross = (departure.price * held.size - held.entry_value) * held.sign
        entry_price, exit_price = held.entry_price, departure.price
        if held.entered != held.size or held.entered_value != held.entry_value:
            entry_price = held.entered_value / held.entered
            exit_price = (held.left_value + departure.price * held.size) / held.entered
            gross += held.left_gross
        self.trades.append(
            Trade(
                symbol=held.symbol,
                direction=held.direction,
                size=held.entered,
                entry_ms=held.opened_ms,
                entry_price=entry_price,
                exit_ms=departure.time_ms,
                exit_price=exit_price,
                reason=reason,
                gross=gross,
                fees=held.entry_fee + held.left_fees + departure.fee,
                funding=held.funding,
                entry_why=self.whys.pop(held.symbol, ""),
                exit_why=why,
            )
        )
        self.end_span(held.symbol, number)
