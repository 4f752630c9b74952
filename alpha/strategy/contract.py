"""Former name of `alpha.strategy.base`. Kept for one release for users' own strategies."""

from alpha.strategy.base import BarContext as Moment
from alpha.strategy.base import Parameters, Portfolio, Strategy, StrategyState, Universe

__all__ = ["Moment", "Parameters", "Portfolio", "Strategy", "StrategyState", "Universe"]
