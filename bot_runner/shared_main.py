"""Starts the bots of a shared container: settings, keys, the process that strategy workers are forked from."""

import os
import sys

from alpha.errors import AlphaError, Misconfigured


def main() -> int:
    """Run the bots of ALPHA_CONTAINER until SIGTERM. Returns the exit code, after one sentence on standard error."""
    # The runner waits on sockets; NumPy is used by its workers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from alpha import process
    from alpha.config.loader import load
    from alpha.logs import configure
    from alpha.registry import load_registry
    from bot_runner.settings import BotSettings
    from bot_runner.shared import SharedRunner, members_of
    from bot_runner.strategy_worker import prepare

    try:
        settings = load(BotSettings)
        registry = load_registry(settings.alpha_bots_file)
        container = settings.alpha_container or ""
        if container not in registry.containers:
            raise Misconfigured(
                f"ALPHA_CONTAINER must be a container of bots.toml, got {container!r}. "
                f"The containers are: {', '.join(registry.containers)}."
            )
        bots = registry.containers[container]
        prepare(sorted({bot.strategy.partition(":")[0] for bot in bots}))
        configure(container, settings)
        runner = SharedRunner(settings, container, members_of(settings, bots))
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return process.run(runner.run)
