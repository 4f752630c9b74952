"""Loads a bot's strategy by its `module:Class`."""

import importlib
from collections.abc import Mapping
from typing import Any

from alpha.errors import Misconfigured
from alpha.registry import Bot
from alpha.strategy.base import Strategy
from alpha.strategy.parameters import load_parameters


def load_strategy(bot: Bot, environment: Mapping[str, str]) -> Strategy[Any, Any]:
    """The strategy of a bot with its parameters from variables `<PREFIX>_<PARAMETER>`. Misconfigured when wrong."""
    module_name, _, class_name = bot.strategy.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as fault:
        raise Misconfigured(f"{bot.id}: the strategy {bot.strategy} cannot be loaded: {fault}.") from None
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise Misconfigured(f"{bot.id}: {bot.strategy} is not a Strategy.")
    return kind(load_parameters(kind.parameters_type, environment=dict(environment), prefix=bot.prefix))
