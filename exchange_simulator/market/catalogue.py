"""Instruments: a table of well-known symbols, and a plausible instrument for any other.

Tick, step and leverage have the order of magnitude of Bybit's USDT perpetuals; prices and daily turnovers are starting
points for the generator.
"""

import hashlib
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal

from exchange_simulator.market import sessions
from exchange_simulator.market.model import Instrument, RiskTier


@dataclass(frozen=True, slots=True)
class Known:
    """Table entry of one symbol."""

    symbol: str
    price: float  # typical, in USDT
    tick: str
    step: str
    turnover: float  # USDT per day
    max_leverage: int
    beta: float  # to the market factor
    idio: float  # idiosyncratic volatility per day
    major: bool = False  # majors do not pump


_TABLE = (
    Known("BTCUSDT", 95_000.0, "0.10", "0.001", 5.0e9, 100, 1.0, 0.005, major=True),
    Known("ETHUSDT", 3_400.0, "0.01", "0.01", 3.0e9, 100, 1.15, 0.010, major=True),
    Known("SOLUSDT", 180.0, "0.010", "0.1", 1.2e9, 100, 1.3, 0.016, major=True),
    Known("XRPUSDT", 2.20, "0.0001", "0.1", 7.0e8, 75, 1.1, 0.018),
    Known("DOGEUSDT", 0.300, "0.00001", "1", 5.0e8, 75, 1.35, 0.020),
    Known("BNBUSDT", 650.0, "0.10", "0.01", 3.0e8, 75, 0.9, 0.012, major=True),
    Known("ADAUSDT", 0.850, "0.0001", "1", 2.0e8, 75, 1.25, 0.020),
    Known("AVAXUSDT", 35.0, "0.001", "0.1", 1.5e8, 75, 1.35, 0.022),
    Known("LINKUSDT", 18.0, "0.001", "0.1", 1.6e8, 75, 1.25, 0.022),
    Known("LTCUSDT", 110.0, "0.01", "0.1", 1.0e8, 75, 1.0, 0.018),
    Known("DOTUSDT", 6.50, "0.0001", "0.1", 8.0e7, 75, 1.25, 0.020),
    Known("BCHUSDT", 430.0, "0.05", "0.01", 7.0e7, 50, 1.0, 0.020),
    Known("NEARUSDT", 5.20, "0.0001", "0.1", 7.0e7, 50, 1.4, 0.026),
    Known("UNIUSDT", 11.0, "0.001", "0.1", 6.0e7, 50, 1.3, 0.026),
    Known("AAVEUSDT", 280.0, "0.01", "0.01", 7.0e7, 50, 1.3, 0.026),
    Known("ATOMUSDT", 6.80, "0.0001", "0.1", 4.0e7, 50, 1.2, 0.022),
    Known("FILUSDT", 4.80, "0.0001", "0.1", 5.0e7, 50, 1.35, 0.024),
    Known("INJUSDT", 21.0, "0.001", "0.1", 5.0e7, 50, 1.45, 0.030),
    Known("ETCUSDT", 26.0, "0.001", "0.1", 4.0e7, 50, 1.2, 0.020),
    Known("HBARUSDT", 0.250, "0.00001", "1", 8.0e7, 50, 1.3, 0.030),
    Known("TRXUSDT", 0.240, "0.00001", "1", 5.0e7, 75, 0.6, 0.014, major=True),
    Known("XLMUSDT", 0.380, "0.00001", "1", 6.0e7, 50, 1.1, 0.026),
    Known("ICPUSDT", 10.0, "0.001", "0.1", 3.0e7, 50, 1.3, 0.024),
    Known("CRVUSDT", 0.800, "0.0001", "0.1", 4.0e7, 50, 1.4, 0.032),
    Known("FETUSDT", 1.30, "0.0001", "1", 5.0e7, 50, 1.5, 0.032),
    Known("GRTUSDT", 0.220, "0.00001", "0.1", 2.2e7, 50, 1.35, 0.026),
    Known("ALGOUSDT", 0.320, "0.0001", "0.1", 3.0e7, 50, 1.25, 0.024),
    Known("VETUSDT", 0.0480, "0.00001", "1", 2.5e7, 50, 1.3, 0.024),
    Known("STXUSDT", 1.70, "0.0001", "0.1", 2.5e7, 50, 1.4, 0.028),
    Known("THETAUSDT", 2.10, "0.0001", "0.1", 2.0e7, 25, 1.3, 0.026),
    Known("IOTAUSDT", 0.300, "0.0001", "0.1", 1.8e7, 25, 1.25, 0.026),
    Known("CAKEUSDT", 2.60, "0.0001", "0.1", 1.6e7, 25, 1.2, 0.024),
    Known("SUIUSDT", 3.60, "0.0001", "10", 4.0e8, 75, 1.5, 0.030),
    Known("APTUSDT", 9.50, "0.0010", "0.01", 1.0e8, 50, 1.4, 0.026),
    Known("ARBUSDT", 0.800, "0.0001", "0.1", 1.0e8, 50, 1.4, 0.026),
    Known("OPUSDT", 1.90, "0.0001", "0.1", 9.0e7, 50, 1.45, 0.028),
    Known("1000PEPEUSDT", 0.0180, "0.0000010", "100", 5.0e8, 50, 1.6, 0.038),
    Known("SHIB1000USDT", 0.0240, "0.000001", "10", 9.0e7, 50, 1.4, 0.028),
    Known("WIFUSDT", 1.80, "0.0001", "1", 2.0e8, 50, 1.6, 0.040),
    Known("TIAUSDT", 5.00, "0.001", "0.1", 9.0e7, 50, 1.5, 0.032),
)
TABLE = {known.symbol: known for known in _TABLE}
DEFAULT_SYMBOLS = tuple(known.symbol for known in _TABLE[:30])


