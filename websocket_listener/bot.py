"""One bot from its key to its live state: who it is, its private stream, its audits, its writers."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

import asyncpg
import msgspec
from redis.exceptions import RedisError

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.client import Gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers, Timing
from alpha.bybit.errors import KeyRefused
from alpha.bybit.hosts import Hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.session import Credentials
from alpha.bybit.signing import ws_auth_args
from alpha.bybit.stream import Connecting, Stream, StreamAccount, Watch
from alpha.clock import wall_ms
from alpha.config.keys import BotKeys, read_only_advice
from alpha.errors import AlphaError, Misconfigured
from alpha.lease import LeaseLost
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.logs import logger
from alpha.model.account import Account
from alpha.model.timestamp import at
from alpha.postgres.database import POSTGRES_ERRORS, Pool
from alpha.postgres.rejected import RejectedMessages
from alpha.process import InsistentTaskGroup
from alpha.registry import Bot
from websocket_listener.account_settings import AccountSettingsWatch
from websocket_listener.account_state import AccountState, Mark
from websocket_listener.adl import AdlWatch, Drawdown
from websocket_listener.audit_schedule import AuditSchedule
from websocket_listener.backfill import Backfill
from websocket_listener.corporate_actions import CorporateActions
from websocket_listener.dispatcher import TOPICS, Dispatcher
from websocket_listener.fee_values import FeeValues
from websocket_listener.lease import AccountLease, Leases, always, take
from websocket_listener.opening_positions import Openings
from websocket_listener.orders import OrderHistory
from websocket_listener.other_categories import OtherCategories
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.reconciler import AccountReconciler, AuditEvents, AuditParts
from websocket_listener.redis_writer import Change, RedisWriter
from websocket_listener.refusals import Refusals
from websocket_listener.restarted import first_line, restarted
from websocket_listener.settings import ListenerSettings
from websocket_listener.status import BotStatus
from websocket_listener.stop_reasons import StopReasons
from websocket_listener.store import insert_snapshot, register_account

log = logger(__name__)

#: SQLSTATE of trading.register_account for an account that belongs to another bot.
_ACCOUNT_TAKEN = "AL001"
_IDENTIFY_AGAIN_S = 10.0
#: How long the live state of an account that is given up may take to be written.
_GIVE_UP_S = 3.0
#: An identification that fails for so long is an alert.
_UNIDENTIFIED_S = 60.0
#: A pause before an account begins anew after a fault that nobody foresaw.
_BEGIN_AGAIN_S = 5.0
#: So long the first audit waits for the stream.
_CONNECT_S = 2.0


class AccountTaken(Misconfigured):
    """The keys of two bots belong to one account."""


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


class _GivenUp(Exception):
    """The account goes to another listener."""


class BotListener:
    """Listens to one bot's account until cancelled."""

    def __init__(
        self, bot: Bot, bot_keys: BotKeys, hosts: Hosts, links: RedisClients, shared: Shared, place: int
    ) -> None:
        """`place` is the bot's among all of the list."""
        self.bot = bot
        self._place = place
        self._held_before = False
        self.account: Account | None = None
        self.feed: Dispatcher | None = None
        self.auditor: AccountReconciler | None = None
        self.backfill: Backfill | None = None
        self.stream: Stream | None = None
        self.lease: AccountLease | None = None
        self._keys = bot_keys
        self._hosts = hosts
        self._redis = links.of(bot)
        self._shared = shared
        self.gateway = Gateway(
            hosts,
            Credentials(bot_keys.bybit_api_key.get_secret_value(), bot_keys.bybit_api_secret.get_secret_value()),
            shared.throttle,
            account=bot.id,
        )
        self._writer = links.writer(bot.redis_db)
        self._snapshot_ms = 0
        self._listening: asyncio.Task[None] | None = None
        self._given_up = asyncio.Event()
        #: Set once the private stream has stood.
        self._connected = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        """Know nothing of the account: another listener may have recorded it meanwhile."""
        self.live = RedisWriter(self._writer, self.bot.id, rebuild=self._rebuild, restored=self._restored)
        self.status = BotStatus(self.live.put, valid_s=self._shared.audits.valid_s)
        self.book = AccountState(self.bot.id, self.live.put, self._shared.marks)
        self.adl = AdlWatch(self.bot.id, self._shared.drawdowns, self._shared.grouped)
        self.account, self.feed, self.auditor, self.stream = None, None, None, None
        self.backfill, self.lease, self._known = None, None, False
        self._connected.clear()

    # -- who it is ----------------------------------------------------------------------------------------------

    async def identify(self) -> Account:
        """Ask the exchange whose key this is and PostgreSQL which number that account has.

        Raises AccountTaken when the account belongs to another bot, KeyRefused when the key is not accepted, and the
        passing errors of both.
        """
        info = await self.gateway.key_info()
        environment = self._hosts.environment
        if info.can_trade:
            log.warning("key_may_trade", bot=self.bot.id, remedy=read_only_advice(self.bot))
        try:
            async with self._shared.pool.acquire(timeout=5.0) as connection:
                number = await register_account(connection, environment, info.user_id, self.bot.id)
        except asyncpg.PostgresError as fault:
            if getattr(fault, "sqlstate", "") == _ACCOUNT_TAKEN:
                raise AccountTaken(str(fault)) from None
            raise
        self.status.account = f"{environment}:{info.user_id}"
        return Account(number, self.bot.id, environment, info.user_id)

    async def run(self) -> None:
        """Listen until cancelled. A fault that nobody foresaw is this account's, and so is a lease that another listener
        has taken: it begins anew, the others go on."""
        await restarted(self._run, self._fault, _BEGIN_AGAIN_S)

    def _fault(self, fault: Exception) -> None:
        """Say that this account is not listened to for a moment, and why."""
        bot = self.bot.id
        if first_line(fault).startswith(_GivenUp.__name__):
            log.info("account_given_up", bot=bot)
            return
        if first_line(fault).startswith(LeaseLost.__name__):
            log.warning("account_taken_over", bot=bot)
            return
        log.error("account_fault", bot=bot, exc_info=fault)
        self.status.gap("fault", "internal error of the listener; restarting")
        text = f"Listening to {bot} failed with an internal error and restarts: {first_line(fault)}"

        def alert(count: int, about: list[str]) -> Alert:
            return Alert(Level.CRITICAL, f"fault:{bot}", text, "Look at the listener's log and report it.", bot)

        self._shared.grouped.note(f"fault:{bot}", alert)

    async def _run(self) -> None:
        """Identify, take the account's lease, then listen, until cancelled. A refused key is tried again: it may be restored."""
        self._forget()
        try:
            await self._record()
        finally:
            # every task of the account has ended: nothing renews the lease any more
            if self._given_up.is_set() and self.lease is not None:
                self._given_up.clear()
                lease, self.lease = self.lease, None
                await lease.give_back()

    @property
    def recorded_here(self) -> bool:
        """Whether this listener holds the account's lease."""
        return self.lease is not None and self.lease.token > 0 and not self.lease.lost

    @property
    def holds(self) -> bool:
        """Whether the account has positions, as far as is known."""
        return self._holds()

    def release(self) -> None:
        """Stop recording the account and give its lease back, so that another listener takes it at once."""
        self._given_up.set()

    async def _until_given_up(self) -> None:
        await self._given_up.wait()
        self.quit()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_UP_S):
                await self.live.flushed()
        raise _GivenUp

    async def _record(self) -> None:
        async with InsistentTaskGroup() as tasks:
            tasks.create_task(self.live.run())
            tasks.create_task(self._beat())
            tasks.create_task(self._snapshots())
            await self._look_back()
            account = await self._identified()
            if account is None:
                return
            self.lease = lease = self._shared.leases.of_account(account.id, f"the account {account}")
            await take(lease, self._shared.attempt)
            await self._look_back()
            self._given_up.clear()
            tasks.create_task(self._until_given_up())
            tasks.create_task(lease.keep())
            # what an earlier listener said of this bot holds no more, and its token is fenced from here on
            self.live.start(lease)
            self._listen(account, lease, tasks)

    async def _look_back(self) -> None:
        """Whether the account held anything when it was last heard of: such accounts are connected and audited first."""
        with suppress(RedisError, OSError, TimeoutError):
            self._held_before = bool(await self._redis.smembers(keys.positions(self.bot.id)))

    async def _identified(self) -> Account | None:
        began_s, told = time.monotonic(), False
        while True:
            try:
                async with self._shared.audits.turn(holds=self._held_before):
                    account = await self.identify()
            except AccountTaken as fault:
                await self.refuse(str(fault))
                # nothing but another key helps, and that needs a restart
                await asyncio.Event().wait()
            except KeyRefused as fault:
                await self.refuse(str(fault))
            except (AlphaError, *POSTGRES_ERRORS) as fault:
                log.warning("not_identified", bot=self.bot.id, why=f"{type(fault).__name__}: {fault}"[:300])
                if not told and time.monotonic() - began_s >= _UNIDENTIFIED_S:
                    told = True
                    await self._unidentified(fault)
            else:
                self.status.refused = ""
                return account
            await asyncio.sleep(_IDENTIFY_AGAIN_S)

    async def _unidentified(self, fault: Exception) -> None:
        """The account behind the key could not be learnt for a while: nothing of it is recorded meanwhile."""
        text = f"{self.bot.id} is not listened to: its account is not known, because {first_line(fault)}"
        remedy = "It is tried again. Nothing of it is recorded meanwhile; what happens is read afterwards."
        alert = Alert(Level.CRITICAL, f"unidentified:{self.bot.id}", text, remedy, self.bot.id)
        await self._shared.alerts.raise_alert(alert, wall_ms())

    async def refuse(self, why: str) -> None:
        """This bot cannot be listened to: say so in its status and to the operator."""
        news = not self.status.refused
        self.status.refused = why
        self.status.say()
        if self.lease is None:
            # nobody's live state: no listener can hold an account that is not known
            await self._write_status(self.status.fields())
        if news:
            alert = Alert(Level.CRITICAL, f"key:{self.bot.id}", why, "Look at this bot's key.", self.bot.id)
            await self._shared.alerts.raise_alert(alert, wall_ms())

    # -- listening ----------------------------------------------------------------------------------------------

    def _listen(self, account: Account, lease: AccountLease, tasks: asyncio.TaskGroup) -> None:
        shared, settings = self._shared, self._shared.settings
        self.account = account
        self.feed = feed = Dispatcher(
            account,
            self.book,
            self.live,
            shared.database,
            self.status,
            shared.rejected,
            self.gateway.business,
            self._lost,
        )
        self.backfill = Backfill(
            *(feed, self.gateway, shared.pool, shared.rejected),
            history_days=settings.listener_history_days,
            only_holder=lease.only_holder,
            too_late=self._too_late,
        )
        corporate = CorporateActions(account, self.gateway, shared.pool, shared.grouped)
        others = OtherCategories(feed, self.gateway, shared.pool, lease.only_holder)
        self.backfill.follow_ups += [corporate.settle, others.settle]
        refusals = Refusals(account, shared.pool, shared.grouped)
        self.auditor = AccountReconciler(
            AuditParts(
                feed,
                self.book,
                self.backfill,
                OrderHistory(feed, self.gateway, shared.pool, shared.database),
                Openings(account, self.gateway, shared.pool, refusals, lease.only_holder),
            ),
            self.gateway,
            self.status,
            shared.alerts,
            refusals,
            AuditEvents(self._first_audit_done, self._silent, self._missed, self.live.lose),
            schedule=shared.audits,
            place=self._place,
        )
        self.auditor.held_before = self._held_before
        self.stream = Stream(
            f"private {self.bot.id}",
            self._hosts.private_ws,
            Handlers(feed.data, feed.on_malformed),
            Watch(self._up, self._down, self._refused),
            topics=TOPICS,
            connecting=Connecting(timing=timing_of(settings), budget=shared.budget),
            account=StreamAccount(login=self._login, holds=self._holds),
        )
        meanings = StopReasons(shared.pool, account.id, feed.stop_meanings, feed.meaning_changed)
        feed.stop_changed = meanings.poke
        self._listening = tasks.create_task(self._start(self.stream, self.auditor, meanings))

    async def _start(self, stream: Stream, auditor: AccountReconciler, meanings: StopReasons) -> None:
        await self._recall()
        await meanings.begin()
        account, shared = auditor.account, self._shared
        async with InsistentTaskGroup() as tasks:
            tasks.create_task(AccountSettingsWatch(account, self.gateway, shared.pool, shared.grouped).run())
            tasks.create_task(FeeValues(account, self.gateway, shared.pool).run())
            tasks.create_task(meanings.run())
            tasks.create_task(stream.run())
            tasks.create_task(auditor.run())
            # An audit that began before the stream stood proves nothing about what came in between, so that a second one would have to
            # follow at once: the first begins when the stream stands, or without it when that takes long.
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    await self._connected.wait()
            if not self._connected.is_set():
                auditor.ask("start")

    async def _recall(self) -> None:
        """Load which fills an earlier process announced, so that each is published once."""
        if self.feed is None:
            return
        try:
            for _, fields in await self._redis.xrevrange(keys.events(self.bot.id), count=keys.EVENTS_KEPT):
                if fields.get("type") == "fill":
                    data = msgspec.json.decode(fields["data"])
                    self.feed.already_told(data["symbol"], data["exec_id"])
        except (RedisError, OSError, TimeoutError, KeyError, TypeError, msgspec.DecodeError) as fault:
            log.info("events_not_recalled", bot=self.bot.id, why=type(fault).__name__)

    def _holds(self) -> bool:
        return self._held_before if self.auditor is None else self.auditor.holds

    def _login(self) -> list[str | int]:
        key, secret = self._keys.bybit_api_key.get_secret_value(), self._keys.bybit_api_secret.get_secret_value()
        return ws_auth_args(key, secret, now_ms=self.gateway.signing_ms())

    def _up(self) -> None:
        self.status.refused = ""
        self.status.up()
        self._connected.set()
        if self.auditor is not None:
            self.auditor.ask("connected")

    def _down(self, why: str) -> None:
        self.status.down()
        if self.auditor is not None:
            self.auditor.gap()

    def _refused(self, why: str) -> None:
        task = asyncio.ensure_future(self.refuse(why))
        task.add_done_callback(lambda _: None)

    def _lost(self, what: str) -> None:
        self.status.gap("message", what)
        if self.auditor is not None:
            self.auditor.ask(what)

    def rows_dropped(self) -> None:
        """The buffer was full and rows of this account were dropped: they must be read from the exchange again."""
        known = self.status.gaps.get("buffer")
        if known is None:
            self._gap_in_buffer("rows were dropped while PostgreSQL was unavailable")
        else:
            # an audit that runs already does not close it: what is dropped now it may not see
            known.since_ms = self.status.clock.boottime_ms()
            if self.auditor is not None:
                self.auditor.ask(known.what)

    def _gap_in_buffer(self, what: str) -> None:
        self.status.gap("buffer", what)
        if self.auditor is not None:
            self.auditor.ask(what)

    def _first_audit_done(self) -> None:
        """Memory is complete for the first time: write it, whatever Redis holds."""
        self._known = True
        self.live.lose("the account is known now")

    def _silent(self) -> None:
        """The connection looks healthy but delivers no data: replace it."""
        if self.stream is not None:
            self.stream.replace("it brought no message of what the exchange has done")

    def _missed(self, symbols: list[str]) -> None:
        """Fills missing from a connected stream: they are recorded, and the operator is alerted."""
        bot = self.bot.id

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
        await self._shared.alerts.raise_alert(
            Alert(Level.CRITICAL, f"history:{self.bot.id}", what, remedy, self.bot.id), wall_ms()
        )

    def _rebuild(self) -> list[Change]:
        """What to write over Redis: the status, and the state once it is known; until then the old one stands there."""
        now_ms = wall_ms()
        if not self._known:
            return self.status.anew()
        why = '{"why":"the live state was rebuilt"}'
        return [*self.book.rebuild(), *self.status.anew(), ("EVENT", "resync", str(now_ms), why)]

    def _restored(self) -> None:
        if self.auditor is not None:
            self.auditor.ask("the live state in Redis was rebuilt", gap=False)

    async def _beat(self) -> None:
        """Each second: marks into positions and wallet, the status, what the fills do not explain."""
        while True:
            await asyncio.sleep(1.0)
            now_ms = wall_ms()
            self.book.mark(now_ms)
            self.adl.look(self.book.positions.values())
            if self.feed is not None and self.auditor is not None:
                if why := self.feed.wanted(time.monotonic()):
                    self.auditor.ask(why, gap=False)
                overdue = self.feed.explain.overdue(time.monotonic())
                if overdue and "unexplained" not in self.status.gaps:
                    log.warning("unexplained", bot=self.bot.id, what=overdue[:5])
                    self.status.gap("unexplained", overdue[0])
                    self.auditor.ask(overdue[0], gap=False)
            if self.feed is not None:
                await self.feed.look_for_drift()
            self.status.unread = self.feed.unread if self.feed is not None else 0
            self.status.unread_lost = self._shared.rejected.lost_of[self.bot.id]
            self.status.beat()

    async def _write_status(self, fields: Mapping[str, str]) -> None:
        """Write these fields of the status by themselves, while no live state is written."""
        try:
            await self._shared.leases.may_write_public()
            await self._redis.hset(keys.status(self.bot.id), mapping=fields)
        except (RedisError, OSError, TimeoutError, AlphaError) as fault:
            log.info("status_not_written", bot=self.bot.id, why=type(fault).__name__)

    async def _snapshots(self) -> None:
        """The equity curve: a point on a beat, once there is an equity."""
        while True:
            await asyncio.sleep(1.0 if self._snapshot_ms == 0 else self._shared.settings.listener_snapshot_s)
            await self._snapshot()

    async def _snapshot(self) -> None:
        wallet, business = self.book.wallet, self.gateway.business
        if not wallet.coins or self.account is None or not business.known:
            return
        self._snapshot_ms = wall_ms()
        try:
            async with self._shared.pool.acquire(timeout=2.0) as connection:
                for name, line in sorted(wallet.coins.items(), reverse=True):
                    await insert_snapshot(
                        *(connection, self.account.id, at(business.now_ms()), name, line, wallet.available.get(name))
                    )
        except POSTGRES_ERRORS as fault:
            log.info("no_snapshot", bot=self.bot.id, why=type(fault).__name__)

    def quit(self) -> None:
        """Stop taking data from the exchange and mark the status as down."""
        if self._listening is not None:
            self._listening.cancel()
        self.status.down()


def timing_of(settings: ListenerSettings) -> Timing:
    """The limits of a connection, from the settings."""
    return Timing(
        # an answer that does not come is a silence too, although pongs may come meanwhile
        answer_s=min(Timing().answer_s, settings.listener_silence_s),
        ping_s=settings.listener_ping_s,
        silence_s=settings.listener_silence_s,
        max_age_s=settings.listener_connection_age_s,
    )
