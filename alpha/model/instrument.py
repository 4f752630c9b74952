"""An instrument and its trading rules."""

from decimal import Decimal

from msgspec import Struct


class Instrument(Struct, frozen=True, gc=False):
    """A tradable contract and its filters. `delivery_ms` is set once a delivery or delisting is scheduled.

    `symbol_type` is "" for an ordinary coin, otherwise Bybit's value (innovation, stock, ...); `market_region` names the
    market of a stock (US, CN, HK, KR), "" where there is none.
    """

    category: str
    symbol: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    contract_type: str
    symbol_type: str
    status: str
    launch_ms: int | None
    delivery_ms: int | None
    tick_size: Decimal
    min_price: Decimal
    max_price: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    max_order_qty: Decimal
    max_market_qty: Decimal
    min_notional: Decimal
    min_leverage: Decimal
    max_leverage: Decimal
    leverage_step: Decimal
    funding_interval_min: int | None
    market_region: str = ""
