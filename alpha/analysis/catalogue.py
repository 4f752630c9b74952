"""The kinds of indicators that an analysis can hold: parameters, history, values and the vote of each.

A vote is 1 (buy), -1 (sell) or 0 (neutral) per candle, NaN where the value is not known. docs/analysis.md explains every vote;
the text of each is `Kind.vote_rule`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from alpha import indicators as ind
from alpha.indicators import Floats
from alpha.timeframes import Columns

Parameters = Mapping[str, float]


class Group(StrEnum):
    """Which of the two halves of a rating an indicator votes in."""

    AVERAGES = "averages"
    OSCILLATORS = "oscillators"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its default, and the smallest and largest value that are accepted."""

    default: float
    least: float
    most: float
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `outputs` are the endings of its values' names, the first one always empty.

    `history(parameters, interval_ms)` is how many closed candles the newest value and vote may need. `compute` returns one
    array of float64, shape (n,), per output, for n consecutive candles. `vote` takes the same candles and those arrays.
    """

    name: str
    about: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[str, ...]
    history: Callable[[Parameters, int], int]
    compute: Callable[[Columns, int, Parameters], tuple[Floats, ...]]
    group: Group = Group.NONE
    vote: Callable[[Columns, tuple[Floats, ...], Parameters], Floats] | None = None
    vote_rule: str = "none"


def _period(default: int, least: int = 1) -> dict[str, Parameter]:
    return {"period": Parameter(default, least, 100_000)}


def _n(parameters: Parameters, name: str = "period") -> int:
    return int(parameters[name])


def _first(candles: Columns) -> int:
    return int(candles.start_ms[0])


def _sign(values: Floats) -> Floats:
    result: Floats = np.sign(values)
    return result


def _above(candles: Columns, values: tuple[Floats, ...], _: Parameters) -> Floats:
    return _sign(candles.close - values[0])


def _positive(_: Columns, values: tuple[Floats, ...], __: Parameters) -> Floats:
    return _sign(values[0])


def _reversal(values: Floats, low: float, high: float) -> Floats:
    """1 where a value below `low` rises, -1 where one above `high` falls; it needs the value before."""
    before = ind.lagged(values, 1)
    vote = np.where((values < low) & (values > before), 1.0, np.where((values > high) & (values < before), -1.0, 0.0))
    return np.where(np.isnan(values) | np.isnan(before), np.nan, vote)


def _reversal_between(_: Columns, values: tuple[Floats, ...], parameters: Parameters) -> Floats:
    return _reversal(values[0], parameters["low"], parameters["high"])


def _levels(low: float, high: float, least: float = 0.0, most: float = 100.0) -> dict[str, Parameter]:
    return {"low": Parameter(low, least, most, whole=False), "high": Parameter(high, least, most, whole=False)}


def _stochastic_vote(_: Columns, values: tuple[Floats, ...], parameters: Parameters) -> Floats:
    k, d = values
    low, high = parameters["low"], parameters["high"]
    vote = np.where((k < low) & (d < low) & (k > d), 1.0, np.where((k > high) & (d > high) & (k < d), -1.0, 0.0))
    return np.where(np.isnan(k) | np.isnan(d), np.nan, vote)


def _macd_vote(_: Columns, values: tuple[Floats, ...], __: Parameters) -> Floats:
    return _sign(values[0] - values[1])


def _adx_vote(_: Columns, values: tuple[Floats, ...], parameters: Parameters) -> Floats:
    strength, plus, minus = values
    vote = np.where(strength > parameters["threshold"], np.sign(plus - minus), 0.0)
    return np.where(np.isnan(strength) | np.isnan(plus) | np.isnan(minus), np.nan, vote)


def _inside_bands(candles: Columns, values: tuple[Floats, ...], _: Parameters) -> Floats:
    upper, lower = values[1], values[2]
    vote = np.where(candles.close < lower, 1.0, np.where(candles.close > upper, -1.0, 0.0))
    return np.where(np.isnan(upper) | np.isnan(lower), np.nan, vote)


def _outside_channel(candles: Columns, values: tuple[Floats, ...], parameters: Parameters) -> Floats:
    return -_inside_bands(candles, values, parameters) + 0.0


def _direction(_: Columns, values: tuple[Floats, ...], __: Parameters) -> Floats:
    return values[1].copy()


def _far(_: Columns, values: tuple[Floats, ...], parameters: Parameters) -> Floats:
    away, limit = values[0], parameters["limit"]
    vote = np.where(away < -limit, 1.0, np.where(away > limit, -1.0, 0.0))
    return np.where(np.isnan(away), np.nan, vote)


def _compute_macd(c: Columns, interval_ms: int, p: Parameters) -> tuple[Floats, ...]:
    return tuple(ind.macd(c.close, _n(p, "fast"), _n(p, "slow"), _n(p, "signal"), _first(c), interval_ms)[:2])


def _compute_adx(c: Columns, interval_ms: int, p: Parameters) -> tuple[Floats, ...]:
    found = ind.directional(c.high, c.low, c.close, _n(p), _first(c), interval_ms)
    return found.adx, found.plus, found.minus


def _compute_bollinger(c: Columns, _: int, p: Parameters) -> tuple[Floats, ...]:
    bands = ind.bollinger(c.close, _n(p), p["deviations"])
    return bands.middle, bands.upper, bands.lower


def _compute_keltner(c: Columns, interval_ms: int, p: Parameters) -> tuple[Floats, ...]:
    channel = ind.keltner(
        c.high, c.low, c.close, _n(p), p["multiple"], _first(c), interval_ms, atr_n=_n(p, "atr_period")
    )
    return channel.middle, channel.upper, channel.lower


def _compute_donchian(c: Columns, _: int, p: Parameters) -> tuple[Floats, ...]:
    channel = ind.donchian(c.high, c.low, _n(p))
    return channel.middle, channel.upper, channel.lower


_ABOVE_RULE = "buy when the close is above it, sell when below"

_ALL = (
    Kind(
        "sma", "simple moving average of closes", _period(20), ("",),
        lambda p, _: _n(p),
        lambda c, _, p: (ind.sma(c.close, _n(p)),),
        Group.AVERAGES, _above, _ABOVE_RULE,
    ),
    Kind(
        "ema", "exponential moving average of closes", _period(20), ("",),
        lambda p, ms: ind.bars_of_history(ind.ema_warm_up(_n(p)), ms),
        lambda c, ms, p: (ind.ema(c.close, _n(p), _first(c), ms),),
        Group.AVERAGES, _above, _ABOVE_RULE,
    ),
    Kind(
        "vwap", "average price of the UTC day so far, weighted with volume", {}, ("",),
        lambda _, ms: ind.session_history(ms),
        lambda c, ms, _: (ind.session_vwap(c.high, c.low, c.close, c.volume, _first(c), ms),),
        Group.AVERAGES, _above, _ABOVE_RULE,
    ),
    Kind(
        "donchian", "mean, highest high and lowest low of a number of candles", _period(20), ("", "upper", "lower"),
        lambda p, _: _n(p),
        _compute_donchian,
        Group.AVERAGES, _above, "buy when the close is above the middle, sell when below",
    ),
    Kind(
        "supertrend", "supertrend line, and its direction (1 rising, -1 falling)",
        {**_period(10), "multiple": Parameter(3.0, 0.1, 100, whole=False)}, ("", "direction"),
        lambda p, ms: ind.supertrend_history(_n(p), ms),
        lambda c, ms, p: tuple(ind.supertrend(c.high, c.low, c.close, _n(p), p["multiple"], _first(c), ms)),
        Group.AVERAGES, _direction, "buy while the direction is 1, sell while it is -1",
    ),
    Kind(
        "keltner", "Keltner channel: exponential average, and average true ranges around it",
        {**_period(20), "multiple": Parameter(2.0, 0.1, 100, whole=False), "atr_period": Parameter(10, 1, 100_000)},
        ("", "upper", "lower"),
        lambda p, ms: ind.keltner_history(_n(p), ms, atr_n=_n(p, "atr_period")),
        _compute_keltner,
        Group.AVERAGES, _outside_channel, "buy when the close is above the upper line, sell when below the lower one",
    ),
    Kind(
        "rsi", "Wilder's relative strength index, 0 to 100", {**_period(14), **_levels(30, 70)}, ("",),
        lambda p, ms: ind.rsi_history(_n(p), ms) + 1,
        lambda c, ms, p: (ind.rsi(c.close, _n(p), _first(c), ms),),
        Group.OSCILLATORS, _reversal_between, "buy when below `low` (30) and rising, sell when above `high` (70) and falling",
    ),
    Kind(
        "stochastic", "smoothed %K and its average %D, 0 to 100",
        {**_period(14), "smooth": Parameter(3, 1, 1_000), "d": Parameter(3, 1, 1_000), **_levels(20, 80)}, ("", "d"),
        lambda p, _: _n(p) + _n(p, "smooth") + _n(p, "d"),
        lambda c, _, p: tuple(ind.stochastic(c.high, c.low, c.close, _n(p), _n(p, "smooth"), _n(p, "d"))),
        Group.OSCILLATORS, _stochastic_vote,
        "buy when %K and %D are below `low` (20) and %K is above %D, sell when both are above `high` (80) and %K is below %D",
    ),
    Kind(
        "cci", "commodity channel index", {**_period(20, 2), **_levels(-100, 100, -10_000, 10_000)}, ("",),
        lambda p, _: _n(p) + 1,
        lambda c, _, p: (ind.cci(c.high, c.low, c.close, _n(p)),),
        Group.OSCILLATORS, _reversal_between, "buy when below `low` (-100) and rising, sell when above `high` (100) and falling",
    ),
    Kind(
        "mfi", "money flow index, 0 to 100", {**_period(14), **_levels(20, 80)}, ("",),
        lambda p, _: _n(p) + 2,
        lambda c, _, p: (ind.money_flow_index(c.high, c.low, c.close, c.volume, _n(p)),),
        Group.OSCILLATORS, _reversal_between, "buy when below `low` (20) and rising, sell when above `high` (80) and falling",
    ),
    Kind(
        "macd", "MACD line and its signal line",
        {"fast": Parameter(12, 1, 100_000), "slow": Parameter(26, 1, 100_000), "signal": Parameter(9, 1, 100_000)},
        ("", "signal"),
        lambda p, ms: ind.macd_history(_n(p, "fast"), _n(p, "slow"), _n(p, "signal"), ms),
        _compute_macd,
        Group.OSCILLATORS, _macd_vote, "buy when the line is above its signal, sell when below",
    ),
    Kind(
        "adx", "Wilder's average directional index, +DI and -DI, 0 to 100",
        {**_period(14), "threshold": Parameter(20, 0, 100, whole=False)}, ("", "plus", "minus"),
        lambda p, ms: ind.adx_history(_n(p), ms),
        _compute_adx,
        Group.OSCILLATORS, _adx_vote, "above `threshold` (20): buy when +DI is above -DI, sell when below; else neutral",
    ),
    Kind(
        "bollinger", "Bollinger bands: simple average, and sample standard deviations around it",
        {**_period(20, 2), "deviations": Parameter(2.0, 0.1, 100, whole=False)}, ("", "upper", "lower"),
        lambda p, _: _n(p),
        _compute_bollinger,
        Group.OSCILLATORS, _inside_bands, "buy when the close is below the lower band, sell when above the upper one",
    ),
    Kind(
        "z_score", "sample standard deviations between the close and its average",
        {**_period(20, 2), "limit": Parameter(2.0, 0, 100, whole=False)}, ("",),
        lambda p, _: _n(p),
        lambda c, _, p: (ind.z_score(c.close, _n(p)),),
        Group.OSCILLATORS, _far, "buy when below -`limit` (2), sell when above `limit`",
    ),
    Kind(
        "change", "change of the close over a number of candles, in per cent", _period(10), ("",),
        lambda p, _: _n(p) + 1,
        lambda c, _, p: (ind.change_pct(c.close, _n(p)),),
        Group.OSCILLATORS, _positive, "buy when above zero, sell when below",
    ),
    Kind(
        "obv", "change of on-balance volume over a number of candles, in base coin", _period(20), ("",),
        lambda p, _: _n(p) + 1,
        lambda c, _, p: (ind.on_balance_volume(c.close, c.volume, _n(p)),),
        Group.OSCILLATORS, _positive, "buy when above zero, sell when below",
    ),
    Kind(
        "atr", "Wilder's average true range, in USDT", _period(14), ("",),
        lambda p, ms: ind.atr_history(_n(p), ms),
        lambda c, ms, p: (ind.atr(c.high, c.low, c.close, _n(p), _first(c), ms),),
    ),
    Kind(
        "relative_volume", "volume divided by the mean volume of the candles before", _period(20), ("",),
        lambda p, _: _n(p) + 1,
        lambda c, _, p: (ind.relative_volume(c.volume, _n(p)),),
    ),
)  # fmt: skip
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
