"""The entry point of every strategy's process."""

import importlib
import sys
from typing import Any

from alpha import process
from alpha.config.exchange import refuse_live
from alpha.config.keys import load_keys
from alpha.config.loader import chosen_env_file, load
from alpha.errors import AlphaError, Misconfigured
from alpha.logs import configure
from alpha.registry import Bot, load_registry
from alpha.strategy.base import Strategy
from alpha.strategy.parameters import load_parameters, read_environment
from bot_runner.app import BotProcess
from bot_runner.settings import BotSettings


def load_strategy(bot: Bot, environment: dict[str, str]) -> Strategy[Any, Any]:
    """The strategy of a bot with its parameters from variables `<PREFIX>_<PARAMETER>`. Misconfigured when wrong."""
    module_name, _, class_name = bot.strategy.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as fault:
        raise Misconfigured(f"{bot.id}: the strategy {bot.strategy} cannot be loaded: {fault}.") from None
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise Misconfigured(f"{bot.id}: {bot.strategy} is not a Strategy.")
    return kind(load_parameters(kind.parameters_type, environment=environment, prefix=bot.prefix))


def run_bot(bot_id: str) -> int:
    """Run the bot of this id until SIGTERM. Returns the exit code, after one sentence on standard error."""
    try:
        settings = load(BotSettings)
        bot = load_registry(settings.alpha_bots_file).find(bot_id)
        keys = load_keys(bot)
        refuse_live(settings, keys, bot)
        strategy = load_strategy(bot, read_environment(chosen_env_file()))
        configure(bot.container, settings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return process.run(BotProcess(settings, bot, keys, strategy).run)
