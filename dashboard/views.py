"""What the dashboard shows, made of the platform's own functions."""

from decimal import Decimal

from alpha.clock import ms_of
from alpha.errors import AlphaError
from alpha.live import keys
from alpha.live.read import read_candles
from alpha.platform import history, live, pages
from alpha.platform.business_time import business_now
from alpha.platform.commands import QUESTIONS
from alpha.platform.context import Platform
from alpha.platform.page import Page, Words
from alpha.platform.status import Status, status
from alpha.platform.words import read_words
from dashboard.charts import Bar, Mark, candles_svg
from dashboard.control import BLIND
from dashboard.markup import page_html

#: Questions that a reader without any role may ask, in the order of the menu.
MENU = ("analytics", "daily", "performance", "trades", "fills", "orders", "balance", "issues", "sync", "alerts")
LIVE = ("status", "positions", "fills")
_CANDLES = 150


async def live_fragments(platform: Platform) -> dict[str, str]:
    """The parts of the first page that move, by the id of their place."""
    seen = await status(platform)
    parts = {"status": page_html(pages.status_page(_without_containers(seen), platform.zone))}
    for name, make in (("positions", _positions), ("fills", _fills)):
        try:
            parts[name] = page_html(await make(platform))
        except AlphaError as fault:
            parts[name] = page_html(Page(name.capitalize(), [Words(str(fault))]))
    return parts


async def answer(platform: Platform, name: str, words: list[str]) -> str:
    """The page of one question of the menu. The platform's errors as they are."""
    question = next(each for each in QUESTIONS if each.name == name and name in MENU)
    args = read_words(platform.registry, question.name, question.usage, question.example, words)
    return page_html(await question.ask(platform, args))


async def chart(platform: Platform, symbol: str) -> str:
    """The last candles of a symbol with the fills on them; of the shortest interval that is at hand."""
    intervals: set[str] = set()
    for bot in platform.registry.bots:
        intervals |= await platform.live.of(bot).smembers(keys.intervals(bot.id))
    for interval in sorted(intervals, key=lambda text: int(text) if text.isdigit() else 10_000):
        candles = await read_candles(platform.live.shared, symbol, interval, _CANDLES)
        if candles:
            bars = [Bar(c.start_ms, float(c.open), float(c.high), float(c.low), float(c.close)) for c in candles]
            fills = [row for row in await history.fills(platform, None, 500) if row.symbol == symbol]
            marks = [Mark(ms_of(row.time), float(row.price), row.side == "Buy", _told(row)) for row in fills]
            return candles_svg(f"{symbol}, {interval} minutes", bars, marks)
    return candles_svg(symbol, [], [])


def _told(row: history.FillRow) -> str:
    price: Decimal = row.price
    return f"{row.bot} {row.side} {row.qty} at {price} ({row.reason})"


def _without_containers(seen: Status) -> Status:
    faults = [fault for fault in seen.faults if fault != BLIND]
    return Status(seen.bots, seen.services, seen.halts, faults, seen.business_time, seen.wall_time)


async def _positions(platform: Platform) -> Page:
    return pages.positions_page(await live.positions(platform), platform.zone, await business_now(platform))


async def _fills(platform: Platform) -> Page:
    return pages.fills_page(await history.fills(platform, None, 12), platform.zone, await business_now(platform))
