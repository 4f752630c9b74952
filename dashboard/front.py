"""The front page: balance, each bot, open positions, recent fills, and the last month."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from html import escape

from alpha.errors import AlphaError
from alpha.model.money import ZERO
from alpha.model.timestamp import ms_of
from dashboard.charts import bars_svg, curve_svg
from dashboard.control import BLIND
from dashboard.markup import cell_html, page_html
from operations import analytics, history, pages, positions
from operations.business_time import business_now
from operations.context import Operations
from operations.formatting import NONE, count, full_moment, usdt
from operations.page import BarChart, Cell, Curve, Page, Tone, Words
from operations.periods import parse_period
from operations.positions import BalanceRow
from operations.status import BotState, BotStatus, Status, status

#: The parts of the page that update live, in order.
LIVE = ("head", "bots", "positions", "fills")
#: The part that changes only with the history.
PAST = "past"
_DAYS = "30d"
_FILLS_SHOWN = 12
_TONES = {
    BotState.RUNNING: Tone.GOOD,
    BotState.PAUSED: Tone.WARN,
    BotState.STOPPED: Tone.DIM,
    BotState.UNHEALTHY: Tone.BAD,
    BotState.UNKNOWN: Tone.WARN,
}


async def live_places(platform: Operations) -> dict[str, str]:
    """Return the HTML of each part of `LIVE`. An unavailable part shows its fault; the rest is shown."""
    seen, balances, fills = await asyncio.gather(
        status(platform), positions.balance(platform), _fills(platform), return_exceptions=True
    )
    if isinstance(seen, BaseException):
        raise seen
    faults = [fault for fault in seen.faults if fault != BLIND]
    if isinstance(balances, BaseException):
        faults = list(dict.fromkeys([*faults, _said(balances)]))
        balances = []
    parts = {"head": _head(platform, seen, balances, faults), "bots": _bots(seen, balances)}
    parts["positions"] = page_html(_positions(platform, seen))
    parts["fills"] = page_html(fills if isinstance(fills, Page) else Page("Fills", [Words(_said(fills), Tone.BAD)]))
    return parts


def _said(fault: BaseException) -> str:
    """The text of an AlphaError; any other error is re-raised."""
    if not isinstance(fault, AlphaError):
        raise fault
    return str(fault)


async def past_place(platform: Operations) -> str:
    """Return equity and drawdown, daily bars and exit reasons of the last 30 days of exchange time."""
    try:
        now = await business_now(platform)
        period = parse_period(_DAYS, now)
        equity, days, reasons, balances = await asyncio.gather(
            analytics.equity_curve(platform, None, period),
            analytics.spans(platform, "daily", None, period.days, now),
            analytics.reasons(platform, None, period),
            positions.balance(platform),
        )
        equity = _up_to_now(equity, balances, len(platform.registry.bots), now)
    except AlphaError as fault:
        return page_html(Page("The last 30 days", [Words(str(fault), Tone.BAD)]))
    curve = Curve(
        "Equity and drawdown, all bots, USDT",
        [ms_of(point.time) for point in equity],
        [float(point.equity) for point in equity],
        [float(point.drawdown_pct) for point in equity],
    )
    nets: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for row in days:
        nets[f"{row.start:%Y-%m-%d}"] += row.net
    daily = BarChart("Net of each day, USDT", sorted(nets), [float(nets[day]) for day in sorted(nets)])
    why = reasons_html(reasons)
    return (
        f"<section class=half>{curve_svg(curve)}</section>"
        f"<section class=half>{bars_svg(daily)}</section>"
        f"<section>{why}</section>"
    )


def _up_to_now(
    curve: list[analytics.EquityPoint], balances: Sequence[BalanceRow], bots: int, now: datetime
) -> list[analytics.EquityPoint]:
    """Append a point with the accounts' current equity; unchanged if that is not known for all of them."""
    if not curve or len(balances) < bots or not all(row.true for row in balances) or now <= curve[-1].time:
        return curve
    total = sum((row.equity for row in balances), ZERO)
    highest = max(total, *(point.equity for point in curve))
    fall = (total / highest - 1) * 100 if highest > 0 else ZERO
    return [*curve, analytics.EquityPoint(now, total, fall)]


