"""Features by name: `rsi(14)`, `change(3)@60`. The only inputs a model may have.

All come from `alpha.indicators` and `alpha.timeframes`, so that a value depends on a fixed number of closed bars and is the
same to the bit in training, live and in a back-test. `@60` computes the feature on the 60-minute candles made of the base
candles; its value at a bar is that of the newest such candle that had ended by the bar's end.

Three come from recorded ticks (`alpha.scoring.flow`). A bot has no ticks, so a model with one of them is never promoted.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alpha import indicators as ta
from alpha.errors import Misconfigured, shown
from alpha.model.interval import INTERVAL_MS
from alpha.scoring import flow as flows
from alpha.timeframes import Columns, aggregate, frame_ms, known_at

Floats = NDArray[np.float64]
#: Raise when a formula below changes: a model trained on the old one is then refused.
FORMULAS = 1
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Formula:
    """A kind of feature. `compute(candles, interval_ms, *numbers)` gives one float64 per candle, NaN where unknown.

    `history(interval_ms, *numbers)` is how many closed candles the newest value needs, `window` how many it averages over.
    With `ticks` the first argument of `compute` is a `Flow`.
    """

    numbers: int
    compute: Callable[..., Floats]
    history: Callable[..., int]
    window: Callable[..., int]
    about: str
    ticks: bool = False


def _first(candles: Columns) -> int:
    return int(candles.start_ms[0]) if len(candles.start_ms) else 0


def _band(c: Columns, _: int, n: int) -> Floats:
    bands = ta.bollinger(c.close, n, 2.0)
    return ta.ratio(c.close - bands.middle, bands.upper - bands.lower)


def _place_in_range(c: Columns, _: int, n: int) -> Floats:
    bottom = ta.lowest(c.low, n)
    return ta.ratio(c.close - bottom, ta.highest(c.high, n) - bottom)


def _body(c: Columns, _: int) -> Floats:
    span = c.high - c.low
    return np.where(span == 0.0, 0.0, ta.ratio(c.close - c.open, span))


def _hour(c: Columns, interval_ms: int) -> Floats:
    return ((c.start_ms + interval_ms) % _DAY_MS / 3_600_000).astype(np.float64)


def _weekday(c: Columns, interval_ms: int) -> Floats:
    return (((c.start_ms + interval_ms) // _DAY_MS + 3) % 7).astype(np.float64)


def _macd(c: Columns, ms: int, fast: int, slow: int, signal: int) -> Floats:
    return ta.ratio(ta.macd(c.close, fast, slow, signal, _first(c), ms).histogram, c.close)


def _vwap(c: Columns, ms: int) -> Floats:
    return ta.ratio(c.close, ta.session_vwap(c.high, c.low, c.close, c.volume, _first(c), ms)) - 1.0


def _window(_: int, n: int) -> int:
    return n


FORMULAS_BY_NAME: dict[str, Formula] = {
    "change": Formula(
        1, lambda c, ms, n: ta.change_pct(c.close, n), lambda ms, n: n + 1, _window, "change of the close, %"
    ),
    "volatility": Formula(
        1,
        lambda c, ms, n: ta.deviation(ta.change_pct(c.close, 1), n),
        lambda ms, n: n + 2,
        _window,
        "deviation of the changes of n bars, %",
    ),
    "zscore": Formula(
        1, lambda c, ms, n: ta.z_score(c.close, n), lambda ms, n: n, _window, "close from its mean, in deviations"
    ),
    "band": Formula(1, _band, lambda ms, n: n, _window, "place between the Bollinger bands, -0.5 to 0.5 inside"),
    "width": Formula(
        1,
        lambda c, ms, n: ta.bollinger(c.close, n, 2.0).width,
        lambda ms, n: n,
        _window,
        "width of the Bollinger bands",
    ),
    "range": Formula(1, _place_in_range, lambda ms, n: n, _window, "place in the range of n bars, 0 to 1"),
    "volume": Formula(
        1,
        lambda c, ms, n: ta.relative_volume(c.volume, n),
        lambda ms, n: n + 2,
        _window,
        "volume over the mean of the n bars before",
    ),
    "rsi": Formula(
        1,
        lambda c, ms, n: ta.rsi(c.close, n, _first(c), ms),
        lambda ms, n: ta.rsi_history(n, ms),
        _window,
        "Wilder's relative strength index",
    ),
    "adx": Formula(
        1,
        lambda c, ms, n: ta.adx(c.high, c.low, c.close, n, _first(c), ms),
        lambda ms, n: ta.adx_history(n, ms),
        lambda ms, n: 2 * n,
        "Wilder's directional index",
    ),
    "atr": Formula(
        1,
        lambda c, ms, n: ta.ratio(ta.atr(c.high, c.low, c.close, n, _first(c), ms), c.close),
        lambda ms, n: ta.atr_history(n, ms),
        _window,
        "average true range over the close",
    ),
    "ema": Formula(
        1,
        lambda c, ms, n: ta.ratio(c.close, ta.ema(c.close, n, _first(c), ms)) - 1.0,
        lambda ms, n: ta.bars_of_history(ta.ema_warm_up(n), ms),
        _window,
        "close over its exponential average, less 1",
    ),
    "macd": Formula(
        3,
        _macd,
        lambda ms, fast, slow, signal: ta.macd_history(fast, slow, signal, ms),
        lambda ms, fast, slow, signal: slow + signal,
        "MACD's histogram over the close",
    ),
    "cci": Formula(
        1,
        lambda c, ms, n: ta.cci(c.high, c.low, c.close, n),
        lambda ms, n: n,
        _window,
        "commodity channel index",
    ),
    "mfi": Formula(
        1,
        lambda c, ms, n: ta.money_flow_index(c.high, c.low, c.close, c.volume, n),
        lambda ms, n: n + 1,
        _window,
        "money flow index",
    ),
    "stochastic": Formula(
        1,
        lambda c, ms, n: ta.stochastic(c.high, c.low, c.close, n).k,
        lambda ms, n: n + 5,
        lambda ms, n: n + 5,
        "stochastic %K, smoothed over 3",
    ),
    "vwap": Formula(
        0,
        _vwap,
        lambda ms: ta.session_history(ms),
        lambda ms: ta.session_history(ms),
        "close over the day's volume-weighted average, less 1",
    ),
    "body": Formula(0, _body, lambda ms: 1, lambda ms: 1, "close less open over the candle's span"),
    "hour": Formula(0, _hour, lambda ms: 1, lambda ms: 1, "hour of the UTC day at the close"),
    "weekday": Formula(0, _weekday, lambda ms: 1, lambda ms: 1, "day of the week at the close, Monday 0"),
    "imbalance": Formula(
        1,
        lambda flow, ms, n: flows.imbalance(flow, n),
        lambda ms, n: n,
        _window,
        "takers' volume bought less sold over both, from ticks",
        ticks=True,
    ),
    "trades": Formula(
        1,
        lambda flow, ms, n: flows.trades(flow, n),
        lambda ms, n: n,
        _window,
        "trades per bar, from ticks",
        ticks=True,
    ),
    "spread": Formula(
        1,
        lambda flow, ms, n: flows.spread(flow, n),
        lambda ms, n: n,
        _window,
        "spread of the quotes in basis points, from ticks",
        ticks=True,
    ),
}
_NAME = re.compile(r"([a-z]+)\(([0-9, ]*)\)(?:@([0-9DW]+))?")
_LARGEST = 2_000


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: a formula, its numbers, and the timeframe it is computed on ("" for the base)."""

    name: str
    formula: Formula
    numbers: tuple[int, ...]
    timeframe: str

    @classmethod
    def parse(cls, text: str) -> "Feature":
        """The feature that `text` names. Misconfigured says what is wrong with it."""
        match = _NAME.fullmatch(text.replace(" ", ""))
        known = ", ".join(f"{name}({'n' * min(1, f.numbers)})" for name, f in FORMULAS_BY_NAME.items())
        if match is None or match.group(1) not in FORMULAS_BY_NAME:
            raise Misconfigured(f"The feature {shown(text)} is not known. Known: {known}; on a timeframe: rsi(14)@60.")
        formula = FORMULAS_BY_NAME[match.group(1)]
        numbers = tuple(int(part) for part in match.group(2).split(",") if part)
        if len(numbers) != formula.numbers:
            raise Misconfigured(f"The feature {shown(text)} takes {formula.numbers} whole numbers, got {len(numbers)}.")
        if any(not 1 <= number <= _LARGEST for number in numbers):
            raise Misconfigured(f"The feature {shown(text)} has a number outside 1 to {_LARGEST}.")
        if match.group(1) in ("volatility", "zscore", "band", "width") and numbers[0] < 2:
            raise Misconfigured(f"The feature {shown(text)} needs at least 2 bars.")
        frame = match.group(3) or ""
        if frame and frame not in INTERVAL_MS:
            raise Misconfigured(f"The feature {shown(text)} names no timeframe of Bybit: {', '.join(INTERVAL_MS)}.")
        if frame and formula.ticks:
            raise Misconfigured(
                f"The feature {shown(text)} comes from ticks, which are counted by base bars: leave out @{frame}."
            )
        name = f"{match.group(1)}({','.join(map(str, numbers))}){f'@{frame}' if frame else ''}"
        return cls(name, formula, numbers, frame)


