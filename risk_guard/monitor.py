"""Monitors one account: what the guard watches besides positions and limits, once per patrol.

The checks are independent: one that fails is recorded and does not prevent the others.
"""

from dataclasses import replace
from datetime import datetime

from alpha.bybit.errors import KeyRefused
from alpha.bybit.models import SystemStatus, Ticker
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock, wall_ms
from alpha.errors import AlphaError
from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from alpha.live_state.maintenance import read_maintenance
from alpha.live_state.read import read_heartbeat, read_status
from alpha.logs import logger
from alpha.model.account import Environment
from alpha.model.coin import SETTLE_COINS
from alpha.model.exchange_profile import profile_of
from alpha.model.position import Position
from alpha.model.timestamp import at
from alpha.postgres.sql import queries
from alpha.registry import Registry
from risk_guard import findings
from risk_guard.account import GuardedAccount
from risk_guard.account_snapshot import SnapshotReader
from risk_guard.findings import Finding, FindingReporter
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore, Halt

SQL = queries(__file__)

log = logger(__name__)
#: During the first minute other services may still be starting.
FIRST_MINUTE_S = 60.0
KEY_EVERY_S = 3_600.0
INSTRUMENTS_EVERY_S = 600.0
_MAINTENANCE = "guard:maintenance"
_CLOCK = "guard:clock"
_ACCOUNT = "guard:account"


