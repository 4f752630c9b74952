"""Funding model of the generated market: premium over the index, funding rate, open interest.

All three are functions of (seed, symbol, time) and the trend of the last day, passed in by the market. Funding uses
Bybit's formula: rate = premium + clamp(0.01 % - premium, -0.05 %, +0.05 %), bounded by the instrument's caps; in a calm
market that is exactly 0.01 %.
"""

import math
from decimal import Decimal

from exchange_simulator.market.catalogue import digest
from exchange_simulator.market.model import HOUR_MS, Instrument

_INTEREST = 0.0001
_CLAMP = 0.0005


def smooth_noise(seed: int, symbol: str, what: str, time_ms: int, period_ms: int) -> float:
    """A smooth random function of time with values in [-1, 1] and one knot per `period_ms`."""
    knot, rest = divmod(time_ms, period_ms)
    left, right = (_unit(seed, symbol, what, knot + step) for step in (0, 1))
    share = rest / period_ms
    return left + (right - left) * share * share * (3 - 2 * share)


def premium(seed: int, symbol: str, time_ms: int, day_return: float) -> float:
    """(perpetual - index) / index: noise within 0.04 %, skewed towards the trend, bounded to 0.4 %."""
    noise = 0.0004 * smooth_noise(seed, symbol, "premium", time_ms, 2 * HOUR_MS)
    return max(-0.004, min(0.004, noise + 0.012 * math.tanh(day_return)))


def funding_rate(instrument: Instrument, premium_rate: float) -> Decimal:
    """The rate at which longs pay shorts, for a premium averaged over the funding interval."""
    rate = premium_rate + max(-_CLAMP, min(_CLAMP, _INTEREST - premium_rate))
    bounded = min(max(Decimal(f"{rate:.8f}"), instrument.lower_funding_rate), instrument.upper_funding_rate)
    return bounded.quantize(Decimal("0.00000001")).normalize() + Decimal(0)


def open_interest(seed: int, instrument: Instrument, time_ms: int, usual: float) -> Decimal:
    """Open interest in the base coin, within about a factor of two of `usual`, in whole steps."""
    factor = math.exp(
        0.5 * smooth_noise(seed, instrument.symbol, "interest", time_ms, 96 * HOUR_MS)
        + 0.1 * smooth_noise(seed, instrument.symbol, "interest-fast", time_ms, 3 * HOUR_MS)
    )
    steps = int(Decimal(usual * factor) / instrument.qty_step)
    return steps * instrument.qty_step


def _unit(seed: int, symbol: str, what: str, knot: int) -> float:
    return digest(seed, symbol, what, knot) / 2**127 - 1