class FeatureSet:
    """Features in a fixed order on a base interval. `schema` is the hash that both sides of a request compare."""

    def __init__(self, names: Sequence[str], interval: str) -> None:
        """Misconfigured for an unknown or doubled feature, or a timeframe that does not fit the interval."""
        if interval not in INTERVAL_MS:
            raise Misconfigured(f"The interval {shown(interval)} is not one of {', '.join(INTERVAL_MS)}.")
        self.interval = interval
        self.interval_ms = INTERVAL_MS[interval]
        self.features = tuple(Feature.parse(name) for name in names)
        if not self.features:
            raise Misconfigured("A model needs at least one feature.")
        self.names = tuple(feature.name for feature in self.features)
        for name in self.names:
            if self.names.count(name) > 1:
                raise Misconfigured(f"The feature {name} is named twice.")
        for feature in self.features:
            if feature.timeframe:
                frame_ms(feature.timeframe, self.interval_ms)
        self.schema = schema_hash(self.names, interval)
        self.tick_features = tuple(feature.name for feature in self.features if feature.formula.ticks)

    @property
    def history(self) -> int:
        """How many closed base bars give every feature its value at any time."""
        return max(self._in_base_bars(f, f.formula.history, newest_missing=True) for f in self.features)

    @property
    def longest_window(self) -> int:
        """The longest window of any feature, in base bars: what an embargo adds to the horizon."""
        return max(self._in_base_bars(f, f.formula.window, newest_missing=False) for f in self.features)

    def _in_base_bars(self, feature: Feature, of: Callable[..., int], *, newest_missing: bool) -> int:
        if not feature.timeframe:
            return of(self.interval_ms, *feature.numbers)
        length = frame_ms(feature.timeframe, self.interval_ms)
        # The newest frame may have ended up to one frame ago.
        return (of(length, *feature.numbers) + newest_missing) * (length // self.interval_ms)

    def compute(self, candles: Columns, flow: flows.Flow | None = None) -> NDArray[np.float32]:
        """One row per candle, one column per feature (float32, shape (n, features)), NaN where a value is unknown.

        `candles` are consecutive base candles, oldest first; `flow` is the order flow of the same bars, without which features
        from ticks are unknown. float32 is what the model reads, in training too.
        """
        count = len(candles.start_ms)
        result = np.full((count, len(self.features)), np.nan, dtype=np.float32)
        frames: dict[str, tuple[Columns, NDArray[np.int64]]] = {}
        for column, feature in enumerate(self.features):
            if feature.formula.ticks:
                if flow is None:
                    continue
                values = feature.formula.compute(flow, self.interval_ms, *feature.numbers)
            elif not feature.timeframe:
                values = feature.formula.compute(candles, self.interval_ms, *feature.numbers)
            else:
                length = frame_ms(feature.timeframe, self.interval_ms)
                if feature.timeframe not in frames:
                    joined = aggregate(candles, self.interval_ms, length)
                    frames[feature.timeframe] = (
                        joined,
                        known_at(candles.start_ms + self.interval_ms, joined.start_ms, length),
                    )
                joined, places = frames[feature.timeframe]
                if not len(joined.start_ms):
                    continue
                inside = feature.formula.compute(joined, length, *feature.numbers)
                values = np.where(places >= 0, inside[places], np.nan)
            result[:, column] = values
        result[~np.isfinite(result)] = np.nan
        return result


def schema_hash(names: Sequence[str], interval: str) -> str:
    """Sixteen hex digits that name these features in this order on this interval, and the version of their formulas."""
    text = json.dumps({"formulas": FORMULAS, "interval": interval, "features": list(names)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def row_hash(row: NDArray[np.float32]) -> str:
    """Sixteen hex digits of one row of features: what was sent, to be compared with what is recomputed."""
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()[:16]
