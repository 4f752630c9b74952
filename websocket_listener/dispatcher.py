"""Dispatches one bot's private stream: fills to PostgreSQL and Redis; orders, positions and wallet."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from alpha.bybit.decode import parse_wallet
from alpha.bybit.documented import note_row
from alpha.bybit.messages import UNREADABLE, Envelope
from alpha.bybit.models import Wallet
from alpha.bybit.rows import parse_execution, parse_order, parse_position, read_executions, read_orders, read_positions
from alpha.clock import BusinessClock, wall_ms
from alpha.drift import NOTES, DriftKind
from alpha.errors import Rejected
from alpha.model.account import Account
from alpha.model.execution import Execution
from alpha.model.order import Order
from alpha.model.position import Position
from alpha.model.reason import Reason
from alpha.model.timestamp import at
from alpha.postgres.rejected import RejectedMessage, RejectedMessages, as_text
from websocket_listener import serialize
from websocket_listener.account_state import AccountState
from websocket_listener.legs import LINEAR, Legs
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.redis_writer import RedisWriter
from websocket_listener.rows import check_execution, fill_of, order_row, reason_of_execution, reason_of_order
from websocket_listener.status import BotStatus
from websocket_listener.stop_reasons import StopReason
from websocket_listener.unexplained import Explainer

TOPICS = ("execution", "order", "position", "wallet")
#: Executions that are remembered, so that a repeat is known as one.
_SEEN_KEPT = 20_000
#: Pushed executions that wait to hear whether their symbol is in hedge mode.
_UNDECIDED_KEPT = 1_000
#: An execution's order and position come within milliseconds; after this the exchange is asked.
MODE_WAIT_S = 1.0
#: Frames of one second that are looked through for what Bybit does not document; in a burst the newest ones.
_LOOKED_THROUGH = 1_000
#: A time so far ahead of the exchange's clock is damage; it would hold back everything that follows.
_AHEAD_MS = 30 * 24 * 3_600_000
_rows = msgspec.json.Decoder(list[object])
_Quick = Callable[[msgspec.Raw], Sequence[object] | None]
_Careful = Callable[[object], object]


class Dispatcher:
    """Takes the frames of one account. Nothing in it waits."""

    def __init__(
        self,
        account: Account,
        book: AccountState,
        live: RedisWriter,
        database: PostgresWriter,
        status: BotStatus,
        rejected: RejectedMessages,
        business: BusinessClock,
        lost: Callable[[str], None],
    ) -> None:
        """`lost(what)` is called when something that was sent could not be read: it must be read over REST."""
        self.account = account
        self.explain = Explainer()
        self.legs = Legs()
        self._undecided: list[Execution] = []
        self._undecided_s = 0.0
        self._without_seq = ""
        self.duplicates = 0
        self.unread = 0
        self.messages = 0
        self.wallet_pushes = 0
        #: Pushed executions of other categories than linear.
        self.outside = 0
        self.position_pushes: dict[str, int] = {}
        self.stop_meanings: dict[str, StopReason] = {}
        #: The meanings of single stop orders, as read for fills that are read late.
        self.order_meanings: dict[str, Reason] = {}
        self.stop_changed: Callable[[], None] = _nothing
        self._book = book
        self._live = live
        self._database = database
        self._status = status
        self._rejected = rejected
        self._business = business
        self._lost = lost
        self._seen: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._unlooked: deque[tuple[str, msgspec.Raw]] = deque(maxlen=_LOOKED_THROUGH)
        self._readers: dict[str, tuple[_Quick, _Careful, Callable[[Any, Envelope], None]]] = {
            "execution": (read_executions, parse_execution, self._take_execution),
            "order": (read_orders, parse_order, self._take_order),
            "position": (read_positions, parse_position, self._take_position),
            "wallet": (_none, parse_wallet, self._take_wallet),
        }

    # -- frames -------------------------------------------------------------------------------------------------

    def data(self, envelope: Envelope, frame: str | bytes) -> None:
        """One frame with a topic. Rows that can be read are taken; if one cannot, the whole frame is kept."""
        self._status.last_message_ms = wall_ms()
        self.messages += 1
        topic = envelope.topic
        found = self._readers.get(topic) or self._readers.get(topic.split(".", 1)[0])
        if found is None:
            NOTES.note(DriftKind.TOPIC, "private stream", topic, as_text(frame))
            return
        quick, careful, take = found
        rows: Sequence[object] | None = quick(envelope.data)
        faults = []
        if rows:
            self._unlooked.append((topic.split(".", 1)[0], envelope.data))
        if rows is None:
            rows = []
            try:
                sent = _rows.decode(envelope.data)
            except UNREADABLE as fault:
                self._reject(frame, f"Its data is not a list of rows: {fault}.", topic)
                return
            for one in sent:
                try:
                    rows.append(careful(one))
                except Rejected as fault:
                    faults.append(str(fault))
        for row in rows:
            try:
                take(row, envelope)
            except Rejected as fault:
                faults.append(str(fault))
        if faults:
            self._reject(frame, " ".join(faults), topic)

    async def look_for_drift(self) -> None:
        """Note what Bybit does not document in the rows that were read the quick way, which sees known fields only."""
        looked = 0
        while self._unlooked:
            kind, data = self._unlooked.popleft()
            for row in _rows.decode(data):
                if isinstance(row, dict):
                    note_row(kind, row)
            looked += 1
            if looked % 50 == 0:
                await asyncio.sleep(0)

    def on_malformed(self, frame: str | bytes, fault: str) -> None:
        """A malformed frame."""
        self._reject(frame, fault, None)

    def _reject(self, frame: str | bytes, fault: str, topic: str | None) -> None:
        self.unread += 1
        self._rejected.put(
            RejectedMessage("private stream", as_text(frame), fault, self.account.id, self.account.bot_id, topic)
        )
        self._lost("a message of the private stream could not be read")

    def _check_ms(self, name: str, value_ms: int | None) -> None:
        if value_ms is not None and self._business.known and value_ms > self._business.now_ms() + _AHEAD_MS:
            raise Rejected(f"{name} {value_ms} is more than 30 days ahead of the exchange's clock.")

    def _take_execution(self, execution: Execution, envelope: Envelope) -> None:
        check_execution(execution)
        if not execution.order_id:
            # what has no order (a settlement) is taken from the exchange's list, where nothing gets lost on its way
            raise Rejected(f"The execution {execution.exec_id} was pushed without an orderId.")
        self._check_ms("execTime", execution.exec_time_ms)
        if execution.seq is None and execution.category == LINEAR:
            # an older form of Funding: the exchange's list has it, in its place among the others
            self._without_seq = execution.exec_id
            return
        self.outside += execution.category != LINEAR
        self.learn(execution, pushed=True)

    def _take_order(self, order: Order, envelope: Envelope) -> None:
        self._check_ms("updatedTime", order.updated_ms)
        self.take_order(order)

    def _take_position(self, position: Position, envelope: Envelope) -> None:
        self._check_ms("updatedTime", position.updated_ms)
        self.position_pushes[position.slot] = self.position_pushes.get(position.slot, 0) + 1
        self.take_position(position)

    def _take_wallet(self, wallet: Wallet, envelope: Envelope) -> None:
        self._check_ms("creationTime", envelope.creation_ms)
        self.wallet_pushes += 1
        self._book.wallet.take(wallet, envelope.creation_ms)

    # -- rows, pushed or read over REST -------------------------------------------------------------------------

    def learn(self, execution: Execution, *, pushed: bool, announce: bool = True) -> bool:
        """Take an execution; True when it was not known. Pushed ones go to the buffer, read ones are stored already.

        A pushed repeat of one that was only read may fill what REST does not tell, so it is stored too.
        """
        key = (execution.symbol, execution.exec_id)
        known = self._seen.get(key)
        if known is not None and (known or not pushed):
            self.duplicates += pushed
            return False
        leg = self.legs.of(execution)
        if leg is None:
            self._wait_for_mode(execution)
            return False
        self._seen[key] = pushed
        if len(self._seen) > _SEEN_KEPT:
            self._seen.popitem(last=False)
        reason = self.reason(execution)
        if known is None:
            self.explain.fill(execution, time.monotonic(), leg)
            if announce:
                self._status.last_fill_ms = wall_ms()
                told = serialize.fill_event(execution, reason, leg)
                self._live.put(("EVENT", "fill", str(execution.exec_time_ms), told))
        if pushed:
            self._database.put(fill_of(execution, self.account, reason, _now(), leg))
        return known is None

    def _wait_for_mode(self, execution: Execution) -> None:
        """The first execution of a symbol: its order or position, which come next, tell whether it is in hedge mode."""
        if not self._undecided:
            self._undecided_s = time.monotonic()
        if len(self._undecided) < _UNDECIDED_KEPT:
            self._undecided.append(execution)

    def wanted(self, now_s: float) -> str:
        """Why the exchange should be asked now although nothing was lost; "" when it need not be."""
        if self._without_seq:
            exec_id, self._without_seq = self._without_seq, ""
            return f"the execution {exec_id} was pushed without a seq"
        if self._undecided and now_s - self._undecided_s >= MODE_WAIT_S:
            self._undecided_s = now_s
            return f"whether {self._undecided[0].symbol} is in hedge mode is not known"
        return ""

    def _decide(self) -> None:
        if not self._undecided:
            return
        waiting, self._undecided = self._undecided, []
        for execution in waiting:
            self.learn(execution, pushed=True)

    def knows(self, execution: Execution) -> bool:
        """True for an execution that was taken before."""
        return (execution.symbol, execution.exec_id) in self._seen

    def was_pushed(self, symbol: str, exec_id: str) -> bool:
        """True unless this execution was only ever read over REST."""
        return self._seen.get((symbol, exec_id), True)

    def already_told(self, symbol: str, exec_id: str) -> None:
        """This execution was announced by an earlier process."""
        self._seen[(symbol, exec_id)] = True

    def reason(self, execution: Execution) -> Reason:
        """Why it happened."""
        meaning = self.order_meanings.get(execution.order_id)
        if meaning is None and (current := self.stop_meanings.get(execution.symbol)) is not None:
            meaning = current.at(execution.exec_time_ms)
        return reason_of_execution(execution, meaning)

    def take_order(self, order: Order, *, known_before: bool = False) -> bool:
        """Take an order from the stream or REST; True when it was news."""
        self.legs.order(order)
        self._decide()
        if order.category != LINEAR:
            self.store_order(order)
            return True
        if not self._book.take_order(order):
            return False
        self.explain.order(order, time.monotonic(), known_before=known_before)
        self.store_order(order)
        if order.stop_order_type and order.is_open:
            self.stop_changed()
        return True

    def meaning_changed(self, symbol: str) -> None:
        """A stop of this symbol means something else now: its open order is stored with its new reason."""
        for order in self._book.orders.values():
            if order.symbol == symbol and order.stop_order_type:
                self.store_order(order)

    def holds_open(self, order_id: str) -> bool:
        """True while the live state holds this order as open."""
        return order_id in self._book.orders

    def store_order(self, order: Order) -> None:
        """Store this state of an order in PostgreSQL, where a terminal state is never replaced by a late one."""
        meaning = self.order_meanings.get(order.order_id)
        if meaning is None and (current := self.stop_meanings.get(order.symbol)) is not None:
            meaning = current.reason if order.is_open else current.at(order.updated_ms)
        reason = reason_of_order(order, meaning)
        self._database.put(order_row(order, self.account, reason, _now()))

    def take_position(self, position: Position) -> bool:
        """Take a position from the stream or REST; True when it was news."""
        self.legs.position(position)
        self._decide()
        if position.category != LINEAR or not self._book.take_position(position):
            return False
        self.explain.position(position, time.monotonic())
        return True


#: Many rows of one batch share their millisecond.
_moment = lru_cache(maxsize=4)(at)


def _now() -> datetime:
    return _moment(wall_ms())


def _none(data: msgspec.Raw) -> None:
    """There is no quick way."""


def _nothing() -> None:
    """What is called before anybody listens."""
