"""What produced a result: strategy, exact parameters, data and costs. Whoever repeats it gets the same trades."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from backtester.candles import fingerprint, moment
from backtester.market import MarketData
from backtester.venue import Costs


@dataclass(frozen=True, slots=True)
class Description:
    """`parameters` are texts by name; `fingerprint` names the candles, `command` repeats the back-test."""

    strategy: str
    parameters: Mapping[str, str]
    changed: tuple[str, ...]
    folder: str
    symbols: tuple[str, ...]
    fingerprint: str
    interval_ms: int
    from_ms: int
    to_ms: int
    cash: Decimal
    costs: Costs
    funding: str
    operator: str
    command: str
    module: str = ""
    left_out: tuple[str, ...] = ()
    fills: str = ""

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of everything but the parameters, for people."""
        named = ", ".join(self.symbols)
        return [
            ("Command", self.command),
            ("Data", f"{self.folder}, {len(self.symbols)} symbols, {self.interval_ms // 60_000}-minute candles"),
            ("Symbols", named),
            ("Fingerprint of the data", self.fingerprint),
            ("Traded", f"{moment(self.from_ms)} to {moment(self.to_ms)} UTC"),
            *((("Fills", self.fills),) if self.fills else ()),
            ("Starting cash", f"{self.cash:,.2f} USDT"),
            ("Taker fee", f"{self.costs.taker_fee * 100:f} % of the value, each side"),
            ("Maker fee", f"{self.costs.maker_fee * 100:f} % of the value, each resting order"),
            ("Slippage", slippage_text(self.costs)),
            ("Funding", self.funding),
            ("The operator", self.operator),
            *(("Left out", text) for text in self.left_out),
        ]


def slippage_text(costs: Costs) -> str:
    """The slippage in a sentence."""
    if not costs.by_symbol:
        return f"{costs.slippage_bps:f} basis points of the price, each market order"
    own = ", ".join(f"{symbol} {bps:f}" for symbol, bps in sorted(costs.by_symbol.items()))
    return f"basis points of the price, each market order: {own}; others {costs.slippage_bps:f}"


def funding_text(data: MarketData, constant: Decimal | None) -> str:
    """Where the funding rates come from, in a sentence."""
    recorded = sorted(symbol for symbol, funding in data.funding.items() if funding.recorded)
    if len(recorded) == len(data.funding):
        return "as recorded"
    if constant is None or not constant:
        return "none"
    rest = f"{constant * 100:f} % every 8 hours, a constant: the data hold no rates"
    return f"as recorded for {', '.join(recorded)}; else {rest}" if recorded else rest


def fingerprint_of(data: MarketData, symbols: tuple[str, ...]) -> str:
    """The fingerprint of the candles of these symbols."""
    return fingerprint(data.bars[symbol] for symbol in symbols)
