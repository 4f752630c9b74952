"""Endpoint definition: path, parameters, permissions, rate limit and handler."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import Refused
from exchange_simulator.exchange import Exchange
from exchange_simulator.keys import Key
from exchange_simulator.rest.args import Args, Param
from exchange_simulator.storage import Query, read_cursor

DAY_MS = 86_400_000
DEMO = "Demo trading are not supported."  # Bybit's message, verbatim
DEMO_KEPT_MS = 7 * DAY_MS  # retention of orders on demo accounts


@dataclass(slots=True)
class Call:
    """One request being handled by an endpoint."""

    exchange: Exchange
    args: Args
    key: Key | None
    extra: dict[str, Any] = field(default_factory=dict)  # returned as retExtInfo
    granted: int = 1  # number of batch items allowed by the rate limit

    @property
    def account(self) -> Account:
        if self.key is None:
            raise Refused(10003, "API key is invalid.")
        return self.exchange.account(self.key)

    @property
    def linear(self) -> bool:
        """False for categories that have no instruments here."""
        return self.args.text("category") in ("linear", "")

    def symbol(self) -> str:
        """The symbol, which must exist on this exchange."""
        name = self.args.text("symbol")
        if name not in self.exchange.market.instruments:
            raise Refused(10001, "params error: Symbol Is Invalid " + name)
        return name

    def symbols(self) -> tuple[str, ...]:
        """The symbols that `symbol`, `baseCoin` or `settleCoin` select; empty for no restriction."""
        name = self.args.text("symbol")
        if name:
            return (self.symbol(),)
        base = self.args.text("baseCoin")
        if base:
            chosen = tuple(s for s, i in self.exchange.market.instruments.items() if i.base_coin == base)
            return chosen or ("-",)
        return self.settled_in(self.args.text("settleCoin"))

    def settled_in(self, coin: str) -> tuple[str, ...]:
        """The symbols of a settle coin; empty for no restriction (no coin given, or there is only one)."""
        instruments = self.exchange.market.instruments
        chosen = tuple(symbol for symbol, instrument in instruments.items() if instrument.settle_coin == coin)
        if not coin or len(chosen) == len(instruments):
            return ()
        return chosen or ("-",)

    def cursor(self) -> tuple[int, int] | None:
        try:
            return read_cursor(self.args.text("cursor"))
        except ValueError:
            raise Refused(10001, "params error: cursor invalid") from None

    def window(self, default_ms: int = 7 * DAY_MS, most_ms: int = 7 * DAY_MS) -> tuple[int, int]:
        """`startTime` and `endTime`, with the documented defaults: neither given - the last days; one given - days from
        or up to it.
        """
        start, end = self.args.maybe_integer("startTime"), self.args.maybe_integer("endTime")
        now = self.exchange.now_ms
        if start is None and end is None:
            return now - default_ms, now
        if start is not None and end is None:
            return start, start + default_ms
        if start is None and end is not None:
            return end - default_ms, end
        if start is None or end is None:
            raise AssertionError("unreachable")
        if start > end:
            raise Refused(10001, "params error: startTime is after endTime")
        if end - start > most_ms:
            raise Refused(
                10001,
                f"params error: The time range between startTime and endTime cannot exceed {most_ms // DAY_MS} days",
            )
        return start, end

    @property
    def kept_ms(self) -> int:
        """Time before which orders are no longer kept."""
        return self.exchange.now_ms - DEMO_KEPT_MS if self.account.demo else 0

    def history(self, limit: int, **selection: Any) -> Query:
        """Builds a query for the caller's history."""
        return Query(uid=self.account.uid, limit=limit, after=self.cursor(), **selection)


Handler = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of Bybit's list. Limit per UID: `calls` in `window_s` seconds; 0 for none."""

    method: str
    path: str
    handler: Handler
    params: tuple[Param, ...] = ()
    private: bool = True
    writes: bool = False
    group: str = "ContractTrade"
    calls: int = 0
    window_s: int = 1
    batch: bool = False  # the limit counts items of `request`
