"""One cycle of a bot: look at the account, keep its positions true, apply limits, work off exits, evaluate bars."""

from dataclasses import dataclass
from decimal import Decimal

from alpha.alerts import Level
from alpha.bybit.client import Gateway
from alpha.clock import SYSTEM_CLOCK, BusinessClock, Clock
from alpha.errors import Rejected, Retry
from alpha.lease import Act, LeaseNotHeld
from alpha.logs import logger
from alpha.model.exchange_profile import profile_of
from alpha.model.timestamp import at
from alpha.strategy.bars import BarView
from alpha.strategy.core import DecisionCore, Plan
from alpha.strategy.frames import base_history, series_of
from alpha.strategy.intents import Enter
from alpha.strategy.risk_rules import Action
from bot_runner.account import AccountSnapshot, AccountView
from bot_runner.auxiliary_feed import AuxiliaryFeed
from bot_runner.candle_feed import CandleFeed
from bot_runner.entries import Entries
from bot_runner.exits import Exits
from bot_runner.indicator_log import IndicatorLog, rows_of
from bot_runner.partial_exits import PartialExits
from bot_runner.persistent_fault import PersistentFault
from bot_runner.position_reconciler import PositionReconciler
from bot_runner.resting_orders import RestingOrders
from bot_runner.scorer import Scorer
from bot_runner.state_persistence import StatePersistence
from bot_runner.strategy_worker import WorkerStrategy
from bot_runner.transfers import Transfers

log = logger(__name__)
SKEW_LIMIT_MS = 500
SUMMARY_FROM_BARS = 3


@dataclass(slots=True)
class Progress:
    """The bot's progress, for heartbeat and health."""

    bars: int = 0
    late_bars: int = 0
    last_cycle_ms: int = 0


@dataclass(frozen=True, slots=True)
class TraderParts:
    """What a bot trades with. Each part does one thing; the trader says when."""

    core: DecisionCore
    journal: StatePersistence
    gateway: Gateway
    view: AccountView
    feed: CandleFeed
    exits: Exits
    entries: Entries
    reconciler: PositionReconciler
    resting: RestingOrders
    partial_exits: PartialExits
    transfers: Transfers
    scorer: Scorer | None = None
    auxiliary: AuxiliaryFeed | None = None
    indicators: IndicatorLog | None = None


