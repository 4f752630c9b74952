"""The guard's process: one `BotGuard` per bot, the commands, the portfolio limits and health."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from prometheus_client import Counter, Gauge

from alpha.alerts import Alerts
from alpha.bybit.errors import KeyRefused
from alpha.bybit.rate_limiter import RateLimiter
from alpha.clock import wall_ms
from alpha.errors import AlphaError, Misconfigured
from alpha.health import Check, HealthServer
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.model.account import Environment
from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.postgres.drift import keep_drift
from alpha.postgres.lease import GUARD_LEASE, PostgresLease
from alpha.process import LoopPulse, end_tasks
from alpha.registry import load_registry
from bot_control.open import open_control
from risk_guard import findings
from risk_guard.account import GuardedAccount, open_account
from risk_guard.account_snapshot import SnapshotReader
from risk_guard.commands import CommandDesk, DeskHooks, DeskTiming
from risk_guard.lease import GuardLease
from risk_guard.left_orders import LeftOrders
from risk_guard.limits import BotLimits, PortfolioLimits, Seen
from risk_guard.monitor import Monitor
from risk_guard.settings import GuardSettings
from risk_guard.stop_check import StopCheck
from risk_guard.store import GuardStore

log = logger(__name__)
MARKS_S = 1.0
#: How long a patrol may be overdue before it is reported; with 60 s this makes the 90 s of the manual.
HINDERED_S = 30.0
HOUSEKEEPING_S = 5.0
#: How long calls in flight may take when the guard shuts down.
CLOSE_S = 6.0

REPAIRED = Gauge("guard_stops_repaired", "Stops that the guard set", ["bot"])
WALKS = Gauge("guard_patrols", "Patrols that were walked to the end", ["bot"])
FAULTS = Counter("guard_faults", "Rounds that ended in a fault", ["bot"])
EQUITY = Gauge("guard_equity_usdt", "Equity as last judged", ["bot"])
LIMIT = Gauge("guard_limit_used_ratio", "Part of a loss limit in use, 1 where it is met", ["bot", "limit"])
FLAT_S = Gauge("guard_last_closing_seconds", "How long the last flatten or panic took, confirmation included")


@dataclass(slots=True)
class BotGuard:
    """Everything that watches one bot. `seen` is the latest snapshot; `seen_s`, `patrolled_s` are monotonic seconds."""

    account: GuardedAccount
    limits: BotLimits
    patrol: StopCheck
    looks: SnapshotReader
    lookout: Monitor
    left: LeftOrders
    seen: Seen | None = None
    seen_s: float = 0.0
    live: bool = False
    acts: bool = False
    #: True while the exchange refuses this bot's key; that affects this bot only.
    refused: bool = False
    patrolled_s: float = field(default_factory=time.monotonic)


class GuardApp:
    """Wires the parts of the guard together and runs them."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._registry = load_registry(settings.alpha_bots_file)
        self._links = RedisClients(settings)
        self._store = GuardStore(settings)
        self._alerts = Alerts(self._links.shared, "risk_guard")
        self._control = open_control(settings, self._registry)
        throttle = RateLimiter(self._links.shared, egress=settings.alpha_egress, bots=len(self._registry.bots))
        lease_s = float(settings.guard_lease_s)
        self._lease_row = PostgresLease(
            settings, "risk_guard lease", GUARD_LEASE, {"only_row": True}, timeout_s=max(1.0, lease_s / 2)
        )
        self._lease = GuardLease(self._lease_row, lease_s)
        self._watchman = findings.FindingReporter(self._alerts)
        self._posts: dict[str, BotGuard] = {}
        for bot in self._registry.bots:
            try:
                account = open_account(settings, bot, throttle)
            except Misconfigured as fault:
                log.warning("bot_left_out", bot=bot.id, why=str(fault).splitlines()[0])
                continue
            account.gateway.fence_by(self._lease)
            looks = SnapshotReader(account, self._links)
            self._posts[bot.id] = BotGuard(
                account,
                BotLimits(account, settings, self._store, self._alerts, self._close_all),
                StopCheck(account, settings, self._store, self._alerts, self._close_one),
                looks,
                Monitor(account, settings, self._store, self._links, self._registry, self._watchman, looks),
                LeftOrders(account, self._store, self._alerts),
            )
        if not self._posts:
            raise Misconfigured(
                "No bot has an API key: put the keys of at least one bot into .env, or run 'alpha init'."
            )
        # Figures of demo and live accounts are never added together.
        self._portfolios = {
            environment: PortfolioLimits(settings, self._store, self._alerts, self._close_all)
            for environment in {post.account.environment for post in self._posts.values()}
        }
        accounts: Mapping[str, GuardedAccount] = {name: post.account for name, post in self._posts.items()}
        self._desk = CommandDesk(
            accounts,
            self._registry,
            self._store,
            self._links,
            self._control,
            self._alerts,
            DeskTiming(confirm_s=float(settings.guard_confirm_s), answer_s=float(settings.guard_answer_s)),
            DeskHooks(leads=lambda: self._lease.leads, lifted=self._lifted),
        )

    async def run(self, stop: asyncio.Event, pulse: LoopPulse) -> None:
        """Run until `stop` is set."""
        checks = {name: self._check(post) for name, post in self._posts.items()}
        health = HealthServer(self._settings, pulse, checks, details=self._details)
        log.info("started", health_port=health.port, bots=list(self._posts), observe=self._settings.guard_observe)
        tasks = [asyncio.create_task(self._keep(post), name=f"post {name}") for name, post in self._posts.items()]
        tasks += [asyncio.create_task(self._marks(post), name=f"marks {name}") for name, post in self._posts.items()]
        tasks += [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("lease", self._renew()),
                ("desk", self._desk.serve()),
                ("portfolio", self._portfolio()),
                ("housekeeping", self._housekeeping()),
                ("drift", keep_drift(self._settings, "risk_guard")),
            )
        ]
        ending = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ending, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await end_tasks([ending, *tasks])
            await self._desk.close()
            health.close()
            # Each waits for its calls in flight; closing them concurrently takes no longer than the slowest.
            closing = [asyncio.ensure_future(post.account.gateway.close()) for post in self._posts.values()]
            _, unended = await asyncio.wait(closing, timeout=CLOSE_S)
            if not unended:
                await self._lease.give_back()
            await self._lease_row.close()
            await self._control.close()
            await self._store.close()
            await self._links.close()

    # --- one bot ------------------------------------------------------------------------------------------------

    async def _keep(self, post: BotGuard) -> None:
        """Identify the account, then patrol at a fixed interval while this guard leads. Faults stay within one bot."""
        name = post.account.bot.id
        patrol_s = float(self._settings.guard_patrol_s)
        while True:
            try:
                await post.account.identify(self._store, observe=self._settings.guard_observe)
            except AlphaError as fault:
                post.refused = post.account.key is None and isinstance(fault, Misconfigured)
                await self._trouble(post, fault)
            if post.account.key is None or not self._lease.leads:
                post.acts = False
                if post.account.key is None:
                    await asyncio.sleep(min(5.0, patrol_s))
                else:
                    await self._lease.led(1.0)
                continue
            if not post.acts:
                post.acts = True
                post.patrolled_s = time.monotonic()
                log.info("acts", bot=name, observe=post.account.observe)
            await asyncio.sleep(patrol_s if await self._round(post) else min(5.0, patrol_s))

    async def _round(self, post: BotGuard) -> bool:
        """One patrol and one monitor round; False when part of it failed."""
        faults: list[AlphaError] = []
        for part in (self._take_up, self._patrol, self._watch, self._look_directly, self._clear):
            if not self._lease.leads:
                break  # frozen or unanswered: another guard may act on what was seen by now
            try:
                await part(post)
            except AlphaError as fault:
                faults.append(fault)
                await self._trouble(post, fault)
        post.refused = any(isinstance(fault, Misconfigured) for fault in faults)
        if not faults:
            post.account.fault = ""
        WALKS.labels(post.account.bot.id).set(post.patrol.walks)
        REPAIRED.labels(post.account.bot.id).set(post.patrol.repaired)
        return not faults

    async def _take_up(self, post: BotGuard) -> None:
        """Take over the closings and the limit references of the previous leader."""
        await self._desk.resume(post.account)
        await post.limits.load()

    async def _patrol(self, post: BotGuard) -> None:
        await post.patrol.walk()
        await self._desk.manual.enforce(post.account)
        post.patrolled_s = time.monotonic()

    async def _watch(self, post: BotGuard) -> None:
        await post.lookout.look()
        if post.lookout.faults:
            raise post.lookout.faults[0]

    async def _clear(self, post: BotGuard) -> None:
        await post.left.clear()

    async def _look_directly(self, post: BotGuard) -> None:
        """Check the limits against the exchange's own data while the listener does not vouch for Redis."""
        if not post.live:
            await self._judge(post, await post.looks.direct())

    async def _trouble(self, post: BotGuard, fault: AlphaError) -> None:
        post.account.fault = str(fault)
        FAULTS.labels(post.account.bot.id).inc()
        log.warning("guard_hindered", bot=post.account.bot.id, fault=str(fault))
        bot, idle_s = post.account.bot, time.monotonic() - post.patrolled_s
        if isinstance(fault, KeyRefused):
            await self._watchman.report(bot.id, [findings.refused_key(bot, fault)], wall_ms())
        elif self._lease.leads and idle_s > self._settings.guard_patrol_s + HINDERED_S:
            await self._watchman.report(bot.id, [findings.hindered(bot, fault, idle_s)], wall_ms())

    # --- limits -------------------------------------------------------------------------------------------------

    async def _marks(self, post: BotGuard) -> None:
        """Check the limits of one account every second, while the listener vouches for Redis.

        One task per account: a ledger or store that hangs for one account does not delay the limits of another.
        """
        while True:
            if post.acts and self._lease.leads:
                seen = await post.looks.live()
                post.live = seen is not None
                if seen is not None:
                    try:
                        await self._judge(post, seen)
                    except AlphaError as fault:
                        await self._trouble(post, fault)
            await asyncio.sleep(MARKS_S)

    async def _portfolio(self) -> None:
        """Check the portfolio limits of each environment every second."""
        while True:
            for environment in self._portfolios:
                await self._judge_all(environment)
            await asyncio.sleep(MARKS_S)

    async def _judge(self, post: BotGuard, seen: Seen) -> None:
        EQUITY.labels(post.account.bot.id).set(float(seen.equity))
        await post.limits.see(seen)
        # only now: what its own ledger does not explain says nothing of all accounts together either
        post.seen, post.seen_s = seen, time.monotonic()
        for limit, used in post.limits.used(seen.equity).items():
            LIMIT.labels(post.account.bot.id, limit).set(float(used))

    async def _judge_all(self, environment: Environment) -> None:
        """Check the portfolio limits once every account in it has a recent snapshot."""
        posts = [post for post in self._posts.values() if post.account.environment is environment]
        if not all(post.acts and post.limits.known for post in posts):
            return
        oldest_s = time.monotonic() - 2 * self._settings.guard_patrol_s - HINDERED_S
        looks = [post.seen for post in posts if post.seen is not None and post.seen_s >= oldest_s]
        if len(looks) < len(posts):
            return
        transferred: dict[str, Decimal] = {}
        for post in posts:
            for coin, amount in post.limits.transferred.items():
                transferred[coin] = transferred.get(coin, ZERO) + amount
        try:
            await self._portfolios[environment].see([post.account for post in posts], looks, transferred)
        except AlphaError as fault:
            log.warning("portfolio_not_judged", fault=str(fault))

    async def _renew(self) -> None:
        while True:
            again_s = await self._lease.tend()
            if not self._lease.leads:
                # The new leader continues this guard's closings; it has read how far they are.
                await self._desk.close()
            await asyncio.sleep(again_s)

    async def _housekeeping(self) -> None:
        """Write pending halts and alerts, and show how the last closing ended."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await self._store.flush()
            await self._alerts.flush()
            if self._desk.last_flat_s is not None:
                FLAT_S.set(self._desk.last_flat_s)

    # --- callbacks of the commands and the limits --------------------------------------------------------------------

    async def _close_all(self, account: GuardedAccount, why: str, by: str) -> None:
        await self._desk.close_all(account, Reason.RISK_LIMIT, why, by)

    async def _close_one(self, account: GuardedAccount, slot: str, reason: Reason) -> None:
        await self._desk.close_one(account, slot, reason)

    async def _lifted(self, bot: str | None) -> None:
        """End breaches that wait for the operator; measure the portfolio anew as soon as one bot may enter again."""
        for name, post in self._posts.items():
            if bot in {None, name}:
                post.limits.resume()
                self._portfolios[post.account.environment].resume()

    # --- health -------------------------------------------------------------------------------------------------

    def _check(self, post: BotGuard) -> Check:
        def check() -> str | None:
            if post.refused or not self._lease.leads:
                # A broken key is an alert and a status, not a health fault; another guard's account is being guarded.
                return None
            age = time.monotonic() - post.patrolled_s
            if age > 3 * self._settings.guard_patrol_s + 30:
                return f"{post.account.bot.id} was not patrolled for {age:.0f} s: {post.account.fault or 'no reason known'}."
            return None

        return check

    def _details(self) -> dict[str, object]:
        return {
            name: {
                "acts": post.acts and not post.account.observe,
                "fault": post.account.fault,
                "patrols": post.patrol.walks,
                "closing": name in self._desk.closing,
            }
            for name, post in self._posts.items()
        }


async def serve(settings: GuardSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run the guard."""
    await GuardApp(settings).run(stop, pulse)
