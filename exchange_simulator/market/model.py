"""The exchange's view of a market: instruments, exact bars, and the price path within a bar.

Prices are whole ticks and volumes whole quantity steps, so no precision is lost between a recorded candle and a
fill. The exchange requests bars from a `Market` by time, in any order and repeatedly, and always gets the same answer.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Path = Literal["high-first", "low-first", "toward-close"]
PATHS: tuple[Path, ...] = ("high-first", "low-first", "toward-close")

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class MarketError(Exception):
    """A market cannot be provided as configured. The message is one sentence for the operator: cause and remedy."""


@dataclass(frozen=True, slots=True)
class RiskTier:
    """One tier of an instrument's risk limit, as shown by `market/risk-limit`."""

    id: int
    limit_value: Decimal  # position value up to which the tier applies, in the quote coin
    maintenance_margin: Decimal  # rate of position value, e.g. 0.005
    initial_margin: Decimal  # rate of position value, 1 / max_leverage
    max_leverage: Decimal
    mm_deduction: Decimal  # subtracted from value x maintenance_margin so that tiers join without a jump


@dataclass(frozen=True, slots=True)
class Instrument:
    """A linear perpetual settled in USDT or USDC, with the filters of `market/instruments-info`."""

    symbol: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    tick_size: Decimal
    min_price: Decimal
    max_price: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    max_order_qty: Decimal
    max_mkt_order_qty: Decimal
    min_notional: Decimal
    min_leverage: Decimal
    max_leverage: Decimal
    leverage_step: Decimal
    launch_ms: int
    delivery_ms: int  # 0: none
    funding_interval_min: int
    upper_funding_rate: Decimal
    lower_funding_rate: Decimal
    price_limit_ratio_x: Decimal
    price_limit_ratio_y: Decimal
    price_scale: int  # decimals of the tick
    symbol_id: int
    risk_tiers: tuple[RiskTier, ...]
    pre_market: bool = False  # in pre-market trading
    order_tick: Decimal = Decimal(0)  # coarser tick for order prices, once announced; 0: none
    symbol_type: str = ""  # stock, forex, commodity: its market has trading hours
    market_region: str = ""  # of a stock: US, HK

    @property
    def settles_sessions(self) -> bool:
        """Whether profit is realised at each funding time, as for USDC contracts."""
        return self.settle_coin == "USDC"

    @property
    def price_step(self) -> Decimal:
        """The increment that order prices must be a multiple of."""
        return self.order_tick or self.tick_size

    def price(self, ticks: int) -> Decimal:
        """Converts a price in ticks to the quote coin."""
        return ticks * self.tick_size

    def qty(self, steps: int) -> Decimal:
        """Converts a quantity in steps to the base coin."""
        return steps * self.qty_step

    def ticks(self, price: Decimal) -> int:
        """Converts a price to whole ticks; raises `ValueError` when it lies between two ticks."""
        ticks = price / self.tick_size
        whole = int(ticks)
        if whole != ticks:
            raise ValueError(f"{self.symbol}: price {price} is not a multiple of the tick size {self.tick_size}")
        return whole

    def steps(self, qty: Decimal) -> int:
        """Converts a quantity to whole steps; raises `ValueError` when it lies between two steps."""
        steps = qty / self.qty_step
        whole = int(steps)
        if whole != steps:
            raise ValueError(f"{self.symbol}: quantity {qty} is not a multiple of the quantity step {self.qty_step}")
        return whole


