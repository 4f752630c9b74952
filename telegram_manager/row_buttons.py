"""Buttons at the thing itself: under positions close, a part, the stop, the chart; under orders cancel; under trades each trade.

Those that change something begin a command, which asks for confirmation as always. Telegram allows 64 bytes of data per button.
"""

from collections.abc import Sequence
from decimal import Decimal

from alpha.model.money import plain
from alpha.registry import Registry
from operations.analytics import TripRow
from operations.commands import Role
from operations.formatting import usdt
from operations.pages import several, short
from operations.positions import OrderRow, PositionRow

#: More rows than this have no buttons of their own: the screen would be full of them.
MOST_ROWS = 6
#: Characters of an order's id that name it.
ORDER_ID_KEPT = 13
MOST_DATA = 64
Row = list[tuple[str, str]]


def row_buttons(registry: Registry, name: str, rows: object, role: Role) -> list[Row]:
    """The rows of buttons for what this query shows; none that steers for a role that may not."""
    if not isinstance(rows, Sequence) or not rows or len(rows) > MOST_ROWS * (5 if name == "trades" else 1):
        return []
    made: list[Row] = []
    if name == "trades":
        found = [row for row in rows[:8] if isinstance(row, TripRow)]
        made = _pairs([(f"🔎 {row.symbol} {usdt(row.net).short}", f"q|trade|{row.trade_id}|0") for row in found])
    elif name == "positions":
        held = [row for row in rows if isinstance(row, PositionRow)]
        if role >= Role.OPERATOR:
            for row in held:
                made += _position(registry, row, several=several(held))
        else:
            made = _pairs([_chart(registry, row, several=several(held)) for row in held])
    elif role >= Role.OPERATOR and name == "orders":
        made = _pairs([_order(registry, row) for row in rows if isinstance(row, OrderRow) and not row.is_stop])
    return [line for line in made if all(len(data.encode()) <= MOST_DATA for _, data in line)]


def _position(registry: Registry, row: PositionRow, *, several: bool) -> list[Row]:
    bot = registry.find(row.bot).container
    made: list[Row] = [
        [
            (f"✖️ Close {_title(row, several=several)}", f"o|close|{bot} {row.symbol} 100"),
            ("50 %", f"o|close|{bot} {row.symbol} 50"),
            ("25 %", f"o|close|{bot} {row.symbol} 25"),
        ]
    ]
    stops = [(text, f"o|movestop|{bot} {row.symbol} {plain(price)}") for text, price in _stops(row)]
    # without a price to offer it asks for one
    stops = stops or [("🛡 Stop …", f"o|movestop|{bot} {row.symbol}")]
    made.append([*stops, _chart(registry, row, several=several)])
    return made


def _title(row: PositionRow, *, several: bool) -> str:
    what = row.symbol.removesuffix("USDT")
    return f"{short(row.bot)[:2].upper()} {what}" if several else what


def _chart(registry: Registry, row: PositionRow, *, several: bool) -> tuple[str, str]:
    """Sends the picture alone."""
    return f"🖼 Chart {_title(row, several=several)}", f"g|chart|{registry.word_of(registry.find(row.bot))} {row.symbol}"


def _stops(row: PositionRow) -> list[tuple[str, Decimal]]:
    """Stops that are offered: half way between the stop and the market, and the entry where the market has passed it."""
    mark, stop, entry = row.mark_price, row.stop_loss, row.entry_price
    if not mark:
        return []
    sign = 1 if row.direction == "long" else -1
    offered = []
    if stop:
        exponent = mark.as_tuple().exponent
        digits = min(max(0, -exponent if isinstance(exponent, int) else 0), 6)
        offered.append(("🛡 Stop half way", round(stop + (mark - stop) / 2, digits)))
    if entry and (mark - entry) * sign > 0 and (not stop or (entry - stop) * sign > 0):
        offered.append(("🛡 Stop to entry", round(entry, 6)))
    return offered


def _order(registry: Registry, row: OrderRow) -> tuple[str, str]:
    bot = registry.find(row.bot).container
    price = row.trigger_price or row.price
    at = "" if price is None else f" {plain(price)}"
    return (
        f"✖️ {row.symbol.removesuffix('USDT')} {row.side}{at}",
        f"o|cancelorder|{bot} {row.symbol} {row.order_id[:ORDER_ID_KEPT]}",
    )


def _pairs(buttons: Row) -> list[Row]:
    return [buttons[at : at + 2] for at in range(0, len(buttons), 2)]
