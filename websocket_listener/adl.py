"""Auto-deleveraging: an alert when a position is near the front of the queue, or its symbol near the trigger. Pure but alerts."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.model.position import Position

#: Rank 5 is deleveraged next.
RANK = 4
#: A symbol is near its trigger when its drawdown has come so much of the way.
NEAR = Decimal("0.9")
#: It is told again only after it has fallen back this far.
CLEAR = Decimal("0.8")


class Drawdown(NamedTuple):
    """`adlAlert` of one symbol: the insurance pool's drawdown ratio and the ratio that triggers, both below zero."""

    ratio: Decimal
    trigger: Decimal

    @property
    def way(self) -> Decimal:
        """How much of the way to the trigger: 1 is there, 0 none."""
        return self.ratio / self.trigger if self.trigger < 0 and self.ratio < 0 else Decimal(0)


class AdlWatch:
    """Tells the operator of one account."""

    def __init__(self, bot: str, drawdowns: Mapping[str, Drawdown], alerts: AlertBatcher) -> None:
        self._bot = bot
        self._drawdowns = drawdowns
        self._alerts = alerts
        self._told: dict[str, int] = {}
        self._near: set[str] = set()

    def look(self, positions: Iterable[Position]) -> None:
        """Compare with what was told before."""
        held = [row for row in positions if row.size]
        for row in held:
            if row.adl_rank >= RANK and row.adl_rank > self._told.get(row.slot, 0):
                self._tell_rank(row)
        self._told = {row.slot: row.adl_rank for row in held if row.adl_rank >= RANK}
        symbols = {row.symbol for row in held}
        self._near &= symbols
        for symbol in sorted(symbols):
            drawdown = self._drawdowns.get(symbol)
            if drawdown is None:
                continue
            if drawdown.way >= NEAR and symbol not in self._near:
                self._near.add(symbol)
                self._tell_drawdown(symbol, drawdown)
            elif drawdown.way < CLEAR:
                self._near.discard(symbol)

    def _tell_rank(self, row: Position) -> None:
        text = f"{self._bot}: the {row.slot} position has ADL rank {row.adl_rank} of 5: it may be closed by the exchange next."
        self._note(f"adl_rank:{self._bot}:{row.slot}", text)

    def _tell_drawdown(self, symbol: str, drawdown: Drawdown) -> None:
        text = (
            f"{self._bot}: the insurance drawdown of {symbol} is {drawdown.ratio:f}; "
            f"at {drawdown.trigger:f} the exchange begins to deleverage positions."
        )
        self._note(f"adl_drawdown:{self._bot}:{symbol}", text)

    def _note(self, key: str, text: str) -> None:
        def alert(count: int, about: list[str]) -> Alert:
            return Alert(Level.WARNING, key, text, "Less size or leverage lowers the rank.", self._bot)

        self._alerts.note(key, alert)
