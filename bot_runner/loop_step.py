"""The loop of a bot in step clock: point after point, each reported when everything at it is done."""

import asyncio

from alpha.errors import Rejected, Retry, Unknown
from alpha.live_state.control import CommandConsumer
from alpha.logs import logger
from bot_runner.commands import Commands
from bot_runner.context import BotContext
from bot_runner.step import Point, StepClock
from bot_runner.universe import followed

log = logger(__name__)


class StepLoop:
    """Runs until the market or the process ends."""

    def __init__(self, crew: BotContext, url: str) -> None:
        """`url` is the simulated exchange's."""
        self._crew = crew
        self._steps = StepClock(url, crew.bot.id)

    async def run(self) -> None:
        """Catch up first, then join the clock."""
        crew = self._crew
        commands, taker = crew.commander()
        taking = asyncio.create_task(crew.take_commands(taker))
        try:
            # Time stands still for who has joined: whoever may not open yet would miss bars.
            await crew.settle()
            await crew.patience.until_it_works("candles", lambda: crew.follow(crew.symbols))
            await crew.patience.until_it_works("the exchange", crew.trader.cycle)
            point = await crew.patience.until_it_works("the exchange", self._steps.join)
            while not point.ended:
                await crew.beat()
                waiting = asyncio.create_task(self._steps.next())
                await self._obey_until(waiting, commands, taker)
                if crew.stopping:
                    waiting.cancel()
                    return
                point = waiting.result()
                crew.clock.saw(point.now_ms)
                await self._act(point)
                await self._steps.report(point)
        finally:
            taking.cancel()
            await self._steps.close()

    async def _act(self, point: Point) -> None:
        feed = self._crew.feed
        opens = point.opens and point.now_ms % feed.interval_ms == 0
        try:
            if opens:
                await self._refresh_universe(point.now_ms)
                await feed.fetch(point.now_ms - feed.interval_ms)
            await self._crew.trader.at_point(opens=opens)
        except (Retry, Unknown, Rejected) as fault:
            log.warning("cycle_postponed", why=str(fault))

    async def _refresh_universe(self, now_ms: int) -> None:
        """Look at the turnover again, at UTC multiples of the strategy's span, as the back-test does."""
        crew = self._crew
        universe = crew.strategy.universe
        if not universe.symbols and universe.refresh_ms and now_ms % universe.refresh_ms == 0:
            await crew.follow(await followed(universe, crew.gateway, crew.broker.instruments))

    async def _obey_until(self, waiting: "asyncio.Task[Point]", commands: Commands, taker: CommandConsumer) -> None:
        """Carry out commands while waiting; returns when the wait is over or the process must end."""
        crew = self._crew
        stopping = asyncio.create_task(crew.patience.stop.wait())
        while not waiting.done() and not stopping.done():
            command = asyncio.create_task(crew.commands.get())
            await asyncio.wait({waiting, stopping, command, crew.keeping}, return_when=asyncio.FIRST_COMPLETED)
            if command.done():
                await commands.run(command.result(), taker)
            else:
                command.cancel()
            await crew.still_ours()
        stopping.cancel()
