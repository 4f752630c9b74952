"""LXAlgo: buys a symbol that has just risen fast, and lets go of it early when it does not go on."""

from typing import Any

import msgspec
import numpy as np

from alpha.indicators import change_pct, deviation, lagged, rsi, rsi_history
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, BarView, BoolArray, FloatArray, Series, to_decimal
from alpha.strategy.base import BarContext, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, MoveStop, Notional, Trailing
from alpha.strategy.positions import OwnPosition
from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Rules, Until, Window
from strategies.lxalgo.parameters import LXAlgoParameters

INTERVAL = "5"
INTERVAL_MS = 300_000
HOUR_MS = 3_600_000


class LXAlgoState(StrategyState):
    """For each symbol, the start of the span of hours in which it was last bought (UTC milliseconds)."""

    bought: dict[str, int] = msgspec.field(default_factory=dict)


class LXAlgo(Strategy[LXAlgoParameters, LXAlgoState]):
    """Long-only, over all symbols with enough turnover."""

    parameters_type = LXAlgoParameters
    state_type = LXAlgoState

    @property
    def interval(self) -> str:
        """Five minutes."""
        return INTERVAL

    @property
    def history(self) -> int:
        """Bars for the RSI's warm-up before the day, or for the changes where those reach further back."""
        p = self.parameters
        return max(rsi_history(p.rsi_period, INTERVAL_MS), p.lookback + 1, p.pump_bars + 1)

    @property
    def universe(self) -> Universe:
        """The listed symbols, or all with enough turnover."""
        p = self.parameters
        return Universe(p.symbols, p.min_turnover_usdt, p.refresh_hours * HOUR_MS)

    @property
    def rules(self) -> Rules:
        """Many small positions; a bad day or week closes them all, and so does open profit that melts away."""
        p = self.parameters
        return Rules(
            leverage=p.leverage,
            adverse_first="low-first",
            max_positions=p.max_positions,
            loss_limits=(
                LossLimit(Window.DAY, p.day_loss, Action.CLOSE_ALL, Until.WINDOW_END),
                LossLimit(Window.WEEK, p.week_half_loss, Action.HALF_SIZE, Until.HALF_RECOVERED),
                LossLimit(Window.WEEK, p.week_loss, Action.CLOSE_ALL, Until.WINDOW_END),
            ),
            open_profit=OpenProfitLimit(p.open_profit_arm * p.size_usdt, p.open_profit_give_back),
        )

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """`rsi` (0 to 100); `volatility`, `spread`, `price_change`, `volume_change`, `pump` in percent; `score` 0 to 5."""
        p = self.parameters
        close = bars.close
        first_ms = int(bars.start_ms[0]) if len(bars) else 0
        strength = rsi(close, p.rsi_period, first_ms, bars.interval_ms)
        volatility = deviation(change_pct(close, 1), p.lookback)
        spread = (bars.high - bars.low) / close * 100.0
        price_change = change_pct(close, p.lookback)
        volume_change = self._volume_change(bars)
        opened = lagged(bars.open, p.pump_bars)
        score = (
            (strength > p.score_rsi).astype(np.float64)
            + (volume_change > p.score_volume_pct)
            + (spread < p.score_spread_pct)
            + (volatility > p.score_volatility_pct)
            + (price_change > p.score_price_pct)
        )
        return {
            "rsi": strength,
            "volatility": volatility,
            "spread": spread,
            "price_change": price_change,
            "volume_change": volume_change,
            "pump": (close - opened) / opened * 100.0,
            "score": score,
        }

    def _volume_change(self, bars: Bars) -> FloatArray:
        """In percent; from nothing to something is infinite, from nothing to nothing no change."""
        earlier = lagged(bars.volume, self.parameters.lookback)
        change = change_pct(bars.volume, self.parameters.lookback)
        from_nothing = earlier == 0.0
        return np.where(from_nothing, np.where(bars.volume > 0.0, np.inf, 0.0), change)

    def may_enter(self, series: Series) -> BoolArray:
        """Where there is a signal."""
        p, of = self.parameters, series.indicators
        rule8: BoolArray = self._is_rule8(of)
        rule6 = (of["rsi"] > p.rule6_rsi) & (of["volatility"] > p.rule6_volatility_pct)
        holds: BoolArray = (of["pump"] >= p.min_pump_pct) & (rule8 | rule6)
        return holds

    def evaluate(self, moment: BarContext, state: LXAlgoState) -> list[Intent]:
        """Time exits and break-even stops of what is held, then entries, the strongest pump first."""
        held = moment.portfolio.positions
        intents: list[Intent] = []
        leaving = 0
        for symbol, position in held.items():
            bar = moment.bars.get(symbol)
            if bar is None:
                continue
            wish = self._look_after(position, bar)
            if wish is not None:
                intents.append(wish)
                leaving += isinstance(wish, Exit)
        span = moment.close_ms // (self.parameters.bucket_hours * HOUR_MS) * self.parameters.bucket_hours * HOUR_MS
        signals = [
            (bar, "rule 8" if self._is_rule8(bar) else "rule 6")
            for symbol, bar in moment.bars.items()
            if symbol not in held and state.bought.get(symbol) != span and self.enters(bar)
        ]
        signals.sort(key=lambda signal: signal[0]["pump"], reverse=True)
        for bar, rule in signals[: max(0, self.parameters.max_positions - len(held) + leaving)]:
            state.bought[bar.symbol] = span
            intents.append(self._entry(bar, rule))
        return intents

    def _look_after(self, position: OwnPosition, bar: BarView) -> Exit | MoveStop | None:
        p = self.parameters
        held_ms = position.held_ms(bar.end_ms)
        if held_ms >= p.max_hours * HOUR_MS:
            return Exit(position.symbol, Reason.TIME_LIMIT, why=f"held for {p.max_hours} h")
        if held_ms >= p.losing_hours * HOUR_MS and to_decimal(bar.close) < position.entry_price:
            return Exit(position.symbol, Reason.TIME_LIMIT, why=f"below its entry after {p.losing_hours} h")
        if (
            position.stop_meaning is not Reason.BREAK_EVEN
            and position.highest_high is not None
            and position.highest_high >= position.entry_price * (1 + p.break_even)
        ):
            even = position.entry_price * (1 + 2 * p.taker_fee)
            return MoveStop(position.symbol, even, Reason.BREAK_EVEN, why="the gain paid for the way out")
        return None

    def _is_rule8(self, of: Any) -> Any:
        """Whether rule 8 holds: for one bar, or for the indicators of all bars at once."""
        return (of["score"] >= self.parameters.rule8_score) & (of["spread"] < self.parameters.rule8_spread_pct)

    def _entry(self, bar: BarView, rule: str) -> Enter:
        p = self.parameters
        return Enter(
            bar.symbol,
            Direction.LONG,
            Notional(p.size_usdt),
            stop=p.stop,
            take_profit=p.take_profit,
            trailing=Trailing(p.trailing_distance, p.trailing_activation),
            why=f"{rule}, pump {bar['pump']:.1f} %, score {bar['score']:.0f}",
        )
