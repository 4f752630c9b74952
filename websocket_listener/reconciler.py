"""The audit of one account: executions, positions, orders and wallet over REST, on a beat and whenever asked."""

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from msgspec import structs

from alpha.alerts import Alerts
from alpha.bybit.client import Gateway
from alpha.bybit.errors import KeyRefused, Refused, UnreadableRow
from alpha.bybit.rate_limiter import urgent
from alpha.clock import wall_ms
from alpha.errors import AlphaError, Rejected, Retry
from alpha.lease import LeaseLost
from alpha.logs import logger
from alpha.model.account import Account
from alpha.model.coin import SETTLE_COINS
from alpha.model.execution import Execution
from alpha.model.order import Order
from alpha.model.position import Position
from alpha.postgres.database import POSTGRES_ERRORS
from websocket_listener.account_state import AccountState, flat, order_age, position_age, shows_the_same
from websocket_listener.audit_schedule import AuditSchedule
from websocket_listener.backfill import Backfill, Read
from websocket_listener.dispatcher import Dispatcher
from websocket_listener.gap_detector import GapDetector
from websocket_listener.opening_positions import Openings
from websocket_listener.orders import OrderHistory
from websocket_listener.refusals import Refusals, refused_key
from websocket_listener.status import BotStatus

log = logger(__name__)

#: The exchange's lists may lag its streams; so far back each read looks again, in the exchange's time.
OVERLAP_MS = 10_000
OVERLAP_AFTER_GAP_MS = 120_000
#: After a gap the lists are read once more a little later, because they may lag.
_AGAIN_S = 2.0
#: So many audits after a gap may still find what happened in it.
_LAGGING_AUDITS = 2
#: An audit that the exchange refuses so often in a row does not pass by itself: the operator hears of it.
_REFUSED_AUDITS = 3


@dataclass(frozen=True, slots=True)
class AuditParts:
    """What an audit reads into: the live state, fills, orders, and the positions of a first start."""

    feed: Dispatcher
    book: AccountState
    backfill: Backfill
    history: OrderHistory
    openings: Openings


@dataclass(frozen=True, slots=True)
class AuditEvents:
    """Who hears what an audit found.

    `first_done`: memory holds the whole truth for the first time. `silent`: the exchange has executed orders, and the
    stream, which is connected and answers pings, has not delivered a single message. `missed`: the symbol of each fill that
    the connected stream has not delivered, stored by then. `damaged`: what was shown was wrong and claimed to be newer than
    the truth; memory is right again, Redis is not.
    """

    first_done: Callable[[], None]
    silent: Callable[[], None]
    missed: Callable[[list[str]], None]
    damaged: Callable[[str], None]