class Bar(NamedTuple):
    """One candle. Prices in ticks, volume in quantity steps: exact whole numbers. `start_ms` is UTC milliseconds."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int


def walk(bar: Bar, path: Path) -> tuple[int, int, int, int]:
    """The four prices of a bar in the order they are reached: open, first extreme, second extreme, close.

    `toward-close` visits the extreme on the far side of the close first: low then high in a rising bar (close >= open),
    high then low in a falling one.
    """
    if path == "high-first" or (path == "toward-close" and bar.close < bar.open):
        return bar.open, bar.high, bar.low, bar.close
    return bar.open, bar.low, bar.high, bar.close


def merge(bars: Sequence[Bar], start_ms: int) -> Bar | None:
    """Merges consecutive bars, oldest first, into one; None when there are none."""
    if not bars:
        return None
    return Bar(
        start_ms,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum(bar.volume for bar in bars),
    )


def turnover(bar: Bar, instrument: Instrument) -> Decimal:
    """Quote-coin turnover of a bar, at the mean of its four prices (bars carry no turnover of their own)."""
    return (
        bar.volume * instrument.qty_step * (bar.open + bar.high + bar.low + bar.close) * instrument.tick_size
    ) / Decimal(4)


@runtime_checkable
class Market(Protocol):
    """A source of bars. Every answer depends only on the arguments, not on earlier calls."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Instruments by symbol, in a stable order."""

    @property
    def base_ms(self) -> int:
        """Length of the market's own bars: 60,000 for the generator and live prices, the file's interval in replay."""

    @property
    def first_ms(self) -> int:
        """Start of the earliest bar that exists for any symbol."""

    @property
    def end_ms(self) -> int | None:
        """Time at which the last bar ends; None when the market has no end."""

    def bar(self, symbol: str, start_ms: int) -> Bar | None:
        """The base bar that starts at `start_ms` (a multiple of `base_ms`); None where the market has none."""

    def bars(self, symbol: str, from_ms: int, to_ms: int) -> list[Bar]:
        """Base bars with `from_ms <= start_ms < to_ms`, oldest first."""

    def candles(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> list[Bar]:
        """Whole candles of a Bybit interval (`1 3 5 ... 720 D W M`), `from_ms <= start < to_ms`, oldest first.

        Returns complete historical candles, including those that end after `to_ms`: the caller decides what time it is
        and builds the forming candle itself. Returns none for an interval shorter than `base_ms`.
        """

    def index_price(self, symbol: str, time_ms: int, last: int) -> Decimal:
        """The index price at a time when the last trade was at `last` ticks."""

    def funding_rate(self, symbol: str, time_ms: int) -> Decimal:
        """The rate charged at funding time `time_ms`; before that time, the rate shown as next."""

    def open_interest(self, symbol: str, time_ms: int) -> Decimal:
        """Open interest in the base coin."""


@runtime_checkable
class BuiltMarket(Protocol):
    """A market that generates its history on first use, which takes time."""

    def build(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> Iterator[None]:
        """Generates what `candles` of the same range needs, in small steps."""


class Tick(NamedTuple):
    """One public trade of a live market. Price in ticks, quantity in steps."""

    symbol: str
    time_ms: int
    price: int
    qty: int
    side: Literal["Buy", "Sell"]  # taker side


class Quote(NamedTuple):
    """The latest ticker of a live market. Prices in ticks, sizes in steps; mark and index are finer than a tick."""

    symbol: str
    time_ms: int
    last: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int
    mark_price: Decimal
    index_price: Decimal
    funding_rate: Decimal
    next_funding_ms: int
    open_interest: Decimal


class Minute(NamedTuple):
    """The latest state of a live market's one-minute bar; `closed` is sent once, with the final values."""

    symbol: str
    time_ms: int
    bar: Bar
    closed: bool


Moment = Tick | Quote | Minute


@runtime_checkable
class LiveMarket(Market, Protocol):
    """Real prices from another exchange. Prices are pushed; history is fetched.

    The exchange's loop is
        await market.start()
        async for moment in market.moments(): set the clock to moment.time_ms, then match orders
        await market.close()
    Before calling `bars` or `candles` on behalf of a client it awaits `load` with the same range, which fetches missing
    data from upstream; the synchronous calls then answer from memory. Unlike other markets, a live one
    includes the forming candle in `candles`. `bar` and `bars` have the minutes of the last day without `load`.
    """

    async def start(self) -> None:
        """Fetches instruments and prices and subscribes. Raises `MarketError` when upstream
        is unreachable or refuses."""

    async def close(self) -> None:
        """Closes connections and tasks, which also ends `moments`."""

    def moments(self) -> AsyncIterator[Moment]:
        """Yields trades, changed quotes and minutes in order of arrival until `close`. One consumer at a time.

        While upstream is unavailable nothing is yielded and `connected` is False; it then resumes with fresh quotes.
        """

    @property
    def connected(self) -> bool:
        """False while upstream is unavailable: the exchange then keeps using the last prices."""

    def quote(self, symbol: str) -> Quote:
        """The latest ticker."""

    async def load(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> None:
        """Fetches the data for `candles(symbol, interval, from_ms, to_ms)`. `MarketError` when upstream refuses."""
