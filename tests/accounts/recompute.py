"""An independent recomputation of an account from the simulated exchange's own ledger: plain Decimals, no code of ours.

The leg of a fill is its order's `positionIdx`; nothing here looks at `closedSize` or at what the listener stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
LEGS = {0: "both", 1: "long", 2: "short"}
ZERO = Decimal(0)


@dataclass
class Ledger:
    """One symbol and leg: what is held, and what it has made."""

    held: Decimal = ZERO  # signed
    cost: Decimal = ZERO
    gross: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    volume: Decimal = ZERO
    fills: int = 0
    trip: Decimal = ZERO
    #: The nets of the trips that ended flat or by a reversal.
    trips: list[Decimal] = field(default_factory=list)

    def fill(self, side: str, qty: Decimal, price: Decimal, fee: Decimal) -> None:
        """A trade, by the average cost rule."""
        step = qty if side == "Buy" else -qty
        self.fills += 1
        self.volume += qty * price
        self.fees += fee
        if self.held and (self.held > 0) != (step > 0):
            closed = min(qty, abs(self.held))
            part = self.cost * closed / abs(self.held)
            made = (price * closed - part) * (1 if self.held > 0 else -1)
            self.gross += made
            fee_part = fee * closed / qty
            self.trip += made - fee_part
            self.cost -= part
            self.held += closed if step > 0 else -closed
            if not self.held:
                self.trips.append(self.trip)
                self.trip = ZERO
            qty, fee = qty - closed, fee - fee_part
            if not qty:
                return
        self.held += qty if step > 0 else -qty
        self.cost += qty * price
        self.trip -= fee

    def charge(self, fee: Decimal) -> None:
        """Funding: the fee of a Funding row, positive when paid."""
        self.funding -= fee
        self.trip -= fee

    @property
    def average(self) -> Decimal:
        """The average entry price."""
        return self.cost / abs(self.held)


def coin_of(symbol: str) -> str:
    """The settle coin."""
    return "USDC" if symbol.endswith("PERP") else "USDT"


def ledgers_of(executions: Iterable[Row], orders: Iterable[Row], *, hedged: bool) -> dict[tuple[str, str], Ledger]:
    """Every symbol and leg of an account, from its executions in the exchange's order and its orders."""
    index = {row["orderId"]: int(row["positionIdx"]) for row in orders}
    found: dict[tuple[str, str], Ledger] = {}
    for row in executions:
        if row["execType"] == "Funding":
            leg = ("long" if row["side"] == "Buy" else "short") if hedged else "both"
            found.setdefault((row["symbol"], leg), Ledger()).charge(Decimal(row["execFee"]))
            continue
        leg = LEGS[index[row["orderId"]]]
        fee = Decimal(row["execFee"]) if row["feeCurrency"] == coin_of(row["symbol"]) else ZERO
        ledger = found.setdefault((row["symbol"], leg), Ledger())
        ledger.fill(row["side"], Decimal(row["execQty"]), Decimal(row["execPrice"]), fee)
    return found
