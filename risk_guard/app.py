"""The guard's process: one post a bot, the desk, the portfolio, health."""

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from prometheus_client import Counter, Gauge

from alpha.alerts import Alerts
from alpha.bot_control.open import open_control
from alpha.bybit.rows import Ticker
from alpha.bybit.throttle import Rank, Throttle
from alpha.clock import at, wall_ms
from alpha.errors import AlphaError, Misconfigured
from alpha.health import Check, HealthServer
from alpha.live.connect import AWAY, RedisLinks
from alpha.live.read import read_heartbeat, read_status
from alpha.logs import configure, logger
from alpha.money import ZERO
from alpha.process import LoopPulse, end_tasks
from alpha.reasons import Reason
from alpha.registry import load_registry
from alpha.settings import Environment
from risk_guard import watch
from risk_guard.account import GuardedAccount, open_account
from risk_guard.desk import Desk
from risk_guard.limits import BotLimits, PortfolioLimits, Seen
from risk_guard.looks import Looks
from risk_guard.patrol import Patrol
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore, Halt

log = logger(__name__)
LEASE_S = 15.0
MARKS_S = 1.0
FIRST_MINUTE_S = 60.0
_MAINTENANCE = "guard:maintenance"
_CLOCK = "guard:clock"

REPAIRED = Gauge("guard_stops_repaired", "Stops that the guard set", ["bot"])
WALKS = Gauge("guard_patrols", "Patrols that were walked to the end", ["bot"])
FAULTS = Counter("guard_faults", "Rounds that ended in a fault", ["bot"])
EQUITY = Gauge("guard_equity_usdt", "Equity as last judged", ["bot"])
FLAT_S = Gauge("guard_last_closing_seconds", "How long the last flatten or panic took, confirmation included")


@dataclass(slots=True)
class Post:
    """All that watches one bot."""

    account: GuardedAccount
    limits: BotLimits
    patrol: Patrol
    looks: Looks
    seen: Seen | None = None
    patrolled_s: float = field(default_factory=time.monotonic)
    lease_token: int | None = None
    #: True while the exchange refuses this bot's key: its own trouble, and nobody else's.
    refused: bool = False