class Monitor:
    """Watches one account; findings go to the `FindingReporter`, those that forbid entries become a halt."""

    def __init__(
        self,
        account: GuardedAccount,
        settings: GuardSettings,
        store: GuardStore,
        links: RedisClients,
        registry: Registry,
        watchman: FindingReporter,
        looks: SnapshotReader,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.faults: list[AlphaError] = []
        self._account = account
        self._settings = settings
        self._store = store
        self._links = links
        self._registry = registry
        self._watchman = watchman
        self._looks = looks
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._key_s = clock.monotonic_s()
        self._dcp = False
        self._instruments_s = clock.monotonic_s()
        self._orders_since_ms: int | None = None
        self._unnoted: set[tuple[str, str]] = set()
        self._acquisitions: int | None = None
        self._maintenance: SystemStatus | None = None

    async def look(self) -> None:
        """Run one round; `faults` then lists the checks that failed."""
        found: list[Finding] = []
        self.faults = []
        complete = True
        now = at(wall_ms())
        for part in (
            self._key,
            self._life,
            self._held,
            self._orders,
            self._clock_skew,
            self._announced,
            self._lease,
        ):
            try:
                found += await part(now)
            except AlphaError as fault:
                self.faults.append(fault)
                complete = False
                log.warning("not_watched", bot=self._account.bot.id, what=part.__name__, fault=str(fault))
            except REDIS_UNAVAILABLE:
                complete = False
                log.warning("redis_away", bot=self._account.bot.id)
        await self._watchman.report(self._account.bot.id, found, wall_ms())
        if complete and self._clock.monotonic_s() - self._began_s > FIRST_MINUTE_S:
            await self._watchman.settle(self._account.bot.id, found, wall_ms())

    async def _key(self, now: datetime) -> list[Finding]:
        if self._clock.monotonic_s() - self._key_s >= KEY_EVERY_S:
            try:
                await self._account.read_key(observe=self._settings.guard_observe)
                self._dcp = (await self._account.gateway.account_info()).dcp
            except KeyRefused as fault:
                return [findings.refused_key(self._account.bot, fault)]
            self._key_s = self._clock.monotonic_s()
        observe = self._settings.guard_observe or not self._account.trades
        live = self._account.environment is Environment.LIVE
        return findings.key_state(self._account.bot, self._account.key, now, observe=observe, live=live, dcp=self._dcp)

    async def _life(self, now: datetime) -> list[Finding]:
        bot, redis = self._account.bot, self._links.of(self._account.bot)
        heartbeat, status = await read_heartbeat(redis, bot.id), await read_status(redis, bot.id)
        strange = findings.another_account(bot, status, self._account.text)
        await self._hold(_ACCOUNT, strange[0].text if strange else None)
        if strange:
            return [self._as_done(finding) for finding in strange]
        if self._clock.monotonic_s() - self._began_s <= FIRST_MINUTE_S:
            return []
        signs = findings.bot_signs(bot, await self._wish(), heartbeat, status, now)
        # in an announced maintenance the exchange is away for everybody, and the listener has told so
        ongoing = (await read_maintenance(self._links.shared)).ongoing
        return [finding for finding in signs if not (ongoing and finding.key == "data")]

    async def _wish(self) -> str:
        rows = await self._store.rows(SQL["wish"], self._account.bot.id)
        return str(rows[0]["wish"]) if rows else "running"

    async def _held(self, _now: datetime) -> list[Finding]:
        account = self._account
        positions: list[Position] = [
            row
            for row in await account.gateway.positions(coins=SETTLE_COINS, rank=Priority.RECONCILE)
            if not row.is_flat
        ]
        if self._clock.monotonic_s() - self._instruments_s >= INSTRUMENTS_EVERY_S:
            # A delisting may be announced while a position in the symbol is open.
            account.instruments |= await account.gateway.instruments(rank=Priority.RECONCILE)
            self._instruments_s = self._clock.monotonic_s()
        tickers: dict[str, Ticker] = {}
        for row in positions:
            tickers |= await account.gateway.tickers(row.symbol, rank=Priority.RECONCILE)
        return findings.held_symbols(account, positions, tickers, self._settings.guard_funding_extreme_pct)

    async def _orders(self, _now: datetime) -> list[Finding]:
        account = self._account
        orders = await account.gateway.open_orders(coins=SETTLE_COINS, rank=Priority.RECONCILE)
        found = findings.strange_orders(
            account.bot, [(order.order_link_id, order.symbol) for order in orders], self._registry
        )
        since_ms, self._orders_since_ms = self._orders_since_ms, account.gateway.business.now_ms()
        shown = [(order.link_id, order.symbol, order.created_ms) for order in self._looks.new_orders()]
        shown += [(order.order_link_id, order.symbol, order.created_ms) for order in orders]
        if since_ms is None or account.id is None:
            return found
        new = {(link, symbol) for link, symbol, created_ms in shown if created_ms >= since_ms}
        if new or self._unnoted:
            # A bot saves an exit's id only after sending it: an id still missing at the next check was not sent by it.
            asked = sorted(new | self._unnoted)
            unsent = findings.unsent_orders(account.bot, asked, await self._store.sent_by_bot(account.id))
            before = {f"unsent:{link}" for link, _ in self._unnoted}
            found += [finding for finding in unsent if finding.key in before]
            now_unnoted = {finding.key for finding in unsent} - before
            self._unnoted = {(link, symbol) for link, symbol in asked if f"unsent:{link}" in now_unnoted}
        return found

    async def _clock_skew(self, _now: datetime) -> list[Finding]:
        account = self._account
        if not profile_of(account.environment).on_wall_time:
            return []
        found = findings.clock_skew(await account.gateway.sync_clock())
        await self._hold(_CLOCK, found[0].text if found else None)
        return [self._as_done(finding) for finding in found]

    async def _announced(self, _now: datetime) -> list[Finding]:
        gateway = self._account.gateway
        near = findings.maintenance(await gateway.system_status(), gateway.business.now_ms())
        before, self._maintenance = self._maintenance, near
        if not self._settings.alpha_pause_in_maintenance:
            await self._hold(_MAINTENANCE, None)
            return []  # the listener tells of it
        if near is not None:
            finding = findings.maintenance_finding(near)
            await self._hold(_MAINTENANCE, finding.text)
            return [self._as_done(finding)]
        # Entries are allowed again once this round's patrol has checked every position.
        await self._hold(_MAINTENANCE, None)
        return [] if before is None else [findings.maintenance_over(before)]

    async def _lease(self, _now: datetime) -> list[Finding]:
        rows = await self._store.rows(SQL["acquisitions"], self._account.id)
        before, self._acquisitions = self._acquisitions, int(rows[0]["acquisitions"]) if rows else None
        return findings.lease_changes(self._account.bot, before, self._acquisitions)

    def _as_done(self, finding: Finding) -> Finding:
        """The finding, reworded for a guard that only observes when it would block entries."""
        if not self._account.observe:
            return finding
        return replace(finding, text=f"{finding.text} Entries would have been kept out; the guard only observes.")

    async def _hold(self, by: str, why: str | None) -> None:
        """Block entries while `why` is set; allow them again afterwards."""
        account = self._account
        if account.observe or account.id is None:
            return
        if why is not None:
            await self._store.halt(Halt(account.id, account.bot.id, None, "no_entries", why, by))
        else:
            await self._store.lift(account.bot.id, by, "guard")