class Trader:
    """All decisions of one bot. Its methods are called by one task, one after another."""

    def __init__(
        self,
        parts: TraderParts,
        business: BusinessClock,
        *,
        grace_ms: int,
        needs_live_state: bool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`needs_live_state`: entries wait until the listener's state is synced (False in step clock)."""
        self.core = core = parts.core
        self.journal = journal = parts.journal
        self.feed = parts.feed
        self.progress = Progress()
        self.stopping = False
        self._gateway = parts.gateway
        self._view = parts.view
        self._executor = parts.exits
        self._entries = parts.entries
        self.reconciler = parts.reconciler
        self.resting = parts.resting
        self._parts = parts.partial_exits
        self.reconciler.explained_by_executions = self.resting.explains
        self._transfers = parts.transfers
        self._business = business
        self._grace_ms = grace_ms
        self._needs_live_state = needs_live_state
        self.scorer = parts.scorer
        self._auxiliary = parts.auxiliary
        self._indicators = parts.indicators
        # Models look further back than the strategy, whose indicators need not be computed over that.
        self._history = 0 if parts.scorer is None else base_history(core.strategy)
        self._clock = clock
        name = journal.bot.name
        self._unjudged = PersistentFault(journal, "limits-unjudged", f"The limits of {name} were not judged", clock)
        #: The limits whose end has not been told, also those that the process before has met.
        self._limited = core.limits.in_force
        self._waiting: tuple[int, int] | None = None
        self._late_to_ms: int | None = None

    # --- a cycle ------------------------------------------------------------------------------------------------

    async def cycle(self) -> None:
        """Everything that is due now. Raises Retry when the exchange cannot be asked; the next cycle tries again."""
        if not self._looks:
            await self.bars()
            return
        look = await self._look()
        await self._limits(look)
        await self._work_off()
        await self._due_bars()
        self.progress.last_cycle_ms = self._clock.monotonic_ms()

    @property
    def idle(self) -> bool:
        """True while nothing is held and nothing is under way: then a candle needs no look at the account."""
        runtime = self.journal.runtime
        return not (self.core.positions or self.core.resting or runtime.entries or runtime.exits)

    @property
    def _looks(self) -> bool:
        """Whether this cycle looks at the account: what is under way and a bar's decision need it, the rest can wait until it is due."""
        runtime, newest_ms = self.journal.runtime, self.feed.newest_ms
        if runtime.entries or runtime.exits or runtime.stops or runtime.parts:
            return True
        decides = newest_ms is not None and newest_ms > self.core.state.last_bar_ms and not self.idle
        return decides or self._view.due

    async def bars(self) -> None:
        """The bars that are due, without a look at the account; enough while the bot is idle."""
        await self._due_bars()
        self.progress.last_cycle_ms = self._clock.monotonic_ms()

    async def tick(self) -> None:
        """Once a second: what events do not tell."""
        self.reconciler.forget_explained()
        await self._check_stops()

    async def at_point(self, *, opens: bool) -> None:
        """A point of the step clock. Without positions nothing can have happened between opens."""
        if opens or self.core.positions or self.core.resting or self.journal.runtime.entries:
            look = await self._look()
            await self._limits(look)
            await self._work_off()
        if opens:
            await self._due_bars()
        self.progress.last_cycle_ms = self._clock.monotonic_ms()

    async def _work_off(self) -> None:
        await self._executor.work_off_exits()
        await self._parts.work_off()
        await self._executor.work_off_stops()
        await self.resting.keep_up()

    async def withdraw(self) -> None:
        """The bot ends: no entry of it rests on the exchange any longer; positions keep stops and targets."""
        self.resting.withdraw()
        await self.resting.keep_up()

    async def _look(self) -> AccountSnapshot:
        if self.journal.runtime.entries:
            await self._entries.resolve()
        await self.reconciler.clear_lost_orders()
        look = await self._view.snapshot()
        changed = await self.resting.sync(look)
        if await self.resting.keep_up() or changed:
            look = await self._view.snapshot()
        return await self.reconciler.reconcile(look)

    async def _limits(self, look: AccountSnapshot) -> None:
        now_ms = self._business.now_ms()
        try:
            if await self._transfers.see(look.wallet_balance, now_ms):
                look = await self._view.snapshot_from_exchange()
        except (Retry, Rejected) as fault:
            log.warning("limits_postponed", why=str(fault))
            await self._unjudged.failed(fault)
            return
        await self._unjudged.passed()
        closes, breaches = self.core.see(now_ms, look.equity, look.open_profit)
        for breach in breaches:
            level = Level.CRITICAL if breach.action is Action.CLOSE_ALL else Level.WARNING
            text = f"{self.journal.bot.name}: {breach.text}"
            await self.journal.warn(f"limit:{breach.name}", text, "", level, lasting=True)
        in_force = self.core.limits.in_force
        for name in sorted({*self._limited, *(breach.name for breach in breaches)} - in_force):
            await self.journal.over(f"limit:{name}")
        self._limited = in_force
        bar_ms = now_ms - now_ms % self.core.interval_ms
        for close in closes:
            self._executor.plan_exit(close, bar_ms, None)
        if closes or breaches:
            await self.journal.save()

    async def _check_stops(self) -> None:
        """Every own position has its stop on the exchange; a missing one is set again."""
        bare = [symbol for symbol, held in (await self._view.glance()).held.items() if held.stop_loss is None]
        for symbol in bare:
            if symbol in self.core.positions and symbol not in self.journal.runtime.exits:
                held = (await self._view.snapshot_from_exchange()).held.get(symbol)
                position = self.core.positions.get(symbol)
                if held is not None and position is not None and held.stop_loss is None:
                    await self._executor.restore_stop(position)

    # --- bars ---------------------------------------------------------------------------------------------------

    async def _due_bars(self) -> None:
        newest_ms = self.feed.newest_ms
        if newest_ms is None:
            return
        interval_ms = self.core.interval_ms
        last_ms = self.core.state.last_bar_ms
        if self._late_to_ms is None:
            # What had closed before this process began is too late for an entry, but not for an exit.
            self._late_to_ms = newest_ms
            await self._tell_absence(last_ms, newest_ms)
        if last_ms < 0:
            self.core.state.last_bar_ms = newest_ms
            await self.journal.save()
            return
        if newest_ms - last_ms > 600 * interval_ms:
            log.warning("bars_skipped", bars=(newest_ms - last_ms) // interval_ms - 600)
            last_ms = newest_ms - 600 * interval_ms
        bar_ms = last_ms + interval_ms
        while bar_ms <= newest_ms and not self.stopping:
            if not await self._complete(bar_ms, newest=bar_ms == newest_ms):
                return
            newest_ms = max(newest_ms, self.feed.newest_ms or newest_ms)
            self._business.saw(bar_ms + interval_ms)
            await self._evaluate(bar_ms, fresh=bar_ms == newest_ms > self._late_to_ms and self._in_time(bar_ms))
            bar_ms += interval_ms

    async def _tell_absence(self, last_ms: int, newest_ms: int) -> None:
        """One summary after a time offline."""
        missed = (newest_ms - last_ms) // self.core.interval_ms
        if last_ms < 0 or missed < SUMMARY_FROM_BARS:
            return
        held = ", ".join(sorted(self.core.positions)) or "nothing"
        text = (
            f"{self.journal.bot.name} was away from {at(last_ms):%Y-%m-%d %H:%M} to {at(newest_ms):%Y-%m-%d %H:%M} UTC, "
            f"{missed} bars. It holds {held}; exits that are due come now, entries of these bars do not."
        )
        await self.journal.warn("was_away", text, level=Level.INFO)

    def _in_time(self, bar_ms: int) -> bool:
        """The next bar has not closed yet. A simulated market outruns its own stream: there the feed alone decides."""
        if not profile_of(self._gateway.environment).on_wall_time:
            return True
        return self._business.now_ms() < bar_ms + 2 * self.core.interval_ms

    async def _complete(self, bar_ms: int, *, newest: bool) -> bool:
        """Every followed symbol has the bar, or cannot have it. False: wait a little for the others."""
        missing = [symbol for symbol in self.feed.symbols if not self.feed.has(symbol, bar_ms)]
        if not missing:
            self._waiting = None
            return True
        now_ms = self._clock.monotonic_ms()
        if newest:
            if self._waiting is None or self._waiting[0] != bar_ms:
                self._waiting = (bar_ms, now_ms)
            if now_ms - self._waiting[1] < self._grace_ms:
                return False
        for symbol in missing:
            try:
                filled = await self.feed.fill(symbol, bar_ms)
            except (Retry, Rejected) as fault:
                filled = False
                log.warning("candle_not_read", symbol=symbol, why=str(fault))
            if not filled:
                log.warning("candle_missing", symbol=symbol, bar=at(bar_ms).isoformat())
        self._waiting = None
        return True

    async def _views(self, bar_ms: int, *, fresh: bool) -> dict[str, BarView]:
        """The bar of every symbol that has it, with its indicators and the scores of its models."""
        strategy = self.core.strategy
        found = {symbol: bars for symbol in self.feed.traded if (bars := self.feed.bars(symbol, bar_ms)) is not None}
        if self._auxiliary is not None:
            found = await self._auxiliary.attach(found, self.feed.references(bar_ms))
        shown = found if self.scorer is None else {symbol: bars.last(self._history) for symbol, bars in found.items()}
        if isinstance(strategy, WorkerStrategy):
            views = await strategy.worker.views(shown)
        else:
            views = {symbol: series_of(strategy, bars).view(len(bars) - 1) for symbol, bars in shown.items()}
        return views if self.scorer is None else await self.scorer.attach(views, found, fresh=fresh)

    async def _decide(self, bar_ms: int, views: dict[str, BarView]) -> Plan:
        """What the strategy wants at this bar: asked here, or in its worker."""
        core, strategy = self.core, self.core.strategy
        equity = await self._equity()
        if not isinstance(strategy, WorkerStrategy):
            return core.close_bar(bar_ms, views, *equity)
        plan, moment = core.begin_bar(bar_ms, views, *equity)
        return core.end_bar(plan, moment, await strategy.worker.evaluate(moment, core.strategy_state), views)

    async def _evaluate(self, bar_ms: int, *, fresh: bool) -> None:
        """Evaluate one bar and carry out what follows. A bar that is not the newest any more brings no entries."""
        views = await self._views(bar_ms, fresh=fresh)
        plan = await self._decide(bar_ms, views)
        decided_ms = plan.close_ms if fresh else None
        for close in plan.closes:
            if close.part:
                self._parts.plan(close, bar_ms)
            else:
                self._executor.plan_exit(close, bar_ms, decided_ms)
        for stop in plan.stops:
            self._executor.plan_stop(stop, bar_ms, decided_ms)
        await self.journal.save()
        await self.resting.keep_up()
        if plan.closes:
            await self._executor.work_off_exits()
            await self._parts.work_off()
        if plan.stops:
            await self._executor.work_off_stops()
        await self.resting.keep_up()
        await self._enter(plan, views, fresh=fresh)
        for skipped in plan.skipped:
            log.info("entry_skipped", symbol=skipped.symbol, why=skipped.why, bar=at(bar_ms).isoformat())
        self.progress.bars += 1
        self.progress.late_bars += not fresh
        if plan.closes or plan.stops:
            await self.journal.save()
        if self._indicators is not None:
            await self._keep_indicators(self._indicators, views)

    async def _keep_indicators(self, kept: IndicatorLog, views: dict[str, BarView]) -> None:
        """Hand over what charts show. No fault of it is one of trading."""
        strategy, core = self.core.strategy, self.core
        due = kept.due(views.keys(), [*core.symbols, *self.journal.runtime.entries])
        try:
            if isinstance(strategy, WorkerStrategy):
                kept.take(await strategy.worker.indicators(due) if due else {})
            else:
                kept.take({symbol: rows_of(views[symbol], after_ms) for symbol, after_ms in due.items()})
        except Exception as fault:  # noqa: BLE001 - arrays of the strategy's own code; trading has used them already
            kept.failed(fault)

    async def _enter(self, plan: Plan, views: dict[str, BarView], *, fresh: bool) -> None:
        if not plan.entries:
            return
        why = "the bar is not the newest any more" if not fresh else await self.entries_barred()
        if why is None:
            try:
                await self._entries.read_filters([enter.symbol for enter in plan.entries])
                look = await self._view.snapshot_from_exchange()
            except Retry as fault:
                why = f"filters or equity are not known: {fault}"
            else:
                plan.entries = [enter for enter in plan.entries if self._may_grow(enter, look)]
                orders = self.core.size(plan, look.equity, views)
                if orders:
                    await self._entries.send(orders)
                if plan.resting:
                    await self.resting.send(plan.resting)
                await self.resting.sync()
                await self.resting.keep_up()
        if why is not None:
            log.info("entries_held_back", symbols=[enter.symbol for enter in plan.entries], why=why)

    def _may_grow(self, enter: Enter, look: AccountSnapshot) -> bool:
        """The symbol is flat on the exchange, or the position there is the bot's own and grows."""
        own = self.core.positions.get(enter.symbol)
        return enter.symbol not in look.held or (own is not None and own.direction is enter.direction)

    async def _equity(self) -> tuple[Decimal | None, Decimal | None]:
        """Equity and open profit for a strategy that is shown them."""
        if not self.core.strategy.sees_equity:
            return None, None
        look = await self._view.snapshot()
        return look.equity, look.open_profit

    @property
    def without_score(self) -> str:
        """Why a model gives no score now; empty when all do, and without a model."""
        return "" if self.scorer is None else self.scorer.why

    async def entries_barred(self) -> str | None:
        """Why no entry may be sent now, or None. Exits never ask."""
        if self.stopping:
            return "the bot is stopping"
        if self.journal.runtime.paused:
            return f"paused: {self.journal.runtime.paused}"
        if not self.journal.durable:
            return "PostgreSQL is unavailable"
        try:
            self.journal.lease.check(Act.OPEN)
        except LeaseNotHeld as fault:
            return str(fault)
        if self.journal.runtime.entries:
            return "the outcome of an entry is not known yet"
        skew_ms = self._gateway.skew_ms
        if profile_of(self._gateway.environment).on_wall_time and (skew_ms is None or abs(skew_ms) > SKEW_LIMIT_MS):
            return f"this machine's clock is {skew_ms} ms off"
        if self._needs_live_state and not await self._view.live():
            return "live state is not synced"
        return None