class AccountReconciler:
    """Audits one account. `ask(why)` wants an audit now; one that runs is followed by another."""

    def __init__(
        self,
        parts: AuditParts,
        gateway: Gateway,
        status: BotStatus,
        alerts: Alerts,
        refusals: Refusals,
        events: AuditEvents,
        *,
        schedule: AuditSchedule,
        place: int,
    ) -> None:
        """`place` is the account's among all of the schedule."""
        #: Whether it had positions when it was last heard of, before this process's first audit.
        self.held_before = False
        self.audits = 0
        self.failures = 0
        self.repaired = 0
        self.last_s = 0.0
        self._feed = parts.feed
        self._book = parts.book
        self._backfill = parts.backfill
        self._history = parts.history
        self._openings = parts.openings
        self._openings_due = True
        self._orders_due = True
        self._unread_ms: int | None = None
        self._gateway = gateway
        self._status = status
        self._alerts = alerts
        self._refusals = refusals
        self._refused_in_a_row = 0
        self._schedule = schedule
        self._place = place
        self._beat_s = schedule.beat_s
        self._first_done: Callable[[], None] | None = events.first_done
        self._silent = events.silent
        self._missed = events.missed
        self._damaged = events.damaged
        self._unpushed = GapDetector(parts.feed.was_pushed)
        #: Audits since the last known gap. What the first two read may have happened in it: the lists lag.
        self._since_gap = 0
        self._messages = -1
        self._asked = asyncio.Event()
        self._gap = True
        self._again_at_s: float | None = None
        self._suspects: set[str] = set()
        self._suspected_before: set[str] = set()

    @property
    def account(self) -> Account:
        """The audited account."""
        return self._feed.account

    def gap(self) -> None:
        """The stream had a gap: rows found missing from now on are expected."""
        self._since_gap = 0
        self._unpushed.forget()

    def ask(self, why: str, *, gap: bool = True) -> None:
        """Audit as soon as possible, with the long overlap: something was lost. `gap`: it is known why."""
        if gap:
            self.gap()
        self._gap = True
        if not self._asked.is_set():
            log.info("audit_asked", bot=self._feed.account.bot_id, why=why)
        self._asked.set()

    @property
    def holds(self) -> bool:
        """Whether the account has positions, as far as is known: it is read before those that have none."""
        known = self._book.positions
        return any(row.size for row in known.values()) if self._first_done is None else self.held_before

    async def run(self) -> None:
        """Audit on the beat until cancelled. A failed audit is tried again soon; without one the status goes stale."""
        pause_s = self._schedule.pause_s(self._place)
        while True:
            wait_s = pause_s if self._again_at_s is None else max(0.0, self._again_at_s - time.monotonic())
            try:
                async with asyncio.timeout(wait_s):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()
            try:
                async with self._schedule.turn(holds=self.holds):
                    # without it the account is not synced, and nobody enters on it
                    with urgent() if self._gap else nullcontext():
                        await self.audit()
            except KeyRefused as fault:
                self.failures += 1
                pause_s = self._beat_s
                await self._key_refused(str(fault))
            except LeaseLost:
                # another listener records the account: no further audit can succeed
                raise
            except (AlphaError, *POSTGRES_ERRORS) as fault:
                self.failures += 1
                pause_s, self._again_at_s = min(1.0, self._beat_s), None
                why = f"{type(fault).__name__}: {fault}"[:300]
                log.info("audit_failed", bot=self._feed.account.bot_id, why=why)
                self._note_failure(why, passing=isinstance(fault, (Retry, *POSTGRES_ERRORS)))
            except Exception as fault:
                # whatever it is concerns this account; the others go on, and this one goes stale
                self.failures += 1
                pause_s, self._again_at_s = min(1.0, self._beat_s), None
                log.exception("audit_fault", bot=self._feed.account.bot_id)
                self._note_failure(f"{type(fault).__name__}: {fault}"[:300], passing=False)
            else:
                self._refused_in_a_row = 0
                pause_s = self._schedule.pause_s(self._place)

    def _note_failure(self, why: str, *, passing: bool) -> None:
        """Transient failures show in status and health; lasting ones are reported to the operator."""
        self._refused_in_a_row = 0 if passing else self._refused_in_a_row + 1
        if self._refused_in_a_row >= _REFUSED_AUDITS:
            self._refusals.audit(why)

    async def audit(self) -> None:
        """One audit. When it returns, everything the exchange had when it began is stored and shown."""
        began_s, began = time.monotonic(), self._status.now()
        after_gap, self._gap = self._gap, False
        self._suspected_before, self._suspects = self._suspects, set()
        try:
            # until the openings are recorded, what is read is the history of a first start
            self._openings_due = self._openings_due and await self._openings.due()
            overlap_ms = OVERLAP_AFTER_GAP_MS if after_gap else OVERLAP_MS
            read = await self._backfill.read(overlap_ms, announce=not self._openings_due)
            self._note_unpushed(read.unseen)
            # after a gap there is always something that the stream could not bring
            if read.unseen and not after_gap and self._feed.messages == self._messages:
                self._silent()
            self._messages = self._feed.messages
            if self._openings_due:
                await self._record_openings()
                self._openings_due = False
            await self._positions()
            listed = await self._orders()
            await self._order_history(read, listed, after_gap=after_gap)
            await self._wallet()
        except BaseException:
            self._gap = self._gap or after_gap
            raise
        await self._unexplained()
        await self._backfill.settle()
        self.audits += 1
        self.last_s = time.monotonic() - began_s
        if not self._gap:
            self._since_gap += 1
        self._report_missed()
        self._again_at_s = time.monotonic() + _AGAIN_S if after_gap or self._unpushed.waits else None
        if self._first_done is not None:
            done, self._first_done = self._first_done, None
            done()
        self._status.refused = ""
        bot = self._feed.account.bot_id
        await self._alerts.resolve(f"key:{bot}", wall_ms(), bot=bot)
        if not self._suspects:
            self._status.audited(began)

    def _note_unpushed(self, rows: list[Execution]) -> None:
        if self._since_gap >= _LAGGING_AUDITS:
            self._unpushed.found(rows, time.monotonic())

    def _report_missed(self) -> None:
        symbols = self._unpushed.lost(time.monotonic())
        if symbols:
            self._missed(symbols)

    async def _key_refused(self, why: str) -> None:
        news = not self._status.refused
        self._status.refused = why
        self._status.say()
        if news:
            await self._alerts.raise_alert(refused_key(self._feed.account.bot_id, why), wall_ms())

    async def _record_openings(self) -> None:
        """At a first start: read the positions, then once more every fill that is in them, then compare."""
        positions = await self._gateway.positions(coins=SETTLE_COINS)
        await self._openings.record(positions, lambda: self._backfill.read(OVERLAP_AFTER_GAP_MS))

    async def _positions(self) -> None:
        pushes = dict(self._feed.position_pushes)
        rows: dict[str, Position] = {}
        try:
            rows = {row.slot: row for row in await self._gateway.positions(coins=SETTLE_COINS)}
        except UnreadableRow as fault:
            # one row spoils the list: those we hold are asked for one by one, and the account is not synced meanwhile
            self._unreadable("positions", fault)
        for slot in [slot for slot, row in self._book.positions.items() if row.size and slot not in rows]:
            rows |= await self._position_of(slot)
        for slot, row in rows.items():
            quiet = self._feed.position_pushes.get(slot, 0) == pushes.get(slot, 0)
            if self._feed.take_position(row):
                self.repaired += self._first_done is None
                continue
            known = self._book.positions.get(slot)
            if known is None or not quiet or position_age(known) <= position_age(row):
                continue
            if self._is_damage(f"position {slot}", differs=not shows_the_same(row, known)):
                self._book.force_position(row)
                self._feed.explain.position(row, time.monotonic())

    async def _position_of(self, slot: str) -> dict[str, Position]:
        """A position that we hold and the exchange's list of open positions does not have. A refusal is that
        symbol's alone: refused twice in a row it is flat, for it was delivered, or a spoiled message named it."""
        known = self._book.positions[slot]
        symbol = known.symbol
        try:
            rows = {row.slot: row for row in await self._gateway.positions(symbol)}
            if rows and slot not in rows:
                # the symbol is in the other position mode now, which it can only enter flat
                seq, updated_ms = max(position_age(row) for row in rows.values())
                rows[slot] = structs.replace(
                    flat(known), seq=max(seq, known.seq), updated_ms=updated_ms or known.updated_ms
                )
            return rows
        except UnreadableRow as fault:
            self._unreadable(f"position {slot}", fault)
        except Refused as fault:
            if self._is_damage(f"position {slot}", differs=True):
                delivered = await self._refusals.delivered([symbol])
                log.warning("refused_symbol", symbol=symbol, delivered=bool(delivered), why=str(fault)[:300])
                row = flat(known)
                self._book.force_position(row)
                self._feed.explain.position(row, time.monotonic())
                if not delivered:
                    self._refusals.symbol(symbol, f"it was shown with {known.size} and is flat now: {fault}")
        return {}

    def _unreadable(self, name: str, fault: UnreadableRow) -> None:
        """A row that cannot be read is a known gap; what else was asked for counts."""
        row = fault.row if isinstance(fault.row, dict) else {}
        self._status.gap(name, f"the exchange's {name} cannot be read")
        self._refusals.symbol(str(row.get("symbol", "a symbol")), str(fault))

    def _is_damage(self, name: str, *, differs: bool) -> bool:
        """What we hold claims to be newer than what the exchange says now, with nothing pushed meanwhile. The first time
        its list may lag its stream; twice in a row ours is damage, an absurd time that holds back all that follows.

        True when the exchange's word must be taken. What differs until then is a known gap.
        """
        if name not in self._suspected_before:
            self._suspects.add(name)
            if differs:
                self._status.gap(name, f"{name} is not the exchange's")
            self.ask(f"{name} claims to be newer than the exchange's", gap=False)
            return False
        if differs:
            self.repaired += 1
            self._damaged(f"{name} was not the exchange's")
        return True

    async def _order_history(self, read: Read, listed: set[str], *, after_gap: bool) -> None:
        """After a gap, and when the stream has missed executions, orders have come and gone unseen as well."""
        if after_gap or read.unseen or self._orders_due:
            self._unread_ms = read.began_ms if self._unread_ms is None else min(self._unread_ms, read.began_ms)
            self._orders_due = True
            if await self._history.read(self._unread_ms, listed):
                self._orders_due, self._unread_ms = False, None

    async def _orders(self) -> set[str]:
        before = dict(self._book.orders)
        try:
            listed = {row.order_id: row for row in await self._gateway.open_orders(coins=SETTLE_COINS)}
        except UnreadableRow as fault:
            # which orders are gone cannot be told from a list that was not read to its end
            self._unreadable("open orders", fault)
            return set(before)
        first = self._first_done is not None
        for row in listed.values():
            known = before.get(row.order_id)
            if self._feed.take_order(row, known_before=True):
                self.repaired += not first
                continue
            if known is None or self._book.orders.get(row.order_id) is not known or order_age(known) <= order_age(row):
                continue
            if self._is_damage(f"order {row.order_id}", differs=True):
                self._book.force_order(row)
        for order_id, order in before.items():
            if order_id in listed or self._book.orders.get(order_id) is not order:
                continue
            await self._missing_order(order)
        return set(listed)

    async def _missing_order(self, order: Order) -> None:
        """An order that we hold as open and the exchange does not list: ask what became of it."""
        row = None
        try:
            row = await self._gateway.order_by_id(order.symbol, order.order_id)
        except UnreadableRow as fault:
            self._unreadable(f"order {order.order_id}", fault)
            return
        except Refused as fault:
            # the list of open orders does not have it, and by itself it cannot be asked for
            if not await self._refusals.delivered([order.symbol]):
                self._refusals.symbol(order.symbol, f"its order {order.order_id} counts as cancelled: {fault}")
        if row is None:
            self._book.forget_order(order.order_id)
            self.repaired += 1
        elif self._feed.take_order(row, known_before=True):
            self.repaired += 1
        elif not row.is_open and order.order_id in self._book.orders:
            # what we hold claims to be newer than the end of this order: it is damage
            self._book.forget_order(order.order_id)
            self.repaired += 1

    async def _wallet(self) -> None:
        pushes = self._feed.wallet_pushes
        wallet, now_ms = await self._gateway.wallet(), self._gateway.business.now_ms()
        if self._feed.wallet_pushes != pushes:
            return
        held = self._book.wallet
        if now_ms >= held.newest_ms:
            held.take(wallet, now_ms)
        elif self._is_damage("wallet", differs=held.differs(wallet)):
            held.force(wallet, now_ms)

    async def _unexplained(self) -> None:
        """What the fills still do not explain after everything was read: ask order by order, then believe the exchange."""
        now_s = time.monotonic()
        for order_id in self._feed.explain.overdue_orders(now_s)[:20]:
            try:
                self._note_unpushed(await self._backfill.read_order(order_id))
            except Rejected as fault:
                log.warning("order_refused", order=order_id, why=str(fault)[:300])
        left = self._feed.explain.accept(now_s)
        if left:
            log.warning("unexplained", bot=self._feed.account.bot_id, what=left[:20])
