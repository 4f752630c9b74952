"""The strategy of `make demo ARGS=--with-model`, as `alpha new-strategy --with-model` makes one."""

from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.bars import Bars, FloatArray
from alpha.strategy.base import BarContext, Strategy, StrategyState, Universe
from alpha.strategy.intents import Enter, Exit, Intent, OfEquity
from alpha.strategy.risk_rules import Action, LossLimit, Rules, Until, Window
from demo.scored.parameters import TrendParameters


class Trend(Strategy[TrendParameters, StrategyState]):
    """The rules; docs/models.md explains the idea. Without a score there is no entry; exits never ask."""

    parameters_type = TrendParameters

    @property
    def interval(self) -> str:
        """5-minute bars, as in demo/model.py."""
        return "5"

    @property
    def history(self) -> int:
        """One bar: the model's features bring their own history."""
        return 1

    @property
    def models(self) -> tuple[str, ...]:
        """The model whose scores it uses."""
        return (self.parameters.model,)

    @property
    def universe(self) -> Universe:
        """A fixed list."""
        return Universe(symbols=self.parameters.symbols)

    @property
    def rules(self) -> Rules:
        """Rules for the whole account."""
        limit = LossLimit(Window.DAY, self.parameters.day_loss, Action.NO_ENTRIES, Until.WINDOW_END)
        return Rules(leverage=self.parameters.leverage, adverse_first="low-first", loss_limits=(limit,))

    def indicators(self, bars: Bars) -> dict[str, FloatArray]:
        """None: what the model looks at is named in demo/model.py."""
        return {}

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """An exit for a position that was held long enough, or an entry where the score is high, the highest first."""
        own = self.parameters
        intents: list[Intent] = []
        wanted: list[tuple[float, str]] = []
        for symbol, bar in moment.bars.items():
            position = moment.portfolio.positions.get(symbol)
            if position is not None:
                if position.held_ms(moment.close_ms) >= own.hold_bars * (moment.close_ms - moment.bar_ms):
                    intents.append(Exit(symbol, Reason.TIME_LIMIT, f"held for {own.hold_bars} bars"))
                continue
            score = bar.score(own.model)
            if score.value is not None and score.value >= own.threshold:
                wanted.append((score.value, symbol))
        for value, symbol in sorted(wanted, reverse=True):
            intents.append(Enter(symbol, Direction.LONG, OfEquity(own.share), own.stop, why=f"score {value:.4f}"))
        return intents
