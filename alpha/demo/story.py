"""What happens, told in order: from each bot's events to lines for the terminal."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from alpha.clock import at
from alpha.live.events import Event, EventType
from alpha.money import ZERO, amount, amount_or_zero, plain
from alpha.reasons import Reason

_CENT = Decimal("0.01")


class Kind(StrEnum):
    """The step of the path that a line tells of."""

    ORDER = "order"
    FILL = "fill"
    FUNDING = "funding"
    POSITION = "position"
    CLOSED = "closed"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story. `exec_id` is set for a fill, so that its row in the database can be shown as found."""

    moment: datetime
    bot: str
    kind: Kind
    text: str
    exec_id: str | None = None
    gain: Decimal | None = None


class Storyteller:
    """Keeps the last lines and the number of fills seen."""

    def __init__(self, kept: int = 200) -> None:
        self.lines: deque[Line] = deque(maxlen=kept)
        self.fills = 0
        self.candles = 0
        self._sides: dict[tuple[str, str], tuple[str, Decimal]] = {}
        self._seen: dict[str, None] = {}

    def hear(self, bot: str, events: Iterable[Event]) -> list[Line]:
        """Take events of one bot in; returns the new lines."""
        told = []
        for event in events:
            line = self._line(bot, event)
            if line is not None:
                self.lines.append(line)
                told.append(line)
        return told

    def _line(self, bot: str, event: Event) -> Line | None:
        match event.type:
            case EventType.CANDLE:
                self.candles += 1
                return None
            case EventType.FILL:
                return self._fill(bot, event)
            case EventType.ORDER:
                return _order(bot, event)
            case EventType.POSITION:
                return self._position(bot, event)
            case EventType.STATUS:
                return Line(at(event.ts_ms), bot, Kind.STATUS, f"live data is {event.data.get('state', '?')}")
            case _:
                return None

    def _fill(self, bot: str, event: Event) -> Line | None:
        row = event.data
        exec_id = str(row["exec_id"])
        if exec_id in self._seen:
            return None
        self._seen[exec_id] = None
        while len(self._seen) > 20_000:
            del self._seen[next(iter(self._seen))]
        fee = amount(row["fee"], "fee")
        if row["exec_type"] == "Funding":
            word = "received" if fee < 0 else "paid"
            text = f"{row['symbol']}  {word} {money(abs(fee))} USDT"
            return Line(at(event.ts_ms), bot, Kind.FUNDING, text, exec_id, -fee)
        self.fills += 1
        pnl = amount_or_zero(row.get("exec_pnl"), "exec_pnl")
        reason = str(row.get("reason") or Reason.MANUAL)
        text = f"{row['symbol']}  {row['side']} {row['qty']} at {row['price']}  fee {money(fee)}  {reason.replace('_', ' ')}"
        return Line(at(event.ts_ms), bot, Kind.FILL, text, exec_id, pnl - fee if pnl else None)

    def _position(self, bot: str, event: Event) -> Line | None:
        row = event.data
        symbol, side, size = str(row["symbol"]), str(row["side"]), amount_or_zero(row["size"], "size")
        before = self._sides.get((bot, symbol))
        self._sides[bot, symbol] = (side, size)
        if before == (side, size) or (before is None and size == ZERO):
            return None
        moment = at(event.ts_ms)
        if size == ZERO:
            return Line(moment, bot, Kind.CLOSED, f"{symbol}  flat again")
        word = "short" if side == "Sell" else "long"
        stop = row.get("stop_loss") or "none yet"
        return Line(moment, bot, Kind.POSITION, f"{symbol}  {word} {plain(size)} at {row['entry_price']}  stop {stop}")


def _order(bot: str, event: Event) -> Line | None:
    row = event.data
    if row.get("orderStatus") not in {"New", "Untriggered", "Rejected"} or row.get("stopOrderType") not in {
        "",
        "UNKNOWN",
    }:
        return None
    refused = " REFUSED" if row["orderStatus"] == "Rejected" else ""
    text = f"{row['symbol']}  {row['side']} {row['qty']} {row['orderType']}{refused}"
    return Line(at(event.ts_ms), bot, Kind.ORDER, text)


def money(value: Decimal) -> str:
    """An amount in USDT with two decimals and thousands."""
    return f"{value.quantize(_CENT):,}"
