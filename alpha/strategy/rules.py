"""Former name of `alpha.strategy.risk_rules`. Kept for one release for users' own strategies."""

from alpha.strategy.risk_rules import Action, LossLimit, OpenProfitLimit, Rules, Until, Window

__all__ = ["Action", "LossLimit", "OpenProfitLimit", "Rules", "Until", "Window"]
