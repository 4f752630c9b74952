"""Shared by the loops of one bot: following symbols, consuming commands, reporting what they wait for."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alpha.bybit.client import Gateway
from alpha.bybit.request_plan import BotBeats
from alpha.clock import BusinessClock, wall_ms
from alpha.errors import Retry
from alpha.lease import Act, LeaseNotHeld
from alpha.live_state import keys as live_keys
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.control import Command, CommandConsumer
from alpha.model.timestamp import at
from alpha.registry import Bot
from alpha.retry import RetryLoop
from alpha.strategy.base import Strategy
from bot_runner import heartbeat
from bot_runner.broker import Broker
from bot_runner.candle_feed import CandleFeed
from bot_runner.commands import Commands
from bot_runner.settings import BotSettings
from bot_runner.trader import Trader


@dataclass(slots=True)
class BotContext:
    """One bot at work. `keeping` renews its lease and ends with LeaseLost when that is gone."""

    settings: BotSettings
    bot: Bot
    strategy: Strategy[Any, Any]
    redis: TextRedis
    gateway: Gateway
    clock: BusinessClock
    patience: RetryLoop
    heartbeat: heartbeat.HeartbeatWriter
    trader: Trader
    broker: Broker
    symbols: Sequence[str]
    keeping: "asyncio.Task[None]"
    beats: BotBeats
    commands: "asyncio.Queue[Command]" = field(default_factory=asyncio.Queue)

    @property
    def feed(self) -> CandleFeed:
        """The candles."""
        return self.trader.feed

    @property
    def stopping(self) -> bool:
        """True on shutdown."""
        return self.patience.stop.is_set()

    async def still_ours(self) -> None:
        """Raise LeaseLost when another process has the account; who slept through its lease asks before anything else."""
        if self.keeping.done():
            await self.keeping
        with contextlib.suppress(LeaseNotHeld):
            await self.trader.journal.lease.ready(Act.REDUCE)

    async def settle(self) -> None:
        """Wait until nothing that an earlier holder of the lease sent can still arrive. Raises Stopped on shutdown."""
        lease = self.trader.journal.lease
        while lease.settles_in_ms:
            await self.still_ours()
            await self.beat()
            await self.patience.rest(min(0.5, lease.settles_in_ms / 1000))

    async def follow(self, symbols: Sequence[str]) -> None:
        """Follow these and whatever is held."""
        self.symbols = symbols
        await self.feed.follow([*symbols, *(held for held in self.trader.core.symbols if held not in symbols)])
        await self.tell_symbols()

    async def tell_symbols(self) -> None:
        """Ask the listener to stream the followed symbols; repeated, because Redis may have been flushed."""
        wanted = self.feed.symbols
        name = live_keys.symbols(self.bot.id)
        with contextlib.suppress(*REDIS_UNAVAILABLE):
            old = await self.redis.smembers(name) - set(wanted)
            async with self.redis.pipeline() as pipe:
                if wanted:
                    pipe.sadd(name, *wanted)
                pipe.sadd(live_keys.intervals(self.bot.id), self.feed.interval)
                if old:
                    pipe.srem(name, *old)
                await pipe.execute()

    async def beat(self) -> None:
        """Say in words what the bot waits for."""
        trader = self.trader
        paused = trader.journal.runtime.paused
        if paused:
            await self.heartbeat.beat(heartbeat.PAUSED, f"to be resumed ({paused})")
            return
        barred = trader.core.limits.blocks_entries or await self._barred() or trader.without_score
        last_ms = trader.core.state.last_bar_ms
        waits = f"the {self.strategy.interval}-minute bar"
        if last_ms >= 0:
            waits += f" that closes at {at(last_ms + 2 * trader.core.interval_ms):%Y-%m-%d %H:%M} UTC"
        else:
            waits = f"its first {waits.removeprefix('the ')}"
        unknown = ", ".join(sorted(trader.reconciler.unknown))
        notes = (f"; no entries: {barred}" if barred else "") + (f"; not its own: {unknown}" if unknown else "")
        await self.heartbeat.beat(heartbeat.RUNNING, waits + notes)

    async def _barred(self) -> str | None:
        try:
            return await self.trader.entries_barred()
        except Retry as fault:
            return str(fault)

    def commander(self) -> tuple[Commands, CommandConsumer]:
        """Who carries out commands, and who takes and answers them."""
        trader = self.trader
        return Commands(trader.core, trader.journal, trader.reconciler), CommandConsumer(self.redis, self.bot.id)

    async def take_commands(self, taker: CommandConsumer) -> None:
        """Put commands into the queue until cancelled; the loop carries them out."""
        while True:
            try:
                for command in await taker.take(wall_ms()):
                    self.commands.put_nowait(command)
            except REDIS_UNAVAILABLE:
                await asyncio.sleep(1.0)
