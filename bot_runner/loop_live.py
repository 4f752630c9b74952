"""The loop of a bot on a running market: events of the listener, a tick each second, REST where they are silent."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from alpha.clock import monotonic_ms
from alpha.errors import Rejected, Retry, Unknown
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.events import Event, EventReader, EventType
from alpha.live_state.read import Candle
from alpha.logs import logger
from bot_runner.candle_check import CandleCheck
from bot_runner.context import BotContext
from bot_runner.foreign_orders import ForeignOrders
from bot_runner.persistent_fault import PersistentFault
from bot_runner.skew_check import SkewCheck
from bot_runner.universe import followed

log = logger(__name__)
READ_MS = 250
TICK_MS = 1_000


class LiveLoop:
    """Runs until shutdown."""

    def __init__(self, crew: BotContext) -> None:
        self._crew = crew
        self._feed = crew.feed
        self._trader = crew.trader
        name, journal = crew.bot.name, crew.trader.journal
        self._stuck = {
            "cycle": PersistentFault(journal, "cycle-stuck", f"No cycle of {name} was finished"),
            "tick": PersistentFault(journal, "tick-stuck", f"The stops of {name} were not checked"),
        }
        self._intruders = ForeignOrders(crew.bot, crew.trader.journal, crew.gateway, crew.clock, crew.beats.orders_s)
        self._silent_ms = int(crew.beats.time_s * 1000)
        self._candle_ms = monotonic_ms()
        self._refreshed_ms = crew.clock.now_ms()

    async def run(self) -> None:
        """One cycle at each batch of events and at each tick."""
        crew = self._crew
        reader = EventReader(crew.redis, crew.bot.id)
        with contextlib.suppress(*REDIS_UNAVAILABLE):
            await reader.read(block_ms=1)
        await crew.patience.until_it_works("candles", lambda: crew.follow(crew.symbols))
        commands, taker = crew.commander()
        taking = asyncio.create_task(crew.take_commands(taker))
        watching = asyncio.create_task(self._intruders.watch())
        check = CandleCheck(self._feed, crew.strategy.timeframes, crew.gateway, self._differ)
        checks = [asyncio.create_task(check.run())]
        scorer = self._trader.scorer
        if scorer is not None:
            skew = SkewCheck(scorer.names, scorer.predictions, crew.gateway, scorer.warn)
            checks.append(asyncio.create_task(skew.run()))
        tick_ms = 0
        try:
            while not crew.stopping:
                await crew.still_ours()
                for task in (watching, *checks):
                    if task.done():
                        await task
                events = await self._read(reader)
                for event in events:
                    await self._take(event)
                await self._intruders.judge()
                while not crew.commands.empty():
                    await commands.run(crew.commands.get_nowait(), taker)
                now_ms = monotonic_ms()
                if now_ms - tick_ms >= TICK_MS:
                    tick_ms = now_ms
                    await self._tick(now_ms)
                elif not events:
                    continue
                elif self._trader.idle and all(event.type is EventType.CANDLE for event in events):
                    await self._cycle(self._trader.bars)
                    continue
                await self._cycle(self._trader.cycle)
        finally:
            taking.cancel()
            watching.cancel()
            for task in checks:
                task.cancel()

    async def _differ(self, count: int, first: str) -> None:
        await self._trader.journal.warn(
            "candles",
            f"{count} values of candles made of {self._feed.interval}-minute candles are not the exchange's own; the first: {first}.",
            "The bot goes on with its own. Compare both; a restart reads the exchange's candles anew.",
        )

    async def _read(self, reader: EventReader) -> list[Event]:
        try:
            return await reader.read(block_ms=READ_MS)
        except REDIS_UNAVAILABLE:
            await asyncio.sleep(READ_MS / 1000)
            return []

    async def _cycle(self, cycle: Callable[[], Awaitable[None]]) -> None:
        try:
            await cycle()
        except (Retry, Unknown, Rejected) as fault:
            log.warning("cycle_postponed", why=str(fault))
            await self._stuck["cycle"].failed(fault)
            await self._crew.patience.pause(0.2)
        else:
            await self._stuck["cycle"].passed()

    async def _take(self, event: Event) -> None:
        # The listener's own events carry its wall clock, which is not business time on a simulated exchange.
        if event.ts_ms and event.type not in {EventType.RESYNC, EventType.STATUS}:
            self._crew.clock.saw(event.ts_ms)
        if event.type is EventType.CANDLE and event.data["interval"] == self._feed.interval:
            self._candle_ms = monotonic_ms()
            data = event.data
            symbol, start_ms = str(data["symbol"]), int(str(data["start_ms"]))
            texts = (str(data[name]) for name in ("open", "high", "low", "close", "volume"))
            if not self._feed.offer(symbol, Candle(start_ms, *texts)):
                try:
                    await self._feed.fill(symbol, start_ms)
                except (Retry, Rejected) as fault:
                    log.warning("candle_not_read", symbol=symbol, why=str(fault))
        elif event.type is EventType.ORDER:
            self._trader.resting.touch()
            await self._intruders.see(event.data)
        elif event.type in {EventType.RESYNC, EventType.STATUS}:
            self._trader.resting.touch()
            self._intruders.doubt()
        elif event.type in {EventType.FILL, EventType.POSITION}:
            self._trader.resting.touch()

    async def _tick(self, now_ms: int) -> None:
        crew = self._crew
        await crew.beat()
        await crew.tell_symbols()
        await self._trader.journal.alerts.flush()
        await self._trader.journal.keep_up()
        try:
            await self._trader.tick()
            if now_ms - self._candle_ms >= self._silent_ms:
                self._candle_ms = now_ms
                await self._ask_for_bars()
            refresh_ms = crew.strategy.universe.refresh_ms
            if refresh_ms and crew.clock.now_ms() - self._refreshed_ms >= refresh_ms:
                await crew.broker.refresh_instruments()
                await crew.follow(await followed(crew.strategy.universe, crew.gateway, crew.broker.instruments))
                self._refreshed_ms = crew.clock.now_ms()
        except (Retry, Unknown, Rejected) as fault:
            log.warning("tick_postponed", why=str(fault))
            await self._stuck["tick"].failed(fault)
        else:
            await self._stuck["tick"].passed()

    async def _ask_for_bars(self) -> None:
        """No candle came for a while: ask the exchange what time it is and whether a bar has closed."""
        now_ms = await self._crew.gateway.server_time_ms()
        self._crew.clock.saw(now_ms)
        interval_ms = self._feed.interval_ms
        if now_ms % interval_ms >= self._crew.settings.alpha_candle_grace_ms:
            await self._feed.fetch(now_ms - now_ms % interval_ms - interval_ms)
