"""The process of one bot: from its checks to its last word."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.caps import OrderGuard, caps_for
from alpha.bybit.client import Gateway
from alpha.bybit.hosts import hosts_of
from alpha.bybit.rate_limiter import NoLimit, RateLimiter
from alpha.bybit.request_plan import bot_beats
from alpha.bybit.session import Credentials
from alpha.clock import BusinessClock, monotonic_ms, wall_ms
from alpha.concurrency import gather_bounded
from alpha.config.keys import BotKeys
from alpha.errors import AlphaError, Misconfigured, Rejected, Retry, Unknown
from alpha.health import HealthServer
from alpha.lease import Lease
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.model.account import Account
from alpha.postgres.bounded_database import BoundedDatabase
from alpha.postgres.drift import keep_drift
from alpha.postgres.lease import BOT_LEASES, PostgresLease
from alpha.process import LoopPulse, end_tasks
from alpha.registry import Bot, load_registry
from alpha.retry import RetryLoop, Stopped
from alpha.strategy.base import Strategy
from alpha.strategy.core import DecisionCore
from alpha.strategy.frames import base_history
from bot_runner import heartbeat
from bot_runner.account import AccountView
from bot_runner.auxiliary_feed import AuxiliaryFeed
from bot_runner.broker import Broker
from bot_runner.candle_feed import CandleFeed
from bot_runner.checks import check_account, check_key, check_modes
from bot_runner.context import BotContext
from bot_runner.entries import ABSENT_MS, Entries
from bot_runner.exits import Exits
from bot_runner.fenced_alerts import raise_under_lease
from bot_runner.indicator_log import IndicatorLog
from bot_runner.loop_live import LiveLoop
from bot_runner.loop_step import StepLoop
from bot_runner.lost_state import LostState
from bot_runner.model_client import ModelClient
from bot_runner.partial_exits import PartialExits
from bot_runner.position_reconciler import PositionReconciler
from bot_runner.predictions import Predictions
from bot_runner.resting_orders import RestingOrders
from bot_runner.scorer import Scorer
from bot_runner.settings import BotSettings
from bot_runner.startup import begin
from bot_runner.state_persistence import StatePersistence
from bot_runner.store import Store
from bot_runner.trader import Trader, TraderParts
from bot_runner.transfers import Transfers
from bot_runner.universe import followed

log = logger(__name__)
T = TypeVar("T")
CYCLE_LIMIT_MS = 60_000
#: What a bot needs to begin may be away for so long before it counts as ill.
BEGIN_LIMIT_MS = 60_000


@dataclass(frozen=True, slots=True)
class SharedConnections:
    """Connections that the bots of one process share."""

    redis: RedisClients
    queries: BoundedDatabase
    leases: BoundedDatabase


class BotProcess:
    """One bot: alone in its process, or one of several (`shared.py`)."""

    def __init__(
        self,
        settings: BotSettings,
        bot: Bot,
        keys: BotKeys,
        strategy: Strategy[Any, Any],
        shared: SharedConnections | None = None,
    ) -> None:
        """`shared`: its connections, which stay open when this bot ends; without it, the bot has its own."""
        self._settings = settings
        self._bot = bot
        self._strategy = strategy
        self._shared = shared
        self._links = RedisClients(settings) if shared is None else shared.redis
        self._db = self._links.of(bot)
        self._heart = heartbeat.HeartbeatWriter(self._db, bot.id)
        self._indicators = IndicatorLog(self._db, bot.id)
        self._store = Store(settings, bot, None if shared is None else shared.queries)
        self._alerts = Alerts(self._links.shared, bot.container)
        self._clock = BusinessClock()
        self._patience = RetryLoop(asyncio.Event())
        self._account: Account | None = None
        self._trader: Trader | None = None
        self._waits_since_ms: int | None = None
        self._waits_for = ""
        self._scorer: Scorer | None = None
        hosts = hosts_of(settings, keys)
        self._environment = hosts.environment
        self._gateway = Gateway(
            hosts,
            Credentials(keys.bybit_api_key.get_secret_value(), keys.bybit_api_secret.get_secret_value()),
            RateLimiter(
                self._links.shared, egress=settings.alpha_egress, bots=len(load_registry(settings.alpha_bots_file).bots)
            )
            if settings.alpha_step_url is None
            else NoLimit(),
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

    async def run(self, stop: asyncio.Event, pulse: LoopPulse) -> None:
        """Until `stop`. Positions stay as they are, with their stops on the exchange."""
        health = HealthServer(self._settings, pulse, {"trading": self.fault})
        drift = asyncio.create_task(keep_drift(self._settings, self._bot.container))
        try:
            await self.trade(stop)
        finally:
            await end_tasks([drift])
            health.close()

    async def trade(self, stop: asyncio.Event) -> None:
        """As `run`, without a health check of its own."""
        self._patience = RetryLoop(stop)
        try:
            while await self._wait("PostgreSQL", self._store.desired_state) == "stopped":
                await self._heart.beat(heartbeat.STOPPED, "the operator to start it")
                await self._patience.rest(2.0)
            await self._trade()
        except Stopped:
            log.info("stopped_before_trading")
        except AlphaError as fault:
            text = f"{self._bot.name} has ended: {fault}"
            await self._alerts.raise_alert(
                Alert(
                    Level.CRITICAL,
                    f"{self._bot.id}:ended",
                    text,
                    "Mend it; the bot is restarted.",
                    self._bot.id,
                    lasting=True,
                ),
                wall_ms(),
            )
            raise
        finally:
            if self._scorer is not None:
                await self._scorer.close()
            await self._indicators.close()
            await self._gateway.close()
            if self._shared is None:
                await self._store.close()
                await self._links.close()

    async def _trade(self) -> None:
        await self._wait("the exchange", self._gateway.sync_clock)
        key = await self._wait("the exchange", self._gateway.key_info)
        check_key(key, self._bot)
        account = await self._wait("PostgreSQL", lambda: self._store.register(self._environment, key.user_id))
        self._account = account
        seconds = float(self._settings.alpha_lease_seconds)
        row = PostgresLease(
            self._settings,
            f"{self._bot.container} lease",
            BOT_LEASES,
            {"account_id": account.id, "bot_id": self._bot.id},
            timeout_s=max(1.0, seconds / 2),
            questions=None if self._shared is None else self._shared.leases,
        )
        lease = Lease(row, seconds, what=f"the account {account}", settle_wait_ms=self._settings.alpha_takeover_wait_ms)
        self._gateway.fence_by(lease)
        try:
            await self._take(lease, row)
            await self._hold(account, lease)
        finally:
            if self._shared is None:
                await row.close()

    async def _hold(self, account: Account, lease: Lease) -> None:
        keeping = asyncio.create_task(lease.keep())
        try:
            await self._with_lease(account, lease, keeping)
        finally:
            # What is on its way ends under the lease; what may still arrive keeps a successor waiting.
            await self._gateway.close()
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await keeping
            if self._trader is None or not self._trader.journal.runtime.entries:
                await lease.give_back()

    async def _take(self, lease: Lease, row: PostgresLease) -> None:
        """Wait until no other process has the account. It says nothing meanwhile: the heartbeat is the holder's."""
        patience, told = self._patience, False
        while not await patience.until_it_works("PostgreSQL", lease.try_take):
            if not told:
                told = True
                holder = await patience.until_it_works("PostgreSQL", row.holder)
                log.warning("lease_held", holder=holder)
            await patience.rest(0.5)
        if lease.settles_in_ms:
            log.info("lease_taken_over", opens_in_s=lease.settles_in_ms / 1000)

    async def _with_lease(self, account: Account, lease: Lease, keeping: "asyncio.Task[None]") -> None:
        settings, universe = self._settings, self._strategy.universe
        broker = Broker(self._gateway, self._bot, str(account))
        await self._wait("the exchange", broker.refresh_instruments)
        symbols = await self._wait("the exchange", lambda: followed(universe, self._gateway, broker.instruments))
        # By turnover there are hundreds of symbols: there an entry states its leverage.
        checked, leverage = symbols if universe.symbols else symbols[:1], self._strategy.rules.leverage
        scorer, history = await self._scoring(account, lease)
        references = self._strategy.references
        if missing := [name for name in references if name not in broker.instruments]:
            raise Misconfigured(f"The strategy looks at {', '.join(missing)}, and the exchange has no such perpetual.")
        feed = CandleFeed(self._gateway, self._links.shared, self._strategy.interval, history, references)
        auxiliary = AuxiliaryFeed(self._strategy, self._gateway, feed.interval_ms, settings.alpha_columns_dir)
        auxiliary.check(tuple(symbols))

        async def check() -> None:
            await check_modes(self._gateway, self._bot, [symbol for symbol in symbols if symbol not in checked])
            await check_account(self._gateway, broker, self._bot, checked, leverage)

        # Neither needs the other, and both take seconds: leverage is set ten times a second at most.
        await self._wait("the exchange", lambda: gather_bounded((check, lambda: feed.follow(symbols))))
        beats = bot_beats(len(load_registry(settings.alpha_bots_file).bots))
        view = AccountView(
            self._gateway, self._db, self._bot.id, str(account),
            rest_only=settings.alpha_step_url is not None, pace_ms=int(beats.look_s * 1000),
        )  # fmt: skip
        look = await self._wait("the exchange", view.snapshot_from_exchange)
        state = await self._wait(
            "PostgreSQL", lambda: begin(self._store, account, self._strategy, look, self._gateway, wall_ms())
        )
        journal = StatePersistence(self._bot, self._store, account, lease, state, self._alerts)
        core = DecisionCore(self._strategy, feed.interval_ms, broker.instrument, state.core, state.strategy)
        lost = LostState(core, journal, broker, self._gateway, self._clock)
        reconciler = PositionReconciler(core, journal, broker, view, self._clock, lost=lost)
        executor = Exits(core, journal, broker, view, reconciler, self._clock)
        parts = TraderParts(
            core=core,
            journal=journal,
            gateway=self._gateway,
            view=view,
            feed=feed,
            exits=executor,
            entries=Entries(
                *(core, journal, broker, view, executor), absent_ms=settings.alpha_takeover_wait_ms or ABSENT_MS
            ),
            reconciler=reconciler,
            resting=RestingOrders(
                core,
                journal,
                broker,
                executor,
                self._gateway,
                self._clock,
                every_time=settings.alpha_step_url is not None,
            ),
            partial_exits=PartialExits(core, journal, broker),
            transfers=Transfers(self._gateway, state.runtime, core.limits),
            scorer=scorer,
            auxiliary=auxiliary,
            indicators=self._indicators,
        )
        trader = Trader(
            parts,
            self._clock,
            grace_ms=0 if settings.alpha_step_url is not None else settings.alpha_candle_grace_ms,
            needs_live_state=settings.alpha_step_url is None,
        )
        self._trader = trader
        await journal.save()
        if state.runtime.paused:
            text = f"{self._bot.name} starts paused: {state.runtime.paused}."
            await journal.warn("paused", text, "/resume starts it.", lasting=True)
        else:
            await journal.over("paused")
        await journal.over("ended")
        crew = BotContext(
            settings=settings,
            bot=self._bot,
            strategy=self._strategy,
            redis=self._db,
            gateway=self._gateway,
            clock=self._clock,
            patience=self._patience,
            heartbeat=self._heart,
            trader=trader,
            broker=broker,
            symbols=symbols,
            keeping=keeping,
            beats=beats,
        )
        log.info("started", account=str(account), symbols=list(symbols), positions=sorted(core.positions))
        with contextlib.suppress(Stopped):
            await (LiveLoop(crew) if settings.alpha_step_url is None else StepLoop(crew, settings.alpha_step_url)).run()
        trader.stopping = True
        try:
            await trader.withdraw()
        except (Retry, Unknown, Rejected) as fault:
            log.warning("resting_entries_not_cancelled", why=str(fault))
        journal.runtime.ended_well = True
        await journal.save()
        await self._heart.beat(heartbeat.STOPPED, "to be started; its positions keep their stops on the exchange")
        log.info("stopped", positions=sorted(core.positions), bars=trader.progress.bars, late=trader.progress.late_bars)

    async def _scoring(self, account: Account, lease: Lease) -> tuple[Scorer | None, int]:
        """Who asks the models of the strategy, None without any; and how many closed bars the bot must know."""
        history, names = base_history(self._strategy), self._strategy.models
        if not names:
            return None, history
        client = ModelClient(self._settings.model_server_url, self._settings.model_deadline_ms / 1000)

        async def warn(key: str, text: str, remedy: str = "", level: Level = Level.WARNING) -> None:
            alert = Alert(level, f"{self._bot.id}:{key}", f"{self._bot.name}: {text}", remedy, self._bot.id)
            await raise_under_lease(self._alerts, lease, alert)

        scorer = self._scorer = Scorer(names, Predictions(self._store, account, self._bot.id), client, warn)
        return scorer, max(history, await self._wait("PostgreSQL", scorer.bars_needed))

    async def _wait(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a dependency, reporting it in the heartbeat."""

        async def tell(waits_for: str) -> None:
            self._waits_since_ms = self._waits_since_ms or monotonic_ms()
            self._waits_for = waits_for
            await self._heart.beat(heartbeat.STARTING, waits_for)

        found = await self._patience.until_it_works(what, call, tell)
        self._waits_since_ms = None
        return found

    async def _halt(self, symbol: str) -> str | None:
        if self._account is None:
            return "the bot has not begun"
        return await self._store.halt(self._account, symbol, self._clock.now_ms())

    def fault(self) -> str | None:
        """The bot's fault in one sentence, or None."""
        since_ms = self._waits_since_ms
        if since_ms is not None and monotonic_ms() - since_ms > BEGIN_LIMIT_MS:
            return f"It has waited for {(monotonic_ms() - since_ms) // 1000} s to begin. {self._waits_for}"
        trader = self._trader
        if trader is None or not trader.progress.last_cycle_ms:
            return None
        age_ms = monotonic_ms() - trader.progress.last_cycle_ms
        if self._settings.alpha_step_url is None and age_ms > CYCLE_LIMIT_MS:
            return f"No cycle was finished for {age_ms // 1000} s."
        return None
