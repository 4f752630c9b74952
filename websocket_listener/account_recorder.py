"""Records one account while this process holds its lease: private stream, audits, live state and equity curve."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

import msgspec
from redis.exceptions import RedisError

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.client import Gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers
from alpha.bybit.hosts import Hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.bybit.signing import ws_auth_args
from alpha.bybit.stream import Connecting, Stream, StreamAccount, Watch
from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.logs import logger
from alpha.model.account import Account
from alpha.model.timestamp import at
from alpha.postgres.database import POSTGRES_ERRORS, Pool
from alpha.postgres.rejected import RejectedMessages
from alpha.process import InsistentTaskGroup
from websocket_listener.account_settings import AccountSettingsWatch
from websocket_listener.account_state import AccountState, Mark
from websocket_listener.adl import AdlWatch, Drawdown
from websocket_listener.audit_schedule import AuditSchedule
from websocket_listener.backfill import Backfill
from websocket_listener.corporate_actions import CorporateActions
from websocket_listener.dispatcher import TOPICS, Dispatcher
from websocket_listener.fee_values import FeeValues
from websocket_listener.lease import AccountLease, Leases, always
from websocket_listener.opening_positions import Openings
from websocket_listener.orders import OrderHistory
from websocket_listener.other_categories import OtherCategories
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.reconciler import AccountReconciler, AuditEvents, AuditParts
from websocket_listener.redis_writer import Change, RedisWriter
from websocket_listener.refusals import Refusals, refused_key
from websocket_listener.settings import ListenerSettings
from websocket_listener.status import BotStatus
from websocket_listener.stop_reasons import StopReasons
from websocket_listener.store import insert_snapshot

log = logger(__name__)

#: How long the live state of an account that is given up may take to be written.
_GIVE_UP_S = 3.0
#: So long the first audit waits for the stream.
_CONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class Shared:
    """Shared by all bots of the process."""

    settings: ListenerSettings
    pool: Pool
    throttle: RateLimiter
    budget: ConnectBudget
    database: PostgresWriter
    rejected: RejectedMessages
    alerts: Alerts
    grouped: AlertBatcher
    marks: Mapping[str, Mark]
    leases: Leases
    audits: AuditSchedule
    drawdowns: Mapping[str, Drawdown]
    #: Says whether one more account may be taken now.
    attempt: Callable[[], AbstractAsyncContextManager[bool]] = always
    #: The accounts that this process records, by bot. One that failed stays until the next attempt begins.
    recorders: "dict[str, AccountRecorder]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BotAccess:
    """How one bot's account and Redis database are reached. `place` is the bot's among all of the list."""

    place: int
    hosts: Hosts
    credentials: Credentials
    gateway: Gateway
    redis: TextRedis
    #: A client of that database which nothing else uses.
    writer: TextRedis


class GivenUp(Exception):
    """The account goes to another listener."""


class AccountRecorder:
    """Records one account under its lease, until cancelled."""

    def __init__(
        self,
        account: Account,
        lease: AccountLease,
        access: BotAccess,
        shared: Shared,
        *,
        held_before: bool,
        unannounced: Iterable[Change] = (),
    ) -> None:
        """`held_before`: the account had positions when it was last heard of. `unannounced` are the events from before the
        lease was taken, to be published first."""
        self.account = account
        self.lease = lease
        self._bot = account.bot_id
        self._access = access
        self._gateway = access.gateway
        self._shared = shared
        #: True once the first audit has completed: until then Redis keeps the earlier live state.
        self._known = False
        self._snapshot_due_s = 1.0
        self._given_up = asyncio.Event()
        self._quit = asyncio.Event()
        #: Set once the private stream has been live.
        self._connected = asyncio.Event()
        self._telling: asyncio.Future[None] | None = None
        self.live = RedisWriter(
            *(access.writer, self._bot, lease),
            rebuild=self._rebuild,
            restored=self._restored,
            owed=deque(unannounced),
        )
        self.status = BotStatus(self.live.put, valid_s=shared.audits.valid_s, account=str(account))
        self.book = AccountState(self._bot, self.live.put, shared.marks)
        self._adl = AdlWatch(self._bot, shared.drawdowns, shared.grouped)
        self.feed = Dispatcher(
            account,
            self.book,
            self.live,
            shared.database,
            self.status,
            shared.rejected,
            self._gateway.business,
            self._lost,
        )
        self.backfill = Backfill(
            *(self.feed, self._gateway, shared.pool, shared.rejected),
            history_days=shared.settings.listener_history_days,
            only_holder=lease.only_holder,
            too_late=self._too_late,
        )
        corporate = CorporateActions(account, self._gateway, shared.pool, shared.grouped)
        self._others = OtherCategories(self.feed, self._gateway, shared.pool, lease.only_holder)
        self.backfill.follow_ups.append(corporate.settle)
        self.auditor = self._make_auditor(held_before=held_before)
        self.stream = Stream(
            f"private {self._bot}",
            access.hosts.private_ws,
            Handlers(self.feed.data, self.feed.on_malformed),
            Watch(self._up, self._down, self._refused),
            topics=TOPICS,
            connecting=Connecting(timing=shared.settings.stream_timing, budget=shared.budget),
            account=StreamAccount(login=self._login, holds=lambda: self.holds),
        )
        self._meanings = StopReasons(shared.pool, account.id, self.feed.stop_meanings, self.feed.meaning_changed)
        self.feed.stop_changed = self._meanings.poke

    def _make_auditor(self, *, held_before: bool) -> AccountReconciler:
        account, shared = self.account, self._shared
        refusals = Refusals(account, shared.pool, shared.grouped)
        auditor = AccountReconciler(
            AuditParts(
                self.feed,
                self.book,
                self.backfill,
                OrderHistory(self.feed, self._gateway, shared.pool, shared.database),
                Openings(account, self._gateway, shared.pool, refusals, self.lease.only_holder),
            ),
            self._gateway,
            self.status,
            shared.alerts,
            refusals,
            AuditEvents(self._first_audit_done, self._silent, self._missed, self.live.lose),
            schedule=shared.audits,
            place=self._access.place,
        )
        auditor.held_before = held_before
        return auditor

    # -- the lease ----------------------------------------------------------------------------------------------

    @property
    def holds_lease(self) -> bool:
        """Whether this process still records the account, as far as it knows."""
        return self.lease.token > 0 and not self.lease.lost

    @property
    def holds(self) -> bool:
        """Whether the account has positions, as far as is known."""
        return self.auditor.holds

    @property
    def held_symbols(self) -> set[str]:
        """The symbols of its open positions."""
        return {row.symbol for row in self.book.positions.values() if row.size}

    @property
    def given_up(self) -> bool:
        """Whether the account was released."""
        return self._given_up.is_set()

    def release(self) -> None:
        """Stop recording, so that another listener can take the account. `run` raises GivenUp."""
        self._given_up.set()

    def quit(self) -> None:
        """Stop taking data from the exchange and mark the status as down."""
        self._quit.set()
        self.status.down()

    # -- tasks --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Record until cancelled. Raises GivenUp after `release`, and LeaseLost when another listener has the lease."""
        async with InsistentTaskGroup() as tasks:
            tasks.create_task(self.live.run())
            tasks.create_task(self._beat())
            tasks.create_task(self._snapshots())
            tasks.create_task(self._until_given_up())
            tasks.create_task(self.lease.keep())
            listening = tasks.create_task(self._listen())
            await self._quit.wait()
            listening.cancel()

    async def _until_given_up(self) -> None:
        await self._given_up.wait()
        self.quit()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_UP_S):
                await self.live.flushed()
        raise GivenUp

    async def _listen(self) -> None:
        await self._recall()
        await self._meanings.begin()
        account, gateway, shared = self.account, self._gateway, self._shared
        async with InsistentTaskGroup() as tasks:
            tasks.create_task(AccountSettingsWatch(account, gateway, shared.pool, shared.grouped).run())
            tasks.create_task(FeeValues(account, gateway, shared.pool).run())
            tasks.create_task(self._meanings.run())
            tasks.create_task(self.stream.run())
            tasks.create_task(self.auditor.run())
            tasks.create_task(self._others.run())
            # An audit that began before the stream was live proves nothing about what came in between, so that a second one would
            # have to follow at once: the first begins when the stream is live, or without it when that takes long.
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    await self._connected.wait()
            if not self._connected.is_set():
                self.auditor.ask("start")

    async def _recall(self) -> None:
        """Load which fills an earlier process announced, so that each is published once."""
        try:
            for _, fields in await self._access.redis.xrevrange(keys.events(self._bot), count=keys.EVENTS_KEPT):
                if fields.get("type") == "fill":
                    data = msgspec.json.decode(fields["data"])
                    self.feed.already_told(data["symbol"], data["exec_id"])
        except (RedisError, OSError, TimeoutError, KeyError, TypeError, msgspec.DecodeError) as fault:
            log.info("events_not_recalled", bot=self._bot, why=type(fault).__name__)

    async def _beat(self) -> None:
        """Each second: marks into positions and wallet, the status, what the fills do not explain."""
        while True:
            await asyncio.sleep(1.0)
            self.book.mark(wall_ms())
            self._adl.look(self.book.positions.values())
            if why := self.feed.wanted(time.monotonic()):
                self.auditor.ask(why, gap=False)
            overdue = self.feed.explain.overdue(time.monotonic())
            if overdue and "unexplained" not in self.status.gaps:
                log.warning("unexplained", bot=self._bot, what=overdue[:5])
                self.status.gap("unexplained", overdue[0])
                self.auditor.ask(overdue[0], gap=False)
            await self.feed.look_for_drift()
            self.status.unread = self.feed.unread
            self.status.unread_lost = self._shared.rejected.lost_of[self._bot]
            self.status.beat()

    async def _snapshots(self) -> None:
        """The equity curve: a point on a beat, once there is an equity."""
        while True:
            await asyncio.sleep(self._snapshot_due_s)
            await self._snapshot()

    async def _snapshot(self) -> None:
        wallet, business = self.book.wallet, self._gateway.business
        if not wallet.coins or not business.known:
            return
        self._snapshot_due_s = self._shared.settings.listener_snapshot_s
        try:
            async with self._shared.pool.acquire(timeout=2.0) as connection:
                for name, line in sorted(wallet.coins.items(), reverse=True):
                    await insert_snapshot(
                        *(connection, self.account.id, at(business.now_ms()), name, line, wallet.available.get(name))
                    )
        except POSTGRES_ERRORS as fault:
            log.info("no_snapshot", bot=self._bot, why=type(fault).__name__)

    # -- the private stream -------------------------------------------------------------------------------------

    def _login(self) -> list[str | int]:
        credentials = self._access.credentials
        return ws_auth_args(credentials.key, credentials.secret, now_ms=self._gateway.signing_ms())

    def _up(self) -> None:
        self.status.refused = ""
        self.status.up()
        self._connected.set()
        self.auditor.ask("connected")

    def _down(self, why: str) -> None:
        self.status.down()
        self.auditor.gap()

    def _refused(self, why: str) -> None:
        news = not self.status.refused
        self.status.refused = why
        self.status.say()
        if news:
            # the loop itself keeps no task alive
            self._telling = asyncio.ensure_future(
                self._shared.alerts.raise_alert(refused_key(self._bot, why), wall_ms())
            )

    # -- gaps ---------------------------------------------------------------------------------------------------

    def _lost(self, what: str) -> None:
        self.status.gap("message", what)
        self.auditor.ask(what)

    def rows_dropped(self) -> None:
        """The buffer was full and rows of this account were dropped: they must be read from the exchange again."""
        known = self.status.gaps.get("buffer")
        if known is None:
            what = "rows were dropped while PostgreSQL was unavailable"
            self.status.gap("buffer", what)
        else:
            # an audit that runs already does not close it: what is dropped now it may not see
            known.since_ms = self.status.clock.boottime_ms()
            what = known.what
        self.auditor.ask(what)

    # -- what audits find ---------------------------------------------------------------------------------------

    def _first_audit_done(self) -> None:
        """Memory is complete for the first time: write it, whatever Redis holds."""
        self._known = True
        self.live.lose("the account is known now")

    def _silent(self) -> None:
        """The connection looks healthy but delivers no data: replace it."""
        self.stream.replace("it brought no message of what the exchange has done")

    def _missed(self, symbols: list[str]) -> None:
        """Fills missing from a connected stream: they are recorded, and the operator is alerted."""
        bot = self._bot

        def alert(count: int, about: list[str]) -> Alert:
            fills = "1 fill" if count == 1 else f"{count} fills"
            return Alert(
                Level.WARNING,
                f"missing:{bot}",
                f"{fills} of {bot} in {', '.join(about)} did not come through the stream, which was connected. "
                "An audit found them; they are recorded now.",
                "Nothing is missing any more. If it comes again and again, look at the line to the exchange.",
                bot,
            )

        self._shared.grouped.note(f"missing:{bot}", alert, count=len(symbols), about=symbols)

    async def _too_late(self, what: str) -> None:
        remedy = "Compare with the exchange's own export of your trades; P&L from fills lacks what happened then."
        alert = Alert(Level.CRITICAL, f"history:{self._bot}", what, remedy, self._bot)
        await self._shared.alerts.raise_alert(alert, wall_ms())

    # -- the live state in Redis --------------------------------------------------------------------------------

    def _rebuild(self) -> list[Change]:
        """What to write over Redis: the status, and the state once it is known; until then the old one stands there."""
        if not self._known:
            return self.status.anew()
        why = '{"why":"the live state was rebuilt"}'
        return [*self.book.rebuild(), *self.status.anew(), ("EVENT", "resync", str(wall_ms()), why)]

    def _restored(self) -> None:
        self.auditor.ask("the live state in Redis was rebuilt", gap=False)
