"""Momentum: buys a 4-hour close above narrow Bollinger bands on high volume, and trails a stop below the highest high."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, overload

import numpy as np

from alpha.indicators import (
    DAY_MS,
    adx,
    adx_history,
    bollinger,
    completed_days,
    relative_volume,
    share_below,
    sma,
)
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.arrays import ArrayRules, Levels, Raise
from alpha.strategy.bars import Bars, BarView, BoolArray, FloatArray, Series
from alpha.strategy.base import BarContext, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, OfEquity
from alpha.strategy.risk_rules import Action, LossLimit, Rules, Until, Window
from strategies.momentum.parameters import BTC, MomentumParameters

BELOW = "close below its average"
RAISED = "below the highest high"
INTERVAL = "240"
INTERVAL_MS = 4 * 3_600_000
_FULL_VOLUME = 5.0  # a relative volume that scores 1
_FULL_RISE = 0.1  # a rise above the SMA that scores 1


class Momentum(Strategy[MomentumParameters, StrategyState]):
    """Long-only volatility breakout over a list of symbols. Its only state is the positions themselves."""

    parameters_type = MomentumParameters

    @property
    def interval(self) -> str:
        """Four hours."""
        return INTERVAL

    @property
    def history(self) -> int:
        """Bars for the band widths' ranking, the mean volume and, with the filter on, BTC's completed days."""
        p = self.parameters
        need = max(p.bands_period + p.width_lookback, p.volume_period + 1)
        if p.btc_filter:
            days = max(p.btc_sma_days, adx_history(p.btc_adx_days, DAY_MS)) + 2
            need = max(need, days * (DAY_MS // INTERVAL_MS))
        return need

    @property
    def universe(self) -> Universe:
        """The listed symbols."""
        return Universe(symbols=self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        """Three positions at most; a day's, week's, month's loss and the drawdown are limited."""
        p = self.parameters
        return Rules(
            leverage=p.leverage,
            adverse_first="low-first",
            max_positions=p.max_positions,
            loss_limits=(
                LossLimit(Window.DAY, p.day_loss, Action.NO_ENTRIES, Until.WINDOW_END),
                LossLimit(Window.WEEK, p.week_loss, Action.HALF_SIZE, Until.WINDOW_END),
                LossLimit(Window.MONTH, p.month_loss, Action.NO_ENTRIES, Until.RESUMED),
                LossLimit(Window.DRAWDOWN, p.drawdown, Action.NO_ENTRIES, Until.RESUMED),
            ),
        )

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """`sma`, `upper`, `percentile` (0 to 1), `rvr`; with the filter on, for BTC: `rising` (1 or 0)."""
        p = self.parameters
        bands = bollinger(bars.close, p.bands_period, p.bands_deviations)
        found = {
            "sma": bands.middle,
            "upper": bands.upper,
            "percentile": share_below(bands.width, p.width_lookback),
            "rvr": relative_volume(bars.volume, p.volume_period),
        }
        if p.btc_filter and bars.symbol == BTC:
            found["rising"] = self._rising(bars)
        return found

    def _rising(self, bars: Bars) -> FloatArray:
        """1 where the newest completed day closed above its average in a trend, 0 where not, NaN until known."""
        p = self.parameters
        result = np.full(len(bars), np.nan)
        if not len(bars):
            return result
        days = completed_days(bars.high, bars.low, bars.close, int(bars.start_ms[0]), bars.interval_ms)
        average = sma(days.close, p.btc_sma_days)
        trend = adx(days.high, days.low, days.close, p.btc_adx_days, days.first_ms, DAY_MS)
        rising = np.where(
            np.isnan(average) | np.isnan(trend), np.nan, (days.close > average) & (trend > p.btc_min_adx)
        ).astype(np.float64)
        known = days.known >= 0
        result[known] = rising[days.known[known]]
        return result

    def may_enter(self, series: Series) -> BoolArray:
        """Where the entry rule holds."""
        p, of = self.parameters, series.indicators
        close = series.bars.close
        holds: BoolArray = (
            (of["percentile"] < p.max_width_percentile)
            & (close > of["upper"])
            & (of["rvr"] > p.min_relative_volume)
            & (close > of["sma"])
        )
        return holds

    def arrays(self, series: Mapping[str, Series]) -> ArrayRules | None:
        """The same rules as `evaluate`, over all bars."""
        p = self.parameters
        opens = self._filter_bars(series)
        enters, scores, leaves = {}, {}, {}
        for symbol, one in series.items():
            enters[symbol] = self.may_enter(one) if opens is None else self.may_enter(one) & opens[symbol]
            leaves[symbol] = _leaves(one.bars.close, one.indicators)
            scores[symbol] = _score(one.bars.close, one.indicators)
        return ArrayRules(
            direction=Direction.LONG,
            size=OfEquity(min(p.risk / p.stop, p.max_size)),
            enters=enters,
            leaves=leaves,
            levels=dict.fromkeys(series, Levels(p.stop)),
            enter=self._entry,
            leave=lambda _held_ms, bar: Exit(bar.symbol, Reason.SIGNAL, why=BELOW),
            score=scores,
            raises=Raise(p.stop, Reason.TRAILING_STOP, RAISED),
            held_order=True,
        )

    def _filter_bars(self, series: Mapping[str, Series]) -> dict[str, BoolArray] | None:
        """Where the BTC filter is open, on each symbol's own bars; None when it is off."""
        if not self.parameters.btc_filter:
            return None
        found = {}
        btc = series.get(BTC)
        for symbol, one in series.items():
            opens = np.zeros(len(one.bars), dtype=np.bool_)
            if btc is not None and len(btc.bars):
                times = one.bars.start_ms
                places = np.minimum(np.searchsorted(btc.bars.start_ms, times), len(btc.bars) - 1)
                opens = (
                    (btc.bars.start_ms[places] == times) & btc.ready[places] & (btc.indicators["rising"][places] == 1.0)
                )
            found[symbol] = opens
        return found

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """Exits and raised stops of what is held, then entries, best first."""
        held = moment.portfolio.positions
        intents: list[Intent] = []
        for symbol, position in held.items():
            bar = moment.bars.get(symbol)
            if bar is None:
                continue
            if _leaves(bar.close, bar):
                intents.append(Exit(symbol, Reason.SIGNAL, why=BELOW))
            elif position.highest_high is not None:
                raised = position.highest_high * (1 - self.parameters.stop)
                intents.append(MoveStop(symbol, raised, Reason.TRAILING_STOP, why=RAISED))
        if not self._filter_open(moment):
            return intents
        signals = [bar for symbol, bar in moment.bars.items() if symbol not in held and self.enters(bar)]
        signals.sort(key=lambda bar: _score(bar.close, bar), reverse=True)
        return intents + [self._entry(bar) for bar in signals]

    def _filter_open(self, moment: BarContext) -> bool:
        if not self.parameters.btc_filter:
            return True
        btc = moment.bars.get(BTC)
        return btc is not None and btc["rising"] == 1.0

    def _entry(self, bar: BarView) -> Enter:
        p = self.parameters
        size: Decimal = min(p.risk / p.stop, p.max_size)
        return Enter(bar.symbol, Direction.LONG, OfEquity(size), stop=p.stop, why=f"score {_score(bar.close, bar):.2f}")


@overload
def _leaves(close: float, of: BarView) -> bool: ...
@overload
def _leaves(close: FloatArray, of: Mapping[str, FloatArray]) -> BoolArray: ...
def _leaves(close: Any, of: Any) -> Any:
    """The exit, of one bar or of all: closed below the average."""
    return close < of["sma"]


@overload
def _score(close: float, of: BarView) -> float: ...
@overload
def _score(close: FloatArray, of: Mapping[str, FloatArray]) -> FloatArray: ...
def _score(close: Any, of: Any) -> Any:
    """Narrowness, volume and rise, each 0 to 1, in equal parts; of one bar or of all."""
    narrow = 1.0 - of["percentile"]
    volume = np.minimum(of["rvr"] / _FULL_VOLUME, 1.0)
    rise = np.minimum((close / of["sma"] - 1.0) / _FULL_RISE, 1.0)
    return (narrow + volume + rise) / 3.0
