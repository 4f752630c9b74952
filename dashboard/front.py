"""The front page: balance, each bot, positions, risk, orders, health, alerts, fills, and the chosen range."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, timedelta, tzinfo
from decimal import Decimal
from html import escape
from typing import Any

from alpha.errors import AlphaError, Rejected
from alpha.live_state.read import one_look
from alpha.model.coin import USDT
from dashboard.asked import Asked, range_bar
from dashboard.charts import bars_svg, chart_html
from dashboard.markup import cell_html, page_html
from operations import analytics, health, history, pages, positions, risk_pages
from operations.business_time import business_now
from operations.coins import Amounts, amounts, coins_of, named, of_coin, sums, together, units
from operations.context import Operations
from operations.formatting import NONE, count, full_moment, in_zone, usdt
from operations.many_bots import GROUP_FROM, grouped, is_well, states
from operations.page import BarChart, Cell, Page, Tone, Words
from operations.periods import Period
from operations.positions import BalanceRow
from operations.risk import ExposureRow, exposures_of, risk_of
from operations.status import BotState, BotStatus, Status, status
from operations.system import Light, lights

#: The parts of the page that update live, in order; the charts stand after the positions.
LIVE = ("head", "lights", "bots", "positions", "risk", "orders", "alerts", "fills")
_STEER = '<p class=steer><a class=button href="/steer">Close, move stops</a></p>'
_ALERTS_SHOWN = 6
_FILLS_SHOWN = 12
_MOST_DAYS = 400
#: Exit reasons are counted over so many days at most: millions of trades are for the page of figures.
_REASON_DAYS = 100
_TONES = {
    BotState.RUNNING: Tone.GOOD,
    BotState.PAUSED: Tone.WARN,
    BotState.STOPPED: Tone.DIM,
    BotState.UNHEALTHY: Tone.BAD,
    BotState.UNKNOWN: Tone.WARN,
}


async def live_places(platform: Operations, *, steering: bool = False) -> dict[str, str]:
    """Return the HTML of each part of `LIVE`. An unavailable part shows its fault; the rest is shown.

    With `steering` bots have links to their commands, which the page shows to those who may use them.
    """
    with one_look():
        seen, balances, fills, orders, lit, alerts = await asyncio.gather(
            status(platform),
            positions.balance(platform),
            _fills(platform),
            positions.orders(platform),
            lights(platform),
            health.alerts(platform, _ALERTS_SHOWN),
            return_exceptions=True,
        )
    if isinstance(seen, BaseException):
        raise seen
    faults = list(seen.faults)
    if isinstance(balances, BaseException):
        faults = list(dict.fromkeys([*faults, _said(balances)]))
        balances = []
    held = [row for bot in seen.bots for row in bot.positions]
    exposed = [row for bot in seen.bots for row in exposures_of(bot.bot, held, balances)]
    now = seen.business_time or seen.wall_time
    return {
        "head": _head(platform, seen, balances, exposed, faults),
        "bots": _bots(seen, balances, platform.zone, steering=steering),
        "positions": page_html(_positions(platform, seen), cards=True, more=_STEER if steering and held else ""),
        "risk": page_html(risk_pages.exposure_page(exposed), cards=True)
        + (page_html(risk_pages.risk_page([risk_of(row) for row in held]), cards=True) if held else ""),
        "orders": _part("Orders", orders, lambda rows: pages.orders_page(rows, platform.zone, now)),
        "lights": _lights(lit),
        "alerts": _part("Last alerts", alerts, lambda rows: pages.alerts_page(rows, platform.zone)),
        "fills": page_html(fills if isinstance(fills, Page) else Page("Fills", [Words(_said(fills), Tone.BAD)])),
    }


def _part(title: str, rows: Any, show: Callable[[Any], Page]) -> str:
    """A part of the page, or why it cannot be shown."""
    if isinstance(rows, BaseException):
        return page_html(Page(title, [Words(_said(rows), Tone.BAD)]))
    return page_html(replace(show(rows), title=title), cards=True)


def _lights(lit: list[Light] | BaseException) -> str:
    if isinstance(lit, BaseException):
        return page_html(Page("Health", [Words(_said(lit), Tone.BAD)]))
    shown = "".join(
        f'<span class={light.tone.value} title="{escape(light.detail)}"><i>{escape(light.name)}</i>'
        f"{'' if light.tone is Tone.GOOD else f' {escape(light.detail)}'}</span>"
        for light in lit
    )
    return f'<section><h2><a href="/system">Health</a></h2><div class=lights>{shown}</div></section>'


def _said(fault: BaseException) -> str:
    """The text of an AlphaError; any other error is re-raised."""
    if not isinstance(fault, AlphaError):
        raise fault
    return str(fault)


async def past_place(platform: Operations, asked: Asked) -> str:
    """Return equity, daily bars and exit reasons of the range asked for."""
    try:
        now = await business_now(platform)
        period = asked.period(now)
        recent = _newest(period, _REASON_DAYS)
        days, reasons = await asyncio.gather(
            analytics.day_nets(platform, None, _newest(period, _MOST_DAYS)),
            analytics.reasons(platform, None, recent),
        )
    except Rejected:
        raise
    except AlphaError as fault:
        return page_html(Page(f"The last {asked.span}", [Words(str(fault), Tone.BAD)]))
    # each chart shows one coin, and there is one of each coin that the accounts hold or have traded
    held = [row for row in await positions.balance(platform) if row.equity]
    curves, bars = "", ""
    for coin in coins_of([*days, *held]):
        label = f"Equity and drawdown, {coin}, {period.label}"
        chart = chart_html("equity", asked.url("/data/equity", coin="" if coin == USDT else coin), label)
        curves += f"<section class=whole><h2>{escape(label)}</h2>{chart}</section>"
        nets = {f"{row.start:%Y-%m-%d}": row.net for row in of_coin(days, coin)}
        daily = BarChart(f"Net of each day, {coin}", sorted(nets), [float(nets[day]) for day in sorted(nets)])
        bars += f"<section>{bars_svg(daily)}</section>"
    return f"{range_bar(asked)}<div class=pair>{curves}{bars}<section>{reasons_html(reasons, recent.label)}</section></div>"


def _newest(period: Period, days: int) -> Period:
    """The newest days of a period, this many at most, named so where they are fewer than were asked for."""
    start = period.end - timedelta(days=days)
    return period if start <= period.start else replace(period, start=start, label=f"the last {days} days")


def reasons_html(rows: Sequence[analytics.ReasonRow], label: str) -> str:
    """Exit reasons: a bar per bot and reason, and its result."""
    if not rows:
        return f"<h2>Why trades ended, {escape(label)}</h2><p class=dim>No trade has ended yet.</p>"
    most = max(row.trips for row in rows)
    lines = "".join(
        f"<tr><td>{escape(named(pages.short(row.bot), row.coin))}</td><td>{escape(row.reason.replace('_', ' '))}</td>"
        f'<td class=right>{row.trips:,}</td><td class="bar wide"><i style="width:{row.trips / most * 100:.0f}%"></i></td>'
        f"<td class='right wide'>{_won(row)}</td><td class=right>{cell_html(usdt(row.net))}</td></tr>"
        for row in rows
    )
    return (
        f"<h2>Why trades ended, {escape(label)}</h2><div class=scroll><table><thead><tr><th>bot</th><th>reason</th>"
        "<th class=right>trades</th><th class=wide></th><th class='right wide'>won</th><th class=right>net</th></tr>"
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _won(row: analytics.ReasonRow) -> str:
    return "-" if row.win_rate_pct is None else f"{row.win_rate_pct:.0f} %"


def _head(
    platform: Operations,
    seen: Status,
    balances: Sequence[BalanceRow],
    exposed: Sequence[ExposureRow],
    faults: Sequence[str],
) -> str:
    """The totals (equity, P&L, today) in one line, and any faults below them."""
    equity = _equities(balances)
    total = amounts(together(equity.get(bot.bot) for bot in seen.bots), signed=False)
    tiles = (
        (f"equity, {units(coins_of(balances))}", total),
        ("open P&L", amounts(together(bot.unrealised for bot in seen.bots))),
        ("today, net", amounts(together(bot.today for bot in seen.bots))),
        ("trades today", _trades(seen)),
        ("positions", count(sum(len(bot.positions) for bot in seen.bots))),
        ("exposure", amounts(sums(exposed, lambda row: row.gross), signed=False)),
        ("open risk", _open_risk(exposed)),
        ("live data", _data(seen)),
    )
    shown = "".join(f"<div><span class=dim>{escape(name)}</span><b>{cell_html(cell)}</b></div>" for name, cell in tiles)
    halts = [f"HALT {halt.kind} {pages.short(halt.bot) or 'all'} {halt.symbol}: {halt.reason}" for halt in seen.halts]
    wrong = "".join(f"<p class=bad>{escape(text)}</p>" for text in (*halts, *faults))
    announced = [words.text for words in pages.maintenance_words(seen, platform.zone) if isinstance(words, Words)]
    wrong += "".join(f"<p class=warn>{escape(text)}</p>" for text in announced)
    today = amounts(together(bot.today for bot in seen.bots)).text
    title = f'<span hidden data-title="{escape(today)} today, Alpha"></span>'
    return f"<section>{title}<div class=tiles>{shown}</div>{wrong}<p class=dim>{escape(_moment(platform, seen))}</p></section>"


def _open_risk(exposed: Sequence[ExposureRow]) -> Cell:
    """What is lost from now on if every stop is hit; not a figure while a position has none."""
    if any(row.bare for row in exposed):
        return Cell("no stop", Tone.BAD)
    return amounts(sums(exposed, lambda row: row.open_risk), signed=False)


def _moment(platform: Operations, seen: Status) -> str:
    if seen.business_time is None:
        return f"{full_moment(seen.wall_time, platform.zone)}; the exchange's time is not known."
    return (
        f"Exchange time {full_moment(seen.business_time, platform.zone)}. "
        "Amounts in USDT where no other coin is named, after fees and funding."
    )


def _trades(seen: Status) -> Cell:
    known = [bot.today_trips for bot in seen.bots if bot.today_trips is not None]
    return count(sum(known)) if len(known) == len(seen.bots) else NONE


def _data(seen: Status) -> Cell:
    synced = sum(bot.data == "synced" for bot in seen.bots)
    every = synced == len(seen.bots)
    return Cell("synced" if every else f"{synced} of {len(seen.bots)} synced", Tone.GOOD if every else Tone.WARN)


def _equities(balances: Sequence[BalanceRow]) -> dict[str, dict[str, Decimal]]:
    """The equity of each bot per settle coin."""
    found: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for row in balances:
        found[row.bot][row.coin] = row.equity
    return found


def _bots(seen: Status, balances: Sequence[BalanceRow], zone: tzinfo = UTC, *, steering: bool = False) -> str:
    equity = _equities(balances)
    if len(seen.bots) <= GROUP_FROM:
        return _cards(seen.bots, equity, zone, steering=steering)
    # The totals of all stand in the head; each strategy has its own, its bots folded up below unless one needs somebody.
    parts = []
    for name, rows in grouped(seen.bots).items():
        opened, today = together(row.unrealised for row in rows), together(row.today for row in rows)
        total = together(equity.get(row.bot) for row in rows)
        troubled = [row for row in rows if not is_well(row)]
        shown = (
            ""
            if not troubled
            else f"<p class=bad>{len(troubled)} of them need somebody:</p>{_cards(troubled, equity, zone, steering=steering)}"
        )
        parts.append(
            f"<section><h2>{escape(name)} <span class=dim>{len(rows)} bots: {escape(states(rows))}</span></h2>"
            f"<p><span class=big>{cell_html(amounts(total, signed=False))}</span> &nbsp; open {cell_html(amounts(opened))} &nbsp; "
            f"today {cell_html(amounts(today))} &nbsp; positions {sum(len(row.positions) for row in rows)}</p>{shown}"
            f"<details><summary>all {len(rows)} bots</summary>{_cards(rows, equity, zone, steering=steering)}</details></section>"
        )
    return "".join(parts)


def _cards(bots: Sequence[BotStatus], equity: dict[str, dict[str, Decimal]], zone: tzinfo, *, steering: bool) -> str:
    return f"<div class=cards>{''.join(_card(bot, equity.get(bot.bot), zone, steering=steering) for bot in bots)}</div>"


def _card(bot: BotStatus, equity: Amounts | None, zone: tzinfo, *, steering: bool) -> str:
    age = "" if bot.data_age_s is None or bot.data == "synced" else f", heard {bot.data_age_s:.0f} s ago"
    data = Tone.GOOD if bot.data == "synced" else Tone.WARN
    return (
        f"<section class=card><h2><a href='/analytics?bot={escape(bot.bot)}'>{escape(pages.short(bot.bot))}</a>"
        f"<span class='state {_TONES[bot.state].value}'>{escape(bot.state.value)}</span></h2>"
        f"<p class=big>{cell_html(amounts(equity, signed=False))}</p>"
        f"<p>open {cell_html(amounts(bot.unrealised))} &nbsp; today {cell_html(amounts(bot.today))}</p>"
        f"<p class=dim>data <span class={data.value}>{escape(bot.data)}</span>{escape(age)}. {escape(in_zone(bot.note, zone))}</p>"
        f"{_steer(bot.bot) if steering else ''}</section>"
    )


def _steer(bot: str) -> str:
    return f'<p class=steer><a class=button href="/steer?bot={escape(bot)}">Steer</a></p>'


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
