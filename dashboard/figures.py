"""Figures of a period's trades: a calendar of days, the distribution of results, holding time, hours and weekdays."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from html import escape

from alpha.model.money import ZERO
from dashboard.asked import Asked, bot_bar, range_bar
from dashboard.charts import HEIGHT, LEFT, WIDTH, Scale, svg
from operations import analytics
from operations.analytics import TripRow
from operations.business_time import business_now
from operations.coins import coins_of, of_coin
from operations.context import Operations
from operations.formatting import span, usdt
from operations.search import Filter, trips

#: More trades than this say no more in a figure.
_MOST_TRADES = 5_000
_MOST_DAYS = 400
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


async def figures(platform: Operations, asked: Asked) -> str:
    """Return the page of figures for the range and bot asked for."""
    now = await business_now(platform, asked.bot)
    period = asked.period(now)
    newest = replace(period, start=max(period.start, period.end - timedelta(days=_MOST_DAYS)))
    spans, found = await asyncio.gather(
        analytics.day_nets(platform, asked.bot, newest),
        trips(platform, Filter(asked.bot, period, limit=_MOST_TRADES)),
    )
    note = f"The newest {_MOST_TRADES:,} trades of the range." if found.more else f"{len(found.rows):,} trades."
    parts: list[str] = []
    # a figure shows one coin, and each coin has its figures
    for coin in coins_of([*spans, *found.rows]):
        nets = {row.start: row.net for row in of_coin(spans, coin)}
        rows = of_coin(found.rows, coin)
        parts += (
            _card(f"Net of each day, {coin}", calendar(nets), "whole"),
            _card(f"Results of trades, {coin}", distribution([row.net for row in rows])),
            _card(f"Holding time against result, {coin}", scatter(rows)),
            _card(f"Net by hour and weekday of the entry, {coin}", heat_map(rows, platform)),
        )
    dim = (
        f"<p class=dim>{escape(note)} Net of fees and funding; calendar days are UTC, hours in the operator's zone.</p>"
    )
    return f"{bot_bar(asked, platform.registry)}{range_bar(asked)}<div class=pair>{''.join(parts)}</div>{dim}"


def _card(title: str, body: str, kind: str = "half") -> str:
    return f"<section class={kind}><h2>{escape(title)}</h2>{body}</section>"


def _strength(value: Decimal, most: Decimal) -> str:
    """How strongly a cell is coloured, as CSS per cent."""
    share = float(abs(value) / most) if most else 0.0
    return f"{15 + 70 * math.sqrt(share):.0f}%"


def calendar(nets: dict[date, Decimal]) -> str:
    """Months with a cell per day."""
    if not nets:
        return "<p class=dim>Nothing was traded.</p>"
    most = max(abs(value) for value in nets.values())
    months = sorted({(day.year, day.month) for day in nets})
    return "<div class=months>" + "".join(_month(year, month, nets, most) for year, month in months[-13:]) + "</div>"


def _month(year: int, month: int, nets: dict[date, Decimal], most: Decimal) -> str:
    first = date(year, month, 1)
    after = date(year + month // 12, month % 12 + 1, 1)
    total = sum((value for day, value in nets.items() if (day.year, day.month) == (year, month)), ZERO)
    cells = ["<td></td>"] * first.weekday()
    for number in range((after - first).days):
        day = first + timedelta(days=number)
        value = nets.get(day)
        if value is None:
            cells.append(f"<td><i>{day.day}</i></td>")
        else:
            text = usdt(value)
            kind = "gain" if value >= 0 else "loss"
            cells.append(
                f'<td class={kind} style="--s:{_strength(value, most)}" title="{day}: {text.text}">'
                f"<i>{day.day}</i><b>{text.short}</b></td>"
            )
    weeks = [cells[at : at + 7] for at in range(0, len(cells), 7)]
    body = "".join(f"<tr>{''.join(week)}</tr>" for week in weeks)
    head = "".join(f"<th scope=col>{name}</th>" for name in _WEEKDAYS)
    return (
        f"<table class=calendar><caption>{first:%B %Y} <span>{usdt(total).text}</span></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def distribution(results: Sequence[Decimal]) -> str:
    """A histogram of results; the outermost bars hold what lies beyond the 1st and 99th percentile."""
    if not results:
        return "<p class=dim>No trade ended in this range.</p>"
    values = sorted(float(value) for value in results)
    low, high = values[len(values) // 100], values[-1 - len(values) // 100]
    if high <= low:
        low, high = low - 1, high + 1
    count = max(8, min(40, round(math.sqrt(len(values)) * 2)))
    width = (high - low) / count
    # a border at zero, so that no bar holds both gains and losses
    start = math.floor(low / width) * width
    bins = [0] * (count + 2)
    for value in values:
        bins[max(0, min(len(bins) - 1, math.floor((value - start) / width)))] += 1
    y, slot = Scale(max(bins), 0, 20, HEIGHT - 40), (WIDTH - 90) / len(bins)
    parts = []
    for number, held in enumerate(bins):
        left = 80 + number * slot
        edge = start + number * width
        kind = "gain" if edge >= -width / 2 else "loss"
        parts.append(
            f'<rect class={kind} x="{left:.1f}" width="{max(slot - 2, 1):.1f}" y="{y(held):.1f}" '
            f'height="{HEIGHT - 40 - y(held):.1f}"><title>{edge:,.2f} to {edge + width:,.2f}: {held:,} trades</title></rect>'
        )
        if number % max(1, len(bins) // 6) == 0:
            parts.append(f'<text x="{left:.1f}" y="{HEIGHT - 12}">{edge:,.0f}</text>')
    parts.append(f'<text x="{LEFT}" y="{y(max(bins)) + 12:.1f}">{max(bins)}</text>')
    return svg("Number of trades by result", "".join(parts))


def scatter(rows: Sequence[TripRow]) -> str:
    """One dot per trade: hours held (logarithmic) and result."""
    if not rows:
        return "<p class=dim>No trade ended in this range.</p>"
    hours = [max(row.held.total_seconds() / 3600, 1 / 60) for row in rows]
    nets = [float(row.net) for row in rows]
    x = Scale(math.log(min(hours)), math.log(max(max(hours), min(hours) * 1.01)), 80, WIDTH - 15)
    y = Scale(max(*nets, 0.01), min(*nets, -0.01), 15, HEIGHT - 40)
    parts = [f'<line class=axis x1="80" x2="{WIDTH - 10}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>']
    for row, held, net in zip(rows[:1500], hours, nets, strict=False):
        kind = "gain" if net >= 0 else "loss"
        parts.append(
            f'<a href="/trade/{row.trade_id}"><circle class={kind} cx="{x(math.log(held)):.1f}" cy="{y(net):.1f}" r="4">'
            f"<title>{escape(row.symbol)} {span(row.held).text}: {usdt(row.net).text} {row.coin}</title></circle></a>"
        )
    for mark, text in ((1 / 60, "1 m"), (1, "1 h"), (6, "6 h"), (24, "1 d"), (168, "1 w")):
        if min(hours) <= mark <= max(hours):
            parts.append(f'<text x="{x(math.log(mark)):.1f}" y="{HEIGHT - 12}">{text}</text>')
    for value in (max(nets), 0.0, min(nets)):
        parts.append(f'<text x="{LEFT}" y="{y(value) + 5:.1f}">{value:,.0f}</text>')
    return svg("Trades by holding time and result", "".join(parts))


def heat_map(rows: Sequence[TripRow], platform: Operations) -> str:
    """Net by weekday and hour of the entry."""
    if not rows:
        return "<p class=dim>No trade ended in this range.</p>"
    nets: dict[tuple[int, int], Decimal] = defaultdict(lambda: ZERO)
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for row in rows:
        local: datetime = row.opened_at.astimezone(platform.zone)
        place = (local.weekday(), local.hour)
        nets[place] += row.net
        counts[place] += 1
    most = max(abs(value) for value in nets.values())
    head = "".join(f"<th scope=col>{hour if hour % 3 == 0 else ''}</th>" for hour in range(24))
    lines = []
    for weekday, name in enumerate(_WEEKDAYS):
        cells = []
        for hour in range(24):
            if (weekday, hour) not in counts:
                cells.append("<td></td>")
                continue
            value = nets[weekday, hour]
            kind = "gain" if value >= 0 else "loss"
            cells.append(
                f'<td class={kind} style="--s:{_strength(value, most)}" '
                f'title="{name} {hour:02}:00: {usdt(value).text} in {counts[weekday, hour]} trades"></td>'
            )
        lines.append(f"<tr><th scope=row>{name}</th>{''.join(cells)}</tr>")
    return f"<table class=heat><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