def digest(*parts: object) -> int:
    """A stable 128-bit hash of these parts: the same in every process and on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def known(symbol: str) -> Known:
    """The table entry, or for an unknown symbol a generated one that depends only on the symbol."""
    if symbol in TABLE:
        return TABLE[symbol]
    if symbol.endswith("PERP") and (base := symbol.removesuffix("PERP")) + "USDT" in TABLE:
        return replace(TABLE[base + "USDT"], symbol=symbol)
    draw = digest("catalogue", symbol)
    decade = draw % 5 - 2  # price from 0.01 to 1000
    price = round((1 + (draw >> 8) % 900 / 100) * 10.0**decade, 4 - decade)
    step = "0.1" if price >= 1 else "1"
    turnover = 1.2e7 * (1 + (draw >> 24) % 8)
    beta, idio = 1.2 + (draw >> 40) % 40 / 100, 0.024 + (draw >> 56) % 16 / 1000
    return Known(symbol, price, f"{10.0 ** (decade - 4):.{4 - decade}f}", step, turnover, 25, beta, idio)


def instrument(
    symbol: str,
    *,
    price: Decimal,
    launch_ms: int,
    tick: Decimal | None = None,
    step: Decimal | None = None,
    max_leverage: int | None = None,
    min_notional: Decimal = Decimal(5),
) -> Instrument:
    """A tradable instrument around a typical price.

    Missing filters come from the table, or for a symbol outside it from the typical price: minimum order of one step,
    maximum of about 20 million USDT, leverage up to 25.
    """
    row = known(symbol)
    traded = sessions.underlying(symbol)
    coin = "USDC" if symbol.endswith("PERP") and symbol != "PERP" else "USDT"
    tick = Decimal(row.tick) if tick is None else tick
    step = Decimal(row.step) if step is None else step
    leverage = Decimal(row.max_leverage if max_leverage is None else max_leverage)
    largest = max(((Decimal(20_000_000) / price) / step).to_integral_value(ROUND_CEILING) * step, step * 1000)
    cap = Decimal("0.00375") if leverage >= 75 else Decimal("0.0075") if leverage >= 50 else Decimal("0.02")
    return Instrument(
        symbol=symbol,
        base_coin=symbol.removesuffix("PERP" if coin == "USDC" else "USDT") or symbol,
        quote_coin=coin,
        settle_coin=coin,
        tick_size=tick,
        min_price=tick,
        max_price=tick * 19_999_998,
        qty_step=step,
        min_order_qty=step,
        max_order_qty=largest,
        max_mkt_order_qty=(largest / 5 / step).to_integral_value(ROUND_CEILING) * step,
        min_notional=min_notional,
        min_leverage=Decimal(1),
        max_leverage=leverage,
        leverage_step=Decimal("0.01"),
        launch_ms=launch_ms,
        delivery_ms=0,
        funding_interval_min=480,
        upper_funding_rate=cap,
        lower_funding_rate=-cap,
        price_limit_ratio_x=Decimal("0.01") if row.major else Decimal("0.05"),
        price_limit_ratio_y=Decimal("0.02") if row.major else Decimal("0.1"),
        price_scale=decimals(tick),
        symbol_id=1 + digest("symbol", symbol) % 9_999,
        risk_tiers=_tiers(leverage, Decimal(2_000_000) if row.major else Decimal(200_000)),
        symbol_type=traded.symbol_type if traded else "",
        market_region=traded.region if traded else "",
    )


def decimals(number: Decimal) -> int:
    """Number of decimals without trailing zeros: 1 for 0.10, 0 for 100."""
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _tiers(max_leverage: Decimal, first_limit: Decimal) -> tuple[RiskTier, ...]:
    """Risk limits: each tier doubles the limit and lowers the leverage; maintenance margin is half the initial."""
    tiers: list[RiskTier] = []
    deduction, previous = Decimal(0), Decimal(0)
    for number, divisor in enumerate(("1", "2", "4", "5", "10", "20"), start=1):
        leverage = max(Decimal(1), (max_leverage / Decimal(divisor)).quantize(Decimal("0.01")))
        initial = (1 / leverage).quantize(Decimal("0.0001"))
        maintenance = initial / 2
        limit = first_limit * 2 ** (number - 1)
        if tiers:
            deduction += tiers[-1].limit_value * (maintenance - previous)
        tiers.append(RiskTier(number, limit, maintenance, initial, leverage, deduction))
        previous = maintenance
    return tuple(tiers)
