"""The start of a service: its settings, its log, then its loop until it is told to stop."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from alpha.config.loader import load
from alpha.config.services import LogSettings
from alpha.errors import AlphaError
from alpha.logs import configure
from alpha.process import LoopPulse, run

S = TypeVar("S", bound=LogSettings)
Main = Callable[[asyncio.Event, LoopPulse], Awaitable[None]]


def start(
    service: str,
    settings_type: type[S],
    serve: Callable[[S, asyncio.Event, LoopPulse], Awaitable[None]],
    instances: Callable[[str, Main], Main] = lambda _, main: main,
) -> int:
    """Run `serve(settings, stop, pulse)` as `service`; returns the exit code.

    A fault in the settings is one sentence each on standard error. `instances` is `alpha.postgres.standby.single` for a
    service of which one instance works at a time.
    """
    try:
        settings = load(settings_type)
        configure(service, settings)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return run(instances(service, lambda stop, pulse: serve(settings, stop, pulse)))