class GuardApp:
    """The guard, wired."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._registry = load_registry(settings.alpha_bots_file)
        self._links = RedisLinks(settings)
        self._store = GuardStore(settings)
        self._alerts = Alerts(self._links.shared, "risk_guard")
        self._control = open_control(settings, self._registry)
        self._throttle = Throttle(self._links.shared)
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._watchman = watch.Watchman(self._alerts)
        self._posts: dict[str, Post] = {}
        self._portfolio = PortfolioLimits(settings, self._store, self._alerts, self._close_all)
        for bot in self._registry.bots:
            try:
                account = open_account(settings, bot, self._throttle)
            except Misconfigured as fault:
                log.warning("bot_left_out", bot=bot.id, why=str(fault).splitlines()[0])
                continue
            self._posts[bot.id] = Post(
                account,
                BotLimits(account, settings, self._store, self._alerts, self._close_all),
                Patrol(account, settings, self._store, self._alerts, self._close_one),
                Looks(account, self._links),
            )
        if not self._posts:
            raise Misconfigured(
                "No bot has an API key: put the keys of at least one bot into .env, or run 'alpha init'."
            )
        accounts: Mapping[str, GuardedAccount] = {name: post.account for name, post in self._posts.items()}
        self._desk = Desk(
            accounts,
            self._registry,
            self._store,
            self._links,
            self._control,
            self._alerts,
            confirm_s=float(settings.guard_confirm_s),
            answer_s=float(settings.guard_answer_s),
            lifted=self._lifted,
        )
        self._serving: asyncio.Task[None] | None = None
        self._began_s = time.monotonic()

    async def run(self, stop: asyncio.Event, pulse: LoopPulse) -> None:
        """Work until `stop`."""
        checks = {name: self._check(post) for name, post in self._posts.items()}
        health = HealthServer(self._settings, pulse, checks, details=self._details)
        log.info("started", health_port=health.port, bots=list(self._posts), observe=self._settings.guard_observe)
        tasks = [asyncio.create_task(self._keep(post), name=f"post {name}") for name, post in self._posts.items()]
        tasks += [asyncio.create_task(self._marks()), asyncio.create_task(self._housekeeping())]
        ending = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ending, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await end_tasks([ending, *tasks, *([] if self._serving is None else [self._serving])])
            health.close()
            for post in self._posts.values():
                with contextlib.suppress(AlphaError):
                    await post.account.gateway.close()
            await self._control.close()
            await self._store.close()
            await self._links.close()

    # --- one bot ------------------------------------------------------------------------------------------------

    async def _keep(self, post: Post) -> None:
        """Identify, hold the lease, patrol on the beat. A fault of one bot never touches another."""
        name = post.account.bot.id
        while True:
            pause_s = float(self._settings.guard_patrol_s)
            try:
                await post.account.identify(self._store, observe=self._settings.guard_observe)
            except AlphaError as fault:
                post.refused = post.account.key is None and isinstance(fault, Misconfigured)
                self._trouble(post, fault)
                if post.account.key is None:
                    await asyncio.sleep(min(5.0, pause_s))
                    continue
            if not await self._has_lease(post):
                await asyncio.sleep(min(5.0, pause_s))
                continue
            try:
                await self._desk.resume()
                await post.limits.load()
            except AlphaError as fault:
                self._trouble(post, fault)
            try:
                if name not in self._desk.closing:
                    await post.patrol.walk()
                post.patrolled_s = time.monotonic()
                post.account.fault, post.refused = "", False
                await self._watch(post)
                if post.seen is None:
                    await self._judge(post, await post.looks.direct())
            except AlphaError as fault:
                post.refused = isinstance(fault, Misconfigured)
                self._trouble(post, fault)
                pause_s = min(5.0, pause_s)
            WALKS.labels(name).set(post.patrol.walks)
            REPAIRED.labels(name).set(post.patrol.repaired)
            await asyncio.sleep(pause_s)

    def _trouble(self, post: Post, fault: AlphaError) -> None:
        post.account.fault = str(fault)
        FAULTS.labels(post.account.bot.id).inc()
        log.warning("guard_hindered", bot=post.account.bot.id, fault=str(fault))

    async def _has_lease(self, post: Post) -> bool:
        """Only one guard acts on an account. Without PostgreSQL the one that had it keeps it."""
        account = post.account
        if account.id is None:
            return account.leased
        try:
            had, account.leased = account.leased, await self._store.lease(account.id, self._holder, self._lease_s)
        except AlphaError:
            return account.leased
        if account.leased and not had:
            log.info("lease_taken", bot=account.bot.id)
        if self._serving is None and all(
            each.account.leased for each in self._posts.values() if each.account.id is not None
        ):
            # Commands are taken by the one guard that acts.
            self._serving = asyncio.create_task(self._desk.serve(), name="desk")
        return account.leased

    @property
    def _lease_s(self) -> float:
        return max(LEASE_S, 2.0 * self._settings.guard_patrol_s)

    async def _watch(self, post: Post) -> None:
        account, bot = post.account, post.account.bot
        now = at(wall_ms())
        findings = watch.key_state(account, now)
        try:
            redis = self._links.of(bot)
            heartbeat, status = await read_heartbeat(redis, bot.id), await read_status(redis, bot.id)
            # In its first minute everything may still be starting.
            if time.monotonic() - self._began_s > FIRST_MINUTE_S:
                findings += watch.bot_signs(bot, await self._wish(bot.id), heartbeat, status, now)
        except AWAY:
            log.warning("redis_away", bot=bot.id)
        positions = [row for row in await account.gateway.positions(rank=Rank.RECONCILE) if not row.is_flat]
        tickers: dict[str, Ticker] = {}
        for row in positions:
            tickers |= await account.gateway.tickers(row.symbol, rank=Rank.RECONCILE)
        findings += watch.held_symbols(account, positions, tickers, self._settings.guard_funding_extreme_pct)
        orders = await account.gateway.open_orders(rank=Rank.RECONCILE)
        findings += watch.strange_orders(account, orders, self._registry)
        if account.environment is not Environment.SIMULATED:
            skew = watch.clock_skew(await account.gateway.sync_clock())
            findings += skew
            await self._hold(account, _CLOCK, skew[0].text if skew else None)
        row_now = watch.maintenance(await account.gateway.system_status(), account.gateway.business.now_ms())
        await self._hold(account, _MAINTENANCE, None if row_now is None else f"Announced maintenance: {row_now.title}.")
        with contextlib.suppress(AlphaError):
            rows = await self._store.rows("SELECT token FROM trading.bot_leases WHERE account_id = $1", account.id)
            token = int(rows[0]["token"]) if rows else None
            findings += watch.lease_changes(bot, post.lease_token, token)
            post.lease_token = token
        await self._watchman.report(bot.id, findings, wall_ms())

    async def _wish(self, bot: str) -> str:
        with contextlib.suppress(AlphaError):
            rows = await self._store.rows("SELECT wish FROM trading.bots WHERE bot_id = $1", bot)
            return str(rows[0]["wish"]) if rows else "running"
        return "running"

    async def _hold(self, account: GuardedAccount, by: str, why: str | None) -> None:
        """Keep entries out while `why` holds, and let them in again afterwards."""
        if account.observe or account.id is None:
            return
        with contextlib.suppress(AlphaError):
            if why is not None:
                await self._store.halt(Halt(account.id, account.bot.id, None, "no_entries", why, by))
            else:
                await self._store.lift(account.id, by, "guard")

    # --- limits -------------------------------------------------------------------------------------------------

    async def _marks(self) -> None:
        """Judge every account each second, while the listener vouches for what Redis shows."""
        while True:
            for post in self._posts.values():
                if not post.account.leased:
                    continue
                post.seen = await post.looks.live()
                if post.seen is not None:
                    try:
                        await self._judge(post, post.seen)
                    except AlphaError as fault:
                        self._trouble(post, fault)
            await self._judge_all()
            await asyncio.sleep(MARKS_S)

    async def _judge(self, post: Post, seen: Seen) -> None:
        EQUITY.labels(post.account.bot.id).set(float(seen.equity))
        await post.limits.see(seen)

    async def _judge_all(self) -> None:
        posts = list(self._posts.values())
        looks = [post.seen for post in posts if post.seen is not None]
        if len(looks) < len(posts):
            return
        transferred: Decimal = sum((post.limits.transferred for post in posts), ZERO)
        try:
            await self._portfolio.see([post.account for post in posts], looks, transferred)
        except AlphaError as fault:
            log.warning("portfolio_not_judged", fault=str(fault))

    async def _housekeeping(self) -> None:
        """Renew the leases, write halts and alerts that wait, show how the last closing went."""
        while True:
            await asyncio.sleep(LEASE_S / 3)
            for post in self._posts.values():
                if post.account.leased:
                    await self._has_lease(post)
            await self._store.flush()
            await self._alerts.flush()
            if self._desk.last_flat_s is not None:
                FLAT_S.set(self._desk.last_flat_s)

    # --- what the desk and the limits ask for ----------------------------------------------------------------------

    async def _close_all(self, account: GuardedAccount, why: str, by: str) -> None:
        await self._desk.close_all(account, Reason.RISK_LIMIT, why, by)

    async def _close_one(self, account: GuardedAccount, symbol: str, reason: Reason) -> None:
        await self._desk.close_one(account, symbol, reason)

    async def _lifted(self, bot: str | None) -> None:
        for name, post in self._posts.items():
            if bot in {None, name}:
                post.limits.resume()
        if bot is None:
            self._portfolio.resume()

    # --- health -------------------------------------------------------------------------------------------------

    def _check(self, post: Post) -> Check:
        def check() -> str | None:
            account = post.account
            if post.refused or (account.id is not None and not account.leased):
                # A key that does not work is an alert and a status; an account of another guard is guarded.
                return None
            age = time.monotonic() - post.patrolled_s
            if age > 3 * self._settings.guard_patrol_s + 30:
                return f"{post.account.bot.id} was not patrolled for {age:.0f} s: {post.account.fault or 'no reason known'}."
            return None

        return check

    def _details(self) -> dict[str, object]:
        return {
            name: {
                "acts": post.account.leased and not post.account.observe,
                "fault": post.account.fault,
                "patrols": post.patrol.walks,
                "closing": name in self._desk.closing,
            }
            for name, post in self._posts.items()
        }


async def main(settings: GuardSettings, stop: asyncio.Event, pulse: LoopPulse) -> None:
    """Run the guard."""
    configure("risk_guard", settings)
    await GuardApp(settings).run(stop, pulse)
