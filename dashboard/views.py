"""The pages behind the front page: the command centre's queries, and candles with entries and exits."""

from decimal import Decimal
from html import escape

from alpha.live_state import keys
from alpha.live_state.read import read_candles
from alpha.model.timestamp import ms_of
from dashboard.charts import Bar, Mark, candles_svg
from dashboard.markup import page_html
from operations import history
from operations.arguments import read_words
from operations.commands import QUERIES
from operations.context import Operations
from operations.pages import short

#: Queries available to a reader without a role, in menu order.
MENU = ("analytics", "daily", "performance", "trades", "fills", "orders", "balance", "issues", "sync", "alerts")
_CANDLES = 150
#: How many of the newest fills are searched for those of a symbol.
_FILLS = 500


async def answer(platform: Operations, name: str, words: list[str]) -> str:
    """Return the page of one query of the menu, below a choice of bots. Operations errors propagate."""
    question = next(each for each in QUERIES if each.name == name and name in MENU)
    args = read_words(platform.registry, question.name, question.usage, question.example, words)
    choice = ""
    if "[bot]" in question.usage:
        chosen = None if args.bot is None else args.bot.id
        choice = _choice(
            [("all", f"/{name}", chosen is None)]
            + [(short(bot.id), f"/{name}?q={bot.id}", bot.id == chosen) for bot in platform.registry.bots]
        )
    return choice + page_html(await question.ask(platform, args))


async def chart(platform: Operations, symbol: str | None) -> str:
    """Return a symbol's latest candles with its fills, at the shortest available interval.

    Without a symbol: the one traded last. Above it, a choice of all symbols that the bots follow or recently traded.
    """
    intervals: set[str] = set()
    symbols: set[str] = set()
    for bot in platform.registry.bots:
        intervals |= await platform.live.of(bot).smembers(keys.intervals(bot.id))
        symbols |= await platform.live.of(bot).smembers(keys.symbols(bot.id))
    fills = await history.fills(platform, None, _FILLS)
    traded = list(dict.fromkeys(row.symbol for row in fills))
    known = sorted(symbols | set(traded))
    symbol = symbol or next(iter([*traded, *known]), None)
    if symbol is None:
        return "<section><p class=dim>No bot follows a symbol yet.</p></section>"
    choice = _choice([(each, f"/chart/{each}", each == symbol) for each in known])
    drawn = candles_svg(symbol, [], [])
    for interval in sorted(intervals, key=lambda text: int(text) if text.isdigit() else 10_000):
        candles = await read_candles(platform.live.shared, symbol, interval, _CANDLES)
        if candles:
            bars = [Bar(c.start_ms, float(c.open), float(c.high), float(c.low), float(c.close)) for c in candles]
            own = [row for row in fills if row.symbol == symbol and row.exec_type != "Funding"]
            marks = [Mark(ms_of(row.time), float(row.price), row.side == "buy", _told(row)) for row in own]
            drawn = candles_svg(f"{symbol}, {interval} minutes: bought (up) and sold (down)", bars, marks)
            break
    return f"{choice}<section>{drawn}</section>"


def _choice(links: list[tuple[str, str, bool]]) -> str:
    return (
        "<nav class=choice>"
        + "".join(
            f'<a href="{escape(path)}"{" class=here" if here else ""}>{escape(name)}</a>' for name, path, here in links
        )
        + "</nav>"
    )


def _told(row: history.FillRow) -> str:
    price: Decimal = row.price
    return f"{row.bot} {row.side} {row.qty} at {price} ({row.reason})"