def reasons_html(rows: Sequence[analytics.ReasonRow]) -> str:
    """Exit reasons: a bar per bot and reason, and its result."""
    if not rows:
        return "<h2>Why trades ended, last 30 days</h2><p class=dim>No trade has ended yet.</p>"
    most = max(row.trips for row in rows)
    lines = "".join(
        f"<tr><td>{escape(pages.short(row.bot))}</td><td>{escape(row.reason.replace('_', ' '))}</td>"
        f'<td class=right>{row.trips:,}</td><td class="bar wide"><i style="width:{row.trips / most * 100:.0f}%"></i></td>'
        f"<td class='right wide'>{_won(row)}</td><td class=right>{cell_html(usdt(row.net))}</td></tr>"
        for row in rows
    )
    return (
        "<h2>Why trades ended, last 30 days</h2><div class=scroll><table><thead><tr><th>bot</th><th>reason</th>"
        "<th class=right>trades</th><th class=wide></th><th class='right wide'>won</th><th class=right>net</th></tr>"
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _won(row: analytics.ReasonRow) -> str:
    return "-" if row.win_rate_pct is None else f"{row.win_rate_pct:.0f} %"


def _head(platform: Operations, seen: Status, balances: Sequence[BalanceRow], faults: Sequence[str]) -> str:
    """The totals (equity, P&L, today) in one line, and any faults below them."""
    equity = {row.bot: row.equity for row in balances}
    bots = [bot.bot for bot in seen.bots]
    total = usdt(_total([equity.get(bot) for bot in bots]), signed=False)
    tiles = (
        ("equity, USDT", total),
        ("open P&L", usdt(_total([bot.unrealised_pnl for bot in seen.bots]))),
        ("today, net", usdt(_total([bot.today_net for bot in seen.bots]))),
        ("trades today", _trades(seen)),
        ("positions", count(sum(len(bot.positions) for bot in seen.bots))),
        ("live data", _data(seen)),
    )
    shown = "".join(f"<div><span class=dim>{escape(name)}</span><b>{cell_html(cell)}</b></div>" for name, cell in tiles)
    halts = [f"HALT {halt.kind} {pages.short(halt.bot) or 'all'} {halt.symbol}: {halt.reason}" for halt in seen.halts]
    wrong = "".join(f"<p class=bad>{escape(text)}</p>" for text in (*halts, *faults))
    return f"<section><div class=tiles>{shown}</div>{wrong}<p class=dim>{escape(_moment(platform, seen))}</p></section>"


def _moment(platform: Operations, seen: Status) -> str:
    if seen.business_time is None:
        return f"{full_moment(seen.wall_time, platform.zone)}; the exchange's time is not known."
    return (
        f"Exchange time {full_moment(seen.business_time, platform.zone)}. All amounts in USDT, after fees and funding."
    )


def _trades(seen: Status) -> Cell:
    known = [bot.today_trips for bot in seen.bots if bot.today_trips is not None]
    return count(sum(known)) if len(known) == len(seen.bots) else NONE


def _data(seen: Status) -> Cell:
    synced = sum(bot.data == "synced" for bot in seen.bots)
    every = synced == len(seen.bots)
    return Cell("synced" if every else f"{synced} of {len(seen.bots)} synced", Tone.GOOD if every else Tone.WARN)


def _total(values: Sequence[Decimal | None]) -> Decimal | None:
    """The sum; None if a value is unknown: a partial sum is not a total."""
    known = [value for value in values if value is not None]
    return sum(known, ZERO) if known and len(known) == len(values) else None


def _bots(seen: Status, balances: Sequence[BalanceRow]) -> str:
    equity = {row.bot: row.equity for row in balances}
    cards = "".join(_card(bot, equity.get(bot.bot)) for bot in seen.bots)
    return f"<div class=cards>{cards}</div>"


def _card(bot: BotStatus, equity: Decimal | None) -> str:
    age = "" if bot.data_age_s is None or bot.data == "synced" else f", heard {bot.data_age_s:.0f} s ago"
    data = Tone.GOOD if bot.data == "synced" else Tone.WARN
    return (
        f"<section class=card><h2><a href='/analytics?q={escape(bot.bot)}'>{escape(pages.short(bot.bot))}</a>"
        f"<span class='state {_TONES[bot.state].value}'>{escape(bot.state.value)}</span></h2>"
        f"<p class=big>{cell_html(usdt(equity, signed=False))}</p>"
        f"<p>open {cell_html(usdt(bot.unrealised_pnl))} &nbsp; today {cell_html(usdt(bot.today_net))}</p>"
        f"<p class=dim>data <span class={data.value}>{escape(bot.data)}</span>{escape(age)}. {escape(bot.note)}</p>"
        "</section>"
    )


def _positions(platform: Operations, seen: Status) -> Page:
    """The positions from the same status as the totals above them: marks move, and two reads would differ."""
    unknown = [pages.short(bot.bot) for bot in seen.bots if bot.unrealised_pnl is None]
    if unknown:
        return Page("Positions", [Words(f"The positions of {', '.join(unknown)} cannot be read now.", Tone.BAD)])
    rows = [row for bot in seen.bots for row in bot.positions]
    return pages.positions_page(rows, platform.zone, seen.business_time or seen.wall_time)


async def _fills(platform: Operations) -> Page:
    rows = await history.fills(platform, None, _FILLS_SHOWN)
    return pages.fills_page(rows, platform.zone, await business_now(platform))
