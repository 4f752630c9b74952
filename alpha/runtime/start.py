"""Former name of `bot_runner.main`. Kept for one release: entry points from an earlier `new-strategy` import it."""

import importlib

run_bot = importlib.import_module("bot_runner.main").run_bot
