"""Timeline: turns each bot's events and log lines into ordered lines for the terminal.

Lines are in market order: a candle closes, the bot sees a signal, sends an order, the exchange fills it, position and
P&L change. The parts of one step arrive in any order; each line is placed by its timestamp.
"""

import re
from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from alpha.live_state.events import Event, EventType
from alpha.model.money import ZERO, amount, amount_or_zero, plain
from alpha.model.reason import Reason
from alpha.model.timestamp import at

_CENT = Decimal("0.01")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_REMEMBERED = 20_000
#: Candle closes kept per bot and symbol: a bot may be several bars behind the market.
_CLOSES_KEPT = 50
_CLOSED_AT = re.compile(r"closed at ([0-9.]*[0-9])")
#: Orders sent by the bot itself, not the stops attached to a position.
_PLAIN_ORDER = {"", "UNKNOWN"}
_REFUSED = "Rejected"


class Kind(StrEnum):
    """The step a line describes, in chronological order of a trade."""

    STATUS = "status"
    CANDLE = "candle"
    SIGNAL = "signal"
    ORDER = "order"
    FILL = "fill"
    FUNDING = "funding"
    POSITION = "position"
    STOP = "stop"
    CLOSED = "closed"


_RANK = {kind: rank for rank, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline. `exec_id` is set for a fill, so that it can be marked once its database row is found.

    `moment` is market time; `gain` is in USDT, after fees.
    """

    moment: datetime
    bot: str
    kind: Kind
    text: str
    exec_id: str | None = None
    gain: Decimal | None = None

    @property
    def place(self) -> tuple[datetime, int]:
        """The sort key of a line."""
        return self.moment, _RANK[self.kind]


@dataclass(slots=True)
class _Trip:
    """State of one bot's position in one symbol since it was last flat."""

    side: str = ""
    size: Decimal = ZERO
    stop: str = ""
    #: P&L minus fees plus funding of the received fills.
    net: Decimal = ZERO
    #: Bought minus sold quantity of the received fills: zero when flat only if all fills were received.
    filled: Decimal = ZERO


@dataclass(slots=True)
class TimelineWriter:
    """Keeps the latest lines in market order, and counters."""

    kept: int = 200
    lines: list[Line] = field(default_factory=list)
    fills: int = 0
    candles: int = 0
    _trips: dict[tuple[str, str], _Trip] = field(default_factory=dict)
    _closes: dict[tuple[str, str], deque[tuple[datetime, str]]] = field(default_factory=dict)
    _seen: dict[str, None] = field(default_factory=dict)
    _latest: datetime = _LONG_AGO

    def hear(self, bot: str, events: Iterable[Event]) -> list[Line]:
        """Process events of one bot; returns the new lines."""
        told = [line for event in events for line in self._lines(bot, event)]
        self._keep(told)
        return told

    def overhear(self, bot: str, said: Mapping[str, object]) -> list[Line]:
        """Process a line of a bot's log (why it entered or exited, and the candle it saw); returns the new lines."""
        if said.get("event") not in {"entered", "exited"} or said.get("why") == "closed on the exchange":
            return []
        symbol, why, moment = str(said["symbol"]), str(said["why"]), at(int(str(said["time_ms"])))
        told = []
        candle = self._candle(bot, symbol, why)
        if candle is not None:
            moment = min(candle[0], moment)
            told.append(Line(moment, bot, Kind.CANDLE, f"{symbol}  closed at {candle[1]}"))
        word = "leave" if said["event"] == "exited" else "enter short" if said["side"] == "Sell" else "enter long"
        told.append(Line(moment, bot, Kind.SIGNAL, f"{symbol}  {word}: {why}"))
        self._keep(told)
        return told

    def _candle(self, bot: str, symbol: str, why: str) -> tuple[datetime, str] | None:
        """Close time and close price of the candle a log line refers to; None when there is no such known candle."""
        named = _CLOSED_AT.search(why)
        closes = self._closes.get((bot, symbol), ())
        return next((each for each in reversed(closes) if named is not None and each[1] == named[1]), None)

    def _keep(self, told: Iterable[Line]) -> None:
        for line in told:
            insort(self.lines, line, key=lambda each: each.place)
        del self.lines[: max(0, len(self.lines) - self.kept)]

    def _lines(self, bot: str, event: Event) -> Iterable[Line]:
        if event.type in {EventType.FILL, EventType.ORDER, EventType.POSITION}:
            self._latest = max(self._latest, at(event.ts_ms))
        match event.type:
            case EventType.CANDLE:
                self.candles += 1
                closes = self._closes.setdefault((bot, str(event.data["symbol"])), deque(maxlen=_CLOSES_KEPT))
                closes.append((at(event.ts_ms), str(event.data["close"])))
            case EventType.FILL:
                yield from self._fill(bot, event)
            case EventType.ORDER:
                yield from self._order(bot, event)
            case EventType.POSITION:
                yield from self._position(bot, event)
            case EventType.STATUS:
                # Its timestamp is wall-clock time: placed after everything received from the market so far.
                yield Line(self._latest, bot, Kind.STATUS, f"live data is {event.data.get('state', '?')}")
            case _:
                pass

    def _new(self, name: str) -> bool:
        """Whether this is the first occurrence: events are delivered at least once."""
        if name in self._seen:
            return False
        self._seen[name] = None
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    def _fill(self, bot: str, event: Event) -> Iterable[Line]:
        row = event.data
        exec_id = str(row["exec_id"])
        if not self._new(f"fill {exec_id}"):
            return
        symbol, fee = str(row["symbol"]), amount(row["fee"], "fee")
        trip = self._trips.setdefault((bot, symbol), _Trip())
        if row["exec_type"] == "Funding":
            trip.net -= fee
            word = "received" if fee < 0 else "paid"
            text = f"{symbol}  {word} {money(abs(fee))} USDT"
            yield Line(at(event.ts_ms), bot, Kind.FUNDING, text, exec_id, -fee)
            return
        self.fills += 1
        pnl = amount_or_zero(row.get("exec_pnl"), "exec_pnl")
        trip.net += pnl - fee
        qty = amount(row["qty"], "qty")
        trip.filled += qty if row["side"] == "Buy" else -qty
        reason = str(row.get("reason") or Reason.MANUAL).replace("_", " ")
        text = f"{symbol}  {row['side']} {row['qty']} at {row['price']}  fee {money(fee)}  {reason}"
        yield Line(at(event.ts_ms), bot, Kind.FILL, text, exec_id, pnl - fee if pnl else None)

    def _order(self, bot: str, event: Event) -> Iterable[Line]:
        row = event.data
        if row.get("stopOrderType") not in _PLAIN_ORDER or not self._new(f"order {row.get('orderId')}"):
            return
        refused = "  REFUSED" if row["orderStatus"] == _REFUSED else ""
        kind = str(row["orderType"]).lower()
        text = (
            f"{row['symbol']}  {row['side']} {row['qty']} at {'market' if kind == 'market' else row['price']}{refused}"
        )
        made_ms = str(row.get("createdTime") or "")
        moment = at(int(made_ms)) if made_ms.isdigit() else at(event.ts_ms)
        yield Line(min(moment, at(event.ts_ms)), bot, Kind.ORDER, text)

    def _position(self, bot: str, event: Event) -> Iterable[Line]:
        row = event.data
        symbol, side, size = str(row["symbol"]), str(row["side"]), amount_or_zero(row["size"], "size")
        trip = self._trips.setdefault((bot, symbol), _Trip())
        before, stop = (trip.side, trip.size), str(row.get("stop_loss") or "")
        had_stop, trip.side, trip.size, trip.stop = trip.stop, side, size, stop
        moment = at(event.ts_ms)
        if size == ZERO:
            if before[1] != ZERO:
                gain = None if trip.filled else trip.net
                yield Line(moment, bot, Kind.CLOSED, f"{symbol}  flat again", gain=gain)
                self._trips[bot, symbol] = _Trip()
            return
        if before != (side, size):
            word = "short" if side == "Sell" else "long"
            yield Line(moment, bot, Kind.POSITION, f"{symbol}  {word} {plain(size)} at {row['entry_price']}")
        if stop and not had_stop:
            target = f"  target {row['take_profit']}" if row.get("take_profit") else ""
            yield Line(moment, bot, Kind.STOP, f"{symbol}  stop {stop}{target}")


def money(value: Decimal) -> str:
    """Format an amount in USDT with two decimals and thousands separators."""
    return f"{value.quantize(_CENT):,}"
