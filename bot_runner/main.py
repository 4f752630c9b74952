"""The entry point of every strategy's process."""

import sys

from alpha import process
from alpha.config.gates import refuse_live
from alpha.config.keys import load_keys
from alpha.config.loader import chosen_env_file, load
from alpha.errors import AlphaError, Misconfigured
from alpha.logs import configure
from alpha.registry import load_registry
from alpha.strategy.parameters import read_environment
from bot_runner.app import BotProcess
from bot_runner.load_strategy import load_strategy
from bot_runner.settings import BotSettings


def run_bot(bot_id: str) -> int:
    """Run the bot of this id until SIGTERM. Returns the exit code, after one sentence on standard error."""
    try:
        settings = load(BotSettings)
        registry = load_registry(settings.alpha_bots_file)
        bot = registry.find(bot_id)
        if registry.is_shared(bot):
            raise Misconfigured(
                f"{bot.id} shares the container {bot.container!r} with other bots. Run them together: "
                f"ALPHA_CONTAINER={bot.container} python -m bot_runner"
            )
        keys = load_keys(bot)
        refuse_live(settings, keys, bot)
        strategy = load_strategy(bot, read_environment(chosen_env_file()))
        configure(bot.container, settings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return process.run(BotProcess(settings, bot, keys, strategy).run)
