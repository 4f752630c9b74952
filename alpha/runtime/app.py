"""The process of one bot: from its checks to its last word."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from alpha.alerts import Alerts
from alpha.bybit.call import Credentials
from alpha.bybit.caps import OrderGuard, caps_for
from alpha.bybit.gateway import Gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.throttle import Throttle
from alpha.clock import BusinessClock, at, monotonic_ms, wall_ms
from alpha.errors import Retry, Unknown
from alpha.health import HealthServer
from alpha.live import keys as live_keys
from alpha.live.connect import AWAY, RedisLinks
from alpha.live.control import Command, CommandTaker
from alpha.live.events import Event, EventReader, EventType
from alpha.live.read import Candle
from alpha.logs import logger
from alpha.process import LoopPulse
from alpha.registry import Bot
from alpha.runtime import heart
from alpha.runtime.account import AccountView
from alpha.runtime.begin import begin
from alpha.runtime.broker import Broker
from alpha.runtime.checks import check_account, check_key
from alpha.runtime.commands import Commands
from alpha.runtime.execute import Executor
from alpha.runtime.feed import CandleFeed
from alpha.runtime.intruder import Intruders
from alpha.runtime.journal import Journal
from alpha.runtime.lease import Lease
from alpha.runtime.settings import BotSettings
from alpha.runtime.step import Point, StepClock
from alpha.runtime.store import Account, Store
from alpha.runtime.takeup import Reconciler
from alpha.runtime.trader import Trader
from alpha.runtime.transfers import Transfers
from alpha.runtime.universe import followed
from alpha.runtime.unthrottled import Unthrottled
from alpha.settings import BotKeys
from alpha.strategy.contract import Strategy
from alpha.strategy.core import DecisionCore

log = logger(__name__)
T = TypeVar("T")
READ_MS = 250
SILENT_AFTER_MS = 5_000
CYCLE_LIMIT_MS = 60_000


class Stopped(Exception):
    """SIGTERM came while the bot was waiting to begin."""


class BotProcess:
    """One bot."""

    def __init__(self, settings: BotSettings, bot: Bot, keys: BotKeys, strategy: Strategy[Any, Any]) -> None:
        self._settings = settings
        self._bot = bot
        self._strategy = strategy
        self._links = RedisLinks(settings)
        self._db = self._links.of(bot)
        self._heart = heart.Heart(self._db, bot.id)
        self._store = Store(settings, bot)
        self._alerts = Alerts(self._links.shared, bot.container)
        self._clock = BusinessClock()
        self._stop = asyncio.Event()
        self._account: Account | None = None
        self._commands: asyncio.Queue[Command] = asyncio.Queue()
        self._trader: Trader | None = None
        hosts = hosts_of(settings, demo=keys.bybit_demo)
        self._environment = hosts.environment
        stepping = settings.alpha_step_url is not None
        self._gateway = Gateway(
            hosts,
            Credentials(keys.bybit_api_key.get_secret_value(), keys.bybit_api_secret.get_secret_value()),
            Unthrottled() if stepping else Throttle(self._links.shared),
            account=bot.id,
            guard=OrderGuard(
                bot.id,
                hosts.environment,
                caps_for(settings, settings.caps(hosts.environment), demo=keys.bybit_demo),
                self._halt,
                live_bots=settings.alpha_live_trading,
            ),
            business=self._clock,
        )

    # --- the life of the process --------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, pulse: LoopPulse) -> None:
        """Until `stop`. Positions stay as they are, with their stops on the exchange."""
        self._stop = stop
        health = HealthServer(self._settings, pulse, {"trading": self._fault})
        try:
            await self._patiently("PostgreSQL", self._store.open)
            while await self._patiently("PostgreSQL", self._store.wish) == "stopped":
                await self._heart.beat(heart.STOPPED, "the operator to start it")
                await self._rest(2.0)
            await self._trade()
        except Stopped:
            log.info("stopped_before_trading")
        finally:
            health.close()
            await self._gateway.close()
            await self._store.close()
            await self._links.close()

    async def _trade(self) -> None:
        await self._patiently("the exchange", self._gateway.sync_clock)
        key = await self._patiently("the exchange", self._gateway.key_info)
        check_key(key, self._bot)
        account = await self._patiently("PostgreSQL", lambda: self._store.register(self._environment, key.user_id))
        self._account = account
        lease = Lease(self._store, account, self._settings.alpha_lease_seconds)
        await self._take(lease, account)
        keeping = asyncio.create_task(lease.keep())
        try:
            await self._with_lease(account, lease, keeping)
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await keeping
            await lease.give_back()

    async def _take(self, lease: Lease, account: Account) -> None:
        """Wait until no other process has the account. It says nothing meanwhile: the heartbeat is the holder's."""
        told = False
        while not await self._patiently("PostgreSQL", lease.try_take):
            if not told:
                told = True
                log.warning(
                    "lease_held", holder=await self._patiently("PostgreSQL", lambda: self._store.holder(account))
                )
            await self._rest(0.5)

    async def _with_lease(self, account: Account, lease: Lease, keeping: "asyncio.Task[None]") -> None:
        broker = Broker(self._gateway, self._bot, account.text)
        await self._patiently("the exchange", broker.refresh_instruments)
        symbols = await self._patiently(
            "the exchange", lambda: followed(self._strategy.universe, self._gateway, broker.instruments)
        )
        await self._patiently("the exchange", lambda: check_account(self._gateway, self._bot, symbols[0]))
        stepping = self._settings.alpha_step_url is not None
        view = AccountView(self._gateway, self._db, self._bot.id, rest_only=stepping)
        look = await self._patiently("the exchange", view.truth)
        state = await self._patiently(
            "PostgreSQL", lambda: begin(self._store, account, self._strategy, look, self._gateway, wall_ms())
        )
        journal = Journal(self._bot, self._store, account, lease, state, self._alerts)
        feed = CandleFeed(self._gateway, self._links.shared, self._strategy.interval, self._strategy.history)
        core = DecisionCore(self._strategy, feed.interval_ms, broker.instrument, state.core, state.strategy)
        reconciler = Reconciler(core, journal, broker, view, self._clock)
        executor = Executor(core, journal, broker, view, reconciler, self._clock)
        trader = Trader(
            core=core,
            journal=journal,
            gateway=self._gateway,
            view=view,
            feed=feed,
            executor=executor,
            reconciler=reconciler,
            transfers=Transfers(self._gateway, state.runtime, core.limits),
            clock=self._clock,
            grace_ms=0 if stepping else self._settings.alpha_candle_grace_ms,
            needs_live_state=not stepping,
        )
        self._trader = trader
        await journal.save()
        if state.runtime.paused:
            await journal.warn(
                "paused", f"{self._bot.name} starts paused: {state.runtime.paused}.", "/resume starts it."
            )
        log.info("started", account=account.text, symbols=list(symbols), positions=sorted(core.positions))
        if stepping:
            await self._patiently("candles", lambda: self._follow_symbols(feed, core, symbols))
            await self._step(trader, keeping)
        else:
            await self._live(trader, feed, symbols, broker, keeping)
        trader.stopping = True
        journal.runtime.ended_well = True
        await journal.save()
        await self._heart.beat(heart.STOPPED, "to be started; its positions keep their stops on the exchange")
        log.info("stopped", positions=sorted(core.positions), bars=trader.progress.bars, late=trader.progress.late_bars)

    # --- live ---------------------------------------------------------------------------------------------------

    async def _live(
        self, trader: Trader, feed: CandleFeed, symbols: tuple[str, ...], broker: Broker, keeping: "asyncio.Task[None]"
    ) -> None:
        reader = EventReader(self._db, self._bot.id)
        with contextlib.suppress(*AWAY):
            await reader.read(block_ms=1)
        await self._follow_symbols(feed, trader.core, symbols)
        taker = CommandTaker(self._db, self._bot.id)
        taking = asyncio.create_task(self._take_commands(taker))
        commands = Commands(trader.core, trader.journal, trader.reconciler)
        intruders = Intruders(self._bot, trader.journal, self._clock.now_ms())
        seconds_ms = candle_ms = monotonic_ms()
        refreshed_ms = self._clock.now_ms()
        try:
            while not self._stop.is_set():
                if keeping.done():
                    await keeping
                events = await self._read(reader)
                now_ms = monotonic_ms()
                for event in events:
                    candle_ms = now_ms if event.type is EventType.CANDLE else candle_ms
                    await self._take_event(event, feed, intruders)
                while not self._commands.empty():
                    await commands.run(self._commands.get_nowait(), taker)
                if now_ms - seconds_ms >= 1_000:
                    seconds_ms = now_ms
                    await self._each_second(trader)
                    if now_ms - candle_ms >= SILENT_AFTER_MS:
                        candle_ms = now_ms
                        await self._ask_for_bars(feed)
                    refresh_ms = self._strategy.universe.refresh_ms
                    if refresh_ms and self._clock.now_ms() - refreshed_ms >= refresh_ms:
                        refreshed_ms = self._clock.now_ms()
                        await self._refresh_universe(trader, feed, broker)
                elif not events:
                    continue
                await self._cycle(trader)
        finally:
            taking.cancel()

    async def _cycle(self, trader: Trader) -> None:
        try:
            await trader.cycle()
        except (Retry, Unknown) as fault:
            log.warning("cycle_postponed", why=str(fault))
            await self._rest(0.2, until_stop=False)

    async def _read(self, reader: EventReader) -> list[Event]:
        try:
            return await reader.read(block_ms=READ_MS)
        except AWAY:
            await asyncio.sleep(READ_MS / 1000)
            return []

    async def _take_event(self, event: Event, feed: CandleFeed, intruders: Intruders) -> None:
        if event.ts_ms:
            self._clock.saw(event.ts_ms)
        if event.type is EventType.CANDLE and event.data["interval"] == feed.interval:
            data = event.data
            symbol, start_ms = str(data["symbol"]), int(str(data["start_ms"]))
            texts = (str(data[name]) for name in ("open", "high", "low", "close", "volume"))
            if not feed.offer(symbol, Candle(start_ms, *texts)):
                try:
                    await feed.fill(symbol, start_ms)
                except Retry as fault:
                    log.warning("candle_not_read", symbol=symbol, why=str(fault))
        elif event.type is EventType.ORDER:
            await intruders.see(event.data)

    async def _each_second(self, trader: Trader) -> None:
        await self._heart.beat(*self._says(trader))
        try:
            await trader.tick()
        except (Retry, Unknown) as fault:
            log.warning("tick_postponed", why=str(fault))

    def _says(self, trader: Trader) -> tuple[str, str]:
        """State and what it waits for, in words."""
        paused = trader.journal.runtime.paused
        if paused:
            return heart.PAUSED, f"to be resumed ({paused})"
        limit = trader.core.limits.blocks_entries
        close = at(trader.core.state.last_bar_ms + 2 * trader.core.interval_ms)
        waits = f"the {self._strategy.interval}-minute bar that closes at {close:%Y-%m-%d %H:%M} UTC"
        return heart.RUNNING, waits + (f"; no entries: {limit}" if limit else "")

    async def _ask_for_bars(self, feed: CandleFeed) -> None:
        """No candle came for a while: ask the exchange what time it is and whether a bar has closed."""
        try:
            now_ms = await self._gateway.server_time_ms()
            self._clock.saw(now_ms)
            closed_ms = now_ms - now_ms % feed.interval_ms - feed.interval_ms
            if now_ms % feed.interval_ms >= self._settings.alpha_candle_grace_ms:
                await feed.fetch(closed_ms)
        except Retry as fault:
            log.warning("candles_not_read", why=str(fault))

    async def _refresh_universe(self, trader: Trader, feed: CandleFeed, broker: Broker) -> None:
        try:
            await broker.refresh_instruments()
            symbols = await followed(self._strategy.universe, self._gateway, broker.instruments)
            await self._follow_symbols(feed, trader.core, symbols)
        except Retry as fault:
            log.warning("universe_not_refreshed", why=str(fault))

    async def _follow_symbols(self, feed: CandleFeed, core: DecisionCore, symbols: tuple[str, ...]) -> None:
        """Follow these and whatever is held, and let the listener stream them."""
        wanted = [*symbols, *(symbol for symbol in core.positions if symbol not in symbols)]
        await feed.follow(wanted)
        with contextlib.suppress(*AWAY):
            name = live_keys.symbols(self._bot.id)
            old = await self._db.smembers(name) - set(wanted)
            async with self._db.pipeline() as pipe:
                pipe.sadd(name, *wanted)
                pipe.sadd(live_keys.intervals(self._bot.id), feed.interval)
                if old:
                    pipe.srem(name, *old)
                await pipe.execute()

    async def _take_commands(self, taker: CommandTaker) -> None:
        while True:
            try:
                for command in await taker.take(wall_ms()):
                    self._commands.put_nowait(command)
            except AWAY:
                await asyncio.sleep(1.0)

    # --- step clock ---------------------------------------------------------------------------------------------

    async def _step(self, trader: Trader, keeping: "asyncio.Task[None]") -> None:
        url = self._settings.alpha_step_url
        if url is None:
            raise ValueError("there is no step clock")
        steps = StepClock(url, self._bot.id)
        taker = CommandTaker(self._db, self._bot.id)
        taking = asyncio.create_task(self._take_commands(taker))
        commands = Commands(trader.core, trader.journal, trader.reconciler)
        interval_ms = trader.core.interval_ms
        try:
            await self._patiently("the exchange", trader.cycle)
            point = await self._patiently("the exchange", steps.join)
            while not point.ended:
                await self._heart.beat(*self._says(trader))
                waiting = asyncio.create_task(steps.next())
                await self._obey_until(waiting, keeping, commands, taker)
                if self._stop.is_set():
                    waiting.cancel()
                    return
                point = waiting.result()
                self._clock.saw(point.now_ms)
                opens = point.opens and point.now_ms % interval_ms == 0
                await self._at_point(trader, point, opens=opens)
                await steps.report(point)
        finally:
            taking.cancel()
            await steps.close()

    async def _at_point(self, trader: Trader, point: Point, *, opens: bool) -> None:
        try:
            if opens:
                await trader.feed.fetch(point.now_ms - trader.core.interval_ms)
            await trader.at_point(opens=opens)
        except (Retry, Unknown) as fault:
            log.warning("cycle_postponed", why=str(fault))

    async def _obey_until(
        self, waiting: "asyncio.Task[Point]", keeping: "asyncio.Task[None]", commands: Commands, taker: CommandTaker
    ) -> None:
        """Carry out commands while waiting; returns when the wait is over or the process is to stop."""
        stopping = asyncio.create_task(self._stop.wait())
        while not waiting.done() and not stopping.done():
            command = asyncio.create_task(self._commands.get())
            await asyncio.wait({waiting, stopping, command, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if command.done():
                await commands.run(command.result(), taker)
            else:
                command.cancel()
            if keeping.done():
                await keeping
        stopping.cancel()

    # --- small things -------------------------------------------------------------------------------------------

    async def _halt(self, symbol: str) -> str | None:
        if self._account is None:
            return "the bot has not begun"
        return await self._store.halt(self._account, symbol, self._clock.now_ms())

    def _fault(self) -> str | None:
        trader = self._trader
        if trader is None or not trader.progress.last_cycle_ms:
            return None
        age_ms = monotonic_ms() - trader.progress.last_cycle_ms
        if self._settings.alpha_step_url is None and age_ms > CYCLE_LIMIT_MS:
            return f"No cycle was finished for {age_ms // 1000} s."
        return None

    async def _patiently(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works; a passing fault is logged once a sentence and tried again. Stopped when it is to stop."""
        pause_s, told = 0.2, ""
        while not self._stop.is_set():
            try:
                return await call()
            except Retry as fault:
                if str(fault) != told:
                    told = str(fault)
                    log.warning("waiting", waits_for=what, why=told)
                if self._trader is None and self._account is None:
                    await self._heart.beat(heart.STARTING, f"{what}: {told}")
                await self._rest(pause_s)
                pause_s = min(pause_s * 2, 5.0)
        raise Stopped

    async def _rest(self, seconds: float, *, until_stop: bool = True) -> None:
        """Wait, or end the wait when the process is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        if until_stop and self._stop.is_set():
            raise Stopped
